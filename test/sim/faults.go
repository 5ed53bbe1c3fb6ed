package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// fault is something that goes wrong, or that an operator asks for, and ends after
// a while.
type fault struct {
	index     int // in the schedule as it was drawn
	at, lasts time.Duration
	kind      string
	node, to  int
	n         int
	exact     bool // not moved to the primary
}

// String is the fault in words.
func (f fault) String() string {
	if f.lasts == 0 {
		return strings.ToUpper(f.kind)
	}
	return fmt.Sprintf("%s for %s", strings.ToUpper(f.kind), f.lasts.Round(time.Millisecond))
}

// deed does a fault and returns what ends it; nil when nothing does.
type deed func(w *World, n *Node, f fault) (undo func())

// deeds are all faults by name.
var deeds = map[string]deed{
	"power off":           powerOff,
	"kill worker":         killWorker,
	"kill guard":          func(w *World, n *Node, _ fault) func() { n.guardDies(); return nil },
	"kill agent":          killAgent,
	"kill server":         func(_ *World, n *Node, _ fault) func() { n.killServer(); return nil },
	"freeze worker":       func(w *World, n *Node, _ fault) func() { return n.freeze(true, false, false) },
	"freeze guard":        func(w *World, n *Node, _ fault) func() { return n.freeze(false, true, false) },
	"freeze server":       func(w *World, n *Node, _ fault) func() { return n.freeze(false, false, true) },
	"freeze agent":        func(w *World, n *Node, _ fault) func() { return n.freeze(true, true, false) },
	"suspend machine":     suspend,
	"freeze supervisor":   freezeSupervisor,
	"cut from etcd":       onWire(func(l *wire, _ fault) { l.cut = true }),
	"requests lost":       onWire(func(l *wire, _ fault) { l.lostRequests = true }),
	"answers lost":        onWire(func(l *wire, _ fault) { l.lostAnswers = true }),
	"stale etcd leader":   onWire(func(l *wire, _ fault) { l.stale = true }),
	"lossy wire":          onWire(func(l *wire, f fault) { l.loseRequest, l.loseAnswer = f.n/2, f.n/2 }),
	"late requests":       onWire(func(l *wire, f fault) { l.late = f.n }),
	"repeated requests":   onWire(func(l *wire, f fault) { l.twice = 2 * f.n }),
	"refused requests":    onWire(func(l *wire, f fault) { l.refuse = f.n }),
	"slow wire":           onWire(func(l *wire, f fault) { l.slow = time.Duration(f.n) * 40 * time.Millisecond }),
	"cut from servers":    cutServers,
	"one-way cut":         oneWayCut,
	"isolated":            isolated,
	"etcd without leader": etcdDown,
	"etcd leader change":  leaderChange,
	"etcd restored":       etcdRestored,
	"disk stalls":         slowDisk,
	"receiver stuck":      onServer((*pgfake.Server).Starve),
	"disk hangs":          hangDisk,
	"disk full":           onServer((*pgfake.Server).FillDisk),
	"data disk full":      onServer((*pgfake.Server).Cramp),
	"backend crashes":     crashBackend,
	"busy backend":        killPostmaster,
	"stuck backend":       onServer((*pgfake.Server).Stick),
	"no connections":      onServer((*pgfake.Server).Exhaust),
	"replay paused":       onServer((*pgfake.Server).PauseReplay),
	"replay delayed":      delayReplay,
	"archiver hangs":      hangArchiver,
	"wall clock jumps":    func(w *World, n *Node, f fault) func() { n.skew += time.Duration(f.n-25) * time.Hour; return nil },
	"ttl changed":         changeTTL,
	"loop_wait changed":   changeLoopWait,
	"switchover":          switchover,
	"failover":            failover,
	"pause":               pause,
	"restart":             restart,
	"reinitialize":        reinitialize,
	"agent stopped":       stopAgent,
}

