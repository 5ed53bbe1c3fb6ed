package memory

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// Core is the store. It is not safe for concurrent use. It keeps and hands out the
// very bytes it is given: nobody may change a value that was put or read.
type Core struct {
	now       func() cluster.Instant
	clusterID uint64
	revision  int64
	compacted int64
	keys      map[string]dcs.Pair
	leases    map[int64]lease
	nextLease int64
	floor     int64
	log       []dcs.WatchEvent
	// first is the lease that ends first; changed: leases have changed since it was
	// looked for.
	first   ending
	changed bool
}

// ending is when a lease ends; id 0 for none.
type ending struct {
	id int64
	at cluster.Instant
}

// lease is a value, so that a copy of the map is a copy of the leases.
type lease struct {
	ttl     time.Duration
	expires cluster.Instant
}

// NewCore gives an empty store at revision 1 on the given clock.
func NewCore(now func() cluster.Instant) *Core {
	return &Core{
		now: now, clusterID: 0xc0de, revision: 1, compacted: 1, nextLease: 1000, floor: 1,
		keys: map[string]dcs.Pair{}, leases: map[int64]lease{},
	}
}

// SetFloor sets the least lease time granted, in seconds (etcd: 1.5 x its
// election timeout, rounded up).
func (c *Core) SetFloor(seconds int64) { c.floor = seconds }

// Revision is the store's revision now, expiries that are due included.
func (c *Core) Revision() int64 { c.Advance(); return c.revision }

// Range reads every key with the prefix, sorted.
func (c *Core) Range(prefix string) dcs.Snapshot {
	c.Advance()
	snap := dcs.Snapshot{ClusterID: c.clusterID, Revision: c.revision}
	for key, p := range c.keys {
		if strings.HasPrefix(key, prefix) {
			snap.Pairs = append(snap.Pairs, p)
		}
	}
	slices.SortFunc(snap.Pairs, func(a, b dcs.Pair) int { return cmp.Compare(a.Key, b.Key) })
	return snap
}

// Txn writes ops when all compares hold; see dcs.KV.
func (c *Core) Txn(compares []dcs.Compare, ops []dcs.Op) (int64, error) {
	c.Advance()
	for i, op := range ops {
		if slices.ContainsFunc(ops[:i], func(other dcs.Op) bool { return other.Key == op.Key }) {
			return 0, fmt.Errorf("transaction touches key %q twice", op.Key)
		}
	}
	for _, cond := range compares {
		if !c.holds(cond) {
			return 0, fmt.Errorf("compare %q: %w", cond.Key, dcs.ErrCompared)
		}
	}
	for _, op := range ops {
		if _, ok := c.leases[op.Lease]; !op.Delete && op.Lease != 0 && !ok {
			return 0, fmt.Errorf("put %q on lease %x: %w", op.Key, op.Lease, dcs.ErrLeaseGone)
		}
	}
	c.write(ops)
	return c.revision, nil
}

func (c *Core) holds(cond dcs.Compare) bool {
	p, present := c.keys[cond.Key]
	switch cond.Target {
	case dcs.ModRevision:
		return p.ModRevision == cond.Number
	case dcs.CreateRevision:
		return p.CreateRevision == cond.Number
	case dcs.LeaseOf:
		return p.Lease == cond.Number
	case dcs.ValueOf:
		return present && bytes.Equal(p.Value, cond.Value)
	}
	return false
}

// write applies ops at the next revision. Deletes of absent keys change nothing,
// and when nothing changes there is no new revision.
func (c *Core) write(ops []dcs.Op) {
	event := dcs.WatchEvent{Revision: c.revision + 1, Changes: make([]dcs.Change, 0, len(ops))}
	for _, op := range ops {
		old, present := c.keys[op.Key]
		switch {
		case op.Delete && !present:
		case op.Delete:
			delete(c.keys, op.Key)
			gone := dcs.Pair{Key: op.Key, ModRevision: event.Revision}
			event.Changes = append(event.Changes, dcs.Change{Pair: gone, Deleted: true})
		default:
			p := dcs.Pair{Key: op.Key, Value: op.Value, Lease: op.Lease,
				CreateRevision: old.CreateRevision, ModRevision: event.Revision}
			if !present {
				p.CreateRevision = event.Revision
			}
			c.keys[op.Key] = p
			event.Changes = append(event.Changes, dcs.Change{Pair: p})
		}
	}
	if len(event.Changes) > 0 {
		c.revision = event.Revision
		c.log = append(c.log, event)
	}
}

// Grant makes a lease of at least the floor.
func (c *Core) Grant(ttlSeconds int64) int64 {
	c.Advance()
	c.nextLease++
	ttl := time.Duration(max(ttlSeconds, c.floor)) * time.Second
	c.set(c.nextLease, lease{ttl: ttl, expires: c.now().Add(ttl)})
	return c.nextLease
}

