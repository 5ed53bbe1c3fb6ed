package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// World is one cluster in virtual time. Nothing in it runs in parallel, reads a
// clock or depends on anything but its seed.
type World struct {
	queue
	deadlines deadlines
	now       time.Duration
	rng       *rand.Rand
	core      *memory.Core
	store     *dcs.Store // for operators: answers at once
	memo      dcs.Memo   // what the values written in this world mean
	folding   *dcs.Folding
	shown     agent.Event // the view as it is now, when a worker was shown it
	// lazy: what only moves positions comes to a watcher with what comes next.
	lazy  bool
	nodes []*Node

	pool     *pool
	current  *routine
	watchers []*watcher
	expiry   cluster.Instant
	etcdDown bool
	outages  int // faults that keep it so
	pauses   int
	doom     *fault        // of the next server that is promoted
	etcdLost time.Duration // how long the store had no leader, in all
	etcdFrom time.Duration
	healed   bool // all faults were
	// unlisted is the list of failsafe members that somebody has deleted.
	unlisted map[string]string
	// spoilt is the configuration while somebody has spoilt it, good the last that was.
	spoilt, good json.RawMessage
	tagged       bool // some member's tags were changed

	site       *pgfake.Site
	blocked    [8][8]uint8         // servers: from, to: how many faults keep packets back
	blockedAt  [8][8]time.Duration // since when
	bootstrap  json.RawMessage
	instances  int
	steps      int
	operations int
	// stirred: a process was frozen or goes on, or a node changed otherwise than by
	// a step of its loop.
	stirred bool
	moment  time.Duration // of the last event; atOnce counts those of it
	atOnce  int

	// asked are questions between agents that wait for their answer; failsafes counts
	// the rounds of them that were enough.
	asked     map[uint64]func(cluster.FailsafeAnswer)
	questions uint64
	failsafes int

	text []byte // the transcript; nil when nobody reads it
	told bool
	judge
}

// newWorld makes n machines without power.
func newWorld(threads *pool, seed uint64, n int, settings string, told bool) *World {
	w := &World{pool: threads, rng: rand.New(rand.NewPCG(seed, 0x5eed)), bootstrap: said(settings), told: told}
	if told {
		w.text = []byte{}
	}
	w.site = pgfake.NewSite(pgfake.Traps{})
	w.site.Traffic = pgfake.Traffic{Size: recordBytes, Every: writeEvery}
	w.site.Reach, w.site.Carry, w.site.Jitter, w.site.Notify = w.reach, w.carry, w.jitter, w.happened
	w.core = memory.NewCore(w.storeNow)
	w.store = dcs.NewStore(direct{w}, "service", scope).Remember(&w.memo)
	w.lazy = w.chance(lazyWorlds)
	w.fast = strings.Contains(settings, `"fast_failover":true`)
	w.reload()
	w.wanted()
	for i := range n {
		node := &Node{w: w, i: i, name: fmt.Sprintf("pg%d", i+1), argv: [1]string{"postgres"}}
		node.dataDir = "/data/" + node.name
		node.pg = w.site.Server(node.name)
		node.pg.PowerOff(w.serverNow())
		w.nodes = append(w.nodes, node)
	}
	return w
}

// serverNow is the time of the servers' model, whose 0 means never.
func (w *World) serverNow() cluster.Instant { return cluster.Instant(w.now + serverEpoch) }

const serverEpoch = time.Hour

func (w *World) at(when time.Duration, what task) { w.add(max(when, w.now), what) }

func (w *World) after(d time.Duration, what task) { w.add(w.now+d, what) }

