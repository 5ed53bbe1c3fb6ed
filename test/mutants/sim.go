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
	"sync"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/test/mutants/mutant"
)

// simDir is the simulator, whose TestSeeds runs SIM_SEEDS schedules from SIM_BASE.
const simDir = "test/sim"

// simulator gives mutants schedules: only those that they change. In all others a mutant
// is the product, which passes them, so that the result is that of running them all.
type simulator struct {
	binary testBinary
	root   string
	tmp    string        // for files
	seeds  int           // for one mutant, at most
	limit  time.Duration // for one mutant, at most
	// reach has for each mutant the schedules, in order, that it changes.
	reach map[string][]int
}

// shown is what the simulator saw of a mutant.
type shown struct {
	seeds int    // schedules that were looked at, the last of which shows it when what is not empty
	what  string // the invariant that was violated, "crash" or hangs
	// unreached: none of them comes to the guard, or none in a way in which it matters.
	unreached bool
}

const hangs = "hangs"

// String is the cell of the table.
func (s shown) String() string {
	switch {
	case s.seeds == 0:
		return notTried
	case s.what == hangs: // no invariant says so
		return hangs
	case s.unreached:
		return fmt.Sprintf("not reached by %d", s.seeds)
	case s.what == "":
		return fmt.Sprintf("more than %d", s.seeds)
	}
	return fmt.Sprintf("%d (%s)", s.seeds, s.what)
}

var firstNumber = regexp.MustCompile(`\d+`)

// knowsLess: the cell that stands in the table tells of more schedules than s, which
// shows nothing.
func (s shown) knowsLess(cell string) bool {
	known, err := strconv.Atoi(firstNumber.FindString(cell))
	return s.what == "" && (s.seeds == 0 || err == nil && known > s.seeds)
}

// simChunk is how many schedules one process runs at most: between two, the time is
// looked at.
const simChunk = 50

// look runs every schedule once without a mutant, each in a process of its own, jobs at
// a time, and notes which mutants would have changed it. It lowers the number of
// schedules to what passes: a seed that fails by itself shows nothing.
func (s *simulator) look(ctx context.Context, jobs int) error {
	found := make([][]string, s.seeds)
	var failure error
	var mu sync.Mutex
	var group sync.WaitGroup
	next := 0
	for range max(1, jobs) {
		group.Go(func() {
			for {
				mu.Lock()
				i, over := next, failure != nil || next >= s.seeds
				next++
				mu.Unlock()
				if over {
					return
				}
				names, what, err := s.reaches(ctx, i+1)
				mu.Lock()
				found[i] = names
				failure = errors.Join(failure, err)
				if what != "" {
					s.seeds = min(s.seeds, i)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failure == nil && s.seeds == 0 {
		failure = errors.New("the simulator fails at its first seed with no guard taken out; mend that first")
	}
	s.reach = map[string][]int{}
	for i, names := range found[:s.seeds] {
		for _, name := range names {
			s.reach[name] = append(s.reach[name], i+1)
		}
	}
	return failure
}

// reaches runs one schedule of the product and gives the mutants that would change it.
func (s *simulator) reaches(ctx context.Context, seed int) (names []string, what string, err error) {
	path := filepath.Join(s.tmp, "reach-"+strconv.Itoa(seed))
	got, err := s.chunk(ctx, append(as("", ""), mutant.ReachEnv+"="+path), seed, 1)
	if err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(path)
	return strings.Fields(string(text)), got.what, errors.Join(err, os.Remove(path))
}

// try runs schedules under a mutant until one shows it.
func (s *simulator) try(ctx context.Context, guard, change string) (shown, error) {
	seeds := s.reach[guard+"/"+change]
	if len(seeds) == 0 {
		return shown{seeds: s.seeds, unreached: true}, nil
	}
	for began := time.Now(); len(seeds) > 0; {
		if time.Since(began) >= s.limit {
			return shown{seeds: seeds[0] - 1}, nil
		}
		n := together(seeds)
		got, err := s.chunk(ctx, as(guard, change), seeds[0], n)
		if err != nil {
			return shown{}, err
		}
		if got.what != "" {
			got.seeds += seeds[0] - 1
			return got, nil
		}
		seeds = seeds[n:]
	}
	return shown{seeds: s.seeds}, nil
}

// together is how many of the first seeds follow one another, at most a chunk.
func together(seeds []int) int {
	n := 1
	for n < min(len(seeds), simChunk) && seeds[n] == seeds[n-1]+1 {
		n++
	}
	return n
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
