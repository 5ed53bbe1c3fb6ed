package sim

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// Faults of a server and of what it stands on.

// onServer makes a fault of what can be wrong with one server.
func onServer(set func(s *pgfake.Server, now cluster.Instant, on bool)) deed {
	return func(w *World, n *Node, f fault) func() {
		set(n.pg, w.serverNow(), true)
		return n.counted(f.kind, func() { set(n.pg, w.serverNow(), false) })
	}
}

// slowDisk has everything take longer that waits for the disk.
func slowDisk(_ *World, n *Node, f fault) func() {
	n.slowDisk(time.Duration(f.n) * 100 * time.Millisecond)
	return n.counted(f.kind, func() { n.slowDisk(0) })
}

func (n *Node) slowDisk(by time.Duration) {
	n.diskDelay, n.pg.DiskDelay = by, by
	n.rouse()
}

// hangDisk lets nothing reach the disk, neither of the server nor of the agent.
func hangDisk(_ *World, n *Node, f fault) func() {
	n.hangDisk(true)
	return n.counted(f.kind, func() { n.hangDisk(false) })
}

func (n *Node) hangDisk(on bool) {
	n.pg.StallDisk(n.w.serverNow(), on)
	n.diskHangs = on
	if on {
		return
	}
	n.rouse()
	waiting := n.atDisk
	n.atDisk = nil
	for _, what := range waiting {
		n.w.after(0, what)
	}
}

// crashBackend is a backend that dies of a signal.
func crashBackend(w *World, n *Node, _ fault) func() {
	n.pg.CrashBackend(w.serverNow())
	return nil
}

// killPostmaster is SIGKILL to the postmaster while a backend is busy in a query,
// which outlives it and goes on to acknowledge what it commits. Where the agent is gone
// as well nobody is left who could end that: docs/safety.md has it among the gaps.
func killPostmaster(w *World, n *Node, f fault) func() {
	if n.guard == nil && n.worker == nil {
		return nil
	}
	n.pg.Busy(w.serverNow(), true)
	_ = n.pg.Signal(w.serverNow(), n.pg.Postmaster(), syscall.SIGKILL) // there may be none
	return n.counted(f.kind, func() { n.pg.Busy(w.serverNow(), false) })
}

// hangArchiver has an archive_command that never returns.
func hangArchiver(w *World, n *Node, f fault) func() {
	n.pg.Archive(w.serverNow(), true, true)
	return n.counted(f.kind, func() { n.pg.Archive(w.serverNow(), false, false) })
}

// delayReplay has a standby's replay be behind.
func delayReplay(w *World, n *Node, f fault) func() {
	n.pg.DelayReplay(w.serverNow(), time.Duration(f.n)*200*time.Millisecond)
	return n.counted(f.kind, func() { n.pg.DelayReplay(w.serverNow(), 0) })
}

// crowd is a machine with far too much to do: whatever is asked of the server takes up to
// 0.8 s, which is less than any attempt may take (min(retry_timeout, T/3)), and more than
// half of the time between two renewals where T is 5 s.
func crowd(_ *World, n *Node, f fault) func() {
	n.crowd = time.Duration(1+f.n%8) * 100 * time.Millisecond
	return n.counted(f.kind, func() { n.crowd = 0 })
}

const crowded = "too much to do"

func init() { deeds[crowded] = crowd }

// loaded is a primary that writes a lot at once, some hundreds of MB, and so removes WAL that
// nobody's slot keeps.
const loaded = "a lot is written"

func init() {
	deeds[loaded] = func(w *World, n *Node, f fault) func() {
		n.pg.Load(w.serverNow(), cluster.LSN(f.n)<<20)
		return nil
	}
}

// doomed is the next promotion in the cluster that does not come to its end: whatever it is
// dies when standby.signal is gone, and before the server accepts writes.
const doomed = "promotion dies"

func init() { deeds[doomed] = doom }

func doom(w *World, _ *Node, f fault) func() {
	w.doom = &f
	w.linger(time.Duration(f.n) * 10 * time.Millisecond)
	return func() { w.doom = nil; w.linger(0) }
}

// linger has promotions take longer in their middle.
func (w *World) linger(by time.Duration) {
	for _, n := range w.nodes {
		n.pg.Lingers = by
	}
}

// fates are what ends such a promotion.
var fates = [...]string{"kill server", "kill guard", "kill agent", "power off"}

// strikeDoomed ends the promotion of n, if one is to be ended.
func (w *World) strikeDoomed(n *Node) {
	f := w.doom
	if f == nil {
		return
	}
	w.doom = nil
	pid, how := n.pg.Postmaster(), fates[f.n%len(fates)]
	w.after(w.jitter(time.Duration(f.n)*10*time.Millisecond), doing(func() {
		if n.pg.Postmaster() != pid || w.healed {
			return
		}
		w.tell(n, "=> %s in the middle of its promotion", strings.ToUpper(how))
		w.site.Advance(w.serverNow())
		if undo := deeds[how](w, n, fault{kind: how, n: f.n}); undo != nil {
			w.after(time.Duration(f.n)*500*time.Millisecond, doing(func() {
				if !w.healed {
					undo()
				}
			}))
		}
	}))
}

// dooming has a promotion or two of a quarter of the schedules die.
func dooming(seed uint64, nodes, index int) (faults []fault) {
	rng := rand.New(rand.NewPCG(seed, 0xd00e))
	if rng.IntN(4) > 0 {
		return nil
	}
	for range 1 + rng.IntN(2) {
		at := 5*time.Second + time.Duration(rng.Int64N(int64(45*time.Second)))
		faults = append(faults, fault{index: index + len(faults), kind: doomed, node: rng.IntN(nodes), to: 1, n: 1 + rng.IntN(50), at: at, lasts: 25 * time.Second},
			fault{index: index + len(faults) + 1, kind: "power off", node: rng.IntN(nodes), n: 1 + rng.IntN(50), at: at + time.Second, lasts: time.Duration(1+rng.IntN(20)) * time.Second})
	}
	return faults
}

// crowding has some machines of a quarter of the schedules have too much to do for a while.
func crowding(seed uint64, nodes, index int) (faults []fault) {
	rng := rand.New(rand.NewPCG(seed, 0xc40d))
	if rng.IntN(4) > 0 {
		return nil
	}
	for i := range 1 + rng.IntN(2) {
		faults = append(faults, fault{index: index + i, kind: crowded, node: rng.IntN(nodes), to: 3 * rng.IntN(2), n: 1 + rng.IntN(50),
			at: time.Duration(rng.Int64N(int64(50 * time.Second))), lasts: time.Duration(rng.Int64N(int64(25 * time.Second)))})
	}
	return faults
}

// mend takes away whatever is wrong with the server and below it.
func (n *Node) mend() {
	now := n.w.serverNow()
	n.slowDisk(0)
	n.hangDisk(false)
	n.refusesGate, n.crowd, n.pg.Lingers = false, 0, 0
	for _, set := range []func(cluster.Instant, bool){n.pg.Starve, n.pg.FillDisk, n.pg.Cramp, n.pg.Exhaust, n.pg.Stick, n.pg.Busy, n.pg.PauseReplay, n.pg.Occupy} {
		set(now, false)
	}
	n.pg.Archive(now, false, false)
	n.pg.DelayReplay(now, 0)
	n.thawServer()
	n.dog.mend()
}
