package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const patroniHistory = `[[1,83886240,"no recovery target specified","2026-01-01T10:00:00.123456+00:00","pg-2"],` +
	`[2,100663456,"no recovery target specified","2026-01-02T10:00:00.123456+00:00","pg-1"]]`

func TestHistoryIsPatronis(t *testing.T) {
	var h History
	if err := json.Unmarshal([]byte(patroniHistory), &h); err != nil {
		t.Fatal(err)
	}
	want := History{
		{Timeline: 1, Switch: 0x50000A0, Reason: "no recovery target specified", Time: "2026-01-01T10:00:00.123456+00:00", NewLeader: "pg-2"},
		{Timeline: 2, Switch: 0x60000A0, Reason: "no recovery target specified", Time: "2026-01-02T10:00:00.123456+00:00", NewLeader: "pg-1"},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	written, err := json.Marshal(h)
	if err != nil || string(written) != patroniHistory {
		t.Errorf("written as %s (%v)", written, err)
	}
}

func TestHistoryLinesOfOldPatroniVersionsAreShorter(t *testing.T) {
	var h History
	if err := json.Unmarshal([]byte(`[[1,25,"why"],[2,26,"why","when"],[3,27,"why","when","who","later"]]`), &h); err != nil {
		t.Fatal(err)
	}
	want := History{{Timeline: 1, Switch: 25, Reason: "why"}, {Timeline: 2, Switch: 26, Reason: "why", Time: "when"},
		{Timeline: 3, Switch: 27, Reason: "why", Time: "when", NewLeader: "who"}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHistoryRefusesWhatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		`[[1,25]]`:                  "2 fields",
		`[{}]`:                      "history line",
		`[["one",25,"why"]]`:        "field 1",
		`[[1,-25,"why"]]`:           "field 2",
		`[[1,25,7]]`:                "field 3",
		`[[-1,25,"why"]]`:           "field 1",
		`[[99999999999,25,"why"]]`:  "field 1",
		`[[1,25,"why",["not"],""]]`: "field 4",
	} {
		var h History
		err := json.Unmarshal([]byte(text), &h)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", text, err, want)
		}
	}
}

func TestSwitchOf(t *testing.T) {
	h := History{{Timeline: 1, Switch: 10}, {Timeline: 4, Switch: 20}}
	if at, found := h.SwitchOf(4); !found || at != 20 {
		t.Errorf("timeline 4 ended at %v, %t", at, found)
	}
	if _, found := h.SwitchOf(2); found {
		t.Error("timeline 2 is no ancestor")
	}
}

func FuzzHistoryLine(f *testing.F) {
	for _, s := range []string{`[1,83886240,"no recovery target specified","2026-01-01T10:00:00+00:00","pg-2"]`, `[1,25,"why"]`, `[1]`, `[]`, `{}`, `[1,1e3,""]`, `[null,null,null]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var line HistoryLine
		if json.Unmarshal(data, &line) != nil {
			return
		}
		written, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		var back HistoryLine
		if err := json.Unmarshal(written, &back); err != nil || back != line {
			t.Errorf("%s is %+v, which reads back as %+v (%v)", data, line, back, err)
		}
	})
}
