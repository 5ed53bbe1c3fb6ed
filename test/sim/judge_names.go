package sim

import (
	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// noteTold sees that a server is about to be told that its commits wait for nobody, or to
// be promoted as one whose commits do.
func (n *Node) noteTold(a election.Action) {
	switch a := a.(type) {
	case election.SetSync:
		if a.Names == "" {
			n.seen.waits = 0
		}
	case election.Promote:
		if n.seen.waits = 0; a.Names != "" {
			n.seen.waits = n.w.serverNow()
		}
	}
}

// noteNamed sees that names were proved to be in force.
func (n *Node) noteNamed(e agent.ServerDone) {
	if set, ok := e.Action.(election.SetSync); ok && e.Err == "" && set.Names != "" {
		n.seen.waits = n.w.serverNow()
	}
}

// serveNamed judges that a commit waits for standbys from when names are said to be in
// force, whatever becomes of the server: its file has them.
func (w *World) serveNamed(n *Node, acked pgfake.Ack) {
	if n.seen.waits != 0 && acked.At > n.seen.waits && !acked.Synchronous {
		w.fail("S2", "%s acknowledges a commit that no standby has confirmed, although names are in force", n.name)
	}
}
