package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits on one JSON document: etcd's own on a value, and on one mapping, whose
// keys are compared one by one.
const (
	maxJSON = 1 << 20
	maxKeys = 5_000
)

// parseJSON reads one JSON value into nodes. Of a repeated key the last counts,
// as in every reader of Patroni's keys.
func parseJSON(raw []byte, source string) (*node, error) {
	pos := Position{File: source}
	if len(bytes.TrimSpace(raw)) == 0 {
		return &node{shape: shapeNull, pos: pos}, nil
	}
	if len(raw) > maxJSON {
		return nil, fmt.Errorf("is %d bytes long, more than %d", len(raw), maxJSON)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	n, err := jsonValue(dec, pos, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("goes on after the end of its value")
	}
	return n, nil
}

func jsonValue(dec *json.Decoder, pos Position, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nests more than %d levels deep", maxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("is not valid JSON at byte %d", dec.InputOffset())
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '[' {
			return jsonList(dec, pos, depth)
		}
		return jsonDict(dec, pos, depth)
	case bool:
		return &node{shape: shapeBool, truth: tok, text: fmt.Sprint(tok), pos: pos}, nil
	case json.Number:
		return jsonNumber(tok, pos), nil
	case string:
		return quoted(tok, pos), nil
	}
	return &node{shape: shapeNull, pos: pos}, nil
}

// jsonNumber keeps the digits; JSON has one kind of number, we tell two apart.
func jsonNumber(tok json.Number, pos Position) *node {
	n := &node{shape: shapeFloat, text: tok.String(), pos: pos}
	if plainInt.MatchString(n.text) {
		n.shape = shapeInt
	}
	return n
}

func jsonList(dec *json.Decoder, pos Position, depth int) (*node, error) {
	out := &node{shape: shapeList, pos: pos}
	for dec.More() {
		item, err := jsonValue(dec, pos, depth+1)
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, item)
	}
	return out, jsonEnd(dec)
}

func jsonDict(dec *json.Decoder, pos Position, depth int) (*node, error) {
	out := &node{shape: shapeDict, pos: pos}
	for dec.More() {
		tok, err := dec.Token()
		key, isText := tok.(string)
		if err != nil || !isText {
			return nil, fmt.Errorf("is not valid JSON at byte %d", dec.InputOffset())
		}
		if len(out.entries) > maxKeys {
			return nil, fmt.Errorf("holds a mapping of more than %d keys", maxKeys)
		}
		value, err := jsonValue(dec, pos, depth+1)
		if err != nil {
			return nil, err
		}
		out.set(key, pos, value)
	}
	return out, jsonEnd(dec)
}

// jsonEnd eats the closing bracket.
func jsonEnd(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("is not valid JSON at byte %d", dec.InputOffset())
	}
	return nil
}
