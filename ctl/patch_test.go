package ctl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAssignmentsReadYAMLValues(t *testing.T) {
	cases := map[string]struct {
		text  string
		path  []string
		value any
	}{
		"number":         {"ttl=5", []string{"ttl"}, json.Number("5")},
		"boolean":        {"postgresql.use_slots=false", []string{"postgresql", "use_slots"}, false},
		"text with =":    {"a.b=x=y", []string{"a", "b"}, "x=y"},
		"null deletes":   {"pause=null", []string{"pause"}, nil},
		"empty deletes":  {"pause=", []string{"pause"}, nil},
		"list":           {"x=[1, two]", []string{"x"}, []any{json.Number("1"), "two"}},
		"quoted number":  {`x="5"`, []string{"x"}, "5"},
		"map in a value": {"x={a: 1}", []string{"x"}, map[string]any{"a": json.Number("1")}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path, value, err := Assignment(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{c.path, c.value}, []any{path, value}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAParametersNameIsNotSplitAtItsDots(t *testing.T) {
	path, _, err := ParameterAssignment("pg_stat_statements.track=all")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"postgresql", "parameters", "pg_stat_statements.track"}, path); diff != "" {
		t.Error(diff)
	}
}

func TestAnAssignmentWithoutEqualsIsRefused(t *testing.T) {
	for _, text := range []string{"ttl", "=5", "x=[1", ""} {
		if _, _, err := Assignment(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestTheDifferenceAppliedGivesTheWantedConfiguration(t *testing.T) {
	from := `{"ttl":10,"a":{"b":1,"c":2},"gone":{"x":1},"list":[1,2],"type":{"x":1}}`
	to := `{"ttl":5,"a":{"b":1,"d":3},"list":[2],"type":7,"big":9007199254740993}`
	patch, err := difference(json.RawMessage(from), json.RawMessage(to))
	if err != nil {
		t.Fatal(err)
	}
	old, _ := decode(json.RawMessage(from))
	want, _ := decode(json.RawMessage(to))
	if diff := cmp.Diff(want, merge(old, patch)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, resent := patch["a"].(document)["b"]; resent {
		t.Error("an unchanged value is in the patch, and would undo another writer's change")
	}
}

func TestDiffShowsChangesWithContext(t *testing.T) {
	before := "a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\ng: 7\nh: 8\ni: 9\n"
	after := strings.Replace(strings.Replace(before, "a: 1\n", "", 1), "i: 9", "i: 10", 1)
	want := "-a: 1\n b: 2\n c: 3\n d: 4\n@@\n f: 6\n g: 7\n h: 8\n-i: 9\n+i: 10\n"
	if diff := cmp.Diff(want, Diff(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Diff(before, before); got != "" {
		t.Errorf("equal texts differ: %q", got)
	}
}

func TestYAMLOfAConfigurationKeepsNumbersNumbers(t *testing.T) {
	text, err := ToYAML(json.RawMessage(`{"ttl":10,"f":1.5,"s":"5","l":[1,{"x":2}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("f: 1.5\nl:\n- 1\n- x: 2\ns: \"5\"\nttl: 10\n", text); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseYAML(f *testing.F) {
	for _, seed := range []string{"ttl: 5", "{}", "", "- a", "a: [1", "x: !!binary a", "a: &a [*a]", "1: 2", "? {a: b}\n: c", "null"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := ParseYAML([]byte(text), "the seed")
		if err != nil {
			if strings.Contains(oneLineOf(err), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		if _, err := json.Marshal(doc); err != nil {
			t.Errorf("read, but cannot be stored: %v", err)
		}
	})
}

func oneLineOf(err error) string { return strings.TrimSpace(err.Error()) }

func FuzzAssignment(f *testing.F) {
	for _, seed := range []string{"a=1", "a.b.c=null", ".=.", "..=1", "=", "a={", "a=*x"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		path, value, err := Assignment(text)
		if err == nil {
			assign(document{"a": document{"b": 1}}, path, value)
		}
	})
}
