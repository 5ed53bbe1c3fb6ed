package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on one document. A configuration is a few kilobytes; beyond these the
// parser could be made to eat stack or, as its time grows with the square of the
// number of keys, minutes.
const (
	maxBytes = 128 << 10
	maxNodes = 20_000
	maxDepth = 64
	// maxProblems per document; nobody reads more.
	maxProblems = 200
)

// parseYAML is parseDocument for a caller that takes any problem as one.
func parseYAML(text []byte, file string) (*node, Problems) {
	root, problems, _ := parseDocument(text, file)
	return root, problems
}

// parseDocument reads one YAML document into nodes. A document without content
// is an empty mapping. It reports syntax errors (the parser stops at the first,
// and ok is false), repeated keys, tags and aliases it cannot follow.
func parseDocument(text []byte, file string) (root *node, problems Problems, ok bool) {
	c := converter{file: file, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	empty := &node{shape: shapeDict, pos: Position{File: file, Line: 1, Column: 1}}
	// The parser is not ours: should it fail on some input, that is one more
	// malformed document and not the end of the agent.
	defer func() {
		if failure := recover(); failure != nil {
			root, ok = empty, false
			problems = Problems{{Position: empty.pos, Severity: Error, Rule: "is not valid YAML", Fix: "check quotes, brackets and indentation"}}
		}
	}()
	if rule := tooBig(text); rule != "" {
		return empty, Problems{{Position: empty.pos, Severity: Error, Rule: rule, Fix: "this is no configuration of one member"}}, false
	}
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return empty, Problems{syntax(err, file)}, false
	}
	root = empty
	docs := 0
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if docs++; docs > 1 {
			c.fault(c.position(doc.Body), "", "a second document in one file", "keep one document; a directory of files is merged")
			break
		}
		root = c.convert(doc.Body, "", 0)
	}
	if root.shape == shapeNull {
		root = empty
	}
	return root, c.problems, true
}

// tooBig looks before the parser does: size, and how deep brackets nest.
func tooBig(text []byte) string {
	if len(text) > maxBytes {
		return fmt.Sprintf("is %d bytes long, more than %d", len(text), maxBytes)
	}
	depth, deepest, indents := 0, 0, 0
	for i, ch := range text {
		switch ch {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		case '\n':
			indents = 0
		case '-', '?', ':', '!', '&':
			// Compact nesting ("- - - x") goes one level deeper per mark.
			if i+1 < len(text) && text[i+1] == ' ' || ch == '!' || ch == '&' {
				indents++
				deepest = max(deepest, indents/8)
			}
		}
	}
	if deepest > 2*maxDepth {
		return fmt.Sprintf("nests more than %d levels deep", 2*maxDepth)
	}
	return ""
}

func syntax(err error, file string) Problem {
	p := Problem{Position: Position{File: file, Line: 1, Column: 1}, Severity: Error, Rule: "is not valid YAML", Fix: "check quotes, brackets and indentation"}
	if at, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		p.Rule = "is not valid YAML: " + strings.ReplaceAll(at.Message, "\t", `\t`)
		if at.Token != nil && at.Token.Position != nil {
			p.Line, p.Column = at.Token.Position.Line, at.Token.Position.Column
		}
	}
	return p
}

// converter turns the parser's tree into nodes, following anchors.
type converter struct {
	file     string
	anchors  map[string]ast.Node
	open     map[string]bool
	count    int
	problems Problems
}

func (c *converter) fault(pos Position, key, rule, fix string) {
	if len(c.problems) >= maxProblems {
		return
	}
	c.problems = append(c.problems, Problem{Position: pos, Key: key, Severity: Error, Rule: rule, Fix: fix})
}

func (c *converter) position(n ast.Node) Position {
	at := n.GetToken()
	if at == nil || at.Position == nil {
		return Position{File: c.file, Line: 1, Column: 1}
	}
	return Position{File: c.file, Line: at.Position.Line, Column: at.Position.Column}
}

