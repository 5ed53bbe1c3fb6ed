package main

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
)

// edit puts text at an offset of the original file. No edit holds a line end, so
// every line keeps its number and a stack trace leads to the product's source.
type edit struct {
	at   int
	text string
}

const mutantPackage = "github.com/pgkeeper/pgkeeper/test/mutants/mutant"

// condition lets a switch fix what the expressions, any of which suffices, say.
func (s source) condition(m *mark, parts ...ast.Expr) {
	m.changes = conditionChanges
	m.edits = append(m.edits, edit{s.at(parts[0].Pos()), "mutant.Cond(" + quoted(m.name) + ", ("})
	for i := range parts[1:] {
		// The comma between two becomes a part of the condition: "a), (b" would be
		// two arguments.
		m.edits = append(m.edits, edit{s.at(parts[i].End()), ") ||" + omitComma}, edit{s.at(parts[i+1].Pos()), "("})
	}
	m.edits = append(m.edits, edit{s.at(parts[len(parts)-1].End()), "))"})
}

// omitComma ends an edit after which the next comma of the file is left out.
const omitComma = "\x00"

func (s source) around(m *mark, changes []string, n ast.Node, before, after string) {
	m.changes = changes
	m.edits = append(m.edits, edit{s.at(n.Pos()), before}, edit{s.at(n.End()), after})
}

func quoted(name string) string { return strconv.Quote(name) }

// rewrite gives the text with all edits, and the import they need.
func rewrite(name string, text []byte, edits []edit) ([]byte, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, text, parser.PackageClauseOnly)
	if err != nil {
		return nil, err
	}
	edits = append([]edit{{fset.File(tree.Pos()).Offset(tree.Name.End()), "; import mutant " + quoted(mutantPackage)}}, edits...)
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.at, b.at) })
	var out []byte
	from := 0
	for _, e := range edits {
		out = append(out, text[from:e.at]...)
		from = e.at
		insert := e.text
		if n := len(insert) - len(omitComma); n >= 0 && insert[n:] == omitComma {
			insert = insert[:n]
			for text[from] != ',' {
				from++
			}
			from++
		}
		out = append(out, insert...)
	}
	return append(out, text[from:]...), nil
}
