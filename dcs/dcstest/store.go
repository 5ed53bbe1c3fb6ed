package dcstest

import (
	"context"
	"errors"
	"time"

	"github.com/pgkeeper/pgkeeper/dcs"
)

func is(key string, target dcs.Target, number int64) dcs.Compare {
	return dcs.Compare{Key: key, Target: target, Number: number}
}

var storeCases = []testCase{
	{"a range gives the keys of the prefix in order, with revisions and lease", func(w *world) {
		lease, err := w.kv.Grant(w.ctx, 60)
		w.must(err)
		first := w.txn(nil, dcs.Put(w.key("b"), []byte("1"), 0))
		second := w.txn(nil, dcs.Put(w.key("b"), []byte("2"), lease), dcs.Put(w.key("a"), nil, 0))
		w.txn(nil, dcs.Put(w.store.Base()+"-other", nil, 0))
		snap, err := w.kv.Range(w.ctx, w.store.Base()+"/")
		w.must(err)
		if len(snap.Pairs) != 2 || snap.Pairs[0].Key != w.key("a") || snap.Pairs[1].Key != w.key("b") {
			w.Fatalf("pairs are %v, want a and b", snap.Pairs)
		}
		b := snap.Pairs[1]
		if string(b.Value) != "2" || b.CreateRevision != first || b.ModRevision != second || b.Lease != lease {
			w.Errorf("b is %+v, want value 2, created %d, modified %d, lease %d", b, first, second, lease)
		}
		if snap.Revision <= second || snap.ClusterID == 0 {
			w.Errorf("snapshot says revision %d, cluster %d", snap.Revision, snap.ClusterID)
		}
	}},
	{"each comparison holds when it should and only then", func(w *world) {
		lease, err := w.kv.Grant(w.ctx, 60)
		w.must(err)
		k := w.key("k")
		created := w.txn(nil, dcs.Put(k, []byte("old"), 0))
		modified := w.txn(nil, dcs.Put(k, []byte("v"), lease))
		absent := w.key("absent")
		for _, c := range []struct {
			cond  dcs.Compare
			holds bool
		}{
			{is(k, dcs.ModRevision, modified), true}, {is(k, dcs.ModRevision, created), false}, {is(k, dcs.ModRevision, 0), false},
			{is(k, dcs.CreateRevision, created), true}, {is(k, dcs.CreateRevision, modified), false},
			{is(k, dcs.LeaseOf, lease), true}, {is(k, dcs.LeaseOf, 0), false},
			{dcs.Compare{Key: k, Target: dcs.ValueOf, Value: []byte("v")}, true},
			{dcs.Compare{Key: k, Target: dcs.ValueOf, Value: []byte("w")}, false},
			{is(absent, dcs.ModRevision, 0), true}, {is(absent, dcs.ModRevision, 1), false},
			{is(absent, dcs.CreateRevision, 0), true}, {is(absent, dcs.LeaseOf, 0), true},
			{dcs.Compare{Key: absent, Target: dcs.ValueOf}, false},
		} {
			_, err := w.kv.Txn(w.ctx, []dcs.Compare{c.cond}, []dcs.Op{dcs.Put(w.key("probe"), nil, 0)})
			if holds := err == nil; holds != c.holds || (err != nil && !errors.Is(err, dcs.ErrCompared)) {
				w.Errorf("%+v: error %v, want it to hold: %v", c.cond, err, c.holds)
			}
		}
	}},
	{"one comparison that fails keeps all from being written", func(w *world) {
		_, err := w.kv.Txn(w.ctx, []dcs.Compare{is(w.key("a"), dcs.ModRevision, 0), is(w.key("b"), dcs.ModRevision, 7)},
			[]dcs.Op{dcs.Put(w.key("a"), nil, 0), dcs.Put(w.key("b"), nil, 0)})
		w.want(dcs.ErrCompared, err)
		snap, err := w.kv.Range(w.ctx, w.store.Base()+"/")
		w.must(err)
		if len(snap.Pairs) != 0 {
			w.Errorf("written: %v", snap.Pairs)
		}
	}},
	{"a transaction that touches a key twice is refused", func(w *world) {
		for _, second := range []dcs.Op{dcs.Put(w.key("k"), []byte("2"), 0), dcs.Delete(w.key("k"))} {
			_, err := w.kv.Txn(w.ctx, nil, []dcs.Op{dcs.Put(w.key("k"), []byte("1"), 0), second})
			if err == nil || errors.Is(err, dcs.ErrCompared) || errors.Is(err, dcs.ErrUnknownOutcome) {
				w.Errorf("error is %v, want a definite refusal", err)
			}
		}
		_, err := w.kv.Txn(w.ctx, nil, []dcs.Op{dcs.Delete(w.key("k")), dcs.Put(w.key("k"), nil, 0)})
		if err == nil {
			w.Error("delete and put of one key passed")
		}
	}},
	{"a put on a lease that does not exist writes nothing", func(w *world) {
		ops := []dcs.Op{dcs.Put(w.key("a"), nil, 0), dcs.Put(w.key("b"), nil, 4711)}
		_, err := w.kv.Txn(w.ctx, nil, ops)
		w.want(dcs.ErrLeaseGone, err)
		snap, err := w.kv.Range(w.ctx, w.store.Base()+"/")
		w.must(err)
		if len(snap.Pairs) != 0 {
			w.Errorf("written: %v", snap.Pairs)
		}
		_, err = w.kv.Txn(w.ctx, []dcs.Compare{is(w.key("a"), dcs.ModRevision, 7)}, ops)
		w.want(dcs.ErrCompared, err)
	}},
	{"deleting an absent key succeeds and changes nothing", func(w *world) {
		before := w.txn(nil, dcs.Put(w.key("k"), nil, 0))
		if rev := w.txn(nil, dcs.Delete(w.key("absent"))); rev != before {
			w.Errorf("revision went from %d to %d", before, rev)
		}
	}},
	{"a lease that is kept alive keeps its keys, and takes them with it when it ends", func(w *world) {
		lease, err := w.kv.Grant(w.ctx, int64(ttl/time.Second))
		w.must(err)
		w.txn(nil, dcs.Put(w.key("on"), nil, lease), dcs.Put(w.key("off"), nil, 0))
		for range 5 {
			w.Elapse(ttl / 4)
			w.must(w.kv.KeepAlive(w.ctx, lease))
		}
		if n := w.count(); n != 2 {
			w.Fatalf("%d keys while kept alive, want 2", n)
		}
		w.await("the key goes with its lease", func() bool { return w.count() == 1 })
		w.want(dcs.ErrLeaseGone, w.kv.KeepAlive(w.ctx, lease))
		w.want(dcs.ErrLeaseGone, w.kv.Revoke(w.ctx, lease))
	}},
	{"a key put again without its lease outlives it", func(w *world) {
		lease, err := w.kv.Grant(w.ctx, 60)
		w.must(err)
		w.txn(nil, dcs.Put(w.key("moved"), nil, lease), dcs.Put(w.key("left"), nil, lease))
		w.txn(nil, dcs.Put(w.key("moved"), nil, 0))
		w.must(w.kv.Revoke(w.ctx, lease))
		if n := w.count(); n != 1 {
			w.Errorf("%d keys are left, want the moved one", n)
		}
	}},
	{"an ended context is no success", func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := w.kv.Range(ctx, w.store.Base())
		w.want(dcs.ErrUnavailable, err)
		_, err = w.kv.Txn(ctx, nil, []dcs.Op{dcs.Put(w.key("k"), nil, 0)})
		if !errors.Is(err, dcs.ErrUnavailable) && !errors.Is(err, dcs.ErrUnknownOutcome) {
			w.Errorf("txn: %v", err)
		}
	}},
	{"a closed client is unavailable", func(w *world) {
		kv := w.client()
		w.must(kv.Close())
		_, err := kv.Range(w.ctx, w.store.Base())
		w.want(dcs.ErrUnavailable, err)
		_, err = kv.Txn(w.ctx, nil, []dcs.Op{dcs.Put(w.key("k"), nil, 0)})
		w.want(dcs.ErrUnavailable, err)
		w.want(dcs.ErrUnavailable, kv.KeepAlive(w.ctx, 1))
		if e := w.next(kv.Watch(w.ctx, w.key(""), 1)); e.Err == nil {
			w.Error("a watch of a closed client did not end")
		}
	}},
}

func (w *world) count() int {
	w.Helper()
	snap, err := w.kv.Range(w.ctx, w.store.Base()+"/")
	w.must(err)
	return len(snap.Pairs)
}
