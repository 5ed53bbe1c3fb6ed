package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

const (
	// lostFolder is where abandoned WAL is kept, below the state directory.
	lostFolder = "lost"
	// lostSummary is what is known of it, in its folder.
	lostSummary = "summary.json"
	// lostRecords is how many are kept; without their WAL they take a few kB each.
	lostRecords = 100
	// tallyLimit bounds the counting: it is what a rejoin waits for. Four million rows
	// in 256 MB took 17 s on two very busy cores.
	tallyLimit = 30 * time.Second
	// namesLimit bounds asking the source for the names of tables.
	namesLimit = 5 * time.Second
)

// Losing is a rejoin that abandons WAL of ours.
type Losing struct {
	// Node is our data as it was compared, Info what the source said.
	Node cluster.NodeState
	Info SourceInfo
	// Source is where names are asked for, Member whose server it is.
	Source Source
	Member string
	// By is how we rejoin: rewind or clone.
	By string
	// Limit bounds the WAL that is kept, of this and earlier times, in bytes.
	Limit int64
}

// KeepLost keeps the WAL that the source's history does not contain, before a
// rewind or clone takes it away, and says what is in it. The server is stopped.
// found is false when nothing is lost: no transaction was committed there.
//
// The copy is whole files. A hard link would do for no time at all: pg_rewind
// writes into the files that its source has too, and PostgreSQL uses old ones
// again, both in place.
func (s *Server) KeepLost(ctx context.Context, l Losing) (lost cluster.Lost, found bool, err error) {
	parts := abandonedParts(l)
	lost = cluster.Lost{Member: s.o.Name, By: l.By, Source: l.Member, SourceTimeline: l.Info.Timeline,
		Found: s.stamp(time.RFC3339), Timeline: l.Node.Timeline, Tables: []cluster.LostTable{}, Files: []string{}}
	if len(parts) == 0 {
		lost.Note = "the two histories share their last timeline, so that nothing tells where they part: nothing was counted"
		lost.ID = fmt.Sprintf("%08X-unknown", uint32(lost.Timeline))
		return lost, true, s.writeLost(lost, l.Limit)
	}
	lost.Timeline, lost.From = parts[0].Timeline, cluster.TextLSN(parts[0].From)
	lost.ID = fmt.Sprintf("%08X-%016X", uint32(lost.Timeline), uint64(lost.From))
	if lost.Timeline == l.Info.Timeline {
		lost.Note = fmt.Sprintf("both are on timeline %d, so that only what lies beyond the other's end was counted", lost.Timeline)
	}
	if err := s.tallyLost(ctx, &lost, parts); err != nil {
		return lost, true, err
	}
	if before, err := s.readLost(lost.ID); err == nil && before.Transactions >= lost.Transactions && (before.Transactions > 0 || before.Note != "") {
		return before, true, nil // an earlier try of the same rejoin; its WAL may be gone here by now
	}
	if lost.Transactions == 0 && lost.Note == "" {
		return lost, false, nil
	}
	s.nameLost(ctx, l.Source, &lost)
	if err := s.copyLost(&lost, parts, l.Limit); err != nil {
		lost.Note = join(lost.Note, "the WAL was not kept: "+err.Error())
	}
	return lost, true, s.writeLost(lost, l.Limit)
}

// abandonedParts is our WAL that the source does not have. On a timeline that both
// are on, it is what we have beyond the source.
func abandonedParts(l Losing) []cluster.Reached {
	parts := cluster.Abandoned(l.Node.TimelineHistory.Reaches(l.Node.Timeline), l.Info.History.Reaches(l.Info.Timeline))
	end := l.Node.Position().LSN
	if len(parts) == 0 && l.Node.Timeline == l.Info.Timeline && end > l.Info.LSN {
		return []cluster.Reached{{Timeline: l.Node.Timeline, From: l.Info.LSN}}
	}
	return parts
}

