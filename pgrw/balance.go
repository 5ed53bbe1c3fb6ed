package pgrw

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Balancer picks one of several replicas that are all as asked for. Pick is called by
// many goroutines; nodes has at least one element. Their Lag and Staleness are not counted for it
// and negative: MaxLag and MaxLagTime choose by those, and LSN compares replicas.
type Balancer interface {
	Pick(nodes []Node) int
}

// PickFunc is a function as a Balancer.
type PickFunc func(nodes []Node) int

// Pick calls the function.
func (f PickFunc) Pick(nodes []Node) int { return f(nodes) }

// RoundRobin takes one after the other.
func RoundRobin() Balancer {
	var turn atomic.Uint64
	return PickFunc(func(nodes []Node) int { return int((turn.Add(1) - 1) % uint64(len(nodes))) })
}

// Random takes any.
func Random() Balancer {
	return PickFunc(func(nodes []Node) int { return rand.IntN(len(nodes)) })
}

// Weighted takes any, each as often as its weight says; a weight of 0 or less is never
// taken while another has more.
func Weighted(weight func(Node) int) Balancer {
	return PickFunc(func(nodes []Node) int {
		sum := 0
		for _, n := range nodes {
			sum += max(0, weight(n))
		}
		if sum == 0 {
			return rand.IntN(len(nodes))
		}
		at := rand.IntN(sum)
		for i, n := range nodes {
			if at -= max(0, weight(n)); at < 0 {
				return i
			}
		}
		return len(nodes) - 1
	})
}

// LeastLag takes the one with the most WAL replayed, as last seen.
func LeastLag() Balancer {
	return PickFunc(func(nodes []Node) int {
		best := rand.IntN(len(nodes)) // equals share
		for i, n := range nodes {
			if n.LSN > nodes[best].LSN {
				best = i
			}
		}
		return best
	})
}

// PowerOfTwo takes the less loaded of two random ones: by statements under way times
// latency. It is the default.
func PowerOfTwo() Balancer {
	load := func(n Node) float64 {
		return float64(n.InFlight+1) * float64(max(n.Latency, 10*time.Microsecond))
	}
	return PickFunc(func(nodes []Node) int {
		if len(nodes) == 1 {
			return 0
		}
		a := rand.IntN(len(nodes))
		b := rand.IntN(len(nodes) - 1)
		if b >= a {
			b++
		}
		if load(nodes[b]) < load(nodes[a]) {
			return b
		}
		return a
	})
}
