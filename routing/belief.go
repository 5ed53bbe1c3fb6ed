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
}

// belief is what all sources together say. They speak of one store, so whoever has seen
// more of it is right.
type belief struct {
	topology *cluster.Topology
	revision int64
	// at is when a source that is not behind last said so.
	at cluster.Instant
}

// staleAfter is for how long news are acted upon, and after how long without any that
// count a store with lower revisions is taken for a new one.
const (
	staleAfter  = 3 * time.Second
	forgetAfter = 10 * time.Second
)

// take folds news in, and reports whether the leader has changed by that.
func (b *belief) take(n News, now cluster.Instant) (changed bool) {
	if n.Revision < b.revision {
		if now.Sub(b.at) < forgetAfter {
			return false // from a source that is behind
		}
	}
	b.revision, b.at = n.Revision, max(b.at, n.At)
	if n.Topology == nil {
		return false
	}
	before := b.leader()
	b.topology = n.Topology
	return before != b.leader()
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
