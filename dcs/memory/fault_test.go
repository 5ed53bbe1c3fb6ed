package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
)

// bench is a store on a clock moved by hand, with a holder a and a member b.
type bench struct {
	*testing.T
	clock  *handClock
	server *memory.Server
	a, b   *memory.Client
	store  *dcs.Store
	lease  *dcs.Lease
	other  *dcs.Session
}

func newBench(t *testing.T) *bench {
	clock := &handClock{}
	server := memory.NewServer(clock.now)
	b := &bench{T: t, clock: clock, server: server, a: server.Client("a"), b: server.Client("b"),
		store: dcs.NewStore(server.Client("reader"), "service", "x")}
	b.other = b.open(b.b, "b")
	var err error
	b.lease, err = b.open(b.a, "a").Acquire(t.Context(), dcs.Candidacy{TTL: 5 * time.Second})
	b.must(err)
	return b
}

func (b *bench) open(kv dcs.KV, name string) *dcs.Session {
	s, err := dcs.NewStore(kv, "service", "x").Open(b.Context(), name, 5*time.Second)
	b.must(err)
	b.must(s.PutMember(b.Context(), &cluster.Member{}))
	return s
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) view() cluster.View {
	v, err := b.store.Load(b.Context())
	b.must(err)
	return v
}

func (b *bench) elapse(d time.Duration) {
	b.clock.at.Add(int64(d))
	b.server.Advance()
}

func (b *bench) want(kind, err error) {
	b.Helper()
	if !errors.Is(err, kind) {
		b.Fatalf("error is %v, want %v", err, kind)
	}
}

func TestAnEtcdLeaderThatLostItsClusterAnswersKeepalivesButRenewsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.a.StaleLeader(true)
		b.elapse(time.Minute)
		if err := b.lease.Session().KeepAlive(t.Context()); err != nil {
			t.Fatalf("keepalive: %v, want the lie", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.want(dcs.ErrUnknownOutcome, b.lease.Renew(ctx, time.Second))
		if b.view().Leader != nil {
			t.Error("the lease has ended in truth")
		}
		b.a.StaleLeader(false)
		b.want(dcs.ErrLeaseGone, b.lease.Renew(t.Context(), time.Second))
	})
}

func TestALateHandOverFailsAfterItWasSettled(t *testing.T) {
	b := newBench(t)
	b.a.FailNext(memory.CallTxn, memory.Late)
	b.want(dcs.ErrUnknownOutcome, b.lease.HandOver(t.Context(), cluster.Handover{To: "b"}, b.other.ID()))
	old := b.lease.Term()
	held, err := b.lease.Settle(t.Context())
	b.must(err)
	late := b.server.ApplyLate()
	if !held || b.lease.Term() == old || len(late) != 1 || !errors.Is(late[0].Err, dcs.ErrCompared) || !b.view().HolderIs("a") {
		t.Errorf("held %v under %d after %d; the late one: %+v", held, b.lease.Term(), old, late)
	}
	b.must(b.lease.Renew(t.Context(), time.Second))
}

func TestAHandOverWhoseAnswerWasLostIsFoundToHaveHappened(t *testing.T) {
	b := newBench(t)
	b.a.FailNext(memory.CallTxn, memory.LoseAnswer)
	b.want(dcs.ErrUnknownOutcome, b.lease.HandOver(t.Context(), cluster.Handover{To: "b"}, b.other.ID()))
	held, err := b.lease.Settle(t.Context())
	if held || err != nil || !b.view().HolderIs("b") {
		t.Errorf("held %v, error %v", held, err)
	}
}

func TestASettlementWhoseAnswerWasLostIsFoundAgain(t *testing.T) {
	b := newBench(t)
	b.a.FailNext(memory.CallTxn, memory.LoseAnswer)
	if held, err := b.lease.Settle(t.Context()); held || !errors.Is(err, dcs.ErrUnknownOutcome) {
		t.Fatalf("held %v, error %v", held, err)
	}
	held, err := b.lease.Settle(t.Context())
	if !held || err != nil || b.view().Leader.Term != b.lease.Term() {
		t.Errorf("held %v, error %v, term %d, leader %+v", held, err, b.lease.Term(), b.view().Leader)
	}
	b.must(b.lease.Renew(t.Context(), time.Second))
}

