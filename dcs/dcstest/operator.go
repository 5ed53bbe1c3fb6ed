package dcstest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// A Patroni member's key, as version 3 writes it.
const (
	patroniReplica = `{"state":"running","role":"replica","version":"3.0.2"}`
	patroniPrimary = `{"state":"running","role":"master","version":"3.0.2"}`
)

// write puts a key as another program does.
func (w *world) write(name, value string) {
	w.Helper()
	w.txn(nil, dcs.Put(w.key(name), []byte(value), 0))
}

// agent makes the key of a session's member one of an agent.
func (w *world) agent(s *dcs.Session) {
	w.Helper()
	w.must(s.PutMember(w.ctx, &cluster.Member{State: cluster.StateRunning, Role: cluster.RolePrimary, Keeper: &cluster.MemberKeeper{}}))
}

var operatorCases = []testCase{
	{"operator_revision: an operator changes only what he saw", func(w *world) {
		put := func(ttl int, rev int64) error {
			return w.store.PutConfig(w.ctx, json.RawMessage(fmt.Sprintf(`{"ttl":%d}`, ttl)), rev)
		}
		w.must(put(1, 0))
		w.want(dcs.ErrCompared, put(2, 0))
		seen := w.view().Config.ModRevision
		w.must(put(3, seen))
		w.want(dcs.ErrCompared, put(4, seen))
		w.must(put(5, -1))
		if got := string(w.view().Config.Raw); got != `{"ttl":5}` {
			w.Errorf("config is %s", got)
		}
		if err := w.store.PutConfig(w.ctx, json.RawMessage(`{"ttl"`), -1); err == nil {
			w.Error("broken JSON was stored")
		}
	}},
	{"an empty wish clears the key by writing {}", func(w *world) {
		w.must(w.store.PutFailover(w.ctx, cluster.Failover{Leader: "a", Member: "b"}, -1))
		w.must(w.store.PutFailover(w.ctx, cluster.Failover{}, -1))
		snap, err := w.kv.Range(w.ctx, w.key("failover"))
		w.must(err)
		if len(snap.Pairs) != 1 || string(snap.Pairs[0].Value) != "{}" {
			w.Errorf("failover is %v", snap.Pairs)
		}
	}},
	{"a request reaches its member, and the result its asker, once", func(w *world) {
		s := w.session("a")
		w.must(w.store.PutRequest(w.ctx, cluster.Request{ID: "1", Member: "a", Kind: cluster.RequestReload}))
		w.want(dcs.ErrCompared, w.store.PutRequest(w.ctx, cluster.Request{ID: "1", Member: "a"}))
		w.must(w.store.PutRequest(w.ctx, cluster.Request{ID: "0", Member: "a", Kind: cluster.RequestRestart}))
		if snap, err := w.kv.Range(w.ctx, w.key("pgkeeper/requests/a/1")); err != nil || len(snap.Pairs) != 1 || snap.Pairs[0].Lease == 0 {
			w.Errorf("a member that is away finds %v, %v for ever", snap.Pairs, err)
		}
		got := make(chan cluster.Result, 1)
		errs := make(chan error, 1)
		go func() {
			r, err := w.newStore().WaitResult(w.ctx, "1")
			got <- r
			errs <- err
		}()
		v := w.view()
		if len(v.Requests) != 2 || v.Requests[0].ID != "1" || v.Requests[0].Kind != cluster.RequestReload || v.Requests[1].ID != "0" {
			w.Fatalf("requests are %+v, want them in the order they were made", v.Requests)
		}
		w.must(s.PutResult(w.ctx, cluster.Result{ID: "1", Member: "a", Done: true, Message: "reloaded"}))
		w.must(s.DeleteRequest(w.ctx, v.Requests[0]))
		r := <-got
		w.must(<-errs)
		if !r.Done || r.Message != "reloaded" || r.ID != "1" {
			w.Errorf("result is %+v", r)
		}
		if v := w.view(); len(v.Results) != 0 || len(v.Requests) != 1 {
			w.Errorf("left over: %+v %+v", v.Results, v.Requests)
		}
	}},
	{"a wish that comes to a Patroni member has no result: the leader key tells, once its server is primary", func(w *world) {
		l := w.acquire(w.session("a"))
		w.agent(l.Session())
		w.write("members/p", patroniReplica)
		before := w.view()
		got, errs := make(chan cluster.Result, 1), make(chan error, 1)
		go func() {
			r, err := w.newStore().WaitFailover(w.ctx, "1", before)
			got <- r
			errs <- err
		}()
		w.must(l.Release(w.ctx, cluster.Release{}))
		w.write("leader", "p")
		w.write("members/p", patroniPrimary)
		if r := <-got; !r.Done || r.NewLeader != "p" || r.ID != "1" {
			w.Errorf("result is %+v", r)
		}
		w.must(<-errs)
	}},
	{"a wish that a Patroni leader empties was withdrawn; what an agent answers is taken", func(w *world) {
		w.write("members/p", patroniPrimary)
		w.write("leader", "p")
		w.write("failover", "{}")
		r, err := w.store.WaitFailover(w.ctx, "1", w.view())
		w.must(err)
		if r.Done || !strings.Contains(r.Message, "withdrew") {
			w.Errorf("result is %+v", r)
		}
		w.write("members/p", patroniReplica)
		w.write("leader", "a")
		s := w.session("a")
		w.agent(s)
		w.must(s.PutResult(w.ctx, cluster.Result{ID: "2", Refused: true, Message: "no"}))
		r, err = w.store.WaitFailover(w.ctx, "2", w.view())
		w.must(err)
		if v := w.view(); !r.Refused || len(v.Results) != 0 {
			w.Errorf("result is %+v, left over %+v", r, v.Results)
		}
	}},
	{"a result that is there already is taken at once, and goes with its member", func(w *world) {
		s := w.session("a")
		w.must(s.PutResult(w.ctx, cluster.Result{ID: "1"}))
		w.must(s.PutResult(w.ctx, cluster.Result{ID: "2"}))
		_, err := w.store.WaitResult(w.ctx, "1")
		w.must(err)
		w.must(s.Close(w.ctx))
		if v := w.view(); len(v.Results) != 0 {
			w.Errorf("left over: %+v", v.Results)
		}
	}},
	{"paused_primary_seen: only the mark that was seen is cleared", func(w *world) {
		l := w.acquire(w.session("a"))
		w.must(l.PutPausedPrimary(w.ctx))
		seen := w.view().PausedAt
		w.must(l.PutPausedPrimary(w.ctx))
		w.want(dcs.ErrCompared, w.store.ClearPausedPrimary(w.ctx, seen.ModRevision))
		w.must(w.store.ClearPausedPrimary(w.ctx, w.view().PausedAt.ModRevision))
		if w.view().PausedAt != nil || seen.Name != "a" {
			w.Errorf("mark was %+v and stands", seen)
		}
	}},
	{"own_member: a member deletes its own key only", func(w *world) {
		mine, clone := w.session("a"), w.session("a") // the clone put the key last
		w.want(dcs.ErrCompared, mine.DeleteMember(w.ctx))
		w.must(clone.DeleteMember(w.ctx))
		if len(w.view().Members) != 0 {
			w.Error("the key is left")
		}
	}},
	{"a member key comes back as it was written, with its lease", func(w *world) {
		s := w.session("a")
		want := cluster.Member{Name: "a", ConnURL: "postgres://h:5432/postgres?a=1&b=2", State: cluster.StateRunning,
			Role: cluster.RolePrimary, Version: cluster.PatroniVersion, XlogLocation: 1 << 60, Timeline: 3,
			Tags: cluster.Tags{"clonefrom": true}, Keeper: &cluster.MemberKeeper{Node: "n"}}
		w.must(s.PutMember(w.ctx, &want))
		got := w.view().Members["a"]
		if got.LeaseID != s.ID() || got.XlogLocation != want.XlogLocation || got.ConnURL != want.ConnURL || !got.Tags.Bool("clonefrom") || !got.IsKeeper() {
			w.Errorf("member is %+v", got)
		}
	}},
	{"names that would reach out of their place are refused", func(w *world) {
		for _, name := range []string{"", "a/b"} {
			if _, err := w.store.Open(w.ctx, name, ttl); err == nil {
				w.Errorf("member name %q passed", name)
			}
			if err := w.store.PutRequest(w.ctx, cluster.Request{ID: name, Member: "a"}); err == nil {
				w.Errorf("request id %q passed", name)
			}
		}
	}},
	{"remove deletes everything of this cluster and nothing else", func(w *world) {
		other := dcs.NewStore(w.kv, "/conformance/", w.scope+"2")
		w.must(other.PutConfig(w.ctx, json.RawMessage(`{}`), -1))
		w.acquire(w.session("a"))
		for i := range 150 {
			w.must(w.store.PutRequest(w.ctx, cluster.Request{ID: fmt.Sprint(i), Member: "a"}))
		}
		w.must(w.store.Remove(w.ctx))
		v, err := other.Load(w.ctx)
		w.must(err)
		if w.count() != 0 || v.Config == nil {
			w.Errorf("%d keys are left; the other cluster's config: %v", w.count(), v.Config)
		}
	}},
}
