package sim

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/election"
)

// ledWorld is a cluster of three at 10 s, whose pg1 leads.
func ledWorld(t *testing.T, settings string) (*World, *Node) {
	t.Helper()
	threads := &pool{}
	t.Cleanup(threads.close)
	w := story{settings: settings}.whole().world(threads, true)
	t.Cleanup(w.close)
	w.runUntil(10 * s)
	if !w.nodes[0].holds() || !w.settled() {
		t.Fatalf("at the beginning: %s", w.unsettled())
	}
	return w, w.nodes[0]
}

func TestTheNamedExceptionEndsWithARenewalAfterTheThaw(t *testing.T) {
	w, n := ledWorld(t, "")
	w.plan([]fault{{at: w.now, kind: "freeze agent", lasts: 100 * time.Millisecond, exact: true}})
	w.runUntil(w.now + 50*time.Millisecond)
	if !n.blind() || n.overslept() {
		t.Error("a frozen agent is not blind, or its lease has ended")
	}
	w.runUntil(w.now + 5*s)
	if n.blind() || !n.pg.Acknowledges() {
		t.Error("the exception goes on after the thaw, or the primary does not")
	}
}

func TestTheNamedExceptionIsOfTheFrozenNodeOnly(t *testing.T) {
	w, n := ledWorld(t, "")
	w.plan([]fault{{at: w.now, kind: "freeze agent", lasts: 20 * s, exact: true}})
	w.runUntil(w.now + 10*s)
	if w.violation != "" || w.excused != 1 || !n.overslept() {
		t.Fatalf("the overlap of a frozen node: %q, %d excused\n%s", w.violation, w.excused, w.text)
	}
	for _, other := range w.nodes[1:] {
		other.seen.until, other.seen.proved = 0, 0
	}
	if w.runUntil(w.now + s/10); w.violation != "S1" {
		t.Errorf("the other writes past its lease, and nobody minds\n%s", w.text)
	}
}

func TestActingOnAStoreBelowWhatIsKeptIsAViolation(t *testing.T) {
	w, n := ledWorld(t, "")
	w.runUntil(w.now + s)
	w.restored = true
	if w.runUntil(w.now + 5*s); w.violation != "" {
		t.Fatalf("a renewal by a view that is above what is kept: %s\n%s", w.violation, w.text)
	}
	n.memory.Revision = 1 << 40
	if w.runUntil(w.now + 5*s); w.violation != "S4" {
		t.Errorf("a renewal by a view that is below what is kept: %q", w.violation)
	}
}

func TestOnlyALeaseThatWasTakenExcusesAStoreThatWasSetBack(t *testing.T) {
	w, n := ledWorld(t, "")
	w.setBack(nil)
	if w.fail("S1", "a test"); w.violation != "S1" || w.astray {
		t.Error("nobody has taken a lease, and a violation is excused")
	}
	w.violation = ""
	n.noteEvent(agent.LeaseDone{Action: election.Acquire{}, Term: 1 << 40, Outcome: agent.Succeeded})
	if w.fail("S1", "a test"); w.violation != "" || !w.astray {
		t.Error("a lease was taken in a store that was set back, and a violation is not excused")
	}
}
