package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// judge folds the events of one `go test -json` into a tally, and shows what a person needs: one line per package,
// and the whole output of what failed.
type judge struct {
	out   io.Writer
	ci    bool
	skips skipList
	now   func() time.Time

	total    tally
	packages map[string]*packageState
	// builds holds the compiler's words by import path until the package that needs them fails.
	builds map[string][]string
	spoke  time.Time
}

// packageState is what is known of a package that is still running.
type packageState struct {
	tally   tally
	running map[string]bool
	output  map[string][]string // by test; "" is the package's own
}

// quiet is how long a run may say nothing before it names what is still running.
const quiet = 30 * time.Second

func newJudge(out io.Writer, ci bool, skips skipList, now func() time.Time) *judge {
	return &judge{out: out, ci: ci, skips: skips, now: now, packages: map[string]*packageState{}, builds: map[string][]string{}, spoke: now()}
}

// read folds events until the stream ends, and speaks up at a tick when nothing was said for a while.
// A line that is no event is shown as it is: it is go's own complaint.
func (j *judge) read(events io.Reader, tick <-chan time.Time) error {
	lines := make(chan []byte)
	failed := make(chan error, 1)
	go func() {
		defer close(lines)
		failed <- eachLine(events, lines)
	}()
	for {
		select {
		case line, more := <-lines:
			if !more {
				return <-failed
			}
			j.line(line)
		case <-tick:
			j.remind()
		}
	}
}

func eachLine(from io.Reader, to chan<- []byte) error {
	reader := bufio.NewReader(from)
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) > 0 {
			to <- line
		}
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read go test's events: %w", err)
		}
	}
}

func (j *judge) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		fmt.Fprintf(j.out, "%s", line)
		return
	}
	j.fold(e)
}

func (j *judge) fold(e event) {
	switch e.Action {
	case "build-output":
		j.builds[e.ImportPath] = append(j.builds[e.ImportPath], e.Output)
		return
	case "build-fail":
		return
	}
	p := j.packages[e.Package]
	if p == nil {
		p = &packageState{running: map[string]bool{}, output: map[string][]string{}}
		j.packages[e.Package] = p
	}
	switch {
	case e.Action == "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
	case e.Test == "":
		j.foldPackage(e, p)
	default:
		j.foldTest(e, p)
	}
}

func (j *judge) foldTest(e event, p *packageState) {
	switch e.Action {
	case "run":
		p.running[e.Test] = true
		return
	case "pass":
		p.tally.passed++
	case "skip":
		j.skip(e, p)
	case "fail":
		p.tally.fail(e.Package+"."+e.Test, reasons(p.output[e.Test])...)
		j.show(e.Package, e.Test, p, "FAIL")
	default: // pause, cont, bench, attr
		return
	}
	delete(p.running, e.Test)
	delete(p.output, e.Test)
}

// skip counts a skipped test. In CI everything that a test can need is there, so an unlisted skip is a failure.
func (j *judge) skip(e event, p *packageState) {
	if !j.ci || j.skips.allows(e.Package, e.Test) {
		p.tally.skipped++
		return
	}
	name := e.Package + "." + e.Test
	p.tally.fail(name+" (skipped, and not listed in test/skips.txt)", reasons(p.output[e.Test])...)
	j.show(e.Package, e.Test, p, "SKIPPED IN CI, not listed in test/skips.txt")
}

func (j *judge) foldPackage(e event, p *packageState) {
	switch e.Action {
	case "pass", "skip":
		j.packageDone(e, p, "ok")
	case "fail":
		j.packageFailed(e, p)
		j.packageDone(e, p, "FAIL")
	}
}

// packageFailed shows why: what did not build, what was still running when the process died, and, when no test is to
// blame, the package's own output.
func (j *judge) packageFailed(e event, p *packageState) {
	blamed := p.tally.failed > 0
	if e.FailedBuild != "" {
		for _, text := range j.builds[e.FailedBuild] {
			fmt.Fprint(j.out, text)
		}
		p.tally.fail(e.Package+" (does not build)", bounded(trimmed(j.builds[e.FailedBuild]))...)
		blamed = true
	}
	for _, test := range sortedKeys(p.running) {
		p.tally.fail(e.Package+"."+test+" (did not finish)", reasons(p.output[test])...)
		j.show(e.Package, test, p, "DID NOT FINISH")
		blamed = true
	}
	if !blamed {
		p.tally.fail(e.Package+" (failed outside a test)", bounded(trimmed(p.output[""]))...)
	}
	for _, text := range p.output[""] {
		if !blamed || !isVerdict(text) {
			fmt.Fprint(j.out, text)
		}
	}
}

// isVerdict tells go's own summary lines from what the package printed.
func isVerdict(text string) bool {
	return strings.HasPrefix(text, "FAIL") || strings.HasPrefix(text, "ok  ") || strings.HasPrefix(text, "exit status ")
}

// show says first what a long output would hide: a record may be cut short.
func (j *judge) show(pkg, test string, p *packageState, verdict string) {
	fmt.Fprintf(j.out, "--- %s: %s.%s\n", verdict, pkg, test)
	if len(p.output[test]) > shortOutput {
		for _, line := range reasons(p.output[test]) {
			fmt.Fprintf(j.out, "  > %s\n", line)
		}
	}
	for _, text := range p.output[test] {
		fmt.Fprintf(j.out, "    %s", text)
	}
	j.spoke = j.now()
}

func (j *judge) packageDone(e event, p *packageState, verdict string) {
	if e.Action != "skip" || p.tally.passed+p.tally.failed+p.tally.skipped > 0 {
		fmt.Fprintf(j.out, "%-5s %-60s %5d passed %3d failed %3d skipped %8.1f s\n",
			verdict, e.Package, p.tally.passed, p.tally.failed, p.tally.skipped, e.Elapsed)
		j.spoke = j.now()
	}
	j.total.add(p.tally)
	delete(j.packages, e.Package)
}

// remind names what is running when nothing was said for a while, so that a slow test does not look like a hung one.
func (j *judge) remind() {
	if j.now().Sub(j.spoke) < quiet {
		return
	}
	j.spoke = j.now()
	for _, name := range sortedKeys(j.packages) {
		if running := sortedKeys(j.packages[name].running); len(running) > 0 {
			fmt.Fprintf(j.out, "...   %-60s running %s\n", name, running[len(running)-1])
		}
	}
}

// verdict closes the books: a package that never ended failed, and so did a go test that says so with nobody blamed.
func (j *judge) verdict(readErr, waitErr error) tally {
	for _, name := range sortedKeys(j.packages) {
		p := j.packages[name]
		j.packageFailed(event{Package: name}, p)
		j.packageDone(event{Action: "fail", Package: name}, p, "FAIL")
	}
	if err := errors.Join(readErr, waitErr); err != nil && j.total.failed == 0 {
		for _, path := range sortedKeys(j.builds) {
			fmt.Fprint(j.out, strings.Join(j.builds[path], ""))
		}
		fmt.Fprintf(j.out, "go test: %v\n", err)
		j.total.fail("go test: " + err.Error())
	}
	return j.total
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
