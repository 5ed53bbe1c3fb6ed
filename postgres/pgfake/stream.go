package pgfake

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// stream is one replication connection: a walsender of up and the receiver of
// down, or of a clone under way (down nil).
type stream struct {
	up, down   *Server
	name, slot string
	// gate is the other end of a gate's connection; then down is nil. decided is when it
	// confirmed what is known.
	gate    Gate
	decided cluster.Instant
	// log is the branch of up that was compared with down's log.
	log *branch
	// begun is when it was made, heard when the walsender last had an answer, fed when
	// the receiver last had anything.
	begun, heard, fed cluster.Instant
	// known is what the walsender has been told to be durable.
	known cluster.LSN
	// upGone and downGone: one end does not exist any more and the other cannot
	// know yet.
	upGone, downGone bool
	work             *Work
}

// hears reports whether an answer of the standby gets to its walsender.
func (s *Server) hears(st *stream) bool {
	if st.downGone || st.upGone || s.machine.frozen {
		return false
	}
	if st.gate != nil {
		return true
	}
	if st.down == nil {
		return s.site.reaches(s, st.work.server)
	}
	return st.down.answers(s) && !st.down.halted() && !st.down.machine.full
}

// confirmed is what the walsender knows to be durable at its standby.
func (s *Server) confirmed(st *stream, now cluster.Instant) cluster.LSN {
	lag := 2 * s.site.Tuning.Latency
	if st.gate != nil {
		s.hearGate(st, now, gateLag)
		return min(st.known, s.dir.end)
	}
	if st.down == nil {
		return s.available(now.Add(-lag))
	}
	if !s.hears(st) {
		// What the standby said before. It may be long gone from here, and have taken
		// other WAL from elsewhere.
		return min(st.known, s.dir.end)
	}
	st.known = max(st.known, s.heardNow(st, now, lag))
	return st.known
}

// heardNow is what a standby says whose answers arrive.
func (s *Server) heardNow(st *stream, now cluster.Instant, lag time.Duration) cluster.LSN {
	end := st.down.dir.end
	if s.site.traps.NoEarlyShip {
		end = s.dir.end // it has it all, and would keep nothing if we died now
	}
	if !st.down.dir.branch.leads(min(end, st.down.dir.end), s.dir.branch) {
		return min(end, s.dir.end)
	}
	return min(end, s.available(now.Add(-lag-st.down.Lag)))
}

// available is how much of the log had been written at t.
func (s *Server) available(t cluster.Instant) cluster.LSN {
	return min(s.dir.end, s.dir.branch.until(t))
}

// pump brings the standby to where its upstream let it be by now; its upstream
// first.
func (s *Server) pump(now cluster.Instant) {
	if s.pumped == s.site.round {
		return
	}
	s.pumped = s.site.round
	s.dropDeadSenders(now)
	p := &s.proc
	if p.mode != cluster.ModeStandby || p.promote || s.halted() || s.machine.full {
		return
	}
	if !p.drained {
		s.replayUntil(now)
		p.drained = p.replay >= s.dir.end || now >= p.readAt && s.parameterStop(p.replay) == p.replay+1
	}
	if p.recv == nil && p.up.Host != "" && now >= p.tryAt && p.drained && s.wantsWAL(now) {
		p.complaint = s.dial(now)
		if p.complaint != "" {
			p.tryAt = now.Add(s.site.Tuning.Retry)
		}
	}
	if p.recv != nil {
		p.recv.up.pump(now)
	}
	if p.recv != nil {
		s.receiveFrom(p.recv, now)
	}
	s.replayUntil(now)
}

// wantsWAL: only the startup process has a receiver started, when it needs WAL that is not
// there: not while its replay is paused or behind what there is.
func (s *Server) wantsWAL(now cluster.Instant) bool {
	s.replayUntil(now)
	return s.proc.replay >= s.dir.end || s.parameterStop(s.proc.replay) == s.proc.replay+1
}

