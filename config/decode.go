package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// fault is what is wrong with a value, and where inside it.
type fault struct {
	at        *node
	key       string
	rule, fix string
}

// named is one entry of a map as the target of a value.
type named struct {
	entries *map[string]string
	name    string
}

// decode puts a value where its key says. What is wrong with it is returned,
// and the target keeps what it held.
func (k *Key) decode(n *node, into any) []fault {
	switch into := into.(type) {
	case *string:
		return store(k, n, into, k.text)
	case named:
		value, faults := k.text(n)
		if len(faults) > 0 {
			return faults
		}
		if *into.entries == nil {
			*into.entries = map[string]string{}
		}
		(*into.entries)[into.name] = value
		return nil
	case *bool:
		return store(k, n, into, truth)
	case **bool:
		value, faults := truth(n)
		if len(faults) == 0 {
			*into = &value
		}
		return faults
	case *int:
		return store(k, n, into, k.count)
	case *int64:
		return store(k, n, into, func(n *node) (int64, []fault) { return quantity(n, "a size", parseSize) })
	case *time.Duration:
		return store(k, n, into, func(n *node) (time.Duration, []fault) { return quantity(n, "a duration", parseDuration) })
	case minusOne:
		return store(k, n, into.at, func(n *node) (time.Duration, []fault) { return quantity(n, "a duration, or -1", into.parse) })
	case *[]string:
		switch k.Type {
		case Options:
			return store(k, n, into, k.options)
		case Command:
			return store(k, n, into, k.command)
		}
		return store(k, n, into, k.texts)
	case *map[string]string:
		if k.Type == Server {
			return store(k, n, into, serverParameters)
		}
		return store(k, n, into, mapping)
	case *map[string]map[string]any:
		return store(k, n, into, sections)
	case *[]map[string]any:
		return store(k, n, into, matchers)
	case *cluster.Tags:
		return store(k, n, into, tags)
	case *json.RawMessage:
		*into = n.raw()
	}
	return nil
}

func store[T any](_ *Key, n *node, into *T, read func(*node) (T, []fault)) []fault {
	value, faults := read(n)
	if len(faults) == 0 {
		*into = value
	}
	return faults
}

// wanted says that a value has the wrong type.
func wanted(n *node, what string) []fault {
	return []fault{{at: n, rule: "must be " + what + ", not " + n.shape.String()}}
}

// text reads a text. A number counts as the text it was written as, when
// reading and writing it again gives the same.
func (k *Key) text(n *node) (string, []fault) {
	value := n.text
	switch {
	case n.shape == shapeBool && slices.Contains(k.Values, onOff(n.truth)):
		value = onOff(n.truth)
	case n.shape == shapeInt:
		if v, err := n.whole(); err != nil || strconv.FormatInt(v, 10) != n.text {
			return "", []fault{{at: n, rule: "must be text, and YAML reads this as a number", fix: "put it in quotes"}}
		}
	case n.shape == shapeBool:
		return "", []fault{{at: n, rule: "must be text, and YAML reads this as a boolean", fix: "put it in quotes"}}
	case n.shape != shapeText && n.shape != shapeFloat:
		return "", wanted(n, "text")
	}
	if strings.ContainsRune(value, 0) {
		return "", []fault{{at: n, rule: "must not contain a zero byte"}}
	}
	return k.oneOf(n, value)
}

func (k *Key) oneOf(n *node, value string) (string, []fault) {
	if len(k.Values) == 0 {
		return value, nil
	}
	for _, v := range k.Values {
		if strings.EqualFold(v, value) {
			return v, nil
		}
	}
	return "", []fault{{at: n, rule: "must be one of " + strings.Join(k.Values, ", "), fix: suggest(value, k.Values)}}
}

func onOff(truth bool) string {
	if truth {
		return "on"
	}
	return "off"
}

// truth reads a boolean: YAML's, or the texts and numbers Patroni also takes.
func truth(n *node) (bool, []fault) {
	if n.shape == shapeBool {
		return n.truth, nil
	}
	if n.shape == shapeText || n.shape == shapeInt {
		switch strings.ToLower(n.text) {
		case "on", "true", "yes", "1":
			return true, nil
		case "off", "false", "no", "0":
			return false, nil
		}
	}
	return false, []fault{{at: n, rule: "must be a boolean, not " + n.shape.String(), fix: "write true or false"}}
}

// count reads a whole number that is not negative; a file mode's digits are
// octal however they are written.
func (k *Key) count(n *node) (int, []fault) {
	if n.shape != shapeInt && n.shape != shapeText {
		return 0, wanted(n, "a whole number")
	}
	value, err := n.whole()
	if k.Type == Octal && n.shape == shapeText {
		value, err = strconv.ParseInt(n.text, 8, 32)
	}
	if err != nil {
		return 0, []fault{{at: n, rule: "must be a whole number"}}
	}
	if value < 0 || value > 1<<31-1 {
		return 0, []fault{{at: n, rule: "must be between 0 and 2147483647"}}
	}
	return int(value), nil
}

