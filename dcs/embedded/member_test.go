package embedded_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgkeeper/pgkeeper/dcs/embedded"
)

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func client(t *testing.T, endpoints ...string) *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: clientv3.NewCtxClient(t.Context()).GetLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestASingleMemberStartsQuicklyAndKeepsItsData(t *testing.T) {
	ctx := deadline(t)
	m, err := embedded.New(embedded.Options{Dir: t.TempDir(), ElectionMs: 3000})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if _, err := client(t, m.ClientURL()).Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	t.Logf("first write after %s", time.Since(began))

	// A watch is open: the stop must not wait for it, which it would for 5 s and two
	// election timeouts.
	watch := client(t, m.ClientURL()).Watch(ctx, "k", clientv3.WithCreatedNotify())
	<-watch
	began = time.Now()
	m.Close()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("closing with a watch open took %s", took)
	}
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := client(t, m.ClientURL()).Get(ctx, "k")
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("after a restart: %v, %v; want the key written before", got, err)
	}
}

func TestThreeMembersGoOnWithoutTheirLeader(t *testing.T) {
	ctx := deadline(t)
	began := time.Now()
	c, err := embedded.StartCluster(ctx, t.TempDir(), 3, embedded.Options{UnsafeNoFsync: true, ElectionMs: 2000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	t.Logf("three members after %s", time.Since(began))
	kv := client(t, c.Endpoints()...)
	if _, err := kv.Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	leader := leaderOf(ctx, t, c)
	leader.Close()
	if leader.Running() || leader.Leading() {
		t.Error("a closed member says that it runs")
	}
	for err = context.Canceled; err != nil; {
		if ctx.Err() != nil {
			t.Fatalf("no write without the leader: %v", err)
		}
		// A write that was passed on to the leader in its last moment is lost.
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		_, err = kv.Put(attempt, "k", "w")
		cancel()
	}
	if now := leaderOf(ctx, t, c); now == leader {
		t.Error("the closed member leads, want one of the two others")
	}
	if err := leader.Start(ctx); err != nil {
		t.Errorf("the closed member did not come back: %v", err)
	}
	began = time.Now()
	c.Close()
	if took := time.Since(began); took > 8*time.Second { // a leader that waits for a successor waits for 9 s
		t.Errorf("closing three members took %s", took)
	}
}

// leaderOf waits until a member says that it leads: a busy one may lose that for a moment.
func leaderOf(ctx context.Context, t *testing.T, c *embedded.Cluster) *embedded.Member {
	t.Helper()
	for ctx.Err() == nil {
		if leader := c.Leader(); leader != nil {
			return leader
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatal("a cluster that committed has no leader")
	return nil
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	if _, err := embedded.New(embedded.Options{}); err == nil {
		t.Error("no directory: want an error")
	}
	if _, err := embedded.StartCluster(t.Context(), t.TempDir(), 0, embedded.Options{}); err == nil {
		t.Error("no members: want an error")
	}
	m, err := embedded.New(embedded.Options{Dir: t.TempDir(), ClientURL: "http://127.0.0.1:0%zz"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(deadline(t)); err == nil {
		m.Close()
		t.Error("a broken client URL: want an error")
	}
}
