package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// losing draws, apart from everything else, the nodes that are lost once everything else is
// well again: less than half of them, in a quarter of the schedules.
func losing(seed uint64, nodes int) []int {
	rng := rand.New(rand.NewPCG(seed, 0x105e))
	if rng.IntN(4) > 0 {
		return nil
	}
	return rng.Perm(nodes)[:1+rng.IntN((nodes-1)/2)]
}

// without judges L1 while some nodes do not come back: the others are in order without
// them, unless none of these may lead.
func (w *World) without(lost []int) {
	for _, i := range lost {
		w.tell(w.nodes[i], "=> LOST")
		w.nodes[i].crash()
		w.nodes[i].lost = true
	}
	if !w.settles(patience) && !w.bereft() {
		w.fail("L1", "%s after nodes were lost: %s", patience, w.unsettled())
	}
	for _, i := range lost {
		w.nodes[i].lost = false
		w.tell(w.nodes[i], "<= LOST is over")
		w.nodes[i].power()
	}
}

// bereft: what makes a member a primary was lost, for every one that is left.
func (w *World) bereft() bool {
	return !slices.ContainsFunc(w.nodes, func(n *Node) bool { return !n.lost && !w.mayNotLead(n) })
}

// mayNotLead: n says that it may not, and is right.
func (w *World) mayNotLead(n *Node) bool {
	v := w.view()
	blank := func(n *Node) bool { return n.pg.Disk().Data != cluster.DataValid } // or its copy was not finished
	lost := func(name string) bool {
		return slices.ContainsFunc(w.nodes, func(n *Node) bool { return n.lost && strings.EqualFold(n.name, name) })
	}
	switch n.reason() {
	case election.ReasonWaitingForData, election.ReasonWaitingBootstrap: // there is a cluster, and n has nothing of it
		return blank(n) && (w.system != "" || v.Beat != nil)
	case election.ReasonPausedElsewhere: // an operator has to say that that one is dead
		return v.PausedAt != nil && lost(v.PausedAt.Name)
	case election.ReasonNotListed: // one that is may go on without it
		return v.Failsafe[n.name] == "" && slices.ContainsFunc(slices.Collect(maps.Keys(v.Failsafe)), lost)
	case election.ReasonTooFarBehind, election.ReasonOldTimeline: // of what was acknowledged, or of what was told, which may wait to be
		limit := cluster.LSN(max(n.settings().MaximumLagOnFailover, 0))
		return !w.last.Synchronous && !n.pg.Keeps(w.last) || v.Status != nil && n.pg.Shares(w.published)+limit < v.Status.Optime
	case election.ReasonBetterCandidate: // which it cannot take from one that may not either, since its own is of another history
		return slices.ContainsFunc(w.nodes, func(m *Node) bool {
			return !m.lost && m.reason() != election.ReasonBetterCandidate && w.mayNotLead(m) && n.pg.Diverged(m.pg)
		})
	case election.ReasonTooFewReports:
		return slices.ContainsFunc(v.Durability.Asking(), func(r cluster.Rule) bool {
			left := 0
			for _, m := range w.nodes {
				if r.IsCopy(m.name) && !m.lost && !blank(m) {
					left++
				}
			}
			return left < r.Reports()
		})
	}
	return false
}
