package config

import (
	"slices"
	"strings"
)

// unknown walks the document beside the tree of known keys and names what is
// not in it. The value is never shown: it may be a misspelt password.
func (l *loader) unknown(n *node, b *branch, path string) {
	for _, e := range n.entries {
		full := join(path, e.key)
		next := b.step(e.key)
		switch {
		case next == nil && l.custom(path, e.key):
		case next == nil:
			l.problems = append(l.problems, unknownKey(e, full, b))
		case len(next.next) == 0:
		case e.value.shape == shapeDict:
			l.unknown(e.value, next, full)
		case e.value.shape != shapeNull && next.key == nil:
			l.add(Error, e.pos, full, e.value.show(), "must be a mapping, not "+e.value.shape.String(), "indent its keys below it: "+strings.Join(first(next.names(), 3), ", ")+", ...")
		}
	}
}

// custom reports whether a section is named by the method it configures.
func (l *loader) custom(path, key string) bool {
	switch path {
	case "bootstrap":
		return l.Bootstrap.Method == key
	case "postgresql":
		return slices.Contains(l.PostgreSQL.CreateReplicaMethods, key)
	}
	return false
}

func unknownKey(e entry, full string, b *branch) Problem {
	p := Problem{Position: e.pos, Key: full, Severity: Warning, Unknown: true, Rule: "is not a known key", Fix: "remove it"}
	near := nearest(e.key, b.names())
	switch place := elsewhere(e.key, full); {
	case clusterWide(e.key, b):
		p.Fix = "it belongs into the cluster's configuration: bootstrap.dcs of a new cluster, pgkeeper edit-config of a running one"
	case near != "":
		p.Fix = "did you mean " + near + "?"
	case place != "":
		p.Fix = "it belongs into " + place
	}
	return p
}

// clusterWide reports a key at the top of the dynamic configuration that was
// written into a member's file.
func clusterWide(name string, b *branch) bool {
	return b != dynamic().root && b != dynamic().root.next["postgresql"] && dynamic().root.next[name] != nil
}

// elsewhere finds a key of that name in another place.
func elsewhere(name, full string) string {
	for _, t := range []*table{local(), dynamic()} {
		for i := range t.keys {
			path := t.keys[i].Path
			if cut := strings.LastIndexByte(path, '.'); cut > 0 && path[cut+1:] == name && !strings.HasSuffix(full, path) {
				return path[:cut]
			}
		}
	}
	return ""
}

func first(names []string, n int) []string { return names[:min(n, len(names))] }

// nearest is the name that differs least from a misspelt one, or "" when none
// is near: at most a third of its letters, and two at least.
func nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	best, least := "", max(2, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

func suggest(value string, known []string) string {
	if near := nearest(value, known); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn one text into the other.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
