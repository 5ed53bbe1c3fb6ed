package agent

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
)

var noSpace = cluster.StoreTrouble{Kind: cluster.StoreNoSpace, Endpoint: "http://a", Member: "a1", Detail: "full", Advice: "make room"}

func TestTheStoresTroubleIsPublishedAndDecidesNothing(t *testing.T) {
	r := newRig(t)
	r.primary()
	reason := r.loop.decision.Reason
	puts := find[PutMember](r.step(StoreHealthSeen{cluster.StoreHealth{Troubles: []cluster.StoreTrouble{noSpace}}}))
	if len(puts) != 1 || len(puts[0].Member.Keeper.StoreTroubles) != 1 {
		t.Fatalf("the member key is written as %v, want the trouble in it", puts)
	}
	if s := r.loop.Status(0); s.Store == nil || len(s.Store.Troubles) != 1 || s.Reason != reason {
		t.Errorf("status %+v, reason %s; want the trouble, and %s as before", s.Store, s.Reason, reason)
	}
	r.step(MemberPut{Lease: 11})
	if puts := find[PutMember](r.step(StoreHealthSeen{cluster.StoreHealth{Troubles: []cluster.StoreTrouble{noSpace}, Elections: 3}})); len(puts) != 0 {
		t.Errorf("the member key is written again although no trouble changed: %v", puts)
	}
}

// sickStore is a store whose health the test tells.
type sickStore struct {
	alarmed chan struct{}
	asked   chan bool
	health  atomic.Pointer[cluster.StoreHealth]
	moved   atomic.Int32
}

func (s *sickStore) Health(_ context.Context, all bool) cluster.StoreHealth {
	s.asked <- all
	return *s.health.Load()
}
func (s *sickStore) Alarmed() <-chan struct{} { return s.alarmed }
func (s *sickStore) MoveLeader(context.Context) (string, error) {
	s.moved.Add(1)
	return "http://b", nil
}

func TestTheStoreIsAskedSeldomAndAtOnceWhenARequestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		store := &sickStore{alarmed: make(chan struct{}, 1), asked: make(chan bool)}
		store.health.Store(&cluster.StoreHealth{})
		logger := slog.New(slog.NewTextHandler(&log, nil))
		c := &config.Config{Name: "pg1"}
		w := &worker{Options: Options{Config: c, Log: logger}, driver: NewDriver(newRig(t).loop, nil, nil, logger), node: &Node{post: func(Event) {}}}
		w.node.local.Store(c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.keepStoreHealth(ctx, store) }()

		began := time.Now()
		want := func(what string, all bool, after time.Duration) {
			t.Helper()
			if got := <-store.asked; got != all || time.Since(began) != after {
				t.Errorf("%s: all is %v after %v, want %v after %v", what, got, time.Since(began), all, after)
			}
			began = time.Now()
		}
		want("at the start", true, 0)
		want("later", false, healthEvery)
		store.alarmed <- struct{}{}
		want("when a request failed", true, healthPause)
		clock.Sleep(t.Context().Done(), healthPause+time.Second)
		store.alarmed <- struct{}{}
		store.health.Store(&cluster.StoreHealth{Troubles: []cluster.StoreTrouble{noSpace}})
		want("when another failed", true, healthPause+time.Second)
		want("while in trouble", false, healthEvery)
		store.health.Store(&cluster.StoreHealth{})
		want("and on", false, healthEvery)
		want("and on", false, healthEvery)
		cancel()
		<-done
		if got := log.String(); strings.Count(got, "etcd is in trouble") != 1 || strings.Count(got, "trouble is over") != 1 {
			t.Errorf("one trouble began and ended; the log says\n%s", got)
		}
		if store.moved.Load() != 0 {
			t.Error("a leader was moved that nobody asked to move")
		}
	})
}

func TestEtcdsLeaderIsMovedOnlyAfterAWhileAndSeldom(t *testing.T) {
	var s steering
	at := func(seconds int) cluster.Instant { return cluster.Instant(seconds) * second }
	for _, c := range []struct {
		at           int
		beside, want bool
	}{
		{100, true, false}, {130, true, false}, {140, false, false}, // a switchover took the primary away
		{150, true, false}, {209, true, false}, {210, true, true},
		{240, true, false}, {809, true, false}, {810, true, true}, // it came back, and is moved again only much later
		{820, false, false}, {2000, true, false}, {2061, true, true},
	} {
		if got := s.due(at(c.at), c.beside); got != c.want {
			t.Errorf("at %d: %v, want %v", c.at, got, c.want)
		}
	}
}

func TestAScrapeLeavesOutWhatIsUnknown(t *testing.T) {
	scrape := func(s *cluster.Status) string {
		m := newMetrics("s", "pg1")
		m.status = func() *cluster.Status { return s }
		answer := httptest.NewRecorder()
		m.handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		return answer.Body.String()
	}
	names := []string{"pgkeeper_etcd_trouble", "pgkeeper_etcd_leader_here", "pgkeeper_etcd_write_median_seconds", "pgkeeper_etcd_certificate_end_timestamp_seconds", "pgkeeper_sync_commit_weakened", "pgkeeper_sync_waits_cancelled_total"}
	count := int64(4)
	node := cluster.NodeState{Mode: cluster.ModePrimary, SyncCommit: &cluster.SyncCommit{}}
	unknown := node
	unknown.SyncCommit = &cluster.SyncCommit{Weakened: []cluster.Weakening{}, WeakenedUnknown: "x", CancelledWaits: &count, CancelledUnknown: "x"}
	for what, s := range map[string]*cluster.Status{"nobody looked": {Node: cluster.Seen(node, 1)}, "no longer": {Node: cluster.Seen(unknown, 1)}} {
		got := scrape(s)
		for _, name := range names {
			if strings.Contains(got, name) {
				t.Errorf("%s: the scrape has %s", what, name)
			}
		}
	}
	node.SyncCommit = &cluster.SyncCommit{Weakened: []cluster.Weakening{}, CancelledWaits: &count}
	got := scrape(&cluster.Status{Node: cluster.Seen(node, 1), Store: &cluster.StoreHealth{Troubles: []cluster.StoreTrouble{noSpace}, LeaderHere: true, WriteMedian: 20 * time.Millisecond, CertificateEnds: 1e9}})
	for _, want := range []string{
		`pgkeeper_etcd_trouble{kind="no_space",name="pg1",scope="s"} 1`, `pgkeeper_etcd_trouble{kind="slow_writes",name="pg1",scope="s"} 0`,
		`pgkeeper_etcd_leader_here{name="pg1",scope="s"} 1`, `pgkeeper_etcd_write_median_seconds{name="pg1",scope="s"} 0.02`,
		`pgkeeper_etcd_certificate_end_timestamp_seconds{name="pg1",scope="s"} 1e+09`,
		`pgkeeper_sync_commit_weakened{name="pg1",scope="s"} 0`, `pgkeeper_sync_waits_cancelled_total{name="pg1",scope="s"} 4`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the scrape lacks %s", want)
		}
	}
}

// stuckServer does not come back from reading its log.
type stuckServer struct{ asked chan bool }

func (s stuckServer) WatchSyncCommit(_ context.Context, settings bool) {
	s.asked <- settings
	select {}
}

func TestALogThatHangsHoldsNobodyUp(t *testing.T) {
	s := stuckServer{make(chan bool, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	watchCommits(ctx, s, true) // returns
}
