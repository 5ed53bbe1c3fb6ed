package dcstest

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

var leaseCases = []testCase{
	{"a race for a free cluster has one winner", func(w *world) {
		c := w.candidacy("x")
		errs := make([]error, 5)
		var all sync.WaitGroup
		for i := range errs {
			s := w.session(string(rune('a' + i)))
			all.Go(func() { _, errs[i] = s.Acquire(w.ctx, c) })
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, dcs.ErrCompared) {
				w.Error(err)
			}
		}
		if won != 1 {
			w.Errorf("%d won", won)
		}
	}},
	{"the winner is the holder, under the revision of its transaction", func(w *world) {
		s := w.session("a")
		l := w.acquire(s)
		v := w.view()
		if v.Leader == nil || v.Leader.Name != "a" || v.Leader.LeaseID != s.ID() || v.Leader.Term != l.Term() {
			w.Errorf("leader is %+v, want a on lease %d under term %d", v.Leader, s.ID(), l.Term())
		}
		if v.Holder == nil || v.Holder.Node != "node-a" || v.Beat == nil || v.Beat.TTL != 10000 || v.Beat.Term != l.Term() {
			w.Errorf("holder %+v, beat %+v", v.Holder, v.Beat)
		}
	}},
	{"acquire_leader: a cluster that somebody took is not taken", func(w *world) {
		seen := w.candidacy("b")
		// The beat is as it was seen: only the leader key tells.
		w.txn(nil, dcs.Put(w.key("leader"), []byte("a"), 0))
		_, err := w.session("b").Acquire(w.ctx, seen)
		w.want(dcs.ErrCompared, err)
	}},
	{"acquire_beat: a stale key is taken over, but not from a holder that beat since", func(w *world) {
		a := w.acquire(w.session("a"))
		seen := w.candidacy("b")
		w.must(a.Renew(w.ctx, ttl))
		b := w.session("b")
		_, err := b.Acquire(w.ctx, seen)
		w.want(dcs.ErrCompared, err)
		l, err := b.Acquire(w.ctx, w.candidacy("b"))
		w.must(err)
		if l.Term() <= a.Term() {
			w.Errorf("term %d after %d", l.Term(), a.Term())
		}
		w.want(dcs.ErrCompared, a.Renew(w.ctx, ttl))
	}},
	{"acquire_beat: a free key is not taken when a beat was missed", func(w *world) {
		a := w.acquire(w.session("a"))
		seen := w.candidacy("b")
		w.must(a.Renew(w.ctx, ttl))
		w.txn(nil, dcs.Delete(w.key("leader")))
		seen.LeaderTerm = 0
		_, err := w.session("b").Acquire(w.ctx, seen)
		w.want(dcs.ErrCompared, err)
	}},
	{"acquire_paused: nobody elects while another node was left primary in pause", func(w *world) {
		a := w.acquire(w.session("a"))
		w.must(a.PutPausedPrimary(w.ctx))
		w.must(a.Session().Close(w.ctx))
		b := w.session("b")
		seen := w.candidacy("b")
		_, err := b.Acquire(w.ctx, seen)
		w.want(dcs.ErrCompared, err)
		seen.PausedRevision = w.view().PausedAt.ModRevision
		_, err = b.Acquire(w.ctx, seen)
		w.must(err)
	}},
	{"acquire_failsafe: the list of members that a candidate saw itself in still stands", func(w *world) {
		a := w.acquire(w.session("a"))
		_, err := a.PutFailsafe(w.ctx, map[string]string{"a": "u", "b": "v"}, 0)
		w.must(err)
		seen := w.candidacy("b")
		seen.FailsafeRevision = w.view().FailsafeRev
		_, err = a.PutFailsafe(w.ctx, map[string]string{"a": "u"}, seen.FailsafeRevision)
		w.must(err)
		w.must(a.Session().Close(w.ctx))
		seen.LeaderTerm = 0
		b := w.session("b")
		_, err = b.Acquire(w.ctx, seen)
		w.want(dcs.ErrCompared, err)
		seen.FailsafeRevision = w.view().FailsafeRev
		_, err = b.Acquire(w.ctx, seen)
		w.must(err)
	}},
	{"acquire_failover: an operator's word that was withdrawn brings nobody to the lead", func(w *world) {
		a := w.acquire(w.session("a"))
		w.must(a.Session().Close(w.ctx))
		w.must(w.store.PutFailover(w.ctx, cluster.Failover{Member: "b", Force: true}, -1))
		seen := w.candidacy("b")
		seen.LeaderTerm, seen.FailoverRevision = 0, w.view().FailoverRev
		w.must(w.store.PutFailover(w.ctx, cluster.Failover{}, -1))
		b := w.session("b")
		_, err := b.Acquire(w.ctx, seen)
		w.want(dcs.ErrCompared, err)
		seen.FailoverRevision = w.view().FailoverRev
		_, err = b.Acquire(w.ctx, seen)
		w.must(err)
	}},
	{"who takes the key past a list that it is not in puts its own in the same transaction", func(w *world) {
		a := w.acquire(w.session("a"))
		_, err := a.PutFailsafe(w.ctx, map[string]string{"a": "u"}, 0)
		w.must(err)
		seen := w.candidacy("b")
		seen.FailsafeRevision, seen.Failsafe = w.view().FailsafeRev, map[string]string{"b": "v", "c": "w"}
		w.must(a.Session().Close(w.ctx))
		seen.LeaderTerm = 0
		b, err := w.session("b").Acquire(w.ctx, seen)
		w.must(err)
		if v := w.view(); v.FailsafeRev != int64(b.Term()) || !maps.Equal(v.Failsafe, seen.Failsafe) {
			w.Errorf("the list is %v of revision %d, want %v of the term's, %d", v.Failsafe, v.FailsafeRev, seen.Failsafe, b.Term())
		}
	}},
	{"acquire_durability: the rules that a candidate has promises for still stand", func(w *world) {
		a := w.acquire(w.session("a"))
		record := func(voters ...string) cluster.Durability {
			return cluster.Durability{Mode: cluster.SyncQuorum, Rules: []cluster.Rule{{Primary: "a", Voters: voters, Need: 1}}}
		}
		var over int64
		put := func(voters ...string) {
			var err error
			over, err = a.PutDurability(w.ctx, record(voters...), over)
			w.must(err)
		}
		put("b", "c")
		seen := w.candidacy("b")
		seen.LeaderTerm, seen.DurabilityRevision = a.Term(), w.view().Durability.ModRevision
		put("d")
		seen.SyncRevision = w.view().Sync.ModRevision // it is the record alone that has changed
		b := w.session("b")
		_, err := b.Acquire(w.ctx, seen)
		w.want(dcs.ErrCompared, err)
		seen.DurabilityRevision = w.view().Durability.ModRevision
		_, err = b.Acquire(w.ctx, seen)
		w.must(err)
	}},
	{"acquire_sync: what a Patroni leader says of its standbys still stands", func(w *world) {
		b, seen := w.session("b"), w.candidacy("b")
		put := func(standbys string) int64 {
			return w.txn(nil, dcs.Put(w.key("sync"), []byte(`{"leader":"a","sync_standby":"`+standbys+`"}`), 0))
		}
		seen.SyncRevision = put("b")
		left := put("c")
		_, err := b.Acquire(w.ctx, seen)
		w.want(dcs.ErrCompared, err)
		seen.SyncRevision = left
		_, err = b.Acquire(w.ctx, seen)
		w.must(err)
	}},
	{"record_replaced: rules that were replaced do not come back", func(w *world) {
		a := w.acquire(w.session("a"))
		record := func(voter string) cluster.Durability {
			return cluster.Durability{Mode: cluster.SyncOn, Rules: []cluster.Rule{{Primary: "a", Voters: []string{voter}, Need: 1}}}
		}
		first, err := a.PutDurability(w.ctx, record("b"), 0)
		w.must(err)
		second, err := a.PutDurability(w.ctx, record("c"), first)
		w.must(err)
		for _, over := range []int64{0, first} { // the same request once more
			_, err = a.PutDurability(w.ctx, record("b"), over)
			w.want(dcs.ErrCompared, err)
			_, err = a.PutDurability(w.ctx, cluster.Durability{}, over)
			w.want(dcs.ErrCompared, err)
		}
		if got := w.view().Durability; got.ModRevision != second || got.Last().Voters[0] != "c" {
			w.Errorf("the record is %+v, want that of c at %d", got, second)
		}
		_, err = a.PutDurability(w.ctx, cluster.Durability{}, second)
		w.must(err)
		_, err = a.PutDurability(w.ctx, record("c"), second)
		w.want(dcs.ErrCompared, err)
	}},
	{"list_replaced: a failsafe list that was replaced does not come back", func(w *world) {
		a := w.acquire(w.session("a"))
		first, err := a.PutFailsafe(w.ctx, map[string]string{"a": "u", "b": "v"}, 0)
		w.must(err)
		_, err = a.PutFailsafe(w.ctx, map[string]string{"a": "u"}, first)
		w.must(err)
		for _, over := range []int64{0, first} {
			_, err = a.PutFailsafe(w.ctx, map[string]string{"a": "u", "b": "v"}, over)
			w.want(dcs.ErrCompared, err)
		}
		if got := w.view().Failsafe; len(got) != 1 {
			w.Errorf("the list is %v, want a alone", got)
		}
	}},
	{"phase_replaced: a switchover that was rolled back does not go on", func(w *world) {
		a := w.acquire(w.session("a"))
		phase := func(p cluster.SwitchoverPhase) cluster.Switchover {
			return cluster.Switchover{ID: "1", From: "a", To: "b", Phase: p}
		}
		first, err := a.PutSwitchover(w.ctx, phase(cluster.SwitchoverPreparing), 0, 0)
		w.must(err)
		again, err := a.PutSwitchover(w.ctx, phase(cluster.SwitchoverHolding), first, 0)
		w.must(err)
		_, err = a.DeleteSwitchover(w.ctx, first)
		w.want(dcs.ErrCompared, err)
		_, err = a.DeleteSwitchover(w.ctx, again)
		w.must(err)
		for _, over := range []int64{first, again} { // what was sent before the end
			_, err = a.PutSwitchover(w.ctx, phase(cluster.SwitchoverStopping), over, 0)
			w.want(dcs.ErrCompared, err)
		}
		if got := w.view().Switchover; got != nil {
			w.Errorf("it goes on as %+v", got)
		}
	}},
	{"wish_stands: a switchover does not begin anew for a wish that was answered", func(w *world) {
		a := w.acquire(w.session("a"))
		w.must(w.store.PutFailover(w.ctx, cluster.Failover{Leader: "a", Member: "b", ID: "1"}, 0))
		wish := w.view().Failover.ModRevision
		begin := cluster.Switchover{ID: "1", From: "a", To: "b", Phase: cluster.SwitchoverPreparing}
		rev, err := a.PutSwitchover(w.ctx, begin, 0, wish)
		w.must(err)
		w.must(a.ClearFailover(w.ctx, wish))
		_, err = a.DeleteSwitchover(w.ctx, rev)
		w.must(err)
		_, err = a.PutSwitchover(w.ctx, begin, 0, wish) // again, or late
		w.want(dcs.ErrCompared, err)
		if got := w.view().Switchover; got != nil {
			w.Errorf("it begins again as %+v", got)
		}
	}},
	{"renew_txn: a renewal fails once the key is gone, although the lease is alive", func(w *world) {
		l := w.acquire(w.session("a"))
		w.txn(nil, dcs.Delete(w.key("leader")))
		w.must(l.Session().KeepAlive(w.ctx))
		w.want(dcs.ErrCompared, l.Renew(w.ctx, ttl))
	}},
	{"renew_keepalive: renewals keep the key, and beat each time", func(w *world) {
		l := w.acquire(w.sessionFor("a", ttl))
		last := w.view().Beat.ModRevision
		for range 5 {
			w.Elapse(ttl / 4)
			w.must(l.Renew(w.ctx, ttl))
			b := w.view().Beat
			if b.ModRevision <= last || b.TTL != ttl.Milliseconds() || b.Term != l.Term() {
				w.Fatalf("beat is %+v after %d", b, last)
			}
			last = b.ModRevision
		}
		w.await("the key goes when renewals end", func() bool { return w.view().Leader == nil })
		w.want(dcs.ErrLeaseGone, l.Renew(w.ctx, ttl))
	}},
	{"inherit: the key is put again under a new term, which ends the old one", func(w *world) {
		s := w.session("a")
		old := w.acquire(s)
		heir := w.newStore().Resume("a", s.ID())
		l, err := heir.Inherit(w.ctx, old.Term(), cluster.Holder{Name: "a", Instance: "2"}, ttl)
		w.must(err)
		v := w.view()
		if l.Term() <= old.Term() || v.Leader.Term != l.Term() || v.Holder.Instance != "2" {
			w.Errorf("term %d after %d, view %+v", l.Term(), old.Term(), v.Leader)
		}
		w.want(dcs.ErrCompared, old.Renew(w.ctx, ttl))
		w.must(l.Renew(w.ctx, ttl))
	}},
	{"inherit_term: a term that has passed is not inherited", func(w *world) {
		s := w.session("a")
		old := w.acquire(s)
		_, err := s.Inherit(w.ctx, old.Term(), cluster.Holder{}, ttl)
		w.must(err)
		_, err = s.Inherit(w.ctx, old.Term(), cluster.Holder{}, ttl)
		w.want(dcs.ErrCompared, err)
	}},
	{"inherit_name: another member's key is not inherited", func(w *world) {
		a := w.acquire(w.session("a"))
		_, err := w.session("b").Inherit(w.ctx, a.Term(), cluster.Holder{}, ttl)
		w.want(dcs.ErrCompared, err)
	}},
	{"holder_term: nothing a replaced holder writes gets through", func(w *world) {
		s := w.session("a")
		old := w.acquire(s)
		b := w.session("b")
		_, err := s.Inherit(w.ctx, old.Term(), cluster.Holder{}, ttl)
		w.must(err)
		before := w.view().Revision
		for what, err := range guardedWrites(w, old, b.ID()) {
			if !errors.Is(err, dcs.ErrCompared) {
				w.Errorf("%s: error is %v, want %v", what, err, dcs.ErrCompared)
			}
		}
		if held, err := old.Settle(w.ctx); held || err != nil {
			w.Errorf("settle: held %v, error %v; the key is a new process's", held, err)
		}
		if after := w.view().Revision; after != before {
			w.Errorf("revision went from %d to %d", before, after)
		}
	}},
	{"reserve: a timeline number is greater than all others, and nobody gets it twice", func(w *world) {
		l := w.acquire(w.session("a"))
		first, err := l.Reserve(w.ctx, nil, 5)
		w.must(err)
		if first.Highest() != 5 || first.Of(l.Term()) != 5 {
			w.Fatalf("reserved %+v, want 5 for term %d", first, l.Term())
		}
		second, err := l.Reserve(w.ctx, &first, 3)
		w.must(err)
		if second.Highest() != 6 {
			w.Errorf("reserved %+v, want 6", second)
		}
		_, err = l.Reserve(w.ctx, &first, 3)
		w.want(dcs.ErrCompared, err)
		_, err = l.Reserve(w.ctx, nil, 3)
		w.want(dcs.ErrCompared, err)
		if got := w.view().Timelines; got.ModRevision != second.ModRevision || len(got.Reserved) != 2 {
			w.Errorf("stored: %+v", got)
		}
	}},
	{"initialize_record_absent: an identifier is recorded once and never replaced", func(w *world) {
		s := w.session("a")
		l := w.acquire(s)
		w.must(s.PutInitialize(w.ctx, "1"))
		w.want(dcs.ErrCompared, s.PutInitialize(w.ctx, "2"))
		w.want(dcs.ErrCompared, l.PutInitialize(w.ctx, "2"))
		if got := w.view().Initialize; got.SystemID != "1" || got.LeaseID != 0 {
			w.Errorf("initialize is %+v", got)
		}
	}},
	{"failover_seen: only the wish that was looked at is cleared", func(w *world) {
		l := w.acquire(w.session("a"))
		w.must(w.store.PutFailover(w.ctx, cluster.Failover{Member: "b"}, 0))
		seen := w.view().FailoverRev
		w.must(w.store.PutFailover(w.ctx, cluster.Failover{Member: "c"}, seen))
		w.want(dcs.ErrCompared, l.ClearFailover(w.ctx, seen))
		w.must(l.ClearFailover(w.ctx, w.view().FailoverRev))
		if v := w.view(); !v.Failover.Empty() || v.FailoverRev == 0 {
			w.Errorf("failover is %+v at %d, want an empty one that is there", v.Failover, v.FailoverRev)
		}
	}},
}

