package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the configuration of an agent. path is a file, a directory whose
// *.yml and *.yaml are merged in alphabetical order, or empty: then the YAML in
// $PGKEEPER_CONFIGURATION or $PATRONI_CONFIGURATION, or the environment alone.
// env holds "NAME=value" entries as os.Environ gives them; the last of one name
// wins, so a flag is passed as one more PGKEEPER_ entry.
//
// Problems is everything wrong; with any of Problems.Errors the Config must not
// be used, though it is never nil. The error says that path could not be read.
func Load(path string, env []string) (*Config, Problems, error) {
	return load(path, env, true)
}

// LoadClient is Load for a command that only talks to a cluster: what a member
// needs beyond that (name, data directory, addresses) may be missing.
func LoadClient(path string, env []string) (*Config, Problems, error) {
	return load(path, env, false)
}

func load(path string, env []string, member bool) (*Config, Problems, error) {
	l := loader{env: parseEnv(env), file: path, member: member}
	if err := l.read(path); err != nil {
		return nil, nil, err
	}
	l.Path = path
	if l.malformed {
		// What a text that is no YAML does not say cannot be called missing.
		return &l.Config, l.sorted(), nil
	}
	l.environment()
	l.origins = map[string]Position{}
	l.decode()
	l.unknown(l.root, local().root, "")
	l.finish()
	return &l.Config, l.sorted(), nil
}

// loader carries one Load from text to Config.
type loader struct {
	draft
	report
	env  environ
	file string
	root *node
	// malformed: some document could not be read at all.
	malformed bool
	// member asks for what an agent needs beyond a client.
	member bool
}

// report collects problems.
type report struct{ problems Problems }

func (r *report) add(severity Severity, pos Position, key, value, rule, fix string) {
	r.problems = append(r.problems, Problem{Position: pos, Key: key, Value: value, Rule: rule, Fix: fix, Severity: severity})
}

func (r *report) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Key, b.Key))
	})
	return slices.Compact(r.problems)
}

// read fills root from the file, the directory or the environment.
func (l *loader) read(path string) error {
	if path == "" {
		text, name := l.env.whole()
		l.file = name
		l.document([]byte(text), name)
		return nil
	}
	files, err := sources(path)
	if err != nil {
		return err
	}
	merged := &node{shape: shapeDict, pos: Position{File: path, Line: 1, Column: 1}}
	for _, file := range files {
		text, err := readLimited(file, maxBytes+1)
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		l.document(text, file)
		if len(files) == 1 {
			return nil
		}
		merged.overlay(l.root)
	}
	l.root = merged
	return nil
}

// document reads one text into root and refuses one that is no mapping.
func (l *loader) document(text []byte, file string) {
	root, problems, ok := parseDocument(text, file)
	l.root, l.malformed = root, l.malformed || !ok
	l.problems = append(l.problems, problems...)
	if l.root.shape != shapeDict {
		l.add(Error, l.root.pos, "", l.root.show(), "a configuration must be a mapping of keys, not "+l.root.shape.String(), `write "scope: <name of the cluster>" and so on`)
		l.root, l.malformed = &node{shape: shapeDict, pos: l.root.pos}, true
	}
}

// sources are the files a path stands for.
func sources(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yml" || ext == ".yaml") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read configuration: %s holds no *.yml or *.yaml", path)
	}
	return files, nil
}

func readLimited(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit))
	return text, err
}

// decode applies defaults, then every value the document has.
func (l *loader) decode() {
	for i := range local().keys {
		k := &local().keys[i]
		if k.into == nil || k.Default == "" {
			continue
		}
		n, _ := parseYAML([]byte(k.Default), "default")
		k.decode(n, k.into(&l.draft))
	}
	for i := range local().keys {
		k := &local().keys[i]
		n := l.root.at(k.Path)
		if n == nil {
			continue
		}
		l.origins[k.Path] = n.pos
		if k.Type == Settings {
			l.bootstrapDCS(n)
		}
		l.value(k, k.Path, n, &l.draft)
	}
}

// value decodes one value and reports what is wrong with it and with its key.
func (r *report) value(k *Key, path string, n *node, d *draft) bool {
	if k.into != nil {
		faults := k.decode(n, k.into(d))
		for _, f := range faults {
			value := f.at.show()
			if k.Type == Secret {
				value = ""
			}
			if !f.at.scalar() {
				value = ""
			}
			r.add(Error, f.at.pos, join(path, f.key), value, f.rule, f.fix)
		}
		if len(faults) > 0 {
			return false
		}
	}
	return r.status(k, path, n)
}

// status says what pgkeeper does not do about a key that is there. It reports
// false where the value must not be used.
func (r *report) status(k *Key, path string, n *node) bool {
	values := quietForms(n)
	if k.Status == Supported || slices.ContainsFunc(values, func(v string) bool { return slices.Contains(k.Quiet, v) }) {
		return true
	}
	value := ""
	if n.scalar() && k.Type != Secret {
		value = n.show()
	}
	severity, rule := Warning, "is known to Patroni and not built yet, so it is ignored"
	switch {
	case k.Status == Refused || slices.ContainsFunc(values, func(v string) bool { return slices.Contains(k.Harmful, v) }):
		severity, rule = Error, "is known to Patroni and not built yet, and to ignore it would do something else than it asks for"
	case k.Status == Idle:
		rule = "has no effect here"
	}
	r.add(severity, n.pos, path, value, rule, k.Note)
	return severity != Error
}

// quietForms are the ways one value may be written in a list of values.
func quietForms(n *node) []string {
	out := []string{strings.ToLower(n.text)}
	if v, faults := truth(n); len(faults) == 0 {
		out = append(out, onOff(v), fmt.Sprint(v))
	}
	if n.shape == shapeList && len(n.items) == 1 {
		out = append(out, n.items[0].text)
	}
	return out
}

// Where says where a key's value was written, so that a problem found later (a
// port in use, a missing program) can name the line. ok is false for a default.
func (c *Config) Where(key string) (pos Position, ok bool) {
	pos, ok = c.origins[key]
	return pos, ok
}

// ErrInvalid is what Problems.Err wraps.
var ErrInvalid = errors.New("invalid configuration")

// Err is nil without errors, else one error whose text lists them all.
func (p Problems) Err() error {
	bad := p.Errors()
	if len(bad) == 0 {
		return nil
	}
	lines := make([]string, 0, len(bad))
	for _, b := range bad {
		lines = append(lines, b.String())
	}
	return fmt.Errorf("%w:\n%s", ErrInvalid, strings.Join(lines, "\n"))
}
