package election

import (
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestTheMarkOfAPauseOutlivesAServerThatMayWrite: nobody elects while a member's
// mark stands, so it takes it back only once its server provably does not write,
// also a server that no guard knows of.
func TestTheMarkOfAPauseOutlivesAServerThatMayWrite(t *testing.T) {
	for mode, back := range map[cluster.Mode]bool{
		cluster.ModeUnknown: false, cluster.ModeStarting: false, cluster.ModePrimary: false, cluster.ModeStopping: false,
		cluster.ModeStopped: true, cluster.ModeStandby: true,
	} {
		o := vacant(lsn, mark("a"), func(o *Observation) {
			o.Guard.Running, o.Guard.Instance, o.Guard.Writable = false, "", false
			o.Node.Value.Mode = mode
		})
		taken := false
		for _, a := range Decide(&o).Actions {
			if p, ok := a.(PutPausedPrimary); ok && p.Name == "" {
				taken = true
			}
		}
		if taken != back {
			t.Errorf("a server that is %s: the mark is taken back: %t, want %t", mode, taken, back)
		}
	}
}
