package sim

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// Node is one machine: its server and disk, its wire to etcd, and the three
// processes of its agent.
type Node struct {
	w    *World
	i    int
	name string
	// up: the machine has power. boot is the world's time at clock reading 0.
	up    bool
	boot  time.Duration
	boots int
	skew  time.Duration // of its wall clock

	wire wire
	pg   *pgfake.Server
	// dataDir and argv are what its server is started with.
	dataDir string
	argv    [1]string
	// diskDelay is how much longer everything takes that waits for the disk.
	diskDelay time.Duration
	// diskHangs: nothing reaches it; atDisk is what the guard waits for.
	diskHangs bool
	atDisk    []task

	memory agent.Memory // on disk
	// lastKill is the guard's file.
	lastKill time.Duration

	supervisor *process
	worker     *worker
	guard      *guardProcess
	tags       cluster.Tags
	// stopped: an operator stopped the agent.
	stopped bool

	seen facts
}

// worker is one worker process.
type worker struct {
	process
	n      *Node
	loop   *agent.Loop
	node   *agent.Node
	link   *link
	wake   wakeup
	guardQ []agent.Effect
	busy   bool // the guard lane runs
	jobCtx *bound
	status *cluster.Status // of the last step, when somebody has asked for it
	kept   cluster.Status  // what status points to
	over   bool
	// stepping: what ends at once waits until the step has ended.
	stepping, stepped bool
}

// instant is the node's CLOCK_BOOTTIME.
func (n *Node) instant() cluster.Instant { return cluster.Instant(n.w.now - n.boot) }

// wall is the node's time of day.
func (n *Node) wall() time.Time { return epoch.Add(n.w.now + n.skew) }

var epoch = time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC)

func (n *Node) reading() clock.Reading { return clock.Reading{Boot: n.instant(), Wall: n.wall()} }

// power switches the machine on: its boot clock begins anew, its agent is started.
func (n *Node) power() {
	if n.up {
		return
	}
	n.boots++
	n.pg.PowerOn(n.w.serverNow())
	n.up, n.boot = true, n.w.now-time.Second-n.w.jitter(1000*time.Second)
	n.supervisor = &process{w: n.w}
	n.guard, n.worker = nil, nil
	n.startAgent()
}

// startAgent is what the supervisor does.
func (n *Node) startAgent() {
	if n.stopped || !n.up {
		return
	}
	n.keepGuard()
	n.keepWorker()
}

// keepGuard starts a guard when there is none.
func (n *Node) keepGuard() {
	if n.up && !n.stopped && n.guard == nil {
		n.guard = newGuardProcess(n)
	}
}

// keepWorker starts a worker when there is none.
func (n *Node) keepWorker() {
	if n.up && !n.stopped && n.worker == nil {
		n.worker = newWorker(n)
	}
}

// afterDeath has the supervisor see that a child has died.
func (n *Node) afterDeath(start func()) {
	delay := 5*time.Millisecond + n.w.jitter(20*time.Millisecond)
	s := n.supervisor
	n.w.after(delay, doing(func() { s.run(doing(start)) }))
}

// crash takes the power away: everything ends at once, and what was not durable is gone.
func (n *Node) crash() {
	if !n.up {
		return
	}
	n.killWorker()
	if n.guard != nil {
		n.guard.end()
		n.guard = nil
	}
	n.supervisor.kill()
	n.pg.PowerOff(n.w.serverNow())
	n.up = false
}

func (n *Node) killWorker() {
	if n.worker != nil {
		n.worker.end()
		n.worker = nil
	}
}

func (k *worker) end() {
	k.kill()
	k.n.w.unwatch(&k.process)
	k.link.close()
	k.n.pg.Interrupt(k.n.w.serverNow())
}

var quiet = slog.New(slog.DiscardHandler)

// newWorker starts a worker: what RunWorker does, without REST.
func newWorker(n *Node) *worker {
	k := &worker{process: process{w: n.w}, n: n}
	log := quiet
	if n.w.text != nil {
		log = slog.New(storyteller{n})
	}
	id := agent.Identity{Scope: scope, Name: n.name, Node: "node-" + n.name, BootID: "boot-" + n.name + "-" + strconv.Itoa(n.boots),
		ConnURL: "postgres://" + n.name + ":5432/postgres", APIURL: "http://" + n.name + ":8008/patroni", Version: "sim"}
	k.loop = agent.NewLoop(id, n.tags, n.memory, n.w.bootstrap, parseConfig, log, n.instant())
	k.link = newLink(k)
	k.node = agent.NewNode(agent.Parts{
		Store: dcs.NewStore(kv{n}, "service", scope).Remember(&n.w.memo), Server: server{n}, Link: k.link, Clock: nodeClock{n},
		Config: n.w.local(n), Post: k.post, Reread: func() error { return nil },
		Persist: func(m agent.Memory) error { n.disk(); n.memory = m; return nil }, Log: log,
	})
	k.wake.set(n.w, n.w.now+n.w.jitter(time.Millisecond), (*tick)(k))
	k.start(func(*bound) { k.link.keep() })
	k.start(func(*bound) { k.watch() })
	return k
}

// post gives the loop an event from beside it.
func (k *worker) post(e agent.Event) {
	w := k.n.w
	w.add(w.now, &posted{k, e})
}

// posted is an event on its way to a loop, heard one that has arrived.
type (
	posted struct {
		k *worker
		e agent.Event
	}
	heard posted
)

func (p *posted) do() { p.k.run((*heard)(p)) }
func (p *heard) do()  { p.k.step(p.e) }

