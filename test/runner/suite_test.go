package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPickTakesPartsInTheSuitesOrder(t *testing.T) {
	cases := []struct {
		name, list string
		want       []string
		err        string
	}{
		{name: "nothing chosen is the whole suite without the optional parts", want: []string{"deps", "build", "containers", "lint", "unit", "files", "mutants", "sim", "integration", "chaos"}},
		{name: "the order of the words does not matter", list: "unit, build", want: []string{"build", "unit"}},
		{name: "an optional part is chosen by name", list: "fuzz", want: []string{"fuzz"}},
		{name: "an unknown part is refused with the known ones", list: "unit,untit", err: `unknown part "untit": choose from deps, build`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			parts, err := pick(c.list)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, names(parts)); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunRefusesAWrongCommandLine(t *testing.T) {
	var out strings.Builder
	if code := run(t.Context(), []string{"unit"}, nil, &out, &out); code != 2 || !strings.Contains(out.String(), "-parts") {
		t.Fatalf("got %d: %s", code, out.String())
	}
}

func TestParseReadsTheEnvironmentUnlessAFlagSaysOtherwise(t *testing.T) {
	env := []string{"PGKEEPER_TEST_PARTS=lint", "CI=true"}
	fromEnv, err := parse(nil, env, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lint"}, names(fromEnv.parts)); diff != "" || !fromEnv.ci {
		t.Errorf("ci %v, parts (-want +got):\n%s", fromEnv.ci, diff)
	}
	fromFlag, err := parse([]string{"-parts", "unit"}, env, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"unit"}, names(fromFlag.parts)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}

// TestSuiteOnARealModule runs the real go on a module with every kind of misfortune.
func TestSuiteOnARealModule(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles five packages")
	}
	dir := t.TempDir()
	for name, text := range brokenModule {
		writeFile(t, filepath.Join(dir, name), text)
	}
	t.Chdir(dir)
	var out strings.Builder
	s := &suite{
		out: &out, env: append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOPROXY=off"), now: frozen,
		opts: options{parts: []part{
			{name: "unit", beside: true, run: unit("-timeout", "2s")}, // the go command and the judge of its tests speak at once
			{name: "checks", run: check("false")},
			{name: "absent", run: check("./no-such-program")},
		}},
	}
	total := s.runAll(t.Context())
	want := []string{
		"example.com/m/builds (does not build)",
		"example.com/m/exits.TestExits (did not finish)",
		"example.com/m/fails.TestFails/sub",
		"example.com/m/fails.TestFails",
		"example.com/m/hangs.TestHangs",
		"example.com/m/panics.TestPanics",
		"false",
		"./no-such-program",
	}
	less := cmp.Transformer("set", func(list []string) map[string]int {
		set := map[string]int{}
		for _, entry := range list {
			set[strings.TrimSuffix(entry, " (did not finish)")]++
		}
		return set
	})
	if diff := cmp.Diff(want, failed(total), less); diff != "" {
		t.Errorf("failures (-want +got):\n%s\n%s", diff, out.String())
	}
	if want := "\n\n2 passed, 8 failed, 1 skipped\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("the run does not end with %q:\n%s", want, out.String())
	}
	for _, text := range []string{"--- FAIL: example.com/m/fails.TestFails/sub\n", "undefined: missing", "one is not two", "test timed out", "panic: on purpose"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("output lacks %q:\n%s", text, out.String())
		}
	}
}

