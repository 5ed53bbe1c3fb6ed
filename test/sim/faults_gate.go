package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Faults of the gate, and changes of how commits are made durable. They are drawn apart
// from all others, whose seeds give the same schedules with and without them.
var gateDeeds = map[string]deed{
	"kill gate":             func(_ *World, n *Node, _ fault) func() { n.killGate(); return nil },
	"freeze gate":           func(_ *World, n *Node, _ fault) func() { return n.freezeGate() },
	"gate refused":          refuseGate,
	"freeze agent and gate": freezeAgentAndGate,
	"clocks step":           stepClock,
	"guest stands still":    standStill,
	"durability changed":    changeDurability,
}

// deedOf is a fault by its name.
func deedOf(kind string) deed {
	if d, known := deeds[kind]; known {
		return d
	}
	return gateDeeds[kind]
}

// gateKinds are what hits clusters with a gate: its own faults, and those that a gate is
// there for.
var gateKinds = []string{"kill gate", "freeze gate", "gate refused", "freeze agent and gate", "freeze agent and gate", "freeze agent", "freeze guard", "freeze worker",
	"suspend machine", "kill guard", "wall clock jumps", "clocks step", "durability changed", "durability changed", "cut from etcd", "freeze server"}

// gating draws whether an asynchronous cluster gates its commits, and more faults for
// those that do. In some of the others the mode of durability changes.
func gating(seed uint64, synchronous bool, nodes, index int) (settings string, more []fault) {
	rng := rand.New(rand.NewPCG(seed, 0x6a7e))
	from := []string{"durability changed"}
	switch on := rng.IntN(2) == 0; {
	case on && !synchronous:
		settings, from = `,"commit_gate":true`, gateKinds
	case rng.IntN(4) > 0:
		return "", nil
	}
	more = make([]fault, 1+rng.IntN(4))
	for i := range more {
		f := &more[i]
		f.index, f.kind = index+i, from[rng.IntN(len(from))]
		f.at = 4*time.Second + time.Duration(rng.Int64N(int64(50*time.Second)))
		f.node, f.to, f.n = rng.IntN(nodes), 3*rng.IntN(2), 1+rng.IntN(50)
		f.lasts = time.Duration(rng.Int64N(int64([]time.Duration{time.Second, 8 * time.Second, 25 * time.Second}[rng.IntN(3)])))
	}
	return settings, more
}

// together has several faults begin at once, and end in the same order.
func together(all ...func()) func() {
	return func() {
		for _, undo := range all {
			if undo != nil {
				undo()
			}
		}
	}
}

// refuseGate ends the gate's connection and lets no other in: as many others stream as
// max_wal_senders allows.
func refuseGate(_ *World, n *Node, f fault) func() {
	n.refusesGate = true
	n.killGate()
	return n.counted(f.kind, func() { n.refusesGate = false })
}

// freezeAgentAndGate freezes every process of an agent; the gate thaws before or after
// the one that would stop the server.
func freezeAgentAndGate(_ *World, n *Node, f fault) func() {
	all := []func(){n.freezeGate(), n.freeze(true, true, false)}
	if f.n%2 == 0 {
		slices.Reverse(all)
	}
	return together(all...)
}

// suspend freezes the whole machine, its kernel too; the gate thaws first.
func suspend(_ *World, n *Node, _ fault) func() {
	return together(n.dog.standsStill(), n.freezeGate(), n.freeze(true, true, true))
}

// stepClock sets a wall clock a little, or by more than a gate lets pass.
func stepClock(_ *World, n *Node, f fault) func() {
	n.skew += time.Duration(f.n-25) * 20 * time.Millisecond
	return nil
}

// standStill is a guest whose clocks stop with it, as in a snapshot or a migration: when it
// goes on its wall clock is set first, and nothing else tells. No schedule draws it, since
// S1 and S3 do not hold for such a guest; a gate that ran before sees the jump.
func standStill(w *World, n *Node, f fault) func() {
	thaw := suspend(w, n, f)
	return func() {
		n.boot += f.lasts
		n.seen.stoodStill = true
		thaw()
	}
}

// durabilities are the modes that an operator may choose.
var durabilities = []map[string]any{
	{"commit_gate": true, "synchronous_mode": "off"},
	{"commit_gate": false, "synchronous_mode": "quorum", "synchronous_mode_strict": true},
	{"commit_gate": false, "synchronous_mode": "quorum", "synchronous_mode_strict": false},
	{"commit_gate": false, "synchronous_mode": "on", "synchronous_mode_strict": true},
	{"commit_gate": false, "synchronous_mode": "off"},
}

// changeDurability chooses a mode, and after a while the one before again.
func changeDurability(w *World, _ *Node, f fault) func() {
	before := w.durability()
	w.patchAll(durabilities[f.n%len(durabilities)])
	if f.lasts < time.Second { // it stays
		return nil
	}
	return func() { w.patchAll(before) }
}

// durability is the mode that is stored.
func (w *World) durability() map[string]any {
	s := w.stored()
	return map[string]any{"commit_gate": s.CommitGate, "synchronous_mode": s.SynchronousMode, "synchronous_mode_strict": s.SynchronousStrict}
}

// describe says a change of several settings.
func describe(changes map[string]any) string {
	var text strings.Builder
	for _, d := range []string{"commit_gate", "synchronous_mode", "synchronous_mode_strict"} {
		if v, set := changes[d]; set {
			fmt.Fprintf(&text, " %s=%v", d, v)
		}
	}
	return text.String()
}
