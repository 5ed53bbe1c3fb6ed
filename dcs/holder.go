package dcs

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// ErrTimelinesUnreadable: the list of reserved timelines exists but says
// nothing, so that no number can be proved unused (S8).
var ErrTimelinesUnreadable = errors.New("the key pgkeeper/timelines cannot be read, so no timeline number is known to be unused; restore its value, or delete the key once no member has a timeline above those in the key history")

// mostReservations bounds the list of reserved timelines.
const mostReservations = 100

// NextTimelines gives current (nil for none) with one more reservation for term:
// a number greater than every reserved one and at least atLeast. The number is
// the result's Highest; its ModRevision is current's, which the writing
// transaction compares.
func NextTimelines(current *cluster.Timelines, term cluster.Term, atLeast cluster.Timeline) (cluster.Timelines, error) {
	var next cluster.Timelines
	if current != nil {
		// guard: timelines_readable — SAFETY 5, S8: see ErrTimelinesUnreadable.
		if current.ModRevision != 0 && len(current.Reserved) == 0 {
			return next, ErrTimelinesUnreadable
		}
		next.ModRevision = current.ModRevision
		next.Reserved = append(next.Reserved, current.Reserved[max(0, len(current.Reserved)-mostReservations+1):]...)
	}
	number := max(current.Highest()+1, atLeast)
	// guard: timeline_unused — SAFETY 5, S8: one number, one term, past the last number there is too.
	if number <= current.Highest() {
		return cluster.Timelines{}, fmt.Errorf("reserve a timeline after %d: no number is left", current.Highest())
	}
	next.Reserved = append(next.Reserved, cluster.Reservation{Timeline: number, Term: term})
	return next, nil
}

// Reserve takes an unused timeline number for this term before a promotion
// (SAFETY 5). The number is the result's Highest. ErrCompared when the list
// changed since current was read, or the term has passed.
func (l *Lease) Reserve(ctx context.Context, current *cluster.Timelines, atLeast cluster.Timeline) (cluster.Timelines, error) {
	term := l.Term()
	next, err := NextTimelines(current, term, atLeast)
	if err != nil {
		return cluster.Timelines{}, err
	}
	value, err := compact(next)
	if err != nil {
		return cluster.Timelines{}, err
	}
	key := l.key(keyTimelines)
	// guard: reserve_timelines — SAFETY 5, S8: nobody reserved since.
	unchanged := modIs(key, next.ModRevision)
	rev, err := l.underTerm(ctx, term, "reserve a timeline", []Compare{unchanged}, Put(key, value, 0))
	if err != nil {
		return cluster.Timelines{}, err
	}
	next.ModRevision = rev
	return next, nil
}

// PutStatus publishes how far the primary has written.
func (l *Lease) PutStatus(ctx context.Context, p cluster.Positions) error {
	value, err := encodeStatus(&p)
	if err != nil {
		return err
	}
	l.session.store.memo.learn(value, &p)
	return l.put(ctx, keyStatus, value)
}

// PutHistory publishes the promotions.
func (l *Lease) PutHistory(ctx context.Context, h cluster.History) error {
	value, err := encodeHistory(h)
	if err != nil {
		return err
	}
	return l.put(ctx, keyHistory, value)
}

// PutDurability records the rules that commits are acknowledged under from now on,
// and shows them in the key `sync`, in one transaction. Without rules both are
// removed. It takes the place of the record of revision over, 0 for none, and of no
// other: ErrCompared.
func (l *Lease) PutDurability(ctx context.Context, d cluster.Durability, over int64) (rev int64, err error) {
	record, shown := l.key(keyDurability), l.key(keySync)
	compares := []Compare{
		// guard: record_replaced — SAFETY 3: a request that arrives again, or late, under
		// the same term does not bring rules back that commits no longer go by.
		modIs(record, over),
	}
	if len(d.Rules) == 0 {
		return l.underTerm(ctx, l.Term(), "delete the record of rules", compares, Delete(record), Delete(shown))
	}
	value, err := compact(d)
	if err != nil {
		return 0, err
	}
	sync, err := encodeSync(d.Sync(l.session.name))
	if err != nil {
		return 0, err
	}
	return l.underTerm(ctx, l.Term(), "put the record of rules", compares, Put(record, value, 0), Put(shown, sync, 0))
}

