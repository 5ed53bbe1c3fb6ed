package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"

	"github.com/pgkeeper/pgkeeper/test/mutants/mutant"
)

// edit puts text at an offset of the original file. No edit holds a line end, so
// every line keeps its number and a stack trace leads to the product's source.
type edit struct {
	at   int
	text string
}

const mutantPackage = "github.com/pgkeeper/pgkeeper/test/mutants/mutant"

// condition lets a switch fix what the expressions, any of which suffices, say:
// all of it, or one part, as if that part had been forgotten.
func (s source) condition(m *mark, list ...ast.Expr) {
	m.changes = conditionChanges
	parts := 0
	for _, e := range list {
		parts += len(operands(e, token.LOR))
	}
	put := func(at token.Pos, text string) { m.edits = append(m.edits, edit{s.at(at), text}) }
	put(list[0].Pos(), "mutant.Cond("+quoted(m.name)+", (")
	for i, e := range list {
		if i > 0 {
			put(e.Pos(), "(")
		}
		for _, o := range operands(e, token.LOR) {
			if parts == 1 {
				break
			}
			change := mutant.Part + strconv.Itoa(len(m.parts)+1)
			m.parts = append(m.parts, change)
			before := "(!mutant.Forgets(%q, %q) && ("
			if o.inAnd {
				before = "(mutant.Forgets(%q, %q) || ("
			}
			put(o.expr.Pos(), fmt.Sprintf(before, m.name, change))
			put(o.expr.End(), "))")
		}
		if i < len(list)-1 {
			// The comma between two becomes a part of the condition: "a), (b" would be
			// two arguments.
			put(e.End(), ") ||"+omitComma)
		}
	}
	put(list[len(list)-1].End(), "))")
}

// operandOf is one part of a condition. Without it the others decide: it is taken
// as true among those joined by &&, as false among those joined by ||.
type operandOf struct {
	expr  ast.Expr
	inAnd bool
}

// operands are the parts of e, which is itself one of those joined by outer.
func operands(e ast.Expr, outer token.Token) []operandOf {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return operands(e.X, outer)
	case *ast.BinaryExpr:
		if e.Op == token.LAND || e.Op == token.LOR {
			return append(operands(e.X, e.Op), operands(e.Y, e.Op)...)
		}
	}
	return []operandOf{{e, outer == token.LAND}}
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
