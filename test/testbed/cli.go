package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Result is how a run of the program ended.
type Result struct {
	Code     int
	Out, Err string
	Took     time.Duration
}

// String is for messages of tests.
func (r Result) String() string {
	return fmt.Sprintf("exit code %d after %v\nstdout: %s\nstderr: %s", r.Code, r.Took.Round(time.Millisecond), r.Out, r.Err)
}

// LastLine is the last line on stderr, where a refusal says why.
func (r Result) LastLine() string {
	lines := strings.Split(strings.TrimSpace(r.Err), "\n")
	return lines[len(lines)-1]
}

// Run runs the program with the arguments as they are, input on stdin.
func (c *Cluster) Run(ctx context.Context, input string, args ...string) (Result, error) {
	return run(ctx, exec.CommandContext(ctx, c.binary, args...), input)
}

// run runs a command to its end.
func run(ctx context.Context, cmd *exec.Cmd, input string) (Result, error) {
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errOut
	cmd.Env = append(environment(), "LC_ALL=C.UTF-8", "NO_COLOR=1")
	began := time.Now()
	err := cmd.Run()
	r := Result{Out: out.String(), Err: errOut.String(), Took: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.Code = exit.ExitCode()
		return r, ctx.Err()
	case err != nil:
		return r, fmt.Errorf("run %s: %w", strings.Join(cmd.Args, " "), err)
	}
	return r, nil
}

// Ctl runs a verb over the store, from an operator's machine: its configuration
// file is none of the nodes'.
func (c *Cluster) Ctl(ctx context.Context, verb string, args ...string) (Result, error) {
	path, err := c.operatorConfig()
	if err != nil {
		return Result{}, err
	}
	return c.Run(ctx, "", append([]string{verb, "-c", path}, args...)...)
}

// operatorConfig is the operator's configuration file.
func (c *Cluster) operatorConfig() (string, error) {
	path := filepath.Join(c.place.dir, "ctl.yml")
	c.ctl.Do(func() { // once: another verb may be reading it
		text := fmt.Sprintf("scope: %s\netcd3:\n  hosts: %q\n", Scope, strings.Join(c.Etcd.Endpoints(), ","))
		c.ctlErr = os.WriteFile(path, []byte(text), 0o600)
	})
	if c.ctlErr != nil {
		return "", fmt.Errorf("write the operator's configuration: %w", c.ctlErr)
	}
	return path, nil
}
