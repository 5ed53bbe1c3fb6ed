package sim

import (
	"testing"
	"time"
)

// TestAFaultThatEndsUndoesOnlyItself: two of a kind that overlap last until both are over.
func TestAFaultThatEndsUndoesOnlyItself(t *testing.T) {
	for kind, lasts := range map[string]func(w *World, n *Node) bool{
		"cut from etcd":       func(_ *World, n *Node) bool { return n.wire.cut },
		"cut from servers":    func(w *World, n *Node) bool { return !w.talk(n.i, 1) },
		"freeze worker":       func(_ *World, n *Node) bool { return n.worker.frozen },
		"freeze supervisor":   func(_ *World, n *Node) bool { return n.supervisor.frozen },
		"freeze server":       func(_ *World, n *Node) bool { return n.pg.Frozen() },
		"power off":           func(_ *World, n *Node) bool { return !n.up },
		"disk hangs":          func(_ *World, n *Node) bool { return n.diskHangs },
		"calls lost":          func(_ *World, n *Node) bool { return n.calls.loseCall > 0 },
		"etcd without leader": func(w *World, _ *Node) bool { return w.etcdDown },
		"pause":               func(w *World, _ *Node) bool { return w.stored().Pause },
	} {
		w, n := ledWorld(t, "")
		at := w.now
		w.plan([]fault{{at: at, kind: kind, lasts: 300 * time.Millisecond, exact: true, n: 20}, {at: at + s/10, kind: kind, lasts: s / 10, exact: true, n: 20},
			{at: at, kind: "slow wire", lasts: s / 10, exact: true, n: 1}})
		if w.runUntil(at + s/4); !lasts(w, n) {
			t.Errorf("%s: the end of the shorter one, or of another fault, has ended the longer one", kind)
		}
		if w.runUntil(at + s/2); lasts(w, n) {
			t.Errorf("%s: it goes on when both have ended", kind)
		}
	}
}

func TestAOneWayCutLetsTheOtherWayBeForAMoment(t *testing.T) {
	w, n := ledWorld(t, "")
	to := w.nodes[1]
	w.plan([]fault{{at: w.now, kind: "one-way cut", lasts: s, to: to.i, exact: true}})
	w.runUntil(w.now + 10*time.Millisecond)
	if w.carry(n.pg, to.pg) || !w.carry(to.pg, n.pg) || w.reach(n.pg, to.pg) || w.reach(to.pg, n.pg) {
		t.Error("what is sent on one way arrives, or on the other does not, or a connection is made")
	}
	if w.runUntil(w.now + s/2); w.carry(to.pg, n.pg) {
		t.Error("a connection carries more although nothing is acknowledged")
	}
	if w.runUntil(w.now + s); !w.carry(n.pg, to.pg) || !w.reach(to.pg, n.pg) {
		t.Error("the cut goes on")
	}
}
