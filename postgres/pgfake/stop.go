package pgfake

import (
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// stop is a fast stop: the shutdown checkpoint, then every walsender until its
// standby confirmed it, and the archiver (trap 9).
func (s *Server) stop(now cluster.Instant) {
	p := &s.proc
	if p.mode == cluster.ModeStopping || p.mode == cluster.ModeStarting && s.said != "" {
		return
	}
	if p.mode == cluster.ModeStarting {
		p.mode, p.due = cluster.ModeStopping, now.Add(s.draw(s.site.Costs.Die))
		p.writable = false
		return
	}
	p.writable = p.mode == cluster.ModePrimary
	s.loseClients(now)
	s.endReceiver(now)
	p.mode, p.promoting, p.unlinks, p.promote = cluster.ModeStopping, 0, 0, false
	p.due = now.Add(s.draw(s.site.Costs.Stop))
}

// shutDown is the shutdown checkpoint, when the clients are gone. It is written
// once; what follows is waiting.
func (s *Server) shutDown(now cluster.Instant) {
	p, d := &s.proc, &s.dir
	p.due = 0
	switch {
	case d.control.State == cluster.ControlInProduction && p.writable:
		if s.archiver.on {
			d.switchSegment(s, now)
		}
		s.checkpointNow(now)
		d.control.State = cluster.ControlShutdown
		p.writable = false // no backend is left, and none is let in
	case d.control.State == cluster.ControlInArchiveRecovery && p.replay != 0:
		s.checkpointNow(now)
		d.control.State = cluster.ControlShutdownInRecovery
	}
	d.unacked = 0
	if p.checkpoint != nil { // that was the last
		p.checkpoint.end(ErrNoServer)
		p.checkpoint, p.settles = nil, 0
	}
}

// waitsFor reports what a fast stop still waits for, and when that may be over by
// itself; 0 for not by itself.
func (s *Server) waitsFor(now cluster.Instant) (waits bool, until cluster.Instant) {
	if s.machine.stuck && !s.site.traps.NoKernelStuck {
		return true, 0
	}
	if s.site.traps.NoStopWaits {
		return false, 0
	}
	for _, st := range s.proc.senders {
		if st.down == nil && st.gate == nil || s.confirmed(st, now) >= s.dir.end {
			continue // a clone's receiver confirms as fast as it gets
		}
		waits = true
		end := st.heard.Add(s.site.Tuning.SenderTimeout)
		switch {
		case st.gate != nil && st.decided >= now: // one that is closed, or frozen, holds the stop up
			end = now.Add(gateLag)
		case st.gate != nil:
		case s.hears(st):
			end = now.Add(2*s.site.Tuning.Latency + st.down.Lag)
		}
		if until == 0 || end < until {
			until = end
		}
	}
	if s.archiver.on && s.archiver.hangs {
		return true, until
	}
	return waits, until
}

// endServed has walsenders leave that have nothing more to send: each by itself, whatever
// the stop still waits for.
func (s *Server) endServed(now cluster.Instant) {
	if s.machine.stuck && !s.site.traps.NoKernelStuck {
		return
	}
	for _, st := range slices.Clone(s.proc.senders) {
		if st.down != nil && s.confirmed(st, now) >= s.dir.end {
			s.closeSender(st, now)
		}
	}
}

// waitEnds is when what a stop waits for may be over; 0 for not by itself.
func (s *Server) waitEnds() cluster.Instant {
	_, until := s.waitsFor(s.site.at)
	return until
}

// quit is an immediate stop. The postmaster waits for a backend that the kernel
// holds (trap 17).
func (s *Server) quit(now cluster.Instant) {
	p := &s.proc
	s.loseClients(now)
	p.mode, p.promoting, p.unlinks, p.promote = cluster.ModeStopping, 0, 0, false
	p.writable = false
	p.due = now.Add(s.draw(s.site.Costs.Die))
	s.endReceiver(now)
	p.quitting = true
}

// killPostmaster is SIGKILL to the postmaster: its children see that and leave,
// but for a backend that is busy in a query, or held by the kernel.
func (s *Server) killPostmaster(now cluster.Instant) {
	if s.machine.busy || s.machine.stuck && !s.site.traps.NoKernelStuck || s.machine.frozen {
		s.proc.leftover = s.proc.pid + 1
	} else {
		s.loseClients(now)
	}
	s.exit(now)
}

// KillAll sends SIGKILL to every process Scan finds. One that the kernel holds dies of it
// before it runs on: it is left, and acknowledges nothing any more.
func (s *Server) KillAll(now cluster.Instant) {
	s.site.Advance(now)
	stuck := s.machine.stuck && !s.site.traps.NoKernelStuck
	if s.proc.mode != cluster.ModeStopped {
		if stuck {
			s.proc.leftover = s.proc.pid + 1
		}
		s.loseClients(now)
		s.exit(now)
	}
	if !stuck {
		s.loseClients(now)
		s.proc.leftover, s.machine.frozen = 0, false
	}
	s.proc.writable, s.machine.busy = false, false
}

// exit is the end of the postmaster and of all that goes with it.
func (s *Server) exit(now cluster.Instant) {
	p := &s.proc
	for _, st := range slices.Clone(p.senders) {
		s.closeSender(st, now)
	}
	s.endReceiver(now)
	if p.checkpoint != nil {
		p.checkpoint.end(ErrNoServer)
	}
	s.reaped = append(s.reaped, p.pid)
	s.proc = process{mode: cluster.ModeStopped, leftover: p.leftover, writable: p.writable && p.leftover != 0, waits: p.waits}
	if p.leftover == 0 {
		s.machine.frozen = false
		s.loseClients(now)
	}
	s.site.tell(Happening{Kind: Exited, Server: s, At: now})
}

// PowerOff ends everything at once, and nobody is told: not the guard, which dies
// too, and not the peers.
func (s *Server) PowerOff(now cluster.Instant) {
	s.site.Advance(now)
	s.Interrupt(now)
	s.loseClients(now)
	for _, st := range s.proc.senders {
		st.upGone = true
	}
	if s.proc.recv != nil {
		s.proc.recv.downGone = true
	}
	if s.proc.checkpoint != nil {
		s.proc.checkpoint.end(ErrNoServer)
	}
	s.proc, s.reaped = process{mode: cluster.ModeStopped}, nil
	s.machine = machine{full: s.machine.full, cramped: s.machine.cramped}
}
