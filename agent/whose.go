package agent

import "github.com/pgkeeper/pgkeeper/cluster"

// Whose says by whose promotion the timeline began that this data is on. Agents reserve
// the numbers of timelines, so that none means two histories. A Patroni member takes the
// next one that it has not heard of: after an agent that led for a moment, or one whose
// standbys were cut off from it, that may be the very number which this data is on. The
// two histories begin at one position, and nothing in PostgreSQL tells them apart: a
// standby would stream on from where it is, over a gap that nobody sees.
type Whose struct {
	Timeline cluster.Timeline `json:"timeline"`
	Member   string           `json:"member"`
}

// noteWhose remembers it, and finds out that the timeline has another history than the one
// that this data has. A timeline is one member's for as long as it is the newest: whoever
// leads after that one has begun another.
func (l *Loop) noteWhose() []Effect {
	o := &l.obs
	own, leader := o.Node.Value.Timeline, o.View.Value.Leader
	if own == 0 || leader == nil || o.Self.Strayed || l.seen.Whose == (Whose{own, leader.Name}) || !o.View.Good() || !o.Node.Good() || o.Looking || !o.View.Value.HasPatroni() {
		return nil
	}
	m, known := o.View.Value.LeaderMember()
	told := known && m.RunsPrimary() && m.Timeline == own
	switch {
	case !told && !(own > l.seen.Whose.Timeline && streamsFrom(&o.Node.Value, &m)): // its key may never come to tell of it
		return nil
	case l.seen.Whose.Timeline == own && !m.IsKeeper(): // guard: timeline_of_two — S8
		l.log.Warn("this data is on a timeline that the leader has begun anew", "member", l.id.Name, "timeline", uint32(own), "holder", m.Name, "error", "it was begun by "+l.seen.Whose.Member)
		return l.stray(true)
	}
	l.seen.Whose = Whose{own, m.Name}
	return l.persist()
}

// streamsFrom: this standby has its newest timeline from that member.
func streamsFrom(node *cluster.NodeState, m *cluster.Member) bool {
	host, port, ok := m.Address()
	r := node.Receiver
	return ok && r != nil && r.Host == host && r.Port == port && r.Timeline == node.Timeline
}