func (c *converter) convert(n ast.Node, path string, depth int) *node {
	pos := c.position(n)
	null := &node{shape: shapeNull, pos: pos}
	if c.count++; c.count > maxNodes || depth > maxDepth {
		if c.count <= maxNodes+1 {
			c.count = maxNodes + 1
			c.fault(pos, path, "holds too many or too deeply nested values", "aliases may not multiply without end")
		}
		return null
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return c.mapping(n.Values, pos, path, depth)
	case *ast.MappingValueNode:
		return c.mapping([]*ast.MappingValueNode{n}, pos, path, depth)
	case *ast.SequenceNode:
		out := &node{shape: shapeList, pos: pos}
		for i, value := range n.Values {
			out.items = append(out.items, c.convert(value, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
		return out
	case *ast.AnchorNode:
		c.anchors[n.Name.String()] = n.Value
		return c.convert(n.Value, path, depth+1)
	case *ast.AliasNode:
		return c.alias(n, pos, path, depth)
	case *ast.TagNode:
		return c.tag(n, pos, path, depth)
	case *ast.LiteralNode:
		return quoted(n.Value.Value, pos)
	case *ast.StringNode:
		if n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType {
			return quoted(n.Value, pos)
		}
		return plain(n.Value, pos)
	case *ast.NullNode:
		return null
	case ast.ScalarNode:
		return plain(n.GetToken().Value, pos)
	}
	c.fault(pos, path, "is a kind of YAML value no configuration uses", "write text, a number, a list or a mapping")
	return null
}

func (c *converter) mapping(values []*ast.MappingValueNode, pos Position, path string, depth int) *node {
	out := &node{shape: shapeDict, pos: pos}
	var merges []*node
	for _, v := range values {
		if v.Key == nil || v.Value == nil {
			continue
		}
		if v.Key.IsMergeKey() {
			merges = append(merges, c.convert(v.Value, path, depth+1))
			continue
		}
		key, at := c.key(v.Key), c.position(v.Key)
		full := join(path, key)
		if i := out.index(key); i >= 0 {
			c.fault(at, full, fmt.Sprintf("is written twice, first in line %d", out.entries[i].pos.Line), "keep one of the two")
			continue
		}
		value := c.convert(v.Value, full, depth+1)
		if value.shape == shapeDict {
			value.pos = at
		}
		out.entries = append(out.entries, entry{key, at, value})
	}
	for _, m := range merges {
		out.under(m)
	}
	return out
}

// under fills in what a merge key (<<) brings: keys that are not there yet.
func (n *node) under(merged *node) {
	for _, item := range merged.items {
		n.under(item)
	}
	for _, e := range merged.entries {
		if n.index(e.key) < 0 {
			n.entries = append(n.entries, e)
		}
	}
}

func (c *converter) key(k ast.MapKeyNode) string {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value
	case *ast.MappingKeyNode:
		if s, ok := k.Value.(*ast.StringNode); ok {
			return s.Value
		}
	}
	return k.GetToken().Value
}

func (c *converter) alias(n *ast.AliasNode, pos Position, path string, depth int) *node {
	name := n.Value.String()
	target, known := c.anchors[name]
	if !known || c.open[name] {
		c.fault(pos, path, fmt.Sprintf("alias *%s has no anchor before it", name), "write &"+name+" at the value it stands for")
		return &node{shape: shapeNull, pos: pos}
	}
	c.open[name] = true
	defer delete(c.open, name)
	out := c.convert(target, path, depth+1)
	out.pos = pos
	return out
}

func (c *converter) tag(n *ast.TagNode, pos Position, path string, depth int) *node {
	if n.Value == nil {
		return &node{shape: shapeNull, pos: pos}
	}
	switch n.Start.Value {
	case "!!str":
		value := c.convert(n.Value, path, depth+1)
		if value.scalar() {
			return quoted(value.text, pos)
		}
		return value
	case "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq":
		return c.convert(n.Value, path, depth+1)
	}
	c.fault(pos, path, "has the tag "+n.Start.Value+", which means nothing here", "remove the tag")
	return c.convert(n.Value, path, depth+1)
}

func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "" || key[0] == '[':
		return path + key
	}
	return path + "." + key
}
