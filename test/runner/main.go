package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: 0 when everything passed, 1 when something failed, 2 for a wrong command line.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, env, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "runner:", err)
		return 2
	}
	skips, err := readSkips("test/skips.txt")
	if err != nil {
		fmt.Fprintln(stderr, "runner:", err)
		return 2
	}
	machine := measurePace(ctx)
	fmt.Fprintf(stdout, "here a program starts in %.1f ms, and a page of memory takes %.1f us\n", machine.start.Seconds()*1e3, machine.page.Seconds()*1e6)
	s := &suite{out: stdout, env: env, opts: opts, skips: skips, now: time.Now, alone: machine.slow()}
	total := s.runAll(ctx)
	if total.failed > 0 {
		return 1
	}
	return 0
}

// options are what the command line and the environment choose.
type options struct {
	parts    []part
	fuzztime string
	ci       bool
}

func parse(args, env []string, stderr io.Writer) (options, error) {
	flags := flag.NewFlagSet("runner", flag.ContinueOnError)
	flags.SetOutput(stderr)
	chosen := flags.String("parts", lookup(env, "PGKEEPER_TEST_PARTS"),
		"comma-separated parts to run; empty for the whole suite ("+strings.Join(names(defaultParts()), ",")+")")
	fuzztime := flags.String("fuzztime", "30s", "how long the fuzz part fuzzes each target")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: parts are chosen with -parts", flags.Arg(0))
	}
	parts, err := pick(*chosen)
	if err != nil {
		return options{}, err
	}
	return options{parts: parts, fuzztime: *fuzztime, ci: lookup(env, "CI") == "true"}, nil
}

// lookup finds a variable in an environment; the last one wins, as in the kernel's own.
func lookup(env []string, name string) string {
	value := ""
	for _, entry := range env {
		if v, found := strings.CutPrefix(entry, name+"="); found {
			value = v
		}
	}
	return value
}
