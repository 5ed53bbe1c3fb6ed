package doctor

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// directive is one line of HAProxy's configuration, in words.
type directive struct {
	line  int
	words []string
}

// has reports whether the line holds this word.
func (d directive) has(word string) bool { return slices.Contains(d.words, word) }

// after is the word behind this one, and whether there is one.
func (d directive) after(word string) (string, bool) {
	if i := slices.Index(d.words, word); i >= 0 && i+1 < len(d.words) {
		return d.words[i+1], true
	}
	return "", false
}

// section is a part of HAProxy's configuration, with the defaults before it.
type section struct {
	kind, name string
	line       int
	own        []directive
	// inherited are those of the defaults in force.
	inherited []directive
}

var sectionKinds = []string{"global", "defaults", "frontend", "backend", "listen", "resolvers", "peers", "userlist", "mailers", "program", "http-errors", "ring", "cache"}

// sections takes a file apart.
func sections(text string) []*section {
	var all []*section
	var defaults, current *section
	for number, line := range lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if slices.Contains(sectionKinds, words[0]) {
			current = &section{kind: words[0], line: number}
			if len(words) > 1 {
				current.name = words[1]
			}
			if defaults != nil {
				current.inherited = defaults.own
			}
			if current.kind == "defaults" {
				defaults = current
			}
			all = append(all, current)
			continue
		}
		if current != nil {
			current.own = append(current.own, directive{number, words})
		}
	}
	return all
}

// lines are the lines of a file by number, without comments.
func lines(text string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for i, line := range strings.Split(text, "\n") {
			if at := strings.Index(line, "#"); at >= 0 && (at == 0 || line[at-1] == ' ' || line[at-1] == '\t') {
				line = line[:at]
			}
			if !yield(i+1, line) {
				return
			}
		}
	}
}

// find gives the directives that begin with these words, the section's own before the defaults'.
func (s *section) find(words ...string) []directive {
	var found []directive
	for _, d := range slices.Concat(s.own, s.inherited) {
		if len(d.words) >= len(words) && slices.Equal(d.words[:len(words)], words) {
			found = append(found, d)
		}
	}
	return found
}

func (s *section) first(words ...string) (directive, bool) {
	if found := s.find(words...); len(found) > 0 {
		return found[0], true
	}
	return directive{}, false
}

// servers are the section's lines with servers, each with the defaults for servers put behind it.
func (s *section) servers() []directive {
	var all []directive
	for _, d := range slices.Concat(s.find("server"), s.find("server-template")) {
		for _, standard := range s.find("default-server") {
			d.words = slices.Concat(d.words, standard.words[1:])
		}
		all = append(all, d)
	}
	return all
}

// checkURI is the path that checks ask, empty when they ask none.
func (s *section) checkURI() string {
	for _, d := range s.find("http-check", "send") {
		if uri, ok := d.after("uri"); ok {
			return uri
		}
	}
	if d, ok := s.first("option", "httpchk"); ok {
		for _, word := range d.words[2:] {
			if strings.HasPrefix(word, "/") {
				return word
			}
		}
		return "/"
	}
	return ""
}

// duration reads HAProxy's times: milliseconds without a unit.
func duration(text string) (time.Duration, bool) {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Millisecond, true
	}
	unit := strings.TrimLeft(text, "0123456789")
	n, err := strconv.Atoi(strings.TrimSuffix(text, unit))
	scale, known := map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	return time.Duration(n) * scale, err == nil && known
}

// timing is how a server is checked.
type timing struct {
	inter, fastinter, downinter time.Duration
	fall, rise                  int
}

// timingOf reads a server's line; what it does not say is HAProxy's default.
func timingOf(server directive) timing {
	t := timing{inter: 2 * time.Second, fall: 3, rise: 2}
	read := func(word string, into *time.Duration, standard time.Duration) {
		*into = standard
		if text, ok := server.after(word); ok {
			if d, ok := duration(text); ok {
				*into = d
			}
		}
	}
	read("inter", &t.inter, t.inter)
	read("fastinter", &t.fastinter, t.inter)
	read("downinter", &t.downinter, t.inter)
	for word, into := range map[string]*int{"fall": &t.fall, "rise": &t.rise} {
		if text, ok := server.after(word); ok {
			if n, err := strconv.Atoi(text); err == nil {
				*into = n
			}
		}
	}
	return t
}

// down is the longest time until a server that lost its role is known to have; up that until a new one is used.
func (t timing) down() time.Duration { return t.inter + time.Duration(t.fall-1)*t.fastinter }
func (t timing) up() time.Duration   { return t.downinter + time.Duration(t.rise-1)*t.fastinter }

// upSoonest is the shortest time until a new one may be used, downLatest the longest the old one may be: between them both are.
func (t timing) upSoonest() time.Duration { return time.Duration(t.rise-1) * t.fastinter }
