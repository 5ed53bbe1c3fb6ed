package dcs

import (
	"context"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Candidacy is what a candidate saw when it decided to take the cluster. Nothing
// of it may have changed when its transaction commits.
type Candidacy struct {
	// LeaderTerm is 0 when the leader key was absent, else the term of the
	// stale holder that is taken over.
	LeaderTerm cluster.Term
	// BeatRevision is the beat's mod_revision, 0 when there was none.
	BeatRevision int64
	// PausedRevision is the mod_revision of the paused_primary mark the
	// candidate may ignore (it is its own, or the operator forces), 0 when
	// there was none.
	PausedRevision int64
	// FailsafeRevision is the mod_revision of the list of members whose promises a
	// holder may go on by, 0 when there was none.
	FailsafeRevision int64
	// Failsafe takes the place of that list in the same transaction; nil leaves it.
	Failsafe map[string]string
	// DurabilityRevision is the mod_revision of the record of rules that the candidate
	// satisfies, 0 when there was none.
	DurabilityRevision int64
	// SyncRevision is the mod_revision of the key `sync`, which says who may lead where
	// Patroni has a say, 0 when there was none.
	SyncRevision int64
	// FailoverRevision is the mod_revision of the key `failover`, by which an operator
	// names or forces who is to lead, 0 when there was none.
	FailoverRevision int64
	Holder           cluster.Holder
	TTL              time.Duration
}

// Acquire takes the free or stale leader key. ErrCompared: somebody was faster,
// or the holder still beats.
func (s *Session) Acquire(ctx context.Context, c Candidacy) (*Lease, error) {
	store := s.store
	compares := []Compare{
		// guard: acquire_leader — SAFETY 2: the key is still free, or still the
		// very term that was seen to be stale.
		modIs(store.key(keyLeader), int64(c.LeaderTerm)),
		// guard: acquire_beat — SAFETY 2: no renewal counted since the
		// candidate began to wait; a holder that beats is not taken over.
		modIs(store.key(keyBeat), c.BeatRevision),
		// guard: acquire_paused — SAFETY 2, pause: nobody elects while another
		// node was left primary in pause.
		modIs(store.key(keyPausedPrimary), c.PausedRevision),
		// guard: acquire_failsafe — SAFETY 3, Failsafe: the candidate is still one of
		// those whom a holder without store asks first.
		modIs(store.key(keyFailsafe), c.FailsafeRevision),
		// guard: acquire_durability — SAFETY 3: the rules are those that enough copies
		// have promised for; a holder that lives may have added one.
		modIs(store.key(keyDurability), c.DurabilityRevision),
		// guard: acquire_sync — SAFETY 3: likewise what a Patroni leader shows instead of
		// rules; it writes that without comparing its term.
		modIs(store.key(keySync), c.SyncRevision),
		// guard: acquire_failover — SAFETY 3: the operator's word that this member may lead
		// with less still stands; a request that arrives late finds it withdrawn.
		modIs(store.key(keyFailover), c.FailoverRevision),
	}
	var ops []Op
	if c.Failsafe != nil {
		list, err := compact(c.Failsafe)
		if err != nil {
			return nil, err
		}
		ops = append(ops, Put(store.key(keyFailsafe), list, 0))
	}
	return s.take(ctx, "acquire", compares, ops, c.Holder, c.TTL)
}

// Inherit takes the key this member already has, from a predecessor process that
// held it under term: the key is put again, which is a new term and makes the
// predecessor's transactions in flight fail. The caller must have proved that
// the key was taken for its own server (SAFETY 2, "my name on the key").
func (s *Session) Inherit(ctx context.Context, term cluster.Term, h cluster.Holder, ttl time.Duration) (*Lease, error) {
	compares := []Compare{
		// guard: inherit_term — SAFETY 2: the term that was seen, no later one.
		modIs(s.store.key(keyLeader), int64(term)),
		// guard: inherit_name — SAFETY 2: a key of another member is not mine.
		s.namesMe(),
	}
	return s.take(ctx, "inherit", compares, nil, h, ttl)
}

func (s *Session) namesMe() Compare {
	return Compare{Key: s.store.key(keyLeader), Target: ValueOf, Value: []byte(s.name)}
}

// take makes this member the holder: leader on its lease, holder, beat. The
// term is the revision of the transaction.
func (s *Session) take(ctx context.Context, what string, compares []Compare, ops []Op, h cluster.Holder, ttl time.Duration) (*Lease, error) {
	if err := s.KeepAlive(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	marks, err := s.marks(h, cluster.Beat{TTL: ttl.Milliseconds()})
	if err != nil {
		return nil, err
	}
	ops = append(append(ops, Put(s.store.key(keyLeader), []byte(s.name), s.lease)), marks...)
	rev, err := s.store.txn(ctx, what, compares, ops...)
	if err != nil {
		return nil, err
	}
	return newLease(s, cluster.Term(rev), rev, ttl), nil
}

// marks are the writes that go with every taking of the cluster.
func (s *Session) marks(h cluster.Holder, b cluster.Beat) ([]Op, error) {
	holder, err := compact(h)
	if err != nil {
		return nil, err
	}
	return []Op{Put(s.store.key(keyHolder), holder, 0), Put(s.store.key(keyBeat), s.store.beat(b), 0)}, nil
}

// Accept takes up a hand-over made to this member at term: the key already lies
// on its lease, so the term stays. reserve, when not nil, is the new list of
// timelines (NextTimelines) whose ModRevision is the one it was made from; it is
// written in the same transaction, whose revision it has then.
func (s *Session) Accept(ctx context.Context, term cluster.Term, h cluster.Holder, ttl time.Duration, reserve *cluster.Timelines) (*Lease, error) {
	store := s.store
	if err := s.KeepAlive(ctx); err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	compares := []Compare{
		// guard: accept_term — SAFETY 2: the hand-over still stands.
		modIs(store.key(keyLeader), int64(term)),
		// guard: accept_name — SAFETY 2: it was made to me.
		s.namesMe(),
		// guard: accept_lease — SAFETY 2: the key lives on the lease I renew;
		// on a lease of my past it would vanish while I keep another alive.
		{Key: store.key(keyLeader), Target: LeaseOf, Number: s.lease},
	}
	ops, err := s.marks(h, cluster.Beat{TTL: ttl.Milliseconds(), Term: term})
	if err != nil {
		return nil, err
	}
	if reserve != nil {
		value, err := compact(reserve)
		if err != nil {
			return nil, err
		}
		// guard: accept_timelines — SAFETY 5, S8: the number is still free.
		compares = append(compares, modIs(store.key(keyTimelines), reserve.ModRevision))
		ops = append(ops, Put(store.key(keyTimelines), value, 0))
	}
	rev, err := store.txn(ctx, "accept", compares, ops...)
	if err != nil {
		return nil, err
	}
	if reserve != nil {
		reserve.ModRevision = rev
	}
	return newLease(s, term, rev, ttl), nil
}
