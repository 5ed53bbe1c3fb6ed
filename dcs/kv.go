package dcs

import (
	"context"
	"errors"
)

// What a store can answer beyond success. Implementations wrap these.
var (
	// ErrUnknownOutcome: the request was sent and may or may not have taken
	// effect, now or later (timeout, lost connection).
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrUnavailable: the request certainly had no effect (not sent, refused,
	// or a read that could not be answered).
	ErrUnavailable = errors.New("store unavailable")
	// ErrCompared: a comparison of the transaction failed; nothing was written.
	ErrCompared = errors.New("comparison failed")
	// ErrLeaseGone: the lease does not exist (any more).
	ErrLeaseGone = errors.New("lease not found")
	// ErrCompacted: the watch's start revision is gone; load again.
	ErrCompacted = errors.New("revision compacted")
	// ErrDenied: credentials were refused.
	ErrDenied = errors.New("access denied")
)

// Pair is one key as stored.
type Pair struct {
	Key   string
	Value []byte
	// CreateRevision and ModRevision are when the key was created and last put.
	CreateRevision, ModRevision int64
	// Lease is the lease the key lives on; 0 for none.
	Lease int64
}

// Snapshot is a consistent read of a prefix at Revision.
type Snapshot struct {
	ClusterID uint64
	Revision  int64
	Pairs     []Pair
}

// Target is what a comparison looks at.
type Target int

// The targets. An absent key has revisions and lease 0.
const (
	ModRevision Target = iota
	CreateRevision
	LeaseOf
	ValueOf
)

// Compare is one condition of a transaction; all must hold (equality only).
type Compare struct {
	Key    string
	Target Target
	// Number is compared for revisions and leases, Value for ValueOf.
	Number int64
	Value  []byte
}

// Op is one write of a transaction: a put, or a delete when Delete is set. etcd
// refuses a transaction that touches one key twice, and so does every KV.
type Op struct {
	Key    string
	Value  []byte
	Lease  int64
	Delete bool
}

// Put makes an Op that stores value, on a lease when lease is not 0.
func Put(key string, value []byte, lease int64) Op { return Op{Key: key, Value: value, Lease: lease} }

// Delete makes an Op that removes a key; removing an absent key succeeds.
func Delete(key string) Op { return Op{Key: key, Delete: true} }

// WatchEvent is one batch of changes under a watched prefix, in revision order.
// Err ends the watch: everything since the last event may have been missed and
// the prefix must be loaded again.
type WatchEvent struct {
	Revision int64
	Changes  []Change
	Err      error
}

// Change is one key that was put, or deleted when Deleted is set.
type Change struct {
	Pair
	Deleted bool
}

// KV is what a store must offer. Every method is bounded by its context; keys
// are whole paths. Implementations are safe for concurrent use.
type KV interface {
	// Range reads every key with the prefix, linearizably.
	Range(ctx context.Context, prefix string) (Snapshot, error)
	// Txn writes all ops if all comparisons hold, and returns the revision of
	// the write. It is ErrCompared when one does not hold, ErrLeaseGone when an
	// op's lease does not exist, ErrUnknownOutcome when nobody can tell.
	Txn(ctx context.Context, compares []Compare, ops []Op) (revision int64, err error)
	// Watch delivers changes under prefix after revision from, until ctx ends
	// or an event carries Err; then the channel is closed. It requires a store
	// with a leader: a member cut off from its quorum ends the watch with Err.
	Watch(ctx context.Context, prefix string, from int64) <-chan WatchEvent
	// Grant makes a lease of ttl seconds (at least the store's own floor).
	Grant(ctx context.Context, ttlSeconds int64) (lease int64, err error)
	// KeepAlive refreshes a lease once. ErrLeaseGone when it has expired. An
	// answer alone proves nothing about the keys on it (SAFETY 2).
	KeepAlive(ctx context.Context, lease int64) error
	// Revoke ends a lease and deletes the keys on it.
	Revoke(ctx context.Context, lease int64) error
	// Close releases connections; running calls end with ErrUnavailable.
	Close() error
}
