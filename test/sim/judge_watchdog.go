package sim

import (
	"time"

	"github.com/pgkeeper/pgkeeper/guard"
)

// What a watchdog promises (docs/safety.md, The watchdog): where it is armed, no process has
// to be awake for the server to end before its lease can pass on. So the named exception of
// a frozen agent is not granted there, unless the kernel was frozen too: a machine that
// stands still as a whole is not reset while it does, and may go on after its lease.

// leashed: this node's watchdog was armed by the guard that it has, or had when it froze,
// and has counted without a break since. One that could not be set since then bites when it
// was set to, and the lease may have been made shorter.
func (n *Node) leashed() bool {
	d := n.dog
	return d != nil && d.running && d.by != nil && d.by == n.guard && !d.stood && !d.failed
}

// unleashed: a server begins to write without the watchdog that its member's file requires,
// and did when the job began that brings it there. In a pause there is none (S6).
func (n *Node) unleashed() bool {
	d, g := n.dog, n.guard
	return d != nil && g != nil && d.local.Mode == string(guard.WatchdogRequired) && d.changed < n.seen.begun && d.by != g && !g.model.Status().Paused
}

// judge asks whether there is a reason to reset the machine, before it is.
func (d *watchdog) judge() {
	n, g := d.n, d.n.guard
	if g == nil {
		return
	}
	st := g.model.Status()
	switch now := time.Duration(n.instant()); {
	case st.Paused && !d.failed && !d.broken && !d.again() && (g == d.by || n.worker != nil && !n.worker.frozen && !g.frozen && st.Watchdog != nil):
		n.w.fail("S6", "the machine of %s is reset in a pause", n.name)
	case g != d.by: // left running by a guard that was killed: nobody has yet seen that nothing is left
	case g.frozen || d.failed:
	case st.Server == nil || !st.Server.Writable:
		n.w.fail("L1", "the machine of %s is reset although nothing on it may write", n.name)
	case st.Margin >= worthIt && now < st.Deadline && d.unit <= 1:
		n.w.fail("L1", "the machine of %s is reset %s before its guard would stop the server", n.name, st.Deadline-now)
	}
}

// again: it could not be opened a moment ago, and its guard has yet to try again.
func (d *watchdog) again() bool {
	return d.refused != 0 && d.n.w.now-d.refused < 1100*time.Millisecond
}

// worthIt is the least margin with which a watchdog bites after the deadline, whatever its
// safety margin: under a lease that was made shorter while it was armed it bites earlier, and
// so may one that takes no single seconds, after a slow renewal. It is that of worthItFrom.
const (
	worthIt     = 1650 * time.Millisecond
	worthItFrom = 17 * time.Second
)
