package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
)

// Making is a clone that needs the place of the data directory.
type Making struct {
	// Source is who is copied, Keep how many old directories stay.
	Source Source
	Keep   int
	// Lost is the summary of WAL that goes with the old directory (KeepLost); empty for
	// none. It is told where that went.
	Lost string
}

// Room is how the place of the data directory was freed for a clone.
type Room struct {
	// Aside is where the old directory is now; empty when there was none, or when it
	// was removed.
	Aside string
	// Removed: there was no room for two, and the old directory is gone.
	Removed bool
}

// MakeRoom frees the place of the data directory for a clone of source: by moving
// it aside (MoveAside), where the disk has room for the two. Where it has not, older
// directories moved aside are given up first, then the old one itself, because a
// node that never comes back is no copy either. It is for a caller who has proved
// that source has a newer history (S5). ErrNoRoom, with nothing touched, when the
// clone would not fit even then.
//
// How much a clone takes is what the source says its databases take. A source that
// does not say, and parts of the directory that lie on other disks, leave it at
// moving aside.
func (s *Server) MakeRoom(ctx context.Context, m Making) (Room, error) {
	plan, err := s.planRoom(ctx, m.Source)
	if err != nil {
		return Room{}, err
	}
	if plan.asides {
		err := s.owner.do(func() error {
			found, _ := s.asides()
			return s.removeAsides(append(append(found.incomplete, found.damaged...), found.good...))
		})
		if err != nil {
			return Room{}, fmt.Errorf("remove older copies: %w", err)
		}
	}
	if plan.old {
		return Room{Removed: true}, s.removeOld(m.Source)
	}
	path, err := s.MoveAside(ctx, m.Keep)
	if err == nil && m.Lost != "" {
		err = s.lostWent(m.Lost, path)
	}
	return Room{Aside: path}, err
}

// roomPlan is what must go for a clone to fit.
type roomPlan struct{ asides, old bool }

// planRoom looks and touches nothing.
func (s *Server) planRoom(ctx context.Context, source Source) (roomPlan, error) {
	need, err := s.sourceSize(ctx, source)
	if err != nil {
		s.o.Log.Debug("size of the source not known", "error", err)
		return roomPlan{}, nil
	}
	var have spaces
	err = s.owner.do(func() (err error) {
		if len(s.links()) > 0 { // no one disk to speak of
			have.free = need
			return nil
		}
		have, err = s.spaces(need)
		return err
	})
	if err != nil {
		return roomPlan{}, fmt.Errorf("look for room for a clone: %w", err)
	}
	return planFor(need, have, s.o.DataDir)
}

// spaces are bytes on the disk of the data directory: free, and in directories that
// may go.
type spaces struct{ free, asides, old int64 }

func planFor(need int64, have spaces, dataDir string) (roomPlan, error) {
	switch {
	case need <= have.free:
		return roomPlan{}, nil
	case need <= have.free+have.asides:
		return roomPlan{asides: true}, nil
	case need <= have.free+have.asides+have.old: // guard: old_directory_goes_for_a_clone_that_fits — S5
		return roomPlan{asides: true, old: true}, nil
	}
	const mebi = 1 << 20
	return roomPlan{}, fmt.Errorf("%w: a clone takes %d MB, and even without what is there the disk of %s has %d MB: nothing was touched",
		ErrNoRoom, need/mebi, dataDir, (have.free+have.asides+have.old)/mebi)
}

// walAllowance is what a clone takes beside the databases: WAL while it runs.
const walAllowance = 64 << 20

// sourceSize is what a clone of source will take, with a twentieth to spare.
func (s *Server) sourceSize(ctx context.Context, source Source) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, namesLimit)
	defer cancel()
	row, err := s.askSource(ctx, source, "postgres", "select sum(pg_database_size(oid))::bigint from pg_database")
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(string(row[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("size of the source: %w", err)
	}
	return size + size/20 + walAllowance, nil
}

// spaces measures. It must run with the owner's rights.
func (s *Server) spaces(need int64) (have spaces, err error) {
	have.free = freeBytes(filepath.Dir(s.o.DataDir))
	if have.free >= need {
		return have, nil // the rest need not be walked
	}
	if have.old, err = treeSize(s.o.DataDir); err != nil {
		return have, err
	}
	found, _ := s.asides()
	for _, a := range append(append(found.good, found.damaged...), found.incomplete...) {
		size, err := treeSize(a.path)
		if err != nil {
			return have, err
		}
		have.asides += size
	}
	return have, nil
}

// treeSize is what a directory takes on its disk.
func treeSize(path string) (total int64, err error) {
	err = filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return total, nil
	}
	return total, err
}

// removeOld gives the old directory up, under the tombstone of the clone that will
// follow: what an interruption leaves is then nobody's copy.
func (s *Server) removeOld(source Source) error {
	lock, err := s.lockJob()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := s.refuseRunning(); err != nil {
		return err
	}
	if err := s.bury(TombstoneClone, source.address()); err != nil {
		return err
	}
	if err := s.owner.do(func() error { return removeContents(s.o.DataDir) }); err != nil {
		return fmt.Errorf("remove the old directory: %w", err)
	}
	return nil
}

// Standing says whether a standby can be copied in place of the primary that proved
// its history: it is of the same system, in recovery on that very timeline, and has
// nothing that the primary does not. why is empty when it can.
func Standing(primary, standby SourceInfo) (why string) {
	switch {
	case standby.SystemID != primary.SystemID: // guard: copied_standby_same_system — S7
		return fmt.Sprintf("it belongs to system %s", standby.SystemID)
	case !standby.InRecovery:
		return "it is no standby"
	case standby.Timeline != primary.Timeline: // guard: copied_standby_same_timeline — S5
		return fmt.Sprintf("it is on timeline %d, the primary on %d", standby.Timeline, primary.Timeline)
	case standby.LSN > primary.LSN: // guard: copied_standby_has_no_more — S5
		return fmt.Sprintf("it is at %s, the primary at %s only", standby.LSN, primary.LSN)
	}
	return ""
}
