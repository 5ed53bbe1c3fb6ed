package sim

import (
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// S5: the last good copy is not destroyed.

// copyFacts is what the judge knows of a node's data.
type copyFacts struct {
	// aside is what was moved out of the way, until something else is in its place.
	aside holding
	// made is the system that this node's own initdb has made last.
	made string
}

// holding is what a data directory has.
type holding struct {
	system string
	log    pgfake.Log
	place  pgfake.Place
}

// has is what the node's data directory has; nothing when that is no finished one.
func (n *Node) has() holding {
	if n.pg.Disk().Data != cluster.DataValid {
		return holding{}
	}
	log := n.pg.Log()
	return holding{n.pg.SystemID(), log, n.pg.Place(log.Timeline)}
}

// replaces: a directory is about to be overwritten by a copy of another; proof is the
// primary that has proved its history where that other is a standby.
func (w *World) replaces(n *Node, source, what, proof string) {
	from := w.nodes[w.site.Server(source).Number()]
	w.tell(n, "%s from %s begins", what, from.name)
	if from.pg.Mode() != cluster.ModePrimary {
		from = w.lent(n, from, proof)
	}
	old := n.has()
	if what == "clone" {
		if old.system != "" {
			w.fail("S5", "the data of %s was not moved aside before its clone", n.name)
		}
		old = n.seen.copies.aside
		switch {
		case old.system == n.seen.copies.made && old.system != w.system: // it lost a bootstrap
			return
		case w.led: // the history that the store has forgotten: it is aside still, and the operator will look for it
			return
		}
	}
	if old.system == "" {
		return
	}
	if old.system != from.pg.SystemID() {
		w.fail("S5", "%s of %s over another system's data", what, n.name)
	}
	w.supersedes(n, from, old)
}

// supersedes judges whether a source's history is newer than what it is copied over, or
// the same and as far.
func (w *World) supersedes(n, from *Node, old holding) {
	switch log := from.pg.Log(); {
	case log.Timeline < old.log.Timeline:
		w.fail("S5", "%s has data of timeline %d, and it is replaced by that of %s, which is on %d", n.name, old.log.Timeline, from.name, log.Timeline)
	case log.Timeline == old.log.Timeline && from.pg.Place(log.Timeline) == old.place && log.End < old.log.End:
		w.fail("S5", "%s has data up to %s, and it is replaced by that of %s, which ends at %s", n.name, old.log.End, from.name, log.End)
	}
}

// movesAside: the data directory is about to be moved out of the way.
func (w *World) movesAside(n *Node) {
	old := n.has()
	if old.system == "" {
		return
	}
	n.seen.copies.aside = old
	if init := w.view().Initialize; init != nil && init.SystemID != "" && init.SystemID != old.system && old.system != n.seen.copies.made {
		w.fail("S5", "%s moves another system's data aside", n.name)
	}
}

// copied: there is something in the place of what was moved aside.
func (n *Node) copied() { n.seen.copies.aside = holding{} }

// destroys: an empty directory is about to be filled.
func (w *World) destroys(n *Node, what string) {
	if n.pg.Disk().Data == cluster.DataValid {
		w.fail("S5", "%s runs into the data of %s", what, n.name)
	}
}

// begins: a server is about to be started.
func (w *World) begins(n *Node) {
	if data := n.pg.Disk().Data; data == cluster.DataTombstone || data == cluster.DataDamaged {
		w.fail("S5", "a server is started in the data of %s, whose making was interrupted", n.name)
	}
}
