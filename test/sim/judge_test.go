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

func TestWhatReplacesDataMustBeOfANewerHistoryOrTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(h *holding)
		violated bool
	}{
		"the same history, with less":   {func(h *holding) { h.log.End -= 100 }, false},
		"the same history, and as much": {func(*holding) {}, false},
		"the same history, with more":   {func(h *holding) { h.log.End += 100 }, true},
		"a newer timeline":              {func(h *holding) { h.log.Timeline++ }, true},
		"an older timeline":             {func(h *holding) { h.log.Timeline-- }, false},
		"nothing is known of it":        {func(h *holding) { *h = holding{} }, false},
		"another system's data":         {func(h *holding) { h.system = "another" }, true},
		"its own, of a lost bootstrap":  {func(h *holding) { h.system = "made" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, lead := ledWorld(t, "")
			n := w.nodes[1]
			old := lead.has()
			c.change(&old)
			n.pg.KillAll(w.serverNow())
			if err := n.pg.MoveAside(1); err != nil {
				t.Fatal(err)
			}
			n.seen.copies.aside, n.seen.copies.made = old, "made"
			if w.replaces(n, lead.name, "clone", ""); (w.violation == "S5") != c.violated {
				t.Errorf("%q\n%s", w.violation, w.text)
			}
		})
	}
}

func TestInterruptedWorkIsNotStarted(t *testing.T) {
	w, lead := ledWorld(t, "")
	n := w.nodes[1]
	n.pg.KillAll(w.serverNow())
	if err := n.pg.MoveAside(1); err != nil {
		t.Fatal(err)
	}
	if _, err := n.pg.Clone(w.serverNow(), lead.name, "", "clone"); err != nil {
		t.Fatal(err)
	}
	n.pg.Interrupt(w.serverNow())
	if w.begins(n); w.violation != "S5" {
		t.Errorf("%q", w.violation)
	}
}
