package main

import (
	"errors"
	"go/ast"
	"go/token"
	"strings"

	"github.com/pgkeeper/pgkeeper/test/mutants/mutant"
)

var (
	conditionChanges = []string{mutant.Never, mutant.Always}
	otherChanges     = []string{mutant.Without}

	errShape = errors.New("the mark stands on nothing that can be taken out: put it on the line, or right above the line, of an if, a case without a switch value, " +
		"an operand of && or || on a line of its own, a statement, a returned value, or one element of a list")
)

// takeOut finds what the mark on line target guards, and writes the edits that
// let a switch take it out. The kinds are tried from the plainest to the finest:
// a whole if or case, a statement, an element of a list, an operand.
func (s source) takeOut(m *mark, target int) error {
	for _, kind := range []func(*mark, ast.Node, []ast.Node) bool{s.branch, s.statement, s.element, s.operand} {
		done := false
		s.walk(func(n ast.Node, parents []ast.Node) bool {
			if !done && s.line(n.Pos()) == target {
				done = kind(m, n, parents)
			}
			return !done
		})
		if done {
			return nil
		}
	}
	return errShape
}

// walk visits every node from the outside in, with its parents, the nearest last.
func (s source) walk(visit func(n ast.Node, parents []ast.Node) bool) {
	var parents []ast.Node
	ast.Inspect(s.tree, func(n ast.Node) bool {
		if n == nil {
			parents = parents[:len(parents)-1]
			return true
		}
		if !visit(n, parents) {
			return false
		}
		parents = append(parents, n)
		return true
	})
}

// branch is an if or a case. The case of a switch with a value has no condition
// of its own and is not taken.
func (s source) branch(m *mark, n ast.Node, parents []ast.Node) bool {
	switch n := n.(type) {
	case *ast.CaseClause:
		if len(parents) < 2 || len(n.List) == 0 {
			return false
		}
		outer, ok := parents[len(parents)-2].(*ast.SwitchStmt)
		if !ok || outer.Tag != nil {
			return false
		}
		s.condition(m, n.List...)
		return true
	case *ast.IfStmt:
		if call := checkedCall(n); call != nil {
			s.around(m, otherChanges, call, "mutant.Call("+quoted(m.name)+", func() error { return ", " })")
			return true
		}
		s.condition(m, n.Cond)
		return true
	}
	return false
}

// checkedCall is f() in "if err := f(); err != nil", which is taken out as a whole.
func checkedCall(n *ast.IfStmt) ast.Expr {
	init, ok := n.Init.(*ast.AssignStmt)
	if !ok || len(init.Lhs) != 1 || len(init.Rhs) != 1 {
		return nil
	}
	name, ok := init.Lhs[0].(*ast.Ident)
	if !ok || name.Name != "err" {
		return nil
	}
	check, ok := n.Cond.(*ast.BinaryExpr)
	if !ok || check.Op != token.NEQ {
		return nil
	}
	call, ok := init.Rhs[0].(*ast.CallExpr)
	if !ok {
		return nil
	}
	return call
}

func (s source) statement(m *mark, n ast.Node, _ []ast.Node) bool {
	switch n := n.(type) {
	case *ast.ReturnStmt:
		if len(n.Results) != 1 {
			return false
		}
		s.value(m, n.Results[0])
		return true
	case *ast.AssignStmt:
		return s.assignment(m, n)
	case *ast.ExprStmt:
		s.around(m, otherChanges, n, "if !mutant.Out("+quoted(m.name)+") { ", " }")
		return true
	}
	return false
}

// assignment is skipped when it changes something, and gives zero values when it
// makes a variable.
func (s source) assignment(m *mark, n *ast.AssignStmt) bool {
	switch {
	case n.Tok != token.DEFINE:
		s.around(m, otherChanges, n, "if !mutant.Out("+quoted(m.name)+") { ", " }")
		return true
	case len(n.Rhs) == 1 && len(n.Lhs) == 1:
		s.value(m, n.Rhs[0])
		return true
	case len(n.Rhs) == 1 && len(n.Lhs) == 2:
		s.around(m, otherChanges, n.Rhs[0], "mutant.Two(", ").Zero("+quoted(m.name)+")")
		return true
	}
	return false
}

// element is one of a list, or a field of a value.
func (s source) element(m *mark, n ast.Node, parents []ast.Node) bool {
	if len(parents) == 0 {
		return false
	}
	list, ok := parents[len(parents)-1].(*ast.CompositeLit)
	if !ok || n == list.Type {
		return false
	}
	switch n := n.(type) {
	case *ast.KeyValueExpr:
		s.value(m, n.Value)
		return true
	case *ast.CompositeLit:
		if array, ok := list.Type.(*ast.ArrayType); ok && n.Type == nil {
			name := string(s.text[s.at(array.Elt.Pos()):s.at(array.Elt.End())])
			s.around(m, otherChanges, n, "mutant.Zero("+quoted(m.name)+", "+name, ")")
			return true
		}
	}
	if e, ok := n.(ast.Expr); ok {
		s.value(m, e)
		return true
	}
	return false
}

// operand is a part of a condition that has its line for itself.
func (s source) operand(m *mark, n ast.Node, parents []ast.Node) bool {
	e, ok := n.(ast.Expr)
	if !ok || len(parents) == 0 || s.line(n.Pos()) != s.line(n.End()) {
		return false
	}
	whole, ok := parents[len(parents)-1].(*ast.BinaryExpr)
	if !ok || whole.Op != token.LAND && whole.Op != token.LOR || !s.hasTheLine(n) {
		return false
	}
	s.condition(m, e)
	return true
}

// hasTheLine says whether n shares its line with nothing but operators, brackets
// and a comment.
func (s source) hasTheLine(n ast.Node) bool {
	before := string(s.text[s.at(s.file.LineStart(s.line(n.Pos()))):s.at(n.Pos())])
	rest, _, _ := strings.Cut(string(s.text[s.at(n.End()):]), "\n")
	code, _, _ := strings.Cut(rest, "//")
	return strings.Trim(before+code, "&|(){ \t") == ""
}

// value is a condition where the operator says so, anything else otherwise.
func (s source) value(m *mark, e ast.Expr) {
	if isCondition(e) {
		s.condition(m, e)
		return
	}
	s.around(m, otherChanges, e, "mutant.Zero("+quoted(m.name)+", ", ")")
}

func isCondition(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return isCondition(e.X)
	case *ast.UnaryExpr:
		return e.Op == token.NOT
	case *ast.BinaryExpr:
		switch e.Op {
		case token.LAND, token.LOR, token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
			return true
		}
	}
	return false
}
