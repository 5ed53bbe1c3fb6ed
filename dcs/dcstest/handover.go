package dcstest

import (
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// handed is a cluster that a handed over to b and nobody accepted yet.
type handed struct {
	a    *dcs.Lease
	b    *dcs.Session
	term cluster.Term
}

func (w *world) handOver() handed {
	w.Helper()
	h := handed{a: w.acquire(w.session("a")), b: w.session("b")}
	w.must(h.a.HandOver(w.ctx, cluster.Handover{To: "b", Position: cluster.Position{Timeline: 1, LSN: 9}}, h.b.ID()))
	h.term = w.view().Leader.Term
	return h
}

var handoverCases = []testCase{
	{"a hand-over gives the key to the successor, on its lease, under a new term", func(w *world) {
		h := w.handOver()
		v := w.view()
		if v.Leader.Name != "b" || v.Leader.LeaseID != h.b.ID() || v.Leader.Term <= h.a.Term() {
			w.Errorf("leader is %+v", v.Leader)
		}
		if ho := v.Handover; ho == nil || ho.From != "a" || ho.To != "b" || ho.Position.LSN != 9 || ho.ModRevision != int64(h.term) {
			w.Errorf("handover is %+v, want it at the successor's term %d", ho, h.term)
		}
		w.must(h.a.Session().Close(w.ctx))
		if !w.view().HolderIs("b") {
			w.Error("the end of the old holder's lease took the key away")
		}
	}},
	{"holder_term: after a hand-over the old holder writes nothing", func(w *world) {
		h := w.handOver()
		for what, err := range guardedWrites(w, h.a, h.b.ID()) {
			if err == nil {
				w.Errorf("%s passed under a term that has passed: is it the create_revision?", what)
			}
		}
	}},
	{"accept keeps the term, beats, and takes the timeline in the same transaction", func(w *world) {
		h := w.handOver()
		next, err := dcs.NextTimelines(nil, h.term, 2)
		w.must(err)
		l, err := h.b.Accept(w.ctx, h.term, cluster.Holder{Name: "b", Node: "n"}, ttl, &next)
		w.must(err)
		v := w.view()
		if l.Term() != h.term || v.Leader.Term != h.term || v.Beat.Term != h.term || v.Holder.Node != "n" || v.Timelines.Of(h.term) != 2 {
			w.Errorf("term %d, view %+v %+v %+v %+v, want term %d everywhere", l.Term(), v.Leader, v.Beat, v.Holder, v.Timelines, h.term)
		}
		if v.Beat.ModRevision != v.Timelines.ModRevision || next.ModRevision != v.Timelines.ModRevision {
			w.Errorf("beat at %d and timeline at %d, said to be at %d; want one transaction", v.Beat.ModRevision, v.Timelines.ModRevision, next.ModRevision)
		}
		w.must(l.Renew(w.ctx, ttl))
	}},
	{"accept_term: a hand-over that no longer stands is not accepted", func(w *world) {
		h := w.handOver()
		_, err := h.b.Inherit(w.ctx, h.term, cluster.Holder{}, ttl)
		w.must(err)
		_, err = h.b.Accept(w.ctx, h.term, cluster.Holder{}, ttl, nil)
		w.want(dcs.ErrCompared, err)
	}},
	{"accept_name: a key that lies on my lease under another name is not mine", func(w *world) {
		s := w.session("b")
		term := w.txn(nil, dcs.Put(w.key("leader"), []byte("c"), s.ID()))
		_, err := s.Accept(w.ctx, cluster.Term(term), cluster.Holder{}, ttl, nil)
		w.want(dcs.ErrCompared, err)
	}},
	{"accept_lease: a key on a lease of my past is not accepted", func(w *world) {
		h := w.handOver()
		_, err := w.session("b").Accept(w.ctx, h.term, cluster.Holder{}, ttl, nil)
		w.want(dcs.ErrCompared, err)
	}},
	{"accept_timelines: a number that somebody else reserved meanwhile is not taken", func(w *world) {
		h := handed{a: w.acquire(w.session("a")), b: w.session("b")}
		_, err := h.a.Reserve(w.ctx, nil, 2)
		w.must(err)
		w.must(h.a.HandOver(w.ctx, cluster.Handover{To: "b"}, h.b.ID()))
		term := w.view().Leader.Term
		stale, err := dcs.NextTimelines(nil, term, 2)
		w.must(err)
		_, err = h.b.Accept(w.ctx, term, cluster.Holder{}, ttl, &stale)
		w.want(dcs.ErrCompared, err)
	}},
	{"handover_lease: the key is not put on a lease the successor no longer has", func(w *world) {
		a := w.acquire(w.session("a"))
		past := w.session("b")
		w.session("b") // b came back with another lease
		w.want(dcs.ErrCompared, a.HandOver(w.ctx, cluster.Handover{To: "b"}, past.ID()))
		if !w.view().HolderIs("a") {
			w.Error("the holder changed")
		}
	}},
	{"handover_has_lease: the key is never put without a lease", func(w *world) {
		a := w.acquire(w.session("a"))
		w.want(dcs.ErrCompared, a.HandOver(w.ctx, cluster.Handover{To: "nobody"}, 0))
		if v := w.view(); !v.HolderIs("a") || v.Leader.LeaseID == 0 {
			w.Errorf("leader is %+v", v.Leader)
		}
	}},
	{"a hand-over ends the switchover and the wish it fulfils, and no other wish", func(w *world) {
		for _, id := range []string{"", "wish"} {
			a, b := w.acquire(w.session("a")), w.session("b")
			w.must(w.store.PutFailover(w.ctx, cluster.Failover{Leader: "a", ID: "wish"}, -1))
			_, err := a.PutSwitchover(w.ctx, cluster.Switchover{ID: "wish", Phase: cluster.SwitchoverStopping}, 0, 0)
			w.must(err)
			w.must(a.HandOver(w.ctx, cluster.Handover{To: "b", ID: id}, b.ID()))
			v := w.view()
			if v.Switchover != nil || v.Failover.Empty() != (id != "") {
				w.Errorf("id %q: switchover %+v, failover %+v", id, v.Switchover, v.Failover)
			}
			w.must(b.Close(w.ctx))
		}
	}},
	{"a release deletes the key and says which beat was the last", func(w *world) {
		l := w.acquire(w.session("a"))
		w.must(l.Renew(w.ctx, ttl))
		w.must(l.Release(w.ctx, cluster.Release{Position: cluster.Position{Timeline: 1, LSN: 9}}))
		v := w.view()
		r := v.Release
		if v.Leader != nil || r == nil || r.By != "a" || r.Term != l.Term() || r.BeatRevision != v.Beat.ModRevision || r.Position.LSN != 9 {
			w.Errorf("leader %+v, release %+v, beat %+v", v.Leader, r, v.Beat)
		}
		w.want(dcs.ErrCompared, l.Renew(w.ctx, ttl))
		next := w.acquire(w.session("b"))
		w.must(next.Renew(w.ctx, ttl))
		if v := w.view(); v.Release.BeatRevision >= v.Beat.ModRevision {
			w.Error("the old release is not older than the new holder's beat")
		}
	}},
	{"a release ends the switchover: a Patroni candidate removes no record of it", func(w *world) {
		l := w.acquire(w.session("a"))
		_, err := l.PutSwitchover(w.ctx, cluster.Switchover{ID: "wish", Phase: cluster.SwitchoverStopping}, 0, 0)
		w.must(err)
		w.must(l.Release(w.ctx, cluster.Release{}))
		if v := w.view(); v.Leader != nil || v.Switchover != nil {
			w.Errorf("leader %+v, switchover %+v", v.Leader, v.Switchover)
		}
	}},
	{"settle: what did not happen cannot happen any more", func(w *world) {
		a, b := w.acquire(w.session("a")), w.session("b")
		old := a.Term()
		held, err := a.Settle(w.ctx)
		w.must(err)
		if v := w.view(); !held || a.Term() <= old || v.Leader.Term != a.Term() || !v.HolderIs("a") || v.Leader.LeaseID != a.Session().ID() {
			w.Errorf("held %v under %d after %d, leader %+v", held, a.Term(), old, v.Leader)
		}
		// The late hand-over compares the old term.
		_, err = w.kv.Txn(w.ctx, []dcs.Compare{is(w.key("leader"), dcs.ModRevision, int64(old))},
			[]dcs.Op{dcs.Put(w.key("leader"), []byte("b"), b.ID())})
		w.want(dcs.ErrCompared, err)
		w.must(a.Renew(w.ctx, ttl))
	}},
	{"settle: what happened is not taken back", func(w *world) {
		h := w.handOver()
		held, err := h.a.Settle(w.ctx)
		w.must(err)
		if held || !w.view().HolderIs("b") {
			w.Errorf("held %v, leader %+v", held, w.view().Leader)
		}
	}},
}
