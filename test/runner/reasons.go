package main

import (
	"fmt"
	"regexp"
	"strings"
)

// Bounds of what is repeated of a failure: lines in all, and lines of one message.
const (
	mostReasons = 10
	mostOfOne   = 3
)

// short output is its own summary.
const shortOutput = 2 * mostReasons

var (
	// message is the first line of what a test logged, as go prints it: the place in the
	// code, and not a log that a test shows whole, which begins with "== ".
	message = regexp.MustCompile(`^ {4}\S+\.go:\d+: `)
	shown   = regexp.MustCompile(`^ {4}\S+\.go:\d+: == `)
	// crash is what the runtime says of a test that it ends.
	crash = regexp.MustCompile(`^(panic|fatal error): |^WARNING: DATA RACE`)
)

// reasons picks from a test's output what the test says itself, by t.Error, t.Fatal or
// t.Log, which look alike; of a long message its beginning; of many messages the first and
// the last, which is where t.Fatal is.
func reasons(output []string) []string {
	var lines []string
	left := 0 // of the message that goes on
	for line := range strings.Lines(strings.Join(output, "")) {
		line = strings.TrimRight(line, "\n")
		switch {
		case shown.MatchString(line):
			left = 0
		case message.MatchString(line), crash.MatchString(line):
			left = mostOfOne
		case !strings.HasPrefix(line, strings.Repeat(" ", 8)):
			left = 0
		}
		if left > 0 {
			left--
			lines = append(lines, strings.TrimPrefix(line, strings.Repeat(" ", 4)))
		}
	}
	return bounded(lines)
}

// bounded leaves out what is in the middle.
func bounded(lines []string) []string {
	const first, last = 4, mostReasons - 5
	if len(lines) <= mostReasons {
		return lines
	}
	some := append([]string{}, lines[:first]...)
	some = append(some, fmt.Sprintf("... %d more lines", len(lines)-first-last))
	return append(some, lines[len(lines)-last:]...)
}

// trimmed is text without the ends of its lines.
func trimmed(text []string) []string {
	return strings.Split(strings.TrimRight(strings.Join(text, ""), "\n"), "\n")
}
