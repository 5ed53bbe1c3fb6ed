package main

import (
	"context"
	"fmt"
	"io"
	"strings"
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
}

type partResult struct {
	part  part
	tally tally
	took  time.Duration
}

// runAll runs every chosen part, also after one failed: the next part's findings are worth having in the same run.
func (s *suite) runAll(ctx context.Context) tally {
	var total tally
	var results []partResult
	for _, p := range s.opts.parts {
		if ctx.Err() != nil {
			total.fail(p.name + " (interrupted before it ran)")
			continue
		}
		fmt.Fprintf(s.out, "\n== %s: %s\n", p.name, p.title)
		start := s.now()
		got := p.run(ctx, s)
		took := s.now().Sub(start)
		fmt.Fprintf(s.out, "== %s: %s in %.1f s\n", p.name, got.String(), took.Seconds())
		results = append(results, partResult{part: p, tally: got, took: took})
		total.add(got)
	}
	s.summarise(results, total)
	return total
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
