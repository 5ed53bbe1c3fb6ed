package dcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Store is one cluster's part of a KV. It holds nothing but the KV and the base
// path: safe for concurrent use (unless it was told to Remember), free to copy the
// pointer.
type Store struct {
	kv   KV
	base string
	memo *Memo // nil unless it was told to Remember
}

// NewStore gives the cluster namespace/scope in kv.
func NewStore(kv KV, namespace, scope string) *Store {
	return &Store{kv: kv, base: basePath(namespace, scope)}
}

// Base is the path all keys of the cluster lie under, without a trailing slash.
func (s *Store) Base() string { return s.base }

func (s *Store) key(name string) string { return s.base + "/" + name }

// Load reads the whole cluster, linearizably. Values that cannot be read are in
// View.Problems; the error is only about the store (ErrUnavailable, ErrDenied).
func (s *Store) Load(ctx context.Context) (cluster.View, error) {
	snap, err := s.kv.Range(ctx, s.base+"/")
	if err != nil {
		return cluster.View{}, fmt.Errorf("load %s: %w", s.base, err)
	}
	f := s.folding(cluster.View{ClusterID: snap.ClusterID, Revision: snap.Revision})
	own(&f.view.Members, &f.membersOwned)
	// The legacy key sorts before `status`, which then wins.
	slices.SortFunc(snap.Pairs, func(a, b Pair) int { return strings.Compare(a.Key, b.Key) })
	for _, p := range snap.Pairs {
		f.fold(Change{Pair: p})
	}
	f.view.News = snap.Revision
	return f.view, nil
}

// Update is what Watch delivers: the newest view, or the reason why it ended.
type Update struct {
	View cluster.View
	Err  error
}

// Watch folds every change after from into new views, from its own goroutine,
// until ctx ends (the channel is closed) or the store cannot vouch that nothing
// was missed (one Update with Err, then closed): call Load and Watch again. A
// slow reader gets the newest view, not every one in between.
func (s *Store) Watch(ctx context.Context, from cluster.View) <-chan Update {
	out := make(chan Update)
	go s.follow(ctx, from, out)
	return out
}

func (s *Store) follow(ctx context.Context, view cluster.View, out chan<- Update) {
	defer close(out)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := s.kv.Watch(ctx, s.base+"/", view.Revision)
	var ready chan<- Update // nil, which never sends, until there is news
	for {
		select {
		case <-ctx.Done():
			return
		case ready <- Update{View: view}:
			ready = nil
		case e, open := <-events:
			if !open || e.Err != nil {
				endWatch(ctx, out, e.Err)
				return
			}
			view, ready = s.Fold(view, e), out
		}
	}
}

// endWatch reports why the changes stopped, unless the reader itself ended them.
func endWatch(ctx context.Context, out chan<- Update, err error) {
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		err = fmt.Errorf("the watch ended without a reason: %w", ErrUnavailable)
	}
	select {
	case <-ctx.Done():
	case out <- Update{Err: fmt.Errorf("watch: %w", err)}:
	}
}

// Fold gives the view after e; view itself is not changed. It is what Watch
// does with every event, for a driver that pulls events itself.
func (s *Store) Fold(view cluster.View, e WatchEvent) cluster.View {
	f := s.folding(view)
	f.apply(e)
	return f.view
}

// Folding follows the store in one view, for a driver to whom few of the views in
// between matter: what nobody was shown is changed in place.
type Folding struct{ f folder }

// Folding begins with view, which is not changed.
func (s *Store) Folding(view cluster.View) *Folding { return &Folding{s.folding(view)} }

func (s *Store) folding(view cluster.View) folder {
	return folder{prefix: s.base + "/", memo: s.memo, view: view}
}

// Apply folds e.
func (f *Folding) Apply(e WatchEvent) { f.f.apply(e) }

// Peek is the view as it is now, until the next Apply.
func (f *Folding) Peek() *cluster.View { return &f.f.view }

// View is the view as it is now; it stays so.
func (f *Folding) View() cluster.View {
	f.f.membersOwned, f.f.resultsOwned, f.f.requestsOwned, f.f.problemsOwned = false, false, false, false
	return f.f.view
}

// Open grants the member lease of name, of ttl rounded up to whole seconds. When
// the outcome is unknown a lease may be left over; nothing is on it, and it
// expires.
func (s *Store) Open(ctx context.Context, name string, ttl time.Duration) (*Session, error) {
	if !validName(name) {
		return nil, fmt.Errorf("member name %q: want a text without slashes", name)
	}
	lease, err := s.kv.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return nil, fmt.Errorf("grant a lease of %s: %w", ttl, err)
	}
	return s.Resume(name, lease), nil
}

// Resume continues on the lease of a predecessor of the same name. Whether it
// still exists, the first KeepAlive tells.
func (s *Store) Resume(name string, leaseID int64) *Session {
	return &Session{store: s, name: name, lease: leaseID}
}

// PutConfig writes the dynamic configuration, a JSON object, compactly.
// ifModRevision -1 writes in any case, 0 only when there is none yet, else only
// over that revision; ErrCompared when it does not hold.
func (s *Store) PutConfig(ctx context.Context, raw json.RawMessage, ifModRevision int64) error {
	value, err := compactObject(raw)
	if err != nil {
		return fmt.Errorf("put the dynamic configuration: %w", err)
	}
	return s.putIf(ctx, keyConfig, value, ifModRevision)
}

