package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// network is what is wrong with a node's calls to other agents, beyond what keeps the
// servers apart: of a hundred, lost one way or the other, or held back for seconds.
type network struct{ loseCall, loseAnswer, late int }

func (c network) with(o network) network { //nolint:unused // strike calls it
	return network{max(c.loseCall, o.loseCall), max(c.loseAnswer, o.loseAnswer), max(c.late, o.late)}
}

// failsafeCalls is agent.FailsafePeers over the model of the network.
type failsafeCalls struct{ n *Node }

// Ask implements agent.FailsafePeers.
func (c failsafeCalls) Ask(ctx context.Context, ask cluster.FailsafeAsk, peers []election.FailsafePeer, heard func(string, cluster.FailsafeAnswer, error) bool) {
	w, r := c.n.w, c.n.w.current
	type reply struct {
		name string
		a    cluster.FailsafeAnswer
	}
	var replies []reply
	for _, p := range peers {
		w.call(c.n, p.Name, ask, func(a cluster.FailsafeAnswer) {
			replies = append(replies, reply{p.Name, a})
			r.wake()
		})
	}
	for range peers {
		if !r.waitUntil(ctx, func() bool { return len(replies) > 0 }, 0) {
			return
		}
		first := replies[0]
		replies = replies[1:]
		if heard(first.name, first.a, nil) {
			c.n.promised() // whatever its process hears of that, once it thaws
			return
		}
	}
}

// call brings one question to a node's loop, which answers through answered.
func (w *World) call(from *Node, name string, ask cluster.FailsafeAsk, reply func(cluster.FailsafeAnswer)) {
	to := w.named(name)
	if to == nil || w.chance(from.calls.loseCall) || w.chance(to.calls.loseCall) {
		return
	}
	there := 100*time.Microsecond + w.jitter(2*time.Millisecond)
	if w.chance(from.calls.late) || w.chance(to.calls.late) {
		there += time.Duration(1+w.rng.IntN(15000)) * time.Millisecond
	}
	w.after(there, doing(func() {
		k, p := to.worker, to.patroni
		if !to.up || k == nil && p == nil || w.blocked[from.i][to.i] > 0 { // over a connection that is up
			return
		}
		w.questions++
		id := w.questions
		if w.asked == nil {
			w.asked = map[uint64]func(cluster.FailsafeAnswer){}
		}
		w.asked[id] = func(a cluster.FailsafeAnswer) {
			back := 100*time.Microsecond + w.jitter(2*time.Millisecond)
			lost := w.chance(from.calls.loseAnswer) || w.chance(to.calls.loseAnswer)
			w.after(back, doing(func() {
				if !lost && from.up && w.blocked[to.i][from.i] == 0 {
					reply(a)
				}
			}))
		}
		if p != nil {
			p.process.run(doing(func() { w.answered(id, p.accepts(ask)) }))
			return
		}
		k.run(doing(func() { k.step(agent.FailsafeAsked{ID: id, Ask: ask}) }))
	}))
}

// answered is a loop's answer.
func (w *World) answered(id uint64, a cluster.FailsafeAnswer) {
	if say := w.asked[id]; say != nil {
		delete(w.asked, id)
		say(a)
	}
}

// promised: so many have promised this node, in the present round, that nobody takes
// over before it has been T.
func (n *Node) promised() { n.seen.proved = max(n.seen.proved, n.seen.asked+n.seen.askedTTL) }

// noteFailsafe sees a round of promises: when it began, and whether it counted.
func (n *Node) noteFailsafe(e agent.FailsafeDone) {
	if e.Err != "" {
		return
	}
	n.w.failsafes++
	n.awake(n.seen.asked)
	n.seen.agreed = n.seen.asked + n.seen.askedTTL
	n.seen.until = max(n.seen.until, n.seen.agreed)
	n.w.listed(n)
}

// failsafeDeeds are the faults that schedules with failsafe mode have beside the others.
// They are drawn apart, so that no other schedule is dealt differently.
var failsafeDeeds = map[string]deed{
	"everybody cut from etcd": everybodyCut,
	"calls lost":              onCalls(func(c *network, f fault) { c.loseCall, c.loseAnswer = f.n, f.n }),
	"calls late":              onCalls(func(c *network, f fault) { c.late = 2 * f.n }),
	"failsafe_mode changed":   changeFailsafe,
}

// failsafeKinds are what such schedules draw from; an outage for all comes more often.
var failsafeKinds = []string{"everybody cut from etcd", "everybody cut from etcd", "everybody cut from etcd", "etcd without leader", "etcd without leader",
	"etcd without leader", "calls lost", "calls late", "failsafe_mode changed", "cut from servers", "one-way cut", "kill agent", "power off", "kill worker", "freeze worker"}

func init() { maps.Copy(deeds, failsafeDeeds) }

// everybodyCut takes etcd away from all nodes while its leases run out.
func everybodyCut(w *World, _ *Node, f fault) func() {
	all := make([]func(), 0, len(w.nodes))
	for _, n := range w.nodes {
		all = append(all, onWire(func(l *wire, _ fault) { l.cut = true })(w, n, f))
	}
	return together(all...)
}

func onCalls(change func(*network, fault)) deed {
	return func(_ *World, n *Node, f fault) func() {
		var one network
		change(&one, f)
		return strike(&n.lines, &n.calls, one)
	}
}

func changeFailsafe(w *World, _ *Node, f fault) func() {
	w.patch("failsafe_mode", f.n%2 == 0)
	return func() { w.patch("failsafe_mode", true) }
}

// failsafe draws failsafe mode, and what then goes wrong beside the rest: half of the
// schedules have it.
func failsafe(seed uint64, nodes, drawn int) (setting string, faults []fault) {
	rng := rand.New(rand.NewPCG(seed, 0xfa15))
	if rng.IntN(2) == 0 {
		return "", nil
	}
	for i := range 1 + rng.IntN(4) {
		f := fault{index: drawn + i, kind: failsafeKinds[rng.IntN(len(failsafeKinds))], node: rng.IntN(nodes), to: rng.IntN(nodes), n: 1 + rng.IntN(50)}
		f.at = 6*time.Second + time.Duration(rng.Int64N(int64(45*time.Second)))
		f.lasts = time.Duration(rng.Int64N(int64(30 * time.Second)))
		if i > 0 && rng.IntN(2) == 0 {
			f.at = faults[i-1].at + time.Duration(rng.Int64N(int64(10*time.Second)))
		}
		faults = append(faults, f)
	}
	return `,"failsafe_mode":true`, faults
}

// said makes explicit what a cluster that says nothing has: failsafe mode, and
// fast_failover.
func said(settings string) json.RawMessage {
	body := strings.TrimSuffix(strings.TrimSpace(settings), "}")
	for _, key := range []string{"failsafe_mode", "fast_failover"} {
		if strings.Contains(body, key) {
			continue
		}
		if !strings.HasSuffix(body, "{") {
			body += ","
		}
		body += fmt.Sprintf(`"%s":false`, key)
	}
	return json.RawMessage(body + "}")
}
