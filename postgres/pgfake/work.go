package pgfake

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The kinds of tombstone, as package postgres writes them.
const (
	tombInit   = "init"
	tombClone  = "clone"
	tombRewind = "rewind"
)

// Work is an initdb, clone, rewind or checkpoint under way.
type Work struct {
	// Until is when it ends if nothing comes between.
	Until cluster.Instant
	// Done, Err and Rewound are set when it has ended.
	Done    bool
	Err     error
	Rewound bool

	server, from *Server
	kind         string
	pid          int // of the source's postmaster
	begun, heard cluster.Instant
	// touches is when a rewind begins to change files, parted where the two logs
	// do.
	touches cluster.Instant
	parted  cluster.LSN
	// floor is the oldest WAL a clone has.
	floor cluster.LSN
	// standby: the source of a clone is one, and must stay one.
	standby bool
	stream  *stream
}

func (w *Work) end(err error) { w.Done, w.Err = true, err }

// InitDB is postgres.Server.InitDB.
func (s *Server) InitDB(now cluster.Instant) (*Work, error) {
	s.site.Advance(now)
	if err := s.makeEmpty(); err != nil {
		return nil, err
	}
	s.dir.data, s.dir.tombstone = cluster.DataBroken, tombInit
	s.begin(now, &Work{kind: tombInit, Until: now.Add(s.draw(s.site.Costs.InitDB))})
	return s.work, nil
}

// Clone is postgres.Server.Clone: from is streamed through slot, which is made
// when it is missing, under the application name as. To a primary that lists as
// it is a synchronous standby (trap 21).
func (s *Server) Clone(now cluster.Instant, from, slot, as string) (*Work, error) {
	if _, err := s.SourceInfo(now, from); err != nil {
		return nil, err
	}
	if err := s.makeEmpty(); err != nil {
		return nil, err
	}
	src := s.site.find(from)
	if slot != "" && !slices.ContainsFunc(src.dir.slots, func(l keptSlot) bool { return l.name == slot }) {
		src.makeSlot(slot)
	}
	if slot != "" && src.slotActive(slot) {
		return nil, fmt.Errorf("replication slot %q is active", slot)
	}
	s.dir.data, s.dir.tombstone = cluster.DataBroken, tombClone
	w := &Work{kind: tombClone, from: src, pid: src.proc.pid, standby: src.proc.mode == cluster.ModeStandby, Until: now.Add(s.draw(s.site.Costs.Clone)), floor: s.site.segment(src.dir.control.Redo)}
	s.begin(now, w)
	w.stream = &stream{up: src, name: as, slot: slot, begun: now, heard: now, work: w}
	src.proc.senders = append(src.proc.senders, w.stream)
	return w, nil
}

func (s *Server) begin(now cluster.Instant, w *Work) {
	w.server, w.begun, w.heard = s, now, now
	s.work, s.workHeld = w, now
}

// makeEmpty is what initdb and clone do first: remains of one of them are removed,
// anything else is refused.
func (s *Server) makeEmpty() error {
	switch {
	case s.work != nil:
		return ErrBusy
	case s.machine.full:
		return ErrDiskFull
	case s.dir.data == cluster.DataEmpty, s.dir.tombstone == tombInit, s.dir.tombstone == tombClone:
		s.dir = directory{data: cluster.DataEmpty, up: s.dir.up, maxConnections: s.dir.maxConnections}
		return nil
	}
	return ErrNotEmpty
}