// KeepAlive restarts a lease at its full length.
func (c *Core) KeepAlive(id int64) error {
	c.Advance()
	l, ok := c.leases[id]
	if !ok {
		return fmt.Errorf("keep lease %x alive: %w", id, dcs.ErrLeaseGone)
	}
	l.expires = c.now().Add(l.ttl)
	c.set(id, l)
	return nil
}

// Revoke ends a lease and deletes the keys on it.
func (c *Core) Revoke(id int64) error {
	c.Advance()
	if _, ok := c.leases[id]; !ok {
		return fmt.Errorf("revoke lease %x: %w", id, dcs.ErrLeaseGone)
	}
	c.drop(id)
	return nil
}

// drop removes a lease and, in one revision, the keys on it.
func (c *Core) drop(id int64) {
	delete(c.leases, id)
	c.changed = true
	var ops []dcs.Op
	for _, key := range slices.Sorted(maps.Keys(c.keys)) {
		if c.keys[key].Lease == id {
			ops = append(ops, dcs.Delete(key))
		}
	}
	c.write(ops)
}

// Advance ends every lease whose time has come, oldest first. All calls do it;
// a driver calls it when only time has passed.
func (c *Core) Advance() {
	now := c.now()
	for {
		id, at, ok := c.next()
		if !ok || at > now {
			return
		}
		c.drop(id)
	}
}

// NextExpiry is when the next lease ends if nobody keeps it alive.
func (c *Core) NextExpiry() (at cluster.Instant, ok bool) {
	_, at, ok = c.next()
	return at, ok
}

// set keeps a lease.
func (c *Core) set(id int64, l lease) {
	c.leases[id], c.changed = l, true
}

func (c *Core) next() (id int64, at cluster.Instant, ok bool) {
	if c.changed {
		c.first, c.changed = ending{}, false
		for other, l := range c.leases {
			if f := &c.first; f.id == 0 || l.expires < f.at || l.expires == f.at && other < f.id {
				*f = ending{other, l.expires}
			}
		}
	}
	return c.first.id, c.first.at, c.first.id != 0
}

// LeaseLeft is the time left of a lease; false when it does not exist.
func (c *Core) LeaseLeft(id int64) (time.Duration, bool) {
	c.Advance()
	l, ok := c.leases[id]
	return l.expires.Sub(c.now()), ok
}

// Events are the changes under prefix after revision from, in order. It is
// ErrCompacted when some of them are gone.
func (c *Core) Events(prefix string, from int64) ([]dcs.WatchEvent, error) {
	c.Advance()
	if from+1 < c.compacted {
		return nil, fmt.Errorf("watch from revision %d: %w", from, dcs.ErrCompacted)
	}
	first, _ := slices.BinarySearchFunc(c.log, from+1, func(e dcs.WatchEvent, rev int64) int { return cmp.Compare(e.Revision, rev) })
	var found []dcs.WatchEvent
	for _, e := range c.log[first:] {
		if under := filter(e, prefix); len(under.Changes) > 0 {
			found = append(found, under)
		}
	}
	return found, nil
}

func filter(e dcs.WatchEvent, prefix string) dcs.WatchEvent {
	elsewhere := func(change dcs.Change) bool { return !strings.HasPrefix(change.Key, prefix) }
	if !slices.ContainsFunc(e.Changes, elsewhere) {
		return e
	}
	under := dcs.WatchEvent{Revision: e.Revision}
	for _, change := range e.Changes {
		if !elsewhere(change) {
			under.Changes = append(under.Changes, change)
		}
	}
	return under
}

// Compact forgets the history before revision at.
func (c *Core) Compact(at int64) {
	c.compacted = max(c.compacted, min(at, c.revision))
	c.log = slices.DeleteFunc(c.log, func(e dcs.WatchEvent) bool { return e.Revision < c.compacted })
}

// ChangeLeader is what an etcd leader change does: every lease starts again at
// full length.
func (c *Core) ChangeLeader() {
	c.Advance()
	for id, l := range c.leases {
		l.expires = c.now().Add(l.ttl)
		c.set(id, l)
	}
}

// Backup is a copy of a store for Restore.
type Backup struct {
	revision int64
	keys     map[string]dcs.Pair
	leases   map[int64]lease
}

// Backup copies the state as it is now.
func (c *Core) Backup() Backup {
	c.Advance()
	return Backup{revision: c.revision, keys: maps.Clone(c.keys), leases: maps.Clone(c.leases)}
}

// Restore goes back to a backup, its lower revision included; leases start at
// full length. clusterID 0 keeps the cluster's identity, as copying data
// directories does; etcd's own restore makes a new one.
func (c *Core) Restore(b Backup, clusterID uint64) {
	c.revision, c.compacted, c.log = b.revision, b.revision, nil
	c.keys, c.leases, c.changed = maps.Clone(b.keys), maps.Clone(b.leases), true
	if clusterID != 0 {
		c.clusterID = clusterID
	}
	for id, l := range c.leases {
		l.expires = c.now().Add(l.ttl)
		c.set(id, l)
	}
}
