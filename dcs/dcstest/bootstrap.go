package dcstest

import (
	"encoding/json"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

func (w *world) claim(s *dcs.Session) int64 {
	w.Helper()
	rev, err := s.ClaimInitialize(w.ctx)
	w.must(err)
	return rev
}

var someConfig = json.RawMessage(`{ "ttl": 10 }`)

var bootstrapCases = []testCase{
	{"initialize_free: one member bootstraps, until it abandons or dies", func(w *world) {
		a, b := w.session("a"), w.sessionFor("b", ttl)
		rev := w.claim(a)
		_, err := b.ClaimInitialize(w.ctx)
		w.want(dcs.ErrCompared, err)
		if i := w.view().Initialize; i == nil || i.SystemID != "" || i.LeaseID != a.ID() || i.ModRevision != rev {
			w.Errorf("initialize is %+v", i)
		}
		w.must(a.AbandonInitialize(w.ctx, rev))
		w.must(b.KeepAlive(w.ctx))
		w.claim(b)
		w.await("the claim of a dead member goes", func() bool { return w.view().Initialize == nil })
		w.claim(a)
	}},
	{"initialize_abandon_mine: another's claim is not abandoned", func(w *world) {
		a, b := w.session("a"), w.session("b")
		rev := w.claim(a)
		w.must(a.AbandonInitialize(w.ctx, rev))
		w.claim(b)
		w.want(dcs.ErrCompared, a.AbandonInitialize(w.ctx, rev))
	}},
	{"a bootstrap ends in one transaction", func(w *world) {
		a := w.session("a")
		l, err := a.FinishBootstrap(w.ctx, w.claim(a), "42", someConfig, cluster.Holder{Name: "a"}, ttl)
		w.must(err)
		v := w.view()
		if v.Initialize.SystemID != "42" || v.Initialize.LeaseID != 0 || string(v.Config.Raw) != `{"ttl":10}` || !v.HolderIs("a") {
			w.Errorf("initialize %+v, config %s, leader %+v", v.Initialize, v.Config.Raw, v.Leader)
		}
		at := int64(l.Term())
		if v.Initialize.ModRevision != at || v.Config.ModRevision != at || v.Beat.ModRevision != at || v.Leader.Term != l.Term() {
			w.Errorf("not one transaction: %+v %+v %+v %+v", v.Initialize, v.Config, v.Beat, v.Leader)
		}
		w.must(l.Renew(w.ctx, ttl))
		w.must(a.Close(w.ctx))
		if v := w.view(); v.Initialize == nil || v.Leader != nil {
			w.Error("the identifier must outlive the member, the leader key must not")
		}
	}},
	{"bootstrap_claim: who lost its claim does not end a bootstrap", func(w *world) {
		a, b := w.session("a"), w.session("b")
		rev := w.claim(a)
		w.must(a.AbandonInitialize(w.ctx, rev))
		_, err := a.FinishBootstrap(w.ctx, rev, "1", someConfig, cluster.Holder{}, ttl)
		w.want(dcs.ErrCompared, err)
		w.claim(b)
		_, err = a.FinishBootstrap(w.ctx, rev, "1", someConfig, cluster.Holder{}, ttl)
		w.want(dcs.ErrCompared, err)
		if v := w.view(); v.Leader != nil || v.Config != nil || v.Initialize.SystemID != "" {
			w.Errorf("something was written: %+v", v)
		}
	}},
	{"bootstrap_leaderless: nobody bootstraps beside a holder", func(w *world) {
		a := w.session("a")
		rev := w.claim(a)
		w.acquire(w.session("b"))
		_, err := a.FinishBootstrap(w.ctx, rev, "1", someConfig, cluster.Holder{}, ttl)
		w.want(dcs.ErrCompared, err)
	}},
	{"a configuration that an operator stored before stays", func(w *world) {
		w.must(w.store.PutConfig(w.ctx, json.RawMessage(`{"ttl":20}`), 0))
		a := w.session("a")
		_, err := a.FinishBootstrap(w.ctx, w.claim(a), "42", someConfig, cluster.Holder{}, ttl)
		w.must(err)
		if got := string(w.view().Config.Raw); got != `{"ttl":20}` {
			w.Errorf("config is %s", got)
		}
	}},
	{"a configuration that is no object is refused", func(w *world) {
		a := w.session("a")
		if _, err := a.FinishBootstrap(w.ctx, w.claim(a), "42", json.RawMessage(`[]`), cluster.Holder{}, ttl); err == nil {
			w.Error("want an error")
		}
	}},
}
