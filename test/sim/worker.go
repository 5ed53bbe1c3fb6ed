package sim

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/restapi"
)

// worker is one worker process.
type worker struct {
	process
	n      *Node
	loop   *agent.Loop
	node   *agent.Node
	link   *link
	local  *config.Config
	wake   wakeup
	guardQ []agent.Effect
	busy   bool // the guard lane runs
	// ends ends what runs in a lane.
	ends   map[agent.Lane]*bound
	status *cluster.Status // of the last step, when somebody has asked for it
	kept   cluster.Status  // what status points to
	over   bool
	// api is its REST API, once a Patroni member has asked it.
	api *restapi.Server
	// watched is its watch, readAgain that it was asked to read the store anew.
	watched   *watcher
	readAgain bool
	// stepping: what ends at once waits until the step has ended.
	stepping, stepped bool
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
	k := &worker{process: process{w: n.w}, n: n, ends: map[agent.Lane]*bound{}}
	n.seen.heard, n.seen.history = 0, 0
	n.seen.until = n.leaseEnd() // its guard tells it what the one before it did not hear of
	log := quiet
	if n.w.text != nil {
		log = slog.New(storyteller{n})
	}
	id := agent.Identity{Scope: scope, Name: n.name, Node: "node-" + n.name, BootID: "boot-" + n.name + "-" + strconv.Itoa(n.boots),
		ConnURL: "postgres://" + n.name + ":5432/postgres", APIURL: "http://" + n.name + ":8008/patroni", Version: "sim"}
	k.loop = agent.NewLoop(id, n.tags, n.memory, n.w.bootstrap, parseConfig, log, n.instant())
	k.link, k.local = newLink(k), n.w.local(n)
	k.node = agent.NewNode(agent.Parts{
		Store: dcs.NewStore(kv{n}, "service", scope).Remember(&n.w.memo), Server: server{n}, Link: k.link, Clock: nodeClock{n},
		Config: k.local, Post: k.post, ReadStore: k.readStore, Reread: k.reread,
		Persist: func(m agent.Memory) error { n.disk(); n.memory = m; return nil }, Log: log,
		Peers: failsafeCalls{n}, Knocker: knocks{n}, Answer: n.w.answered, Device: n.present,
	})
	k.wake.set(n.w, n.w.now+n.w.jitter(time.Millisecond), (*tick)(k))
	k.start(func(*bound) { k.link.keep() })
	k.start(func(*bound) { k.watch() })
	k.startProbes()
	k.keepWatchdog()
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
	k.n.untouched(e.Do)
	switch {
	case e.Lane == agent.LaneGuard:
		k.guardQ = append(k.guardQ, e)
		k.nextGuard()
		return
	case e.Do == agent.Cancel{}:
		if ctx := k.ends[e.Lane]; ctx != nil {
			ctx.cancel(errCanceled)
		}
		return
	}
	k.n.noteEffect(e)
	ctx := k.effect(e)
	if (e.Lane == agent.LaneJob || e.Lane == agent.LaneServer) && !ctx.r.ended {
		k.ends[e.Lane] = ctx
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
	case agent.LaneJob, agent.LaneServer:
		if k.ends[f.e.Lane] == &f.ctx {
			delete(k.ends, f.e.Lane)
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
		k.readAgain = false
		began := k.n.instant()
		view, err := store.Load(ctx)
		why := "the watch ended"
		if err == nil {
			k.post(agent.ViewSeen{View: view, Read: began})
			k.follow(view.Revision)
			if k.readAgain {
				continue
			}
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
	k.n.w.follow(&watcher{n: k.n, p: &k.process, from: from, see: k.step}, &k.watched)
}

// follow delivers changes to a watcher until its watch breaks; at is where its process has it.
func (w *World) follow(x *watcher, at **watcher) {
	r := w.current
	x.end = r.poke
	if w.view().Revision > x.from {
		w.deliver(x, true)
	}
	w.watchers = append(w.watchers, x)
	*at = x
	if x.n.wire.dead() || w.etcdDown {
		w.rewire(x.n)
	}
	r.waitUntil(context.Background(), func() bool { return x.broken }, 0)
	*at = nil
	w.unwatch(nil)
}

// readStore has the watch begin anew, with a read.
func (k *worker) readStore() {
	k.readAgain = true
	if k.watched != nil {
		k.n.w.breakWatch(k.watched)
	}
}
