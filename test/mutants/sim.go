package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// simDir is the simulator, whose TestSeeds runs SIM_SEEDS schedules from SIM_BASE.
const simDir = "test/sim"

// simulator gives mutants schedules.
type simulator struct {
	binary testBinary
	root   string
	seeds  int           // for one mutant, at most
	limit  time.Duration // for one mutant, at most
}

// shown is what the simulator saw of a mutant.
type shown struct {
	seeds int    // schedules that were run, the last of which shows it when what is not empty
	what  string // the invariant that was violated, "crash" or hangs
}

const hangs = "hangs"

// String is the cell of the table.
func (s shown) String() string {
	switch {
	case s.seeds == 0:
		return notTried
	case s.what == hangs: // no invariant says so
		return hangs
	case s.what == "":
		return fmt.Sprintf("more than %d", s.seeds)
	}
	return fmt.Sprintf("%d (%s)", s.seeds, s.what)
}

// simChunk is how many schedules one process runs: between two, the time is looked at.
const simChunk = 50

// sound runs the simulator without a mutant and lowers the number of schedules to
// what it passes: a seed that fails by itself shows nothing.
func (s *simulator) sound(ctx context.Context) error {
	base := *s
	base.limit *= 4
	got, err := base.try(ctx, as("", ""))
	if err != nil {
		return err
	}
	if got.what != "" {
		got.seeds--
	}
	s.seeds = min(s.seeds, got.seeds)
	if s.seeds == 0 {
		return fmt.Errorf("the simulator fails at its first seed with no guard taken out (%s); mend that first", got.what)
	}
	return nil
}

// try runs schedules under the mutant that env names until one shows it.
func (s *simulator) try(ctx context.Context, env []string) (shown, error) {
	var total shown
	for began := time.Now(); total.seeds < s.seeds && time.Since(began) < s.limit; {
		got, err := s.chunk(ctx, env, total.seeds+1, min(simChunk, s.seeds-total.seeds))
		if err != nil {
			return total, err
		}
		total.seeds += got.seeds
		total.what = got.what
		if got.what != "" {
			break
		}
	}
	return total, nil
}

var (
	simViolation = regexp.MustCompile(`^violation: (.+) seed \d+ after (\d+) seeds`)
	simDone      = regexp.MustCompile(`^sim: (\d+) schedules`)
)

// chunk is one process. It is ended as soon as it has said what it found, since
// the mutant's transcript is nobody's to read. It has one core, so that a seed is
// reached after as many others on every machine.
func (s *simulator) chunk(ctx context.Context, env []string, from, seeds int) (shown, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary.path, "-test.v", "-test.run", "^TestSeeds$")
	cmd.Dir = filepath.Join(s.root, filepath.FromSlash(s.binary.dir))
	cmd.Env = append(append(os.Environ(), env...), "GOMAXPROCS=1", "SIM_BASE="+strconv.Itoa(from), "SIM_SEEDS="+strconv.Itoa(seeds))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return shown{}, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return shown{}, fmt.Errorf("run the simulator: %w", err)
	}
	got, crashed := listen(bufio.NewScanner(out), cancel)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case got.what != "":
		return got, nil
	case crashed:
		return shown{seeds: max(1, got.seeds), what: "crash"}, nil
	case errors.As(err, &exit) && !errors.Is(ctx.Err(), context.Canceled):
		return shown{seeds: max(1, got.seeds), what: hangs}, nil
	}
	return got, err
}

// listen reads what the simulator says, and ends it once that is enough.
func listen(lines *bufio.Scanner, enough func()) (got shown, crashed bool) {
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := simDone.FindStringSubmatch(line); m != nil {
			got.seeds, _ = strconv.Atoi(m[1])
		}
		if m := simViolation.FindStringSubmatch(line); m != nil && got.what == "" {
			got.what, _, _ = strings.Cut(m[1], ":")
			got.seeds, _ = strconv.Atoi(m[2])
			enough()
		}
		crashed = crashed || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
	}
	return got, crashed
}
