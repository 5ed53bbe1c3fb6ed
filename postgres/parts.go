package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Immovable says why a directory cannot be renamed, by somebody with these rights;
// empty when it can, as far as that is known without trying: it is a mount point, whose
// place no other directory can take, or the directory it lies in may not be written. What
// is not there is no hindrance.
func Immovable(path string) (why string) {
	if has, err := exists(path); err != nil || !has {
		return ""
	}
	parent := filepath.Dir(path)
	if mountPoint(path) {
		return path + " is a mount point"
	}
	// With the rights on files that the caller has borrowed.
	if err := unix.Faccessat(unix.AT_FDCWD, parent, unix.W_OK|unix.X_OK, unix.AT_EACCESS); errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		return parent + " cannot be written"
	}
	return ""
}

// Immovables says of a data directory, and of its parts elsewhere, which cannot be
// renamed by somebody with these rights, and why. What cannot be read is left out.
func Immovables(dataDir string) (whys []string) {
	paths, _ := filepath.Glob(filepath.Join(dataDir, "pg_tblspc", "*")) // the pattern is well formed
	paths = append([]string{dataDir, filepath.Join(dataDir, "pg_wal")}, paths...)
	for i, path := range paths {
		if i > 0 {
			target, err := filepath.EvalSymlinks(path)
			if err != nil || !isLink(path) {
				continue
			}
			path = target
		}
		if why := Immovable(path); why != "" {
			whys = append(whys, why)
		}
	}
	return whys
}

// mountPoint tells whether a directory is the root of a mount. A bind mount is one, and
// has the device of the directory that it lies in.
func mountPoint(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &st)
	if err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	own, ok := device(path) // before Linux 5.8
	around, found := device(filepath.Dir(path))
	return ok && found && own != around
}

// device is the file system of a directory, or of the nearest above it that there is.
func device(path string) (uint64, bool) {
	for {
		var st unix.Stat_t
		err := unix.Stat(path, &st)
		if err == nil {
			return st.Dev, true
		}
		if !errors.Is(err, unix.ENOENT) || path == filepath.Dir(path) {
			return 0, false
		}
		path = filepath.Dir(path)
	}
}

// stuck says why the data directory, or a part of it elsewhere, cannot be moved aside.
func (s *Server) stuck() (data, parts string) {
	_ = s.owner.do(func() error {
		data = Immovable(s.o.DataDir)
		for _, l := range s.links() {
			if parts == "" {
				parts = Immovable(l.target)
			}
		}
		return nil
	})
	return data, parts
}

// aside tells whether a part has moved aside with its directory.
func (l link) aside() bool { return strings.Contains(filepath.Base(l.target), ".old-") }

// linksOf finds the parts of a directory that was moved aside.
func (s *Server) linksOf(a aside) []link {
	old := &Server{o: Options{DataDir: a.path}, version: s.version}
	return old.links()
}

// freeParts moves aside what a directory that was moved aside, now or by a call that was
// interrupted, still has where the next one's tablespaces and WAL go. What cannot be
// moved is removed if it may be; removed says what. No data directory may be there: all
// that is found is the newest former one's.
func (s *Server) freeParts(proved bool) (removed string, err error) {
	err = s.owner.do(func() error {
		var failed error
		seen := map[string]bool{}
		found, _ := s.asides()
		for _, a := range found.all() {
			suffix := strings.TrimPrefix(a.path, s.o.DataDir)
			failed = errors.Join(failed, turnLinks(a.path, suffix))
			for _, l := range s.linksOf(a) {
				if l.aside() || seen[l.target] || emptyDir(l.owned) {
					continue
				}
				seen[l.target] = true
				why := Immovable(l.target)
				switch {
				case why == "":
					failed = errors.Join(failed, moveLink(l, suffix))
				case proved:
					failed = errors.Join(failed, l.empty(), os.Remove(l.path))
					removed = "what was in " + l.target + ", as " + why
				default:
					failed = errors.Join(failed, fmt.Errorf("%w: %s: empty it yourself", ErrImmovable, why))
				}
			}
		}
		return failed
	})
	return removed, err
}

func emptyDir(path string) bool {
	entries, err := os.ReadDir(path)
	return err == nil && len(entries) == 0
}

// moveLink renames a linked directory and turns the link to the new name. The directory
// that others may expect is made again, empty.
func moveLink(l link, suffix string) error {
	if err := os.Rename(l.target, l.target+suffix); err != nil {
		return err
	}
	if err := turnLink(l.path, l.target+suffix); err != nil {
		return err
	}
	if err := os.Mkdir(l.target, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(l.target))
}

// turnLinks has the links of a directory that was moved aside follow parts that have
// their new names already: an interruption came between the two.
func turnLinks(dir, suffix string) error {
	var failed error
	paths, _ := filepath.Glob(filepath.Join(dir, "pg_tblspc", "*")) // the pattern is well formed
	for _, path := range append(paths, filepath.Join(dir, "pg_wal")) {
		target, err := os.Readlink(path)
		if err != nil || !filepath.IsAbs(target) || strings.HasSuffix(target, suffix) {
			continue
		}
		if has, err := exists(target + suffix); err == nil && has {
			failed = errors.Join(failed, turnLink(path, target+suffix))
		}
	}
	return failed
}

// turnLink exchanges a link for one to target, durably: the directory whose parts it
// leads to may be the only copy by then.
func turnLink(path, target string) error {
	fresh := path + ".pgkeeper"
	if err := errors.Join(os.RemoveAll(fresh), os.Symlink(target, fresh)); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// empty removes what is this server's in a part, and keeps the directory that others
// may have made, or mounted.
func (l link) empty() error {
	if l.owned == l.target {
		return removeContents(l.target)
	}
	return os.RemoveAll(l.owned)
}
