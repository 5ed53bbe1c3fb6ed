package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/config"
)

// guardComment is "// guard: name", alone or behind a line of code.
var guardComment = regexp.MustCompile(`// guard: ([a-z0-9_-]+)`)

// guardRow is a row of the table of guards: name, file, what it protects, tests.
var guardRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_-]+)` \\| \\[?`?([a-z/_]+\\.go)`?\\]?[^|]*\\| ([^|]+) \\| ([^|]+) \\|$")

func TestEveryGuardStandsInTheTableOfTheSafetyArgument(t *testing.T) {
	rows := map[string]string{}
	for _, m := range guardRow.FindAllStringSubmatch(page(t, "docs/safety.md"), -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("docs/safety.md: guard %s stands twice in the table", m[1])
		}
		rows[m[1]] = m[2]
	}
	if len(rows) == 0 {
		t.Fatal("docs/safety.md: no row of the table was recognised")
	}
	goFiles(t, false, func(path, content string) {
		for _, m := range guardComment.FindAllStringSubmatch(content, -1) {
			switch name := m[1]; {
			case rows[name] == "":
				t.Errorf("%s: guard %s is not in the table of docs/safety.md: add what it protects and the test that fails without it", path, name)
			case rows[name] != path:
				t.Errorf("docs/safety.md: guard %s stands in %s, not in %s", name, path, rows[name])
			}
			delete(rows, m[1])
		}
	})
	for name, path := range rows {
		t.Errorf("docs/safety.md: guard %s is not in %s any more: remove its row", name, path)
	}
}

// testName is a test named on a page, testCase a case in its table.
var (
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	testCase = regexp.MustCompile(`“([^”]+)”`)
)

func TestEveryTestThatAPageNamesExists(t *testing.T) {
	functions, text := map[string]bool{}, strings.Builder{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	goFiles(t, true, func(_, content string) {
		for _, m := range declared.FindAllStringSubmatch(content, -1) {
			functions[m[1]] = true
		}
		text.WriteString(content)
	})
	for _, path := range []string{"docs/safety.md", "docs/failure-modes.md", "docs/routing.md", "docs/deploy.md", "docs/pgrw.md", "docs/pgbouncer.md"} {
		for line := range strings.Lines(page(t, path)) {
			for _, m := range testName.FindAllStringSubmatch(line, -1) {
				if !functions[m[1]] {
					t.Errorf("%s names the test %s, which is not there", path, m[1])
				}
			}
			if !strings.HasPrefix(line, "| ") {
				continue
			}
			for _, m := range testCase.FindAllStringSubmatch(line, -1) {
				if !strings.Contains(text.String(), strconv.Quote(m[1])) {
					t.Errorf("%s names the case %q, which no test has", path, m[1])
				}
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	pages := []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	for _, pattern := range []string{"docs/*.md", "docs/decisions/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			pages = append(pages, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
	}
	for _, path := range pages {
		for _, m := range link.FindAllStringSubmatch(page(t, path), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
	}
}

func TestEveryPackageStandsOnTheMap(t *testing.T) {
	readme := page(t, "README.md")
	goFiles(t, false, func(path, _ string) {
		top, _, inFolder := strings.Cut(path, "/")
		if inFolder && !strings.Contains(readme, "`"+top+"/") {
			t.Errorf("README.md: the map lacks %s/", top)
		}
	})
}

// goFiles calls f with every Go file of the product or, with tests, of its tests.
func goFiles(t *testing.T, tests bool, f func(path, content string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = strings.TrimPrefix(filepath.ToSlash(path), root+"/")
		switch {
		case d.IsDir() && slices.Contains([]string{".git", "bin", "tools"}, path):
			return fs.SkipDir
		case d.IsDir(), !strings.HasSuffix(path, ".go"):
			return nil
		}
		isTest := strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "test/") || strings.HasPrefix(path, "dcs/dcstest/")
		if isTest == tests {
			f(path, page(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func TestTheConfigurationInTheReadmeIsValid(t *testing.T) {
	blocks := yamlBlock.FindAllStringSubmatch(page(t, "README.md"), -1)
	if len(blocks) != 1 {
		t.Fatalf("README.md has %d YAML blocks, want the one of the quick start", len(blocks))
	}
	file := filepath.Join(t.TempDir(), "pgkeeper.yml")
	if err := os.WriteFile(file, []byte(blocks[0][1]), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p.String())
	}
}
