package sim

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// What lease-gated commits promise (SAFETY 4): an acknowledgement is decided by the gate,
// and no later than T after the start of the last renewal that counted, whatever of the
// node is frozen. So the named exception does not apply to a server that has its gate.
// What the gate decided in time may come to the client later, when the server itself was
// frozen between; guests whose clocks stop do not exist here.

// gateJudge is the judge's memory of gates.
type gateJudge struct {
	// gateWanted: the stored configuration asks for gates, and did when it was last changed.
	gateWanted bool
	gatedAcks  int
	lateAcks   int
	// firstAck is when the newest epoch acknowledged first.
	firstAck time.Duration
}

// gateFacts is what the judge knows of a node's gate.
type gateFacts struct {
	// started: the last thing that was begun with the server was under settings that ask
	// for a gate.
	started bool
	// ungated is the server whose promotion was begun under settings that ask for none. It
	// may come through late, after the configuration has changed and before the server
	// could be told.
	ungated int
	// must is since when the server has to have one: it began with it, or had its name in
	// force, and the settings still ask for it; 0 for not.
	must cluster.Instant
}

// stored is what the stored configuration means.
func (w *World) stored() cluster.Settings {
	c := w.view().Config
	if c == nil {
		s, _ := parseConfig(w.bootstrap)
		return s
	}
	s, _ := parseConfig(c.Raw)
	return s
}

// wanted is called when the configuration was written: from now on servers may lose the
// gates they have, or get some.
func (w *World) wanted() {
	w.gateWanted = w.stored().CommitGate
	for _, n := range w.nodes {
		if !w.gateWanted {
			n.seen.gate.must = 0
		}
	}
}

// noteGate sees the settings by which a server is about to be started or reloaded. A node
// that hears late of a gate that was turned off, and on again since, takes it off all the
// same: its commits must be gated again from when it has heard of that too.
func (n *Node) noteGate(by cluster.Settings) {
	n.seen.gate.started = by.CommitGate
	if !by.CommitGate && !n.settings().CommitGate {
		n.seen.gate.must = 0
	}
}

// serveGated judges what clients of a server were told that has its gate, or must have it;
// false when there is nothing about a gate in it.
func (w *World) serveGated(n *Node, acked pgfake.Ack) bool {
	gated := n.pg.Gated()
	if must := &n.seen.gate.must; gated && w.gateWanted && n.seen.gate.started && *must == 0 {
		*must = w.serverNow()
	}
	fresh := acked.At > n.seen.acked.At
	switch {
	case fresh && acked.Gated:
		w.judgeGated(n, acked)
		return true
	case n.seen.gate.must != 0 && acked.At > n.seen.gate.must && !acked.Synchronous && !acked.Gated:
		w.fail("S1", "%s acknowledges a commit that its gate has not confirmed", n.name)
	}
	return gated
}

// judgeGated judges one acknowledgement by when its gate decided it.
func (w *World) judgeGated(n *Node, acked pgfake.Ack) {
	w.gatedAcks++
	decided := time.Duration(acked.Decided) - serverEpoch
	if end := n.leaseEnd(); decided > end && !w.lifted(n) {
		w.fail("S1", "the gate of %s confirms commits %s after its lease ended", n.name, decided-end)
	}
	n.seen.acked = acked
	if n.seen.epoch < w.lastAcked {
		if decided > w.firstAck {
			w.fail("S1", "the gate of %s confirms a commit after a newer primary has acknowledged one", n.name)
		}
		w.lateAcks++
		w.tell(n, "acknowledges a commit that its gate confirmed %s ago: it lay in a socket", (w.now - decided).Round(time.Millisecond))
		return
	}
	w.acknowledged(n, acked)
}

// acknowledged is the newest commit of the newest primary.
func (w *World) acknowledged(n *Node, acked pgfake.Ack) {
	if n.seen.epoch != w.lastAcked {
		w.firstAck = w.now
	}
	if silent := acked.At.Sub(w.last.At); w.text != nil && (acked.Gated || w.last.Gated) && w.last.At != 0 && silent > freshEnough {
		w.tell(n, "acknowledges commits, which waited for %s", silent.Round(time.Millisecond))
	}
	n.seen.acked = acked
	w.lastAcked, w.last, w.lastBy, w.lost = n.seen.epoch, acked, n, false
}

// freshEnough is how old the newest acknowledgement is at most where commits flow.
const freshEnough = time.Second

// flows: clients of the primary have their commits acknowledged, in the way that the
// configuration asks for.
func (w *World) flows(lead *Node) bool {
	acked := lead.pg.Acked(w.serverNow())
	return w.serverNow().Sub(acked.At) < freshEnough && lead.pg.Gated() == w.stored().CommitGate
}
