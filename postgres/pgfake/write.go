package pgfake

import (
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// syncing is synchronous replication on a primary: ANY need (names).
type syncing struct {
	need  int
	names []string
	// waiting are the commits that nobody was told of, oldest first; lsn is where
	// each ends.
	waiting []wait
	// next is what the file says that the next start reads; nil for what is in force.
	next *Names
	// queue are commits that are not durable yet: the disk stalls, or the server
	// is frozen.
	queue []queued
	// counted is the slice that counted makes.
	counted []cluster.LSN
}

// Names are a value of synchronous_standby_names: ANY Need (Standbys).
type Names struct {
	Need     int
	Standbys []string
}

type wait struct {
	commit Commit
	lsn    cluster.LSN
	at     cluster.Instant
}

type queued struct {
	commit Commit
	size   int
	weak   bool
}

func (y *syncing) lists(name string) bool { return slices.Contains(y.names, name) }

// firstWaiting is where the oldest waiting commit ends; 0 when there is none.
func (y *syncing) firstWaiting() cluster.LSN {
	if len(y.waiting) == 0 {
		return 0
	}
	return y.waiting[0].lsn
}

// SetSync has every process of the server read synchronous_standby_names = ANY need
// (names), the checkpointer when it comes to it. Empty names release every waiting commit
// (trap 2).
func (s *Server) SetSync(now cluster.Instant, need int, names ...string) {
	s.site.Advance(now)
	s.sync.need, s.sync.names, s.sync.next = need, slices.Clone(names), nil
	s.gate = s.dir.gate
	s.takeNames(now)
	switch {
	case len(names) > 0 && need > 0:
		s.releaseConfirmed(now)
	case s.Gated(): // takes their place
		s.releaseGated(now)
	}
}

// named: commits are to wait for somebody.
func (s *Server) named() bool { return s.sync.need > 0 || s.gate != "" }

// takeNames is the checkpointer that reads the configuration, unless it is in the middle of
// a checkpoint (trap 22): that commits wait at all is for it to say.
func (s *Server) takeNames(now cluster.Instant) {
	p := &s.proc
	busy := p.checkpoint != nil || p.occupied
	if named := s.named(); named != p.waits && (!busy || s.site.traps.NoBusyCheckpointer) {
		p.waits = named
		if !named {
			s.releaseAll(now)
		}
	}
}

// HasNames reports whether commits wait as the names say: for anybody, or for nobody.
func (s *Server) HasNames() bool { return s.proc.waits == s.named() }

// Occupy has the checkpointer be in a checkpoint, or come to the end of it.
func (s *Server) Occupy(now cluster.Instant, on bool) {
	s.site.Advance(now)
	s.proc.occupied = on && s.serves()
	s.takeNames(now)
}

// WriteNames writes the names of the next start, beside what is in force of what may be left
// of the last.
func (s *Server) WriteNames(n Names) { s.sync.next = &n }

// Names are those that the configuration has.
func (s *Server) Names() Names {
	if s.sync.next != nil {
		return *s.sync.next
	}
	return Names{s.sync.need, s.sync.names}
}

// Write commits a transaction of size bytes. Weak asks for synchronous_commit =
// local, which waits for nobody (trap 7). The outcome of one that is Waiting comes
// later, with Site.Notify and Outcome.
func (s *Server) Write(now cluster.Instant, size int, weak bool) (Commit, Outcome) {
	p := &s.proc
	orphan := p.mode == cluster.ModeStopped && p.leftover != 0 && p.writable && (s.machine.busy || s.machine.frozen)
	switch {
	case p.mode != cluster.ModePrimary && !orphan || !s.machine.on:
		return 0, Refused
	case s.machine.exhausted && !s.site.traps.NoExhaustion && !s.machine.frozen:
		return 0, Refused
	case s.machine.cramped && !s.machine.frozen:
		return 0, Refused
	case s.machine.full && !s.machine.frozen:
		s.panicFull(now)
		return 0, Refused
	}
	s.site.commits = append(s.site.commits, record{server: s, outcome: Waiting})
	c := Commit(len(s.site.commits))
	q := queued{c, size, weak && !s.site.traps.NoWeakCommit}
	if s.halted() {
		s.sync.queue = append(s.sync.queue, q)
		return c, Waiting
	}
	s.commit(now, q)
	return c, s.site.commits[c-1].outcome
}

// commit makes a transaction durable, and acknowledges it unless it has to wait.
func (s *Server) commit(now cluster.Instant, q queued) {
	s.append(now, cluster.LSN(q.size))
	r := &s.site.commits[q.commit-1]
	r.branch, r.lsn = s.dir.branch, s.dir.end
	if q.weak || !s.proc.waits {
		r.outcome = Acknowledged
		return
	}
	s.sync.waiting = append(s.sync.waiting, wait{q.commit, s.dir.end, now})
}

// runQueue does what could not be done while the server was halted.
func (s *Server) runQueue(now cluster.Instant) {
	queue := s.sync.queue
	s.sync.queue = nil
	for _, q := range queue {
		s.commit(now, q)
		if r := s.site.commits[q.commit-1]; r.outcome != Waiting {
			s.site.tell(Happening{Kind: Settled, Server: s, At: now, Commit: q.commit, Outcome: r.outcome})
		}
	}
}

// panicFull is a primary whose disk is full: it cannot write WAL, and ends.
func (s *Server) panicFull(now cluster.Instant) {
	s.said = "PANIC: could not write to file \"pg_wal/xlogtemp\": No space left on device"
	s.loseClients(now)
	s.exit(now)
}

// Cancel ends a client's wait. The transaction is committed all the same, and the
// client is told so, with a warning (trap 1).
func (s *Server) CancelWait(now cluster.Instant, c Commit) {
	s.site.Advance(now)
	if s.site.traps.NoCancelledWait {
		return
	}
	for i, w := range s.sync.waiting {
		if w.commit == c {
			s.sync.waiting = slices.Delete(s.sync.waiting, i, i+1)
			s.outcome(now, c, Warned)
			return
		}
	}
}

// Outcome is what the client of c knows by now.
func (s *Site) Outcome(c Commit) Outcome { return s.commits[c-1].outcome }

// Has reports whether the log holds the commit, durably.
func (s *Server) Has(c Commit) bool {
	r := s.site.commits[c-1]
	return r.branch != nil && s.dir.branch != nil && s.dir.branch.holds(s.dir.end, r.branch, r.lsn)
}

// Shows reports whether a query on the running server sees the commit: it is
// there, and no wait for standbys hides it (trap 8).
func (s *Server) Shows(c Commit) bool {
	if !s.serves() || !s.Has(c) {
		return false
	}
	if s.proc.mode == cluster.ModeStandby {
		r := s.site.commits[c-1]
		return r.lsn <= s.proc.replay
	}
	return !slices.ContainsFunc(s.sync.waiting, func(w wait) bool { return w.commit == c })
}

// Diverged reports whether the log of s is no prefix of other's.
func (s *Server) Diverged(other *Server) bool {
	return s.dir.branch != nil && other.dir.branch != nil &&
		(s.dir.end > other.dir.end || !s.dir.branch.leads(s.dir.end, other.dir.branch))
}

// counted are the positions that standbys of the list confirmed, newest first. A
// clone under a listed name counts too (trap 21). The next call takes the slice back.
func (s *Server) counted(lsn func(*stream) cluster.LSN) []cluster.LSN {
	at := s.sync.counted[:0]
	names := s.sync.names
	if s.site.traps.NoScatter {
		names = names[:min(s.sync.need, len(names))]
	}
	for _, name := range names {
		var best cluster.LSN
		for _, st := range s.proc.senders {
			if st.name == name && (st.down != nil || !s.site.traps.NoFalseStandby) {
				best = max(best, lsn(st))
			}
		}
		i := len(at)
		for at = append(at, best); i > 0 && at[i-1] < best; i-- {
			at[i] = at[i-1]
		}
		at[i] = best
	}
	s.sync.counted = at
	return at
}

// releaseConfirmed acknowledges what enough standbys have.
func (s *Server) releaseConfirmed(now cluster.Instant) {
	if len(s.sync.names) < s.sync.need || s.sync.need == 0 {
		return
	}
	done := s.counted(func(st *stream) cluster.LSN { return s.confirmed(st, now) })[s.sync.need-1]
	n := 0
	for n < len(s.sync.waiting) && s.sync.waiting[n].lsn <= done {
		n++
	}
	s.release(now, n, Acknowledged)
}

// confirmDue is when the oldest waiting commit will be confirmed if nothing comes
// between; 0 when nothing will.
func (s *Server) confirmDue() cluster.Instant {
	if len(s.sync.names) < s.sync.need || s.sync.need == 0 {
		return 0
	}
	w := s.sync.waiting[0]
	// As a position: the later a standby confirms, the smaller.
	const horizon = ^cluster.LSN(0)
	late := s.counted(func(st *stream) cluster.LSN {
		if !s.hears(st) {
			return 0
		}
		due := w.at.Add(2 * s.site.Tuning.Latency)
		if st.down != nil {
			due = max(due, st.begun).Add(st.down.Lag)
		}
		return horizon - cluster.LSN(due)
	})[s.sync.need-1]
	if late == 0 {
		return 0
	}
	return cluster.Instant(horizon - late)
}

func (s *Server) release(now cluster.Instant, n int, o Outcome) {
	for _, w := range s.sync.waiting[:n] {
		s.outcome(now, w.commit, o)
	}
	s.sync.waiting = slices.Delete(s.sync.waiting, 0, n)
}

func (s *Server) outcome(now cluster.Instant, c Commit, o Outcome) {
	s.site.commits[c-1].outcome = o
	s.site.tell(Happening{Kind: Settled, Server: s, At: now, Commit: c, Outcome: o})
}

// loseClients breaks every connection: who waited knows nothing.
func (s *Server) loseClients(now cluster.Instant) {
	if at := s.sync.firstWaiting(); at != 0 {
		s.dir.unacked = at - 1
	}
	s.release(now, len(s.sync.waiting), Lost)
	queue := s.sync.queue
	s.sync.queue = nil
	for _, q := range queue {
		s.outcome(now, q.commit, Lost)
	}
}