func quantity[T any](n *node, what string, parse func(string) (T, error)) (T, []fault) {
	var zero T
	if n.shape != shapeInt && n.shape != shapeFloat && n.shape != shapeText {
		return zero, wanted(n, what)
	}
	text := n.text
	if n.shape == shapeInt || n.shape == shapeFloat {
		text = n.number()
	}
	value, err := parse(text)
	if err != nil {
		return zero, []fault{{at: n, rule: err.Error()}}
	}
	return value, nil
}

// texts reads a list of texts. One text with commas counts for Names alone: a
// line of pg_hba may contain them.
func (k *Key) texts(n *node) ([]string, []fault) {
	if k.Type == Names && n.shape == shapeText {
		return strings.FieldsFunc(n.text, func(r rune) bool { return r == ',' || r == ' ' }), nil
	}
	if n.shape != shapeList {
		return nil, []fault{{at: n, rule: "must be a list, not " + n.shape.String(), fix: `write one "- item" per line`}}
	}
	out := make([]string, 0, len(n.items))
	var faults []fault
	for _, item := range n.items {
		if !item.scalar() || item.shape == shapeNull || strings.ContainsAny(item.text, "\n\r\x00") {
			faults = append(faults, fault{at: item, rule: "must be a list of texts of one line, not " + item.shape.String()})
			continue
		}
		out = append(out, item.text)
	}
	return out, faults
}

// mapping reads name: value, values as PostgreSQL writes them.
func mapping(n *node) (map[string]string, []fault) {
	if n.shape != shapeDict {
		return nil, wanted(n, "a mapping of names to values")
	}
	out := make(map[string]string, len(n.entries))
	var faults []fault
	for _, e := range n.entries {
		switch {
		case e.value.shape == shapeNull:
		case !e.value.scalar():
			faults = append(faults, fault{at: e.value, key: e.key, rule: "must be one value, not " + e.value.shape.String()})
		case strings.ContainsAny(e.key+e.value.text, "\x00"):
			faults = append(faults, fault{at: e.value, key: e.key, rule: "must not contain a zero byte"})
		case e.value.shape == shapeBool:
			out[e.key] = onOff(e.value.truth)
		default:
			out[e.key] = e.value.text
		}
	}
	return out, faults
}

// serverParameters reads a mapping whose names go into the server's configuration file
// as they are.
func serverParameters(n *node) (map[string]string, []fault) {
	out, faults := mapping(n)
	for _, e := range n.entries {
		if cluster.ServerParameter(e.key) {
			continue
		}
		fix := "write letters, digits, _ and dots alone"
		if strings.HasPrefix(strings.ToLower(e.key), "include") {
			fix = "write it into postgresql.base.conf, which is included, or name the file in postgresql.custom_conf"
		}
		faults = append(faults, fault{at: e.value, key: strconv.Quote(e.key), rule: "is no name of a server parameter", fix: fix})
	}
	return out, faults
}

// plainValue is a node as encoding/json would give it, numbers as int64 where
// they are whole.
func plainValue(n *node) any {
	switch n.shape {
	case shapeBool:
		return n.truth
	case shapeInt:
		if v, err := n.whole(); err == nil {
			return v
		}
		return n.text
	case shapeFloat:
		if v, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64); err == nil {
			return v
		}
		return n.text
	case shapeText:
		return n.text
	case shapeList:
		out := make([]any, 0, len(n.items))
		for _, item := range n.items {
			out = append(out, plainValue(item))
		}
		return out
	case shapeDict:
		return plainMap(n)
	case shapeNull:
	}
	return nil
}

func plainMap(n *node) map[string]any {
	out := make(map[string]any, len(n.entries))
	for _, e := range n.entries {
		out[e.key] = plainValue(e.value)
	}
	return out
}

func sections(n *node) (map[string]map[string]any, []fault) {
	if n.shape != shapeDict {
		return nil, wanted(n, "a mapping of names to mappings")
	}
	out := make(map[string]map[string]any, len(n.entries))
	var faults []fault
	for _, e := range n.entries {
		if e.value.shape != shapeDict && e.value.shape != shapeNull {
			faults = append(faults, fault{at: e.value, key: e.key, rule: "must be a mapping, not " + e.value.shape.String()})
			continue
		}
		out[e.key] = plainMap(e.value)
	}
	return out, faults
}

func matchers(n *node) ([]map[string]any, []fault) {
	if n.shape != shapeList {
		return nil, wanted(n, "a list of mappings")
	}
	out := make([]map[string]any, 0, len(n.items))
	var faults []fault
	for i, item := range n.items {
		if item.shape != shapeDict {
			faults = append(faults, fault{at: item, key: fmt.Sprintf("[%d]", i), rule: "must be a mapping, not " + item.shape.String()})
			continue
		}
		out = append(out, plainMap(item))
	}
	return out, faults
}
