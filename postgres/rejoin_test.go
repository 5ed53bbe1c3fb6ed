package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestARewindNeedsAPrimaryThatHasCheckpointedOnItsTimeline(t *testing.T) {
	if err := readySource("00000003", "00000003"); err != nil {
		t.Errorf("a primary that has: %v", err)
	}
	if err := readySource("00000001", "00000003"); !errors.Is(err, ErrSourceNotReady) {
		t.Errorf("one that has not: %v", err)
	}
	if err := readySource("00000003", ""); err == nil || errors.Is(err, ErrSourceNotReady) {
		t.Errorf("a standby, which nobody should wait for: %v", err)
	}
}

func TestAStandbyIsCopiedOnlyWhenItStandsOnThePrimarysHistory(t *testing.T) {
	proof := SourceInfo{SystemID: "sys", Timeline: 3, LSN: 900}
	for name, c := range map[string]struct {
		standby SourceInfo
		want    string
	}{
		"behind":                {SourceInfo{SystemID: "sys", Timeline: 3, LSN: 800, InRecovery: true}, ""},
		"at the same place":     {SourceInfo{SystemID: "sys", Timeline: 3, LSN: 900, InRecovery: true}, ""},
		"another system":        {SourceInfo{SystemID: "other", Timeline: 3, LSN: 800, InRecovery: true}, "it belongs to system other"},
		"no standby":            {SourceInfo{SystemID: "sys", Timeline: 3, LSN: 800}, "it is no standby"},
		"an older timeline":     {SourceInfo{SystemID: "sys", Timeline: 2, LSN: 800, InRecovery: true}, "it is on timeline 2, the primary on 3"},
		"a newer timeline":      {SourceInfo{SystemID: "sys", Timeline: 4, LSN: 800, InRecovery: true}, "it is on timeline 4, the primary on 3"},
		"more than the primary": {SourceInfo{SystemID: "sys", Timeline: 3, LSN: 901, InRecovery: true}, "it is at 0/385, the primary at 0/384 only"},
	} {
		if got := Standing(proof, c.standby); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestADirectoryGoesOnlyWhereACloneFitsWithoutIt(t *testing.T) {
	for name, c := range map[string]struct {
		have spaces
		want roomPlan
		none bool
	}{
		"room for two":              {spaces{free: 100}, roomPlan{}, false},
		"room without older copies": {spaces{free: 60, asides: 40, old: 90}, roomPlan{asides: true}, false},
		"room without the old one":  {spaces{free: 10, asides: 10, old: 80}, roomPlan{asides: true, old: true}, false},
		"no room at all":            {spaces{free: 10, asides: 10, old: 79}, roomPlan{}, true},
	} {
		got, err := planFor(100, c.have, "/data")
		if got != c.want || errors.Is(err, ErrNoRoom) != c.none {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestTheConfigurationForARewindIsAddedOnce(t *testing.T) {
	s := bare(t)
	s.put(t, confName, "mine = 'own'\n")
	if err := s.confForRewind(""); !errors.Is(err, ErrNotGenerated) {
		t.Errorf("a file of somebody else's: %v", err)
	}
	s.put(t, confName, confHeader+"port = '5432'\n")
	for _, command := range []string{"", "cp '/archive/%f' %p"} {
		if err := s.confForRewind(command); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(s.data(confName))
	if err != nil {
		t.Fatal(err)
	}
	want := confHeader + "port = '5432'\n" + rewindConf + "wal_keep_size = '2147483647MB'\nrestore_command = 'cp ''/archive/%f'' %p'\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestADirectoryIsSharedOrNotCopiedAtAll holds on any file system: one that shares
// blocks gives a copy of its own, one that cannot gives none and leaves nothing.
func TestADirectoryIsSharedOrNotCopiedAtAll(t *testing.T) {
	s := bare(t)
	s.put(t, "PG_VERSION", "15\n")
	s.put(t, "base/5/16384", "before")
	wal := filepath.Join(filepath.Dir(s.o.DataDir), "wal")
	if err := errors.Join(os.Mkdir(wal, 0o700), os.WriteFile(wal+"/segment", nil, 0o600), os.Symlink(wal, s.data("pg_wal"))); err != nil {
		t.Fatal(err)
	}
	for _, changed := range []bool{false, true} {
		c := s.shareBefore(Rewinding{Share: true})
		s.put(t, "base/5/16384", "after")
		if err := s.settleBefore(c, changed, 1, fileSystems{}); err != nil {
			t.Fatal(err)
		}
		left, _ := filepath.Glob(s.o.DataDir + ".old-*")
		walLeft, _ := filepath.Glob(wal + ".old-*")
		if c == nil {
			t.Log("this file system shares no blocks")
			if len(left)+len(walLeft) != 0 {
				t.Errorf("no copy, and it left %v %v", left, walLeft)
			}
			continue
		}
		if want := map[bool]int{false: 0, true: 1}[changed]; len(left) != want || len(walLeft) != want {
			t.Fatalf("changed %t: %v %v", changed, left, walLeft)
		}
		if content, err := os.ReadFile(filepath.Join(c.name, "base/5/16384")); changed && (err != nil || string(content) == "") {
			t.Errorf("the copy: %s, %v", content, err)
		}
	}
	if s.shareBefore(Rewinding{}) != nil {
		t.Error("a copy that nobody asked for")
	}
}

func TestSummariesOfLostWALAreReadNewestFirst(t *testing.T) {
	s := bare(t)
	for _, l := range []cluster.Lost{
		{ID: "00000001-0000000000000001", Found: "2026-01-01T00:00:00Z", Transactions: 1},
		{ID: "00000003-0000000000000001", Found: "2026-03-01T00:00:00Z", Transactions: 3},
		{ID: "00000002-0000000000000001", Found: "2026-02-01T00:00:00Z", Transactions: 2},
	} {
		if err := s.putLost(l); err != nil {
			t.Fatal(err)
		}
	}
	broken := filepath.Join(s.o.StateDir, lostFolder, "broken")
	if err := errors.Join(os.Mkdir(broken, 0o700), os.WriteFile(filepath.Join(broken, lostSummary), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	all, err := ReadLost(s.o.StateDir)
	if err != nil || len(all) != 3 || all[0].Transactions != 3 || all[2].Transactions != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if info, err := os.Stat(s.lostDir(all[0].ID)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("WAL holds rows, and its folder is %v, %v", info.Mode(), err)
	}
}

func TestAHistoryThatCannotBeComparedIsRecordedAsSuch(t *testing.T) {
	s := bare(t)
	node := cluster.NodeState{Timeline: 2, WriteLSN: 100, Mode: cluster.ModeStopped}
	lost, found, err := s.KeepLost(t.Context(), Losing{Node: node, Info: SourceInfo{Timeline: 2, LSN: 200}, By: "clone", Member: "pg2", Limit: 1 << 30})
	if err != nil || !found || lost.From != 0 || lost.ID != "00000002-unknown" || !strings.Contains(lost.Note, "nothing was counted") {
		t.Errorf("%+v, %t, %v", lost, found, err)
	}
	all, err := ReadLost(s.o.StateDir)
	if err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestNamesAreReadFromAStandAloneBackend(t *testing.T) {
	known := map[string]string{}
	readLocalNames("backend> \t 1: lost\t(typeid = 25, len = -1, typmod = -1, byval = f)\n\t----\n"+
		"\t 1: lost = \"1663/5/16390 public.a b\"\t(typeid = 25, len = -1, typmod = -1, byval = f)\n\t----\n"+
		"\t 1: lost = \"1663/5/16393 -\"\t(typeid = 25, len = -1, typmod = -1, byval = f)\n\t----\nbackend> ", known)
	if diff := cmp.Diff(map[string]string{"1663/5/16390": "public.a b", "1663/5/16393": internalName}, known); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
