package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
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
	// Removed says what of the old data is gone and why; empty for nothing.
	Removed string
}

// MakeRoom frees the place of the data directory for a clone of source: by moving
// it aside (MoveAside), where the disks have room for the two. Where they have not, older
// directories moved aside are given up first, then the old one itself, because a
// node that never comes back is no copy either. What cannot be moved, because it is a
// mount point, goes for the same reason. It is for a caller who has proved
// that source has a newer history (S5). ErrNoRoom, with nothing touched, when the
// clone would not fit even then. An empty directory is made room for too: a clone that
// filled the disk has left one.
func (s *Server) MakeRoom(ctx context.Context, m Making) (room Room, err error) {
	plan, err := s.planRoom(ctx, m.Source)
	if err != nil {
		return room, err
	}
	lock, err := s.lockJob()
	if err != nil {
		return room, err
	}
	defer lock.Close()
	if plan.asides {
		err := s.owner.do(func() error {
			found, _ := s.asides()
			return s.removeAsides(found.all())
		})
		if err != nil {
			return room, fmt.Errorf("remove older copies: %w", err)
		}
	}
	if plan.old {
		return Room{Removed: "the old directory, as there is no room to move it aside"}, s.removeOld(m.Source)
	}
	room, err = s.moveAside(ctx, m.Keep, &m.Source)
	if err == nil && m.Lost != "" && room.Aside != "" {
		err = s.lostWent(m.Lost, room.Aside)
	}
	return room, err
}

// roomPlan is what must go for a clone to fit.
type roomPlan struct{ asides, old bool }

// planRoom looks and touches nothing. How much a clone takes is what the source says its
// databases take, less what its tablespaces take that lie elsewhere: as much as their
// copies here. Where the source does not say, or one of its tablespaces has no copy here,
// nothing is known of any disk, and nothing is given up; but for what was moved aside
// before, when the last clone has found a full disk.
func (s *Server) planRoom(ctx context.Context, source Source) (plan roomPlan, err error) {
	size, spaces, err := s.sourceSize(ctx, source)
	if err != nil {
		s.o.Log.Debug("size of the source not known", "error", err)
		return roomPlan{asides: s.filled.Load()}, nil
	}
	plan.asides = s.filled.Load()
	err = s.owner.do(func() error {
		volumes, err := s.volumes(size, spaces)
		for _, v := range volumes {
			if err != nil {
				break
			}
			var one roomPlan
			one, err = planFor(v.need, v.spaces, v.dir)
			plan.asides, plan.old = plan.asides || one.asides, plan.old || one.old
		}
		return err
	})
	if errors.Is(err, errUnknownSpace) {
		s.o.Log.Debug("room for a clone not known", "error", err)
		return plan, nil
	}
	if err != nil {
		return roomPlan{}, fmt.Errorf("look for room for a clone: %w", err)
	}
	return plan, nil
}

// spaces are bytes on one disk: free, and in directories that may go.
type spaces struct{ free, asides, old int64 }

func planFor(need int64, have spaces, dir string) (roomPlan, error) {
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
		ErrNoRoom, need/mebi, dir, (have.free+have.asides+have.old)/mebi)
}

// walAllowance is what a clone takes beside the databases: WAL while it runs.
const walAllowance = 64 << 20

// tablespacesSQL: where tablespaces lie may be asked by anybody, unlike what they take.
const (
	tablespacesSQL = `select coalesce(json_agg(pg_tablespace_location(oid)), '[]') from pg_tablespace where pg_tablespace_location(oid) <> ''`
	sourceSizeSQL  = `select (select sum(pg_database_size(oid))::bigint from pg_database), (` + tablespacesSQL + `)`
)

// sourceSize is what the databases of source take, and where its tablespaces lie.
func (s *Server) sourceSize(ctx context.Context, source Source) (size int64, spaces []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, namesLimit)
	defer cancel()
	row, err := s.askSource(ctx, source, "postgres", sourceSizeSQL)
	if err != nil {
		return 0, nil, err
	}
	if size, err = strconv.ParseInt(string(row[0]), 10, 64); err == nil {
		err = json.Unmarshal(row[1], &spaces)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("size of the source: %w", err)
	}
	return size, spaces, nil
}

