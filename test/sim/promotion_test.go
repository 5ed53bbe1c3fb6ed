package sim

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestABackendThatCrashesInAPromotionLeadsNobodyAstray: the server recovers by itself as a
// primary of the timeline it was to leave. It is shown to nobody, and stopped; its member is
// made anew from the one that leads then.
func TestABackendThatCrashesInAPromotionLeadsNobodyAstray(t *testing.T) {
	w, lead := ledWorld(t, "")
	w.linger(500 * time.Millisecond)
	lead.crash()
	var next *Node
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
