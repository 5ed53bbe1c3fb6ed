package sim

import (
	"math/rand/v2"
	"time"

	"github.com/pgkeeper/pgkeeper/guard"
)

// Watchdogs of members, and what goes wrong with them. They are drawn apart from all else,
// whose seeds give the same faults with and without them.

const (
	watchdogFails   = "watchdog fails"
	watchdogChanged = "watchdog changed"
)

func init() {
	deeds[watchdogFails] = breakWatchdog
	deeds[watchdogChanged] = changeWatchdog
}

// kennel is how one member's file sets its watchdog up, and what device it has.
type kennel struct {
	mode   guard.WatchdogMode
	margin time.Duration
	unit   int
	broken bool // from the beginning
}

// watchdogKinds are what hits such clusters beside the rest: what freezes agents, what has
// one armed and disarmed, and what keeps a guard from a proof.
var watchdogKinds = []string{"freeze agent", "freeze agent", "freeze agent", "freeze agent", "freeze agent and gate", "suspend machine", "freeze guard", "freeze worker", "freeze server",
	watchdogFails, watchdogFails, watchdogFails, watchdogChanged, watchdogChanged, "kill guard", "kill guard", "kill agent", "freeze supervisor", "stuck backend", "stuck backend",
	"kill server", "disk hangs", "isolated", "cut from etcd", "power off", "pause", "switchover", "agent stopped", "ttl changed"}

// watching gives the members of a quarter of the schedules watchdogs, one of them at least
// without requiring it: under a short lease none can be armed, and nobody else would lead.
func watching(seed uint64, nodes, index int) (kennels []kennel, faults []fault) {
	rng := rand.New(rand.NewPCG(seed, 0xd0935))
	if rng.IntN(4) > 0 {
		return nil, nil
	}
	modes := []guard.WatchdogMode{guard.WatchdogOff, guard.WatchdogAutomatic, guard.WatchdogAutomatic, guard.WatchdogRequired, guard.WatchdogRequired}
	for range nodes {
		kennels = append(kennels, kennel{mode: modes[rng.IntN(len(modes))], margin: []time.Duration{5 * time.Second, -1, 0}[rng.IntN(3)],
			unit: []int{1, 1, 1, 2, 60}[rng.IntN(5)], broken: rng.IntN(6) == 0})
	}
	kennels[rng.IntN(nodes)].mode = guard.WatchdogAutomatic
	for i := range 2 + rng.IntN(4) {
		f := fault{index: index + i, kind: watchdogKinds[rng.IntN(len(watchdogKinds))], node: rng.IntN(nodes), to: 3 * rng.IntN(2), n: 1 + rng.IntN(50)}
		f.at = 5*time.Second + time.Duration(rng.Int64N(int64(45*time.Second)))
		f.lasts = time.Duration(rng.Int64N(int64([]time.Duration{2 * time.Second, 20 * time.Second, 50 * time.Second}[rng.IntN(3)])))
		switch {
		case i == 0 && rng.IntN(2) == 0: // of a primary, for longer than a lease lasts: what they are there for
			f.kind, f.to = "freeze agent", 0
			f.at, f.lasts = f.at/2+4*time.Second, 20*time.Second+f.lasts/2
		case i > 0 && rng.IntN(2) == 0:
			f.at = faults[i-1].at + time.Duration(rng.Int64N(int64(4*time.Second)))
		}
		faults = append(faults, f)
	}
	return kennels, faults
}

// house gives the nodes their watchdogs, before the first has power.
func (w *World) house(kennels []kennel) {
	for i, k := range kennels {
		d := w.nodes[i].watched(string(k.mode), k.margin)
		d.unit, d.broken = max(k.unit, 1), k.broken
	}
}

// breakWatchdog has the device do nothing that it is asked for; it counts on.
func breakWatchdog(_ *World, n *Node, f fault) func() {
	if n.dog == nil {
		return nil
	}
	n.dog.broken = true
	return n.counted(f.kind, func() { n.dog.broken = false })
}

// changeWatchdog writes another mode into a member's file and has its agent read it; after
// a while the one before again.
func changeWatchdog(_ *World, n *Node, f fault) func() {
	if n.dog == nil {
		return nil
	}
	modes := []guard.WatchdogMode{guard.WatchdogOff, guard.WatchdogAutomatic, guard.WatchdogRequired}
	before := n.dog.local.Mode
	n.dog.uses(modes[f.n%len(modes)])
	return func() { n.dog.uses(guard.WatchdogMode(before)) }
}

// uses changes the mode in the member's file.
func (d *watchdog) uses(mode guard.WatchdogMode) {
	if d.local.Mode == string(mode) {
		return
	}
	n := d.n
	d.local.Mode, d.changed = string(mode), never
	n.w.tell(n, "its watchdog is %s now", mode)
	if k := n.worker; k != nil {
		n.w.after(0, doing(func() { k.run(doing(func() { k.local.Watchdog, d.changed = d.local, n.w.now })) }))
	}
}

// mend gives the machine a watchdog that works; it is required no more where the lease is
// too short for any.
func (d *watchdog) mend() {
	if d == nil {
		return
	}
	d.broken, d.unit = false, 1
	if d.asleep > 0 {
		d.asleep = 0
		d.powers++
		d.goesOn()
	}
	if d.local.Mode == string(guard.WatchdogRequired) && d.n.w.stored().TTL < worthItFrom {
		d.uses(guard.WatchdogAutomatic)
	}
}
