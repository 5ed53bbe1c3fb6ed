package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestWhatIsUnderATombstoneIsKnownByItsContent: a tombstone may be left over where somebody
// has restored a copy by hand since, and that must not be deleted as a half clone.
func TestWhatIsUnderATombstoneIsKnownByItsContent(t *testing.T) {
	clone, oldClone := Tombstone{Kind: TombstoneClone, Label: "pgkeeper-A"}, Tombstone{Kind: TombstoneClone}
	initdb, oldInitdb := Tombstone{Kind: TombstoneInit, SystemID: "1"}, Tombstone{Kind: TombstoneInit}
	rewind := Tombstone{Kind: TombstoneRewind}
	for name, c := range map[string]struct {
		grave   Tombstone
		content content
		want    remains
	}{
		"a clone that has begun":                       {clone, content{}, remainsDisposable},
		"one without pg_control":                       {clone, content{backup: true, label: "pgkeeper-A"}, remainsDisposable},
		"one without the last WAL":                     {clone, content{true, "1", true, "pgkeeper-A"}, remainsDisposable},
		"one whose pg_control a power cut took":        {clone, content{true, "", true, "pgkeeper-A"}, remainsDisposable},
		"one whose label a power cut took":             {clone, content{true, "1", true, ""}, remainsDamaged},
		"one that lost both":                           {clone, content{true, "", true, ""}, remainsDamaged},
		"a copy that has run, over a clone":            {clone, content{true, "1", false, ""}, remainsReplaced},
		"a restored backup, over a clone":              {clone, content{true, "1", true, "nightly"}, remainsReplaced},
		"a backup that is being restored, over one":    {clone, content{false, "", true, "nightly"}, remainsDamaged},
		"a copy with a bad pg_control, over a clone":   {clone, content{true, "", false, ""}, remainsDamaged},
		"a clone of an older version that has begun":   {oldClone, content{}, remainsDisposable},
		"one that is whole, or a copy":                 {oldClone, content{true, "1", true, "pg_basebackup base backup"}, remainsDamaged},
		"an initdb that has begun":                     {initdb, content{}, remainsDisposable},
		"one that has ended":                           {initdb, content{true, "1", false, ""}, remainsDisposable},
		"one that lost its pg_control by a power cut":  {initdb, content{true, "", false, ""}, remainsUnclear},
		"a copy of another cluster, over an initdb":    {initdb, content{true, "2", false, ""}, remainsReplaced},
		"an initdb that was killed, or a copy":         {oldInitdb, content{true, "1", false, ""}, remainsUnclear},
		"an initdb that was killed before it made any": {oldInitdb, content{}, remainsDisposable},
		"a rewind":              {rewind, content{true, "1", false, ""}, remainsDamaged},
		"a rewind, and nothing": {rewind, content{}, remainsDamaged},
	} {
		if got := c.grave.remains(c.content); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// under is a whole data directory with a tombstone beside it.
func under(t *testing.T, grave Tombstone) *Server {
	t.Helper()
	s := bare(t)
	s.put(t, "PG_VERSION", "15\n")
	s.put(t, "global/pg_control", string(controlBytes(1300, nil)))
	buried(t, s, grave)
	return s
}

func TestACopyThatWasRestoredUnderATombstoneIsKept(t *testing.T) {
	for name, grave := range map[string]Tombstone{
		"of a clone":    {Kind: TombstoneClone, Label: "pgkeeper-A"},
		"of an initdb":  {Kind: TombstoneInit, SystemID: "1"},
		"of an old one": {Kind: TombstoneClone},
		"of a killed":   {Kind: TombstoneInit},
	} {
		t.Run(name, func(t *testing.T) {
			s := under(t, grave)
			if err := s.makeEmpty(); !errors.Is(err, ErrNotEmpty) {
				t.Errorf("initdb or a clone over it: %v", err)
			}
			path, err := s.MoveAside(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(path, "global", "pg_control")); err != nil {
				t.Error(err)
			}
			if unknown := grave.Label+grave.SystemID == ""; strings.HasSuffix(path, asideDamaged) != unknown || strings.HasSuffix(path, asideIncomplete) {
				t.Errorf("moved aside as %s", path)
			}
			if left, err := s.Tombstone(); left != nil || err != nil {
				t.Errorf("tombstone %+v, %v", left, err)
			}
		})
	}
}

func TestWhatInterruptedWorkLeftIsNotStarted(t *testing.T) {
	for name, c := range map[string]struct {
		grave   Tombstone
		refused bool
	}{
		"a rewind":                          {Tombstone{Kind: TombstoneRewind}, true},
		"an initdb":                         {Tombstone{Kind: TombstoneInit, SystemID: bareSystem}, true},
		"a clone, or a copy restored since": {Tombstone{Kind: TombstoneClone}, true},
		"a copy restored since":             {Tombstone{Kind: TombstoneClone, Label: "pgkeeper-A"}, false},
	} {
		s := under(t, c.grave)
		s.o.SocketDir = filepath.Dir(s.o.DataDir)
		if _, err := s.StartSpec(true, cluster.DefaultSettings()); errors.Is(err, ErrUnfinished) != c.refused || err != nil && !c.refused {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := s.Tombstone(); (left != nil) != c.refused || err != nil {
			t.Errorf("%s: tombstone %+v, %v", name, left, err)
		}
	}
}

func TestALabelIsReadFromABackup(t *testing.T) {
	s := bare(t)
	for text, want := range map[string]string{
		"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nLABEL: pgkeeper-A\nSTART TIMELINE: 1\n": "pgkeeper-A",
		"":                 "",
		"\x00\x00\x00\x00": "",
	} {
		s.put(t, "backup_label", text)
		if got, found, err := s.backupLabel(); got != want || !found || err != nil {
			t.Errorf("%q: %q, %t, %v", text, got, found, err)
		}
	}
}

// TestAnInterruptedRemovalLeavesNoCopy: the label of a clone may be gone before its
// pg_control, and then the rest would pass for a copy that somebody has restored.
func TestAnInterruptedRemovalLeavesNoCopy(t *testing.T) {
	s := under(t, Tombstone{Kind: TombstoneClone, Label: "pgkeeper-A"})
	s.put(t, "backup_label", "LABEL: pgkeeper-A\n")
	wal := filepath.Join(filepath.Dir(s.o.DataDir), "wal")
	stays := filepath.Join(wal, "stays")
	if err := errors.Join(os.MkdirAll(stays, 0o700), os.WriteFile(stays+"/segment", nil, 0o600), os.Symlink(wal, s.data("pg_wal"))); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		mounted(t, stays, "size=1m")
	} else {
		t.Cleanup(func() { _ = os.Chmod(stays, 0o700) }) //nolint:gosec // to be removed
		if err := os.Chmod(stays, 0o500); err != nil {   //nolint:gosec // a folder
			t.Fatal(err)
		}
	}
	if err := s.makeEmpty(); err == nil {
		t.Error("what cannot be removed was")
	}
	for _, name := range []string{"global/pg_control", "backup_label"} {
		if has, err := exists(s.data(name)); has || err != nil {
			t.Errorf("%s is there: %t, %v", name, has, err)
		}
	}
	if grave, what, err := s.remains(); grave == nil || what != remainsDisposable || err != nil {
		t.Errorf("left: %+v, %d, %v", grave, what, err)
	}
}
