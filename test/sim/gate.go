package sim

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/guard/gate"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// gateProcess is a server's gate: the real rule of when to confirm, before a connection
// that is a model.
type gateProcess struct {
	process
	n    *Node
	g    *guardProcess // which has started it, and whose page it has mapped
	name string
	pid  int

	warden gate.Warden
	// clock is the moment at which the warden reads its clocks: it is asked when somebody
	// wants to know, and about the time until then.
	clock time.Duration
	// looked is when it was asked last, runs since when it has run without a break,
	// confirmed the last moment at which it let something through.
	looked, runs, confirmed time.Duration
	lost                    time.Duration // since when it has no connection
	connected               bool
	shut                    bool // as the transcript has it
}

// page is the memory that a guard and its gate share.
type page struct {
	until, renewed time.Duration
	streaming      bool
}

// As in guard/gate: how long until a gate has begun, and between attempts to connect.
const (
	gateBegins = 5 * time.Millisecond
	gateQuick  = 5 * time.Millisecond
	gateSlow   = 100 * time.Millisecond
	gateSlowly = 2 * time.Second
)

// gatePIDs is above all of servers.
const gatePIDs = 1 << 30

// gates is guard.GateMachine for one guard.
type gates struct{ g *guardProcess }

// Publish implements guard.GateMachine. What was confirmed until now was so under the
// deadline until now.
func (m gates) Publish(until, renewed time.Duration) {
	p := &m.g.page
	if p.until == until && p.renewed == renewed {
		return
	}
	m.g.n.served()
	p.until, p.renewed = until, renewed
}

// served has the server's traffic go on until now, before something changes for its gate.
func (n *Node) served() { n.pg.Acked(n.w.serverNow()) }

// Spawn implements guard.GateMachine.
func (m gates) Spawn(spec guard.Gate) (int, error) {
	n := m.g.n
	n.w.instances++
	p := &gateProcess{process: process{w: n.w}, n: n, g: m.g, name: spec.Name, pid: gatePIDs + n.w.instances, lost: n.w.now, runs: n.w.now}
	p.clock = n.w.now
	p.warden = gate.NewWarden(func() (time.Duration, time.Duration) { return m.g.page.until, m.g.page.renewed },
		func() time.Duration { return p.clock - n.boot },
		func() time.Duration { return p.clock + n.skew })
	n.gate = p
	n.w.after(gateBegins+n.w.jitter(gateBegins), (*dialling)(p))
	return p.pid, nil
}

// Report implements guard.GateMachine.
func (m gates) Report() guard.GateReport {
	r := guard.GateReport{Streaming: m.g.page.streaming}
	if p := m.g.n.gate; p != nil {
		r.Beat = p.clock - m.g.n.boot
		if !p.frozen {
			r.Beat = time.Duration(m.g.n.instant())
		}
	}
	return r
}

// Gone implements guard.GateMachine.
func (m gates) Gone() { m.g.page.streaming = false }

// dialling is an attempt to connect, dial the gate's part of it.
type (
	dialling gateProcess
	dial     gateProcess
)

func (d *dialling) do() { d.run((*dial)(d)) }

func (d *dial) do() {
	p := (*gateProcess)(d)
	if p.connected {
		return
	}
	w := p.w
	if !p.n.refusesGate && p.n.pg.ConnectGate(w.serverNow(), p.name, p) == nil {
		w.tell(p.n, "the gate streams from its server")
		p.connected, p.g.page.streaming = true, true
		return
	}
	pause := gateQuick
	if w.now > p.lost+gateSlowly {
		pause = gateSlow
	}
	w.after(pause, (*dialling)(p))
}

// hungUp is told when the server has ended the connection.
func (p *gateProcess) hungUp() {
	if !p.connected {
		return
	}
	p.connected, p.lost = false, p.w.now
	p.w.after(gateQuick, doing(func() {
		p.run(doing(func() {
			p.g.page.streaming = p.connected
			(*dial)(p).do()
		}))
	}))
}

// Confirms implements pgfake.Gate. Since it was asked last nothing has changed but the
// time: it let through all until now, or all until the deadline, or nothing.
func (p *gateProcess) Confirms(now cluster.Instant) cluster.Instant {
	at := time.Duration(now) - serverEpoch
	if !p.frozen && !p.dead && at > p.looked {
		p.looked = at
		switch last := p.n.boot + p.g.page.until - 1; {
		case p.open(at):
			p.confirmed = at
		case p.g.page.until != guard.Lifted && last > max(p.confirmed, p.runs) && last < at && p.open(last):
			p.confirmed = last
		}
		if p.w.text != nil && p.shut != (p.confirmed < at) {
			p.shut = !p.shut
			p.w.tell(p.n, "%s", map[bool]string{true: "the gate confirms nothing: commits wait", false: "the gate confirms commits"}[p.shut])
		}
	}
	return cluster.Instant(p.confirmed + serverEpoch)
}

func (p *gateProcess) open(at time.Duration) bool {
	p.clock = at
	return p.warden.Open()
}

// killGate is SIGKILL: it reaches a frozen one too.
func (n *Node) killGate() {
	p := n.gate
	if p == nil {
		return
	}
	n.served()
	n.w.tell(n, "the gate has ended")
	p.kill()
	n.gate = nil
	n.pg.DropGate(n.w.serverNow(), p)
	if g := p.g; !g.dead {
		g.gone = append(g.gone, p.pid)
		n.w.after(0, doing(g.turn))
	}
}

// freezeGate is SIGSTOP to it.
func (n *Node) freezeGate() (thaw func()) {
	p := n.gate
	if p == nil {
		return func() {}
	}
	n.served()
	p.clock = n.w.now
	p.freeze()
	return func() {
		if p.stops == 1 {
			p.goOn()
			return
		}
		p.thaw()
	}
}

// goOn lets a frozen gate run.
func (p *gateProcess) goOn() {
	if p.frozen && !p.dead {
		p.n.served()
		p.runs = p.w.now
		p.goesOn()
	}
}

// gateLost is told by the servers' model, inside of it.
func (w *World) gateLost(n *Node) {
	if p := n.gate; p != nil {
		w.after(0, doing(p.hungUp))
	}
}

var _ pgfake.Gate = (*gateProcess)(nil)
