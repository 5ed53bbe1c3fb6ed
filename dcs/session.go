package dcs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Session is a member's presence in the store: its lease, and what it may do
// without holding the cluster. Every call that returns a Lease sends a keepalive
// first, so that it counts as a renewal: the caller's clock just before the call
// is the s of SAFETY section 2.
type Session struct {
	store *Store
	name  string
	lease int64
}

// Name is the member's name.
func (s *Session) Name() string { return s.name }

// ID is the member's lease; a successor process may Resume on it.
func (s *Session) ID() int64 { return s.lease }

// KeepAlive refreshes the member's lease. For a holder it proves nothing: use
// Lease.Renew. ErrLeaseGone means that a new session must be opened.
func (s *Session) KeepAlive(ctx context.Context) error {
	if err := s.store.kv.KeepAlive(ctx, s.lease); err != nil {
		return fmt.Errorf("keep the lease alive: %w", err)
	}
	return nil
}

// Close revokes the lease, and with it the member key and, if it is held, the
// leader key: a holder releases first.
func (s *Session) Close(ctx context.Context) error {
	if err := s.store.kv.Revoke(ctx, s.lease); err != nil {
		return fmt.Errorf("revoke the lease: %w", err)
	}
	return nil
}

// PutMember writes the member key on the session's lease. Nobody changes m any more.
func (s *Session) PutMember(ctx context.Context, m *cluster.Member) error {
	value, err := encodeMember(m)
	if err != nil {
		return err
	}
	s.store.memo.learn(value, m)
	_, err = s.store.txn(ctx, "put the member key", nil, Put(s.store.key(keyMembers+s.name), value, s.lease))
	return err
}

// DeleteMember removes the member key if it is this session's; ErrCompared when
// it is absent or another lease's (a machine with the same name).
func (s *Session) DeleteMember(ctx context.Context) error {
	key := s.store.key(keyMembers + s.name)
	// guard: own_member — SAFETY 2, my name on the key is mine only if I hold it.
	mine := Compare{Key: key, Target: LeaseOf, Number: s.lease}
	_, err := s.store.txn(ctx, "delete the member key", []Compare{mine}, Delete(key))
	return err
}

// ClaimInitialize takes the right to bootstrap: an empty `initialize` on this
// session's lease, so that a winner that dies frees it. rev is what
// FinishBootstrap and AbandonInitialize compare. ErrCompared when it is taken.
func (s *Session) ClaimInitialize(ctx context.Context) (rev int64, err error) {
	key := s.store.key(keyInitialize)
	// guard: initialize_free — SAFETY 1, S7: one member bootstraps.
	free := modIs(key, 0)
	return s.store.txn(ctx, "claim initialize", []Compare{free}, Put(key, nil, s.lease))
}

// AbandonInitialize gives the right back after a failed bootstrap.
func (s *Session) AbandonInitialize(ctx context.Context, rev int64) error {
	key := s.store.key(keyInitialize)
	// guard: initialize_abandon_mine — S7: another member's claim, or the
	// identifier of a cluster that exists by now, is never deleted.
	mine := modIs(key, rev)
	_, err := s.store.txn(ctx, "abandon initialize", []Compare{mine}, Delete(key))
	return err
}

// PutInitialize records the system identifier of adopted data, when no
// identifier is recorded and nobody bootstraps.
func (s *Session) PutInitialize(ctx context.Context, systemID string) error {
	_, err := s.store.txn(ctx, "record the system identifier", []Compare{s.store.uninitialized()},
		Put(s.store.key(keyInitialize), []byte(systemID), 0))
	return err
}

// uninitialized is the condition under which a system identifier may be recorded
// for a data directory that was not bootstrapped under a claim.
func (s *Store) uninitialized() Compare {
	// guard: initialize_record_absent — S7: an identifier is never replaced.
	return modIs(s.key(keyInitialize), 0)
}

// FinishBootstrap ends a bootstrap in one transaction (S7): under the claim made
// at rev, with nobody leading, it records systemID without a lease and makes this
// member the holder. A configuration that is already stored stays; else config is
// written, unless it is empty. The cluster gets its peer key in the same breath. ErrCompared means that the race is lost and the
// new data directory must be moved aside.
func (s *Session) FinishBootstrap(ctx context.Context, rev int64, systemID string, config json.RawMessage, h cluster.Holder, ttl time.Duration) (*Lease, error) {
	store := s.store
	configRev, err := store.revisionOf(ctx, keyConfig)
	if err != nil {
		return nil, fmt.Errorf("finish the bootstrap: %w", err)
	}
	compares := []Compare{
		// guard: bootstrap_claim — S7: only under my own, unexpired claim.
		modIs(store.key(keyInitialize), rev),
		// guard: bootstrap_leaderless — S7: never beside a holder.
		modIs(store.key(keyLeader), 0),
		// guard: bootstrap_config — an operator's configuration is not lost.
		modIs(store.key(keyConfig), configRev),
	}
	peerKey, err := newPeerKey()
	if err != nil {
		return nil, fmt.Errorf("finish the bootstrap: %w", err)
	}
	ops := []Op{Put(store.key(keyInitialize), []byte(systemID), 0), Put(store.key(keyPeerKey), peerKey, 0)}
	if configRev == 0 && len(config) > 0 {
		value, err := compactObject(config)
		if err != nil {
			return nil, fmt.Errorf("finish the bootstrap: dynamic configuration: %w", err)
		}
		ops = append(ops, Put(store.key(keyConfig), value, 0))
	}
	return s.take(ctx, "finish the bootstrap", compares, ops, h, ttl)
}

// revisionOf reads the mod_revision of one key, 0 when it is absent.
func (s *Store) revisionOf(ctx context.Context, name string) (int64, error) {
	p, err := s.read(ctx, name)
	if p == nil {
		return 0, err
	}
	return p.ModRevision, err
}

// read gives one key, nil when it is absent.
func (s *Store) read(ctx context.Context, name string) (*Pair, error) {
	snap, err := s.kv.Range(ctx, s.key(name))
	if err != nil {
		return nil, err
	}
	for _, p := range snap.Pairs {
		if p.Key == s.key(name) {
			return &p, nil
		}
	}
	return nil, nil
}

// PutResult answers a request, on the session's lease: an answer nobody takes
// goes away with the member.
func (s *Session) PutResult(ctx context.Context, r cluster.Result) error {
	if !validName(r.ID) {
		return fmt.Errorf("put result %q: want an id without slashes", r.ID)
	}
	value, err := compact(r)
	if err != nil {
		return err
	}
	_, err = s.store.txn(ctx, "put result", nil, Put(s.store.key(keyResults+r.ID), value, s.lease))
	return err
}

// DeleteRequest removes a request that was taken up.
func (s *Session) DeleteRequest(ctx context.Context, r cluster.Request) error {
	_, err := s.store.txn(ctx, "delete request", nil, Delete(s.store.key(keyRequests+r.Member+"/"+r.ID)))
	return err
}