// PutFailsafe publishes the members' API URLs by name, in the place of the list of
// revision over, 0 for none, and of no other: ErrCompared.
func (l *Lease) PutFailsafe(ctx context.Context, urls map[string]string, over int64) (rev int64, err error) {
	if urls == nil {
		urls = map[string]string{}
	}
	value, err := compact(urls)
	if err != nil {
		return 0, err
	}
	compares := []Compare{
		// guard: list_replaced — SAFETY 3, Failsafe: a request that arrives again, or late,
		// lists nobody again whom the holder asks no more.
		modIs(l.key(keyFailsafe), over),
	}
	return l.underTerm(ctx, l.Term(), "put the failsafe list", compares, Put(l.key(keyFailsafe), value, 0))
}

// PutHolder says anew for which server the cluster is held.
func (l *Lease) PutHolder(ctx context.Context, h cluster.Holder) error {
	return l.putJSON(ctx, keyHolder, h)
}

// PutSwitchover records how far a switchover has come, before the step it names, in the
// place of the record of revision over, 0 for none, and of no other: ErrCompared. One that
// begins names the revision of the wish it begins for, which must still stand; 0 for none.
func (l *Lease) PutSwitchover(ctx context.Context, s cluster.Switchover, over, wish int64) (rev int64, err error) {
	s.Term = l.Term()
	value, err := compact(s)
	if err != nil {
		return 0, err
	}
	compares := []Compare{
		// guard: phase_replaced — SAFETY 7: a request that arrives again, or late, under the
		// same term does not go on with a switchover that was rolled back.
		modIs(l.key(keySwitchover), over),
	}
	if wish != 0 { // guard: wish_stands — SAFETY 7: nor does the first, which takes nobody's place, begin it again
		compares = append(compares, modIs(l.key(keyFailover), wish))
	}
	return l.underTerm(ctx, l.Term(), "record the switchover", compares, Put(l.key(keySwitchover), value, 0))
}

// DeleteSwitchover removes the record, of revision over, of a switchover that ended; of
// another it is ErrCompared.
func (l *Lease) DeleteSwitchover(ctx context.Context, over int64) (rev int64, err error) {
	key := l.key(keySwitchover)
	return l.underTerm(ctx, l.Term(), "delete the switchover", []Compare{modIs(key, over)}, Delete(key))
}

// PutPausedPrimary marks this member as the primary of a paused cluster. The
// mark has no lease and outlasts the leader key.
func (l *Lease) PutPausedPrimary(ctx context.Context) error {
	return l.putJSON(ctx, keyPausedPrimary, cluster.PausedPrimary{Name: l.session.name})
}

// PutInitialize records the system identifier when none is recorded.
func (l *Lease) PutInitialize(ctx context.Context, systemID string) error {
	_, err := l.underTerm(ctx, l.Term(), "record the system identifier",
		[]Compare{l.session.store.uninitialized()}, Put(l.key(keyInitialize), []byte(systemID), 0))
	return err
}

// ClearFailover takes back a wish that was fulfilled or refused, as it was seen
// at rev; ErrCompared when there is another one by now.
func (l *Lease) ClearFailover(ctx context.Context, rev int64) error {
	key := l.key(keyFailover)
	// guard: failover_seen — a wish that nobody looked at yet is not lost.
	seen := modIs(key, rev)
	_, err := l.underTerm(ctx, l.Term(), "clear the failover wish", []Compare{seen}, Put(key, []byte("{}"), 0))
	return err
}