// receiveFrom takes what has arrived, or notices that nothing can.
func (s *Server) receiveFrom(st *stream, now cluster.Instant) {
	p, d, up := &s.proc, &s.dir, st.up
	reached := s.fedBy(up)
	switch {
	case reached && st.upGone:
		s.lostUpstream(now, "server closed the connection unexpectedly")
		return
	case !reached || up.machine.frozen:
		if now.Sub(st.fed) >= s.site.Tuning.ReceiverTimeout || s.site.traps.NoStuckReceiver {
			s.endReceiver(now)
			p.tryAt, p.complaint = now.Add(s.site.Tuning.Retry), "terminating walreceiver due to timeout"
		}
		return
	}
	st.fed = now
	if up.dir.branch != st.log {
		if why := s.join(up); why != "" {
			s.lostUpstream(now, why)
			return
		}
		st.log = up.dir.branch
	}
	got := up.available(now.Add(-s.site.Tuning.Latency - s.Lag))
	if up.proc.mode == cluster.ModeStandby {
		got = min(up.dir.end, got)
	}
	if s.site.traps.NoEarlyShip && up.sync.firstWaiting() != 0 {
		got = min(got, up.sync.firstWaiting()-1)
	}
	if s.site.segment(d.end) < up.dir.kept {
		s.lostUpstream(now, fmt.Sprintf("requested WAL segment at %s has already been removed", s.site.segment(d.end)))
		return
	}
	if got > d.end {
		if why := s.mix(up); why != "" {
			s.lostUpstream(now, why)
			return
		}
		d.end = got
		if d.branch.mirror != up.dir.branch {
			d.branch = up.dir.branch.reach(got)
		}
	} else if d.branch.leads(d.end, up.dir.branch) {
		d.branch = up.dir.branch.reach(d.end)
	}
	if now.Sub(st.begun) >= s.site.Tuning.Latency {
		p.receive = max(p.receive, min(d.end, up.dir.end))
	}
	up.advanceSlot(st, d.end)
}

// mix joins the two logs where one number means two histories: where a record of
// the upstream begins exactly at our end nobody notices, and the content is a
// mixture from there on; anywhere else replay cannot go on.
func (s *Server) mix(up *Server) string {
	d := &s.dir
	if d.branch.mirror == up.dir.branch || d.branch.leads(d.end, up.dir.branch) {
		return ""
	}
	if !up.dir.branch.boundary(d.end) {
		return fmt.Sprintf("record with incorrect prev-link at %s", d.end)
	}
	d.branch = d.branch.graft(d.end, up.dir.branch)
	return ""
}

// lostUpstream ends the receiver for a reason and tries again later.
func (s *Server) lostUpstream(now cluster.Instant, why string) {
	s.endReceiver(now)
	s.proc.tryAt, s.proc.complaint = now.Add(s.site.Tuning.Retry), why
}

// dial tries to stream from the upstream, as a walreceiver does; it returns why
// that does not work.
func (s *Server) dial(now cluster.Instant) string {
	p, d := &s.proc, &s.dir
	up := s.site.find(p.up.Host)
	switch {
	case up == nil || up == s || !s.linked(up) || up.machine.frozen:
		return "could not connect to the primary server: timeout expired"
	case up.proc.mode == cluster.ModeStopped:
		return "could not connect to the primary server: connection refused"
	case !up.serves():
		return "could not connect to the primary server: the database system is " + up.proc.mode.String()
	case up.machine.exhausted && !s.site.traps.NoExhaustion:
		return "could not connect to the primary server: " + ErrTooMany.Error()
	case up.dir.systemID != d.systemID:
		return fmt.Sprintf("database system identifier differs between the primary and standby: the primary's identifier is %s, the standby's identifier is %s", up.dir.systemID, d.systemID)
	}
	if p.up.Slot != "" {
		i := slices.IndexFunc(up.dir.slots, func(l keptSlot) bool { return l.name == p.up.Slot })
		switch {
		case i < 0:
			return fmt.Sprintf("replication slot %q does not exist", p.up.Slot)
		case up.dir.slots[i].lost:
			return fmt.Sprintf("cannot read from replication slot %q: it has lost its WAL", p.up.Slot)
		case up.slotActive(p.up.Slot):
			return fmt.Sprintf("replication slot %q is active", p.up.Slot)
		}
	}
	if why := s.join(up); why != "" {
		return why
	}
	start := s.site.segment(d.end)
	switch {
	case d.branch.timeline == up.dir.branch.timeline && start > up.dir.end:
		return fmt.Sprintf("requested starting point %s is ahead of the WAL flush position of this server %s", start, up.dir.end)
	case start < up.dir.kept:
		return fmt.Sprintf("requested WAL segment at %s has already been removed", start)
	}
	st := &stream{up: up, down: s, name: s.name, slot: p.up.Slot, log: up.dir.branch, begun: now, heard: now, fed: now}
	p.recv = st
	up.proc.senders = append(up.proc.senders, st)
	if !s.site.traps.NoReceiveReset {
		p.receive = max(p.receive, start)
	}
	return ""
}

