package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/test/mutants/mutant"
)

func absolute(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEveryShapeIsRewritten shows what becomes of each thing a mark can stand on.
func TestEveryShapeIsRewritten(t *testing.T) {
	condition, without := []string{mutant.Never, mutant.Always}, []string{mutant.Without}
	parts := func(n int) []string {
		list := slices.Clone(condition) // and then the parts
		for i := range n {
			list = append(list, fmt.Sprintf("%s%d", mutant.Part, i+1))
		}
		return list
	}
	for name, c := range map[string]struct {
		body, want string
		changes    []string
	}{
		"an if": {changes: condition,
			body: "if a { // guard: g\n}", want: `if mutant.Cond("g", (a)) { // guard: g` + "\n}"},
		"an if below its mark": {changes: parts(2),
			body: "// guard: g — a reason\n// in two lines.\nif a || b {\n}", want: "// guard: g — a reason\n// in two lines.\n" + `if mutant.Cond("g", ((!mutant.Forgets("g", "part1") && (a)) || (!mutant.Forgets("g", "part2") && (b)))) {` + "\n}"},
		"an if that makes a variable": {changes: condition,
			body: "if x := f(); x != nil { // guard: g\n}", want: `if x := f(); mutant.Cond("g", (x != nil)) { // guard: g` + "\n}"},
		"a checked call": {changes: without,
			body: "if err := f(); err != nil { // guard: g\n}", want: `if err := mutant.Call("g", func() error { return f() }); err != nil { // guard: g` + "\n}"},
		"a case": {changes: condition,
			body: "switch {\ncase a: // guard: g\n}", want: "switch {\n" + `case mutant.Cond("g", (a)): // guard: g` + "\n}"},
		"a case of several conditions": {changes: parts(3),
			body: "switch {\ncase a, b == 1, c: // guard: g\n}", want: "switch {\n" + `case mutant.Cond("g", ((!mutant.Forgets("g", "part1") && (a))) || ((!mutant.Forgets("g", "part2") && (b == 1))) || ((!mutant.Forgets("g", "part3") && (c)))): // guard: g` + "\n}"},
		"an operand on its line": {changes: condition,
			body: "x = a &&\nb && // guard: g\nc", want: "x = a &&\n" + `mutant.Cond("g", (b)) && // guard: g` + "\nc"},
		"a returned condition": {changes: parts(4),
			body: "return a && !(b || c) && (d || e) // guard: g",
			want: `return mutant.Cond("g", ((mutant.Forgets("g", "part1") || (a)) && (mutant.Forgets("g", "part2") || (!(b || c))) && ((!mutant.Forgets("g", "part3") && (d)) || (!mutant.Forgets("g", "part4") && (e))))) // guard: g`},
		"a returned value": {changes: without,
			body: "return f(a) // guard: g", want: `return mutant.Zero("g", f(a)) // guard: g`},
		"a statement": {changes: without,
			body: "f(a) // guard: g", want: `if !mutant.Out("g") { f(a) } // guard: g`},
		"an assignment": {changes: without,
			body: "// guard: g\nx = append(x, a)", want: "// guard: g\n" + `if !mutant.Out("g") { x = append(x, a) }`},
		"a new variable": {changes: without,
			body: "x := f(a) // guard: g", want: `x := mutant.Zero("g", f(a)) // guard: g`},
		"two new variables": {changes: without,
			body: "x, err := f(a) // guard: g", want: `x, err := mutant.Two(f(a)).Zero("g") // guard: g`},
		"one of a list": {changes: without,
			body: "x := []T{\na,\n// guard: g\nf(b),\n}", want: "x := []T{\na,\n// guard: g\n" + `mutant.Zero("g", f(b)),` + "\n}"},
		"one of a list without its type": {changes: without,
			body: "x := []p.T{\na,\n// guard: g\n{b: 1},\n}", want: "x := []p.T{\na,\n// guard: g\n" + `mutant.Zero("g", p.T{b: 1}),` + "\n}"},
		"a field": {changes: without,
			body: "x := T{\na: 1,\nb: two, // guard: g\n}", want: "x := T{\na: 1,\n" + `b: mutant.Zero("g", two), // guard: g` + "\n}"},
	} {
		head := "package p\n\nfunc f() {\n"
		m, text := rewriteBody(t, head+c.body+"\n}\n")
		want := strings.Replace(head, "package p", `package p; import mutant "`+mutantPackage+`"`, 1) + c.want + "\n}\n"
		if text != want || !slices.Equal(append(slices.Clone(m.changes), m.parts...), c.changes) {
			t.Errorf("%s: %v\n%swant %v\n%s", name, m.changes, text, c.changes, want)
		}
	}
}

func rewriteBody(t *testing.T, text string) (mark, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	marks, err := marksIn(dir, "p.go")
	if err != nil || len(marks) != 1 {
		t.Fatalf("%d marks, %v in\n%s", len(marks), err, text)
	}
	out, err := rewrite("p.go", []byte(text), marks[0].edits)
	if err != nil {
		t.Fatal(err)
	}
	return marks[0], string(out)
}

// TestAMarkOnNothingIsAnError, with its place.
func TestAMarkOnNothingIsAnError(t *testing.T) {
	for name, body := range map[string]string{
		"a brace":                   "if a {\n} // guard: g",
		"a case of a switch":        "switch a {\ncase 1: // guard: g\n}",
		"two returned values":       "return a, b // guard: g",
		"an operand among others":   "x = a ||\nb && c || d // guard: g",
		"nothing below":             "// guard: g\n",
		"a blank line and an if":    "// guard: g\n\nif a {\n}",
		"the default of a switch":   "switch {\ndefault: // guard: g\n}",
		"the inside of an argument": "f(a,\nb) // guard: g",
	} {
		dir := t.TempDir()
		text := "package p\n\nfunc f() {\n" + body + "\n}\n"
		if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := marksIn(dir, "p.go"); !errors.Is(err, errShape) || !strings.Contains(err.Error(), "p.go:") || !strings.Contains(err.Error(), "guard g") {
			t.Errorf("%s: %v, want an error with the place", name, err)
		}
	}
}
