package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"
)

// everything is go's name for all packages of all modules of the workspace (go.work);
// "./..." would be those of this module alone.
const everything = "work"

// command is a child that writes where we write, gets an interrupt when we are interrupted, and ten seconds to obey.
func (s *suite) command(ctx context.Context, extraEnv []string, name string, args ...string) *exec.Cmd {
	if s.lowly {
		name, args = "nice", append([]string{"-n", "19", name}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append([]string{}, s.env...), extraEnv...)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	// make leaves its own children to the terminal's interrupt, which they get from us, as a group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// goTest runs `go test -json` and judges what it says.
func (s *suite) goTest(ctx context.Context, extraEnv []string, args ...string) tally {
	cmd := s.command(ctx, extraEnv, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stdout = nil
	events, err := cmd.StdoutPipe()
	if err != nil {
		return s.brokenGoTest(err)
	}
	if err := cmd.Start(); err != nil {
		return s.brokenGoTest(err)
	}
	// -short is a choice to skip, not something missing.
	strict := s.opts.ci && !slices.Contains(args, "-short")
	j := newJudge(s.out, strict, s.skips, s.now)
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	readErr := j.read(events, tick.C)
	waitErr := cmd.Wait()
	return j.verdict(readErr, waitErr)
}

func (s *suite) brokenGoTest(err error) tally {
	var t tally
	fmt.Fprintf(s.out, "go test could not be started: %v\n", err)
	t.fail("go test (not started)")
	return t
}

// packagesWithTag lists the packages whose files change when the tag is set.
func (s *suite) packagesWithTag(ctx context.Context, tag string) ([]string, error) {
	plain, err := s.packageFiles(ctx)
	if err != nil {
		return nil, err
	}
	tagged, err := s.packageFiles(ctx, "-tags", tag)
	if err != nil {
		return nil, err
	}
	var packages []string
	for path, files := range tagged {
		if plain[path] != files {
			packages = append(packages, path)
		}
	}
	sort.Strings(packages)
	return packages, nil
}

// packageFiles maps each package to the list of its files under the given flags.
func (s *suite) packageFiles(ctx context.Context, flags ...string) (map[string]string, error) {
	const format = "{{.ImportPath}} {{.GoFiles}} {{.TestGoFiles}} {{.XTestGoFiles}}"
	cmd := s.command(ctx, nil, "go", append(append([]string{"list", "-e"}, flags...), "-f", format, everything)...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go list %s: %w", strings.Join(flags, " "), err)
	}
	files := map[string]string{}
	for line := range strings.Lines(stdout.String()) {
		path, list, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = list
	}
	return files, nil
}
