package config

import (
	"os"
	"slices"
	"strings"
)

const (
	ourPrefix     = "PGKEEPER_"
	patroniPrefix = "PATRONI_"
)

// environ is the environment by name.
type environ map[string]string

func parseEnv(entries []string) environ {
	env := environ{}
	for _, e := range entries {
		if name, value, ok := strings.Cut(e, "="); ok {
			env[name] = value
		}
	}
	return env
}

// whole is a configuration given whole in a variable.
func (env environ) whole() (text, source string) {
	for _, name := range []string{ourPrefix + "CONFIGURATION", patroniPrefix + "CONFIGURATION"} {
		if env[name] != "" {
			return env[name], "$" + name
		}
	}
	return "", ""
}

// environment puts variables over the document: first the ones that name files,
// then what those files hold, then the rest, ours over Patroni's.
func (l *loader) environment() {
	l.variables(patroniPrefix, true)
	l.variables(ourPrefix, true)
	l.secretFiles()
	l.variables(patroniPrefix, false)
	l.variables(ourPrefix, false)
	l.unknownVariables()
}

func (l *loader) variables(prefix string, files bool) {
	for i := range local().keys {
		k := &local().keys[i]
		name := prefix + k.Env
		// An empty variable is one that is not set, as everywhere in Patroni.
		if k.Env == "" || isSecretFile(k) != files || l.env[name] == "" {
			continue
		}
		n, problems := k.variable(l.env[name], "$"+name)
		for _, p := range problems {
			p.Key, p.Line, p.Column = k.Path, 0, 0
			l.problems = append(l.problems, p)
		}
		if len(problems) == 0 {
			l.root.put(k.Path, n)
		}
	}
}

func isSecretFile(k *Key) bool { return strings.HasSuffix(k.Env, "_FILE") && k.into == nil }

// variable makes a node of a variable's value: text as it is, lists and
// mappings as YAML with or without their brackets.
func (k *Key) variable(value, source string) (*node, Problems) {
	pos := Position{File: source}
	switch k.Type {
	case Text, Secret, Command, Address, Octal, Anything:
		return quoted(value, pos), nil
	case Boolean, Whole, Duration, Size:
		return plain(strings.TrimSpace(value), pos), nil
	case Names:
		if !strings.HasPrefix(strings.TrimSpace(value), "[") && !strings.HasPrefix(strings.TrimSpace(value), "- ") {
			return quoted(strings.NewReplacer("'", "", `"`, "").Replace(value), pos), nil
		}
	}
	n, problems := parseYAML([]byte(k.bracketed(value)), source)
	if len(problems) > 0 {
		n, problems = parseYAML([]byte(value), source)
	}
	n.moveTo(pos)
	return n, problems
}

// bracketed adds the brackets a variable may leave out: "a: 1, b: 2".
func (k *Key) bracketed(value string) string {
	open := map[Type]string{Texts: "[]", Options: "[]", Matchers: "[]", Mapping: "{}", Sections: "{}", TagSet: "{}"}[k.Type]
	text := strings.TrimSpace(value)
	if open == "" || strings.ContainsAny(text, "\n") || strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{") || strings.HasPrefix(text, "- ") {
		return value
	}
	return open[:1] + value + open[1:]
}

// moveTo gives a whole subtree one position: there are no lines in a variable.
func (n *node) moveTo(pos Position) {
	n.pos = pos
	for _, item := range n.items {
		item.moveTo(pos)
	}
	for i := range n.entries {
		n.entries[i].pos = pos
		n.entries[i].value.moveTo(pos)
	}
}

// secretFiles reads what every *_file key names, over the secret in the document.
func (l *loader) secretFiles() {
	for i := range local().keys {
		k := &local().keys[i]
		n := l.root.at(k.Path + "_file")
		if k.Type != Secret || n == nil {
			continue
		}
		file, faults := k.text(n)
		if len(faults) > 0 {
			l.add(Error, n.pos, k.Path+"_file", "", "must be the name of a file, not "+n.shape.String(), "")
			continue
		}
		if secret, ok := l.secret(file, n.pos, k.Path+"_file"); ok {
			l.root.put(k.Path, quoted(secret, n.pos))
		}
	}
}

func (l *loader) secret(file string, pos Position, key string) (string, bool) {
	text, err := readLimited(file, 64<<10)
	if err != nil {
		l.add(Error, pos, key, file, "cannot be read: "+reason(err), "create the file, readable by the agent alone")
		return "", false
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		l.add(Error, pos, key, file, "is an empty file", "write the secret into it")
		return "", false
	}
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 && info.Mode().IsRegular() {
		l.add(Warning, pos, key, file, "can be read by everybody on this machine", "chmod o-r "+file)
	}
	return secret, true
}

// otherVariables are ours and Patroni's, and configure no member.
var otherVariables = []string{"CONFIG", "CONFIGURATION"}

// unknownVariables names PGKEEPER_ and PATRONI_ variables that mean nothing.
func (l *loader) unknownVariables() {
	var known []string
	for i := range local().keys {
		if local().keys[i].Env != "" {
			known = append(known, local().keys[i].Env)
		}
	}
	for name := range l.env {
		for _, prefix := range []string{ourPrefix, patroniPrefix} {
			bare, ours := strings.CutPrefix(name, prefix)
			if !ours || slices.Contains(known, bare) || slices.Contains(otherVariables, bare) || foreignVariable(bare) {
				continue
			}
			if section, _, _ := strings.Cut(bare, "_"); local().root.next[strings.ToLower(section)] != nil && foreignSection(section) {
				l.add(Error, Position{File: "$" + name}, strings.ToLower(section), "", "is known to Patroni and not built yet, and to ignore it would do something else than it asks for", "unset it")
				continue
			}
			p := Problem{Position: Position{File: "$" + name}, Severity: Warning, Unknown: true, Rule: "is not a known variable", Fix: "unset it"}
			if near := nearest(strings.ToLower(bare), lower(known)); near != "" {
				p.Fix = "did you mean " + prefix + strings.ToUpper(near) + "?"
			}
			l.problems = append(l.problems, p)
		}
	}
}

// foreignSection reports a section refused as a whole.
func foreignSection(name string) bool {
	key := local().root.next[strings.ToLower(name)].key
	return key != nil && key.Status == Refused
}

func lower(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, strings.ToLower(n))
	}
	return out
}

// foreignVariable reports variables that others set: Kubernetes for a service
// that happens to be called patroni, and the tests.
func foreignVariable(bare string) bool {
	return strings.HasPrefix(bare, "TEST_") || strings.HasPrefix(bare, "SERVICE_") || strings.HasPrefix(bare, "PORT_") || bare == "PORT" ||
		strings.Contains(bare, "_SERVICE_HOST") || strings.Contains(bare, "_SERVICE_PORT") || strings.Contains(bare, "_PORT_")
}
