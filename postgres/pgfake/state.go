package pgfake

import "github.com/pgkeeper/pgkeeper/cluster"

// What a judge may know of a server at any time, without asking it.

// Mode is what the server is, even when it does not answer.
func (s *Server) Mode() cluster.Mode { return s.proc.mode }

// InPromotion reports whether the server is in the middle of its promotion, without
// standby.signal.
func (s *Server) InPromotion() bool {
	return s.proc.promoting != 0 && s.proc.unlinks == 0 && s.proc.mode == cluster.ModeStandby
}

// Crashes is how often a backend has crashed under the present postmaster.
func (s *Server) Crashes() int { return s.proc.crashes }

// Frozen reports whether its processes are stopped.
func (s *Server) Frozen() bool { return s.machine.frozen }

// Upstream is the server it streams from as far as it knows, nil for none.
func (s *Server) Upstream() *Server {
	if s.proc.recv == nil {
		return nil
	}
	return s.proc.recv.up
}

// Told is whom a running server was told to stream from.
func (s *Server) Told() Upstream { return s.proc.up }

// SystemID is its data's; empty without data.
func (s *Server) SystemID() string { return s.dir.systemID }

// Log is where a server's durable log ends, and where its newest timeline left
// the one before. Claimed is 0, or the one that it left by its history file, when it never
// was on that: it had gone past its beginning when it took it for its goal.
type Log struct {
	Timeline, Parent, Claimed cluster.Timeline
	Forked, End               cluster.LSN
}

// Log tells how far the durable log goes.
func (s *Server) Log() Log {
	b := s.dir.branch
	if b == nil {
		return Log{}
	}
	l := Log{Timeline: b.timeline, Forked: b.from, End: s.dir.end}
	if b.parent != nil {
		l.Parent = b.parent.timeline
	}
	if at, left := b.history.SwitchOf(l.Parent); left && at < b.from {
		l.Claimed = b.history[len(b.history)-1].Timeline
	}
	return l
}

// Place is a timeline as one primary wrote it; its number may mean another to others.
type Place struct{ log *branch }

// Place is that of a number in the history of this server; nowhere when it has none.
func (s *Server) Place(number cluster.Timeline) Place {
	for b := s.dir.branch; b != nil; b = b.parent {
		if b.timeline == number {
			return Place{b}
		}
	}
	return Place{}
}

// Shares is how far the durable log is one with what was written at a place: all of it,
// or up to where the two part. Nothing is known of what was written nowhere.
func (s *Server) Shares(p Place) cluster.LSN {
	switch {
	case s.dir.branch == nil:
		return 0
	case p.log == nil:
		return s.dir.end
	}
	return s.dir.branch.shares(s.dir.end, p.log)
}

// Postmaster is the pid that postmaster.pid names while the server runs; 0 for
// none, whatever backends are left.
func (s *Server) Postmaster() int { return s.proc.pid }
