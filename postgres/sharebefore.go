package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// sharedCopy is a copy of the data directory from before a rewind.
type sharedCopy struct {
	// path is where it lies while it may still turn out needless, name where it stays.
	path, name string
}

// shareBefore keeps the directory as it is before a rewind changes it, where that
// costs next to nothing: its files share their blocks with the copy's until one of
// them is written. Elsewhere a copy would take as long as a clone, and none is made
// (docs/decisions/0010). It is a courtesy: a failure is told and stops nothing.
func (s *Server) shareBefore(how Rewinding) *sharedCopy {
	if !how.Share {
		return nil
	}
	began := s.o.Now()
	var made *sharedCopy
	err := s.owner.do(func() (err error) {
		_, next := s.asides()
		suffix := ".old-" + strconv.Itoa(next)
		if stamp := s.stamp("20060102T150405Z"); stamp != "" {
			suffix += "-" + stamp
		}
		made = &sharedCopy{path: s.o.DataDir + suffix + asideIncomplete, name: s.o.DataDir + suffix}
		return s.share(made.path, suffix)
	})
	switch {
	case errors.Is(err, errNoReflink):
		s.o.Log.Debug("no copy of the directory before the rewind", "error", err)
		return nil
	case err != nil:
		s.o.Log.Warn("no copy of the directory before the rewind", "error", err)
		return nil
	}
	s.o.Log.Info("directory shared before the rewind", "path", made.name, "duration", s.o.Now().Sub(began))
	return made
}

// share makes the copy, and one of every part that lies elsewhere.
func (s *Server) share(path, suffix string) error {
	if err := shareTree(s.o.DataDir, path); err != nil {
		return err
	}
	for _, l := range s.links() {
		at := filepath.Join(path, l.path[len(s.o.DataDir):])
		err := shareTree(l.target, l.target+suffix)
		if err == nil {
			err = os.Remove(at)
		}
		if err == nil {
			err = os.Symlink(l.target+suffix, at)
		}
		if err != nil {
			return errors.Join(err, os.RemoveAll(path), os.RemoveAll(l.target+suffix))
		}
	}
	return nil
}

// settleBefore keeps the copy of a directory that was changed, as the newest of
// those retained, and drops any other: nothing was lost. It has a good name, and
// pushes out an older one, when it is durable, which a rewind that failed has not seen to.
func (s *Server) settleBefore(c *sharedCopy, changed bool, retain int, volumes fileSystems) error {
	if c == nil {
		return nil
	}
	return s.owner.do(func() error {
		if changed {
			if err := volumes.sync(c.path); err != nil { // guard: before_is_durable_first — S5
				return err
			}
			if err := errors.Join(os.Rename(c.path, c.name), syncDir(filepath.Dir(c.name))); err != nil {
				return err
			}
		}
		return s.prune(retain) // which also removes what has no good name
	})
}
