package agent

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// tenureOf is a kept tenure as the decision sees it, and a recording; nil when this node
// has seen somebody lead since.
func tenureOf(m *Memory) *cluster.Tenure {
	t := m.Tenure
	if t == nil || m.Term > t.Term { // guard: resume_newest_term — S1, S4
		return nil
	}
	return &cluster.Tenure{Term: t.Term, TTL: t.TTL, Lists: t.Lists}
}

// restsOn is what a tenure is made of: while none of it changes there is nothing to do,
// which is nearly always.
type restsOn struct {
	term         cluster.Term
	ttl          time.Duration
	list, config int64 // their revisions
	sent, open   int
	next         bool
}

// keepTenure has what the next worker must know on disk, while a term is held that the
// store shows: a view before it may lack a list of the holder before this one.
func (l *Loop) keepTenure() []Effect {
	o := &l.obs
	leader := o.View.Value.Leader
	if o.Lease.Term == 0 || o.Lease.Resumed || !o.Settings.FailsafeMode || !o.View.Good() || leader == nil || leader.Term != o.Lease.Term {
		return nil
	}
	if !slices.ContainsFunc(l.decision.Actions, putsFailsafe) { // nobody wants it any more
		l.failsafe.next = nil
	}
	rests := restsOn{o.Lease.Term, o.Settings.TTL, o.View.Value.FailsafeRev, l.config.rev, l.failsafe.sent, len(o.Failsafe.Lists), l.failsafe.next != nil}
	if rests == l.tenureRests {
		return nil
	}
	l.tenureRests = rests
	t := &cluster.Tenure{Term: o.Lease.Term, TTL: o.Settings.TTL, Config: l.config.raw}
	may := append([]map[string]string{o.View.Value.Failsafe}, o.Failsafe.Lists...) // also none, in which this member is not
	if l.failsafe.next != nil {
		may = append(may, l.failsafe.next)
	}
	for _, list := range may {
		if !lists(t, list) {
			t.Lists = append(t.Lists, list)
		}
	}
	if old := l.seen.Tenure; old != nil && old.Term == t.Term && old.TTL == t.TTL && bytes.Equal(old.Config, t.Config) && sameLists(old, t) {
		return nil
	}
	l.seen.Tenure = t
	return l.persist()
}

func putsFailsafe(a election.Action) bool { _, puts := a.(election.PutFailsafe); return puts }

func lists(t *cluster.Tenure, members map[string]string) bool {
	return slices.ContainsFunc(t.Lists, func(m map[string]string) bool { return maps.Equal(m, members) })
}

// sameLists: as many as there are differ from each other.
func sameLists(a, b *cluster.Tenure) bool {
	return len(a.Lists) == len(b.Lists) && !slices.ContainsFunc(a.Lists, func(m map[string]string) bool { return !lists(b, m) })
}

// tenureHas: whoever reads this term's tenure finds the list in it, in what is on disk and
// in what is being written.
func (l *Loop) tenureHas(members map[string]string) bool {
	for _, t := range []*cluster.Tenure{l.tenure, l.seen.Tenure} {
		if t != nil && t.Term == l.obs.Lease.Term && !lists(t, members) {
			return false
		}
	}
	return true
}

// resume goes on under the term that the worker before this one kept.
func (l *Loop) resume() {
	o, t := &l.obs, l.seen.Tenure
	o.Self.Tenure = nil
	s, why := l.parse(t.Config)
	if s.TTL = t.TTL; why != "" || !s.FailsafeMode || s.Pause {
		return
	}
	l.config.settings, l.config.read, l.session.ttl = s, true, t.TTL
	o.Settings = s
	o.Lease = election.Lease{Term: t.Term, Resumed: true, Acquired: o.Now, Renewed: o.Guard.Deadline.Add(s.Margin(o.Guard.LastKill) - t.TTL)}
	l.failsafe = failsafeState{lists: outbox[map[string]string]{lost: t.Lists},
		records: outbox[*cluster.Durability]{lost: []*cluster.Durability{nil}}} // guard: resumed_asks_all — SAFETY 3, Failsafe
	l.deriveFailsafe()
	l.looks.wanted = true
	l.log.Warn("term resumed: the worker before this one led, and etcd cannot be read", "member", l.id.Name, "term", int64(t.Term))
}
