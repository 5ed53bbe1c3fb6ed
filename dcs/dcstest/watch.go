package dcstest

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

var watchCases = []testCase{
	{"changes come in order, without gaps, one event for each transaction", func(w *world) {
		start := w.txn(nil, dcs.Put(w.key("a"), []byte("0"), 0))
		w.txn(nil, dcs.Put(w.key("a"), []byte("1"), 0), dcs.Put(w.key("b"), []byte("1"), 0))
		events := w.kv.Watch(w.ctx, w.store.Base()+"/", start)
		w.txn(nil, dcs.Put(w.store.Base()+"x", nil, 0))
		for i := range 20 {
			w.txn(nil, dcs.Put(w.key("a"), fmt.Appendf(nil, "%d", i), 0))
		}
		w.txn(nil, dcs.Delete(w.key("a")), dcs.Put(w.key("c"), []byte("1"), 0))
		want := []string{"a=1 b=1"}
		for i := range 20 {
			want = append(want, fmt.Sprintf("a=%d", i))
		}
		want = append(want, "-a c=1")
		last := start
		for _, line := range want {
			e := w.next(events)
			w.must(e.Err)
			if got := shorten(e.Changes); got != line || e.Revision <= last || e.Changes[0].ModRevision != e.Revision {
				w.Fatalf("event %q at %d after %d, want %q", got, e.Revision, last, line)
			}
			last = e.Revision
		}
	}},
	{"the end of a lease deletes its keys in one event", func(w *world) {
		lease, err := w.kv.Grant(w.ctx, int64(ttl/time.Second))
		w.must(err)
		rev := w.txn(nil, dcs.Put(w.key("a"), nil, lease), dcs.Put(w.key("b"), nil, lease))
		events := w.kv.Watch(w.ctx, w.store.Base()+"/", rev)
		w.await("the lease ends", func() bool { return w.count() == 0 })
		e := w.next(events)
		w.must(e.Err)
		if got := shorten(e.Changes); got != "-a -b" {
			w.Errorf("event is %q, want both deletes", got)
		}
	}},
	{"a watch from before a compaction ends with ErrCompacted", func(w *world) {
		start := w.txn(nil, dcs.Put(w.key("a"), nil, 0))
		w.txn(nil, dcs.Put(w.key("a"), nil, 0))
		now := w.txn(nil, dcs.Put(w.key("a"), nil, 0))
		w.must(w.Compact(w.ctx, now))
		events := w.kv.Watch(w.ctx, w.store.Base()+"/", start)
		w.want(dcs.ErrCompacted, w.next(events).Err)
		if _, open := <-events; open {
			w.Error("the channel stays open after the error")
		}
	}},
	{"the end of the context closes the channel", func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		events := w.kv.Watch(ctx, w.store.Base()+"/", w.view().Revision)
		cancel()
		for e := range events {
			if e.Err == nil {
				w.Errorf("event %v", e)
			}
		}
	}},
	{"a view that is folded from changes is the view that is loaded", func(w *world) {
		from := w.view()
		s := w.session("a")
		l := w.acquire(s)
		w.session("b")
		w.must(w.store.PutConfig(w.ctx, []byte(`{"ttl": 10}`), 0))
		w.must(w.store.PutFailover(w.ctx, cluster.Failover{Leader: "a", Member: "b"}, 0))
		w.must(w.store.PutRequest(w.ctx, cluster.Request{ID: "1", Member: "a", Kind: cluster.RequestReload}))
		w.must(l.PutStatus(w.ctx, cluster.Positions{Optime: 77, Slots: map[string]cluster.LSN{"b": 7}}))
		w.must(l.PutHistory(w.ctx, cluster.History{{Timeline: 1, Switch: 5, Reason: "no recovery target specified"}}))
		_, err := l.PutFailsafe(w.ctx, map[string]string{"a": "http://a:8008/patroni"}, 0)
		w.must(err)
		rev, err := l.PutDurability(w.ctx, cluster.Durability{Mode: "quorum", Rules: []cluster.Rule{{Primary: "a", Voters: []string{"b", "c"}, Need: 1}}}, 0)
		w.must(err)
		if v := w.view(); v.Durability.ModRevision != rev {
			w.Errorf("the record of rules was put at revision %d, and is shown of %d", rev, v.Durability.ModRevision)
		}
		_, err = l.PutSwitchover(w.ctx, cluster.Switchover{ID: "1", From: "a", To: "b", Phase: cluster.SwitchoverPreparing}, 0, 0)
		w.must(err)
		w.must(l.PutPausedPrimary(w.ctx))
		w.must(l.PutInitialize(w.ctx, "7268616322854375442"))
		_, err = l.Reserve(w.ctx, nil, 2)
		w.must(err)
		w.must(s.PutResult(w.ctx, cluster.Result{ID: "1", Member: "a", Done: true}))
		w.must(w.store.ClearPausedPrimary(w.ctx, w.view().PausedAt.ModRevision))
		w.txn(nil, dcs.Put(w.key("members/broken"), []byte("{"), 0))
		want := w.view()
		var got cluster.View
		for u := range w.store.Watch(w.ctx, from) {
			w.must(u.Err)
			if got = u.View; got.Revision >= want.Revision {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("folded view (+) differs from the loaded one (-):\n%s", diff)
		}
		if len(got.Problems) != 1 || got.Members["b"].State != cluster.StateRunning || got.Status.Optime != 77 {
			w.Errorf("view is %+v", got)
		}
	}},
}
