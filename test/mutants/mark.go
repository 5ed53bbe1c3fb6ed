package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mark is one "// guard: name" in the source, with what the rewriter found there.
type mark struct {
	name string
	file string // with slashes, relative to the root
	line int    // of the comment
	// changes are the mutants of this guard, one word each.
	changes []string
	// parts are further mutants: one operand of a condition is forgotten.
	parts []string
	edits []edit
}

// dir is the folder of the package that holds the mark.
func (m mark) dir() string { return pathDir(m.file) }

func (m mark) at() string { return fmt.Sprintf("%s:%d", m.file, m.line) }

var markComment = regexp.MustCompile(`^// guard: ([a-z0-9_-]+)`)

// findMarks reads every Go file of the product below root, in the order of their
// paths. A mark on something that cannot be taken out is an error: it names the
// place and what to do.
func findMarks(root string) ([]mark, error) {
	var all []mark
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && slices.Contains([]string{".git", "bin", "tools", "test"}, rel):
			return fs.SkipDir
		case d.IsDir(), !strings.HasSuffix(rel, ".go"), strings.HasSuffix(rel, "_test.go"):
			return nil
		}
		marks, err := marksIn(root, rel)
		all = append(all, marks...)
		return err
	})
	return all, err
}

// marksIn reads one file.
func marksIn(root, rel string) ([]mark, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(rel)))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, rel, text, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", rel, err)
	}
	s := source{name: rel, text: text, tree: tree, file: fset.File(tree.Pos())}
	var marks []mark
	for _, group := range tree.Comments {
		for _, c := range group.List {
			found := markComment.FindStringSubmatch(c.Text)
			if found == nil {
				continue
			}
			m := mark{name: found[1], file: rel, line: s.line(c.Pos())}
			target := m.line
			if s.standsAlone(c) {
				target = s.line(group.End()) + 1
			}
			if err := s.takeOut(&m, target); err != nil {
				return nil, fmt.Errorf("%s: guard %s: %w", m.at(), m.name, err)
			}
			marks = append(marks, m)
		}
	}
	return marks, nil
}

// source is one parsed file.
type source struct {
	name string
	text []byte
	tree *ast.File
	file *token.File
}

func (s source) line(p token.Pos) int { return s.file.Line(p) }

func (s source) at(p token.Pos) int { return s.file.Offset(p) }

// standsAlone tells a comment above the guard from one behind it.
func (s source) standsAlone(c *ast.Comment) bool {
	start := s.at(s.file.LineStart(s.line(c.Pos())))
	return strings.TrimSpace(string(s.text[start:s.at(c.Pos())])) == ""
}

func pathDir(slashed string) string {
	if i := strings.LastIndexByte(slashed, '/'); i >= 0 {
		return slashed[:i]
	}
	return "."
}
