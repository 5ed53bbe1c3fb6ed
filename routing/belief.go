package routing

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// News is a topology as a source tells it, or with Topology nil the word that nothing has
// changed since revision Revision.
type News struct {
	Topology *cluster.Topology
	Revision int64
	// At is when the source had it.
	At cluster.Instant

	source string
}

// belief is what all sources together say. They speak of one store, so whoever has seen
// more of it is right; but of its own server an agent knows before the store does.
type belief struct {
	topology *cluster.Topology
	revision int64
	// term is the greatest of a leader, and since when the one of now leads.
	term  cluster.Term
	since cluster.Instant
	// at is when a source that is not behind last said so.
	at cluster.Instant
	// knew are the terms that each source has known a leader of.
	knew map[string]cluster.Term
}

const (
	// staleAfter is for how long news are acted upon.
	staleAfter = 3 * time.Second
	// forgetAfter is after how long without any that count a store with lower revisions is
	// taken for a new one.
	forgetAfter = 10 * time.Second
	// catchUp is how long a source may take to hear of a leader that another knows.
	catchUp = time.Second
)

// take folds news in, and reports whether the leader has changed by that.
func (b *belief) take(n News, now cluster.Instant) (changed bool) {
	if b.behind(n) && now.Sub(b.at) < forgetAfter {
		return false
	}
	b.revision, b.at = n.Revision, max(b.at, n.At)
	if n.Topology == nil {
		return false
	}
	if l := n.Topology.Leader; l != nil {
		b.term = l.Term
		b.know(n.source, l.Term)
	} else if b.leader() != "" && b.knew[n.source] < b.term && now.Sub(b.since) < catchUp {
		return false // not a loss: it has not heard of this leader yet
	}
	before := b.leader()
	b.topology = n.Topology
	if before == b.leader() {
		return false
	}
	b.since = now
	return true
}

// behind reports whether a source has seen less than what is known.
func (b *belief) behind(n News) bool {
	return n.Revision < b.revision || n.Topology != nil && n.Topology.Leader != nil && n.Topology.Leader.Term < b.term
}

func (b *belief) know(source string, term cluster.Term) {
	if b.knew == nil {
		b.knew = map[string]cluster.Term{}
	}
	b.knew[source] = term
}

// leader is the name of the leader, empty when there is none.
func (b *belief) leader() string {
	if b.topology == nil || b.topology.Leader == nil {
		return ""
	}
	return b.topology.Leader.Name
}

// fresh reports whether the belief may be acted upon.
func (b *belief) fresh(now cluster.Instant) bool {
	return b.topology != nil && now.Sub(b.at) <= staleAfter
}
