package chaos

import (
	"fmt"
	"time"
)

// strike is one fault as it happened.
type strike struct {
	fault
	node string // empty for etcd's faults
	part string // what the node was: primary or standby
	// disturbed strikes hit a cluster that was not whole, and are not measured.
	disturbed bool
	during    span
	gap       time.Duration
}

// aftermath is how long after its end a network fault may still deliver what it held
// back (TCP's retransmission waits, bounded by the clients' patience), and a thawed
// node may answer.
const aftermath = 2 * answerLimit

// held reports whether one of the strikes on a node explains what happened within s.
func held(strikes []strike, node string, s span, explains func(fault) bool) bool {
	for _, k := range strikes {
		if k.node == node && explains(k.fault) && (span{k.during.from, k.during.to + aftermath}).overlaps(s) {
			return true
		}
	}
	return false
}

// order is what the judge of terms found.
type order struct {
	violations []string
	// excepted are writes of a server whose every agent process was frozen.
	excepted map[*operation]time.Duration
	// late are acknowledgements that were under way while a newer term acknowledged
	// others: they may have been sent before.
	late int
}

// judgeOrder looks for a write that an older term acknowledged after a newer one had
// acknowledged a write. The acknowledgement's way to the client takes time: sent in
// time and read late is no violation where the network or this program held it back.
//
// The named exception is asynchronous mode's: with a gate or a synchronous mode a server
// whose every agent process stands still acknowledges nothing that it was sent meanwhile.
func judgeOrder(h *history, strikes []strike, m mode) order {
	found := order{excepted: map[*operation]time.Duration{}}
	var firsts []*operation // the first acknowledgement of each new greatest timeline
	for _, op := range h.acks() {
		var newer *operation
		for _, f := range firsts {
			if f.tl > op.tl && newer == nil {
				newer = f
			}
		}
		if len(firsts) == 0 || op.tl > firsts[len(firsts)-1].tl {
			firsts = append(firsts, op)
		}
		if newer == nil {
			continue
		}
		life := span{newer.ret, op.ret}
		switch {
		case m.excepts() && held(strikes, op.node, life, func(f fault) bool { return f.frozen }):
			found.excepted[op] = op.ret - newer.ret
		case !m.excepts() && sentBefore(strikes, op, life):
			found.late++
		case op.call < newer.ret && (h.stalled(life) || held(strikes, op.node, life, func(f fault) bool { return f.network })):
			found.late++
		default:
			found.violations = append(found.violations, fmt.Sprintf("%s on timeline %d acknowledged operation %d (sent at %v) at %v, %v after %s on timeline %d acknowledged operation %d at %v",
				op.node, op.tl, op.id, op.call, op.ret, op.ret-newer.ret, newer.node, newer.tl, newer.id, newer.ret))
		}
	}
	return found
}

// stalled reports whether this program did not run for as long as s lasts, near s.
func (h *history) stalled(s span) bool {
	return h.slept(span{s.from - stallMin, s.to + stallMin}) >= s.to-s.from
}

// slept is how long this program did not run, in stalls that touch s.
func (h *history) slept(s span) (slept time.Duration) {
	for _, stall := range h.stalls {
		if stall.overlaps(s) {
			slept += stall.to - stall.from
		}
	}
	return slept
}
