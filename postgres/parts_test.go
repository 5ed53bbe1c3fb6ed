package postgres

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// root skips a test that mounts file systems.
func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount file systems")
	}
}

// mounted puts a file system of its own on a directory. Only root can.
func mounted(t *testing.T, dir, options string) {
	t.Helper()
	root(t)
	var own unix.Stat_t
	if err := errors.Join(os.MkdirAll(dir, 0o700), unix.Stat(dir, &own), unix.Mount("tmpfs", dir, "tmpfs", 0, options)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	if err := errors.Join(os.Chown(dir, int(own.Uid), int(own.Gid)), os.Chmod(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
}

// placed is a data directory with WAL and a tablespace elsewhere, and where these are.
func placed(t *testing.T, mount ...string) (s *Server, wal, space string) {
	t.Helper()
	s = bare(t)
	top := filepath.Dir(s.o.DataDir)
	wal, space = filepath.Join(top, "wal"), filepath.Join(top, "space")
	for _, dir := range []string{s.o.DataDir, wal, space} {
		if slices.Contains(mount, filepath.Base(dir)) {
			mounted(t, dir, "size=1m")
		} else if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.put(t, "PG_VERSION", "15\n")
	s.put(t, "global/pg_control", string(controlBytes(1300, nil)))
	version := filepath.Join(space, "PG_15_202209061")
	if err := errors.Join(os.Mkdir(s.data("pg_tblspc"), 0o700), os.Symlink(wal, s.data("pg_wal")), os.Symlink(space, s.data("pg_tblspc", "16385")),
		os.Mkdir(version, 0o700), os.WriteFile(wal+"/segment", []byte("wal"), 0o600), os.WriteFile(version+"/1", []byte("row"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return s, wal, space
}

// tree lists what is below the directory that holds the data directory, links with where
// they lead, without the state directory.
func tree(t *testing.T, s *Server) []string {
	t.Helper()
	top := filepath.Dir(s.o.DataDir)
	var found []string
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(path, s.o.DataDir+".pgkeeper") {
			return err
		}
		name := strings.TrimPrefix(path, top+"/")
		switch {
		case entry.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			found = append(found, name+" -> "+strings.TrimPrefix(target, top+"/"))
			return err
		case !entry.IsDir():
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// source proves nothing to anybody and cannot be asked: how much room is needed is not known.
var source = Source{Host: "127.0.0.1", Port: "1"}

var keptWhole = []string{
	"data.old-1/PG_VERSION", "data.old-1/global/pg_control", "data.old-1/pg_tblspc/16385 -> space.old-1", "data.old-1/pg_wal -> wal.old-1",
	"space.old-1/PG_15_202209061/1", "wal.old-1/segment",
}

// TestWhatCannotBeMovedAsideGoesWithAProofAlone: a mount point has no second place, and a
// node whose directories are some must come back all the same.
func TestWhatCannotBeMovedAsideGoesWithAProofAlone(t *testing.T) {
	root(t)
	for name, c := range map[string]struct {
		mount   []string
		left    []string
		removed string
	}{
		"all can be":         {nil, keptWhole, ""},
		"the data directory": {[]string{"data"}, nil, "the old directory, as "},
		"the WAL's": {[]string{"wal"}, []string{
			"data.old-1.damaged/PG_VERSION", "data.old-1.damaged/global/pg_control", "data.old-1.damaged/pg_tblspc/16385 -> space.old-1.damaged",
			"space.old-1.damaged/PG_15_202209061/1",
		}, "what was in "},
		"a tablespace's": {[]string{"space"}, []string{
			"data.old-1.damaged/PG_VERSION", "data.old-1.damaged/global/pg_control", "data.old-1.damaged/pg_wal -> wal.old-1.damaged",
			"wal.old-1.damaged/segment",
		}, "what was in "},
		"all three": {[]string{"data", "wal", "space"}, nil, "the old directory, as "},
	} {
		t.Run(name, func(t *testing.T) {
			s, wal, space := placed(t, c.mount...)
			before := tree(t, s)
			if whys := Immovables(s.o.DataDir); len(whys) != len(c.mount) {
				t.Errorf("said to be immovable: %q", whys)
			}
			if len(c.mount) > 0 {
				if path, err := s.MoveAside(t.Context()); !errors.Is(err, ErrImmovable) || path != "" || !strings.Contains(err.Error(), "is a mount point") {
					t.Errorf("without a proof: %q, %v", path, err)
				}
				if diff := cmp.Diff(before, tree(t, s)); diff != "" {
					t.Errorf("without a proof (-before +after):\n%s", diff)
				}
			}
			room, err := s.MakeRoom(t.Context(), Making{Source: source, Keep: 1})
			if err != nil || !strings.HasPrefix(room.Removed, c.removed) || (room.Removed == "") != (c.removed == "") {
				t.Fatalf("with one: %+v, %v", room, err)
			}
			if diff := cmp.Diff(c.left, tree(t, s)); diff != "" {
				t.Errorf("with one (-want +got):\n%s", diff)
			}
			for _, dir := range []string{wal, space} {
				if !emptyDir(dir) {
					t.Errorf("%s is not there, empty, for the clone", dir)
				}
			}
			if room.Removed == "" || room.Aside != "" {
				return
			}
			if grave, err := s.Tombstone(); err != nil || grave == nil || grave.Kind != TombstoneClone {
				t.Errorf("after the removal: tombstone %+v, %v", grave, err)
			}
		})
	}
}

// fixedWAL is a server whose WAL cannot be moved, and where that is: a mount point, or, since
// that needs root, in a directory that may not be written, which root may.
func fixedWAL(t *testing.T) (s *Server, wal string) {
	t.Helper()
	s, wal, _ = placed(t)
	if os.Geteuid() == 0 {
		mounted(t, wal, "size=1m")
	} else {
		locked := filepath.Join(filepath.Dir(wal), "locked")
		wal = filepath.Join(locked, "wal")
		if err := errors.Join(os.MkdirAll(wal, 0o700), os.Remove(s.data("pg_wal")), os.Symlink(wal, s.data("pg_wal")), os.Chmod(locked, 0o500)); err != nil { //nolint:gosec // a folder
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(locked, 0o700) }) //nolint:gosec // to be removed
	}
	if err := os.WriteFile(wal+"/segment", []byte("wal"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, wal
}

func TestNothingImmovableGoesWithoutAProof(t *testing.T) {
	for name, begun := range map[string]bool{"at once": false, "after a move that was interrupted": true} {
		t.Run(name, func(t *testing.T) {
			s, wal := fixedWAL(t)
			if begun {
				if _, err := s.rename(asideDamaged); err != nil {
					t.Fatal(err)
				}
			}
			if path, err := s.MoveAside(t.Context()); !errors.Is(err, ErrImmovable) || path != "" {
				t.Errorf("without a proof: %q, %v", path, err)
			}
			if _, err := os.Stat(wal + "/segment"); err != nil {
				t.Errorf("without a proof: %v", err)
			}
			room, err := s.MakeRoom(t.Context(), Making{Source: source, Keep: 1})
			if err != nil || room.Removed == "" || (room.Aside == "") != begun || !emptyDir(wal) {
				t.Errorf("with one: %+v, %v", room, err)
			}
			if found, _ := s.asides(); len(found.damaged) != 1 || len(found.good) != 0 {
				t.Errorf("moved aside: %+v", found)
			}
		})
	}
}

// TestWhatNeverWasACopyNeedsNoProof: what an interrupted initdb or clone has left on
// mount points is in the way of the next one, and nobody's.
func TestWhatNeverWasACopyNeedsNoProof(t *testing.T) {
	s, wal, _ := placed(t, "data", "wal")
	if err := errors.Join(s.ensureState(), s.bury(Tombstone{Kind: TombstoneInit, SystemID: bareSystem})); err != nil {
		t.Fatal(err)
	}
	if path, err := s.MoveAside(t.Context()); err != nil || path != "" || len(tree(t, s)) != 0 || !emptyDir(wal) {
		t.Errorf("%q, %v, left %v", path, err, tree(t, s))
	}
}

// TestAFullDiskIsFreedUnderATombstone: the state directory is on the disk that the old
// directory fills, and that is removed under a tombstone.
func TestAFullDiskIsFreedUnderATombstone(t *testing.T) {
	s := bare(t)
	mounted(t, filepath.Dir(s.o.DataDir), "size=1m")
	s.put(t, "PG_VERSION", "15\n")
	lock, err := s.lockJob()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	full := os.WriteFile(s.data("large"), make([]byte, 2<<20), 0o600)
	if other := os.WriteFile(s.data("other"), []byte("x"), 0o600); !errors.Is(full, unix.ENOSPC) || !errors.Is(other, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v, %v", full, other)
	}
	if err := s.removeOld(source); err != nil {
		t.Error(err)
	}
	if grave, err := s.Tombstone(); grave == nil || err != nil || !emptyDir(s.o.DataDir) {
		t.Errorf("tombstone %+v, %v", grave, err)
	}
}

// TestAMoveThatWasInterruptedIsFinished: the directory has its new name, and the next
// clone's tablespaces and WAL go where parts of it still are.
func TestAMoveThatWasInterruptedIsFinished(t *testing.T) {
	for name, interrupt := range map[string]func(s *Server, wal, space string) error{
		"before the parts": func(s *Server, _, _ string) error { _, err := s.rename(asideGood); return err },
		"between a part and its link": func(s *Server, wal, space string) error {
			_, err := s.rename(asideGood)
			return errors.Join(err, os.Rename(wal, wal+".old-1"), os.Rename(space, space+".old-1"), os.Mkdir(space, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, wal, space := placed(t)
			if err := interrupt(s, wal, space); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				room, err := s.MakeRoom(t.Context(), Making{Source: source, Keep: 1})
				if err != nil || room != (Room{}) {
					t.Fatalf("%+v, %v", room, err)
				}
				if diff := cmp.Diff(keptWhole, tree(t, s)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			// What lies there by then is the next directory's.
			if err := errors.Join(os.MkdirAll(wal, 0o700), os.WriteFile(wal+"/live", nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			if room, err := s.MakeRoom(t.Context(), Making{Source: source, Keep: 1}); err != nil || room != (Room{}) {
				t.Errorf("%+v, %v", room, err)
			}
			if _, err := os.Stat(wal + "/live"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestABindMountIsAMountPoint: it has the device of what it lies in.
func TestABindMountIsAMountPoint(t *testing.T) {
	top := t.TempDir()
	dir, other := filepath.Join(top, "dir"), filepath.Join(top, "other")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(other, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(top, "absent")} {
		if why := Immovable(path); why != "" {
			t.Errorf("%s: %s", path, why)
		}
	}
	root(t)
	if err := unix.Mount(other, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if why := Immovable(dir); why != dir+" is a mount point" {
		t.Errorf("a bind mount: %q", why)
	}
}

// TestADiskThatAFailedCloneFilledIsFreed: also where nobody can say what a clone takes.
func TestADiskThatAFailedCloneFilledIsFreed(t *testing.T) {
	s := bare(t)
	old := s.o.DataDir + ".old-1"
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, filled := range []bool{false, true} {
		s.filled.Store(filled)
		room, err := s.MakeRoom(t.Context(), Making{Source: source, Keep: 1})
		if has, _ := exists(old); err != nil || room != (Room{}) || has == filled {
			t.Errorf("full disk %t: the old directory is there: %t, %+v, %v", filled, has, room, err)
		}
	}
}

func TestRoomIsMeasuredOnEachDisk(t *testing.T) {
	s, wal, space := placed(t, "wal", "space")
	s.o.BasebackupArgs = []string{"--waldir=" + wal, "--tablespace-mapping=/theirs=" + space}
	if err := os.WriteFile(space+"/PG_15_202209061/2", make([]byte, 600<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := s.volumes(1<<50, []string{"/theirs"})
	if err != nil || len(all) != 3 {
		t.Fatalf("%d disks, %v", len(all), err)
	}
	at := map[string]*volume{}
	for _, v := range all {
		at[v.dir] = v
	}
	took := int64(600<<10 + 3)
	if v := at[space]; v == nil || v.need != took+took/20 || v.free < 1<<20-8<<10 || v.old != 0 {
		t.Errorf("the tablespace's disk, which is emptied: %+v", v)
	}
	if v := at[wal]; v == nil || v.need != walAllowance {
		t.Errorf("the disk of WAL: %+v", v)
	}
	if v, rest := at[s.o.DataDir], 1<<50-took; v == nil || v.need != rest+rest/20 || v.old == 0 {
		t.Errorf("the disk of the data directory: %+v", v)
	}
	if _, err := s.volumes(1, []string{"/elsewhere"}); !errors.Is(err, errUnknownSpace) {
		t.Errorf("a tablespace without a copy here: %v", err)
	}
}
