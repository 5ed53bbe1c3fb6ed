package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// failed names what failed.
func failed(t tally) []string {
	var names []string
	for _, f := range t.failures {
		names = append(names, f.name)
	}
	return names
}

func TestReasonsAreWhatATestSaysItselfAndNoWholeLog(t *testing.T) {
	many := []string{"=== RUN   TestA\n"}
	for i := range 30 {
		many = append(many, fmt.Sprintf("    a_test.go:%d: message %d\n", i, i))
	}
	for _, c := range []struct {
		name   string
		output []string
		want   []string
	}{
		{"a message and how it goes on",
			[]string{"=== RUN   TestA\n", "    a_test.go:3: wrong\n", "        more of it\n", "printed\n", "--- FAIL: TestA (0.00s)\n"},
			[]string{"a_test.go:3: wrong", "    more of it"}},
		{"of a long one the beginning",
			[]string{"    a_test.go:3: one\n        two\n        three\n        four\n", "    a_test.go:4: five\n"},
			[]string{"a_test.go:3: one", "    two", "    three", "a_test.go:4: five"}},
		{"a log that is shown whole is none, whatever its lines look like",
			[]string{"    a_test.go:3: wrong\n", "    bed.go:9: == /tmp/pg1.log\n", "        b.go:1: decided\n", "        more\n"},
			[]string{"a_test.go:3: wrong"}},
		{"a panic, without the stacks",
			[]string{"    a_test.go:3: so far\n", "panic: boom\n", "\n", "goroutine 1 [running]:\n", "\t/src/a.go:7 +0x1\n"},
			[]string{"a_test.go:3: so far", "panic: boom"}},
		{"of many the first and the last", many, []string{
			"a_test.go:0: message 0", "a_test.go:1: message 1", "a_test.go:2: message 2", "a_test.go:3: message 3", "... 21 more lines",
			"a_test.go:25: message 25", "a_test.go:26: message 26", "a_test.go:27: message 27", "a_test.go:28: message 28", "a_test.go:29: message 29"}},
		{"nothing said", []string{"=== RUN   TestA\n", "--- FAIL: TestA (0.00s)\n"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, reasons(c.output)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheReasonStandsBeforeALongOutputAndAtTheEndOfAll.
func TestTheReasonStandsBeforeALongOutputAndAtTheEndOfAll(t *testing.T) {
	events := `{"Action":"run","Package":"p","Test":"TestBad"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"    bed.go:9: == /tmp/pg1.log\n"}
` + strings.Repeat(`{"Action":"output","Package":"p","Test":"TestBad","Output":"        a line of the log\n"}`+"\n", 100) +
		`{"Action":"output","Package":"p","Test":"TestBad","Output":"    p_test.go:7: want 1, got 2\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"fail","Package":"p"}`
	var out strings.Builder
	s := &suite{out: &out, now: frozen}
	j := newJudge(&out, false, nil, frozen)
	if err := j.read(strings.NewReader(events), nil); err != nil {
		t.Fatal(err)
	}
	s.summarise(nil, j.verdict(nil, nil))
	said := out.String()
	if first, log := strings.Index(said, "  > p_test.go:7: want 1, got 2\n"), strings.Index(said, "a line of the log"); first < 0 || first > log {
		t.Errorf("the reason does not stand before the log:\n%s", said)
	}
	if want := "\nfailed:\n  p.TestBad\n      p_test.go:7: want 1, got 2\n\n0 passed, 1 failed, 0 skipped\n"; !strings.HasSuffix(said, want) {
		t.Errorf("want it to end with %q:\n%s", want, said)
	}
}
