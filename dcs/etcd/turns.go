package etcd

import (
	"context"
	"slices"
	"sync"
	"time"
)

// turns says which member is asked for the next keepalive.
//
// Every member that answers is told at least every T/2 and one keepalive, which is less
// than T: a holder renews every T/5 or sooner, a standby every T/3. With three members, a
// holder's keepalives reach each of them within 3/5 T although only one is asked at a time,
// and a standby's within 2/3 T with three requests for two keepalives.
type turns struct {
	keepers []*keeper

	mu    sync.Mutex
	lease int64
	ttl   time.Duration // of the lease; 0 while nobody has said
	count int
}

// seen is what is known of a member; turns.mu guards it.
type seen struct {
	fresh context.Context // ends when it is to be told again; nil: at once
	end   context.CancelFunc
	asked int // its last turn
	// answers: it did the last time. One that is still to answer does not.
	answers bool
}

func (s *seen) due() bool { return s.fresh == nil || s.fresh.Err() != nil }

// next is the order in which to ask, and how many at once: all of a new lease. The first is one that answers,
// where there is any: one that is due before the others, and of those the one that was
// asked the longest time ago.
func (t *turns) next(lease int64) (order []*keeper, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lease != lease {
		t.lease, t.ttl = lease, 0
		for _, k := range t.keepers {
			k.seen.forget()
		}
	}
	order = slices.Clone(t.keepers)
	slices.SortStableFunc(order, func(a, b *keeper) int { return a.seen.asked - b.seen.asked })
	first := slices.IndexFunc(order, func(k *keeper) bool { return k.seen.answers && k.seen.due() })
	if first < 0 {
		first = max(0, slices.IndexFunc(order, func(k *keeper) bool { return k.seen.answers }))
	}
	asked := order[first]
	rank := func(k *keeper) int {
		switch {
		case k == asked:
			return 0
		case k.seen.due():
			return 1
		case k.seen.answers:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(order, func(a, b *keeper) int { return rank(a) - rank(b) })
	for n = 1; n < len(order) && rank(order[n]) == 1; n++ {
	}
	return order, n
}

// asks takes note that a member is asked, now.
func (t *turns) asks(closed context.Context, k *keeper) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	k.seen.asked, k.seen.answers = t.count, false
	if t.ttl > 0 {
		k.seen.renew(context.WithTimeout(closed, t.ttl/2))
	}
}

// answered takes note of a good answer.
func (t *turns) answered(closed context.Context, k *keeper, lease int64, ttl time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.seen.answers = true
	if t.lease != lease {
		return
	}
	if t.ttl == 0 { // with the first answer it is known for how long they were told
		for _, k := range t.keepers {
			k.seen.renew(context.WithTimeout(closed, ttl/2))
		}
	}
	t.ttl = ttl
}

// forget has the member told at once.
func (s *seen) forget() {
	if s.end != nil {
		s.end()
	}
	s.fresh, s.end = nil, nil
}

func (s *seen) renew(fresh context.Context, end context.CancelFunc) {
	s.forget()
	s.fresh, s.end = fresh, end
}
