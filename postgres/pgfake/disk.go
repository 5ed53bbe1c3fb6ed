package pgfake

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// directory is a data directory: all that survives the server.
type directory struct {
	data cluster.DataDir
	// tombstone is the kind of work that was interrupted here: init, clone or
	// rewind. It lies beside the directory.
	tombstone string
	// ruined: a rewind broke off after it had begun to change files.
	ruined   bool
	systemID string
	// branch and end are the durable log.
	branch *branch
	end    cluster.LSN
	// kept is where the oldest WAL file begins.
	kept cluster.LSN
	// unacked is the first position that nobody was told of when the server that
	// wrote it died; 0 when there is none.
	unacked cluster.LSN
	control cluster.ControlData
	files   files
	// up is primary_conninfo and primary_slot_name as the files have them.
	up    Upstream
	slots []keptSlot
	// maxConnections is what the next start will have.
	maxConnections int
	// gate is the name commits wait for as the generated configuration has it.
	gate string
	// crashEnds is restart_after_crash = off, as the files have it; recovers: they leave that
	// alone, as in a pause and where Patroni writes them.
	crashEnds, recovers bool
}

type keptSlot struct {
	name    string
	restart cluster.LSN
	lost    bool
}

// standard is max_connections of a new cluster.
const standard = 100

// fresh is what initdb makes.
func (s *Site) fresh() directory {
	s.systems++
	system := s.systems
	if s.traps.NoOwnSystem {
		system = 1
	}
	b := &branch{timeline: 1, from: firstLSN, head: firstLSN + checkpointRecord}
	s.highest = max(s.highest, 1)
	d := directory{data: cluster.DataValid, systemID: fmt.Sprint(7000000000000000000 + system), branch: b, end: b.head,
		kept: s.segment(firstLSN), maxConnections: standard}
	d.control = cluster.ControlData{State: cluster.ControlShutdown, SystemID: d.systemID, Timeline: 1, Checkpoint: firstLSN,
		Redo: firstLSN, CheckpointEnd: d.end, Checksums: true, MaxConnections: standard}
	return d
}

// Disk is postgres.Server.Disk: the directory alone.
func (s *Server) Disk() cluster.NodeState {
	d := &s.dir
	n := cluster.NodeState{Mode: cluster.ModeStopped, Data: d.data}
	switch {
	case d.tombstone == "" || d.data == cluster.DataEmpty:
	case d.tombstone == tombRewind:
		n.Data = cluster.DataDamaged
	default:
		n.Data = cluster.DataTombstone
	}
	if d.data != cluster.DataValid {
		return n
	}
	n.Control, n.SystemID, n.ServerVersion = d.control, d.systemID, version
	if !d.control.State.Clean() {
		n.Control.CheckpointEnd = 0
	}
	n.Timeline = max(d.control.Timeline, d.control.MinRecoveryTLI)
	n.TimelineHistory = d.historyOf(n.Timeline)
	return n
}

// historyOf is the content of the history file of tl, nil without one.
func (d *directory) historyOf(tl cluster.Timeline) cluster.History {
	if f, found := d.files.find(tl); found && !f.skipped {
		return f.lines
	}
	return nil
}

// StandbySignal reports whether standby.signal exists.
func (s *Server) StandbySignal() bool { return s.dir.control.StandbySignal }

// SetStandbySignal makes or removes standby.signal.
func (s *Server) SetStandbySignal(on bool) { s.dir.control.StandbySignal = on }

// SetMaxConnections changes max_connections for the next start.
func (s *Server) SetMaxConnections(n int) { s.dir.maxConnections = n }

// SetChecksums says whether the directory has data checksums; without them (and
// without wal_log_hints) no rewind is possible (trap 10).
func (s *Server) SetChecksums(on bool) { s.dir.control.Checksums = on }

// WriteUpstream writes primary_conninfo and primary_slot_name; a start or Follow
// puts them in force.
func (s *Server) WriteUpstream(up Upstream) { s.dir.up, s.dir.crashEnds = up, !s.dir.recovers }

// WriteConfig writes the rest of the files; recovers leaves restart_after_crash alone.
func (s *Server) WriteConfig(recovers bool) {
	s.dir.recovers, s.dir.crashEnds = recovers, s.dir.control.StandbySignal && !recovers
}

// RecoversByItself is postgres.Server.RecoversByItself.
func (s *Server) RecoversByItself(now cluster.Instant) error {
	s.dir.crashEnds = false
	return s.Reload(now)
}

// HistoryFiles is postgres.Server.HistoryFiles: what to place in pg_wal so that a
// promotion takes the number wanted.
func (s *Server) HistoryFiles(current, wanted cluster.Timeline) (map[string]string, error) {
	if current == 0 || wanted <= current {
		return nil, fmt.Errorf("%w: %d is not above the current timeline %d", ErrTimelineTaken, wanted, current)
	}
	placed := map[string]string{}
	for tl := cluster.Timeline(2); tl <= wanted; tl++ {
		_, found := s.dir.files.find(tl)
		switch {
		case found && tl == wanted:
			return nil, fmt.Errorf("%w: the history file of %d exists already", ErrTimelineTaken, wanted)
		case !found && tl != wanted && tl != current:
			placed[fmt.Sprintf("%08X.history", uint32(tl))] = fmt.Sprintf("# number skipped by pgkeeper for timeline %d\n", wanted)
		}
	}
	return placed, nil
}