// kinds are the names in an order that is the same everywhere.
var kinds = func() []string {
	var names []string
	for name := range deeds { // before failsafeDeeds are added
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()

// draw makes the faults of a schedule.
func draw(rng *rand.Rand, nodes int) []fault {
	faults := make([]fault, 6+rng.IntN(7))
	for i := range faults {
		f := &faults[i]
		f.index = i
		f.kind = kinds[rng.IntN(len(kinds))]
		f.at = 4*time.Second + time.Duration(rng.Int64N(int64(50*time.Second)))
		f.node, f.to, f.n = rng.IntN(nodes), rng.IntN(nodes), 1+rng.IntN(50)
		switch rng.IntN(3) { // short, of the order of a lease, long
		case 0:
			f.lasts = time.Duration(rng.Int64N(int64(time.Second)))
		case 1:
			f.lasts = time.Duration(rng.Int64N(int64(8 * time.Second)))
		default:
			f.lasts = time.Duration(rng.Int64N(int64(25 * time.Second)))
		}
		if i > 0 && rng.IntN(3) == 0 { // troubles come together
			f.at = faults[i-1].at + time.Duration(rng.Int64N(int64(3*time.Second)))
		}
	}
	return faults
}

// plan has the faults happen, until all heal.
func (w *World) plan(faults []fault) {
	for _, f := range faults {
		w.at(f.at, doing(func() {
			if w.healed {
				return
			}
			n := w.nodes[f.node%len(w.nodes)]
			if f.to%3 == 0 && !f.exact { // the primary is where most goes wrong
				for _, other := range w.nodes {
					if other.holds() {
						n = other
					}
				}
			}
			if w.text != nil {
				w.tell(n, "=> %s", f)
			}
			w.site.Advance(w.serverNow())
			if undo := deedOf(f.kind)(w, n, f); undo != nil {
				w.after(f.lasts, doing(func() {
					if w.healed {
						return
					}
					w.tell(n, "<= %s is over", strings.ToUpper(f.kind))
					w.site.Advance(w.serverNow())
					undo()
				}))
			}
		}))
	}
}

func powerOff(_ *World, n *Node, f fault) func() {
	n.crash()
	return n.counted(f.kind, n.power)
}

// counted has the end of a fault undo nothing while another of its kind goes on.
func (n *Node) counted(kind string, undo func()) func() {
	if n.going == nil {
		n.going = map[string]int{}
	}
	n.going[kind]++
	return func() {
		if n.going[kind]--; n.going[kind] == 0 {
			undo()
		}
	}
}

// strike adds one more to what is wrong with something, and takes that alone away again.
func strike[T interface{ with(other T) T }](all *[]*T, sum *T, one T) (undo func()) {
	own := &one
	*all, *sum = append(*all, own), (*sum).with(one)
	return func() {
		*all = slices.DeleteFunc(*all, func(x *T) bool { return x == own })
		var rest T
		for _, x := range *all {
			rest = rest.with(*x)
		}
		*sum = rest
	}
}

func killWorker(_ *World, n *Node, _ fault) func() {
	if n.worker != nil {
		n.killWorker()
		n.afterDeath(n.keepWorker)
	}
	if n.patroni != nil {
		n.killPatroni()
		n.restartPatroni()
	}
	return nil
}

// killAgent kills every process of the agent; the init system starts it again.
func killAgent(w *World, n *Node, _ fault) func() {
	if !n.up {
		return nil
	}
	n.killWorker()
	n.killPatroni()
	n.supervisor.kill()
	n.guardDies()
	return func() {
		if n.up && n.supervisor.dead {
			n.supervisor = &process{w: w}
			n.startAgent()
		}
	}
}

// freeze stops processes with SIGSTOP.
func (n *Node) freeze(worker, guard, pg bool) func() {
	k, g, p := n.worker, n.guard, n.patroni
	if worker && k != nil {
		k.freeze()
	}
	if worker && p != nil {
		p.freeze()
	}
	if guard && g != nil {
		g.freeze()
		if n.worker != nil {
			n.worker.run(doing(n.worker.link.feel))
		}
	}
	pid := n.pg.Postmaster()
	if pg {
		if n.ice.pid != pid {
			n.ice.pid, n.ice.faults = pid, 0
		}
		n.ice.faults++
		n.pg.Freeze(n.w.serverNow(), true)
	}
	n.blind()
	return func() {
		if pg && n.ice.pid == pid {
			if n.ice.faults--; n.ice.faults == 0 {
				n.thawServer()
			}
		}
		if g != nil && guard {
			g.thaw()
			n.w.after(5*time.Second, doing(func() {
				if !g.frozen && n.worker != nil {
					n.worker.link.unfeel()
				}
			}))
		}
		if k != nil && worker {
			k.thaw()
		}
		if p != nil && worker {
			p.thaw()
		}
	}
}

func freezeSupervisor(_ *World, n *Node, _ fault) func() {
	if !n.up {
		return nil
	}
	s := n.supervisor
	s.freeze()
	return s.thaw
}

// onWire makes a fault of one node's way to etcd.
func onWire(change func(*wire, fault)) deed {
	return func(w *World, n *Node, f fault) func() {
		var one wire
		change(&one, f)
		undo := strike(&n.wires, &n.wire, one)
		w.rewire(n)
		return func() {
			undo()
			w.rewire(n)
		}
	}
}

func cutServers(w *World, n *Node, _ fault) func() {
	var all []func()
	for _, other := range w.nodes {
		if other != n {
			all = append(all, w.block(n.i, other.i), w.block(other.i, n.i))
		}
	}
	return together(all...)
}

// oneWayCut keeps what a server sends from another, not what it is sent: connections that
// are up carry that for a moment, and none is made.
func oneWayCut(w *World, n *Node, f fault) func() {
	if to := f.to % len(w.nodes); to != n.i {
		return w.block(n.i, to)
	}
	return nil
}

func isolated(w *World, n *Node, f fault) func() {
	one, two := cutServers(w, n, f), onWire(func(l *wire, _ fault) { l.cut = true })(w, n, f)
	return func() { one(); two() }
}

func etcdDown(w *World, _ *Node, _ fault) func() {
	if w.outages++; w.outages == 1 {
		w.core.Advance()
		w.changed()
		w.etcdDown, w.etcdFrom = true, w.now
		for _, n := range w.nodes {
			w.rewire(n)
		}
	}
	return func() {
		if w.outages--; w.outages > 0 {
			return
		}
		w.heals()
		for _, n := range w.nodes {
			w.rewire(n)
		}
	}
}

func leaderChange(w *World, _ *Node, _ fault) func() {
	if !w.etcdDown {
		w.core.ChangeLeader()
		w.expiry = 0
		w.changed()
	}
	return nil
}

// etcdRestored sets the store back to how it was when the fault began. Whoever
// refuses it waits for an operator, who makes sure that no old primary runs and
// then removes what the nodes remember.
func etcdRestored(w *World, _ *Node, f fault) func() {
	if w.etcdDown {
		return nil
	}
	backup := w.core.Backup()
	return func() {
		if w.etcdDown || f.n%2 == 0 && f.lasts > 10*time.Second {
			return
		}
		var paused *Node
		if mark := w.view().PausedAt; mark != nil {
			paused = w.named(mark.Name)
		}
		w.core.Restore(backup, 0)
		w.reload()
		w.wanted()
		w.setBack(paused)
		for _, x := range w.watchers { // each finds out when it asks
			x.lost = true
			w.after(w.jitter(silentWatch), doing(func() { w.breakWatch(x) }))
		}
	}
}

// patch changes the stored configuration.
func (w *World) patch(key string, value any) { w.patchAll(map[string]any{key: value}) }

// patchAll changes several settings at once.
func (w *World) patchAll(changes map[string]any) {
	if w.view().Config == nil || w.etcdDown {
		return
	}
	next := setKeys(w.view().Config.Raw, changes)
	if said := describe(changes); said != "" {
		w.tellAll("the operator sets%s", said)
	}
	_ = w.store.PutConfig(context.Background(), next, -1) // an operator who cannot try again
	w.wanted()
}

func changeTTL(w *World, _ *Node, f fault) func() {
	least := 3
	if w.mixed { // Patroni's
		least = 20
	}
	w.patch("ttl", least+f.n%10)
	return nil
}

func changeLoopWait(w *World, _ *Node, f fault) func() {
	w.patch("loop_wait", 1+f.n%10)
	return nil
}

func pause(w *World, _ *Node, _ fault) func() {
	w.pauses++
	w.patch("pause", true)
	return func() {
		if w.pauses--; w.pauses == 0 {
			w.patch("pause", false)
		}
	}
}

func (w *World) wish(f cluster.Failover) {
	if w.etcdDown {
		return
	}
	w.operations++
	f.ID = "wish-" + strconv.Itoa(w.operations)
	_ = w.store.PutFailover(context.Background(), f, -1) // as above
}

func switchover(w *World, _ *Node, f fault) func() {
	if l := w.view().Leader; l != nil {
		to := w.nodes[f.to%len(w.nodes)].name
		if to != l.Name {
			w.wish(cluster.Failover{Leader: l.Name, Member: to})
		}
	}
	return nil
}

func failover(w *World, _ *Node, f fault) func() {
	w.wish(cluster.Failover{Member: w.nodes[f.to%len(w.nodes)].name})
	return nil
}

func (w *World) ask(n *Node, kind cluster.RequestKind) { w.askRaw(n, kind, nil) }

func (w *World) askRaw(n *Node, kind cluster.RequestKind, args json.RawMessage) {
	if n.byPatroni { // it takes requests by its REST API alone
		n.patroni.isAsked(kind)
		return
	}
	if w.etcdDown {
		return
	}
	w.operations++
	r := cluster.Request{Member: n.name, ID: "ask-" + strconv.Itoa(w.operations), Kind: kind, Args: args}
	_ = w.store.PutRequest(context.Background(), r) // as above
}

func restart(w *World, n *Node, _ fault) func() {
	w.ask(n, cluster.RequestRestart)
	return nil
}

func reinitialize(w *World, n *Node, _ fault) func() {
	w.ask(n, cluster.RequestReinitialize)
	return nil
}

// stopAgent is SIGTERM to the agent, and its start some time later.
func stopAgent(_ *World, n *Node, f fault) func() {
	switch {
	case n.patroni != nil:
		n.patroni.wants.stop = true
		n.patroni.wake()
	case n.worker != nil:
		n.worker.post(agent.StopWanted{})
	default:
		return nil
	}
	n.stopped = true
	return n.counted(f.kind, func() {
		n.stopped = false
		n.startAgent()
	})
}
