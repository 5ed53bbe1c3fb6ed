package sim

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// promoting is a world in which a primary has lost its power and the next is in the middle of its promotion.
func promoting(t *testing.T) (w *World, next *Node) {
	t.Helper()
	w, lead := ledWorld(t, "")
	w.linger(500 * time.Millisecond)
	lead.crash()
	for end := w.now + 30*s; next == nil && w.now < end; {
		w.runUntil(w.now + 10*time.Millisecond)
		for _, n := range w.nodes {
			if n.pg.InPromotion() {
				next = n
			}
		}
	}
	if next == nil {
		t.Fatal("nobody is promoted")
	}
	w.linger(0)
	w.site.Advance(w.serverNow())
	return w, next
}

// TestABackendThatCrashesInAPromotionEndsIt, and the server: it is started as a standby, and
// promoted again.
func TestABackendThatCrashesInAPromotionEndsIt(t *testing.T) {
	w, next := promoting(t)
	if next.pg.CrashBackend(w.serverNow()); next.pg.Mode() != cluster.ModeStopped {
		t.Fatalf("the server is %s", next.pg.Mode())
	}
	if w.runUntil(w.now + 30*s); w.violation != "" || !next.holds() || next.pg.Mode() != cluster.ModePrimary || next.pg.Log().Timeline == 1 {
		t.Errorf("%q: leads %t, a %s on timeline %d", w.violation, next.holds(), next.pg.Mode(), next.pg.Log().Timeline)
	}
}

// TestABackendThatCrashesInAPromotionLeadsNobodyAstray: a server whose own configuration
// (ALTER SYSTEM) has it recover by itself does so as a primary of the timeline it was to
// leave. It is shown to nobody, and stopped; its member is made anew from the one that leads
// then.
func TestABackendThatCrashesInAPromotionLeadsNobodyAstray(t *testing.T) {
	w, next := promoting(t)
	if err := next.pg.RecoversByItself(w.serverNow()); err != nil {
		t.Fatal(err)
	}
	next.pg.CrashBackend(w.serverNow())
	strayed := false
	for end := w.now + 30*s; w.now < end; {
		w.runUntil(w.now + time.Millisecond)
		strayed = strayed || next.pg.Mode() == cluster.ModePrimary && next.pg.Log().Timeline == 1
		if next.pg.Mode() == cluster.ModePrimary && next.pg.Log().Timeline == 1 && next.worker.state().Writable(next.instant()) {
			t.Fatal("/primary answers 200 on the old timeline")
		}
	}
	if !strayed || next.holds() || next.pg.Mode() != cluster.ModeStandby || next.pg.Asides() != 1 {
		t.Errorf("strayed %t, leads %t, a %s with %d directories aside; want it cloned", strayed, next.holds(), next.pg.Mode(), next.pg.Asides())
	}
}