// PutFailover writes an operator's wish, {} when it is empty; ifModRevision as
// in PutConfig.
func (s *Store) PutFailover(ctx context.Context, f cluster.Failover, ifModRevision int64) error {
	value, err := encodeFailover(f)
	if err != nil {
		return err
	}
	return s.putIf(ctx, keyFailover, value, ifModRevision)
}

func (s *Store) putIf(ctx context.Context, key string, value []byte, ifModRevision int64) error {
	var compares []Compare
	if ifModRevision >= 0 {
		// guard: operator_revision — an operator changes only what he saw.
		compares = append(compares, modIs(s.key(key), ifModRevision))
	}
	_, err := s.txn(ctx, "put "+key, compares, Put(s.key(key), value, 0))
	return err
}

// requestLasts is how long a request waits for its member. Nobody who asked waits longer, and what was asked of a member
// that went away in that moment must not be done when it comes back weeks later.
const requestLasts = 10 * time.Minute

// PutRequest asks one member to do something, within requestLasts. ErrCompared when the id is taken.
func (s *Store) PutRequest(ctx context.Context, r cluster.Request) error {
	if !validName(r.Member) || !validName(r.ID) {
		return fmt.Errorf("put request %q for member %q: both need a text without slashes", r.ID, r.Member)
	}
	value, err := compact(r)
	if err != nil {
		return err
	}
	lease, err := s.kv.Grant(ctx, int64(requestLasts/time.Second))
	if err != nil {
		return fmt.Errorf("put request: %w", err)
	}
	key := s.key(keyRequests + r.Member + "/" + r.ID)
	_, err = s.txn(ctx, "put request", []Compare{modIs(key, 0)}, Put(key, value, lease))
	return err
}

// TakeResult deletes the result of id, for a caller that saw it in a view.
func (s *Store) TakeResult(ctx context.Context, id string) error {
	_, err := s.txn(ctx, "take result", nil, Delete(s.key(keyResults+id)))
	return err
}

// WaitResult waits until ctx ends for the answer to id, and deletes it.
func (s *Store) WaitResult(ctx context.Context, id string) (cluster.Result, error) {
	const mostWatches = 5 // a store that breaks every watch is not waited for
	key := s.key(keyResults + id)
	var err error
	for range mostWatches {
		var value *Pair
		if value, err = s.waitKey(ctx, key); value != nil {
			r, decodeErr := decodeResult(id, *value)
			return r, errors.Join(decodeErr, s.TakeResult(ctx, id))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return cluster.Result{}, fmt.Errorf("wait for result %s: %w", id, err)
}

// waitKey returns key as soon as it exists.
func (s *Store) waitKey(ctx context.Context, key string) (*Pair, error) {
	snap, err := s.kv.Range(ctx, key)
	if err != nil {
		return nil, err
	}
	for _, p := range snap.Pairs {
		if p.Key == key {
			return &p, nil
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for e := range s.kv.Watch(ctx, key, snap.Revision) {
		if e.Err != nil {
			return nil, e.Err
		}
		for _, c := range e.Changes {
			if c.Key == key && !c.Deleted {
				return &c.Pair, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
}

// ClearPausedPrimary removes the mark of a paused primary, as it was seen at
// revision rev: by that member itself, or by an operator who vouches that it is
// dead.
func (s *Store) ClearPausedPrimary(ctx context.Context, rev int64) error {
	key := s.key(keyPausedPrimary)
	// guard: paused_primary_seen — SAFETY 2, pause: only the mark that was seen
	// is cleared, never a newer one of another primary.
	seen := modIs(key, rev)
	_, err := s.txn(ctx, "clear the paused primary", []Compare{seen}, Delete(key))
	return err
}

// Remove deletes everything under the base, `initialize` last: while it stands
// nobody bootstraps among the leftovers.
func (s *Store) Remove(ctx context.Context) error {
	const batch = 100 // etcd takes 128 operations in one transaction
	for {
		snap, err := s.kv.Range(ctx, s.base+"/")
		if err != nil {
			return fmt.Errorf("remove %s: %w", s.base, err)
		}
		if len(snap.Pairs) == 0 {
			return nil
		}
		ops := s.removals(snap.Pairs)
		if _, err := s.txn(ctx, "remove "+s.base, nil, ops[:min(batch, len(ops))]...); err != nil {
			return err
		}
	}
}

func (s *Store) removals(pairs []Pair) []Op {
	var ops []Op
	for _, p := range pairs {
		if p.Key != s.key(keyInitialize) {
			ops = append(ops, Delete(p.Key))
		}
	}
	if len(ops) < len(pairs) {
		ops = append(ops, Delete(s.key(keyInitialize)))
	}
	return ops
}

// txn runs one transaction and says in its error what was tried.
func (s *Store) txn(ctx context.Context, what string, compares []Compare, ops ...Op) (int64, error) {
	rev, err := s.kv.Txn(ctx, compares, ops)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return rev, nil
}

func modIs(key string, rev int64) Compare {
	return Compare{Key: key, Target: ModRevision, Number: rev}
}
