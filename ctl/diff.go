package ctl

import (
	"fmt"
	"slices"
	"strings"
)

// context is how many unchanged lines stand around a change.
const diffContext = 3

// Diff shows two texts line by line as `diff -u` does: "-" gone, "+" new. It is
// empty when they are equal. Configurations are short, so the plain quadratic
// longest common subsequence will do.
func Diff(before, after string) string {
	edits := edit(lines(before), lines(after))
	var b strings.Builder
	skipped := false
	for i, e := range edits {
		if !near(edits, i) {
			skipped = true
			continue
		}
		if skipped && b.Len() > 0 {
			b.WriteString("@@\n")
		}
		skipped = false
		fmt.Fprintf(&b, "%c%s\n", e.kind, e.text)
	}
	return b.String()
}

type edited struct {
	kind byte // ' ', '-' or '+'
	text string
}

func lines(s string) []string {
	s = strings.TrimRight(s, "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// near reports whether a change stands within diffContext lines of edit i.
func near(edits []edited, i int) bool {
	for j := max(0, i-diffContext); j <= min(len(edits)-1, i+diffContext); j++ {
		if edits[j].kind != ' ' {
			return true
		}
	}
	return false
}

func edit(before, after []string) []edited {
	// common[i][j] is the longest common subsequence of before[i:], after[j:].
	common := make([][]int, len(before)+1)
	for i := range common {
		common[i] = make([]int, len(after)+1)
	}
	for i, b := range slices.Backward(before) {
		for j := len(after) - 1; j >= 0; j-- {
			if b == after[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []edited
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		switch {
		case i < len(before) && j < len(after) && before[i] == after[j]:
			out = append(out, edited{' ', before[i]})
			i, j = i+1, j+1
		case j == len(after) || (i < len(before) && common[i+1][j] >= common[i][j+1]):
			out = append(out, edited{'-', before[i]})
			i++
		default:
			out = append(out, edited{'+', after[j]})
			j++
		}
	}
	return out
}
