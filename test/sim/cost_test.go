package sim

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestWhatOneFaultCosts: each kind of fault alone hits the primary of a cluster in order, for
// 1 to 30 s, under all sorts of configurations. What clients see is how long nothing is
// acknowledged; SAFETY section 6 is the table of that. Each run of the simulator must end in
// order, however long it takes; this says how long it may.
func TestWhatOneFaultCosts(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 2
	}
	threads := &pool{}
	defer threads.close()
	for _, kind := range slices.Sorted(maps.Keys(deeds)) {
		t.Run(kind, func(t *testing.T) {
			for seed := range seeds {
				s := newOwn(7919 * (seed + 1))
				s.faults = []fault{{kind: kind, at: 15 * time.Second, lasts: time.Duration(1+11*seed%30) * time.Second, n: int(seed) + 1, exact: true}}
				cost, ttl := s.costs(t, threads)
				if limit := mostOf(kind, ttl, s.faults[0].lasts); cost > limit {
					t.Errorf("seed %d, for %s with %s: nothing was acknowledged for %s, more than %s", s.seed, s.faults[0].lasts, s.settings, cost, limit)
				}
			}
		})
	}
}

// costs is the longest time in which nothing was acknowledged around the schedule's fault.
func (s schedule) costs(t *testing.T, threads *pool) (longest, ttl time.Duration) {
	t.Helper()
	w := newWorld(threads, s.seed, s.nodes, s.settings, false)
	defer w.close()
	w.boot()
	for ; !w.settled(); w.runUntil(w.now + 250*time.Millisecond) {
		if w.now > s.faults[0].at {
			t.Fatalf("seed %d: not in order: %s", s.seed, w.unsettled())
		}
	}
	f := &s.faults[0]
	f.node = w.leads.node.i
	f.to = (f.node + 1) % s.nodes
	w.plan(s.faults)
	ttl = w.stored().TTL
	newest := func() (at cluster.Instant) {
		for _, n := range w.nodes {
			at = max(at, n.pg.Acked(w.serverNow()).At)
		}
		return at
	}
	w.runUntil(f.at)
	for ; w.now < f.at+f.lasts+40*time.Second && w.violation == ""; w.runUntil(w.now + 50*time.Millisecond) {
		longest = max(longest, w.serverNow().Sub(newest()))
	}
	if w.violation != "" {
		t.Fatalf("seed %d: %s is violated", s.seed, w.violation)
	}
	return longest, ttl
}

// mostOf is what a fault may cost: what is said of it, and half a second.
func mostOf(kind string, ttl, lasts time.Duration) time.Duration {
	const slack = 500 * time.Millisecond
	switch kind {
	case "power off", "kill agent", "suspend machine", "guest stands still", "isolated", "freeze worker", "freeze agent", "freeze agent and gate", "failover forced":
		return ttl + slack // nobody knows what has become of the holder
	case "cut from etcd", "requests lost", "answers lost", "late requests", "slow wire", "lossy wire", "stale etcd leader":
		return ttl + slack // the holder may know of another by then
	case "etcd without leader", "everybody cut from etcd":
		return lasts + 5*time.Second + slack // without failsafe mode
	case "cut from servers", "one-way cut":
		return lasts + 5*time.Second + slack // a strict mode waits for them
	case "data disk full", "disk hangs", "freeze server":
		return probeTimeout + time.Second + slack
	case "wall clock jumps":
		return ttl/5 + slack // a gate wants another renewal
	}
	return time.Second + slack
}

// probeTimeout is the default of pgkeeper.probe_timeout.
const probeTimeout = 5 * time.Second