// guardedWrites tries everything a holder may write, by name.
func guardedWrites(w *world, l *dcs.Lease, other int64) map[string]error {
	ctx := w.ctx
	_, reserve := l.Reserve(ctx, nil, 2)
	_, durability := l.PutDurability(ctx, cluster.Durability{}, 0)
	_, failsafe := l.PutFailsafe(ctx, nil, 0)
	_, begun := l.PutSwitchover(ctx, cluster.Switchover{}, 0, 0)
	_, ended := l.DeleteSwitchover(ctx, 0)
	return map[string]error{
		"renew":             l.Renew(ctx, 10*time.Second),
		"status":            l.PutStatus(ctx, cluster.Positions{Optime: 1}),
		"history":           l.PutHistory(ctx, nil),
		"sync":              durability,
		"failsafe":          failsafe,
		"holder":            l.PutHolder(ctx, cluster.Holder{}),
		"switchover":        begun,
		"delete switchover": ended,
		"paused primary":    l.PutPausedPrimary(ctx),
		"initialize":        l.PutInitialize(ctx, "1"),
		"clear failover":    l.ClearFailover(ctx, 0),
		"reserve":           reserve,
		"hand over":         l.HandOver(ctx, cluster.Handover{To: "b"}, other),
		"release":           l.Release(ctx, cluster.Release{}),
	}
}
