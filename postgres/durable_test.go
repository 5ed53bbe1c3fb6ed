package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFileSystemsAreOpenBeforeTheWork: the kernel tells a descriptor that is opened later
// nothing of a write that failed before, once anybody else was told.
func TestFileSystemsAreOpenBeforeTheWork(t *testing.T) {
	s := bare(t)
	top := filepath.Dir(s.o.DataDir)
	wal, space := filepath.Join(top, "wal"), filepath.Join(top, "space")
	want := []string{s.o.DataDir}
	if os.Geteuid() == 0 { // else all are on one
		mounted(t, wal, "size=1m")
		mounted(t, space, "size=1m")
		want = append(want, space, wal)
	}
	s.o.BasebackupArgs = []string{"--waldir=" + filepath.Join(wal, "new"), "--tablespace-mapping=/theirs=" + space}
	places := []string{walPlace(s.o.BasebackupArgs, s.o.DataDir), s.placeOf("/theirs")}
	err := s.fresh(t.Context(), Tombstone{Kind: TombstoneInit}, places, func(*os.File) error {
		if diff := cmp.Diff(want, opened(t, top)); diff != "" {
			t.Errorf("open in the work (-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := opened(t, top); len(left) != 0 {
		t.Errorf("open after it: %v", left)
	}
}

// opened lists the directories below top that this process has open.
func opened(t *testing.T, top string) (dirs []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		path, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if inside, _ := filepath.Rel(top, path); err != nil || !filepath.IsLocal(inside) {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs = append(dirs, path)
		}
	}
	slices.Sort(dirs)
	return dirs
}

func TestAFileSystemThatIsFoundAfterTheWorkIsSyncedToo(t *testing.T) {
	one, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	f := openFileSystems(one)
	defer f.close()
	if err := f.sync(one); err != nil || len(f) != 1 {
		t.Errorf("%d of one, %v", len(f), err)
	}
	root(t)
	mounted(t, other, "size=1m")
	if err := f.sync(one, other); err != nil || len(f) != 2 {
		t.Errorf("%d of two, %v", len(f), err)
	}
}

// TestACopyFromBeforeARewindIsDurableBeforeItCounts: it pushes an older one out.
func TestACopyFromBeforeARewindIsDurableBeforeItCounts(t *testing.T) {
	s := bare(t)
	older := s.o.DataDir + ".old-1"
	c := &sharedCopy{path: s.o.DataDir + ".old-2" + asideIncomplete, name: s.o.DataDir + ".old-2"}
	if err := errors.Join(os.Mkdir(older, 0o700), os.Mkdir(c.path, 0o700)); err != nil {
		t.Fatal(err)
	}
	volumes := openFileSystems(c.path)
	volumes.close() // so that they cannot be synced
	if err := s.settleBefore(c, true, 1, volumes); err == nil {
		t.Error("a copy counts that is not durable")
	}
	for _, path := range []string{older, c.path} {
		if has, _ := exists(path); !has {
			t.Errorf("%s is gone", path)
		}
	}
}

// TestALinkIsTurnedDurably: a directory that cannot be read cannot be synced.
func TestALinkIsTurnedDurably(t *testing.T) {
	nobody := owner{self: true, uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	if nobody.uid == 0 {
		nobody = owner{uid: 65534, gid: 65534}
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "pg_tblspc", "link")
	if err := errors.Join(os.Mkdir(filepath.Dir(link), 0o700), os.Symlink("/old", link), os.Chown(filepath.Dir(link), int(nobody.uid), int(nobody.gid)),
		os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(filepath.Dir(link), 0o300)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Dir(link), 0o700) }) // to be removed
	if err := nobody.do(func() error { return turnLink(link, "/new") }); !errors.Is(err, os.ErrPermission) {
		t.Errorf("turned, and not synced: %v", err)
	}
}