// join looks whether the upstream's timeline can be followed from ours, as
// walreceiver and startup process do it together: history files are fetched, a
// newer timeline becomes the goal when it comes from the present one and did not
// leave it before our replay position. It cuts off WAL that was received and not
// replayed past such a point. It returns why not.
func (s *Server) join(up *Server) string {
	p, d := &s.proc, &s.dir
	own, theirs := d.branch.timeline, up.dir.branch.timeline
	if theirs < own {
		return fmt.Sprintf("highest timeline %d of the primary is behind recovery timeline %d", theirs, own)
	}
	for tl := max(own, 2); tl <= theirs; tl++ {
		if _, have := d.files.find(tl); have {
			continue
		}
		f, found := up.dir.files.find(tl)
		if !found {
			return fmt.Sprintf("could not receive timeline history file of %d from the primary server", tl)
		}
		d.files = d.files.with(f)
	}
	if f, found := d.files.find(p.goal); found && p.goal > theirs {
		// It stands where a timeline begins that it took for its goal.
		if at, child := f.lines.SwitchOf(own); child && at <= d.end {
			return fmt.Sprintf("highest timeline %d of the primary is behind recovery timeline %d", theirs, p.goal)
		}
	}
	if theirs > p.goal {
		at, child := up.dir.branch.history.SwitchOf(p.goal)
		switch {
		case !child:
			return fmt.Sprintf("new timeline %d is not a child of database system timeline %d", theirs, p.goal)
		case at < p.replay && !s.site.traps.NoShorterTimeline:
			return fmt.Sprintf("new timeline %d forked off current database system timeline %d before current recovery point %s", theirs, p.goal, p.replay)
		}
		p.goal = theirs
	}
	if own == theirs {
		return ""
	}
	at, child := up.dir.branch.history.SwitchOf(own)
	switch {
	case !child:
		return fmt.Sprintf("requested timeline %d is not in this server's history", own)
	case at < p.replay && !s.site.traps.NoShorterTimeline:
		return fmt.Sprintf("requested starting point on timeline %d is not in this server's history: it forked at %s, before our %s", own, at, p.replay)
	}
	if d.end > at {
		d.end, p.replay = at, min(p.replay, at)
	}
	return ""
}

// replayUntil moves the replay position (traps 14 and 19).
func (s *Server) replayUntil(now cluster.Instant) {
	p, d := &s.proc, &s.dir
	to := d.end
	if now < p.readAt {
		return
	}
	if !s.site.traps.NoReplayLag {
		if p.paused {
			return
		}
		if s.ReplayDelay > 0 {
			to = min(to, d.branch.until(now.Add(-s.Lag-s.ReplayDelay)))
		}
	}
	if to <= p.replay {
		return
	}
	if at := s.parameterStop(p.replay); at != 0 && at <= to {
		to = max(p.replay, at-1)
	}
	p.replay = to
}

// replayPaused is pg_is_wal_replay_paused.
func (s *Server) replayPaused() bool {
	return s.proc.paused && !s.site.traps.NoReplayLag || s.parameterStop(s.proc.replay) == s.proc.replay+1
}

// advanceSlot has the slot of st keep no more than its standby still needs.
func (s *Server) advanceSlot(st *stream, flushed cluster.LSN) {
	if st.slot == "" {
		return
	}
	for i := range s.dir.slots {
		if l := &s.dir.slots[i]; l.name == st.slot {
			l.restart = max(l.restart, flushed)
		}
	}
}

// dropDeadSenders ends walsenders whose standby is known or believed to be gone.
func (s *Server) dropDeadSenders(now cluster.Instant) {
	if len(s.proc.senders) == 0 || s.machine.frozen {
		return
	}
	s.proc.senders = slices.DeleteFunc(s.proc.senders, func(st *stream) bool {
		if st.gate != nil {
			s.hearGate(st, now, gateLag)
			st.upGone = st.downGone || now.Sub(st.heard) >= s.site.Tuning.SenderTimeout
			if st.upGone && !st.downGone {
				s.site.tell(Happening{Kind: GateLost, Server: s, At: now})
			}
			return st.upGone
		}
		if s.hears(st) {
			st.heard = now
			return false
		}
		if st.downGone && s.site.carries(st.peer(), s) || now.Sub(st.heard) >= s.site.Tuning.SenderTimeout {
			st.upGone = true
			return true
		}
		return false
	})
}

func (st *stream) peer() *Server {
	if st.down != nil {
		return st.down
	}
	return st.work.server
}

// endReceiver ends the receiver; its walsender learns of it when it can.
func (s *Server) endReceiver(now cluster.Instant) {
	st := s.proc.recv
	if st == nil {
		return
	}
	s.proc.recv, st.downGone = nil, true
	if s.answers(st.up) && !st.up.machine.frozen {
		st.up.dropSender(st)
	}
}

func (s *Server) dropSender(st *stream) {
	s.proc.senders = slices.DeleteFunc(s.proc.senders, func(o *stream) bool { return o == st })
}

// closeSender ends a walsender; its standby learns of it when it can.
func (s *Server) closeSender(st *stream, now cluster.Instant) {
	s.dropSender(st)
	st.upGone = true
	if st.gate != nil && !st.downGone {
		s.site.tell(Happening{Kind: GateLost, Server: s, At: now})
	}
	if down := st.down; down != nil && down.proc.recv == st && down.fedBy(s) && !down.machine.frozen {
		down.proc.recv = nil
		down.proc.tryAt, down.proc.complaint = now.Add(s.site.Tuning.Retry), "replication terminated by primary server"
	}
}
