package cluster

import "strings"

// ServerParameter tells whether a name can be that of a server parameter. A name stands
// in configuration files without quotes: another letter could end it and begin a line of
// its own, and the include directives would read another file as if it were ours.
func ServerParameter(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r != '.' && (r < '0' || r > '9')) {
			return false
		}
	}
	switch strings.ToLower(name) {
	case "", "include", "include_dir", "include_if_exists":
		return false
	}
	return true
}
