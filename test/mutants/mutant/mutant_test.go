package mutant

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// choose makes m the mutant for the rest of the test.
func choose(t *testing.T, m string) {
	t.Helper()
	guard, what := chosen, change
	chosen, change = parse(m)
	t.Cleanup(func() { chosen, change = guard, what })
}

func TestWithoutAMutantNothingIsChanged(t *testing.T) {
	for _, m := range []string{"", "other/never", "other/always", "other/without"} {
		choose(t, m)
		failed := errors.New("failed")
		number, err := Two(3, failed).Zero("g")
		if !Cond("g", true) || Cond("g", false) || Out("g") || Zero("g", 7) != 7 || number != 3 || !errors.Is(err, failed) {
			t.Errorf("%q changes guard g", m)
		}
		if err := Call("g", func() error { return failed }); !errors.Is(err, failed) {
			t.Errorf("%q keeps a call of guard g from being made", m)
		}
	}
}

func TestTheChosenGuardIsTakenOut(t *testing.T) {
	choose(t, "g/never")
	if Cond("g", true) {
		t.Error("never leaves the condition true")
	}
	choose(t, "g/always")
	if !Cond("g", false) {
		t.Error("always leaves the condition false")
	}
	choose(t, "g/part2")
	if !Cond("g", true) || Cond("g", false) || Forgets("g", "part1") || Forgets("h", "part2") || !Forgets("g", "part2") {
		t.Error("a part changes the whole or another part, or not itself")
	}
	choose(t, "g/without")
	called := false
	err := Call("g", func() error { called = true; return errors.New("failed") })
	number, failure := Two(3, errors.New("failed")).Zero("g")
	if !Out("g") || Zero("g", 7) != 0 || called || err != nil || number != 0 || failure != nil {
		t.Error("without leaves something in")
	}
}

func TestWhatAMutantWouldHaveChangedIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reach")
	reached = record(path)
	t.Cleanup(func() { reached = nil })
	for range 2 {
		Cond("a", true)
		Cond("b", true)
		Cond("b", false)
		Out("c")
		Zero("d", 1)
		_ = Call("e", func() error { return nil })
		Two(1, 2).Zero("f")
	}
	text, err := os.ReadFile(path)
	if got, want := strings.Fields(string(text)), []string{"a/never", "b/never", "b/always", "c/without", "d/without", "e/without", "f/without"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("reached are %v (%v), want %v", got, err, want)
	}
}
