package sim

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pgkeeper/pgkeeper/guard"
)

// guardProcess is the process with the real guard's rules in it.
type guardProcess struct {
	process
	n       *Node
	model   *guard.Model
	wake    wakeup
	peer    func() // hangs the connected worker up
	page    page
	gone    []int // gates that have ended
	waiting []*routine
	quits   int // the postmaster that it has sent SIGQUIT, outside a pause
}

func newGuardProcess(n *Node) *guardProcess {
	g := &guardProcess{process: process{w: n.w}, n: n}
	g.model = guard.NewModel(machine{g}, gates{g}, quiet)
	g.model.Remember(n.lastKill)
	if n.dog != nil {
		g.model.Watchdogs(n.dog.openBy(g))
	}
	g.turn()
	return g
}

// turn lets the guard do what is due and has it woken again.
func (g *guardProcess) turn() { g.run((*guardTurn)(g)) }

// guardTurn does what is due in a guard, guardWake gives it its turn.
type (
	guardTurn guardProcess
	guardWake guardProcess
)

func (t *guardTurn) do() {
	g := (*guardProcess)(t)
	g.model.Turn()
	g.n.dog.say()
	if g.model.Over() {
		g.exit()
		return
	}
	g.plan()
}

func (t *guardWake) do() {
	if t.wake.rings(t.w, t) {
		(*guardProcess)(t).turn()
	}
}

func (g *guardProcess) plan() {
	wake := g.model.Wake()
	if wake == 0 {
		g.wake.at = never
		return
	}
	g.wake.set(g.w, g.n.boot+wake, (*guardWake)(g))
}

// exit is the guard's own end, with nothing left to guard.
func (g *guardProcess) exit() {
	g.end()
	if g.n.guard == g {
		g.n.guard = nil
		g.n.afterDeath(g.n.keepGuard)
	}
}

func (g *guardProcess) end() {
	g.n.lastKill = max(g.n.lastKill, g.model.Status().LastKill)
	g.kill()
	g.n.dog.closed(g)
	if p := g.n.gate; p != nil && p.g == g { // the kernel kills it
		g.n.killGate()
	}
	if g.peer != nil {
		g.peer()
	}
}

// guardDies: the kernel sends the server SIGQUIT, and the supervisor starts
// another guard.
func (n *Node) guardDies() {
	if n.guard == nil {
		return
	}
	n.guard.end()
	n.guard = nil
	n.quitServer()
	n.afterDeath(n.keepGuard)
}

// carry brings a worker's requests to the guard and waits for the answer.
func (g *guardProcess) carry() guard.Carrier {
	return func(ctx context.Context, deliver func(), answered func() bool) error {
		r := g.w.current
		g.w.after(socketDelay, doing(func() {
			g.run(doing(func() {
				deliver()
				g.turn()
				r.poke()
			}))
		}))
		g.waiting = append(g.waiting, r)
		ok := r.waitUntil(ctx, func() bool { return answered() || g.dead }, 0)
		g.waiting = remove(g.waiting, r)
		switch {
		case answered():
			return nil
		case !ok:
			return fmt.Errorf("no answer: %w", ctx.Err())
		}
		return guard.ErrDisconnected
	}
}

// machine is what the guard sees of its node.
type machine struct{ g *guardProcess }

// Now implements guard.Machine.
func (m machine) Now() time.Duration { return time.Duration(m.g.n.instant()) }

// Scan implements guard.Machine.
func (m machine) Scan() []int { return m.g.n.scan() }

// StandbySignal implements guard.Machine.
func (m machine) StandbySignal() bool { return m.g.n.pg.StandbySignal() }

// Beside implements guard.Machine: the disk may stall.
func (m machine) Beside(work func()) {
	g := m.g
	done := doing(func() {
		g.run(doing(func() {
			work()
			g.turn()
			for _, r := range g.waiting {
				r.poke()
			}
		}))
	})
	if g.n.diskHangs {
		g.n.atDisk = append(g.n.atDisk, done)
		return
	}
	g.w.after(100*time.Microsecond+g.n.diskDelay, done)
}

// NewID implements guard.Machine.
func (m machine) NewID() string {
	m.g.w.instances++
	return m.g.n.name + "-" + strconv.Itoa(m.g.w.instances)
}

func remove(all []*routine, r *routine) []*routine {
	for i, other := range all {
		if other == r {
			return append(all[:i], all[i+1:]...)
		}
	}
	return all
}