// tallyLost counts what is in the abandoned WAL.
func (s *Server) tallyLost(ctx context.Context, lost *cluster.Lost, parts []cluster.Reached) error {
	if err := s.checkProgram("pg_waldump"); err != nil {
		lost.Note = join(lost.Note, "nothing was counted: "+err.Error())
		return nil
	}
	counting, cancel := context.WithTimeout(ctx, tallyLimit)
	defer cancel()
	tally := newWalTally()
	for i, part := range parts {
		end, missing, err := s.waldump(counting, part, tally)
		lost.To = cluster.TextLSN(max(cluster.LSN(lost.To), tally.end, end))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && counting.Err() != nil:
			lost.Note = join(lost.Note, fmt.Sprintf("counted for %s only, up to %s", tallyLimit, tally.end))
		case err != nil:
			lost.Note = join(lost.Note, fmt.Sprintf("counting ended at %s: %v", tally.end, err))
		case missing && i < len(parts)-1, missing && !s.hasSegment(part):
			lost.Note = join(lost.Note, fmt.Sprintf("WAL of timeline %d from %s is not all there", part.Timeline, part.From))
		}
	}
	tally.lost(lost)
	return nil
}

// waldump has pg_waldump read one part of one timeline to its end.
func (s *Server) waldump(ctx context.Context, part cluster.Reached, tally *walTally) (end cluster.LSN, missing bool, err error) {
	args := []string{"--path=" + s.data("pg_wal"), fmt.Sprintf("--timeline=%d", part.Timeline), "--start=" + part.From.String()}
	if part.Until != 0 {
		args = append(args, "--end="+part.Until.String())
	}
	if s.version.waldumpManagers {
		for _, manager := range []string{"Heap", "Heap2", "Transaction", "Storage"} {
			args = append(args, "--rmgr="+manager)
		}
	}
	_, err = s.run(ctx, job{program: "pg_waldump", args: args, env: []string{"TZ=UTC"}, out: tally.record})
	if err == nil {
		return part.Until, false, nil
	}
	if end, ended, missing := endOfWAL(saidBy(err)); ended && ctx.Err() == nil {
		return end, missing, nil
	}
	return 0, false, err
}

// copyLost copies the WAL files of the parts, and pg_control, as far as limit and
// the disk allow.
func (s *Server) copyLost(lost *cluster.Lost, parts []cluster.Reached, limit int64) error {
	dir := s.lostDir(lost.ID)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	volume := openFileSystems(dir)
	defer volume.close()
	if err := s.copyOut(s.data("global", "pg_control"), filepath.Join(dir, "pg_control")); err != nil {
		return err
	}
	control, err := s.controlNow()
	if err != nil {
		return err
	}
	size := int64(control.SegmentSize)
	names, err := s.segmentsOf(parts, control)
	if err != nil {
		return err
	}
	room := freeBytes(dir) / 2 // what the rejoin itself may need is more important
	for _, name := range names {
		if lost.Bytes+size > limit {
			lost.Note = join(lost.Note, fmt.Sprintf("%d of %d WAL files were kept: pgkeeper.lost_wal_size allows no more", len(lost.Files), len(names)))
			break
		}
		if lost.Bytes+size > room {
			lost.Note = join(lost.Note, fmt.Sprintf("%d of %d WAL files were kept: there is no room for more", len(lost.Files), len(names)))
			break
		}
		if err := s.copyOut(s.data("pg_wal", name), filepath.Join(dir, name)); err != nil {
			return err
		}
		lost.Files, lost.Bytes = append(lost.Files, name), lost.Bytes+size
	}
	return volume.sync(dir)
}

func (s *Server) controlNow() (control Control, err error) {
	err = s.owner.do(func() error { control, err = s.readControl(); return err })
	return control, err
}

