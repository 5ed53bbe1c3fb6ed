package postgres

import (
	"context"
	"fmt"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// receivedTimeline remembers on which timeline a standby received its newest WAL:
// the server forgets it with the receiver.
type receivedTimeline struct {
	started  string // postmaster start it belongs to
	timeline cluster.Timeline
	lsn      cluster.LSN
	// asked is the answer of IDENTIFY_SYSTEM and the replay position it was for.
	asked   cluster.Timeline
	askedAt cluster.LSN
}

// fillTimeline finds the timeline of n.Position and its history. A primary's is
// in the name of the file it writes. A standby's is its receiver's; without a
// receiver, it is asked over the replication protocol, which alone knows what is
// replayed: pg_control lags behind until the next restart point. That second
// question costs a connection, so it is asked once per replay position.
func (s *Server) fillTimeline(ctx context.Context, n *cluster.NodeState, r *reader) error {
	onDisk := n.Timeline
	if n.Mode == cluster.ModePrimary {
		n.Timeline = r.timeline(colWalFile, 16)
		if r.err != nil {
			return r.err
		}
	} else {
		n.Timeline = max(n.Timeline, s.standbyTimeline(ctx, n))
	}
	if n.Timeline == onDisk && (onDisk <= 1 || n.TimelineHistory != nil) {
		return nil // the directory's history, as it was read a moment ago
	}
	return s.owner.do(func() (err error) {
		n.TimelineHistory, err = s.timelineHistory(n.Timeline)
		return err
	})
}

func (s *Server) standbyTimeline(ctx context.Context, n *cluster.NodeState) cluster.Timeline {
	s.mu.Lock()
	known := s.received
	s.mu.Unlock()
	if known.started != n.PostmasterTime {
		known = receivedTimeline{started: n.PostmasterTime}
	}
	if n.Receiver != nil && n.Receiver.Timeline != 0 {
		known.timeline, known.lsn = n.Receiver.Timeline, n.ReceiveLSN
	} else if known.asked == 0 || known.askedAt != n.ReplayLSN {
		replayed, err := s.identifyLocal(ctx)
		if err != nil {
			// pg_control and what was received are lower bounds; a position that is
			// believed too old loses a race, it never wins one wrongly.
			s.o.Log.Debug("replayed timeline is not known", "error", err)
		} else {
			known.asked, known.askedAt = replayed, n.ReplayLSN
		}
	}
	s.mu.Lock()
	s.received = known
	s.mu.Unlock()
	// What was received belongs to the receiver's timeline only while nothing
	// newer was received by another one.
	if known.timeline != 0 && n.ReceiveLSN >= known.lsn {
		return max(known.timeline, known.asked)
	}
	return known.asked
}

// identifyLocal asks our own server for the timeline it replays.
func (s *Server) identifyLocal(ctx context.Context) (cluster.Timeline, error) {
	config, where, err := s.localConfig(s.o.Superuser, map[string]string{"replication": "true"})
	if err != nil {
		return 0, err
	}
	info, err := s.identify(ctx, config, s.o.Superuser, where)
	if err != nil {
		return 0, fmt.Errorf("identify our own server: %w", err)
	}
	return info.Timeline, nil
}
