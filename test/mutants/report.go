package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var tableDoc = filepath.Join("docs", "mutants.md")

// tableRow is one line of the committed table: the cells as they stand there.
type tableRow struct{ guard, protects, change, caughtBy, schedules string }

func (r tableRow) name() string { return r.guard + "/" + r.change }

var tableLine = regexp.MustCompile("(?m)^\\| `([a-z0-9_-]+)` \\| ([^|]*) \\| ([a-z]+) \\| ([^|]*) \\| ([^|]*) \\|$")

// readTable reads docs/mutants.md, by the mutant's name; empty when it is not there.
func readTable(root string) (map[string]tableRow, error) {
	text, err := os.ReadFile(filepath.Join(root, tableDoc))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows := map[string]tableRow{}
	for _, c := range tableLine.FindAllStringSubmatch(string(text), -1) {
		r := tableRow{c[1], c[2], c[3], c[4], c[5]}
		rows[r.name()] = r
	}
	return rows, nil
}

const tableHead = `# The mutants

Every [guard of the safety argument](safety.md#the-guards) is taken out, one at a time, and the tests are run against what is left: ` + "`make mutants`" + `. This table is
its result, written by ` + "`make mutants WRITE=1`" + ` (` + "`SIM=1`" + ` for the last column); a test fails when a guard is missing here or a row is stale.

*Change*: a condition is fixed to false (never) or true (always); a statement, a call or one comparison of a transaction is left out (without). One of the two ways
to fix a condition is the danger, the other an outage; both must be noticed. *Caught by*: the unit tests that failed, the first two of them. *Schedules*: how many
simulated schedules it took until something was violated, and what (S1-S8, or L1 when the cluster does not come to order any more); "more than" where that many did not
show it, "not reached" where none of them came to the guard in a way in which it matters, "-" where it was not tried. Not every guard can show there: some hold what it does not model (processes, sockets, users), and behind many stands a second one.

%s.

| guard | protects | change | caught by | schedules |
|---|---|---|---|---|
`

// writeTable brings docs/mutants.md up to date. What was not run this time, a
// mutant or its simulation, keeps what the table says of it; so does one that more
// schedules were looked at for, where the fewer of this time show nothing.
func writeTable(root string, marks []mark, rows map[string]row, scores []score) error {
	known, err := readTable(root)
	if err != nil {
		return err
	}
	for _, s := range scores {
		r := s.row(rows[s.guard].protects)
		if old := known[s.name()].schedules; old != "" && s.sim.knowsLess(old) {
			r.schedules = old
		}
		if known == nil {
			known = map[string]tableRow{}
		}
		known[s.name()] = r
	}
	var table strings.Builder
	mutants, caught, shown := 0, 0, 0
	for _, m := range marks {
		for _, change := range m.changes {
			r, ok := known[m.name+"/"+change]
			if !ok {
				r = score{guard: m.name, change: change}.row(rows[m.name].protects)
			}
			mutants++
			if r.caughtBy != uncaughtCell {
				caught++
			}
			if strings.HasSuffix(r.schedules, ")") {
				shown++
			}
			fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", r.guard, r.protects, r.change, r.caughtBy, r.schedules)
		}
	}
	total := fmt.Sprintf("%d guards, %d mutants: %d caught by unit tests, %d shown by the simulator too", len(marks), mutants, caught, shown)
	text := fmt.Sprintf(tableHead, total) + table.String()
	return os.WriteFile(filepath.Join(root, tableDoc), []byte(text), 0o644) //nolint:gosec // a page of the documentation
}

const (
	uncaughtCell = "**None**"
	notTried     = "-"
)

// row is the score as the table shows it.
func (s score) row(protects string) tableRow {
	r := tableRow{guard: s.guard, protects: protects, change: s.change, caughtBy: uncaughtCell, schedules: s.sim.String()}
	switch {
	case len(s.by) > 2:
		r.caughtBy = fmt.Sprintf("%s and %d more", strings.Join(s.by[:2], ", "), len(s.by)-2)
	case len(s.by) > 0:
		r.caughtBy = strings.Join(s.by, ", ")
	}
	r.caughtBy = strings.ReplaceAll(r.caughtBy, "|", "/")
	return r
}
