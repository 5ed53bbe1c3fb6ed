package config

import (
	"fmt"
	"strings"
)

// Severity says what a problem means for the agent.
type Severity int

const (
	// Warning: the agent starts and logs it.
	Warning Severity = iota
	// Error: the agent does not start; a running one keeps its last good value.
	Error
)

// String names the severity.
func (s Severity) String() string { return [...]string{"warning", "error"}[s] }

// Position is where a value was written: a place in a file, or an environment
// variable (File is then its name with a $ before it, Line 0).
type Position struct {
	File   string
	Line   int
	Column int
}

// Problem is one thing wrong with the configuration.
type Problem struct {
	Position
	// Key is the path, "postgresql.authentication.superuser.password".
	Key string
	// Value is what was found; empty for secrets and whole sections.
	Value string
	// Rule is what must hold, Fix what to write.
	Rule string
	Fix  string
	// Unknown: the key is not known at all. The agent warns and starts, and
	// `validate` fails.
	Unknown  bool
	Severity Severity
}

// String renders `file:line:col: key: rule (value "x"); fix`, in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Rule)
	if p.Value != "" {
		fmt.Fprintf(&b, " (value %q)", p.Value)
	}
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

// Problems is everything wrong with one configuration, in the order of the file.
type Problems []Problem

// Errors are those with which the agent does not start.
func (p Problems) Errors() Problems {
	return p.filter(func(x Problem) bool { return x.Severity == Error })
}

// Warnings are those with which it starts.
func (p Problems) Warnings() Problems {
	return p.filter(func(x Problem) bool { return x.Severity == Warning })
}

// Valid reports whether `validate` passes: no error and no unknown key.
func (p Problems) Valid() bool {
	return len(p.filter(func(x Problem) bool { return x.Severity == Error || x.Unknown })) == 0
}

// String renders one problem per line, each after its severity.
func (p Problems) String() string {
	var b strings.Builder
	for _, x := range p {
		fmt.Fprintf(&b, "%s: %s\n", x.Severity, x)
	}
	return b.String()
}

func (p Problems) filter(keep func(Problem) bool) Problems {
	var out Problems
	for _, x := range p {
		if keep(x) {
			out = append(out, x)
		}
	}
	return out
}
