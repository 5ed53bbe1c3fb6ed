package dcstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// Harness is one store under test.
type Harness struct {
	// KV gives a new client of the store; the suite closes it.
	KV func(t *testing.T) dcs.KV
	// Elapse lets d pass on the store's clock.
	Elapse func(d time.Duration)
	// Compact forgets the history before a revision.
	Compact func(ctx context.Context, revision int64) error
}

// Run runs the whole suite on the stores that open gives.
func Run(t *testing.T, open func(*testing.T) Harness) {
	suite := func(name string, cases []testCase) {
		t.Run(name, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) { c.run(newWorld(t, open(t))) })
			}
		})
	}
	suite("store", storeCases)
	suite("watch", watchCases)
	suite("lease", leaseCases)
	suite("handover", handoverCases)
	suite("bootstrap", bootstrapCases)
	suite("peer key", peerKeyCases)
	suite("operator", operatorCases)
}

type testCase struct {
	name string
	run  func(*world)
}

// ttl is the lease time of the suite: on a store in real time what is done within a
// lease must be done while a busy machine does other things too.
const ttl = 4 * time.Second

// patience bounds every wait of the suite.
const patience = 30 * time.Second

// world is one test's view of a store: a cluster of its own, failing at once
// when a step that must work does not.
type world struct {
	*testing.T
	Harness
	ctx   context.Context
	scope string
	kv    dcs.KV
	store *dcs.Store
}

func newWorld(t *testing.T, h Harness) *world {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	w := &world{T: t, Harness: h, ctx: ctx, scope: strings.ReplaceAll(t.Name(), "/", "_")}
	w.kv = w.client()
	w.store = w.newStore()
	return w
}

func (w *world) client() dcs.KV {
	kv := w.KV(w.T)
	w.Cleanup(func() { _ = kv.Close() })
	return kv
}

func (w *world) newStore() *dcs.Store { return dcs.NewStore(w.client(), "/conformance/", w.scope) }

func (w *world) key(name string) string { return w.store.Base() + "/" + name }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) want(kind, err error) {
	w.Helper()
	if !errors.Is(err, kind) {
		w.Fatalf("error is %v, want %v", err, kind)
	}
}

func (w *world) view() cluster.View {
	w.Helper()
	v, err := w.store.Load(w.ctx)
	w.must(err)
	return v
}

// session opens a member with its key; its lease is long, so that only tests
// about expiry meet it.
func (w *world) session(name string) *dcs.Session { return w.sessionFor(name, time.Minute) }

func (w *world) sessionFor(name string, ttl time.Duration) *dcs.Session {
	w.Helper()
	s, err := w.newStore().Open(w.ctx, name, ttl)
	w.must(err)
	w.must(s.PutMember(w.ctx, &cluster.Member{State: cluster.StateRunning, Role: cluster.RoleReplica, Version: cluster.PatroniVersion}))
	return s
}

// acquire takes the free cluster for s.
func (w *world) acquire(s *dcs.Session) *dcs.Lease {
	w.Helper()
	l, err := s.Acquire(w.ctx, w.candidacy(s.Name()))
	w.must(err)
	return l
}

// candidacy is what a candidate sees now.
func (w *world) candidacy(name string) dcs.Candidacy {
	w.Helper()
	c := dcs.Candidacy{Holder: cluster.Holder{Name: name, Node: "node-" + name}, TTL: 10 * time.Second}
	v := w.view()
	c.FailoverRevision = v.FailoverRev
	if v.Leader != nil {
		c.LeaderTerm = v.Leader.Term
	}
	if v.Beat != nil {
		c.BeatRevision = v.Beat.ModRevision
	}
	return c
}

func (w *world) txn(compares []dcs.Compare, ops ...dcs.Op) int64 {
	w.Helper()
	rev, err := w.kv.Txn(w.ctx, compares, ops)
	w.must(err)
	return rev
}

// await lets time pass until holds does.
func (w *world) await(what string, holds func() bool) {
	w.Helper()
	const step = 50 * time.Millisecond
	for passed := time.Duration(0); !holds(); passed += step {
		if passed > patience {
			w.Fatalf("not within %s: %s", patience, what)
		}
		w.Elapse(step)
	}
}

func (w *world) next(events <-chan dcs.WatchEvent) dcs.WatchEvent {
	w.Helper()
	select {
	case e, open := <-events:
		if !open {
			w.Fatal("the watch was closed")
		}
		return e
	case <-w.ctx.Done():
		w.Fatal("no event in time")
	}
	return dcs.WatchEvent{}
}

func shorten(changes []dcs.Change) string {
	var parts []string
	for _, c := range changes {
		name := c.Key[strings.LastIndex(c.Key, "/")+1:]
		if c.Deleted {
			parts = append(parts, "-"+name)
		} else {
			parts = append(parts, fmt.Sprintf("%s=%s", name, c.Value))
		}
	}
	return strings.Join(parts, " ")
}
