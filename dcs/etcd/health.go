package etcd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// What the client goes by when it judges etcd.
const (
	// slowWrite is the median of the last writes from which they are called slow, and
	// fastWrite below which they no longer are. An etcd in good health needs some
	// milliseconds.
	slowWrite = 250 * time.Millisecond
	fastWrite = 150 * time.Millisecond
	// writesKept are the writes a median is taken of, of which none is older than
	// writesAge; of fewer than writesLeast nothing is concluded.
	writesKept  = 15
	writesLeast = 5
	writesAge   = 2 * time.Minute
	// flappingTerms is how many terms in flappingAge are called flapping: a restart of
	// every one of three members, one after the other, stays below it.
	flappingTerms = 5
	flappingAge   = 10 * time.Minute
	// alarmingRequest is how long a request takes that is worth a look at the members.
	alarmingRequest = time.Second
	// certificateWarning is how long before its end a certificate is named.
	certificateWarning = 14 * 24 * time.Hour
	// probeLimit bounds what a member may take to say how it does.
	probeLimit = 2 * time.Second
)

// health is what the client has noticed of etcd beside its answers. What is noticed
// along the way costs no request: durations of writes, terms, refusals.
type health struct {
	alarmed chan struct{}

	mu        sync.Mutex
	writes    []sample
	slow      bool
	elections []election
	elected   int64
	refused   map[string]string // by operation
	probes    map[string]probe  // by endpoint
	turn      int
	troubles  []cluster.StoreTrouble
}

// sample is one write of our own.
type sample struct {
	at   cluster.Instant
	took time.Duration
}

// election is a raft term, or several, that were new at at.
type election struct {
	at    cluster.Instant
	terms uint64
}

func newHealth() *health {
	return &health{alarmed: make(chan struct{}, 1), refused: map[string]string{}, probes: map[string]probe{}}
}

// ended takes note of a request that took d and ended at at.
func (h *health) ended(op string, at cluster.Instant, d time.Duration, err error) {
	h.mu.Lock()
	switch {
	case errors.Is(err, dcs.ErrDenied):
		h.refused[op] = err.Error()
	case err == nil:
		delete(h.refused, op)
	}
	// One that was compared went the same way; one that nobody answered took longer.
	if op == "txn" && (err == nil || errors.Is(err, dcs.ErrCompared) || errors.Is(err, dcs.ErrUnknownOutcome) && !errors.Is(err, context.Canceled)) {
		h.writes = append(h.writes, sample{at, d})
		h.writes = h.writes[max(0, len(h.writes)-writesKept):]
	}
	h.mu.Unlock()
	failed := err != nil && !errors.Is(err, dcs.ErrCompared) && !errors.Is(err, dcs.ErrLeaseGone) && !errors.Is(err, context.Canceled)
	if failed || d >= alarmingRequest {
		select {
		case h.alarmed <- struct{}{}:
		default: // it is known already
		}
	}
}

// newTerm takes note that etcd's term went on from known to term.
func (h *health) newTerm(at cluster.Instant, known, term uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.elections = append(h.elections, election{at, term - known})
	h.elected += int64(term - known)
}

// median is what the last writes took; 0 when there were too few.
func (h *health) median(now cluster.Instant) time.Duration {
	var took []time.Duration
	for _, w := range h.writes {
		if now.Sub(w.at) <= writesAge {
			took = append(took, w.took)
		}
	}
	if len(took) < writesLeast {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// recentTerms counts the terms of the last minutes.
func (h *health) recentTerms(now cluster.Instant) (terms uint64) {
	h.elections = slices.DeleteFunc(h.elections, func(e election) bool { return now.Sub(e.at) > flappingAge })
	for _, e := range h.elections {
		terms += e.terms
	}
	return terms
}

func (k *KV) now() cluster.Instant {
	if k.options.Now == nil {
		return 0
	}
	return k.options.Now()
}

// Alarmed has something to receive after a request that failed or was slow: a reason to
// call Health at once.
func (k *KV) Alarmed() <-chan struct{} { return k.health.alarmed }

// Health says how etcd does. It asks one member, the next in turn, and those that were
// in trouble when last asked; all of them with all. The question is answered from the
// member's memory: it costs etcd no write.
func (k *KV) Health(ctx context.Context, all bool) cluster.StoreHealth {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	client, err := k.with(ctx)
	if err != nil {
		return k.judge(ctx, err)
	}
	var asked sync.WaitGroup
	for _, keeper := range k.health.due(k.keepers, all) {
		asked.Go(func() {
			p := k.probe(ctx, client, keeper)
			if p.err != nil && errors.Is(ctx.Err(), context.Canceled) {
				return // nobody waits for it any more
			}
			k.health.mu.Lock()
			k.health.probes[keeper.endpoint] = p
			k.health.mu.Unlock()
		})
	}
	asked.Wait()
	return k.judge(ctx, nil)
}

// due is whom to ask.
func (h *health) due(keepers []*keeper, all bool) []*keeper {
	h.mu.Lock()
	defer h.mu.Unlock()
	if all {
		return keepers
	}
	h.turn = (h.turn + 1) % len(keepers)
	var due []*keeper
	for i, keeper := range keepers {
		if p, known := h.probes[keeper.endpoint]; i == h.turn || known && (p.err != nil || len(p.errors) > 0) {
			due = append(due, keeper)
		}
	}
	return due
}

// judge makes the verdict of all that is known; failed is why no member could be asked.
// Requests wait for the lock: nothing that may take long is done under it.
func (k *KV) judge(ctx context.Context, failed error) cluster.StoreHealth {
	h := k.health
	e := k.evidence()
	e.failed = failed
	v := cluster.StoreHealth{Elections: e.elected, WriteMedian: e.median, CertificateEnds: e.firstEnd(), LeaderHere: k.leaderHere(ctx, e), Troubles: e.troubles()}
	for _, p := range e.probes {
		v.DBSize = max(v.DBSize, p.size)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	v.Troubles = keepWords(h.troubles, v.Troubles)
	h.troubles = v.Troubles
	return v
}

// evidence is a copy of all that is known.
func (k *KV) evidence() evidence {
	e := evidence{wall: k.wall(), client: k.ownCertificate()}
	for _, keeper := range k.keepers {
		e.endpoints = append(e.endpoints, keeper.endpoint)
	}
	now, h := k.now(), k.health
	h.mu.Lock()
	defer h.mu.Unlock()
	e.median, e.terms, e.elected = h.median(now), h.recentTerms(now), h.elected
	switch {
	case e.median >= slowWrite:
		h.slow = true
	case e.median < fastWrite:
		h.slow = false
	}
	e.slow, e.refused, e.probes = h.slow, maps.Clone(h.refused), maps.Clone(h.probes)
	return e
}

// keepWords gives a trouble that lasts the words it began with.
func keepWords(before, now []cluster.StoreTrouble) []cluster.StoreTrouble {
	for i, t := range now {
		if at := slices.IndexFunc(before, t.Same); at >= 0 {
			now[i] = before[at]
		}
	}
	return now
}