// step is the driver's.
func (k *worker) step(e agent.Event) {
	if k.over || k.dead {
		return
	}
	w := k.n.w
	w.steps++
	k.n.noteEvent(e)
	k.stepping, k.stepped = true, true
	effects := k.loop.Step(k.n.reading(), e)
	k.status = nil
	for i := range effects {
		k.begin(effects[i])
	}
	k.stepping = false
	if k.loop.Done() {
		k.leave()
		return
	}
	k.plan()
}

// state is the loop's status after its last step; nil before the first.
func (k *worker) state() *cluster.Status {
	if k.status == nil && k.stepped {
		k.status = &k.kept
		k.loop.Fill(k.status, 0)
	}
	return k.status
}

// plan has the loop woken when it asked to be.
func (k *worker) plan() {
	w := k.n.w
	k.wake.set(w, w.now+k.loop.NextWake().Sub(k.n.instant()), (*tick)(k))
}

// tick wakes a worker's loop, ticked is its step.
type (
	tick   worker
	ticked worker
)

func (t *tick) do() {
	if t.wake.rings(t.n.w, t) {
		(*worker)(t).run((*ticked)(t))
	}
}

func (t *ticked) do() { (*worker)(t).step(agent.Tick{}) }

// begin starts an effect, as the driver does.
func (k *worker) begin(e agent.Effect) {
	switch {
	case e.Lane == agent.LaneGuard:
		k.guardQ = append(k.guardQ, e)
		k.nextGuard()
		return
	case e.Do == agent.CancelJob{}:
		if k.jobCtx != nil {
			k.jobCtx.cancel(errCanceled)
		}
		return
	}
	k.n.noteEffect(e)
	ctx := k.effect(e)
	if e.Lane == agent.LaneJob && !ctx.r.ended {
		k.jobCtx = ctx
	}
}

// effect is one effect in a routine of its own.
type effect struct {
	routine
	k      *worker
	e      agent.Effect
	result agent.Event
}

func (f *effect) main(ctx *bound) {
	ctx.limit(f.e.Limit)
	f.result = f.k.node.Run(ctx, f.e.Do)
}

func (f *effect) over() {
	k := f.k
	switch {
	case f.result == nil:
	case k.stepping:
		k.post(f.result)
	default:
		k.step(f.result)
	}
	switch f.e.Lane {
	case agent.LaneGuard:
		k.busy = false
		k.nextGuard()
	case agent.LaneJob:
		if k.jobCtx == &f.ctx {
			k.jobCtx = nil
		}
	}
}

func (k *worker) effect(e agent.Effect) *bound {
	f := &effect{k: k, e: e}
	return k.process.begin(&f.routine, f)
}

// nextGuard keeps the order of what the guard is told.
func (k *worker) nextGuard() {
	if k.busy || len(k.guardQ) == 0 {
		return
	}
	k.busy = true
	e := k.guardQ[0]
	k.guardQ = k.guardQ[1:]
	k.effect(e)
}

// leave ends a worker whose loop is done.
func (k *worker) leave() {
	k.over = true
	n := k.n
	n.w.tell(n, "the agent has stopped")
	n.w.after(0, doing(func() {
		if n.worker == k {
			n.killWorker()
		}
		if !n.stopped { // somebody has started it again meanwhile
			n.afterDeath(n.keepWorker)
			return
		}
		if g := n.guard; g != nil && g.model.Status().Server == nil {
			g.end()
			n.guard = nil
		}
	}))
}

// watch is RunWorker's: one load, then what changes, and a new load after every
// broken watch.
func (k *worker) watch() {
	w := k.n.w
	store := dcs.NewStore(kv{k.n}, "service", scope).Remember(&k.n.w.memo)
	for {
		ctx := &bound{r: w.current}
		ctx.limit(loadLimit)
		view, err := store.Load(ctx)
		why := "the watch ended"
		if err == nil {
			k.post(agent.ViewSeen{View: view})
			k.follow(view.Revision)
		} else {
			why = err.Error()
		}
		k.post(agent.ViewFailed{Err: why})
		nodeClock{k.n}.Sleep(nil, reloadPause)
	}
}

const (
	reloadPause = 100 * time.Millisecond
	loadLimit   = 3 * time.Second
)

// follow delivers changes until the watch breaks.
func (k *worker) follow(from int64) {
	w := k.n.w
	r := w.current
	x := &watcher{n: k.n, p: &k.process, from: from}
	x.see = func(v *cluster.View) { k.step(agent.ViewSeen{View: *v}) }
	x.end = r.poke
	if w.view.Revision > from {
		w.deliver(x, w.view)
	}
	w.watchers = append(w.watchers, x)
	if k.n.wire.dead() || w.etcdDown {
		w.rewire(k.n)
	}
	r.waitUntil(context.Background(), func() bool { return x.broken }, 0)
	w.unwatch(nil)
}

// disk waits for the disk.
func (n *Node) disk() {
	if n.diskHangs && n.w.current != nil {
		n.w.current.waitUntil(context.Background(), func() bool { return !n.diskHangs }, 0)
	}
	if n.diskDelay > 0 && n.w.current != nil {
		until := n.w.now + n.diskDelay
		n.w.current.waitUntil(context.Background(), func() bool { return n.w.now >= until || n.diskDelay == 0 }, n.diskDelay)
	}
}

// rouse has every thread of the worker look again at what it waits for.
func (n *Node) rouse() {
	if n.worker != nil {
		n.worker.link.rouse()
	}
}

// holds reports whether the node's own loop believes it holds the lease.
func (n *Node) holds() bool { return n.worker != nil && n.worker.loop.Term() != 0 }

// reason is what the node's loop decided last.
func (n *Node) reason() cluster.Reason {
	if n.worker == nil || n.worker.state() == nil {
		return ""
	}
	return n.worker.state().Reason
}
