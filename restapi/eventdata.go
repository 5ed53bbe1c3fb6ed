package restapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// feed is what the goroutine that makes events remembers between two looks.
type feed struct {
	key      feedKey
	topology *cluster.Topology
	seen     map[string]sighting
	// positions are those told last.
	positions   map[string]cluster.LSN
	positionsAt cluster.Instant
	beatAt      cluster.Instant
}

// feedKey is all of a status that a topology is made from: while it stays the same
// nothing has changed.
type feedKey struct {
	revision int64
	primary  bool
	term     cluster.Term
	timeline cluster.Timeline
}

// sighting is when a member key was first seen as it is.
type sighting struct {
	revision int64
	at       cluster.Instant
}

// change is one change of the topology.
type change struct {
	name string
	data any
}

// update makes events of a status and returns how long nothing new can come of it. Changes
// are kept also while nobody listens: listeners that come back resume from them.
func (h *hub) update(f facts) time.Duration {
	var topology *cluster.Topology
	var changes []change
	if key := f.feedKey(); !f.View.At.Never() && (h.fed.topology == nil || key != h.fed.key) {
		topology = f.topology()
		changes = changesBetween(h.fed.topology, topology)
		h.fed.key, h.fed.topology = key, topology
		h.fed.see(f)
	}
	var positions, beat []byte
	heard := h.heard()
	if heard && h.fed.topology != nil && f.now.Sub(h.fed.positionsAt) >= positionsEvery {
		positions = h.fed.tellPositions(f)
	}
	if heard && f.now.Sub(h.fed.beatAt) >= beatEvery {
		h.fed.beatAt = f.now
		beat = render("heartbeat", "", f.heartbeat(h.fed.topology))
	}
	h.publish(topology, changes, positions, beat)
	wait := positionsEvery
	if !heard {
		wait = unheard
	}
	if left := f.LeaseUntil.Sub(f.now); f.primary() && left < wait {
		wait = max(left, time.Millisecond)
	}
	return wait
}

func (f facts) feedKey() feedKey {
	return feedKey{f.View.Value.Revision, f.primary(), f.Term, f.Node.Value.Timeline}
}

// topology is the view's, but for what this node knows better of itself: whether it may
// be written to at this moment.
func (f facts) topology() *cluster.Topology {
	t := f.View.Value.Topology(f.Scope)
	self, known := t.Member(f.Name)
	switch {
	case f.primary() && known:
		t.Leader = &cluster.TopologyLeader{Name: f.Name, Term: f.Term, Timeline: f.Node.Value.Timeline, Host: self.Host, Port: self.Port}
	case t.Leader != nil && t.Leader.Name == f.Name:
		t.Leader = nil
	}
	return &t
}

// leaderLost is the data of leader_lost.
type leaderLost struct {
	Name string       `json:"name"`
	Term cluster.Term `json:"term"`
}

// memberLost is the data of member_lost.
type memberLost struct {
	Name string `json:"name"`
}

// changesBetween lists what a listener must be told, the loss of the leader first. A
// first topology is no change: listeners get it whole.
func changesBetween(old, now *cluster.Topology) []change {
	if old == nil {
		return nil
	}
	var out []change
	if l := old.Leader; l != nil && (now.Leader == nil || now.Leader.Name != l.Name) {
		out = append(out, change{"leader_lost", leaderLost{l.Name, l.Term}})
	}
	if l := now.Leader; l != nil && (old.Leader == nil || *l != *old.Leader) {
		out = append(out, change{"leader", l})
	}
	for _, m := range now.Members {
		if before, there := old.Member(m.Name); !there || !m.Equal(before) {
			out = append(out, change{"member", m})
		}
	}
	for _, m := range old.Members {
		if _, there := now.Member(m.Name); !there {
			out = append(out, change{"member_lost", memberLost{m.Name}})
		}
	}
	return out
}

// see notes since when member keys are as they are.
func (fed *feed) see(f facts) {
	for name, m := range f.View.Value.Members {
		if last, there := fed.seen[name]; !there || last.revision != m.ModRevision {
			fed.seen[name] = sighting{m.ModRevision, f.now}
		}
	}
	maps.DeleteFunc(fed.seen, func(name string, _ sighting) bool {
		_, there := f.View.Value.Members[name]
		return !there
	})
}

// positionsJSON is the data of lsn.
type positionsJSON struct {
	End     string                  `json:"end"`
	Members map[string]positionJSON `json:"members"`
}

