package sim

import (
	"fmt"
	"strings"

	"github.com/pgkeeper/pgkeeper/election"
)

// settled is L1: one primary, and everybody streams from it.
func (w *World) settled() bool {
	if w.astray {
		return true
	}
	w.site.Advance(w.serverNow())
	var lead *Node
	for _, n := range w.nodes {
		if n.serves() {
			if lead != nil {
				return false
			}
			lead = n
		}
	}
	if lead == nil || !w.flows(lead) {
		return false
	}
	for _, n := range w.nodes {
		if n != lead && !n.lost && !(w.mixed && (n.stuck() || n.pg.Diverged(lead.pg) && n.beyond(lead))) && (n.pg.Upstream() != lead.pg || n.pg.Diverged(lead.pg) || !n.followsSettled(n.reason() == election.ReasonFollowing)) {
			return false
		}
	}
	return true
}

// serves: its server takes writes, and says so.
func (n *Node) serves() bool {
	return n.pg.Acknowledges() && (n.leadsSettled() || n.worker != nil && n.worker.state().Writable(n.instant()))
}

// unsettled says in words what L1 lacks.
func (w *World) unsettled() string {
	var all []string
	for _, n := range w.nodes {
		if n.lost {
			all = append(all, n.name+": lost")
			continue
		}
		if n.byPatroni {
			all = append(all, n.name+": "+n.patroni.situation())
			continue
		}
		all = append(all, fmt.Sprintf("%s: %s", n.name, n.reason()))
	}
	return strings.Join(all, "; ")
}
