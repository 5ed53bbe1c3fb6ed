package sim

import (
	"context"
	"iter"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// process is an operating system process: what runs in it waits while it is
// frozen and never goes on once it is dead.
type process struct {
	w      *World
	frozen bool
	dead   bool
	held   []func()
	order  []*routine
}

// run does something in the process, now or when it thaws.
func (p *process) run(do func()) {
	switch {
	case p.dead:
	case p.frozen:
		p.held = append(p.held, do)
	default:
		do()
	}
}

func (p *process) freeze() { p.frozen = true }

// thaw lets everything go on that came due meanwhile, in its order.
func (p *process) thaw() {
	if !p.frozen {
		return
	}
	p.frozen = false
	held := p.held
	p.held = nil
	for i, do := range held {
		p.w.after(time.Duration(i)*time.Microsecond, func() { p.run(do) })
	}
}

func (p *process) kill() {
	if p.dead {
		return
	}
	p.dead, p.held = true, nil
	for _, r := range p.order {
		r.end()
	}
	p.order = nil
}

// routine is one thread of a process: sequential code of the product that hands
// control back to the scheduler wherever it waits. At any time one runs at most.
type routine struct {
	w     *World
	p     *process
	t     *thread
	poked bool
	ended bool
	after func()
}

// thread is what routines run on, one after the other: a coroutine is cheap to
// switch to, and dear to make.
type thread struct {
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	body  func()
	idle  bool
}

// unwind ends a routine by a panic that nothing of the product recovers.
type unwind struct{}

// pool keeps idle threads; one pool serves one world at a time.
type pool struct{ idle []*thread }

func (l *pool) take() *thread {
	if last := len(l.idle) - 1; last >= 0 {
		t := l.idle[last]
		l.idle = l.idle[:last]
		return t
	}
	t := &thread{}
	t.next, t.stop = iter.Pull(t.run)
	return t
}

// close ends all threads of the pool.
func (l *pool) close() {
	for _, t := range l.idle {
		t.stop()
	}
	l.idle = nil
}

func (t *thread) run(yield func(struct{}) bool) {
	t.yield = yield
	defer func() {
		if e := recover(); e != nil {
			if _, wanted := e.(unwind); !wanted {
				panic(e) //nolint:forbidigo // not ours: the run ends with it
			}
		}
	}()
	for {
		t.idle = false
		t.body()
		t.idle, t.body = true, nil
		if !yield(struct{}{}) {
			return
		}
	}
}

// start begins a routine; after is called, outside it, when it has ended by itself.
func (p *process) start(body func(ctx *bound), after func()) *bound {
	r := &routine{w: p.w, p: p, t: p.w.pool.take(), after: after}
	ctx := newBound(r)
	r.t.body = func() { body(ctx) }
	p.order = append(p.order, r)
	r.resume()
	return ctx
}

// resume runs the routine until it waits again.
func (r *routine) resume() {
	if r.ended {
		return
	}
	outer := r.w.current
	r.w.current = r
	r.t.next()
	r.w.current = outer
	if !r.t.idle {
		return
	}
	r.ended = true
	r.w.pool.idle = append(r.w.pool.idle, r.t)
	r.p.forget(r)
	if r.after != nil {
		r.after()
	}
}

func (p *process) forget(r *routine) {
	for i, other := range p.order {
		if other == r {
			p.order[i] = p.order[len(p.order)-1]
			p.order = p.order[:len(p.order)-1]
			return
		}
	}
}

// end stops the routine wherever it waits.
func (r *routine) end() {
	if !r.ended {
		r.ended = true
		r.t.stop()
	}
}

// park waits for a poke.
func (r *routine) park() {
	if !r.t.yield(struct{}{}) {
		panic(unwind{}) //nolint:forbidigo // unwinds a routine of a process that was killed
	}
}

// poke has the routine look again at what it waits for.
func (r *routine) poke() {
	if r.poked || r.ended {
		return
	}
	r.poked = true
	r.w.after(0, func() {
		r.p.run(func() {
			r.poked = false
			r.resume()
		})
	})
}

// waitUntil parks until ready, ctx ends, or d has passed (0: no limit).
func (r *routine) waitUntil(ctx context.Context, ready func() bool, d time.Duration) bool {
	var until time.Duration
	if d > 0 {
		until = r.w.now + d
		r.w.after(d, r.poke)
	}
	for !ready() {
		if ctx.Err() != nil || d > 0 && r.w.now >= until {
			return false
		}
		r.park()
	}
	return true
}

// bound is a context in virtual time that belongs to one routine.
type bound struct {
	r        *routine
	done     chan struct{}
	err      error
	children []*bound
}

func newBound(r *routine) *bound { return &bound{r: r, done: make(chan struct{})} }

// Deadline is never known: the product does not ask.
func (b *bound) Deadline() (time.Time, bool) { return time.Time{}, false }
func (b *bound) Done() <-chan struct{}       { return b.done }
func (b *bound) Err() error                  { return b.err }

// Value has nothing; wrappers of this context add their own.
func (b *bound) Value(any) any { return nil }

func (b *bound) cancel(err error) {
	if b.err != nil {
		return
	}
	b.err = err
	close(b.done)
	for _, c := range b.children {
		c.cancel(err)
	}
	b.r.poke()
}

// limit ends the context after d.
func (b *bound) limit(d time.Duration) {
	if d > 0 {
		b.r.w.after(d, func() {
			if !b.r.ended && b.err == nil {
				b.cancel(context.DeadlineExceeded)
			}
		})
	}
}

// nodeClock is time for effects: the node's CLOCK_BOOTTIME, in virtual time.
type nodeClock struct{ n *Node }

// Now implements agent.Clock.
func (c nodeClock) Now() cluster.Instant { return c.n.instant() }

// Wall implements agent.Clock.
func (c nodeClock) Wall() time.Time { return c.n.wall() }

// Sleep implements agent.Clock.
func (c nodeClock) Sleep(done <-chan struct{}, d time.Duration) bool {
	closed := false
	c.n.w.current.waitUntil(context.Background(), func() bool { closed = isClosed(done); return closed }, d)
	return !closed
}

// Wait implements agent.Clock.
func (c nodeClock) Wait(ctx context.Context, until <-chan struct{}, d time.Duration) bool {
	return c.n.w.current.waitUntil(ctx, func() bool { return isClosed(until) }, d)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// WithTimeout implements agent.Clock.
func (c nodeClock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	child := newBound(c.n.w.current)
	if parent, ok := ctx.(*bound); ok {
		if parent.err != nil {
			child.cancel(parent.err)
		}
		parent.children = append(parent.children, child)
	}
	child.limit(d)
	return child, func() { child.cancel(context.Canceled) }
}

// sleep waits as an effect of the node does; false when ctx ended first.
func (n *Node) sleep(ctx context.Context, d time.Duration) bool {
	return nodeClock{n}.Sleep(ctx.Done(), d)
}
