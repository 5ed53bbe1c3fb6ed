package pgfake

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Gate is a client of a server that confirms its commits at once, as long as something
// lets it (SAFETY 4). It is a process that the world runs; here is its connection.
type Gate interface {
	// Confirms is the newest moment, now at most, at which the gate confirmed all that
	// it had been sent. It may be asked late: whoever changes what lets it confirm has
	// Acked called before.
	Confirms(now cluster.Instant) cluster.Instant
}

// gateLag is how long a record takes to the gate through the socket.
const gateLag = 100 * time.Microsecond

// WriteGate writes the name that commits wait for into the configuration; the next start
// or reload puts it in force.
func (s *Server) WriteGate(name string) { s.dir.gate = name }

// Gated reports whether commits wait for a gate now: its name is in force, and no
// standbys of a synchronous mode, which win over it.
func (s *Server) Gated() bool { return s.proc.waits && s.gate != "" && s.sync.need == 0 }

// readGate is a reload's part. To empty the name releases what waits for it, as any
// emptied names do (trap 2).
func (s *Server) readGate(now cluster.Instant) {
	s.gate = s.dir.gate
	s.takeNames(now)
}

// releaseAll is what becomes of commits that wait when nobody is to be waited for.
func (s *Server) releaseAll(now cluster.Instant) {
	if s.site.traps.NoReleaseOnEmpty || s.proc.mode != cluster.ModePrimary {
		return
	}
	s.release(now, len(s.sync.waiting), Acknowledged)
	if a := &s.served.last; s.site.Traffic.Every > 0 && s.Acknowledges() && (a.LSN < s.dir.end || a.log != s.dir.branch) {
		*a = Ack{log: s.dir.branch, LSN: s.dir.end, At: now, Decided: now}
	}
}

// ConnectGate is a gate that connects to its server, under a name, and streams.
func (s *Server) ConnectGate(now cluster.Instant, name string, g Gate) error {
	s.site.Advance(now)
	if err := s.connect(now, false); err != nil {
		return err
	}
	s.proc.senders = append(s.proc.senders, &stream{up: s, gate: g, name: name, begun: now, heard: now})
	return nil
}

// DropGate is the end of a gate's process: a server that runs sees its socket closed.
func (s *Server) DropGate(now cluster.Instant, g Gate) {
	s.site.Advance(now)
	for _, st := range s.proc.senders {
		if st.gate == g {
			st.downGone = true
		}
	}
	s.dropDeadSenders(now)
}

// gateState is postgres' gateIn.
func (s *Server) gateState() cluster.GateState {
	switch {
	case s.sync.need > 0 || !cluster.IsGate(s.gate): // a connection shows no more than the name
		return cluster.GateOff
	case s.gateStream() != nil:
		return cluster.GateConnected
	}
	return cluster.GateMissing
}

// gateStream is the connection of the gate whose name is in force; nil for none.
func (s *Server) gateStream() *stream {
	for _, st := range s.proc.senders {
		if st.gate != nil && st.name == s.gate && !st.downGone {
			return st
		}
	}
	return nil
}

// hearGate takes in what the gate has confirmed. lag is how long WAL is on its way to it.
func (s *Server) hearGate(st *stream, now cluster.Instant, lag time.Duration) {
	if st.downGone || st.upGone || s.machine.frozen {
		return
	}
	if at := st.gate.Confirms(now); at >= max(st.decided, st.begun) {
		st.heard, st.decided = max(st.heard, at), at
		st.known = max(st.known, s.available(at.Add(-lag)))
	}
}

// stuffGates has a server that is being frozen find its gate's last confirmations in the
// socket when it thaws: they were decided in time.
func (s *Server) stuffGates(now cluster.Instant) {
	for _, st := range s.proc.senders {
		if st.gate != nil {
			s.hearGate(st, now, 0)
		}
	}
}

// readGates is what a thawed server does first: it reads what lies in its sockets.
func (s *Server) readGates(now cluster.Instant) {
	for _, st := range s.proc.senders {
		if st.gate != nil && !st.downGone {
			st.heard = now
		}
	}
	if s.Gated() && s.Acknowledges() {
		s.serveGated(now)
	}
}

// gateConfirmed is what the gate in force has confirmed, and when it decided that.
func (s *Server) gateConfirmed(now cluster.Instant) (cluster.LSN, cluster.Instant) {
	st := s.gateStream()
	if st == nil {
		return 0, 0
	}
	s.hearGate(st, now, gateLag)
	return min(st.known, s.dir.end), st.decided
}

// serveGated acknowledges the traffic as far as the gate lets it.
func (s *Server) serveGated(now cluster.Instant) {
	done, decided := s.gateConfirmed(now)
	if a := &s.served.last; done > s.Log().Forked && (done > a.LSN || a.log != s.dir.branch) {
		*a = Ack{log: s.dir.branch, LSN: done, At: now, Gated: true, Decided: decided}
	}
}

// gateDue is when the oldest waiting commit will be confirmed by a gate that may go on;
// 0 when nobody can tell.
func (s *Server) gateDue() cluster.Instant {
	if st := s.gateStream(); st != nil && st.decided >= s.site.at {
		return max(s.sync.waiting[0].at, st.begun).Add(gateLag)
	}
	return 0
}

// releaseGated acknowledges what the gate has confirmed.
func (s *Server) releaseGated(now cluster.Instant) {
	done, _ := s.gateConfirmed(now)
	n := 0
	for n < len(s.sync.waiting) && s.sync.waiting[n].lsn <= done {
		n++
	}
	s.release(now, n, Acknowledged)
}
