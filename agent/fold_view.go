package agent

import (
	"fmt"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// foldView takes a view of the store, unless the store was set back (S4).
func (l *Loop) foldView(e *ViewSeen) []Effect {
	o, v := &l.obs, &e.View
	if e.Read != 0 {
		l.reads.busy = false
	}
	if v.Revision < l.reads.past && e.Read < l.reads.pastAt { // guard: past_terms_are_shown — S4
		return nil
	}
	if why := l.setBack(v); why != "" { // guard: store_set_back — S4
		o.View, o.Refused = o.View.Failed(why, o.Now), true
		return nil
	}
	o.Refused = false
	if e.Read != 0 {
		o.Read = e.Read
	}
	if v.Beat == nil {
		o.Beat = election.Sighting{}
	} else if v.Beat.ModRevision != o.Beat.Revision {
		o.Beat = election.Sighting{Revision: v.Beat.ModRevision, At: o.Now}
	}
	switch sw := v.Switchover; {
	case sw == nil:
		o.Phase = election.PhaseSeen{}
	case sw.ID != o.Phase.ID || sw.Phase != o.Phase.Phase:
		o.Phase = election.PhaseSeen{ID: sw.ID, Phase: sw.Phase, Since: o.Now}
	}
	l.foldMembers(v)
	o.View = cluster.Seen(*v, o.Now)
	l.foldConfig(v.Config)
	l.foldRequests(v)
	return l.remember(v)
}

// setBack says why a view must not be believed: it is older than what this node
// once persisted (a restored backup), or of another etcd cluster.
func (l *Loop) setBack(v *cluster.View) string {
	seen := max(l.seen.Revision, l.obs.View.Value.Revision, l.reads.past)
	switch {
	case l.seen.ClusterID == 0:
		return ""
	case v.ClusterID != l.seen.ClusterID:
		return fmt.Sprintf("etcd cluster %x is not the one this node knows (%x): if etcd was rebuilt on purpose, remove the file memory.json from the state directory of every node", v.ClusterID, l.seen.ClusterID)
	case v.Leader != nil && v.Leader.Term < l.seen.Term: // guard: store_term_goes_back — S4
		return fmt.Sprintf("etcd shows leader term %d, this node has seen %d: it was restored from a backup; remove memory.json from the state directory of every node once no old primary can be running", v.Leader.Term, l.seen.Term)
	case v.Revision < seen:
		return fmt.Sprintf("etcd is at revision %d, this node has seen %d: it was restored from a backup; remove memory.json from the state directory of every node once no old primary can be running", v.Revision, seen)
	}
	return ""
}

// remember asks to persist what a reboot must not forget.
func (l *Loop) remember(v *cluster.View) []Effect {
	var term cluster.Term
	if v.Leader != nil {
		term = v.Leader.Term
	}
	if l.busy[LanePersist] || term <= l.seen.Term && v.Revision < l.seen.Revision+persistEvery && v.ClusterID == l.seen.ClusterID {
		return nil
	}
	l.seen.ClusterID, l.seen.Revision, l.seen.Term = v.ClusterID, v.Revision, max(term, l.seen.Term)
	return l.persist()
}

// foldConfig keeps the last good configuration when the stored one is bad. A worker that
// has just started has none: it goes by what is good of the stored one, for that is nearer
// to what is in force than what the cluster began with, and its predecessor may have a
// synchronous mode from there that nobody has turned off.
func (l *Loop) foldConfig(c *cluster.Config) {
	if c == nil || c.ModRevision == l.config.rev {
		return
	}
	l.config.rev, l.config.raw = c.ModRevision, c.Raw
	s, why := l.parse(c.Raw)
	if why == "" {
		if err := s.CheckTiming(); err != nil {
			why = err.Error()
		}
	}
	first := !l.config.read
	switch {
	case why == "" || why == l.config.problem:
	case first:
		l.log.Warn("stored configuration has bad values, only the rest is in force", "member", l.id.Name, "error", why)
	default:
		l.log.Warn("stored configuration refused, the last good one stays in force", "member", l.id.Name, "error", why)
	}
	l.config.problem, l.config.read = why, true
	if why == "" || first && s.CheckTiming() == nil {
		l.config.settings = s
	}
}