func TestPackagesWithTagFindsOnlyThoseTheTagChanges(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":              "module example.com/m\n\ngo 1.26\n",
		"plain/p.go":          "package plain\n",
		"half/p.go":           "package half\n",
		"half/real_test.go":   "//go:build integration\n\npackage half\n",
		"whole/whole_test.go": "//go:build integration\n\npackage whole\n",
		"chaos/chaos_test.go": "//go:build chaos\n\npackage chaos\n",
		"half/windows.go":     "//go:build windows\n\npackage half\n",
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	t.Chdir(dir)
	var out strings.Builder
	s := &suite{out: &out, env: append(os.Environ(), "GOWORK=off", "GOFLAGS="), now: frozen}
	got, err := s.packagesWithTag(t.Context(), "integration")
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if diff := cmp.Diff([]string{"example.com/m/half", "example.com/m/whole"}, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestFuzzListNamesEachTargetWithItsPackage(t *testing.T) {
	got := parseFuzzList("ok  \texample.com/m/a\t0.002s\nFuzzLSN\nFuzzHistory\nok  \texample.com/m/cluster\t0.003s\n?   \texample.com/m/b\t[no test files]\n")
	want := []fuzzTarget{{"example.com/m/cluster", "FuzzLSN"}, {"example.com/m/cluster", "FuzzHistory"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(fuzzTarget{})); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

var brokenModule = map[string]string{
	"go.mod":           "module example.com/m\n\ngo 1.26\n",
	"empty/e.go":       "package empty\n",
	"builds/b_test.go": "package builds\n\nvar _ = missing\n",
	"exits/e_test.go":  "package exits\n\nimport (\"os\"; \"testing\")\n\nfunc TestExits(t *testing.T) { os.Exit(3) }\n",
	"fails/f_test.go": "package fails\n\nimport \"testing\"\n\nfunc TestGood(t *testing.T) { t.Run(\"sub\", func(t *testing.T) {}) }\n" +
		"func TestFails(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"one is not two\") }) }\n" +
		"func TestSkips(t *testing.T) { t.Skip(\"not today\") }\n",
	"hangs/h_test.go":  "package hangs\n\nimport \"testing\"\n\nfunc TestHangs(t *testing.T) { select {} }\n",
	"panics/p_test.go": "package panics\n\nimport \"testing\"\n\nfunc TestPanics(t *testing.T) { panic(\"on purpose\") }\n",
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAPartThatCannotRunIsSkippedByTheRuleForSkips(t *testing.T) {
	listed, err := parseSkips("skips.txt", "test/chaos TestChaos # needs root")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name            string
		ci              bool
		skips           skipList
		skipped, failed int
	}{
		{name: "at home", skipped: 1},
		{name: "in CI, and listed", ci: true, skips: listed, skipped: 1},
		{name: "in CI, and not listed", ci: true, failed: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			s := &suite{out: &out, opts: options{ci: c.ci}, skips: c.skips}
			got := s.skipPart(chaosPackage, chaosTest, "needs root")
			if got.skipped != c.skipped || got.failed != c.failed || !strings.Contains(out.String(), "skipped: needs root") {
				t.Errorf("got %s, said %q", got.String(), out.String())
			}
		})
	}
}

func TestAPartBesideOthersHasWhatTheyLeaveAndIsHeardAsAWhole(t *testing.T) {
	began, ended := make(chan bool), make(chan bool)
	aside := part{name: "aside", beside: true, run: func(ctx context.Context, s *suite) tally {
		fmt.Fprintln(s.out, "first")
		close(began)
		<-ended
		return check("nice")(ctx, s) // without a command it says how nice it is
	}}
	long := part{name: "long", run: func(_ context.Context, s *suite) tally {
		<-began
		fmt.Fprintln(s.out, "meanwhile")
		close(ended)
		return tally{passed: 1}
	}}
	var out strings.Builder
	s := &suite{out: &out, env: os.Environ(), now: frozen, opts: options{parts: []part{aside, long}}}
	if total := s.runAll(t.Context()); total.passed != 2 || total.failed != 0 {
		t.Errorf("got %s, want two passed:\n%s", total.String(), out.String())
	}
	if said := "\n== aside: \nfirst\n19\n== aside: 1 passed, 0 failed, 0 skipped in 0.0 s\n"; !strings.Contains(out.String(), said) {
		t.Errorf("output lacks %q as a whole:\n%s", said, out.String())
	}

	out.Reset()
	alone := &suite{out: &out, env: os.Environ(), now: frozen, opts: options{parts: []part{{name: "aside", beside: true, run: check("nice")}}}}
	if alone.runAll(t.Context()); strings.Contains(out.String(), "19") {
		t.Errorf("a part with nothing to run beside is run as any other:\n%s", out.String())
	}
}

// Where starting a program is dear, what may run beside other parts has its turn like them.
func TestOnASlowMachineNothingRunsBeside(t *testing.T) {
	var out strings.Builder
	var order []string
	turn := func(name string) part {
		return part{name: name, beside: name == "sim", run: func(context.Context, *suite) tally {
			order = append(order, name)
			return tally{passed: 1}
		}}
	}
	s := &suite{out: &out, now: frozen, alone: true, opts: options{parts: []part{turn("sim"), turn("integration")}}}
	total := s.runAll(t.Context())
	if diff := cmp.Diff([]string{"sim", "integration"}, order); diff != "" || total.passed != 2 {
		t.Errorf("%d parts passed, their order (-want +got):\n%s", total.passed, diff)
	}
	if strings.Contains(out.String(), "beside the next parts") || !strings.Contains(out.String(), "this machine is slow") {
		t.Errorf("the run does not say that it goes one by one:\n%s", out.String())
	}
}

func TestAMachineIsSlowByEitherMeasure(t *testing.T) {
	for p, want := range map[pace]bool{
		{900 * time.Microsecond, 500 * time.Nanosecond}:  false,
		{2600 * time.Microsecond, 500 * time.Nanosecond}: true,
		{900 * time.Microsecond, 14 * time.Microsecond}:  true,
	} {
		if p.slow() != want {
			t.Errorf("%+v: slow is %v", p, p.slow())
		}
	}
	if here := measurePace(t.Context()); here.start <= 0 || here.page <= 0 {
		t.Errorf("this machine takes %+v", here)
	}
}
