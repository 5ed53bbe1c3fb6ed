package doctor

import "strings"

// setting is one line "name = value".
type setting struct {
	section, name, value string
	line                 int
}

// settings reads files of "name = value" lines, with sections in brackets, comments after # or ; at a line's beginning,
// and quotes around values taken off. That is what PgBouncer and Pgpool-II read.
func settings(text string) []setting {
	var all []setting
	section := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if inside, ok := strings.CutPrefix(line, "["); ok && strings.HasSuffix(inside, "]") {
			section = strings.ToLower(strings.TrimSuffix(inside, "]"))
			continue
		}
		if line == "" || line[0] == '#' || line[0] == ';' || line[0] == '%' {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !found {
			continue
		}
		all = append(all, setting{section, strings.TrimSpace(name), unquoted(strings.TrimSpace(value)), i + 1})
	}
	return all
}

// unquoted takes quotes off, and a comment behind a quoted value.
func unquoted(value string) string {
	if value == "" || value[0] != '\'' {
		value, _, _ = strings.Cut(value, " #")
		return strings.TrimSpace(value)
	}
	if end := strings.Index(value[1:], "'"); end >= 0 {
		return value[1 : 1+end]
	}
	return value
}

// last gives the value in force of a setting outside or in this section, and whether it is written at all.
func last(all []setting, section, name string) (setting, bool) {
	var found setting
	ok := false
	for _, s := range all {
		if s.section == section && strings.EqualFold(s.name, name) {
			found, ok = s, true
		}
	}
	return found, ok
}
