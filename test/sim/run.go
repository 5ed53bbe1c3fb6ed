package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/dcs"
)

const (
	// length is how long the faults of a schedule last at most; then all heals.
	length = 60 * time.Second
	// patience is L1's bound: from the healing to one primary with all others
	// streaming from it.
	patience = 90 * time.Second
	// forgetting is how long an operator keeps every agent stopped after a store was set back.
	forgetting = 40 * time.Second
)

// schedule is one run of the simulator.
type schedule struct {
	seed     uint64
	nodes    int
	settings string
	faults   []fault
	kennels  []kennel
	patroni  []int // the nodes that Patroni runs
	lost     []int // the nodes that do not come back until the others are in order
	rests    bool  // in order, it is looked at for longer
}

// newSchedule draws everything of a run from its seed.
func newSchedule(seed uint64) schedule {
	if mixed(seed) {
		return newMixed(seed)
	}
	return newOwn(seed)
}

// newOwn draws one in which agents run every member.
func newOwn(seed uint64) schedule {
	rng := rand.New(rand.NewPCG(seed, 0xfa17))
	// A short lease, a short loop and many nodes cost two to three times as much as
	// others and find no more: all are there, the dear ones less often.
	ttl := []int{3, 5, 10, 10, 20, 20, 30, 30, 30, 30}[rng.IntN(10)]
	wait := []int{2, 10, 10, 10, 10, 10}[rng.IntN(6)]
	nodes := []int{3, 3, 3, 3, 3, 4, 5}[rng.IntN(7)]
	lag := 1 << (10 + rng.IntN(11))
	mode, faults := durability(seed), draw(rng, nodes)
	gate, more := gating(seed, mode != "", nodes, len(faults))
	failsafeMode, yet := failsafe(seed, nodes, len(faults)+len(more))
	more = append(more, yet...)
	fast, yet := sudden(seed, mode, nodes, len(faults)+len(more))
	more = append(more, yet...)
	for _, others := range []func(seed uint64, nodes, index int) []fault{crowding, operating, tampering, tagging, checkpointing, dooming} {
		more = append(more, others(seed, nodes, len(faults)+len(more))...)
	}
	kennels, yet := watching(seed, nodes, len(faults)+len(more))
	more = append(more, yet...)
	return schedule{seed: seed, nodes: nodes, lost: losing(seed, nodes), rests: resting(seed), settings: fmt.Sprintf(`{"ttl":%d,"loop_wait":%d,"retry_timeout":3,"maximum_lag_on_failover":%d%s%s%s%s}`, ttl, wait, lag, mode, gate, failsafeMode, fast), faults: append(faults, more...), kennels: kennels}
}

// durability draws the synchronous mode, apart from everything else: half of the
// schedules are asynchronous.
func durability(seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 0x517c))
	if rng.IntN(2) == 0 {
		return ""
	}
	mode := []string{"on", "quorum", "quorum"}[rng.IntN(3)]
	return fmt.Sprintf(`,"synchronous_mode":"%s","synchronous_mode_strict":%t,"synchronous_node_count":%d`, mode, rng.IntN(3) > 0, 1+rng.IntN(2))
}

// result is what came of a run.
type result struct {
	violation string
	steps     int
	excused   int
	astray    bool
	gated     int // acknowledgements that a gate confirmed, seen by the judge
	late      int // of them, delivered after a freeze
	text      string
	took      time.Duration // from the healing to order
	failsafes int           // rounds of promises that were enough
	takeovers int           // keys taken over before their lease had ended
	resets    int           // machines reset by their watchdogs
	mixed     bool          // Patroni ran some of the nodes
	fouls     map[foul]int  // what it did wrong
}

// run runs the schedule; told makes its transcript.
func (s schedule) run(threads *pool, told bool) (r result) {
	w := newWorld(threads, s.seed, s.nodes, s.settings, told)
	defer w.close()
	w.house(s.kennels)
	w.mix(s.patroni)
	defer func() {
		if e := recover(); e != nil { // the product, or the model: both must not
			w.fail("panic", "%v\n%s", e, debug.Stack())
			r = w.result()
		}
	}()
	w.boot()
	w.plan(s.faults)
	w.runUntil(length)
	bound := patience
	if w.restored {
		bound += forgetting
	}
	if w.mixed {
		bound = mixedPatience
	}
	lose := s.lost != nil && !w.restored // else an operator keeps all of them stopped
	w.heal()
	if lose {
		w.without(s.lost)
	}
	if !w.settles(bound) && !w.held() {
		w.fail("L1", "%s after the faults have healed: %s", bound, w.unsettled())
	}
	if s.rests {
		w.rests()
	}
	return w.result()
}

