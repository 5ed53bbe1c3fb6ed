package cluster

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsAbandonedBeginsWhereTheHistoriesPart(t *testing.T) {
	left := func(tl Timeline, at LSN) HistoryLine { return HistoryLine{Timeline: tl, Switch: at} }
	for name, c := range map[string]struct {
		ours, theirs []Reached
		want         []Reached
	}{
		"an old primary whose timeline was left": {History(nil).Reaches(1), History{left(1, 500)}.Reaches(3), []Reached{{1, 500, 0}}},
		"nobody left the timeline":               {History(nil).Reaches(1), History(nil).Reaches(1), []Reached{}},
		"two promotions from one timeline": {History{left(1, 700)}.Reaches(2), History{left(1, 500)}.Reaches(3),
			[]Reached{{1, 500, 700}, {2, 700, 0}}},
		"ours left the timeline sooner": {History{left(1, 400)}.Reaches(2), History{left(1, 500)}.Reaches(3), []Reached{{2, 400, 0}}},
		"a longer way together": {History{left(1, 100), left(2, 300)}.Reaches(4), History{left(1, 100), left(2, 300), left(4, 900)}.Reaches(7),
			[]Reached{{4, 900, 0}}},
		"one timeline that began at two places": {History{left(1, 100)}.Reaches(2), History{left(1, 200)}.Reaches(2), []Reached{{2, 100, 0}}},
	} {
		if diff := cmp.Diff(c.want, Abandoned(c.ours, c.theirs)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPositionsOfLostWALAreWrittenAsPostgreSQLReadsThem(t *testing.T) {
	want := Lost{Member: "pg1", Timeline: 1, From: 0x3000148, To: 0x2_0000_0010, Tables: []LostTable{{Database: "app", Name: "public.t"}}}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ From, To string }
	if err := json.Unmarshal(raw, &got); err != nil || got.From != "0/3000148" || got.To != "2/10" {
		t.Errorf("written as %s", raw)
	}
	var back Lost
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"from":"nowhere"}`), &back); err == nil {
		t.Error("a position that is none was read")
	}
}

func TestATableWithoutANameIsShownByItsNumbers(t *testing.T) {
	for want, table := range map[string]LostTable{
		"app:public.t":       {Database: "app", Name: "public.t", Relation: "1663/5/16385"},
		"1663/5/16385":       {Relation: "1663/5/16385"},
		"app:public.n (new)": {Database: "app", Name: "public.n", Relation: "1663/5/16400", Created: true},
		"1663/5/16399 (new)": {Relation: "1663/5/16399", Created: true},
	} {
		if got := table.String(); got != want {
			t.Errorf("%+v is shown as %q, want %q", table, got, want)
		}
	}
}
