package sim

import (
	"context"
	"iter"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// routine is one thread of a process: sequential code of the product that hands
// control back to the scheduler wherever it waits. At any time one runs at most.
type routine struct {
	w     *World
	p     *process
	t     *thread
	runs  program
	ctx   bound
	poked bool
	ended bool
}

// program is what a routine runs; over is called, outside it, when it has ended by
// itself.
type program interface {
	main(ctx *bound)
	over()
}

// plain is a program of which nobody waits for the end.
type plain func(ctx *bound)

func (f plain) main(ctx *bound) { f(ctx) }
func (f plain) over()           {}

// thread is what routines run on, one after the other: a coroutine is cheap to
// switch to, and dear to make.
type thread struct {
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	r     *routine
	idle  bool
}

// unwind ends a routine by a panic that nothing of the product recovers.
type unwind struct{}

// pool keeps idle threads; one pool serves one world at a time, and worlds one after the
// other: a thread whose routine was killed serves the next.
type pool struct{ idle []*thread }

func (l *pool) take() *thread {
	if last := len(l.idle) - 1; last >= 0 {
		t := l.idle[last]
		l.idle[last] = nil // a thread that has ended would keep its world, and that one's threads theirs
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
	for {
		t.idle = false
		t.once()
		t.idle, t.r = true, nil
		if !yield(struct{}{}) {
			return
		}
	}
}

// once runs a routine to its end, or until it is killed.
func (t *thread) once() {
	defer func() {
		if e := recover(); e != nil {
			if _, wanted := e.(unwind); !wanted {
				panic(e) //nolint:forbidigo // not ours: the run ends with it
			}
		}
	}()
	t.r.runs.main(&t.r.ctx)
}

// start begins a routine.
func (p *process) start(body plain) *bound { return p.begin(&routine{}, body) }

// begin begins the routine r.
func (p *process) begin(r *routine, what program) *bound {
	r.w, r.p, r.t, r.runs = p.w, p, p.w.pool.take(), what
	r.ctx.r, r.t.r = r, r
	p.order = append(p.order, r)
	r.resume()
	return &r.ctx
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
	r.runs.over()
}

// end stops the routine wherever it waits.
func (r *routine) end() {
	if !r.ended {
		r.ended = true
		r.t.next() // it unwinds
		r.w.pool.idle = append(r.w.pool.idle, r.t)
	}
}

// park waits for a poke.
func (r *routine) park() {
	if r.ended || !r.t.yield(struct{}{}) || r.ended {
		panic(unwind{}) //nolint:forbidigo // unwinds a routine of a process that was killed
	}
}

// poke has the routine look again at what it waits for.
func (r *routine) poke() {
	if r.poked || r.ended {
		return
	}
	r.poked = true
	r.w.add(r.w.now, (*turn)(r))
}

// wake is poke for the scheduler itself, where nothing else is going on.
func (r *routine) wake() {
	if r.poked || r.ended {
		return
	}
	r.poked = true
	(*turn)(r).do()
}

// alarm wakes a routine, turn gives it its turn, onward runs it.
type (
	alarm  routine
	turn   routine
	onward routine
)

func (a *alarm) do() { (*routine)(a).wake() }
func (t *turn) do()  { t.p.run((*onward)(t)) }
func (o *onward) do() {
	o.poked = false
	(*routine)(o).resume()
}

// waitUntil parks until ready, ctx ends, or d has passed (0: no limit).
func (r *routine) waitUntil(ctx context.Context, ready func() bool, d time.Duration) bool {
	var until time.Duration
	if d > 0 {
		until = r.w.now + d
		r.w.after(d, (*alarm)(r))
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
	r *routine
	// done is made when somebody asks for it.
	done     chan struct{}
	err      error
	children []*bound
	// at is when it ends by itself.
	at time.Duration
}

// Deadline is never known: the product does not ask.
func (b *bound) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed when the context ends.
func (b *bound) Done() <-chan struct{} {
	if b.done == nil {
		b.done = make(chan struct{})
		if b.err != nil {
			if b.done != nil {
				close(b.done)
			}
		}
	}
	return b.done
}

// Err is why it has ended.
func (b *bound) Err() error { return b.err }

// Value has nothing; wrappers of this context add their own.
func (b *bound) Value(any) any { return nil }

func (b *bound) cancel(err error) {
	if b.err != nil {
		return
	}
	b.err = err
	if b.done != nil {
		close(b.done)
	}
	for _, c := range b.children {
		c.cancel(err)
	}
	b.r.poke()
}

// limit ends the context after d.
func (b *bound) limit(d time.Duration) {
	if d > 0 {
		b.r.w.deadlines.add(b.r.w, b.r.w.now+d, (*expiry)(b))
	}
}

// expiry ends a context whose time has passed.
type expiry bound

func (x *expiry) do() {
	if !x.r.ended && x.err == nil {
		(*bound)(x).cancel(context.DeadlineExceeded)
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
	child := &bound{r: c.n.w.current}
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
	if d > 0 {
		n.w.current.waitUntil(ctx, notYet, d)
	}
	return ctx.Err() == nil
}

func notYet() bool { return false }
