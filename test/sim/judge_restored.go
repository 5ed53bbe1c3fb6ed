package sim

import (
	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// S4 after the store was set back. A node refuses what lies below what it has on disk,
// and acts on none of it. Who was away has less on disk than the backup, or none that
// tells the two apart, and may be led astray: it takes the lease by what it reads, and
// from then on nothing is promised (docs/safety.md, what is not covered).

// restoredJudge is the judge's memory of that.
type restoredJudge struct {
	// restored: the store was set back, and the operator has done nothing about it yet.
	restored bool
	// led: somebody has taken the lease since, or kept one that another had taken over, who
	// could not know; heir is who led when the store was set back.
	led  bool
	heir *Node
	// backup is the revision that it was set back to; paused is who had its mark then.
	backup int64
	paused *Node
	// astray: an invariant was violated after that. The run ends there.
	astray bool
}

// setBack is told when the store has just gone back to a backup; paused is whom it had
// let write on in a pause, nil for nobody.
func (w *World) setBack(paused *Node) {
	if paused != nil {
		paused.seen.marked = true
	}
	if !w.restored { // set back once more it is still who led before: whom the backup names may have done nothing yet
		w.heir = w.leads.node
	}
	w.restored, w.backup, w.paused = true, w.view().Revision, paused
	w.highest = 0 // S4 is from now on what each node must refuse, and the order of what comes
	w.leads.term, w.leads.node = 0, nil
	if l := w.view().Leader; l != nil { // nobody has taken it over
		w.leads.term = l.Term
		w.leads.node = w.named(l.Name)
	}
}

// believes judges what a node is about to do under a view of a store that was set back.
func (n *Node) believes(do agent.Do) {
	if !n.w.restored || !rests(do) {
		return
	}
	s, kept := n.worker.state(), &n.memory
	if s == nil || !s.View.Good() || s.View.Value.ClusterID != kept.ClusterID {
		return
	}
	v := &s.View.Value
	if v.Revision < kept.Revision || v.Leader != nil && v.Leader.Term < kept.Term {
		n.w.violated("S4", "%s acts (%T) on a view of revision %d, and has kept revision %d and term %d", n.name, do, v.Revision, kept.Revision, kept.Term)
	}
}

// rests: what rests on the view that the loop believes in, and makes or keeps a primary.
func rests(do agent.Do) bool {
	switch do := do.(type) {
	case agent.OnLease:
		return true
	case agent.OnJob:
		switch a := do.Action.(type) {
		case election.Promote:
			return true
		case election.StartServer:
			return a.Writable
		}
	}
	return false
}

// taken is told of every lease that is taken.
func (w *World) taken() { w.led = w.led || w.restored }

// kept is told when a node has written the leader key or the beat.
func (w *World) kept(n *Node) { w.led = w.led || w.restored && n != w.heir }

// vouched: the operator has seen to it that no old primary runs, and has the nodes forget.
// Terms begin anew, and who must have confirmed is what the backup says of it.
func (w *World) vouched() {
	w.restored, w.highest, w.last = false, 0, pgfake.Ack{}
}