// Rewind is postgres.Server.Rewind, with pg_rewind's needs (trap 10). A Work that
// is done with Rewound false says "no rewind required": that is also the answer
// where one timeline number means two histories (trap 6).
func (s *Server) Rewind(now cluster.Instant, from string) (*Work, error) {
	s.site.Advance(now)
	d := &s.dir
	switch {
	case s.work != nil:
		return nil, ErrBusy
	case s.proc.mode != cluster.ModeStopped || s.proc.leftover != 0:
		return nil, ErrRunning
	}
	info, err := s.SourceInfo(now, from)
	if err != nil {
		return nil, err
	}
	src := s.site.find(from)
	read := src.dir.control.Timeline
	if s.site.traps.NoRewindCheckpoint {
		read = info.Timeline
	} else if !info.InRecovery && read != info.Timeline {
		return nil, fmt.Errorf("%w: it writes timeline %d, but its last checkpoint is of %d", ErrSourceNotReady, info.Timeline, read)
	}
	if why := s.rewindNeeds(info); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrNeedClone, why)
	}
	at, found := parted(d.branch.history, d.branch.timeline, src.dir.branch.history, read)
	w := &Work{kind: tombRewind, from: src, pid: src.proc.pid, parted: at, server: s, begun: now, heard: now}
	switch {
	case !found:
		return nil, fmt.Errorf("%w: could not find common ancestor of the source and target cluster's timelines", ErrNeedClone)
	case d.branch.timeline == read || d.end <= at:
		w.Until, w.Done = now, true
		d.control.StandbySignal = true
		return w, nil
	case s.site.segment(at) < d.kept && !s.site.traps.NoRewindNeeds:
		return nil, fmt.Errorf("%w: could not open file \"pg_wal\" at %s", ErrNeedClone, at)
	}
	took := s.draw(s.site.Costs.Rewind)
	w.Until, w.touches = now.Add(took), now.Add(took*2/5)
	d.tombstone = tombRewind
	s.begin(now, w)
	return w, nil
}

func (s *Server) rewindNeeds(info Source) string {
	d := &s.dir
	switch {
	case d.data != cluster.DataValid || d.tombstone != "":
		return "the directory is unfinished"
	case info.SystemID != d.systemID:
		return "source and target clusters are from different systems"
	case !d.control.Checksums && !d.control.WalLogHints && !s.site.traps.NoRewindNeeds:
		return "the data directory has neither checksums nor wal_log_hints"
	}
	return ""
}

// parted is where two histories part, by their numbers alone, as pg_rewind finds
// it.
func parted(a cluster.History, at cluster.Timeline, b cluster.History, bt cluster.Timeline) (lsn cluster.LSN, found bool) {
	const open = ^cluster.LSN(0)
	line := func(h cluster.History, own cluster.Timeline, i int) (cluster.Timeline, cluster.LSN) {
		if i < len(h) && h[i].Timeline < own {
			return h[i].Timeline, h[i].Switch
		}
		return own, open
	}
	var begin cluster.LSN
	for i := 0; i <= len(a) && i <= len(b); i++ {
		ta, ea := line(a, at, i)
		tb, eb := line(b, bt, i)
		if ta != tb {
			return begin, i > 0
		}
		if begin = min(ea, eb); ea != eb || ea == open {
			return begin, true
		}
	}
	return begin, true
}

// workDue ends work whose time has come, or whose source has gone.
func (s *Server) workDue(now cluster.Instant) {
	w := s.work
	if w == nil || s.machine.stalled {
		return
	}
	if why := w.lost(now); why != nil {
		s.fail(now, why)
		return
	}
	if s.machine.full {
		s.fail(now, ErrDiskFull)
		return
	}
	if now < w.Until {
		return
	}
	if w.heard < now && w.from != nil {
		w.Until = now.Add(stillWaiting)
		return
	}
	s.work = nil
	w.hangUp()
	switch w.kind {
	case tombInit:
		max, up := s.dir.maxConnections, s.dir.up
		s.dir = s.site.fresh()
		s.dir.up = up
		if max != 0 {
			s.dir.maxConnections = max
		}
	case tombClone:
		s.cloned(now, w)
	case tombRewind:
		s.rewound(w)
	}
	w.end(nil)
}

var errPromoted = errors.New("the standby was promoted during online backup")

