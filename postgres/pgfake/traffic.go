package pgfake

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Traffic are clients that write all the time to whatever server lets them: each
// commits Size bytes Every so often, at the same moments everywhere. Nothing is
// done per commit: the log of a server becomes longer when somebody looks. Under
// synchronous_standby_names commits are acknowledged as far as standbys confirm them.
type Traffic struct {
	Size  cluster.LSN
	Every time.Duration
}

// Ack is the newest commit of the traffic that a server has acknowledged; the zero
// value is none.
type Ack struct {
	log *branch
	// LSN is where its record ends, At when the client was told.
	LSN cluster.LSN
	At  cluster.Instant
	// Synchronous: standbys have confirmed it. Gated: its gate has, and decided that at
	// Decided; it may come to the client later, when the server was frozen between.
	Synchronous, Gated bool
	Decided            cluster.Instant
}

// served is how far the traffic of a server has come.
type served struct {
	until cluster.Instant
	last  Ack
}

// Acknowledges reports whether a client that has a connection would now be told
// that its commit is durable.
func (s *Server) Acknowledges() bool {
	m, p := &s.machine, &s.proc
	switch {
	case m.frozen || m.stalled || m.full || m.cramped || !m.on:
		return false
	case p.mode == cluster.ModePrimary:
		return true
	}
	return p.mode == cluster.ModeStopped && p.leftover != 0 && p.writable && m.busy
}

// Acked lets the traffic go on until now and gives its newest acknowledged commit.
func (s *Server) Acked(now cluster.Instant) Ack {
	s.serve(now)
	return s.served.last
}

// Keeps reports whether the durable log has what was acknowledged elsewhere.
func (s *Server) Keeps(a Ack) bool {
	return a.log == nil || s.dir.branch != nil && s.dir.branch.holds(s.dir.end, a.log, a.LSN)
}

// serve commits what clients wrote since the last call. Every change of the server
// comes after it, so until now the server was as it is.
func (s *Server) serve(now cluster.Instant) {
	from, t := s.served.until, &s.site.Traffic
	if now <= from {
		return
	}
	s.served.until = now
	if t.Every <= 0 || !s.Acknowledges() {
		return
	}
	every := cluster.Instant(t.Every)
	first, last := (from/every+1)*every, now/every*every
	if first <= last {
		s.appendRun(first, t, int64((last-first)/every)+1)
	}
	switch y := &s.sync; {
	case s.Gated():
		s.serveGated(now)
	case !s.proc.waits:
		if first <= last {
			s.served.last = Ack{log: s.dir.branch, LSN: s.dir.end, At: last, Decided: last}
		}
	case y.need == 0: // until the checkpointer reads that
	case len(y.names) >= y.need:
		done := s.counted(func(st *stream) cluster.LSN { return s.confirmed(st, now) })[y.need-1]
		done = min(done, s.dir.end)
		if a := &s.served.last; done > s.Log().Forked && (done > a.LSN || a.log != s.dir.branch) { // before the fork nothing was written here
			*a = Ack{log: s.dir.branch, LSN: done, At: now, Decided: now, Synchronous: true}
		}
	}
}

// appendRun writes n records of the traffic, the first of them at a time.
func (s *Server) appendRun(at cluster.Instant, t *Traffic, n int64) {
	s.parts()
	d := &s.dir
	d.end += cluster.LSN(n) * t.Size
	d.branch.head = d.end
	marks := d.branch.marks
	if i := len(marks) - 1; i >= 0 && marks[i].size == t.Size && marks[i].every == t.Every && marks[i].next() == at {
		marks[i].n += n
		marks[i].end = d.end
		return
	}
	d.branch.marks = append(marks, mark{at: at, end: d.end, size: t.Size, every: t.Every, n: n})
}
