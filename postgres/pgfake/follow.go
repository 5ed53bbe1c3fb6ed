package pgfake

import (
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TerminateStuck ends walsenders whose standby has something to confirm and will
// not have within patience, and names them.
func (s *Server) TerminateStuck(now cluster.Instant, patience func(member string) time.Duration) []string {
	s.site.Advance(now)
	var ended []string
	for _, st := range slices.Clone(s.proc.senders) {
		flushed := s.confirmed(st, now)
		slow := st.gate != nil && st.decided < now || !s.hears(st) || st.down != nil && 2*s.site.Tuning.Latency+st.down.Lag > patience(st.name)
		if flushed < s.dir.end && slow {
			ended = append(ended, st.name)
			s.closeSender(st, now)
		}
	}
	return ended
}

// Follow points the running standby at up, as postgres.Server.Follow does, which
// returns at until: a receiver that hangs on a dead host is ended after a while
// (trap 12).
func (s *Server) Follow(now cluster.Instant, up Upstream) (until cluster.Instant, err error) {
	s.site.Advance(now)
	s.dir.up = up
	if err := s.connect(now, false); err != nil {
		return now, err
	}
	s.readGate(now)
	s.proc.crashEnds = s.dir.crashEnds
	if s.proc.mode != cluster.ModeStandby {
		return now, nil
	}
	changed := s.proc.up != up
	s.proc.adopt(up)
	until = now.Add(s.site.Costs.Repoint.Base)
	if !changed {
		return until, nil
	}
	if st := s.proc.recv; st != nil {
		if !s.linked(st.up) || st.upGone || st.up.machine.frozen {
			if !s.site.traps.NoStuckReceiver {
				until = now.Add(s.site.Tuning.StuckPatience)
			}
		} else {
			until = now.Add(s.site.draw(s.site.Costs.Repoint))
		}
		s.endReceiver(now)
	}
	s.proc.tryAt = until
	return until, nil
}

// Reload puts what WriteUpstream wrote in force.
func (s *Server) Reload(now cluster.Instant) error {
	_, err := s.Follow(now, s.dir.up)
	return err
}
