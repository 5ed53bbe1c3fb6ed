package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/test/mutants/mutant"
)

// result is one run of a test binary.
type result struct {
	// failed are the full names of the tests that failed, without the parents of
	// others in the list. A test that was running when the process died is there.
	failed []string
	// hung names what was running when the time was up; such a run has no failed
	// test unless one failed before.
	hung []string
	ok   bool
	out  string
}

// run is one binary, told by env which mutant it is and by args which tests to
// run, for at most limit.
func (b testBinary) run(ctx context.Context, root string, limit time.Duration, env []string, args ...string) (result, error) {
	// The binary's own limit names the tests that hang; ours is for one that
	// cannot even do that.
	ctx, cancel := context.WithTimeout(ctx, limit+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path, append([]string{"-test.v", "-test.timeout", limit.String()}, args...)...)
	cmd.Dir = filepath.Join(root, filepath.FromSlash(b.dir))
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil:
		return result{}, fmt.Errorf("run %s: %w", b.path, err)
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return result{}, ctx.Err()
	}
	r := read(out.String())
	r.ok = err == nil
	if r.ok {
		return r, nil
	}
	if ctx.Err() != nil { // killed: nobody failed by itself
		r.failed = minus(r.failed, r.hung)
	}
	return r, nil
}

// as is the environment that makes a binary the mutant.
func as(guard, change string) []string { return []string{mutant.Env + "=" + guard + "/" + change} }

var (
	verdict = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)
	started = regexp.MustCompile(`^=== RUN\s+(\S+)`)
)

// read folds the output of a verbose test binary.
func read(out string) result {
	r := result{out: out}
	running := map[string]bool{}
	for line := range strings.Lines(out) {
		if m := started.FindStringSubmatch(line); m != nil {
			running[m[1]] = true
		}
		if m := verdict.FindStringSubmatch(line); m != nil {
			delete(running, m[2])
			if m[1] == "FAIL" {
				r.failed = append(r.failed, m[2])
			}
		}
	}
	left := leaves(keys(running))
	switch {
	case strings.Contains(out, "panic: test timed out after"):
		r.hung = left
	case strings.Contains(out, "panic: ") || strings.Contains(out, "fatal error: "):
		// A panic outside the test's own goroutine ends the process without a verdict.
		r.failed = append(r.failed, left...)
	default:
		r.hung = left
	}
	r.failed = leaves(r.failed)
	return r
}

// telling is the output without the tests that passed.
func (r result) telling() string {
	var text strings.Builder
	for line := range strings.Lines(r.out) {
		if !strings.HasPrefix(line, "=== ") && !strings.Contains(line, "--- PASS: ") {
			text.WriteString(line)
		}
	}
	return text.String()
}

// leaves drops the names that are parents of others.
func leaves(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(names, func(other string) bool { return strings.HasPrefix(other, name+"/") })
	})
}

func minus(names, without []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(without, name) })
}

func keys(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for name := range set {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
