package sim

import (
	"syscall"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// S6: paused means paused. In a pause nothing is done with PostgreSQL but what an operator
// asks of a member by its name: to restart, or to be made anew. A configuration that he
// changes is brought to servers that run, and has none of them follow another. The guard
// does nothing by itself once it was told of the pause; until the store holds the mark of
// a primary, that one has its deadline.

// untouched judges what a node's loop is about to do with its server, whatever the lane.
func (n *Node) untouched(do agent.Do) {
	switch do.(type) {
	case agent.OnServer, agent.OnJob, agent.OnFence:
	default:
		return
	}
	if !n.paused() {
		return
	}
	switch do := do.(type) {
	case agent.OnFence:
		if !n.late() {
			n.w.fail("S6", "%s fences its server in a pause", n.name)
		}
	case agent.OnJob:
		if !n.asked(do.Action) {
			n.w.fail("S6", "%s does %s in a pause, and nobody has asked it to", n.name, election.KindOf(do.Action))
		}
	case agent.OnServer:
		if _, configured := do.Action.(election.Reload); !configured || n.repoints(do.Upstream) {
			n.w.fail("S6", "%s does %T in a pause", n.name, do.Action)
		}
	}
}

// paused: the node's loop knows of a pause; before it has read the store, its guard does,
// which may be frozen and tell it nothing, or its memory, where it was written down in time.
func (n *Node) paused() bool {
	s := n.worker.state()
	switch {
	case s == nil:
		return false
	case s.View.At.Never():
		return n.guard != nil && n.guard.model.Status().Paused && (n.memory.Paused || !n.guard.frozen)
	}
	return s.Settings.Pause
}

// late: the guard should have stopped the server by a deadline that no pause has lifted;
// or the server is none of this guard's, and has ended or is about to, with its own, of
// which the loop has yet to hear.
func (n *Node) late() bool {
	if n.guard == nil || n.guard.dead {
		return true
	}
	st := n.guard.model.Status()
	return st.Server == nil || !st.Paused && st.Deadline != 0 && n.instant() >= cluster.Instant(st.Deadline)
}

// asked: an operator wants this member to do that.
func (n *Node) asked(a election.Action) bool {
	var kind cluster.RequestKind
	switch a.(type) {
	case election.Restart:
		kind = cluster.RequestRestart
	case election.Clone:
		kind = cluster.RequestReinitialize
	default:
		return false
	}
	for _, r := range n.worker.state().View.Value.Requests {
		if r.Member == n.name && r.Kind == kind {
			return true
		}
	}
	return false
}

// repoints: a reload has the standby follow somebody else.
func (n *Node) repoints(to *election.Upstream) bool {
	return to != nil && to.Host != "" && n.pg.Mode() == cluster.ModeStandby && n.pg.Told().Host != to.Host
}

// stops: the guard is about to signal its server. One that was told of a pause does so
// only for a worker's job, which is judged, to end a stop that was begun (of a server that is
// frozen it sees nothing until it kills it), or to end what a
// postmaster has left. The signal to promote is part of a job that was judged too, however
// long a frozen guard has kept it.
func (g *guardProcess) stops(sig syscall.Signal) {
	if sig == syscall.SIGUSR1 {
		return
	}
	n := g.n
	paused, pid := g.model.Status().Paused, n.pg.Postmaster()
	if !paused && sig == syscall.SIGQUIT {
		g.quits = pid
	}
	if !paused || pid == 0 || sig == syscall.SIGKILL && pid == g.quits || n.pg.Mode() == cluster.ModeStopping || n.worker != nil && n.worker.ends[agent.LaneJob] != nil {
		return
	}
	g.w.fail("S6", "the guard of %s stops its server in a pause", n.name)
}
