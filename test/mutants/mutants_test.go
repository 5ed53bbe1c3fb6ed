package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const root = "../.."

// TestAGuardThatNobodyTestsIsFound: the tool can fail. One guard of the fixture is
// tested, the other is not.
func TestAGuardThatNobodyTestsIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a test binary")
	}
	marks, err := marksIn(root, "test/mutants/testdata/unguarded/unguarded.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{"odd_is_refused": {tests: []namedCase{{test: "TestHalf"}}}, "negative_is_refused": {tests: []namedCase{{test: "TestHalf"}}}}
	scores, err := measure(t.Context(), options{root: absolute(t), jobs: 2, out: io.Discard}, marks, rows)
	if err != nil {
		t.Fatal(err)
	}
	var caught, not []string
	for _, s := range scores {
		if s.caught() {
			caught = append(caught, s.name())
		} else {
			not = append(not, s.name())
		}
	}
	if !slices.Equal(caught, []string{"odd_is_refused/never", "odd_is_refused/always", "negative_is_refused/always"}) || !slices.Equal(not, []string{"negative_is_refused/never"}) {
		t.Errorf("caught %v, not %v", caught, not)
	}
	if lines := unproved(options{}, scores); len(lines) != 1 || !strings.HasPrefix(lines[0], "negative_is_refused/never is not caught") {
		t.Errorf("reported %q, want the one guard that is not tested", lines)
	}
}

// TestEveryGuardCanBeTakenOut: a mark on something that cannot be is an error of
// findMarks, and a change in the copy leaves every line where it was.
func TestEveryGuardCanBeTakenOut(t *testing.T) {
	marks, err := findMarks(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(marks) < 100 {
		t.Fatalf("%d guards found, want more than 100", len(marks))
	}
	for _, m := range marks {
		if len(m.changes) == 0 || len(m.edits) < 2 {
			t.Errorf("%s: guard %s is found and not taken out", m.at(), m.name)
		}
		for _, e := range m.edits {
			if strings.Contains(e.text, "\n") {
				t.Errorf("%s: guard %s: an edit moves lines", m.at(), m.name)
			}
		}
	}
}

// TestTheCommittedTableHasEveryMutant, and no other.
func TestTheCommittedTableHasEveryMutant(t *testing.T) {
	marks, err := findMarks(root)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := readRows(root)
	if err != nil {
		t.Fatal(err)
	}
	table, err := readTable(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marks {
		for _, change := range m.changes {
			name := m.name + "/" + change
			r, ok := table[name]
			delete(table, name)
			switch {
			case !ok:
				t.Errorf("%s: docs/mutants.md has no row for %s: run make mutants WRITE=1 ONLY='^%s/'", m.at(), name, m.name)
			case r.caughtBy == uncaughtCell:
				t.Errorf("%s: docs/mutants.md says that nothing catches %s", m.at(), name)
			case r.protects != rows[m.name].protects:
				t.Errorf("docs/mutants.md says of %s other words than docs/safety.md: run make mutants WRITE=1 ONLY='^%s/'", name, m.name)
			}
		}
	}
	for name := range table {
		t.Errorf("docs/mutants.md has a row for %s, which is gone: run make mutants WRITE=1 ONLY=none", name)
	}
}

// TestOnlyATestThatFailedCatches: what merely hangs does not count.
func TestOnlyATestThatFailedCatches(t *testing.T) {
	for _, c := range []struct {
		name, out    string
		failed, hung []string
	}{
		{name: "a case of a table",
			out:    "=== RUN   TestA\n=== RUN   TestA/one\n    --- FAIL: TestA/one (0.00s)\n--- FAIL: TestA (0.00s)\nFAIL\n",
			failed: []string{"TestA/one"}},
		{name: "a panic beside the test",
			out:    "=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\npanic: no\n",
			failed: []string{"TestB"}},
		{name: "time is up",
			out:  "=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\npanic: test timed out after 30s\n",
			hung: []string{"TestB"}},
		{name: "time is up after a failure",
			out:    "=== RUN   TestA\n--- FAIL: TestA (0.00s)\n=== RUN   TestB\npanic: test timed out after 30s\n",
			failed: []string{"TestA"}, hung: []string{"TestB"}},
	} {
		if r := read(c.out); !slices.Equal(r.failed, c.failed) || !slices.Equal(r.hung, c.hung) {
			t.Errorf("%s: failed %v, hung %v; want %v, %v", c.name, r.failed, r.hung, c.failed, c.hung)
		}
	}
	if (score{hung: []string{"TestB"}}).caught() {
		t.Error("a mutant that only hangs counts as caught")
	}
}

// TestNamedCasesAreRecognised in what a test binary reports.
func TestNamedCasesAreRecognised(t *testing.T) {
	c := namedCase{test: "TestRace", label: "a member with more goes first"}
	for failed, want := range map[string]bool{
		"TestRace/a_member_with_more_goes_first":         true,
		"TestRace/group/a_member_with_more_goes_first/x": true,
		"TestRace/a_member_with_more_goes_first#01":      false,
		"TestRace": false,
		"TestFence/a_member_with_more_goes_first": false,
	} {
		if c.covers(failed) != want {
			t.Errorf("%s: %t, want %t", failed, !want, want)
		}
	}
	s := score{}
	s.add(row{tests: []namedCase{c}}, result{failed: []string{"TestRace/other", "TestRace/a_member_with_more_goes_first"}})
	if !s.named || !slices.Equal(s.by, []string{c.String()}) {
		t.Errorf("caught by %v, want the named case alone", s.by)
	}
	if packageLimit < namedLimit || namedLimit < time.Second {
		t.Error("the limits are not in order")
	}
}

// TestWhatAMutantLeavesRunningIsEnded: the supervisor's tests start sessions of their own.
func TestWhatAMutantLeavesRunningIsEnded(t *testing.T) {
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "0.test")
	if err := os.WriteFile(left, program, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), left, "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	endLeft(dir)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v, want it killed", err)
	}
}
