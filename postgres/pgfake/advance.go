package pgfake

import (
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// due does what of the server's own phases has come to its end. Nothing of a
// halted server does.
func (s *Server) due(now cluster.Instant) {
	s.workDue(now)
	p := &s.proc
	if p.mode == cluster.ModeStopped || s.halted() {
		return
	}
	if p.due != 0 && p.due <= now {
		switch {
		case p.mode == cluster.ModeStarting:
			s.started(now)
		case p.quitting:
			if !s.machine.stuck || s.site.traps.NoKernelStuck {
				s.exit(now)
			}
		default:
			s.shutDown(now)
		}
	}
	if p.unlinks != 0 && p.unlinks <= now && p.mode == cluster.ModeStandby {
		s.unlinked(now)
	}
	if p.promoting != 0 && p.promoting <= now && p.mode == cluster.ModeStandby {
		s.promoted(now)
	}
	if w := p.checkpoint; w != nil && w.Until <= now {
		s.checkpointNow(now)
		w.end(nil)
		p.checkpoint, p.settles = nil, 0
		s.takeNames(now)
	}
	if p.settles != 0 && p.settles <= now && p.mode == cluster.ModePrimary {
		p.settles = 0
		s.checkpointNow(now)
	}
}

// settle is what depends on how far others are: the end of a stop, and commits
// that wait for standbys.
func (s *Server) settle(now cluster.Instant) {
	if s.machine.frozen {
		return
	}
	s.archiveUntil(now)
	switch {
	case len(s.sync.waiting) == 0:
	case s.Gated():
		s.releaseGated(now)
	default:
		s.releaseConfirmed(now)
	}
	if s.proc.mode == cluster.ModeStopping && s.proc.due == 0 && !s.machine.stalled {
		s.endServed(now)
		if waits, _ := s.waitsFor(now); !waits {
			s.exit(now)
		}
	}
}

// next is when the server has something to do by itself; 0 for never.
func (s *Server) next() cluster.Instant {
	var at cluster.Instant
	soonest := func(t cluster.Instant) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	if s.work != nil && !s.machine.stalled {
		soonest(s.work.Until)
	}
	p := &s.proc
	if p.mode == cluster.ModeStopped || s.halted() {
		return at
	}
	if !p.quitting || !s.machine.stuck || s.site.traps.NoKernelStuck {
		soonest(p.due)
	}
	if p.mode == cluster.ModeStandby {
		soonest(p.unlinks)
		soonest(p.promoting)
	}
	if p.checkpoint != nil {
		soonest(p.checkpoint.Until)
	}
	if p.mode == cluster.ModeStopping && p.due == 0 {
		soonest(s.site.later(s.waitEnds()))
	}
	switch {
	case len(s.sync.waiting) == 0:
	case s.Gated():
		soonest(s.site.later(s.gateDue()))
	default:
		soonest(s.site.later(s.confirmDue()))
	}
	return at
}

// halt and resume keep what was under way from going on meanwhile.
func (s *Server) halt(now cluster.Instant) {
	if !s.halted() {
		s.machine.haltedAt = now
	}
}

func (s *Server) resume(now cluster.Instant) {
	if s.halted() {
		return
	}
	by := now.Sub(s.machine.haltedAt)
	for _, t := range []*cluster.Instant{&s.proc.due, &s.proc.unlinks, &s.proc.promoting, &s.proc.settles} {
		if *t != 0 {
			*t = t.Add(by)
		}
	}
	if s.proc.checkpoint != nil {
		s.proc.checkpoint.Until = s.proc.checkpoint.Until.Add(by)
	}
	s.runQueue(now)
	s.choke(now)
}

// Freeze stops every process of the server (SIGSTOP), or lets them go on. What
// clients asked meanwhile waits in the sockets and is done then.
func (s *Server) Freeze(now cluster.Instant, on bool) {
	s.site.Advance(now)
	if on == s.machine.frozen || on && len(s.Scan()) == 0 {
		return
	}
	if on {
		s.stuffGates(now)
		s.halt(now)
		s.machine.frozen = true
		return
	}
	s.machine.frozen = false
	s.readGates(now)
	s.resume(now)
	if s.proc.leftover != 0 && !s.machine.busy && !s.machine.stuck {
		s.proc.leftover, s.proc.writable = 0, false // it sees that its postmaster is gone
		s.loseClients(now)
	}
	signals := s.pending
	s.pending = nil
	for _, sig := range signals {
		_ = s.Signal(now, s.proc.pid, sig) // gone in the meantime: nothing to do
	}
}

// StallDisk lets nothing become durable, or lets it go on.
func (s *Server) StallDisk(now cluster.Instant, on bool) {
	s.site.Advance(now)
	if on == s.machine.stalled {
		return
	}
	if on {
		s.halt(now)
		s.machine.stalled, s.workHeld = true, now
		return
	}
	s.machine.stalled = false
	if s.work != nil {
		s.work.Until = s.work.Until.Add(now.Sub(max(s.workHeld, s.work.begun)))
	}
	s.resume(now)
}

// FillDisk leaves no space on the disk, or makes some. With traffic, the next
// commit comes at once.
func (s *Server) FillDisk(now cluster.Instant, on bool) {
	s.site.Advance(now)
	s.machine.full = on
	s.choke(now)
}

// Cramp leaves no space in the data volume, or makes some, while the WAL has a volume
// of its own: the server goes on, and refuses what needs room.
func (s *Server) Cramp(now cluster.Instant, on bool) {
	s.site.Advance(now)
	s.machine.cramped = on
}

// Full reports whether the data volume is.
func (s *Server) Full() bool { return s.machine.full || s.machine.cramped }

// choke ends a primary whose clients write to a disk that is full.
func (s *Server) choke(now cluster.Instant) {
	if s.machine.full && s.site.Traffic.Every > 0 && s.proc.mode == cluster.ModePrimary && !s.halted() {
		s.panicFull(now)
	}
}

// Starve has the replication connections of a standby carry nothing, or lets them:
// both ends find out by their timeouts, and it reaches its upstream no more.
func (s *Server) Starve(now cluster.Instant, on bool) {
	s.site.Advance(now)
	s.starved = on
}

// linked reports whether the standby can talk to up.
func (s *Server) linked(up *Server) bool { return !s.starved && s.site.reaches(s, up) }

// fedBy reports whether what up sends gets to the standby, answers whether its answers get
// there.
func (s *Server) fedBy(up *Server) bool   { return !s.starved && s.site.carries(up, s) }
func (s *Server) answers(up *Server) bool { return !s.starved && s.site.carries(s, up) }

// Exhaust has clients take every connection: only one that was open before is
// still answered (trap 18).
func (s *Server) Exhaust(now cluster.Instant, on bool) {
	s.site.Advance(now)
	s.machine.exhausted, s.machine.exhaustedAt = on, now
}

// Busy has one backend busy in a query: it outlives SIGKILL of its postmaster,
// and what it then commits is acknowledged. Without a postmaster no query begins.
func (s *Server) Busy(now cluster.Instant, on bool) {
	s.site.Advance(now)
	s.machine.busy = on && s.proc.mode != cluster.ModeStopped
	if !on && s.proc.mode == cluster.ModeStopped && !s.machine.stuck {
		s.proc.leftover, s.proc.writable = 0, false
	}
}

// Stick has the kernel hold one backend in a call that no signal ends (trap 17).
func (s *Server) Stick(now cluster.Instant, on bool) {
	s.site.Advance(now)
	s.machine.stuck = on
	if !on && s.proc.mode == cluster.ModeStopped && !s.machine.busy {
		s.proc.leftover, s.proc.writable = 0, false
	}
}

// PauseReplay is pg_wal_replay_pause and pg_wal_replay_resume.
func (s *Server) PauseReplay(now cluster.Instant, on bool) {
	s.site.Advance(now)
	s.proc.paused = on && s.proc.mode == cluster.ModeStandby
}

// DelayReplay has replay on a standby be by far behind (trap 14).
func (s *Server) DelayReplay(now cluster.Instant, by time.Duration) {
	s.site.Advance(now)
	s.ReplayDelay = by
}

// CrashBackend is a backend that dies of a signal: the postmaster ends them all
// and recovers, without ending itself where restart_after_crash is on.
func (s *Server) CrashBackend(now cluster.Instant) {
	s.site.Advance(now)
	if !s.serves() || s.machine.frozen {
		return
	}
	p := &s.proc
	s.loseClients(now)
	if p.crashEnds {
		s.exit(now)
		return
	}
	for _, st := range slices.Clone(p.senders) {
		s.closeSender(st, now)
	}
	s.endReceiver(now)
	if p.checkpoint != nil {
		p.checkpoint.end(ErrNoServer)
		p.checkpoint = nil
	}
	p.occupied = false
	s.takeNames(now) // the next checkpointer begins with the names
	p.crashes++
	p.mode, p.writable = cluster.ModeStarting, false
	p.promoting, p.unlinks, p.promote, p.promoteFile = 0, 0, false, false // the file is gone since the promotion began, and what was in memory too
	p.due = now.Add(s.draw(s.site.Costs.Recovery))
	p.receive, p.drained, p.readAt = 0, false, 0 // a standby reads its own WAL once more
}
