package pgrw

import (
	"context"
	"fmt"
	"time"
)

// WaitPrimary waits until a primary is known.
func (c *Cluster) WaitPrimary(ctx context.Context) (Node, error) {
	for {
		v := c.now.Load()
		if v.primary != nil {
			n, _ := c.Topology().Primary()
			return n, nil
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return Node{}, fmt.Errorf("%w: %w", ErrNoPrimary, ctx.Err())
		case <-c.ctx.Done():
			return Node{}, ErrClosed
		}
	}
}

// Topology is what is known now.
func (c *Cluster) Topology() Snapshot {
	v := c.now.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Snapshot{Source: v.source, Age: time.Since(c.heardAt)}
	if v.source == fromServers {
		s.Age = 0
		for _, p := range c.probes {
			if age := time.Since(p.at); p.ok && (s.Age == 0 || age < s.Age) {
				s.Age = age
			}
		}
	}
	for _, seat := range v.all {
		s.Nodes = append(s.Nodes, c.node(v, seat))
	}
	return s
}

// node describes a server; c.mu is held.
func (c *Cluster) node(v *view, s *seated) Node {
	n := s.node()
	n.Lag, n.Staleness = c.behind(v, s)
	return n
}

// node is what costs nothing to know.
func (s *seated) node() Node {
	return Node{
		Name: s.name, Address: s.address, Role: s.role, Up: !s.down.Load(), Tags: s.tags,
		Timeline: s.timeline.Load(), LSN: LSN(s.lsn.Load()), Lag: -1, Staleness: -1,
		InFlight: s.inFlight.Load(), Latency: time.Duration(s.latency.Load()),
	}
}

// behind is how far a replica is behind, in bytes and in time; negative when it is not
// known, as of one that has not proved to be on the primary's timeline: the numbers of a
// branch that was left do not compare. c.mu is held.
func (c *Cluster) behind(v *view, s *seated) (int64, time.Duration) {
	end, at := c.track.end(), LSN(s.lsn.Load())
	if end == 0 || at == 0 || v.primary != nil && s.timeline.Load() < v.primary.timeline.Load() {
		return -1, -1
	}
	return max(0, int64(end)-int64(at)), c.track.staleness(time.Now(), at)
}