// positionJSON is how far one member is: a primary's end, what a standby has replayed.
type positionJSON struct {
	LSN string `json:"lsn"`
	// Lag is in bytes; absent on the leader, and while the end is not known.
	Lag *uint64 `json:"lag,omitempty"`
	// LagMS is the lag in time; known of this agent's own server only.
	LagMS *int64 `json:"lag_ms,omitempty"`
	// AgeMS is for how long this has been known.
	AgeMS int64 `json:"age_ms"`

	lsn cluster.LSN
	at  cluster.Instant
}

// tellPositions renders the positions; nil when none moved and the last were told less
// than a heartbeat ago.
func (fed *feed) tellPositions(f facts) []byte {
	all, end := fed.gather(f)
	moved := map[string]cluster.LSN{"": end}
	for name, at := range all {
		moved[name] = at.lsn
	}
	if maps.Equal(moved, fed.positions) && f.now.Sub(fed.positionsAt) < beatEvery {
		return nil
	}
	fed.positions, fed.positionsAt = moved, f.now
	out := positionsJSON{end.String(), map[string]positionJSON{}}
	for name, at := range all {
		at.LSN, at.AgeMS = at.lsn.String(), max(0, milliseconds(f.now.Sub(at.at)))
		if end.Known() && (fed.topology.Leader == nil || fed.topology.Leader.Name != name) {
			lag := at.lsn.Behind(end)
			at.Lag = &lag
		}
		if late, known := f.lagTime(); known && name == f.Name {
			ms := milliseconds(late)
			at.LagMS = &ms
		}
		out.Members[name] = at
	}
	return render("lsn", "", out)
}

// gather takes each member's newest known position: from its member key, from the primary's
// list of standbys where this is the primary, and of this node from its own server.
func (fed *feed) gather(f facts) (all map[string]positionJSON, end cluster.LSN) {
	all = map[string]positionJSON{}
	end = walEnd(f.View.Value)
	note := func(name string, lsn cluster.LSN, at cluster.Instant) {
		if _, member := f.View.Value.Members[name]; member && lsn.Known() && at >= all[name].at {
			all[name] = positionJSON{lsn: lsn, at: at}
		}
	}
	for name, m := range f.View.Value.Members {
		lsn := m.ReplayLSN
		if m.Role == cluster.RolePrimary {
			lsn = m.XlogLocation
		}
		note(name, lsn, fed.seen[name].at)
	}
	own := f.position()
	if f.Node.Good() && own.Mode == cluster.ModePrimary {
		note(f.Name, own.Write, own.At)
		for name, lsn := range own.Standbys {
			note(name, lsn, own.At)
		}
	} else if f.Node.Good() && own.Mode == cluster.ModeStandby {
		note(f.Name, own.Replay, own.At)
	}
	return all, max(end, own.Write, own.Latest)
}

// heartbeatJSON is the data of heartbeat.
type heartbeatJSON struct {
	Revision int64 `json:"revision"`
	// Leader and Term repeat the newest leader event.
	Leader string       `json:"leader,omitempty"`
	Term   cluster.Term `json:"term,omitempty"`
	// LeaseMS is what is left of the lease, where this agent holds it.
	LeaseMS int64 `json:"lease_ms_left,omitempty"`
	// ViewAgeMS is for how long the store has shown nothing new; StoreError why it
	// cannot be read.
	ViewAgeMS  int64  `json:"view_age_ms"`
	StoreError string `json:"store_error,omitempty"`
}

func (f facts) heartbeat(t *cluster.Topology) heartbeatJSON {
	out := heartbeatJSON{Revision: f.View.Value.Revision, LeaseMS: f.leaseLeft(), StoreError: f.View.Err}
	if !f.View.At.Never() {
		out.ViewAgeMS = max(0, milliseconds(f.now.Sub(f.View.At)))
	}
	if t != nil && t.Leader != nil {
		out.Leader, out.Term = t.Leader.Name, t.Leader.Term
	}
	return out
}

// render writes one event; id is empty for one that cannot be resumed from.
func render(name, id string, data any) []byte {
	text, err := json.Marshal(data)
	if err != nil { // a tag that has no JSON form
		text, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	var out bytes.Buffer
	out.WriteString("event: " + name + "\n")
	if id != "" {
		out.WriteString("id: " + id + "\n")
	}
	out.WriteString("data: ")
	out.Write(text)
	out.WriteString("\n\n")
	return out.Bytes()
}
