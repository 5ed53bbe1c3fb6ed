package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestTimelineHistoriesAreReadAsPostgreSQLReadsThem(t *testing.T) {
	got, err := ParseTimelineHistory([]byte("# a comment\n1\t0/30001A0\tno recovery target specified\n\n  4  1/2 before 2026-01-01 10:00:00+00\n"))
	want := cluster.History{
		{Timeline: 1, Switch: 0x30001A0, Reason: "no recovery target specified"},
		{Timeline: 4, Switch: 0x100000002, Reason: "before 2026-01-01 10:00:00+00"},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, content := range map[string]string{
		"timelines fall": "4\t0/1\tx\n2\t0/2\tx\n", "no number": "x\t0/1\ty\n", "no position": "1\n", "timeline zero": "0\t0/1\tx\n",
		"huge number": "4294967296\t0/1\tx\n", "bad position": "1\t0-1\tx\n",
	} {
		if history, err := ParseTimelineHistory([]byte(content)); err == nil {
			t.Errorf("%s: read as %v", name, history)
		}
	}
	if history, err := ParseTimelineHistory([]byte(placeholder + " for timeline 9\n")); err != nil || history != nil {
		t.Errorf("a placeholder names ancestors: %v, %v", history, err)
	}
}

func FuzzParseTimelineHistory(f *testing.F) {
	f.Add([]byte("1\t0/30001A0\tno recovery target specified\n"))
	f.Add([]byte("# only this\n\n"))
	f.Add([]byte("1 0/1\n2 0/0 \xff"))
	f.Fuzz(func(t *testing.T, content []byte) {
		history, err := ParseTimelineHistory(content)
		if err != nil && history != nil {
			t.Errorf("an error came with %v", history)
		}
		if !slices.IsSortedFunc(history, func(a, b cluster.HistoryLine) int { return int(a.Timeline) - int(b.Timeline) }) && len(history) < 1000 {
			t.Errorf("timelines do not rise: %v", history)
		}
	})
}

func TestAPromotionSkipsNumbersByFilesThatAreNotThere(t *testing.T) {
	s := bare(t)
	s.put(t, "pg_wal/00000003.history", "2\t0/1\treal\n")
	files, err := s.HistoryFiles(3, 6)
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(func(yield func(string) bool) {
		for name := range files {
			if !yield(name) {
				return
			}
		}
	})
	// 2 for standbys that come from timeline 1, 4 and 5 to be skipped; never 3 and 6.
	if diff := cmp.Diff([]string{"00000002.history", "00000004.history", "00000005.history"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if files, err := s.HistoryFiles(1, 2); err != nil || len(files) != 0 {
		t.Errorf("the next number needs %v, %v", files, err)
	}
	s.put(t, "pg_wal/00000006.history", "3\t0/1\treal\n")
	for name, c := range map[string][2]cluster.Timeline{"taken": {3, 6}, "the same": {3, 3}, "lower": {3, 2}, "unknown current": {0, 4}} {
		if _, err := s.HistoryFiles(c[0], c[1]); !errors.Is(err, ErrTimelineTaken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyPlaceholdersWithoutARealFileAboveAreRemoved(t *testing.T) {
	s := bare(t)
	for name, content := range map[string]string{
		"00000002": placeholder + "\n", "00000003": "1\t0/1\treal\n", "00000004": placeholder + "\n", "0000000A": placeholder + "\n",
	} {
		s.put(t, "pg_wal/"+name+".history", content)
	}
	if err := s.dropOrphans(false); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(s.data("pg_wal", "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if diff := cmp.Diff([]string{"00000002.history", "00000003.history"}, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.RemoveAll(s.data("pg_wal")); err != nil {
		t.Fatal(err)
	}
	if err := s.dropOrphans(false); err != nil {
		t.Errorf("without pg_wal: %v", err)
	}
}

// A standby whose checkpoint is older than the point where a timeline left its own would
// start with that timeline for its goal, whatever it has past it.
func TestTheHistoryOfATimelineThatAStandbyHasNothingOfIsRemoved(t *testing.T) {
	s := bare(t)
	s.put(t, "global/pg_control", string(controlBytes(1300, nil))) // on timeline 3
	left := func(standby bool) (names []string) {
		if err := s.dropOrphans(standby); err != nil {
			t.Fatal(err)
		}
		paths, _ := filepath.Glob(s.data("pg_wal", "*.history"))
		for _, path := range paths {
			names = append(names, filepath.Base(path))
		}
		return names
	}
	for _, name := range []string{"00000003", "00000004", "00000005", "00000006"} {
		s.put(t, "pg_wal/"+name+".history", "3\t0/4000000\treal\n")
	}
	s.put(t, "pg_wal/000000030000000000000004", "WAL past the end of timeline 3")
	s.put(t, "pg_wal/000000050000000000000004", "WAL of timeline 5")
	s.put(t, "pg_wal/0000000600000000.note", "no WAL")
	if diff := cmp.Diff([]string{"00000003.history", "00000004.history", "00000005.history", "00000006.history"}, left(false)); diff != "" {
		t.Errorf("of a primary (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"00000003.history", "00000004.history", "00000005.history"}, left(true)); diff != "" {
		t.Errorf("with WAL of timeline 5 (-want +got):\n%s", diff)
	}
	if err := os.Remove(s.data("pg_wal", "000000050000000000000004")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"00000003.history"}, left(true)); diff != "" {
		t.Errorf("without (-want +got):\n%s", diff)
	}
}

// TestAStandbyAsksNoPatroniPrimaryForHistoriesThatItLacks: what is there stays, and the one
// of the timeline itself is fetched.
func TestAStandbyAsksNoPatroniPrimaryForHistoriesThatItLacks(t *testing.T) {
	s := bare(t)
	s.put(t, "pg_wal/00000003.history", "2\t0/1\treal\n")
	if err := s.FillHistory(1, 5); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"00000002.history": placeholder + " for timeline 5\n", "00000003.history": "2\t0/1\treal\n", "00000004.history": placeholder + " for timeline 5\n",
		"00000001.history": "", "00000005.history": "",
	} {
		got, err := os.ReadFile(s.data("pg_wal", name))
		if err != nil && !errors.Is(err, os.ErrNotExist) || string(got) != want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
}
