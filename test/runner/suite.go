package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally counts outcomes; the zero value is "nothing ran".
type tally struct {
	passed, failed, skipped int
	// failures is what failed, in the order it failed.
	failures []failure
}

// failure is the name of what failed, and what it said first.
type failure struct {
	name    string
	reasons []string
}

func (t *tally) add(other tally) {
	t.passed += other.passed
	t.failed += other.failed
	t.skipped += other.skipped
	t.failures = append(t.failures, other.failures...)
}

func (t *tally) fail(name string, reasons ...string) {
	t.failed++
	t.failures = append(t.failures, failure{name, reasons})
}

// String is the last line of every run; scripts read it.
func (t *tally) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", t.passed, t.failed, t.skipped)
}

// suite is one run of the chosen parts.
type suite struct {
	out   io.Writer
	env   []string
	opts  options
	skips skipList
	now   func() time.Time
	// lowly: what is started has the lowest priority.
	lowly bool
	// alone: one thing after the other, on a machine that has no time to spare.
	alone bool
}

type partResult struct {
	part  part
	tally tally
	took  time.Duration
}

// runAll runs every chosen part, also after one failed: the next part's findings are worth having in the same run.
func (s *suite) runAll(ctx context.Context) tally {
	if s.alone {
		fmt.Fprintln(s.out, "this machine is slow: nothing runs beside anything else, and the agents of whole clusters are without the race detector")
	}
	results := make([]partResult, len(s.opts.parts))
	out := s.out
	s.out = &oneAtATime{w: out}
	var beside sync.WaitGroup
	for i, p := range s.opts.parts {
		if p.beside && !s.alone && slices.ContainsFunc(s.opts.parts[i+1:], func(next part) bool { return !next.beside }) {
			fmt.Fprintf(s.out, "\n== %s: %s; it runs beside the next parts, and is heard when it ends\n", p.name, p.title)
			beside.Go(func() { results[i] = s.runBeside(ctx, p) })
			continue
		}
		results[i] = s.runPart(ctx, p)
	}
	beside.Wait()
	s.out = out
	var total tally
	for _, r := range results {
		total.add(r.tally)
	}
	s.summarise(results, total)
	return total
}

// runBeside runs a part at the lowest priority, and shows what it said as a whole.
func (s *suite) runBeside(ctx context.Context, p part) partResult {
	var said bytes.Buffer
	low := *s
	low.out, low.lowly = &oneAtATime{w: &said}, true // a command and who reads it may speak at once
	r := low.runPart(ctx, p)
	_, _ = s.out.Write(said.Bytes()) // nobody is left to tell
	return r
}

func (s *suite) runPart(ctx context.Context, p part) partResult {
	r := partResult{part: p}
	if ctx.Err() != nil {
		r.tally.fail(p.name + " (interrupted before it ran)")
		return r
	}
	fmt.Fprintf(s.out, "\n== %s: %s\n", p.name, p.title)
	start := s.now()
	r.tally = p.run(ctx, s)
	r.took = s.now().Sub(start)
	fmt.Fprintf(s.out, "== %s: %s in %.1f s\n", p.name, r.tally.String(), r.took.Seconds())
	return r
}

// summarise ends the run. What failed is named once more with the first that it said: who
// reads the end of a long record finds the reason there.
func (s *suite) summarise(results []partResult, total tally) {
	fmt.Fprintf(s.out, "\n%-12s %9s %8s %8s %8s\n", "part", "seconds", "passed", "failed", "skipped")
	for _, r := range results {
		fmt.Fprintf(s.out, "%-12s %9.1f %8d %8d %8d\n", r.part.name, r.took.Seconds(), r.tally.passed, r.tally.failed, r.tally.skipped)
	}
	if len(total.failures) > 0 {
		fmt.Fprintln(s.out, "\nfailed:")
	}
	for _, f := range total.failures {
		fmt.Fprintln(s.out, "  "+strings.Join(append([]string{f.name}, f.reasons...), "\n      "))
	}
	fmt.Fprintf(s.out, "\n%s\n", total.String())
}

// skipPart counts a part that cannot run here as one skipped test, by the rule for skipped tests in CI; pkg and test are
// what test/skips.txt calls it.
func (s *suite) skipPart(pkg, test, reason string) tally {
	var t tally
	fmt.Fprintln(s.out, "skipped:", reason)
	if s.opts.ci && !s.skips.allows(pkg, test) {
		t.fail(pkg + "." + test + " (skipped, and not listed in test/skips.txt)")
		return t
	}
	t.skipped++
	return t
}

// oneAtATime lets several write whole lines.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (o *oneAtATime) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}
