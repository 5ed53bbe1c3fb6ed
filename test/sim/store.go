package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
)

const (
	scope = "sim"
	base  = "/service/" + scope + "/"
)

// wire is one node's way to the store, and what is wrong with it.
type wire struct {
	// cut: nothing passes. lostRequests, lostAnswers: nothing passes one way.
	cut, lostRequests, lostAnswers bool
	// stale: the etcd member at the other end was deposed and does not know it:
	// it answers keepalives, whatever became of the lease, and nothing else.
	stale bool
	// Of a hundred requests: lost before or after they took effect, told so at
	// once, applied twice, held back for seconds.
	loseRequest, loseAnswer, refuse, twice, late int
	// slow is how long a request may be delayed, each way.
	slow time.Duration
}

// with is what is wrong when both are.
func (l wire) with(o wire) wire { //nolint:unused // strike calls it
	return wire{
		cut: l.cut || o.cut, lostRequests: l.lostRequests || o.lostRequests, lostAnswers: l.lostAnswers || o.lostAnswers, stale: l.stale || o.stale,
		loseRequest: max(l.loseRequest, o.loseRequest), loseAnswer: max(l.loseAnswer, o.loseAnswer), refuse: max(l.refuse, o.refuse),
		twice: max(l.twice, o.twice), late: max(l.late, o.late), slow: max(l.slow, o.slow),
	}
}

func (l wire) dead() bool { return l.cut || l.lostRequests || l.lostAnswers || l.stale }

// kv is dcs.KV for one worker: each request is an event of its own.
type kv struct{ n *Node }

func (k kv) do(ctx context.Context, call memory.Call) memory.Answer {
	w := k.n.w
	if ctx.Err() != nil {
		return memory.Answer{Err: fmt.Errorf("%s: %w", call.Kind, dcs.ErrUnavailable)}
	}
	q := &request{n: k.n, call: call, r: w.current, lasts: k.n.seen.called + k.n.seen.ttl, ttl: k.n.seen.ttl}
	w.request(q)
	if !q.r.waitUntil(ctx, q.isAnswered, 0) {
		return memory.Lost(call)
	}
	return q.answer
}

// request is one call on its way to the store and back.
type request struct {
	n    *Node
	r    *routine // waits for the answer
	call memory.Call
	// lasts is how long a renewal holds whose request this may be, ttl its T.
	lasts, ttl time.Duration
	// first is what a repeated request repeats: they share who waits.
	first    *request
	answer   memory.Answer
	answered bool
}

func (q *request) isAnswered() bool { return q.answered }

// arrival is a request at the store, reply one at its sender again.
type (
	arrival request
	reply   request
)

func (a *arrival) do() { a.n.w.apply((*request)(a)) }

// The first reply counts.
func (p *reply) do() {
	q := (*request)(p)
	if q.first != nil {
		q = q.first
	}
	if !q.answered {
		q.answered, q.answer = true, p.answer
		q.r.wake()
	}
}

// request sends one call over the node's wire.
func (w *World) request(q *request) {
	l := &q.n.wire
	there := w.etcdDelay(l)
	if l.stale {
		if q.call.Kind == memory.CallKeepAlive {
			w.after(there, (*reply)(q))
		}
		return
	}
	switch {
	case l.cut || l.lostRequests || w.chance(l.loseRequest):
		return
	case w.chance(l.refuse):
		q.answer.Err = fmt.Errorf("%s: refused: %w", q.call.Kind, dcs.ErrUnavailable)
		w.after(there, (*reply)(q))
		return
	case w.chance(l.late):
		there += time.Duration(1+w.rng.IntN(15000)) * time.Millisecond
		w.tell(q.n, "a %s is held back for %s", q.call.Kind, there.Round(time.Millisecond))
	case w.chance(l.twice):
		again := &request{n: q.n, r: q.r, call: q.call, lasts: q.lasts, ttl: q.ttl, first: q}
		w.after(there+time.Duration(w.rng.IntN(3000))*time.Millisecond, (*arrival)(again))
	}
	w.after(there, (*arrival)(q))
}

