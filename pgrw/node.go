package pgrw

import (
	"slices"
	"time"
)

// Role is what a server is to the cluster.
type Role string

// The roles. A server that is neither is not used.
const (
	RolePrimary Role = "primary"
	RoleReplica Role = "replica"
	RoleUnknown Role = "unknown"
)

// Node is one server as it is known at a moment.
type Node struct {
	// Name is the member's, or the address where no agent names it.
	Name string
	// Address is host:port.
	Address string
	Role    Role
	// Up is false for a server that failed since it last answered.
	Up bool
	// Timeline and LSN are as last seen: a primary's insert position, what a replica has replayed; 0 when unknown.
	Timeline uint32
	LSN      LSN
	// Lag is in bytes behind the primary's position as last seen, -1 when unknown.
	Lag int64
	// Staleness bounds the age of what is missing: everything committed longer ago is there. Negative when unknown.
	Staleness time.Duration
	// Tags are the member's.
	Tags map[string]string
	// InFlight counts statements and transactions of this program under way; Latency is their moving average.
	InFlight int64
	Latency  time.Duration
}

// Snapshot is the cluster at a moment.
type Snapshot struct {
	Nodes []Node
	// Source is where the roles come from: "events" or "cluster" of an agent, or "servers".
	Source string
	// Age is for how long the source has not been heard.
	Age time.Duration
}

// Primary is the primary; false when there is none.
func (s Snapshot) Primary() (Node, bool) {
	for _, n := range s.Nodes {
		if n.Role == RolePrimary {
			return n, true
		}
	}
	return Node{}, false
}

// Replicas are those with the role, up or not.
func (s Snapshot) Replicas() []Node {
	var all []Node
	for _, n := range s.Nodes {
		if n.Role == RoleReplica {
			all = append(all, n)
		}
	}
	return all
}

// sample is a position of the primary and when it was surely reached.
type sample struct {
	at  time.Time
	lsn LSN
}

// samplesKept bounds the memory of the primary's positions: at two a second, four
// minutes. A replica that is further behind has a staleness that is not known.
const samplesKept = 512

// track remembers where the primary's WAL ended, and when.
type track struct {
	samples []sample // by time; positions never fall within a timeline
}

// add takes a position that was read between two moments; before is the earlier one:
// what was committed before it lies before the position.
func (t *track) add(before time.Time, lsn LSN) {
	if n := len(t.samples); n > 0 && lsn < t.samples[n-1].lsn {
		t.samples = nil // another timeline: what was known says nothing
	}
	t.samples = append(t.samples, sample{before, lsn})
	if len(t.samples) > samplesKept {
		t.samples = append(t.samples[:0:0], t.samples[samplesKept/4:]...)
	}
}

// end is the newest position, 0 when there is none.
func (t *track) end() LSN {
	if n := len(t.samples); n > 0 {
		return t.samples[n-1].lsn
	}
	return 0
}

// staleness is how long ago the newest sample was that a replica has replayed;
// negative when it has replayed none that is remembered. PostgreSQL's own
// now() - pg_last_xact_replay_timestamp() grows on an idle primary, and a standby that
// lost its connection believes that it has everything: so it is counted here.
func (t *track) staleness(now time.Time, replayed LSN) time.Duration {
	for _, s := range slices.Backward(t.samples) {
		if s.lsn <= replayed {
			return max(0, now.Sub(s.at))
		}
	}
	return -1
}