// lost is why the source can give nothing more.
func (w *Work) lost(now cluster.Instant) error {
	src := w.from
	if src == nil {
		return nil
	}
	if w.server.site.reaches(w.server, src) && !src.machine.frozen {
		if w.heard = now; src.proc.pid != w.pid || !src.serves() {
			return fmt.Errorf("%w: server closed the connection unexpectedly", ErrUnreachable)
		}
		if w.standby && src.proc.mode == cluster.ModePrimary {
			return errPromoted
		}
		return nil
	}
	if now.Sub(w.heard) >= w.server.site.Tuning.ReceiverTimeout {
		return fmt.Errorf("%w: timeout", ErrUnreachable)
	}
	return nil
}

func (w *Work) hangUp() {
	if w.stream != nil {
		w.stream.downGone = true
		if w.server.site.reaches(w.server, w.from) {
			w.from.dropSender(w.stream)
		}
	}
}

// cloned makes the directory a standby's, with the source's log until now. Only
// the history file of the source's timeline comes with it.
func (s *Server) cloned(now cluster.Instant, w *Work) {
	src := &w.from.dir
	d := directory{data: cluster.DataValid, systemID: src.systemID, branch: src.branch, end: w.from.available(now),
		kept: w.floor, control: src.control, up: s.dir.up, maxConnections: max(s.dir.maxConnections, src.control.MaxConnections),
		gate: src.gate} // the source's configuration comes with its directory
	if f, found := src.files.find(src.branch.timeline); found {
		d.files = d.files.with(f)
	}
	d.control.StandbySignal = true
	s.dir = d
}

// rewound makes the directory the source's from where the two parted by their
// numbers. Where one number meant two histories, it is a mixture.
func (s *Server) rewound(w *Work) {
	src, d := &w.from.dir, &s.dir
	at := min(w.parted, d.end)
	d.branch, d.end = d.branch.reach(at).graft(at, src.branch), src.end
	own := d.control
	d.control = src.control
	d.control.Checksums, d.control.WalLogHints = own.Checksums, own.WalLogHints
	d.control.State, d.control.StandbySignal = cluster.ControlInArchiveRecovery, true
	d.control.MinRecovery, d.control.MinRecoveryTLI = src.end, src.branch.timeline
	d.kept, d.files, d.slots, d.unacked, d.tombstone = src.kept, src.files, nil, 0, ""
	d.maxConnections = max(d.maxConnections, d.control.MaxConnections)
	d.gate = src.gate // pg_rewind takes whatever is no relation from its source
	w.Rewound = true
}

// fail ends the work under way as package postgres does when it sees it fail.
func (s *Server) fail(now cluster.Instant, why error) {
	w := s.work
	s.work = nil
	w.hangUp()
	switch {
	case w.kind != tombRewind:
		s.dir = directory{data: cluster.DataEmpty, up: s.dir.up, maxConnections: s.dir.maxConnections}
	case now >= w.touches && !s.site.traps.NoRewindRuin:
		s.dir.ruined = true
		why = fmt.Errorf("%w: %w", ErrDamaged, why)
	default:
		s.dir.tombstone, s.dir.control.StandbySignal = "", true
	}
	w.end(why)
}

// Cancel ends the work under way as package postgres does when its caller gives
// up.
func (s *Server) Cancel(now cluster.Instant) {
	s.site.Advance(now)
	if s.work != nil {
		s.fail(now, ErrInterrupted)
	}
}

// Interrupt ends the work under way as the death of its agent does: the tombstone
// stays, over whatever is there.
func (s *Server) Interrupt(now cluster.Instant) {
	s.site.Advance(now)
	w := s.work
	if w == nil {
		return
	}
	s.work = nil
	w.hangUp()
	if w.kind == tombRewind {
		s.dir.ruined = now >= w.touches && !s.site.traps.NoRewindRuin
		if s.site.traps.NoRewindRuin {
			s.dir.tombstone = ""
		}
	}
	w.end(ErrInterrupted)
}