// guard settle_mine.
func TestASettlementDoesNotTakeTheKeyBackFromANewProcess(t *testing.T) {
	b := newBench(t)
	b.a.FailNext(memory.CallTxn, memory.LoseAnswer)
	_, _ = b.lease.Settle(t.Context())
	heir := dcs.NewStore(b.server.Client("heir"), "service", "x").Resume("a", b.lease.Session().ID())
	_, err := heir.Inherit(t.Context(), b.view().Leader.Term, cluster.Holder{}, time.Second)
	b.must(err)
	if held, err := b.lease.Settle(t.Context()); held || err != nil {
		t.Errorf("held %v, error %v", held, err)
	}
}

func TestALateRenewalOfADeadProcessFailsUnderTheNewTerm(t *testing.T) {
	b := newBench(t)
	b.a.FailNext(memory.CallTxn, memory.Late)
	b.want(dcs.ErrUnknownOutcome, b.lease.Renew(t.Context(), time.Second))
	heir := dcs.NewStore(b.server.Client("heir"), "service", "x").Resume("a", b.lease.Session().ID())
	_, err := heir.Inherit(t.Context(), b.lease.Term(), cluster.Holder{}, time.Second)
	b.must(err)
	beat := b.view().Beat.ModRevision
	if late := b.server.ApplyLate(); !errors.Is(late[0].Err, dcs.ErrCompared) || b.view().Beat.ModRevision != beat {
		t.Errorf("late renewal: %+v", late)
	}
}

func TestAReleaseNamesTheLastBeatThatIsKnownToHaveCommitted(t *testing.T) {
	b := newBench(t)
	b.must(b.lease.Renew(t.Context(), time.Second))
	known := b.view().Beat.ModRevision
	b.a.FailNext(memory.CallTxn, memory.LoseAnswer)
	b.want(dcs.ErrUnknownOutcome, b.lease.Renew(t.Context(), time.Second))
	b.must(b.lease.Release(t.Context(), cluster.Release{BeatRevision: 1}))
	v := b.view()
	if v.Release.BeatRevision != known || v.Beat.ModRevision <= known {
		t.Errorf("release names beat %d, known is %d, stored %d: a beat nobody knew of must void it", v.Release.BeatRevision, known, v.Beat.ModRevision)
	}
}

func TestFaultsOfARequest(t *testing.T) {
	for _, c := range []struct {
		name           string
		fault          memory.Fault
		err            error
		applied, later bool
	}{
		{"refused", memory.Refuse, dcs.ErrUnavailable, false, false},
		{"request lost", memory.LoseRequest, dcs.ErrUnknownOutcome, false, false},
		{"answer lost", memory.LoseAnswer, dcs.ErrUnknownOutcome, true, true},
		{"late", memory.Late, dcs.ErrUnknownOutcome, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.a.FailNext(memory.CallTxn, c.fault)
			b.want(c.err, b.lease.PutStatus(t.Context(), cluster.Positions{Optime: 1}))
			if applied := b.view().Status != nil; applied != c.applied {
				t.Errorf("applied: %v", applied)
			}
			b.server.ApplyLate()
			if later := b.view().Status != nil; later != c.later {
				t.Errorf("applied later: %v", later)
			}
			b.must(b.lease.PutStatus(t.Context(), cluster.Positions{Optime: 2}))
		})
	}
}

func TestAPartitionHangsRequestsAndEndsWatchesOfOneClientOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		events := b.a.Watch(t.Context(), "/", b.view().Revision)
		b.a.Partition(true)
		if e := <-events; !errors.Is(e.Err, dcs.ErrUnavailable) {
			t.Errorf("event is %+v", e)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.a.Range(ctx, "/")
		b.want(dcs.ErrUnavailable, err)
		_, err = b.b.Range(t.Context(), "/")
		b.must(err)
		b.a.Partition(false)
		b.must(b.lease.Renew(t.Context(), time.Second))
	})
}

func TestADelayIsPartOfTheRequestsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.a.OnCall(func(memory.Call) (memory.Fault, time.Duration) { return memory.Deliver, time.Second })
		began := time.Now()
		b.must(b.lease.PutStatus(t.Context(), cluster.Positions{}))
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestALeaderChangeRestartsEveryLease(t *testing.T) {
	b := newBench(t)
	b.elapse(4 * time.Second)
	b.server.With((*memory.Core).ChangeLeader)
	b.elapse(4 * time.Second)
	if b.view().Leader == nil {
		t.Fatal("the lease ended before its full length after the change")
	}
	b.elapse(time.Second)
	if b.view().Leader != nil {
		t.Error("the lease did not end")
	}
}

func TestARestoreGoesBackToALowerRevision(t *testing.T) {
	b := newBench(t)
	var backup memory.Backup
	b.server.With(func(c *memory.Core) { backup = c.Backup() })
	before := b.view()
	b.must(b.lease.Renew(t.Context(), time.Second))
	after := b.view()
	b.server.With(func(c *memory.Core) { c.Restore(backup, 0) })
	if v := b.view(); v.Revision != before.Revision || v.ClusterID != after.ClusterID || v.Revision >= after.Revision {
		t.Errorf("revision %d of cluster %x, was %d, then %d", v.Revision, v.ClusterID, before.Revision, after.Revision)
	}
	b.server.With(func(c *memory.Core) { c.Restore(backup, 7) })
	if v := b.view(); v.ClusterID != 7 {
		t.Errorf("cluster %x", v.ClusterID)
	}
}

func TestLeasesEndByThemselvesInBubbleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		server := memory.NewServer(func() cluster.Instant { return cluster.Instant(1 + time.Since(began)) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go server.Expire(ctx)
		kv := server.Client("a")
		lease, _ := kv.Grant(ctx, 5)
		rev, _ := kv.Txn(ctx, nil, []dcs.Op{dcs.Put("k", nil, lease)})
		e := <-kv.Watch(ctx, "k", rev)
		if took := time.Since(began); took != 5*time.Second || len(e.Changes) != 1 || !e.Changes[0].Deleted {
			t.Errorf("after %s: %+v", took, e)
		}
	})
}

func TestTheFloorLengthensShortLeases(t *testing.T) {
	core := memory.NewCore(func() cluster.Instant { return 1 })
	core.SetFloor(2)
	if left, ok := core.LeaseLeft(core.Grant(1)); !ok || left != 2*time.Second {
		t.Errorf("left %s, %v", left, ok)
	}
	if a := core.Do(memory.Call{Kind: "nonsense"}); a.Err == nil {
		t.Error("an unknown request was answered")
	}
}

// guard bootstrap_config.
func TestABootstrapDoesNotOverwriteAConfigurationStoredInItsMiddle(t *testing.T) {
	clock := &handClock{}
	server := memory.NewServer(clock.now)
	kv := server.Client("a")
	store := dcs.NewStore(kv, "service", "x")
	s, err := store.Open(t.Context(), "a", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.ClaimInitialize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	operator := dcs.NewStore(server.Client("operator"), "service", "x")
	kv.OnCall(func(call memory.Call) (memory.Fault, time.Duration) {
		if call.Kind == memory.CallTxn {
			if err := operator.PutConfig(t.Context(), []byte(`{"ttl":20}`), 0); err != nil {
				t.Error(err)
			}
			kv.OnCall(nil)
		}
		return memory.Deliver, 0
	})
	if _, err := s.FinishBootstrap(t.Context(), rev, "1", []byte(`{"ttl":10}`), cluster.Holder{}, time.Second); !errors.Is(err, dcs.ErrCompared) {
		t.Errorf("error is %v, want %v", err, dcs.ErrCompared)
	}
	if _, err := s.FinishBootstrap(t.Context(), rev, "1", []byte(`{"ttl":10}`), cluster.Holder{}, time.Second); err != nil {
		t.Error(err)
	}
	if v, _ := store.Load(t.Context()); string(v.Config.Raw) != `{"ttl":20}` {
		t.Errorf("config is %s", v.Config.Raw)
	}
}
