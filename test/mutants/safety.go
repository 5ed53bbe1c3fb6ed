package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// row is what docs/safety.md says of one guard.
type row struct {
	protects string
	tests    []namedCase
}

// namedCase is a test, or one case of it.
type namedCase struct {
	test, label string
}

// String is the case as docs/safety.md writes it.
func (c namedCase) String() string {
	if c.label == "" {
		return "`" + c.test + "`"
	}
	return "`" + c.test + "` “" + c.label + "”"
}

// covers says whether failed, a full name of a test that failed, is this case, a
// part of it, or the case in a group of cases.
func (c namedCase) covers(failed string) bool {
	test, rest, _ := strings.Cut(failed, "/")
	switch {
	case test != c.test:
		return false
	case c.label == "":
		return true
	}
	return strings.Contains("/"+rest+"/", "/"+strings.ReplaceAll(c.label, " ", "_")+"/")
}

var (
	guardRow  = regexp.MustCompile("(?m)^\\| `([a-z0-9_-]+)` \\| [^|]+ \\| ([^|]+) \\| ([^|]+) \\|$")
	caughtBy  = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`(?: “([^”]+)”)?")
	safetyDoc = filepath.Join("docs", "safety.md")
)

// readRows reads the table of guards, by name.
func readRows(root string) (map[string]row, error) {
	text, err := os.ReadFile(filepath.Join(root, safetyDoc))
	if err != nil {
		return nil, err
	}
	rows := map[string]row{}
	for _, cells := range guardRow.FindAllStringSubmatch(string(text), -1) {
		r := row{protects: cells[2]}
		for _, c := range caughtBy.FindAllStringSubmatch(cells[3], -1) {
			r.tests = append(r.tests, namedCase{test: c[1], label: c[2]})
		}
		rows[cells[1]] = r
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: no row of the table of guards was recognised", safetyDoc)
	}
	return rows, nil
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// testsOf lists the test functions of a package that need no build tag.
func testsOf(root, dir string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		return nil, err
	}
	tests := map[string]bool{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(string(text), "//go:build ") || strings.Contains(string(text), "\n//go:build ") {
			continue
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
	}
	return tests, nil
}
