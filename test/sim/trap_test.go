package sim

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// The flag may be another file's of this package.
func init() {
	if flag.Lookup("update") == nil {
		flag.Bool("update", false, "write the golden files")
	}
}

// golden compares with a file in testdata, or writes it.
func goldenTrap(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		before, after, _ := firstDifference(string(want), string(got))
		t.Errorf("%s is out of date, run with -update:\n- %s\n+ %s", path, before, after)
	}
}

// perform tells a story.
func (s trapStory) perform(t *testing.T, traps pgfake.Traps) []byte {
	t.Helper()
	g := newStage(t, traps)
	s.tell(g)
	return g.text
}

// without is all traps but one.
func without(t *testing.T, field string) (traps pgfake.Traps) {
	t.Helper()
	f := reflect.ValueOf(&traps).Elem().FieldByName(field)
	if !f.IsValid() {
		t.Fatalf("pgfake.Traps has no field %s", field)
	}
	f.SetBool(true)
	return traps
}

// TestTrapTranscripts: every trap of the model has a transcript that shows it.
func TestTrapTranscripts(t *testing.T) {
	for _, s := range trapStories {
		t.Run(s.name, func(t *testing.T) { goldenTrap(t, "trap_"+s.name+".txt", s.perform(t, pgfake.Traps{})) })
	}
}

// TestMutantsOfTheTraps: with a trap taken away from the model, the transcript that
// relies on it changes. The table of how is in testdata/traps.md.
func TestMutantsOfTheTraps(t *testing.T) {
	var table strings.Builder
	table.WriteString("Made by `go test ./test/sim -run Trap -update`: what the transcript of each trap says with it, and first otherwise without it.\n\n" +
		"| trap of SAFETY 8 | taken away by | transcript | with the trap | without it |\n|---|---|---|---|---|\n")
	shown := map[string]int{}
	for _, s := range trapStories {
		shown[s.field]++
		with, mutant := string(s.perform(t, pgfake.Traps{})), string(s.perform(t, without(t, s.field)))
		a, b, differ := firstDifference(with, mutant)
		if !differ {
			t.Errorf("%s: the transcript %s stays the same: it does not rely on its trap", s.field, s.name)
		}
		fmt.Fprintf(&table, "| %d | `%s` | `trap_%s.txt` | %s | %s |\n", s.number, s.field, s.name, a, b)
	}
	for field := range reflect.TypeFor[pgfake.Traps]().Fields() {
		if shown[field.Name] == 0 {
			t.Errorf("no transcript shows the trap that %s takes away", field.Name)
		}
	}
	goldenTrap(t, "traps.md", []byte(table.String()))
}

// firstDifference is the first line of each that the other does not have there,
// without its time.
func firstDifference(with, mutant string) (a, b string, differ bool) {
	one, two := strings.Split(with, "\n"), strings.Split(mutant, "\n")
	for i := range max(len(one), len(two)) {
		var x, y string
		if i < len(one) {
			x = one[i]
		}
		if i < len(two) {
			y = two[i]
		}
		if x != y {
			return cell(x), cell(y), true
		}
	}
	return "", "", false
}

func cell(line string) string {
	if words := strings.Fields(line); len(words) > 0 {
		return strings.Join(words, " ")
	}
	return "(nothing)"
}

// TestTrapStoriesAreTheSameEveryTime: no order of a map or time of day shows.
func TestTrapStoriesAreTheSameEveryTime(t *testing.T) {
	for _, s := range trapStories {
		if a, b := s.perform(t, pgfake.Traps{}), s.perform(t, pgfake.Traps{}); !bytes.Equal(a, b) {
			t.Errorf("%s is told in two ways:\n%s\n%s", s.name, a, b)
		}
	}
}
