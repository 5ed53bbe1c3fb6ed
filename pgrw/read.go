package pgrw

import (
	"slices"
	"time"
)

// Fallback is when a read goes to the primary in place of a replica.
type Fallback int

const (
	// FallbackAlways: when no replica is as asked for, whatever the reason. The default.
	FallbackAlways Fallback = iota
	// FallbackIfNone: when no replica runs (of those with the tags asked for); while they lag, reads fail with ErrTooStale
	// rather than load the primary.
	FallbackIfNone
	// FallbackNever: reads fail with ErrNoReplica or ErrTooStale.
	FallbackNever
)

// policy is what a handle for reading asks for.
type policy struct {
	maxLag    int64 // bytes; negative: any
	maxAge    time.Duration
	tags      map[string]string
	zone      string
	fallback  Fallback
	balancer  Balancer
	after     Token
	causal    time.Duration
	onPrimary bool
}

// causalWait is how long a read waits by default on a replica for its token.
const causalWait = 50 * time.Millisecond

// ReadOption is what a read asks of its replica.
type ReadOption func(*policy)

// MaxLag asks for a replica that misses at most so many bytes of WAL, as last seen.
func MaxLag(bytes int64) ReadOption { return func(p *policy) { p.maxLag = bytes } }

// MaxLagTime asks for a replica that has everything that was committed longer ago than
// d. It is known no finer than WithProbeInterval; a d below twice that finds replicas
// by luck. While there is no primary, nothing new is known of what there could be to
// miss, and after d no replica is fresh enough.
func MaxLagTime(d time.Duration) ReadOption { return func(p *policy) { p.maxAge = d } }

// Tag asks for replicas with a tag of this value; agents tell tags. It may be repeated.
func Tag(name, value string) ReadOption {
	return func(p *policy) {
		if p.tags == nil {
			p.tags = map[string]string{}
		}
		p.tags[name] = value
	}
}

// PreferZone prefers replicas whose tag "zone" is this; others serve when none is left.
func PreferZone(zone string) ReadOption { return func(p *policy) { p.zone = zone } }

// OrPrimary chooses when the primary stands in.
func OrPrimary(f Fallback) ReadOption { return func(p *policy) { p.fallback = f } }

// Balance chooses among the replicas that are as asked for, for this handle. A balancer
// that keeps count (RoundRobin) counts for as long as it is kept.
func Balance(b Balancer) ReadOption { return func(p *policy) { p.balancer = b } }

// After demands a token, beside that of the context.
func After(t Token) ReadOption { return func(p *policy) { p.after = t } }

// CausalWait bounds how long a read waits on a replica for its token before the primary
// answers: 50 ms by default, 0 for not at all.
func CausalWait(d time.Duration) ReadOption { return func(p *policy) { p.causal = d } }

// FromPrimary reads at the primary, read-only: unlike a statement of the primary's own
// handle a read that was lost is sent again.
func FromPrimary() ReadOption { return func(p *policy) { p.onPrimary = true } }

// choice is what is left of the replicas, and why no more.
type choice struct {
	fit []*seated
	// running is how many ran and had the tags.
	running int
}

// choose filters the replicas of a view; those in without have failed already.
func (c *Cluster) choose(v *view, p *policy, without []*server) choice {
	out := choice{fit: make([]*seated, 0, len(v.replicas))}
	lag := p.maxLag >= 0 || p.maxAge > 0
	for _, s := range v.replicas {
		if s.down.Load() || s.tags["noloadbalance"] == "true" || !hasTags(s.tags, p.tags) || slices.Contains(without, s.server) {
			continue
		}
		out.running++
		if lag && !c.fresh(v, s, p) {
			c.observer(Event{Kind: EventStaleRejected, Server: s.address, Reason: "lag"})
			continue
		}
		out.fit = append(out.fit, s)
	}
	if p.zone != "" {
		out.fit = prefer(out.fit, func(s *seated) bool { return s.tags["zone"] == p.zone })
	}
	return out
}

// prefer moves those that are better to the front and returns them, or all when none is.
func prefer(fit []*seated, better func(*seated) bool) []*seated {
	n := 0
	for i, s := range fit {
		if better(s) {
			fit[n], fit[i] = s, fit[n]
			n++
		}
	}
	if n == 0 {
		return fit
	}
	return fit[:n]
}

func hasTags(have, want map[string]string) bool {
	for name, value := range want {
		if have[name] != value {
			return false
		}
	}
	return true
}

// fresh asks for both bounds. What is not known is not fresh.
func (c *Cluster) fresh(v *view, s *seated, p *policy) bool {
	c.mu.Lock()
	lag, age := c.behind(v, s)
	c.mu.Unlock()
	if p.maxLag >= 0 && (lag < 0 || lag > p.maxLag) {
		return false
	}
	return p.maxAge <= 0 || age >= 0 && age <= p.maxAge
}

// pick takes one of those that fit. With a token only the ones count that are known to
// have it, while there are any: waiting is for when there are none.
func (c *Cluster) pick(fit []*seated, p *policy, t Token) *seated {
	if !t.IsZero() {
		fit = prefer(fit, func(s *seated) bool { return s.timeline.Load() >= t.Timeline && LSN(s.lsn.Load()) >= t.LSN })
	}
	if len(fit) == 1 {
		return fit[0]
	}
	nodes := make([]Node, len(fit))
	for i, s := range fit {
		nodes[i] = s.node()
	}
	balancer := p.balancer
	if balancer == nil {
		balancer = c.balancer
	}
	at := balancer.Pick(nodes)
	if at < 0 || at >= len(fit) { // somebody's own balancer
		at = 0
	}
	return fit[at]
}