// PlacePromote writes history files and the promote file, as the guard does.
func (s *Server) PlacePromote(history map[string]string) {
	s.PlaceHistory(history)
	s.proc.promoteFile = true
}

// PlaceHistory writes history files alone. Files of names that are no history file
// are not looked at.
func (s *Server) PlaceHistory(history map[string]string) {
	for name := range history { // sorted by with: the order does not show
		var tl uint32
		if _, err := fmt.Sscanf(name, "%08X.history", &tl); err == nil {
			skipped := strings.HasPrefix(history[name], "#")
			s.dir.files = s.dir.files.with(historyFile{timeline: cluster.Timeline(tl), skipped: skipped})
		}
	}
}

// DropOrphans is what postgres.Server.StartSpec does before a start: placeholders
// above the newest real history file go, and before the start of a standby those of
// timelines that it has nothing of.
func (s *Server) DropOrphans() {
	f, standby, own := s.dir.files, s.dir.control.StandbySignal, s.Log().Timeline
	for len(f) > 0 {
		if last := f[len(f)-1]; !last.skipped && !(standby && last.timeline > own) {
			break
		}
		f = f[:len(f)-1]
	}
	s.dir.files = f
}

// MoveAside is postgres.Server.MoveAside: the directory lives on beside the new
// place, and at most keep good ones of former moves stay; all of them with 0.
func (s *Server) MoveAside(keep int) error {
	switch {
	case s.work != nil:
		return ErrBusy
	case s.proc.mode != cluster.ModeStopped || s.proc.leftover != 0:
		return ErrRunning
	}
	if s.dir.data == cluster.DataValid && s.dir.tombstone == "" {
		s.asides = slices.Insert(s.asides, 0, s.dir)
		if keep > 0 {
			s.asides = s.asides[:min(len(s.asides), keep)]
		}
	}
	s.dir = directory{data: cluster.DataEmpty}
	return nil
}

// Asides is how many good directories lie beside the present one.
func (s *Server) Asides() int { return len(s.asides) }

// EnsureSlots is postgres.Server.EnsureSlots.
func (s *Server) EnsureSlots(now cluster.Instant, want []string, drop func(cluster.Slot) bool) (made, dropped []string, err error) {
	if err := s.connect(now, true); err != nil {
		return nil, nil, err
	}
	for _, name := range want {
		i := slices.IndexFunc(s.dir.slots, func(l keptSlot) bool { return l.name == name })
		if i >= 0 && (!s.dir.slots[i].lost || s.slotActive(name)) {
			continue
		}
		if i >= 0 {
			s.dir.slots = slices.Delete(s.dir.slots, i, i+1)
		}
		s.makeSlot(name)
		made = append(made, name)
	}
	s.dir.slots = slices.DeleteFunc(s.dir.slots, func(l keptSlot) bool {
		gone := !slices.Contains(want, l.name) && !s.slotActive(l.name) && drop != nil && drop(s.slotRow(l))
		if gone {
			dropped = append(dropped, l.name)
		}
		return gone
	})
	return made, dropped, nil
}

// makeSlot makes a slot that keeps WAL from now on.
func (s *Server) makeSlot(name string) {
	s.dir.slots = append(slices.Clone(s.dir.slots), keptSlot{name: name, restart: s.site.segment(s.dir.control.Redo)})
	slices.SortFunc(s.dir.slots, func(a, b keptSlot) int { return cmp.Compare(a.name, b.name) })
}

func (s *Server) slotActive(name string) bool {
	return slices.ContainsFunc(s.proc.senders, func(st *stream) bool { return st.slot == name })
}

func (s *Server) slotRow(l keptSlot) cluster.Slot {
	status := "reserved"
	if l.lost {
		status = "lost"
	}
	return cluster.Slot{Name: l.name, Type: "physical", Active: s.slotActive(l.name), Restart: l.restart, WalStatus: status}
}

// removeWAL is what a checkpoint does to old WAL files (trap 11).
func (s *Server) removeWAL() {
	d, t := &s.dir, &s.site.Tuning
	if s.site.traps.NoWALRemoval {
		return
	}
	keep := s.site.segment(d.control.Redo)
	if d.end > t.KeepWAL {
		keep = min(keep, s.site.segment(d.end-t.KeepWAL))
	} else {
		keep = 0
	}
	if s.archiver.on {
		keep = min(keep, s.archiver.done)
	}
	for i := range d.slots {
		l := &d.slots[i]
		if t.SlotKeep > 0 && d.end-min(l.restart, d.end) > t.SlotKeep {
			l.lost = true
		}
		if !l.lost {
			keep = min(keep, s.site.segment(l.restart))
		}
	}
	d.kept = max(d.kept, keep)
}
