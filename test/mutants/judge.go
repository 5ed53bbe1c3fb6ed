package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// limits of one run.
const (
	namedLimit   = 30 * time.Second
	packageLimit = 90 * time.Second
)

// score is what became of one mutant.
type score struct {
	guard, change string
	// by are the tests that failed, as docs/safety.md writes them; empty when none did.
	by []string
	// named says that one of them is in the guard's row of docs/safety.md.
	named bool
	// hung are the tests that were running when the time was up.
	hung []string
	// sim is what the simulator made of it.
	sim shown
}

func (s score) name() string { return s.guard + "/" + s.change }

// caught: by a unit test that has a name. What the simulator finds is told apart:
// it needs luck, and a case does not.
func (s score) caught() bool { return len(s.by) > 0 }

// judge runs mutants against the binaries.
type judge struct {
	root     string
	rows     map[string]row
	binaries []testBinary
	tests    map[string]map[string]bool // by the directory of the package
	sim      *simulator                 // nil when it was not asked for
}

func newJudge(root string, rows map[string]row, binaries []testBinary) (*judge, error) {
	j := &judge{root: root, rows: rows, binaries: binaries, tests: map[string]map[string]bool{}}
	for _, b := range binaries {
		tests, err := testsOf(root, b.dir)
		if err != nil {
			return nil, err
		}
		j.tests[b.dir] = tests
	}
	return j, nil
}

// sound runs everything without a mutant: a test that fails by itself proves nothing.
func (j *judge) sound(ctx context.Context) error {
	for _, b := range j.binaries {
		r, err := b.run(ctx, j.root, packageLimit, as("", ""))
		if err != nil {
			return err
		}
		if !r.ok {
			return fmt.Errorf("the tests of %s fail with no guard taken out (%s); mend that first:\n%s", b.dir, strings.Join(append(r.failed, r.hung...), ", "), r.telling())
		}
	}
	return nil
}

// try is one mutant, by the tests and, when asked for, by the simulator.
func (j *judge) try(ctx context.Context, m mark, change string) (score, error) {
	s, err := j.test(ctx, m, change)
	if err != nil || j.sim == nil {
		return s, err
	}
	s.sim, err = j.sim.try(ctx, m.name, change)
	return s, err
}

// test runs the tests that are named for the guard, then all of its package, then
// all others, until one fails.
func (j *judge) test(ctx context.Context, m mark, change string) (score, error) {
	s := score{guard: m.name, change: change}
	for _, b := range j.binaries {
		names := j.namedIn(m.name, b.dir)
		if len(names) == 0 {
			continue
		}
		r, err := b.run(ctx, j.root, namedLimit, as(m.name, change), "-test.run", "^("+strings.Join(names, "|")+")$")
		if err != nil {
			return s, err
		}
		s.add(j.rows[m.name], r)
	}
	if s.named {
		return s, nil
	}
	for _, b := range j.nearest(m.dir()) {
		if s.caught() {
			break
		}
		r, err := b.run(ctx, j.root, packageLimit, as(m.name, change), "-test.failfast")
		if err != nil {
			return s, err
		}
		s.add(j.rows[m.name], r)
	}
	return s, nil
}

// namedIn are the test functions of the package in dir that the guard's row names.
func (j *judge) namedIn(guard, dir string) []string {
	var names []string
	for _, c := range j.rows[guard].tests {
		if j.tests[dir][c.test] && !slices.Contains(names, c.test) {
			names = append(names, regexp.QuoteMeta(c.test))
		}
	}
	return names
}

// nearest puts the package of the guard first, then what lies below it.
func (j *judge) nearest(dir string) []testBinary {
	sorted := slices.Clone(j.binaries)
	rank := func(b testBinary) int {
		switch {
		case b.dir == dir:
			return 0
		case strings.HasPrefix(b.dir, dir+"/"):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(sorted, func(a, b testBinary) int { return rank(a) - rank(b) })
	return sorted
}

// add counts what a run has shown. The named cases go first and stand alone.
func (s *score) add(r row, got result) {
	s.hung = append(s.hung, got.hung...)
	var named, others []string
	for _, failed := range got.failed {
		i := slices.IndexFunc(r.tests, func(c namedCase) bool { return c.covers(failed) })
		if i >= 0 {
			named = append(named, r.tests[i].String())
		} else {
			others = append(others, caseOf(failed).String())
		}
	}
	if len(named) > 0 {
		if !s.named {
			s.by = nil
		}
		s.named = true
		s.by = append(s.by, named...)
	} else if !s.named {
		s.by = append(s.by, others...)
	}
	slices.Sort(s.by)
	s.by = slices.Compact(s.by)
}

// caseOf turns the full name of a test into the form of docs/safety.md.
func caseOf(full string) namedCase {
	test, label, _ := strings.Cut(full, "/")
	return namedCase{test: test, label: strings.ReplaceAll(label, "_", " ")}
}
