package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func trials(row, system, build, at string, values ...float64) []Trial {
	var out []Trial
	for i, v := range values {
		out = append(out, Trial{Row: row, System: system, Build: build, Trial: i + 1, At: at, Value: v})
	}
	return out
}

func TestASummaryIsTheMedianWithItsExtremes(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   Summary
	}{
		{"an odd number has its middle", []float64{3, 1, 2}, Summary{Build: "b", N: 3, Median: 2, Min: 1, Max: 3}},
		{"an even number the mean of its two middles", []float64{4, 1, 2, 3}, Summary{Build: "b", N: 4, Median: 2.5, Min: 1, Max: 4}},
		{"one is all three", []float64{7}, Summary{Build: "b", N: 1, Median: 7, Min: 7, Max: 7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Summarize(trials("switchover", Keeper, "b", "1", c.values...))
			if !ok {
				t.Fatal("no summary")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, ok := Summarize(nil); ok {
		t.Error("nothing has a summary")
	}
}

func TestOnlyTheBuildMeasuredLastCounts(t *testing.T) {
	all := append(trials("switchover", Keeper, "new", "2026-02", 1), trials("switchover", Keeper, "old", "2026-01", 9, 9)...)
	all = append(all, trials("switchover", Patroni, "3.0.2", "2026-03", 5)...)
	all = append(all, Trial{Row: "switchover", System: Keeper, Build: "newest", Trial: 1, At: "2026-04", Value: 7, Disturbed: true})
	if diff := cmp.Diff(trials("switchover", Keeper, "new", "2026-02", 1), Latest(all, "switchover", Keeper)); diff != "" {
		t.Error(diff)
	}
}

func TestVerdicts(t *testing.T) {
	row := func(id string) Row {
		r, ok := Find(id)
		if !ok {
			t.Fatalf("no row %s", id)
		}
		return r
	}
	peer := &Summary{Median: 180}
	for _, c := range []struct {
		name, row string
		s         Summary
		peer      *Summary
		want      Verdict
	}{
		{"the aim is met", "switchover", Summary{Median: 0.1, Max: 2}, nil, Met},
		{"the must is reached", "switchover", Summary{Median: 0.2}, nil, Reached},
		{"neither", "switchover", Summary{Median: 0.31}, nil, Missed},
		{"more is better", "get_closed", Summary{Median: 36000}, nil, Met},
		{"too few", "get_closed", Summary{Median: 19999}, nil, Missed},
		{"a single overlap misses", "overlap", Summary{Median: 0, Max: 0.004}, nil, Missed},
		{"no overlap at all", "overlap", Summary{}, nil, Met},
		{"half of the peer", "etcd_idle", Summary{Median: 90}, peer, Met},
		{"as many as the peer", "etcd_idle", Summary{Median: 180}, peer, Reached},
		{"more than the peer", "etcd_idle", Summary{Median: 181}, peer, Missed},
		{"no peer to compare with", "etcd_idle", Summary{Median: 90}, nil, Open},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := row(c.row).Judge(c.s, c.peer); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestTheTableShowsBothSystemsSideBySide(t *testing.T) {
	all := append(trials("switchover", Keeper, "b", "1", 0.1, 0.12, 0.3), trials("switchover", Patroni, "3.0.2", "1", 1.3, 1.34)...)
	all = append(all, trials("get_closed", Keeper, "b", "1", 34567.8)...)
	all = append(all, trials("get_offered", Keeper, "b", "1", 0.00075)...)
	all = append(all, trials("worker_killed", Keeper, "b", "1", 0, 0, 0.21)...)
	table := Table(all)
	for _, want := range []string{
		"| switchover, idle database | 0.12 s (0.10–0.30), 3 | 0.30 s | 0.15 s | met | 1.32 s (1.30–1.34), 2 |",
		"| GET /primary, 16 connections, loopback, closed loop | 34,568/s (34,568–34,568), 1 | 20,000/s | 35,000/s | must | – |",
		"| GET /primary at an offered 5,000/s, p99 | 0.75 ms (0.75–0.75), 1 | 2.00 ms | 1.00 ms | met | – |",
		"| worker SIGKILLed | 0 (0–0.21), 3 | 0 | 0 | missed | – |",
		"| three nodes from nothing to healthy | not measured | 4.00 s | 2.50 s | – | – |",
	} {
		if !strings.Contains(table, want+"\n") {
			t.Errorf("missing line\n%s\nin\n%s", want, table)
		}
	}
}

func TestTheTableGoesBetweenItsMarks(t *testing.T) {
	page := "# Title\n\n" + Begin + "\nold\n" + End + "\n\nrest\n"
	got, err := Insert(page, "new\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("# Title\n\n"+Begin+"\nnew\n"+End+"\n\nrest\n", got); diff != "" {
		t.Error(diff)
	}
	for _, broken := range []string{"no marks", Begin + " only", End + Begin} {
		if _, err := Insert(broken, "new\n"); err == nil {
			t.Errorf("%q was taken", broken)
		}
	}
}

func TestTheFileIsAppendedToAndSurvivesACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "results.jsonl")
	first, second := Trial{Row: "start", System: Keeper, Build: "b", Trial: 1, Value: 2.5}, Trial{Row: "start", System: Keeper, Build: "b", Trial: 2, Value: 3}
	if none, err := Read(path); err != nil || none != nil {
		t.Fatalf("a file that is not there has no trials: %v %v", none, err)
	}
	if err := Append(path, first); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"row":"sta`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Append(path, second); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Trial{first, second}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[int]bool{1: true, 2: true}, Done(got, "start", Keeper, "b")); diff != "" {
		t.Error(diff)
	}
	if n := len(Done([]Trial{{Row: "start", System: Keeper, Build: "b", Trial: 1, Disturbed: true}}, "start", Keeper, "b")); n != 0 {
		t.Error("a disturbed trial was counted as done")
	}
	if len(Done(got, "start", Keeper, "other")) != 0 {
		t.Error("another build's trials were counted")
	}
}

func TestEveryRowCanBeFoundByItsOneName(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rows() {
		if seen[r.ID] {
			t.Errorf("two rows are named %s", r.ID)
		}
		seen[r.ID] = true
		if found, ok := Find(r.ID); !ok || found.Title != r.Title {
			t.Errorf("row %s is not found", r.ID)
		}
	}
}
