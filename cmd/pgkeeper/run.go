package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// app is one run of the program: what it talks with, and what it wires. Tests
// replace openKV.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      []string
	openKV   func(config.Etcd) (dcs.KV, error)
	options  globals
	// began is set when the command line was understood: errors after that are
	// failures, not usage.
	began   bool
	closers []func()
}

// exitCode ends the program with a code and no further word; who returns it has
// said what there is to say.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a wrong command line that only shows after parsing.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run is the program: everything from outside comes in as an argument.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	a := &app{in: stdin, out: stdout, err: stderr, env: env, openKV: openEtcd}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	// The agent and the guard take their own signals: their stop is a protocol.
	if len(args) == 0 || !ownSignals[args[0]] {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
	}
	defer a.close()
	root := a.root(args)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(a.err, "Error: "+oneLine(err))
	var usage usageError
	if !a.began || errors.As(err, &usage) {
		fmt.Fprintf(a.err, "See %s --help\n", command.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// ownSignals are the commands that handle signals themselves.
var ownSignals = map[string]bool{"agent": true, "agent-worker": true, "guard": true}

func (a *app) close() {
	for _, c := range a.closers {
		c()
	}
}

// oneLine folds an error into one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// getenv reads the environment the program was started with.
func (a *app) getenv(name string) string {
	for _, v := range slices.Backward(a.env) {
		if key, value, _ := strings.Cut(v, "="); key == name {
			return value
		}
	}
	return ""
}

// httpClient is used for one agent's API: short-lived, so nothing is kept open.
func httpClient(transport *http.Transport) *http.Client {
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport}
}
