package sim

import (
	"math/rand/v2"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// losing draws, apart from everything else, the node that is lost once everything else is
// well again, in a quarter of the schedules: by number from 1, 0 for none.
func losing(seed uint64, nodes int) int {
	rng := rand.New(rand.NewPCG(seed, 0x105e))
	if rng.IntN(4) > 0 {
		return 0
	}
	return 1 + rng.IntN(nodes)
}

// without judges L1 while a node does not come back: the others are in order without it,
// unless none of them may lead.
func (w *World) without(n *Node) {
	w.tell(n, "=> LOST")
	n.crash()
	w.down = n
	if !w.settles(patience) && !w.bereft() {
		w.fail("L1", "%s without %s: %s", patience, n.name, w.unsettled())
	}
	w.down = nil
	w.tell(n, "<= LOST is over")
	n.power()
}

// bereft: what makes a member a primary is with the one that is lost, for every other.
func (w *World) bereft() bool {
	return !slices.ContainsFunc(w.nodes, func(n *Node) bool { return n != w.down && !w.mayNotLead(n) })
}

// mayNotLead: n says that it may not, and is right.
func (w *World) mayNotLead(n *Node) bool {
	v := w.view()
	blank := func(n *Node) bool { return n.pg.Disk().Data != cluster.DataValid } // or its copy was not finished
	switch n.reason() {
	case election.ReasonWaitingForData, election.ReasonWaitingBootstrap: // there is a cluster, and n has nothing of it
		return blank(n) && (w.system != "" || v.Beat != nil)
	case election.ReasonPausedElsewhere: // an operator has to say that that one is dead
		return v.PausedAt != nil && v.PausedAt.Name == w.down.name
	case election.ReasonNotListed: // that one may go on without it
		return v.Failsafe[w.down.name] != "" && v.Failsafe[n.name] == ""
	case election.ReasonTooFarBehind, election.ReasonOldTimeline:
		return !w.last.Synchronous && !n.pg.Keeps(w.last)
	case election.ReasonBetterCandidate: // which it cannot take from one that may not either, since its own is of another history
		return slices.ContainsFunc(w.nodes, func(m *Node) bool {
			return m != w.down && m.reason() != election.ReasonBetterCandidate && w.mayNotLead(m) && n.pg.Diverged(m.pg)
		})
	case election.ReasonTooFewReports:
		return slices.ContainsFunc(v.Durability.Asking(), func(r cluster.Rule) bool {
			return slices.ContainsFunc(w.nodes, func(n *Node) bool { return n != w.down && r.IsCopy(n.name) && blank(n) })
		})
	}
	return false
}
