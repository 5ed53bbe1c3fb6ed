package etcd_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/embedded"
	"github.com/pgkeeper/pgkeeper/dcs/etcd"
)

func openHealth(t *testing.T, local func(string) bool, endpoints ...string) *etcd.KV {
	return open(t, etcd.Options{Endpoints: endpoints, Now: clock.Now, Wall: clock.Wall, Local: local})
}

// fill writes until etcd takes no more.
func fill(t *testing.T, kv *etcd.KV) {
	ctx := within(t, 2*time.Minute)
	value := []byte(strings.Repeat("x", 200<<10))
	for i := 0; ; i++ {
		_, err := kv.Txn(ctx, nil, []dcs.Op{{Key: fmt.Sprintf("/fill/%d", i), Value: value}})
		if ctx.Err() != nil {
			t.Fatalf("etcd takes writes on and on: %v", err)
		}
		if err != nil && strings.Contains(err.Error(), "space") {
			return
		}
	}
}

// namesNoSpace checks the verdict on an etcd that is full.
func namesNoSpace(t *testing.T, kv *etcd.KV, endpoint string) {
	select {
	case <-kv.Alarmed():
	default:
		t.Error("the failed write asks for no look")
	}
	v := kv.Health(within(t, time.Minute), true)
	// On a busy machine the writes that filled it were slow, which is no mistake.
	troubles := slices.DeleteFunc(v.Troubles, func(trouble cluster.StoreTrouble) bool { return trouble.Kind == cluster.StoreSlowWrites })
	if len(troubles) != 1 || troubles[0].Kind != cluster.StoreNoSpace || troubles[0].Endpoint != endpoint || troubles[0].Member == "" {
		t.Errorf("troubles are %v, want no_space at %s", v.Troubles, endpoint)
	}
	if v.DBSize == 0 {
		t.Error("the size of the database is not known")
	}
}

func TestAFullEtcdIsNamed(t *testing.T) {
	m := single(t, embedded.Options{UnsafeNoFsync: true, QuotaBytes: 1 << 20})
	kv := openHealth(t, nil, m.ClientURL())
	if v := kv.Health(within(t, time.Minute), true); len(v.Troubles) != 0 || !v.LeaderHere {
		t.Errorf("a healthy etcd on this machine: %+v", v)
	}
	fill(t, kv)
	namesNoSpace(t, kv, m.ClientURL())
}

func TestAMemberThatIsDownIsNamedUntilItIsBack(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	c := startTrio(ctx, t)
	down := c.Members()[0]
	if down == c.Leader() {
		down = c.Members()[1]
	}
	kv := openHealth(t, nil, c.Endpoints()...)
	down.Close()
	v := kv.Health(ctx, true)
	if len(v.Troubles) != 1 || v.Troubles[0].Kind != cluster.StoreUnreachable || v.Troubles[0].Endpoint != down.ClientURL() {
		t.Fatalf("troubles are %v, want %s unreachable", v.Troubles, down.ClientURL())
	}
	if err := down.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for len(v.Troubles) > 0 && ctx.Err() == nil {
		pass(20 * time.Millisecond)
		v = kv.Health(ctx, false) // one that was in trouble is asked again in any case
	}
	if ctx.Err() != nil {
		t.Errorf("still in trouble: %v", v.Troubles)
	}
}

func TestEtcdsLeaderIsMovedOffThisMachine(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	c := startTrio(ctx, t)
	old := c.Leader()
	here := openHealth(t, func(endpoint string) bool { return endpoint == old.ClientURL() }, c.Endpoints()...)
	if v := here.Health(ctx, true); !v.LeaderHere {
		t.Fatalf("the leader is not seen here: %+v", v)
	}
	to, err := here.MoveLeader(ctx)
	if err != nil || to == "" || to == old.ClientURL() {
		t.Fatalf("moved to %q: %v", to, err)
	}
	if now := c.Leader(); now == nil || now.ClientURL() != to {
		t.Errorf("%v leads, want %s", now, to)
	}
	if again, err := here.MoveLeader(ctx); again != "" || err != nil {
		t.Errorf("moved once more, to %q: %v", again, err)
	}
	everywhere := openHealth(t, func(string) bool { return true }, c.Endpoints()...)
	if to, err := everywhere.MoveLeader(ctx); to != "" || err == nil {
		t.Errorf("moved to %q although all members are on this machine", to)
	}
}

func TestALeaderIsNotMovedWhileEtcdIsInTrouble(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	c := startTrio(ctx, t)
	old := c.Leader()
	down := c.Members()[0]
	if down == old {
		down = c.Members()[1]
	}
	down.Close()
	kv := openHealth(t, func(endpoint string) bool { return endpoint == old.ClientURL() }, c.Endpoints()...)
	if to, err := kv.MoveLeader(ctx); to != "" || err == nil {
		t.Errorf("moved to %q beside a member that is down", to)
	}
	if c.Leader() != old {
		t.Error("another member leads")
	}
}

// startTrio is three members, which elect another leader only when theirs is gone.
func startTrio(ctx context.Context, t *testing.T) *embedded.Cluster {
	t.Helper()
	c, err := embedded.StartCluster(ctx, t.TempDir(), 3, embedded.Options{UnsafeNoFsync: true, ElectionMs: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
