package sim

import (
	"context"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
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

	wire  wire
	calls network
	// wires and lines are the faults that these come of, going how many there are of
	// other kinds.
	wires []*wire
	lines []*network
	going map[string]int
	// ice is how many faults keep the server of this postmaster frozen.
	ice struct{ pid, faults int }
	pg  *pgfake.Server
	// place is the configuration that the next reload places a standby's names by; nil for
	// none that was written since the last.
	place *cluster.Settings
	// dataDir and argv are what its server is started with.
	dataDir string
	argv    [1]string
	// diskDelay is how much longer everything takes that waits for the disk.
	diskDelay time.Duration
	// crowd is how much longer whatever is asked of the server takes.
	crowd time.Duration
	// diskHangs: nothing reaches it; atDisk is what the guard waits for.
	diskHangs bool
	atDisk    []task

	lost   bool         // does not come back
	memory agent.Memory // on disk
	// lastKill is the guard's file.
	lastKill time.Duration

	supervisor *process
	// byPatroni: Patroni runs this node, and no agent; patroni is its daemon while there is
	// one. The supervisor stands for the init system then.
	byPatroni bool
	patroni   *patroni
	worker    *worker
	guard     *guardProcess
	gate      *gateProcess
	dog       *watchdog // nil: no agent asks for one
	// refusesGate: the server lets no gate in.
	refusesGate bool
	tags        cluster.Tags
	// stopped: an operator stopped the agent.
	stopped bool

	seen facts
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
	n.guard, n.worker, n.gate, n.patroni = nil, nil, nil, nil
	n.startAgent()
}

// startAgent is what the supervisor does.
func (n *Node) startAgent() {
	if n.stopped || !n.up {
		return
	}
	if n.byPatroni {
		n.keepPatroni()
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
	n.dog.off()
	n.killWorker()
	n.killPatroni()
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

// named is the node of a name; nil for none.
func (w *World) named(name string) *Node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// holds reports whether the node's own loop believes it holds the lease.
func (n *Node) holds() bool {
	return n.worker != nil && n.worker.loop.Term() != 0 || n.patroni != nil && n.patroni.leads()
}

// reason is what the node's loop decided last.
func (n *Node) reason() cluster.Reason {
	if n.worker == nil || n.worker.state() == nil {
		return ""
	}
	return n.worker.state().Reason
}
