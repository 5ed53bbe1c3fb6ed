package sim

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// What operators ask for in the middle of trouble, beside what every schedule draws from.

// operatorKinds are their verbs; those that race with an election come more often.
var operatorKinds = []string{"failover forced", "failover forced", "failover forced", "restart scheduled", "member removed", "member removed",
	"maximum_lag changed", "maximum_lag changed", "synchronous_node_count changed", "synchronous_node_count changed", "request without sense", "switchover scheduled",
	"reinitialize", "restart", "failover", "switchover", "power off", "cut from etcd", "isolated"}

func init() {
	deeds["failover forced"] = forceFailover
	deeds["restart scheduled"] = scheduleRestart
	deeds["member removed"] = removeMember
	deeds["maximum_lag changed"] = func(w *World, _ *Node, f fault) func() {
		w.patch("maximum_lag_on_failover", 1<<(10+f.n%11))
		return nil
	}
	deeds["synchronous_node_count changed"] = func(w *World, _ *Node, f fault) func() {
		w.patch("synchronous_node_count", 1+f.n%3)
		return nil
	}
	deeds["request without sense"] = askNonsense
	deeds["switchover scheduled"] = scheduleSwitchover
}

// operating draws such verbs for a third of the schedules.
func operating(seed uint64, nodes, index int) []fault {
	rng := rand.New(rand.NewPCG(seed, 0x09e7))
	if rng.IntN(3) > 0 {
		return nil
	}
	return crowdOf(rng, operatorKinds, nodes, index, 1+rng.IntN(4))
}

// crowdOf draws faults of some kinds, half of which come soon after the one before.
func crowdOf(rng *rand.Rand, kinds []string, nodes, index, count int) []fault {
	faults := make([]fault, count)
	for i := range faults {
		faults[i] = fault{index: index + i, kind: kinds[rng.IntN(len(kinds))], node: rng.IntN(nodes), to: rng.IntN(nodes), n: 1 + rng.IntN(50)}
		f := &faults[i]
		f.at = 5*time.Second + time.Duration(rng.Int64N(int64(50*time.Second)))
		f.lasts = time.Duration(rng.Int64N(int64([]time.Duration{2 * time.Second, 8 * time.Second, 25 * time.Second}[rng.IntN(3)])))
		if i > 0 && rng.IntN(2) == 0 {
			f.at = faults[i-1].at + time.Duration(rng.Int64N(int64(3*time.Second)))
		}
	}
	return faults
}

// forceFailover is failover --force. Where the operator vouches by that for the old
// primary being dead, he sees to it: whatever may write, or may go on to, has no power
// until the wish is fulfilled or withdrawn (docs/safety.md: in a pause and in failsafe S1
// does not hold for one who vouches for what is not so).
func forceFailover(w *World, _ *Node, f fault) func() {
	to := w.nodes[f.to%len(w.nodes)]
	var all []func()
	if s := w.stored(); s.Pause || s.FailsafeMode || w.view().PausedAt != nil || f.n%2 == 0 {
		for _, n := range w.nodes {
			if n != to && (n.pg.Mode() != cluster.ModeStandby || n.holds() || w.view().HolderIs(n.name) || w.lifted(n)) {
				n.crash()
				all = append(all, n.counted("power off", n.power))
			}
		}
	}
	w.wish(cluster.Failover{Member: to.name, Force: true})
	return func() {
		if v := w.view(); !v.Failover.Empty() && v.Failover.Force && !w.etcdDown {
			_ = w.store.PutFailover(context.Background(), cluster.Failover{}, -1) // as wish
		}
		together(all...)()
	}
}

// args gives a request its body.
func (w *World) askWith(n *Node, kind cluster.RequestKind, args any) {
	raw, err := json.Marshal(args)
	if err == nil {
		w.askRaw(n, kind, raw)
	}
}

// scheduleRestart has a member restart in a while, by its own clock; when it lasts long it
// is called off.
func scheduleRestart(w *World, n *Node, f fault) func() {
	w.askWith(n, cluster.RequestRestart, cluster.RestartArgs{Schedule: n.wall().Add(time.Duration(f.n) * 500 * time.Millisecond).Format(time.RFC3339)})
	if f.n%3 > 0 {
		return nil
	}
	return func() { w.ask(n, cluster.RequestCancelRestart) }
}

// scheduleSwitchover is a switchover for later.
func scheduleSwitchover(w *World, _ *Node, f fault) func() {
	if l := w.view().Leader; l != nil {
		w.wish(cluster.Failover{Leader: l.Name, Member: w.nodes[f.to%len(w.nodes)].name, ScheduledAt: epoch.Add(w.now + time.Duration(f.n)*300*time.Millisecond).Format(time.RFC3339)})
	}
	return nil
}

// removeMember is pgkeeper remove: its agent is stopped, its key goes, and the leader is
// asked to drop its slot. Later it comes back.
func removeMember(w *World, n *Node, f fault) func() {
	if n.worker == nil {
		return nil
	}
	n.stopped = true
	n.worker.post(agent.StopWanted{})
	until := w.now + w.stored().TTL + 2*time.Second
	var look func()
	look = func() {
		v := w.view()
		switch _, there := v.Members[n.name]; {
		case w.healed || w.now > until || !n.stopped:
		case there:
			w.after(500*time.Millisecond, doing(look))
		case v.Leader != nil && w.named(v.Leader.Name) != nil:
			w.askWith(w.named(v.Leader.Name), cluster.RequestRemove, cluster.RemoveArgs{Member: n.name})
		}
	}
	w.after(500*time.Millisecond, doing(look))
	return n.counted("agent stopped", func() {
		n.stopped = false
		n.startAgent()
	})
}

// askNonsense asks what no member can do.
func askNonsense(w *World, n *Node, f fault) func() {
	asks := []struct {
		kind cluster.RequestKind
		args string
	}{
		{"explode", ""}, {cluster.RequestRestart, `{"schedule":"soon"}`}, {cluster.RequestRestart, `[]`}, {cluster.RequestRemove, ""},
		{cluster.RequestRemove, `{"member":"` + n.name + `"}`}, {cluster.RequestReinitialize, `"now"`}, {cluster.RequestCancelRestart, ""}, {"", ""},
	}
	a := asks[f.n%len(asks)]
	w.askRaw(n, a.kind, json.RawMessage(a.args))
	return nil
}
