package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// knocks is agent.Knocker over the model of the network: whoever is reached answers, and
// what refuses a connection is heard of at once.
type knocks struct{ n *Node }

// Knock implements agent.Knocker.
func (k knocks) Knock(ctx context.Context, do agent.Knock) (answered string) {
	w, from := k.n.w, k.n
	i := slices.IndexFunc(w.nodes, func(n *Node) bool { return n.name == do.Leader })
	to := w.nodes[i]
	there := 200*time.Microsecond + w.jitter(4*time.Millisecond)
	if w.chance(from.calls.late) || w.chance(to.calls.late) {
		there += w.jitter(2 * time.Second)
	}
	if !from.sleep(ctx, there) {
		return ""
	}
	if !to.up || !w.talk(from.i, to.i) || w.chance(from.calls.loseCall) || w.chance(to.calls.loseAnswer) {
		from.w.current.waitUntil(ctx, notYet, 0) // silence
		return ""
	}
	agentHangs := to.worker != nil && to.worker.frozen || to.patroni != nil && to.patroni.frozen
	switch {
	case to.patroni != nil && !agentHangs:
		return "agent"
	case to.worker != nil && !agentHangs && !to.worker.over:
		return "agent"
	case to.pg.Mode() != cluster.ModeStopped && !to.pg.Frozen():
		return "server"
	case agentHangs || to.pg.Frozen():
		from.w.current.waitUntil(ctx, notYet, 0)
	}
	return ""
}

// nobodyWeakens is what a look at a server says of synchronous_commit here.
var nobodyWeakens = &cluster.SyncCommit{Weakened: []cluster.Weakening{}}

// suddenKinds is what schedules in which a dead node is replaced at once have more of.
var suddenKinds = []string{"power off", "power off", "kill agent", "kill agent", "isolated", "isolated", "isolated", "cut from servers", "one-way cut", "cut from etcd",
	"calls lost", "calls late", "freeze agent", "freeze worker", "suspend machine", "fast_failover changed", "reinitialize", "switchover", "pause"}

func init() {
	deeds["fast_failover changed"] = func(w *World, _ *Node, f fault) func() {
		w.patch("fast_failover", f.n%2 == 0)
		return func() { w.patch("fast_failover", true) }
	}
}

// sudden draws fast_failover, and what then goes wrong beside the rest: two of three
// strict schedules have it, apart from all others, which are dealt as before.
func sudden(seed uint64, mode string, nodes, drawn int) (setting string, faults []fault) {
	rng := rand.New(rand.NewPCG(seed, 0xfa57))
	if !strings.Contains(mode, `_strict":true`) || rng.IntN(3) == 0 {
		return "", nil
	}
	for i := range 2 + rng.IntN(4) {
		f := fault{index: drawn + i, kind: suddenKinds[rng.IntN(len(suddenKinds))], node: rng.IntN(nodes), to: 3 * rng.IntN(2), n: 1 + rng.IntN(50)}
		f.at = 6*time.Second + time.Duration(rng.Int64N(int64(48*time.Second)))
		f.lasts = time.Duration(rng.Int64N(int64([]time.Duration{2 * time.Second, 8 * time.Second, 25 * time.Second}[rng.IntN(3)])))
		if i > 0 && rng.IntN(2) == 0 {
			f.at = faults[i-1].at + time.Duration(rng.Int64N(int64(4*time.Second)))
		}
		faults = append(faults, f)
	}
	return `,"fast_failover":true`, faults
}

// noteTakeover sees who leads. Where the key went over while its holder's lease ran, by
// the promises of those that its commits wait for, that one may go on until its own
// deadline, cut off as it is: it answers reads, and 200 on /primary, and must
// acknowledge nothing.
func (w *World) noteTakeover() {
	v := w.view()
	leader := v.Leader
	if leader == nil || leader.Term == w.leads.term {
		return
	}
	was := w.leads.node
	w.leads.term, w.leads.node = leader.Term, w.named(leader.Name)
	if n := w.leads.node; n != nil {
		n.seen.deposed = 0
	}
	if w.leads.node != nil && w.leads.node.byPatroni { // it takes what is free, by its lease
		return
	}
	handed := v.Handover != nil && v.Handover.ModRevision == int64(leader.Term)
	if was == nil || was == w.leads.node || handed || v.Durability.Lax() || w.now >= was.leaseEnd() {
		return
	}
	was.seen.deposed = w.now
	w.takeovers++
	w.tell(was, "its term is taken over, %s before its lease ends", was.leaseEnd()-w.now)
}

// serveDeposed judges what a deposed primary acknowledges: nothing but what standbys had
// confirmed before they promised, late, because its disk or its processes stood still
// meanwhile. Whoever leads now has that.
func (w *World) serveDeposed(n *Node, acked pgfake.Ack) {
	by := w.leads.node
	if w.restored && !w.led && w.heir != nil { // whom the backup names has done nothing
		by = w.heir
	}
	if by != nil && !by.pg.Keeps(acked) {
		w.fail("S1", "%s acknowledges a commit that %s does not have, %s after its term was taken over", n.name, by.name, w.now-n.seen.deposed)
	}
}

// deposed: a newer term was made of promises, and this node's own lease has not ended yet.
func (n *Node) deposed() bool { return n.seen.deposed != 0 && n.w.now <= n.leaseEnd() }
