package sim

import (
	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

func (n *Node) settings() cluster.Settings {
	if n.worker == nil || !n.worker.stepped {
		return cluster.Settings{}
	}
	return n.worker.loop.Settings()
}

// noteEffect sees what a node's loop is about to do.
func (n *Node) noteEffect(e agent.Effect) {
	n.believes(e.Do)
	switch do := e.Do.(type) {
	case agent.OnLease:
		n.seen.ttl, n.seen.called = do.Settings.TTL, n.w.now
		if _, races := do.Action.(election.Acquire); races {
			n.seen.lag = do.Settings.MaximumLagOnFailover
		}
	case agent.OnServer:
		if _, reloads := do.Action.(election.Reload); reloads { // nothing else brings a gate, and one under way may yet take it off
			n.noteGate(do.Settings)
		}
		n.noteTold(do.Action)
	case agent.OnFailsafe:
		n.seen.asked, n.seen.askedTTL = n.w.now, do.TTL
	case agent.OnJob:
		_, promotes := do.Action.(election.Promote)
		if n.seen.knew = n.seen.heard; !promotes || n.seen.unanswered != n.pg.Postmaster() {
			n.seen.begun = n.w.now
		}
		n.noteGate(do.Settings)
		n.noteTold(do.Action)
		if promotes && !do.Settings.CommitGate {
			n.seen.gate.ungated = n.pg.Postmaster()
		}
	}
}

// noteWaived: a mode that is not strict, or was turned off, has let commits wait for
// nobody. What standbys had confirmed before is from then on no safer than what is
// acknowledged after it (docs/safety.md, S2).
func (n *Node) noteWaived(e agent.ServerDone) {
	set, ok := e.Action.(election.SetSync)
	if s := n.settings(); ok && e.Err == "" && set.Names == "" && n.w.lastBy == n && !(s.SynchronousStrict && s.Synchronous()) {
		n.w.last.Synchronous = false
	}
}

// noteEvent sees what a node's loop is told.
func (n *Node) noteEvent(e agent.Event) {
	switch e := e.(type) {
	case agent.ViewSeen:
		if n.w.mixed {
			n.heardOf(&e.View)
		}
	case agent.FailsafeDone:
		n.noteFailsafe(e)
	case agent.JobDone:
		if e.Kind == election.JobPromote && e.Err != "" && e.MayWrite {
			n.seen.unanswered = n.pg.Postmaster()
		}
	case agent.ServerDone:
		n.noteWaived(e)
		n.noteNamed(e)
	case agent.LeaseDone:
		if e.Outcome == agent.Succeeded {
			n.noteLease(e)
		}
	}
}

// noteWish sees whether an operator had named this node, or forced it to the lead, when the
// store gave it the key: the wish may be withdrawn before the answer has come, if one does.
func (n *Node) noteWish(by election.Action) {
	f := n.seen.wish
	switch by.(type) {
	case election.Acquire:
	case election.Inherit:
		if !n.seen.acquires { // what gave it the lease gives it to its next worker
			return
		}
	default:
		f = n.w.wished()
	}
	n.seen.acquires = false
	n.seen.named = f.Member == n.name
	n.seen.forced = n.seen.named && f.Force
}

// wished is the key failover, empty when there is none.
func (w *World) wished() cluster.Failover {
	if f := w.view().Failover; f != nil {
		return *f
	}
	return cluster.Failover{}
}

// noteLease sees a call on the leader key that has succeeded.
func (n *Node) noteLease(done agent.LeaseDone) {
	w := n.w
	if x, s := n.worker.watched, n.worker.state(); (x == nil || !x.lost) && (s == nil || s.View.Good()) { // or it does not know what the store says now
		n.seen.marked = false
	}
	switch done.Action.(type) {
	case election.Renew:
		n.awake(n.seen.called)
		n.seen.held, n.seen.until = n.seen.called, max(n.seen.called+n.seen.ttl, n.seen.agreed)
	case election.Acquire, election.Inherit, election.Accept, election.FinishBootstrap:
		n.awake(n.seen.called)
		n.seen.held, n.seen.until, n.seen.agreed = n.seen.called, n.seen.called+n.seen.ttl, 0
		n.seen.how = done.Action
		w.taken()
		n.noteWish(done.Action)
		// A process that slept hears late of a term that came and went meanwhile: its lease
		// has ended, or promises took the key over after this call had begun.
		if done.Term <= w.highest && w.now <= n.seen.until && n.seen.called >= n.seen.deposed {
			w.fail("S4", "%s takes term %d after term %d", n.name, done.Term, w.highest)
		}
		w.highest = max(w.highest, done.Term)
		w.tell(n, "takes the lease, term %d", done.Term)
	}
}
