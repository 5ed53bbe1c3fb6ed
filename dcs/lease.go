package dcs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Lease is the cluster held by this member under one term. Every write compares
// the term in its own transaction and is ErrCompared once the term has passed:
// then the deadline ends at once. A Lease knows no time; the caller stamps its
// clock before a renewal. Safe for concurrent use.
type Lease struct {
	session *Session

	mu   sync.Mutex
	term cluster.Term
	// beatRev is the beat's mod_revision as this lease last learnt it.
	beatRev int64
	ttl     time.Duration
}

func newLease(s *Session, term cluster.Term, beatRev int64, ttl time.Duration) *Lease {
	return &Lease{session: s, term: term, beatRev: beatRev, ttl: ttl}
}

// Term is the fencing token; only Settle changes it.
func (l *Lease) Term() cluster.Term {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// Session is the member's presence the lease rests on.
func (l *Lease) Session() *Session { return l.session }

func (l *Lease) state() (cluster.Term, int64, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term, l.beatRev, l.ttl
}

// Renew sends a keepalive, then a transaction under the term that puts the beat.
// Only nil counts: an answered keepalive alone proves nothing. ErrCompared and
// ErrLeaseGone mean that the cluster is lost; anything else may be tried again.
func (l *Lease) Renew(ctx context.Context, ttl time.Duration) error {
	// guard: renew_keepalive — SAFETY 2: without it the key expires under a
	// holder whose transactions still commit.
	if err := l.session.KeepAlive(ctx); err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	term, _, _ := l.state()
	value := l.session.store.beat(cluster.Beat{TTL: ttl.Milliseconds(), Term: term})
	// guard: renew_txn — SAFETY 2: a keepalive may be answered by an etcd
	// leader that lost its cluster long ago; only a commit proves the lease.
	rev, err := l.underTerm(Repeatable(ctx), term, "renew", nil, Put(l.key(keyBeat), value, 0))
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beatRev, l.ttl = max(l.beatRev, rev), ttl
	return nil
}

// beat is the value of a beat.
func (s *Store) beat(b cluster.Beat) []byte {
	value := encodeBeat(&b)
	s.memo.learn(value, &b)
	return value
}

func (l *Lease) key(name string) string { return l.session.store.key(name) }

// underTerm is the only way in which a holder writes.
func (l *Lease) underTerm(ctx context.Context, term cluster.Term, what string, also []Compare, ops ...Op) (int64, error) {
	// guard: holder_term — SAFETY 1 (S1, S4) and 2: a holder that was replaced
	// writes nothing. The term is a mod_revision: a create_revision survives
	// the put of a hand-over, and the old holder's writes with it.
	mine := modIs(l.key(keyLeader), int64(term))
	return l.session.store.txn(ctx, what, append([]Compare{mine}, also...), ops...)
}

// put writes one key under the term.
func (l *Lease) put(ctx context.Context, key string, value []byte) error {
	_, err := l.underTerm(ctx, l.Term(), "put "+key, nil, Put(l.key(key), value, 0))
	return err
}

func (l *Lease) putJSON(ctx context.Context, key string, v any) error {
	value, err := compact(v)
	if err != nil {
		return err
	}
	return l.put(ctx, key, value)
}

// HandOver gives the cluster to h.To in one transaction, after this member's
// server was proved stopped: the leader key is put on successorLease, which is
// the lease of the successor's member key. The successor's term is the revision
// of this transaction. A finished switchover record is removed, and with an ID
// also the wish it fulfils. After ErrUnknownOutcome only Settle tells.
func (l *Lease) HandOver(ctx context.Context, h cluster.Handover, successorLease int64) error {
	s := l.session
	if !validName(h.To) || h.To == s.name {
		return fmt.Errorf("hand over to %q: not another member", h.To)
	}
	// guard: handover_has_lease — SAFETY 2: without a lease the key would
	// never expire; an absent member's lease compares equal to 0.
	if successorLease == 0 {
		return fmt.Errorf("hand over to %q: it has no lease: %w", h.To, ErrCompared)
	}
	h.From = s.name
	value, err := compact(h)
	if err != nil {
		return err
	}
	// guard: handover_lease — SAFETY 2: the key goes onto the lease that the
	// successor keeps alive now, not onto one of its past.
	alive := Compare{Key: l.key(keyMembers + h.To), Target: LeaseOf, Number: successorLease}
	ops := []Op{
		Put(l.key(keyLeader), []byte(h.To), successorLease),
		Put(l.key(keyHandover), value, 0),
		Delete(l.key(keySwitchover)),
	}
	if h.ID != "" {
		ops = append(ops, Put(l.key(keyFailover), []byte("{}"), 0))
	}
	_, err = l.underTerm(ctx, l.Term(), "hand over", []Compare{alive}, ops...)
	return err
}

// Release gives the cluster up, after this member's server was proved stopped:
// the leader key is deleted and the record written that lets candidates act
// without waiting. By, Term and the last beat are filled in. The record of a
// switchover is removed: a Patroni candidate takes the key from here and removes none, and
// poolers hold work while it stands. After ErrUnknownOutcome only Settle tells.
func (l *Lease) Release(ctx context.Context, r cluster.Release) error {
	term, beatRev, _ := l.state()
	r.By, r.Term, r.BeatRevision = l.session.name, term, max(r.BeatRevision, beatRev)
	value, err := compact(r)
	if err != nil {
		return err
	}
	_, err = l.underTerm(ctx, term, "release", nil,
		Delete(l.key(keyLeader)), Put(l.key(keyRelease), value, 0), Delete(l.key(keySwitchover)))
	return err
}

// Settle decides a HandOver or Release whose outcome is unknown, by a
// transaction on the term that puts the leader key again: either it commits, so
// that the late one can only fail (held, under a new Term), or it fails because
// the late one happened or the cluster was lost (not held). It counts as no
// renewal. After an error nothing is known, and Settle may be called again.
func (l *Lease) Settle(ctx context.Context) (held bool, err error) {
	s := l.session
	term, _, ttl := l.state()
	value := s.store.beat(cluster.Beat{TTL: ttl.Milliseconds(), Term: term})
	rev, err := l.underTerm(ctx, term, "settle", nil,
		Put(l.key(keyLeader), []byte(s.name), s.lease), Put(l.key(keyBeat), value, 0))
	if errors.Is(err, ErrCompared) {
		if rev, err = l.settled(ctx, term); err != nil {
			return false, fmt.Errorf("settle: %w", err)
		}
		if rev == 0 {
			return false, nil
		}
	}
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term, l.beatRev = cluster.Term(rev), rev
	return true, nil
}

// settled finds an earlier Settle of this very term that committed although its
// answer was lost: a beat of the old term, put by the transaction that made the
// new one. Only what is there is believed: it proves that it happened. 0 when
// there is none.
func (l *Lease) settled(ctx context.Context, term cluster.Term) (int64, error) {
	view, err := l.session.store.Load(ctx)
	if err != nil {
		return 0, err
	}
	leader, beat := view.Leader, view.Beat
	if leader == nil || beat == nil || leader.Name != l.session.name || leader.LeaseID != l.session.lease {
		return 0, nil
	}
	// guard: settle_mine — SAFETY 2: a key that a new process of this member
	// inherited meanwhile is not taken back from it.
	if beat.Term != term || beat.ModRevision != int64(leader.Term) {
		return 0, nil
	}
	return beat.ModRevision, nil
}
