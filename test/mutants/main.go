package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/demo"
	"github.com/pgkeeper/pgkeeper/test/mutants/mutant"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.StringVar(&o.root, "root", ".", "the folder of the module")
	flag.StringVar(&o.only, "only", "", "a regular expression: only these mutants (guard/change)")
	flag.BoolVar(&o.parts, "parts", false, "forget the operands of each condition, one at a time, instead of the whole")
	flag.BoolVar(&o.write, "write", false, "write docs/mutants.md")
	flag.BoolVar(&o.sim, "sim", false, "give every mutant to the simulator too")
	flag.IntVar(&o.simSeeds, "sim-seeds", 300, "with -sim: schedules for each mutant")
	flag.DurationVar(&o.simTime, "sim-time", time.Minute, "with -sim: time for each mutant")
	flag.IntVar(&o.jobs, "jobs", 2*runtime.NumCPU(), "mutants at the same time: most of their tests wait")
	flag.BoolVar(&o.verbose, "v", false, "a line for every mutant")
	flag.Parse()
	o.out = os.Stdout
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	root     string
	only     string
	parts    bool
	write    bool
	sim      bool
	simSeeds int
	simTime  time.Duration
	jobs     int
	verbose  bool
	out      io.Writer
}

// alsoTested are the packages whose tests exercise marked code of another package.
var alsoTested = map[string][]string{"dcs": {"dcs/memory"}}

// errUncaught is returned when a guard can go unnoticed: the lines above it say which.
var errUncaught = errors.New("a guard can be taken out unnoticed")

func run(ctx context.Context, o options) error {
	began := time.Now()
	marks, err := findMarks(o.root)
	if err != nil {
		return err
	}
	rows, err := readRows(o.root)
	if err != nil {
		return err
	}
	scores, err := measure(ctx, o, marks, rows)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "%d guards, %s, in %.0f s\n", len(marks), count(scores), time.Since(began).Seconds())
	if o.write && !o.parts {
		if err := writeTable(o.root, marks, rows, scores); err != nil {
			return err
		}
	}
	if missing := unproved(o, scores); len(missing) > 0 {
		for _, line := range missing {
			fmt.Fprintln(o.out, line)
		}
		return errUncaught
	}
	return nil
}

// endLeft ends what tests started in sessions of their own and a mutant kept them from
// ending, by the folder that their program is in.
func endLeft(tmp string) {
	for _, pid := range demo.ProcessesOf(tmp) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// measure builds everything once and judges the mutants that are asked for.
func measure(ctx context.Context, o options, marks []mark, rows map[string]row) ([]score, error) {
	tmp, err := os.MkdirTemp("", "pgkeeper-mutants-")
	if err != nil {
		return nil, err
	}
	defer func() {
		endLeft(tmp)
		_ = os.RemoveAll(tmp)
	}()
	dirs := testedDirs(marks)
	if o.sim {
		dirs = append(dirs, simDir)
	}
	binaries, err := build(ctx, o.root, tmp, marks, dirs)
	if err != nil {
		return nil, err
	}
	var sim *simulator
	if o.sim {
		last := len(binaries) - 1
		sim = &simulator{binary: binaries[last], root: o.root, tmp: tmp, seeds: o.simSeeds, limit: o.simTime}
		binaries = binaries[:last]
	}
	j, err := newJudge(o.root, rows, binaries)
	if err != nil {
		return nil, err
	}
	if err := j.sound(ctx); err != nil {
		return nil, err
	}
	if j.sim = sim; sim != nil {
		began := time.Now()
		if err := sim.look(ctx, o.jobs); err != nil {
			return nil, err
		}
		fmt.Fprintf(o.out, "the simulator gives each mutant those of %d schedules that it changes, for %s (looked at in %.0f s)\n", sim.seeds, sim.limit, time.Since(began).Seconds())
	}
	return j.all(ctx, o, marks)
}

func testedDirs(marks []mark) []string {
	var dirs []string
	for _, m := range marks {
		for _, dir := range append([]string{m.dir()}, alsoTested[m.dir()]...) {
			if !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	slices.Sort(dirs)
	return dirs
}

// all judges the chosen mutants, o.jobs at a time, and gives them in the order of
// the source.
func (j *judge) all(ctx context.Context, o options, marks []mark) ([]score, error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, err
	}
	var scores []score
	var of []mark
	for _, m := range marks {
		changes := m.changes
		if o.parts {
			changes = m.parts
		}
		for _, change := range changes {
			if only.MatchString(m.name + "/" + change) {
				scores, of = append(scores, score{guard: m.name, change: change}), append(of, m)
			}
		}
	}
	var failure error
	var mu sync.Mutex
	var group sync.WaitGroup
	places := make(chan struct{}, max(1, o.jobs))
	for i := range scores {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			s, err := j.try(ctx, of[i], scores[i].change)
			mu.Lock()
			defer mu.Unlock()
			failure = errors.Join(failure, err)
			scores[i] = s
			j.tell(o, s)
		})
	}
	group.Wait()
	return scores, failure
}

// tell prints what is wrong with a mutant, or with -v every one.
func (j *judge) tell(o options, s score) {
	switch {
	case !s.caught() && len(s.hung) > 0:
		fmt.Fprintf(o.out, "UNCAUGHT  %s: it hangs in %s, and no test fails\n", s.name(), strings.Join(s.hung, ", "))
	case !s.caught():
		fmt.Fprintf(o.out, "UNCAUGHT  %s (%s)\n", s.name(), j.rows[s.guard].protects)
	case o.verbose:
		fmt.Fprintf(o.out, "caught    %s: %s; simulator: %s\n", s.name(), strings.Join(s.by, ", "), s.sim)
	}
}

// unproved says what is wrong with the scores: every mutant has to be caught, and
// one of each guard's by a case that docs/safety.md names for it. The other way to
// fix the same condition is an outage, which any test may notice.
func unproved(o options, scores []score) []string {
	var lines []string
	named := map[string]bool{}
	for _, s := range scores {
		named[s.guard] = named[s.guard] || s.named
		if !s.caught() {
			lines = append(lines, s.name()+" is not caught: write the missing case, or take a needless guard out of the source")
		}
	}
	for _, s := range scores {
		if !named[s.guard] && s.caught() && !o.parts && !o.partial(s.guard, scores) {
			named[s.guard] = true
			lines = append(lines, s.guard+" is caught by "+strings.Join(s.by, ", ")+", which its row in docs/safety.md does not name")
		}
	}
	return lines
}

// partial says that only one way to fix the condition of guard was asked for.
func (o options) partial(guard string, scores []score) bool {
	var changes []string
	for _, s := range scores {
		if s.guard == guard {
			changes = append(changes, s.change)
		}
	}
	return len(changes) == 1 && changes[0] != mutant.Without
}

func count(scores []score) string {
	caught := 0
	for _, s := range scores {
		if s.caught() {
			caught++
		}
	}
	return fmt.Sprintf("%d mutants, %d caught, %d not", len(scores), caught, len(scores)-caught)
}