// volume is one disk that a clone will take room on.
type volume struct {
	dir  string
	need int64
	spaces
}

// errUnknownSpace: a tablespace of the source has no copy here to measure.
var errUnknownSpace = errors.New("size of a tablespace not known")

// volumes measures the disks that a clone of so many bytes goes to. It must run with the
// owner's rights.
func (s *Server) volumes(size int64, tablespaces []string) ([]*volume, error) {
	var all []*volume
	on := func(dir string) *volume {
		at, _ := device(dir)
		for _, v := range all {
			if have, _ := device(v.dir); have == at {
				return v
			}
		}
		v := &volume{dir: dir}
		all = append(all, v)
		return v
	}
	found, _ := s.asides()
	live, former := s.links(), found.all()
	for _, location := range tablespaces {
		place := s.placeOf(location)
		took, err := s.tookBefore(place, live, former)
		if err != nil {
			return nil, err
		}
		size -= took
		on(place).need += took + took/20
	}
	on(s.o.DataDir).need += max(size, 0) + max(size, 0)/20
	on(walPlace(s.o.BasebackupArgs, s.o.DataDir)).need += walAllowance
	short := false
	for _, v := range all {
		v.free = freeBytes(standing(v.dir))
		short = short || v.free < v.need
	}
	if !short {
		return all, nil // the rest need not be walked
	}
	// What cannot be moved aside goes in any case.
	goes := func(path, tree string) error {
		size, err := treeSize(tree)
		if v := on(path); Immovable(path) != "" || Immovable(s.o.DataDir) != "" {
			v.free += size
		} else {
			v.old += size
		}
		return err
	}
	err := goes(s.o.DataDir, s.o.DataDir)
	for _, l := range live {
		err = errors.Join(err, goes(l.target, l.owned))
	}
	for _, a := range former {
		size, failed := treeSize(a.path)
		on(a.path).asides += size
		err = errors.Join(err, failed)
		for _, l := range s.linksOf(a) {
			if l.aside() {
				size, failed := treeSize(l.target)
				on(l.target).asides += size
				err = errors.Join(err, failed)
			}
		}
	}
	return all, err
}

// tookBefore is what a tablespace takes here, or took in the newest directory that was
// moved aside.
func (s *Server) tookBefore(place string, live []link, former []aside) (int64, error) {
	for _, l := range live {
		if l.target == place {
			return treeSize(l.owned)
		}
	}
	for _, a := range former {
		suffix := strings.TrimPrefix(a.path, s.o.DataDir)
		for _, l := range s.linksOf(a) {
			if strings.TrimSuffix(l.target, suffix) == place {
				return treeSize(l.owned)
			}
		}
	}
	return 0, fmt.Errorf("%w: %s", errUnknownSpace, place)
}

// placeOf is where pg_basebackup puts a tablespace of the source.
func (s *Server) placeOf(location string) string {
	for _, option := range []string{"--tablespace-mapping=", "-T"} {
		for _, arg := range s.o.BasebackupArgs {
			mapping, is := strings.CutPrefix(arg, option)
			if from, to, ok := strings.Cut(mapping, "="); is && ok && from == location {
				location = to
			}
		}
	}
	return resolved(location)
}

// walPlace is where initdb or pg_basebackup puts WAL that was given args.
func walPlace(args []string, dataDir string) string {
	for _, arg := range args {
		if dir, is := strings.CutPrefix(arg, "--waldir="); is {
			return resolved(dir)
		}
	}
	return dataDir
}

// resolved follows links as far as there are any.
func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// standing is path, or the nearest directory above it that there is.
func standing(path string) string {
	for path != filepath.Dir(path) {
		if has, err := exists(path); err != nil || has {
			break
		}
		path = filepath.Dir(path)
	}
	return path
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

// removeOld gives the old directory up with all that belongs to it, under the tombstone
// of the clone that will follow: what an interruption leaves is then nobody's copy. It
// must run under the job's lock.
func (s *Server) removeOld(source Source) error {
	if err := s.refuseRunning(); err != nil {
		return err
	}
	if err := s.bury(Tombstone{Kind: TombstoneClone, Source: source.address()}); err != nil {
		return err
	}
	if err := s.removeAll(); err != nil {
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
