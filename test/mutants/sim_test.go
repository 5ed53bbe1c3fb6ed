package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheSimulatorIsUnderstood: the lines it prints are the seam between the two.
func TestTheSimulatorIsUnderstood(t *testing.T) {
	for name, c := range map[string]struct {
		out, cell string
		crashed   bool
		ended     bool
	}{
		"nothing was violated": {out: "sim: 250 schedules from seed 1, 9 steps\nPASS\n", cell: "more than 250"},
		"an invariant was violated": {out: "sim: 13 schedules from seed 1\nviolation: S1 seed 13 after 13 seeds\n00.1 pg1 ...\n",
			cell: "13 (S1)", ended: true},
		"with words behind it": {out: "violation: L1: two primaries seed 7 after 7 seeds\n", cell: "7 (L1)", ended: true},
		"the mutant crashed":   {out: "=== RUN   TestSeeds\npanic: runtime error\n", cell: notTried, crashed: true},
	} {
		ended := false
		got, crashed := listen(bufio.NewScanner(strings.NewReader(c.out)), func() { ended = true })
		if got.String() != c.cell || crashed != c.crashed || ended != c.ended {
			t.Errorf("%s: %q, crashed %t, ended %t", name, got, crashed, ended)
		}
	}
}

// TestTheSimulatorStillSaysThat reads the words in its source.
func TestTheSimulatorStillSaysThat(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, simDir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(content)
	}
	for _, words := range []string{"func TestSeeds(", `"SIM_BASE"`, `"SIM_SEEDS"`, `"sim: %d schedules`, `"violation: %s seed %d after %d seeds`} {
		if !strings.Contains(text.String(), words) {
			t.Errorf("the simulator's tests have no %s, which -sim goes by", words)
		}
	}
}

func TestOnlySchedulesThatAMutantChangesAreRun(t *testing.T) {
	for want, seeds := range map[int][]int{1: {4, 6, 7}, 2: {4, 5, 8}, 3: {1, 2, 3}} {
		if got := together(seeds); got != want {
			t.Errorf("of %v the first %d are run together, want %d", seeds, got, want)
		}
	}
	got, err := (&simulator{seeds: 30, reach: map[string][]int{"a/never": {3}}}).try(t.Context(), "a", "always") // has no binary to run
	if err != nil || got.String() != "not reached by 30" {
		t.Errorf("a mutant that changes nothing: %s, %v", got, err)
	}
}

func TestFewerSchedulesThatShowNothingTakeNothingBack(t *testing.T) {
	for _, c := range []struct {
		now  shown
		cell string
		less bool
	}{
		{shown{}, "12 (S1)", true},
		{shown{seeds: 300}, "955 (S1)", true},
		{shown{seeds: 300}, "more than 1650", true},
		{shown{seeds: 300}, "more than 250", false},
		{shown{seeds: 300}, "205 (S5)", false}, // it no longer does
		{shown{seeds: 300}, "-", false},
		{shown{seeds: 300}, hangs, false},
		{shown{seeds: 12, what: "S1"}, "more than 1650", false},
	} {
		if got := c.now.knowsLess(c.cell); got != c.less {
			t.Errorf("%s after %q: kept %t, want %t", c.now, c.cell, got, c.less)
		}
	}
}
