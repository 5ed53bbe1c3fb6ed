package config

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// shape is what a node is: YAML, JSON and the environment all come down to these.
type shape int

const (
	shapeNull shape = iota
	shapeText
	shapeBool
	shapeInt
	shapeFloat
	shapeList
	shapeDict
)

// String names the shape as a person writing YAML would.
func (s shape) String() string {
	return [...]string{"nothing", "text", "a boolean", "a whole number", "a number", "a list", "a mapping"}[s]
}

// node is one value of a configuration and where it was written.
type node struct {
	shape shape
	// text is a scalar as written; truth is set for booleans.
	text  string
	truth bool
	// quoted scalars are text whatever they look like.
	quoted  bool
	pos     Position
	items   []*node
	entries []entry
}

type entry struct {
	key   string
	pos   Position
	value *node
}

// get returns the value of a key, nil when it is absent or null.
func (n *node) get(key string) *node {
	if n == nil || n.shape != shapeDict {
		return nil
	}
	if i := n.index(key); i >= 0 && n.entries[i].value.shape != shapeNull {
		return n.entries[i].value
	}
	return nil
}

// at follows a dotted path.
func (n *node) at(path string) *node {
	for key := range strings.SplitSeq(path, ".") {
		n = n.get(key)
	}
	return n
}

func (n *node) index(key string) int {
	return slices.IndexFunc(n.entries, func(e entry) bool { return e.key == key })
}

func (n *node) set(key string, pos Position, value *node) {
	if i := n.index(key); i >= 0 {
		n.entries[i] = entry{key, pos, value}
		return
	}
	n.entries = append(n.entries, entry{key, pos, value})
}

// put sets the value at a dotted path, making the sections on the way.
func (n *node) put(path string, value *node) {
	head, rest, deep := strings.Cut(path, ".")
	if !deep {
		n.set(head, value.pos, value)
		return
	}
	section := n.get(head)
	if section == nil || section.shape != shapeDict {
		section = &node{shape: shapeDict, pos: value.pos}
		n.set(head, value.pos, section)
	}
	section.put(rest, value)
}

// overlay merges another document over this one, as Patroni merges the files of
// a directory: mappings key by key, null removes, anything else replaces.
func (n *node) overlay(over *node) {
	for _, e := range over.entries {
		have := n.get(e.key)
		switch {
		case e.value.shape == shapeNull:
			if i := n.index(e.key); i >= 0 {
				n.entries = slices.Delete(n.entries, i, i+1)
			}
		case have != nil && have.shape == shapeDict && e.value.shape == shapeDict:
			have.overlay(e.value)
		default:
			n.set(e.key, e.pos, e.value)
		}
	}
}

// scalar reports whether the node is one value.
func (n *node) scalar() bool { return n.shape != shapeList && n.shape != shapeDict }

// show is the value as a problem quotes it: scalars as written, the rest by shape.
func (n *node) show() string {
	if !n.scalar() || n.shape == shapeNull {
		return n.shape.String()
	}
	if len(n.text) > 80 {
		return n.text[:80] + "..."
	}
	return n.text
}

// The scalars of YAML 1.1 as PyYAML reads them, which is what files written for
// Patroni mean. Numbers in base 60 are left out: they are always an accident.
var (
	plainInt   = regexp.MustCompile(`^[-+]?(0b[0-1_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$`)
	plainFloat = regexp.MustCompile(`^[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?)$`)
	yes        = []string{"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
	no         = []string{"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
	nothing    = []string{"", "~", "null", "Null", "NULL"}
)

// plain makes a node of an unquoted scalar.
func plain(text string, pos Position) *node {
	n := &node{shape: shapeText, text: text, pos: pos}
	switch {
	case slices.Contains(nothing, text):
		n.shape = shapeNull
	case slices.Contains(yes, text):
		n.shape, n.truth = shapeBool, true
	case slices.Contains(no, text):
		n.shape = shapeBool
	case plainInt.MatchString(text):
		n.shape = shapeInt
	case plainFloat.MatchString(text):
		n.shape = shapeFloat
	}
	return n
}

func quoted(text string, pos Position) *node {
	return &node{shape: shapeText, text: text, quoted: true, pos: pos}
}

// whole is the value of an integer scalar.
func (n *node) whole() (int64, error) {
	text := strings.ReplaceAll(n.text, "_", "")
	sign, digits := "", strings.TrimLeft(text, "+-")
	if strings.HasPrefix(text, "-") {
		sign = "-"
	}
	switch {
	case strings.HasPrefix(digits, "0x"):
		return strconv.ParseInt(sign+digits[2:], 16, 64)
	case strings.HasPrefix(digits, "0b"):
		return strconv.ParseInt(sign+digits[2:], 2, 64)
	case len(digits) > 1 && digits[0] == '0' && n.shape == shapeInt:
		return strconv.ParseInt(sign+digits[1:], 8, 64)
	}
	return strconv.ParseInt(sign+digits, 10, 64)
}

// json writes the node as compact JSON with the keys in the order written.
func (n *node) json(b *bytes.Buffer) {
	switch n.shape {
	case shapeNull:
		b.WriteString("null")
	case shapeBool:
		b.WriteString(strconv.FormatBool(n.truth))
	case shapeInt, shapeFloat:
		b.WriteString(n.number())
	case shapeText:
		writeText(b, n.text)
	case shapeList:
		b.WriteByte('[')
		for i, item := range n.items {
			comma(b, i)
			item.json(b)
		}
		b.WriteByte(']')
	case shapeDict:
		b.WriteByte('{')
		for i, e := range n.entries {
			comma(b, i)
			writeText(b, e.key)
			b.WriteByte(':')
			e.value.json(b)
		}
		b.WriteByte('}')
	}
}

// number is a numeric scalar in JSON's form, with its digits kept where JSON
// allows them.
func (n *node) number() string {
	if json.Valid([]byte(n.text)) {
		return n.text
	}
	if v, err := n.whole(); err == nil {
		return strconv.FormatInt(v, 10)
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
	if err != nil {
		return "0"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func comma(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

func writeText(b *bytes.Buffer, text string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	// A string cannot fail to encode; Encode ends with a newline, cut off here.
	_ = enc.Encode(text)
	b.Truncate(b.Len() - 1)
}

func (n *node) raw() json.RawMessage {
	var b bytes.Buffer
	n.json(&b)
	return b.Bytes()
}