// segmentsOf lists the files of the parts that hold WAL. What comes after the end
// is there already under its future name, with old content.
func (s *Server) segmentsOf(parts []cluster.Reached, control Control) (names []string, err error) {
	size := cluster.LSN(control.SegmentSize)
	err = s.owner.do(func() error {
		for _, part := range parts {
			for at := part.From / size * size; part.Until == 0 || at < part.Until; at += size {
				name := segmentName(part.Timeline, at, uint64(size))
				if !s.holdsWAL(name, at, control) {
					break
				}
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

func (s *Server) holdsWAL(name string, at cluster.LSN, control Control) bool {
	f, err := os.Open(s.data("pg_wal", name))
	if err != nil {
		return false
	}
	defer f.Close()
	control.Checkpoint = at // which is all that is compared
	return checkSegment(f, control) == nil
}

// hasSegment tells WAL that ends right at the beginning of a part from WAL whose
// file is gone.
func (s *Server) hasSegment(part cluster.Reached) bool {
	control, err := s.controlNow()
	if err != nil {
		return false
	}
	names, err := s.segmentsOf([]cluster.Reached{part}, control)
	return err == nil && len(names) > 0
}

// copyOut copies a file of the server's into a folder of ours. Where the file
// system can, the two share their blocks.
func (s *Server) copyOut(from, to string) error {
	var in *os.File
	err := s.owner.do(func() (err error) { in, err = os.Open(from); return err })
	if err != nil {
		return err
	}
	defer in.Close()
	return copyFile(in, to, 0o600)
}

func (s *Server) lostDir(id string) string { return filepath.Join(s.o.StateDir, lostFolder, id) }

func (s *Server) readLost(id string) (lost cluster.Lost, err error) {
	content, err := os.ReadFile(filepath.Join(s.lostDir(id), lostSummary))
	if err == nil {
		err = json.Unmarshal(content, &lost)
	}
	return lost, err
}

// writeLost makes one summary durable and gives up the oldest WAL beyond limit.
func (s *Server) writeLost(lost cluster.Lost, limit int64) error {
	if err := s.putLost(lost); err != nil {
		return err
	}
	all, err := ReadLost(s.o.StateDir)
	if err != nil {
		return err
	}
	kept := int64(0)
	for i, one := range all {
		kept += one.Bytes
		switch {
		case i >= lostRecords:
			err = errors.Join(err, os.RemoveAll(s.lostDir(one.ID)))
		case kept > limit && one.Bytes > 0 && one.ID != lost.ID:
			kept -= one.Bytes
			err = errors.Join(err, s.forgetWAL(one))
		}
	}
	return err
}

func (s *Server) putLost(lost cluster.Lost) error {
	content, err := json.MarshalIndent(lost, "", "  ")
	if err != nil {
		return err
	}
	dir := s.lostDir(lost.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, lostSummary), append(content, '\n'), 0o600); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(dir)), syncDir(s.o.StateDir))
}

// forgetWAL keeps the summary of WAL that there is no more room for.
func (s *Server) forgetWAL(lost cluster.Lost) error {
	dir := s.lostDir(lost.ID)
	for _, name := range append(lost.Files, "pg_control") {
		if err := os.Remove(filepath.Join(dir, filepath.Base(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	lost.Files, lost.Bytes = []string{}, 0
	lost.Note = join(lost.Note, "its WAL was removed to make room for newer")
	return s.putLost(lost)
}

// lostWent notes where the old data directory was put aside.
func (s *Server) lostWent(id, aside string) error {
	lost, err := s.readLost(id)
	if err != nil {
		return err
	}
	lost.Aside = aside
	return s.putLost(lost)
}

// ReadLost reads the summaries in a state directory, newest first. One that cannot
// be read is left out.
func ReadLost(stateDir string) ([]cluster.Lost, error) {
	paths, err := filepath.Glob(filepath.Join(stateDir, lostFolder, "*", lostSummary))
	if err != nil {
		return nil, err
	}
	type dated struct {
		cluster.Lost
		at time.Time
	}
	var found []dated
	for _, path := range paths {
		var one dated
		content, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(content, &one.Lost) != nil || one.ID != filepath.Base(filepath.Dir(path)) {
			continue
		}
		one.at, _ = time.Parse(time.RFC3339, one.Found) // without one it is the oldest
		found = append(found, one)
	}
	slices.SortStableFunc(found, func(a, b dated) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(b.ID, a.ID)) })
	list := make([]cluster.Lost, 0, len(found))
	for _, one := range found {
		list = append(list, one.Lost)
	}
	return list, nil
}

func join(note, more string) string {
	if note == "" {
		return more
	}
	return note + "; " + more
}
