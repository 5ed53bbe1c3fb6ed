package sim

import (
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// probes is the probe of one worker: a process of its own, whose words wait in a pipe
// while the worker is frozen. Like the real one it says nothing while all is well.
type probes struct {
	k      *worker
	checks [2]probed
}

// probed is one check as its probe sees it.
type probed struct {
	name cluster.CheckName
	// good is when it succeeded last, since, when the one try failed that has not succeeded
	// since; 0 for none.
	good, since cluster.Instant
	failed      bool // and somebody was told
}

// startProbes begins at a moment of the first round that draws nothing.
func (k *worker) startProbes() {
	p := &probes{k: k, checks: [2]probed{{name: cluster.CheckAccept}, {name: cluster.CheckData}}}
	k.n.w.after(time.Duration(k.n.i+1)*137*time.Millisecond, p)
}

func (p *probes) do() {
	k := p.k
	if k.dead || k.over {
		return
	}
	patience := k.n.settings().ProbeTimeout
	if patience <= 0 {
		patience = cluster.DefaultProbeTimeout
	}
	again := patience / 5
	asleep := k.n.asleep()
	for i := range p.checks {
		c := &p.checks[i]
		if asleep { // and so is the probe, which blames nobody for that
			c.good, c.since = 0, 0
			continue
		}
		if p.look(c, patience) {
			again = min(again, patience/10)
			if left := c.good.Add(patience).Sub(k.n.instant()); left > 0 { // told at that moment too
				again = min(again, left)
			}
		}
	}
	k.n.w.after(again, p)
}

// asleep: everything on the machine stands still.
func (n *Node) asleep() bool {
	return n.worker != nil && n.worker.frozen && n.guard != nil && n.guard.frozen && n.pg.Frozen()
}

// look is one round of a check; it reports whether it fails.
func (p *probes) look(c *probed, patience time.Duration) bool {
	n := p.k.n
	now := n.instant()
	ailment, hangs := n.ailment(c.name)
	switch {
	case ailment == "":
		if c.failed {
			p.k.post(agent.Probed{Check: c.name, Began: now, At: now})
		}
		c.good, c.since, c.failed = now, 0, false
		return false
	case c.since.Never():
		c.since = now
	}
	if hangs && now.Sub(c.since) < patience*2/5 {
		return true
	}
	c.failed = true
	p.k.post(agent.Probed{Check: c.name, Began: max(c.good, c.since.Add(-patience/5)), At: now, Ailment: ailment, Detail: "as the model has it"})
	return true
}

// ailment is what a try of a check would find now; hangs: by not ending.
func (n *Node) ailment(check cluster.CheckName) (a cluster.Ailment, hangs bool) {
	switch running := n.pg.Mode() != cluster.ModeStopped; {
	case !running:
	case check == cluster.CheckAccept && n.pg.Frozen():
		return cluster.AilmentHung, true
	case check == cluster.CheckData && n.diskHangs:
		return cluster.AilmentStalled, true
	case check == cluster.CheckData && n.pg.Full():
		return cluster.AilmentFull, false
	}
	return "", false
}