// apply is what the store does when a request has arrived.
func (w *World) apply(q *request) {
	if w.etcdDown {
		return
	}
	leader, beat, status := w.view().Leader, w.view().Beat, w.view().Status
	answer := w.core.Do(q.call)
	w.changed()
	if s := w.view().Status; s != status && s != nil {
		w.published, w.untold = q.n.pg.Place(s.Timeline), 0
		if q.n.byPatroni { // it does not say of which
			w.untold = q.n.pg.Log().Timeline
			w.published = q.n.pg.Place(w.untold)
		}
	}
	if l := w.view().Leader; l != leader && l != nil && l.Name == q.n.name || w.view().Beat != beat {
		w.kept(q.n)
	}
	if l := w.view().Leader; l != leader && l != nil && l.Name == q.n.name && (leader == nil || leader.Name != l.Name) {
		q.n.seen.acquires, q.n.seen.wish = true, w.wished()
	}
	w.noteStore(q.n, leader)
	if w.view().Beat != beat {
		q.n.beaten(q.lasts, q.ttl)
	}
	l := &q.n.wire
	if l.cut || l.lostAnswers || w.chance(l.loseAnswer) {
		return
	}
	if q.answered { // it is late, and nobody waits any more
		return
	}
	q.answer = answer
	w.after(w.etcdDelay(l), (*reply)(q))
}

func (w *World) etcdDelay(l *wire) time.Duration {
	d := 300*time.Microsecond + w.jitter(700*time.Microsecond)
	if l.slow > 0 {
		d += w.jitter(l.slow)
	}
	return d
}

// Range implements dcs.KV.
func (k kv) Range(ctx context.Context, prefix string) (dcs.Snapshot, error) {
	a := k.do(ctx, memory.Call{Kind: memory.CallRange, Prefix: prefix})
	return a.Snapshot, a.Err
}

// Txn implements dcs.KV.
func (k kv) Txn(ctx context.Context, compares []dcs.Compare, ops []dcs.Op) (int64, error) {
	a := k.do(ctx, memory.Call{Kind: memory.CallTxn, Compares: compares, Ops: ops})
	return a.Revision, a.Err
}

// Grant implements dcs.KV.
func (k kv) Grant(ctx context.Context, ttlSeconds int64) (int64, error) {
	a := k.do(ctx, memory.Call{Kind: memory.CallGrant, TTL: ttlSeconds})
	return a.Lease, a.Err
}

// KeepAlive implements dcs.KV.
func (k kv) KeepAlive(ctx context.Context, lease int64) error {
	return k.do(ctx, memory.Call{Kind: memory.CallKeepAlive, Lease: lease}).Err
}

// Revoke implements dcs.KV.
func (k kv) Revoke(ctx context.Context, lease int64) error {
	return k.do(ctx, memory.Call{Kind: memory.CallRevoke, Lease: lease}).Err
}

// Close implements dcs.KV.
func (k kv) Close() error { return nil }

var errNoWatch = errors.New("the simulator delivers changes itself")

// Watch implements dcs.KV; nobody in a simulated worker calls it.
func (k kv) Watch(context.Context, string, int64) <-chan dcs.WatchEvent {
	panic(errNoWatch) //nolint:forbidigo // nobody calls it
}

// watcher is one worker's watch.
type watcher struct {
	n    *Node
	p    *process
	from int64
	// coming: a view is on its way. arrived waits for a process that is frozen.
	coming  bool
	arrived agent.Event
	broken  bool
	missed  bool
	// lost: the store it watches is gone, and it tells nothing more.
	lost bool
	see  func(agent.Event)
	end  func()
}

// changed delivers what the store has written since the last call to all watchers,
// and plans for the next lease that runs out.
func (w *World) changed() {
	if w.etcdDown {
		return
	}
	if v := w.view(); w.core.Revision() != v.Revision {
		events, err := w.core.Events(base, v.Revision)
		if err != nil { // the store was set back
			return
		}
		for _, e := range events {
			news, beat, status := v.News, v.Beat, v.Status
			w.folding.Apply(e)
			w.shown = nil
			for _, x := range w.watchers {
				w.deliver(x, v.News != news || v.Beat != beat || v.Status != status)
			}
		}
	}
	at, ok := w.core.NextExpiry()
	if !ok || at == w.expiry {
		return
	}
	w.expiry = at
	w.at(w.storeTime(at), (*leaseEnd)(w))
}