// jitter is a random duration below d.
func (w *World) jitter(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

// chance is true in percent of a hundred cases.
func (w *World) chance(percent int) bool { return percent > 0 && w.rng.IntN(100) < percent }

// runUntil lets the world go on until a time, or the first violation.
func (w *World) runUntil(until time.Duration) {
	for w.violation == "" && !w.astray {
		at, any := w.earliest()
		due := time.Duration(w.site.Due()) - serverEpoch
		servers := due > -serverEpoch && (!any || due <= at)
		if servers {
			at = due
		} else if !any {
			break
		}
		if at > until {
			break
		}
		w.now = max(at, w.now)
		w.serve()
		if servers {
			w.site.Advance(w.serverNow())
		} else {
			w.next().do()
		}
		w.look()
		w.stuck(w.now)
	}
	w.now = max(w.now, until)
}

// mostAtOnce is how many events one moment may have; a busy one has a few hundred.
const mostAtOnce = 100_000

// stuck fails when the world goes on and its time does not: somebody tries the same
// thing over and over without waiting.
func (w *World) stuck(at time.Duration) {
	if at != w.moment {
		w.moment, w.atOnce = at, 0
	}
	if w.atOnce++; w.atOnce > mostAtOnce {
		w.fail("L1", "time stands still: somebody does the same thing again and again")
	}
}

// close ends every routine.
func (w *World) close() {
	for _, n := range w.nodes {
		if n.worker != nil {
			n.worker.kill()
		}
		if n.guard != nil {
			n.guard.kill()
		}
		if n.patroni != nil {
			n.patroni.kill()
		}
	}
}

// reach reports whether two servers can talk: a new connection needs both ways.
func (w *World) reach(from, to *pgfake.Server) bool { return w.talk(from.Number(), to.Number()) }

func (w *World) talk(a, b int) bool { return w.blocked[a][b] == 0 && w.blocked[b][a] == 0 }

// carry reports whether what a server sends on a connection that is up arrives. TCP sends
// nothing new for long when it hears of nothing that has arrived.
func (w *World) carry(from, to *pgfake.Server) bool {
	a, b := from.Number(), to.Number()
	return w.blocked[a][b] == 0 && (w.blocked[b][a] == 0 || w.now <= w.blockedAt[b][a]+unacknowledged)
}

const unacknowledged = 300 * time.Millisecond

// block keeps packets of one way back until it is called off.
func (w *World) block(from, to int) (unblock func()) {
	if w.blocked[from][to]++; w.blocked[from][to] == 1 {
		w.blockedAt[from][to] = w.now
		w.after(unacknowledged, doing(func() { w.site.Advance(w.serverNow()) }))
	}
	return func() { w.blocked[from][to]-- }
}

// reload reads the store anew, after it began or was set back.
func (w *World) reload() {
	v, err := w.store.Load(context.Background())
	if err != nil {
		panic(err) //nolint:forbidigo // a model of a store that cannot be read is broken
	}
	w.folding, w.shown, w.expiry = w.store.Folding(v), nil, 0
	w.changed()
}

// direct is dcs.KV without a network, for operators.
type direct struct{ w *World }

// Range implements dcs.KV.
func (d direct) Range(_ context.Context, prefix string) (dcs.Snapshot, error) {
	return d.w.core.Range(prefix), nil
}

// Txn implements dcs.KV.
func (d direct) Txn(_ context.Context, compares []dcs.Compare, ops []dcs.Op) (int64, error) {
	rev, err := d.w.core.Txn(compares, ops)
	d.w.changed()
	return rev, err
}

// Watch implements dcs.KV.
func (d direct) Watch(context.Context, string, int64) <-chan dcs.WatchEvent {
	panic(errNoWatch) //nolint:forbidigo // nobody calls it
}

// Grant implements dcs.KV.
func (d direct) Grant(_ context.Context, ttlSeconds int64) (int64, error) {
	a := d.w.core.Do(memory.Call{Kind: memory.CallGrant, TTL: ttlSeconds})
	d.w.changed()
	return a.Lease, a.Err
}

// KeepAlive implements dcs.KV.
func (d direct) KeepAlive(context.Context, int64) error { return dcs.ErrUnavailable }

// Revoke implements dcs.KV.
func (d direct) Revoke(context.Context, int64) error { return dcs.ErrUnavailable }

// Close implements dcs.KV.
func (d direct) Close() error { return nil }

// parsed keeps what a text of settings means, for all worlds: parsing is pure.
var parsed sync.Map

type meaning struct {
	settings cluster.Settings
	why      string
}

// parseConfig is what a worker is given.
func parseConfig(raw json.RawMessage) (cluster.Settings, string) {
	known, _ := parsed.Load(string(raw))
	if m, ok := known.(meaning); ok {
		return m.settings, m.why
	}
	s, problems := config.Dynamic(raw)
	m := meaning{settings: s}
	if bad := problems.Errors(); len(bad) > 0 {
		m.why = bad.String()
	}
	parsed.Store(string(raw), m)
	return m.settings, m.why
}

// Clients write to whatever server accepts, wherever it is: recordBytes at each
// multiple of writeEvery.
const (
	writeEvery  = 20 * time.Millisecond
	recordBytes = 120
)