// settles lets the world go on until L1 holds, or for so long; true also after a violation.
func (w *World) settles(within time.Duration) bool {
	for end := w.now + within; w.violation == "" && w.now < end && !w.settled(); {
		w.runUntil(w.now + 250*time.Millisecond)
	}
	return w.violation != "" || w.settled()
}

// boot gives every machine power, one a little after the other.
func (w *World) boot() {
	for _, n := range w.nodes {
		w.after(w.jitter(300*time.Millisecond), doing(n.power))
	}
}

func (w *World) result() result {
	resets := 0
	for _, n := range w.nodes {
		if n.dog != nil {
			resets += n.dog.resets
		}
	}
	return result{resets: resets, mixed: w.mixed, fouls: w.fouls, violation: w.violation, steps: w.steps, excused: w.excused, astray: w.astray && w.ended == "", gated: w.gatedAcks, late: w.lateAcks, text: string(w.text), took: max(0, w.now-length), failsafes: w.failsafes, takeovers: w.takeovers}
}

// minimised drops faults one by one, as long as the same invariant is violated.
func (s schedule) minimised(threads *pool) schedule {
	want := s.run(threads, false).violation
	for i := range slices.Backward(s.faults) {
		fewer := s
		fewer.faults = slices.Delete(slices.Clone(s.faults), i, i+1)
		if fewer.run(threads, false).violation == want {
			s = fewer
		}
	}
	return s
}

// heal ends every fault that has not ended, as an operator would.
func (w *World) heal() {
	w.tellAll("all faults heal")
	w.healed = true
	w.site.Advance(w.serverNow())
	w.heals()
	for _, n := range w.nodes {
		n.wire, n.calls, n.wires, n.lines, n.going, n.stopped = wire{}, network{}, nil, nil, nil, false
		w.rewire(n)
		n.mend()
		n.power()
		n.supervisor.goesOn()
		if n.supervisor.dead {
			n.supervisor = &process{w: w}
		}
		if n.gate != nil {
			n.gate.goOn()
		}
		for _, p := range n.processes() {
			p.goesOn()
		}
		n.patroni.healed()
		n.startAgent()
	}
	w.blocked, w.outages, w.pauses = [8][8]uint8{}, 0, 0
	w.readable()
	for _, n := range w.nodes { // by the ttl that is stored now
		n.dog.mend()
	}
	w.untag()
	w.patch("pause", false)
	if w.restored {
		w.forget()
	}
}

// heals ends an outage of the store.
func (w *World) heals() {
	if w.etcdDown {
		w.etcdDown = false
		w.etcdLost += w.now - w.etcdFrom
		leaderChange(w, nil, fault{})
	}
}

// forget is what an operator does about a store that was set back: every agent is
// stopped, and its server with it, until no lease can be left, the backup's neither;
// then what the nodes remember is removed, and whom their servers wait for.
func (w *World) forget() {
	for _, n := range w.nodes {
		n.stopped = true
		n.killWorker()
		n.killServer()
		n.memory = agent.Memory{}
		n.pg.SetSync(w.serverNow(), 0)
		n.seen.waits = 0
	}
	if w.view().Initialize == nil && w.system != "" { // which would have them wait for the one that was primary last
		w.byHand(dcs.Put(base+"initialize", []byte(w.system), 0))
	}
	w.vouched()
	w.after(forgetting, doing(func() {
		for _, n := range w.nodes {
			n.stopped = false
			n.startAgent()
		}
	}))
}

func (n *Node) processes() []*process {
	var all []*process
	if n.worker != nil {
		all = append(all, &n.worker.process)
	}
	if n.guard != nil {
		all = append(all, &n.guard.process)
	}
	if n.patroni != nil {
		all = append(all, &n.patroni.process)
	}
	return all
}

// setKeys gives raw with some keys changed.
func setKeys(raw json.RawMessage, changes map[string]any) json.RawMessage {
	m := map[string]any{}
	if json.Unmarshal(raw, &m) != nil {
		return raw
	}
	maps.Copy(m, changes)
	next, err := json.Marshal(m)
	if err != nil {
		return raw
	}
	return next
}