// leaseEnd is when a lease may run out.
type leaseEnd World

func (l *leaseEnd) do() {
	w := (*World)(l)
	if w.expiry != 0 && w.storeTime(w.expiry) <= w.now {
		w.expiry = 0
		w.changed()
	}
}

// storeNow is the clock of the store, which stands still while it has no leader.
func (w *World) storeNow() cluster.Instant { return cluster.Instant(1 + w.now - w.etcdLost) }

func (w *World) storeTime(at cluster.Instant) time.Duration {
	return time.Duration(at) - 1 + w.etcdLost
}

// lazyWorlds is in how many of a hundred worlds members' positions wait for what comes
// next, which is a beat at the latest. They are half of what a store of a busy cluster
// writes, and no loop decides anything when it sees them (agent.Loop): the rest of the
// worlds shows whether that is so. The primary's position does not wait: what a failover
// may lose is reckoned from it.
const lazyWorlds = 75

// view is what the store has by now; nobody keeps it.
func (w *World) view() *cluster.View { return w.folding.Peek() }

// show is what a watcher is shown of it.
func (w *World) show() agent.Event {
	if w.shown == nil {
		w.shown = agent.ViewSeen{View: w.folding.View()}
	}
	return w.shown
}

// idle: positions that move may wait: somebody leads, and nothing is wished for that
// rests on them.
func (w *World) idle() bool {
	v := w.view()
	return w.lazy && v.Leader != nil && v.Switchover == nil && v.Failover.Empty()
}

// deliver brings the view to a watcher: as it is when it arrives, since etcd's client
// gives all events of a batch at once.
func (w *World) deliver(x *watcher, prompt bool) {
	switch {
	case x.broken || x.lost || x.n.wire.dead() || w.etcdDown:
		x.missed = true
	case !x.coming && (prompt || !w.idle()):
		x.coming = true
		w.after(w.etcdDelay(&x.n.wire), (*delivery)(x))
	}
}

// delivery is a view at its watcher, sight what the watcher makes of it.
type (
	delivery watcher
	sight    watcher
)

func (d *delivery) do() {
	x := (*watcher)(d)
	w := x.n.w
	x.coming = false
	switch {
	case x.broken || x.missed || x.lost: // it ends with an error
	case x.n.wire.dead():
		x.missed = true
	case w.view().Revision > x.from:
		x.arrived = w.show()
		x.p.run((*sight)(x))
	}
}

func (s *sight) do() {
	if !s.broken && s.arrived != nil {
		v := s.arrived
		s.arrived = nil
		s.see(v)
	}
}

// breakWatch ends a watch with an error, as a client does that has lost its member.
func (w *World) breakWatch(x *watcher) {
	if !x.broken {
		x.broken = true
		x.p.run(doing(x.end))
	}
}

// unwatch forgets the watches of a process that has ended.
func (w *World) unwatch(p *process) {
	kept := w.watchers[:0]
	for _, x := range w.watchers {
		if x.p != p && !x.broken {
			kept = append(kept, x)
		}
	}
	clear(w.watchers[len(kept):])
	w.watchers = kept
}

// silentWatch is how long a watch may stay silent before its client finds out that nobody can tell whether anything happened
// (dcs/etcd: two checks that fail), or that its store was set back; longer than most leases.
const silentWatch = 7 * time.Second

// rewire is called after a wire has changed: a watch over a dead one breaks after
// a while, and one that has missed something breaks when it is well again.
func (w *World) rewire(n *Node) {
	for _, x := range w.watchers {
		if x.n != n {
			continue
		}
		delay := 100*time.Millisecond + w.jitter(silentWatch) // a member without its quorum says so at once
		if !n.wire.dead() && !w.etcdDown {
			if !x.missed {
				continue
			}
			delay = w.jitter(50 * time.Millisecond)
		}
		w.after(delay, doing(func() {
			if n.wire.dead() || w.etcdDown || x.missed {
				w.breakWatch(x)
			}
		}))
	}
}
