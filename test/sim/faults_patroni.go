package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Clusters that are being moved from Patroni node by node: an eighth of the schedules have
// one or two members that Patroni runs. They are drawn apart from all others.

// mixedKinds are what such clusters have more of: what has the lease go from one manager
// to the other.
var mixedKinds = []string{"kill agent", "kill agent", "kill worker", "freeze agent", "freeze agent", "power off", "power off", "kill server", "isolated", "isolated",
	"cut from etcd", "cut from etcd", "agent stopped", "agent stopped", "switchover", "switchover", "switchover", "switchover", "failover", "restart", "reinitialize", "pause",
	"suspend machine", "cut from servers", "one-way cut", "answers lost", "late requests"}

// mixed draws whether a schedule is of such a cluster.
func mixed(seed uint64) bool { return rand.New(rand.NewPCG(seed, 0x3a7e)).IntN(8) == 0 }

// newMixed draws everything of such a schedule: with Patroni's least timings, and without
// what no Patroni knows of, or what takes from a lease what only the beat gives back.
func newMixed(seed uint64) schedule {
	rng := rand.New(rand.NewPCG(seed, 0x9a7209))
	nodes := []int{3, 3, 3, 4}[rng.IntN(4)]
	ttl, wait := []int{20, 20, 20, 30}[rng.IntN(4)], []int{1, 2, 2, 10}[rng.IntN(4)]
	retry := []int{3, 3, 5, 9}[rng.IntN(4)]
	if wait+2*retry > ttl {
		retry = 3
	}
	mode := ""
	if rng.IntN(2) == 0 {
		mode = fmt.Sprintf(`,"synchronous_mode":"%s","synchronous_mode_strict":%t,"synchronous_node_count":%d`, []string{"on", "on", "quorum"}[rng.IntN(3)], rng.IntN(2) == 0, 1+rng.IntN(2))
	}
	by := rng.Perm(nodes)[:1+rng.IntN(2)]
	faults := draw(rng, nodes)
	for i := range faults {
		if faults[i].kind == "etcd restored" { // Patroni believes whatever it reads
			faults[i].kind = "etcd leader change"
		}
	}
	for range 2 + rng.IntN(5) {
		more := crowdOf(rng, mixedKinds, nodes, len(faults), 1)[0]
		if rng.IntN(2) == 0 {
			more.to = 3 // the one that leads
		}
		faults = append(faults, more)
	}
	failsafeMode, yet := failsafe(seed, nodes, len(faults))
	faults = append(faults, yet...)
	fast, yet := sudden(seed, mode, nodes, len(faults))
	faults = append(faults, yet...)
	for _, others := range []func(seed uint64, nodes, index int) []fault{crowding, operating, tagging, checkpointing, dooming} {
		faults = append(faults, others(seed, nodes, len(faults))...)
	}
	slices.Sort(by)
	return schedule{seed: seed, nodes: nodes, faults: faults, patroni: by,
		settings: fmt.Sprintf(`{"ttl":%d,"loop_wait":%d,"retry_timeout":%d,"maximum_lag_on_failover":%d%s%s%s}`, ttl, wait, retry, 1<<(10+rng.IntN(11)), mode, failsafeMode, fast)}
}

// mix has Patroni run some of the nodes, before the first has power.
func (w *World) mix(by []int) {
	for _, i := range by {
		w.nodes[i].byPatroni, w.mixed = true, true
	}
}

// mixedPatience is L1's bound with Patroni: its members come to what is to be done once a
// loop_wait, one thing after the other, and leases are as long as it needs them.
const mixedPatience = 180 * time.Second
