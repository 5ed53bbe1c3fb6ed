package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJudgeCountsEveryOutcomeOnce(t *testing.T) {
	cases := []struct {
		name         string
		ci           bool
		skips        string
		events       string
		goTestFailed bool
		want         string
		failures     []string
		shown        []string
		silent       []string
	}{
		{
			name: "a test and its subtests count as one each",
			events: `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/one"}
{"Action":"output","Package":"p","Test":"TestA/one","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA/one"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":0.5}`,
			want:   "2 passed, 0 failed, 0 skipped",
			shown:  []string{"ok    p ", "2 passed", "0.5 s"},
			silent: []string{"chatter"},
		},
		{
			name: "only the failed test's output is shown",
			events: `{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"good chatter\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"run","Package":"p","Test":"TestBad"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"want 1, got 2\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p"}`,
			goTestFailed: true,
			want:         "1 passed, 1 failed, 0 skipped",
			failures:     []string{"p.TestBad"},
			shown:        []string{"want 1, got 2", "FAIL: p.TestBad"},
			silent:       []string{"good chatter", "go test:"},
		},
		{
			name: "a test that was running when the process died failed, with its output",
			events: `{"Action":"run","Package":"p","Test":"TestStuck"}
{"Action":"output","Package":"p","Test":"TestStuck","Output":"panic: test timed out after 1s\n"}
{"Action":"fail","Package":"p"}`,
			goTestFailed: true,
			want:         "0 passed, 1 failed, 0 skipped",
			failures:     []string{"p.TestStuck (did not finish)"},
			shown:        []string{"panic: test timed out after 1s"},
		},
		{
			name: "a package that fails with no test to blame failed, with its own output",
			events: `{"Action":"output","Package":"p","Output":"panic: in TestMain\n"}
{"Action":"output","Package":"p","Output":"exit status 2\n"}
{"Action":"fail","Package":"p"}`,
			goTestFailed: true,
			want:         "0 passed, 1 failed, 0 skipped",
			failures:     []string{"p (failed outside a test)"},
			shown:        []string{"panic: in TestMain", "exit status 2"},
		},
		{
			name: "a package that does not build failed, with the compiler's words",
			events: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"p_test.go:3: undefined: x\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
			goTestFailed: true,
			want:         "0 passed, 1 failed, 0 skipped",
			failures:     []string{"p (does not build)"},
			shown:        []string{"p_test.go:3: undefined: x"},
		},
		{
			name:         "go test that fails before any package is a failure",
			events:       "no Go files in here",
			goTestFailed: true,
			want:         "0 passed, 1 failed, 0 skipped",
			failures:     []string{"go test: exit status 1"},
			shown:        []string{"no Go files in here"},
		},
		{
			name:     "a package whose end was never seen failed",
			events:   `{"Action":"run","Package":"p","Test":"TestA"}`,
			want:     "0 passed, 1 failed, 0 skipped",
			failures: []string{"p.TestA (did not finish)"},
		},
		{
			name:   "a skipped test at home is a skipped test",
			events: skippedTest,
			want:   "0 passed, 0 failed, 1 skipped",
		},
		{
			name:   "a skipped test in CI that a line allows is a skipped test",
			ci:     true,
			skips:  "house/p TestNeeds* # no such tool in Debian",
			events: skippedTest,
			want:   "0 passed, 0 failed, 1 skipped",
		},
		{
			name:     "a skipped test in CI that no line allows fails, with its reason",
			ci:       true,
			events:   skippedTest,
			want:     "0 passed, 1 failed, 0 skipped",
			failures: []string{"example.com/house/p.TestNeedsTool (skipped, and not listed in test/skips.txt)"},
			shown:    []string{"the tool is not installed"},
		},
		{
			name: "a package without tests is neither counted nor named",
			events: `{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}
{"Action":"skip","Package":"p"}`,
			want:   "0 passed, 0 failed, 0 skipped",
			silent: []string{"no test files"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			skips, err := parseSkips("skips.txt", c.skips)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			j := newJudge(&out, c.ci, skips, frozen)
			if err := j.read(strings.NewReader(c.events), nil); err != nil {
				t.Fatal(err)
			}
			var exit error
			if c.goTestFailed {
				exit = errors.New("exit status 1")
			}
			got := j.verdict(nil, exit)
			if diff := cmp.Diff(c.want, got.String()); diff != "" {
				t.Errorf("totals (-want +got):\n%s\n%s", diff, out.String())
			}
			if diff := cmp.Diff(c.failures, failed(got)); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
			for _, text := range c.shown {
				if !strings.Contains(out.String(), text) {
					t.Errorf("output lacks %q:\n%s", text, out.String())
				}
			}
			for _, text := range c.silent {
				if strings.Contains(out.String(), text) {
					t.Errorf("output has %q:\n%s", text, out.String())
				}
			}
		})
	}
}

const skippedTest = `{"Action":"run","Package":"example.com/house/p","Test":"TestNeedsTool"}
{"Action":"output","Package":"example.com/house/p","Test":"TestNeedsTool","Output":"    p_test.go:9: the tool is not installed\n"}
{"Action":"skip","Package":"example.com/house/p","Test":"TestNeedsTool"}
{"Action":"pass","Package":"example.com/house/p"}`

func TestJudgeNamesWhatIsRunningWhenNothingWasSaidForAWhile(t *testing.T) {
	now := frozen()
	var out strings.Builder
	j := newJudge(&out, false, nil, func() time.Time { return now })
	j.line([]byte(`{"Action":"run","Package":"p","Test":"TestSlow"}` + "\n"))
	j.remind()
	if out.String() != "" {
		t.Fatalf("spoke too early: %s", out.String())
	}
	now = now.Add(quiet)
	j.remind()
	if !strings.Contains(out.String(), "running TestSlow") {
		t.Fatalf("did not name the running test: %q", out.String())
	}
}

func TestJudgeReportsABrokenStream(t *testing.T) {
	var out strings.Builder
	j := newJudge(&out, false, nil, frozen)
	err := j.read(io.MultiReader(strings.NewReader(""), brokenReader{}), nil)
	got := j.verdict(err, nil)
	if want := "0 passed, 1 failed, 0 skipped"; got.String() != want {
		t.Fatalf("got %s, want %s", got.String(), want)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the pipe broke") }

func frozen() time.Time { return time.Unix(1_700_000_000, 0) }
