package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
)

// document is a configuration as maps, lists and scalars.
type document = map[string]any

// decode reads a configuration from JSON; empty text is an empty one.
func decode(raw json.RawMessage) (document, error) {
	doc := document{}
	if len(bytes.TrimSpace(raw)) == 0 {
		return doc, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("read the stored configuration: %w", err)
	}
	return doc, nil
}

// ParseYAML reads a configuration or a patch from YAML (JSON is YAML too).
func ParseYAML(text []byte, name string) (map[string]any, error) {
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %s", name, firstLine(err))
	}
	if trimmed := strings.TrimSpace(string(raw)); trimmed == "" || trimmed == "null" {
		return document{}, nil
	}
	doc, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("read %s: want keys and values at the top, such as \"ttl: 10\"", name)
	}
	return doc, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return line
}

// Assignment is one -s KEY=VALUE: the value is YAML, null deletes the key.
func Assignment(text string) (path []string, value any, err error) {
	key, raw, found := strings.Cut(text, "=")
	if !found || key == "" {
		return nil, nil, fmt.Errorf("%q is no assignment: want key=value, such as ttl=10 or postgresql.use_slots=null", text)
	}
	value, err = scalar(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%q: %s", text, firstLine(err))
	}
	return strings.Split(key, "."), value, nil
}

// ParameterAssignment is one -p NAME=VALUE for a server parameter. Names of
// extensions' parameters contain dots, so nothing is split.
func ParameterAssignment(text string) (path []string, value any, err error) {
	_, value, err = Assignment(text)
	name, _, _ := strings.Cut(text, "=")
	return []string{"postgresql", "parameters", name}, value, err
}

func scalar(raw string) (any, error) {
	if strings.TrimSpace(raw) == "" {
		return nil, nil
	}
	text, err := yaml.YAMLToJSON([]byte(raw))
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	err = decoder.Decode(&value)
	return value, err
}

// assign sets path in doc, making the maps on the way; nil deletes.
func assign(doc document, path []string, value any) {
	for _, key := range path[:len(path)-1] {
		next, ok := doc[key].(document)
		if !ok {
			if value == nil {
				return
			}
			next = document{}
			doc[key] = next
		}
		doc = next
	}
	last := path[len(path)-1]
	if value == nil {
		delete(doc, last)
		return
	}
	doc[last] = value
}

// merge applies a patch as PATCH /config does: maps merge, null deletes, all
// else replaces.
func merge(doc, patch document) document {
	out := make(document, len(doc))
	maps.Copy(out, doc)
	for key, value := range patch {
		inner, isMap := value.(document)
		switch {
		case value == nil:
			delete(out, key)
		case isMap:
			old, _ := out[key].(document)
			out[key] = merge(old, inner)
		default:
			out[key] = value
		}
	}
	return out
}

// difference is the patch that turns from into to.
func difference(from, to json.RawMessage) (map[string]any, error) {
	old, err := decode(from)
	if err != nil {
		return nil, err
	}
	wanted, err := decode(to)
	if err != nil {
		return nil, err
	}
	return diffMaps(old, wanted), nil
}

func diffMaps(old, wanted document) document {
	patch := document{}
	for key := range old {
		if _, kept := wanted[key]; !kept {
			patch[key] = nil
		}
	}
	for key, value := range wanted {
		before, had := old[key]
		oldMap, wasMap := before.(document)
		newMap, isMap := value.(document)
		switch {
		case had && reflect.DeepEqual(before, value):
		case wasMap && isMap:
			patch[key] = diffMaps(oldMap, newMap)
		default:
			patch[key] = value
		}
	}
	return patch
}

// ToYAML shows a configuration to people, keys in order.
func ToYAML(raw json.RawMessage) (string, error) {
	doc, err := decode(raw)
	if err != nil {
		return "", err
	}
	if len(doc) == 0 {
		return "{}\n", nil
	}
	out, err := yaml.Marshal(numbers(doc))
	if err != nil {
		return "", fmt.Errorf("write the configuration as YAML: %w", err)
	}
	return string(out), nil
}

// numbers gives back their type to json.Numbers, which YAML would quote.
func numbers(v any) any {
	switch v := v.(type) {
	case document:
		out := make(document, len(v))
		for key, value := range v {
			out[key] = numbers(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = numbers(value)
		}
		return out
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	}
	return v
}
