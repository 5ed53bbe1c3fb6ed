package etcd

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// told is a member as turns sees it.
type told struct {
	*keeper
	times  int
	last   time.Time
	gap    time.Duration // the longest time that it was not asked
	mute   bool
	firsts int // how often it was the one that is waited for
}

// keepAlive asks for times keepalives, every so often, and counts the requests.
func keepAlive(t *testing.T, members []*told, turns *turns, lease int64, times int, ttl, every time.Duration) (requests int) {
	t.Helper()
	by := map[*keeper]*told{}
	for _, m := range members {
		by[m.keeper] = m
	}
	for range times {
		order, n := turns.next(lease)
		if len(order) != len(members) {
			t.Fatalf("%d members in the order of %d", len(order), len(members))
		}
		by[order[0]].firsts++
		for _, k := range order[:n] {
			turns.asks(t.Context(), k)
		}
		for _, k := range order[:n] {
			m := by[k]
			requests++
			m.times++
			if !m.last.IsZero() {
				m.gap = max(m.gap, time.Since(m.last))
			}
			m.last = time.Now()
			if !m.mute {
				turns.answered(t.Context(), k, lease, ttl)
			}
		}
		passed(t.Context(), every)
	}
	return requests
}

func etcdOf(members int) (all []*told, t *turns) {
	t = &turns{}
	for i := range members {
		k := &keeper{endpoint: fmt.Sprint(i)}
		all, t.keepers = append(all, &told{keeper: k}), append(t.keepers, k)
	}
	return all, t
}

// What etcd's members hear, and what it costs: the gap must stay well below ttl.
func TestEveryMemberIsToldInTurn(t *testing.T) {
	const times, ttl = 600, 20 * time.Second
	for name, c := range map[string]struct {
		members int
		every   time.Duration
		gap     time.Duration
		most    int // requests
	}{
		"a holder, loop_wait 1 s": {3, time.Second, 3 * time.Second, times + 2},
		"a holder, every T/5":     {3, ttl / 5, 3 * ttl / 5, times + 2},
		"a holder, five members":  {5, ttl / 5, 3 * ttl / 5, 5*times/3 + 5},
		"a standby":               {3, ttl / 3, 2 * ttl / 3, 3*times/2 + 3},
		"one member":              {1, time.Second, time.Second, times},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				members, turns := etcdOf(c.members)
				if n := keepAlive(t, members, turns, 1, times, ttl, c.every); n > c.most {
					t.Errorf("%d requests for %d keepalives, want %d at most", n, times, c.most)
				}
				for _, m := range members {
					if m.gap > c.gap+time.Second {
						t.Errorf("member %s was not told for %s, want %s", m.endpoint, m.gap, c.gap)
					}
				}
			})
		})
	}
}

func TestAMemberThatDoesNotAnswerIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const times, ttl = 60, 20 * time.Second
		members, turns := etcdOf(3)
		keepAlive(t, members, turns, 1, 3, ttl, time.Second)
		for _, m := range members {
			m.firsts, m.times = 0, 0
		}
		members[1].mute = true
		keepAlive(t, members, turns, 1, times, ttl, time.Second)
		if members[1].firsts != 1 || members[1].times < times/10-1 || members[1].gap > ttl/2+time.Second {
			t.Errorf("it was waited for %d times, and told %d times, the longest after %s", members[1].firsts, members[1].times, members[1].gap)
		}
		members[0].firsts, members[2].firsts = 0, 0
		members[1].mute, members[0].mute, members[2].mute = false, true, true
		keepAlive(t, members, turns, 1, times, ttl, time.Second)
		if n := members[0].firsts + members[2].firsts; n > 4 {
			t.Errorf("the one that answers again is not asked: %d times another one is waited for", n)
		}
	})
}

func TestANewLeaseIsToldToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members, turns := etcdOf(3)
		keepAlive(t, members, turns, 1, 5, 20*time.Second, time.Second)
		if n := keepAlive(t, members, turns, 2, 1, 20*time.Second, time.Second); n != 3 {
			t.Errorf("%d members were told of the new lease at first", n)
		}
	})
}
