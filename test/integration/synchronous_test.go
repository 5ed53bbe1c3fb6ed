//go:build integration

package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// quorumBed is a cluster in which a commit waits for one of two standbys, strictly.
func quorumBed(t *testing.T) *bedtest.Bed {
	t.Helper()
	return bedtest.New(t, testbed.Options{TTL: shortTTL, Dynamic: map[string]any{"synchronous_mode": "quorum", "synchronous_mode_strict": true}})
}

// names waits until a server goes by these synchronous standbys.
func names(b *bedtest.Bed, n *testbed.Node, limit time.Duration, want string) {
	b.T().Helper()
	b.Wait(limit, n.Name+" to wait for "+want, func(ctx context.Context) string {
		got, err := n.Text(ctx, "select current_setting('synchronous_standby_names')")
		if err == nil && got == want {
			return ""
		}
		return fmt.Sprintf("%q, %v", got, err)
	})
}

// awaitQuorum waits until one rule alone is in force, with every standby in it, and its
// writer has seen it in etcd: a record that it has not seen counts for nothing.
func awaitQuorum(b *bedtest.Bed, primary *testbed.Node) {
	b.T().Helper()
	b.Wait(15*time.Second, "a quorum of all standbys", func(context.Context) string {
		record := b.Key("pgkeeper/durability")
		for _, n := range b.Others(primary) {
			if strings.Count(record, `"primary"`) != 1 || !strings.Contains(record, n.Name) {
				return "the record is " + record
			}
		}
		return ""
	})
	watch, end := context.WithCancel(b.T().Context())
	defer end()
	beats, err := b.WatchKeys(watch)
	b.Must(err)
	for range 2 {
		awaitChange(b.T(), beats, 10*time.Second, "a beat", func(c testbed.Change) bool { return c.Key == "pgkeeper/beat" })
	}
}

// TestAQuorumReplacesADeadNodeBeforeItsLeaseEnds: a long lease is not waited for, and
// no acknowledged row is lost.
func TestAQuorumReplacesADeadNodeBeforeItsLeaseEnds(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL, Dynamic: map[string]any{"synchronous_mode": "quorum", "synchronous_mode_strict": true}})
	old := b.Healthy(10 * time.Second)
	rest := b.Others(old)
	names(b, old, 10*time.Second, `ANY 1 ("`+rest[0].Name+`","`+rest[1].Name+`")`)
	awaitQuorum(b, old)
	b.WaitStatus(old, 10*time.Second, "it to know whether synchronous_commit is weakened", func(s testbed.Status) bool {
		return s.Keeper.SyncCommit != nil && s.Keeper.SyncCommit.Weakened != nil
	})
	o := b.Observe()

	o.Fault()
	b.Must(old.KillAll())
	next := b.Primary(10*time.Second, old)
	o.Interrupted(10 * time.Second)
	o.GapAtMost(longTTL - 5*time.Second)
	t.Logf("writes went on after %s", o.Gap())

	b.Must(old.Start())
	b.Healthy(40 * time.Second)
	o.Resumed(10 * time.Second)
	o.End(next, 0)
}

func TestAQuorumLosesNoRowWithItsPrimary(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL, Dynamic: map[string]any{"synchronous_mode": "quorum", "synchronous_mode_strict": true, "fast_failover": false}})
	old := b.Healthy(10 * time.Second)
	rest := b.Others(old)
	both := `ANY 1 ("` + rest[0].Name + `","` + rest[1].Name + `")`
	names(b, old, 10*time.Second, both)
	awaitQuorum(b, old)
	o := b.Observe()

	o.Fault()
	b.Must(old.KillAll())
	next := b.Primary(20*time.Second, old)
	o.Interrupted(20 * time.Second)
	o.GapAtMost(afterLease)

	b.Must(old.Start())
	b.Healthy(40 * time.Second)
	o.Resumed(10 * time.Second)
	o.End(next, 0) // every row that was acknowledged, with no exception
}

func TestCommitsGoOnWhenASynchronousStandbyDies(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL, Dynamic: map[string]any{"synchronous_mode": "on", "synchronous_mode_strict": true}})
	primary := b.Healthy(10 * time.Second)
	var waitedFor *testbed.Node
	b.Wait(10*time.Second, "a synchronous standby", func(ctx context.Context) string {
		name, err := primary.Text(ctx, "select coalesce(max(application_name), '') from pg_stat_replication where sync_state = 'sync'")
		for _, n := range b.Nodes {
			if err == nil && n.Name == name {
				waitedFor = n
				return ""
			}
		}
		return "none"
	})
	o := b.Observe()

	o.Fault()
	b.Must(waitedFor.KillAll())
	o.Resumed(10 * time.Second)
	o.GapAtMost(afterLease)
	if again := b.Primary(5 * time.Second); again != primary {
		t.Errorf("the primary is %s, want %s still", again.Name, primary.Name)
	}
	b.Must(waitedFor.Start())
	b.Healthy(40 * time.Second)
	o.End(primary, 0)
}

// TestAFrozenNodeOfAQuorumAcknowledgesNothing is what no deadline covers: every process
// of the agent is frozen, and the server goes on.
func TestAFrozenNodeOfAQuorumAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	b := quorumBed(t)
	old := b.Healthy(10 * time.Second)
	o := b.Observe()

	o.Fault()
	for _, p := range []testbed.Process{testbed.Supervisor, testbed.Guard, testbed.Worker} {
		b.Must(old.Freeze(p))
	}
	next := b.Primary(20*time.Second, old)
	b.Must(next.Exec(t.Context(), "create table elsewhere (n int); insert into elsewhere values (1)")) // acknowledged by the new primary
	elsewhere := time.Now()
	b.Wait(10*time.Second, "a commit that waits on the frozen node", func(context.Context) string {
		if b.Text(old, "select count(*) from pg_stat_activity where wait_event = 'SyncRep'") == "0" {
			return "none does" // the writer's session is still there: the server takes it for a primary
		}
		return ""
	})
	for _, i := range o.Watcher.Intervals() { // the writer may have gone to the new primary
		if i.Node == old.Name && i.To.After(elsewhere) {
			t.Errorf("%s acknowledged writes beside the new primary, until %v after it", old.Name, i.To.Sub(elsewhere))
		}
	}
	for _, p := range []testbed.Process{testbed.Worker, testbed.Guard, testbed.Supervisor} {
		if err := old.Thaw(p); err != nil {
			t.Logf("%v: %v", p, err)
		}
	}
	b.Healthy(40 * time.Second)
	o.Resumed(10 * time.Second)
	o.End(next, 0)
}

func TestASwitchoverInAQuorumAndBackToAsynchronous(t *testing.T) {
	t.Parallel()
	b := quorumBed(t)
	old := b.Healthy(10 * time.Second)
	o := b.Observe()
	o.Fault()
	b.Ctl("switchover", "--force")
	next := b.Primary(10*time.Second, old)
	o.Resumed(10 * time.Second)
	rest := b.Others(next)
	names(b, next, 15*time.Second, `ANY 1 ("`+rest[0].Name+`","`+rest[1].Name+`")`)
	if got := b.Key("sync"); got == "" {
		t.Error("the key sync is not there")
	}
	b.Ctl("edit-config", "--force", "-s", "synchronous_mode=off")
	names(b, next, 15*time.Second, "")
	b.Wait(10*time.Second, "the record of rules to go", func(context.Context) string { return b.Key("pgkeeper/durability") })
	b.Healthy(20 * time.Second)
	o.End(next, 0)
}

// TestWhatACopyHasThatMayNotLeadIsStreamedFromItFirst: of two standbys the one that confirmed
// the last commits is tagged nofailover while the primary's node dies. The other takes them
// from it, which keeps no slot for it, and leads.
func TestWhatACopyHasThatMayNotLeadIsStreamedFromItFirst(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL, Dynamic: map[string]any{
		"synchronous_mode": "quorum", "synchronous_mode_strict": true, "fast_failover": false}})
	old := b.Healthy(10 * time.Second)
	behind, spare := b.Others(old)[0], b.Others(old)[1]
	awaitQuorum(b, old)
	b.Must(spare.Reconfigure(func(config map[string]any) { config["tags"] = map[string]any{"nofailover": true} }))
	o := b.Observe()

	receiver, err := strconv.Atoi(b.Text(behind, "select pid from pg_stat_wal_receiver"))
	b.Must(err)
	b.Must(behind.SignalPID(receiver, unix.SIGSTOP))
	b.Must(old.Exec(t.Context(), "create table confirmed_by_one (n int)"))
	o.Fault()
	b.Must(old.KillAll())
	b.Must(spare.Signal(testbed.Supervisor, unix.SIGHUP))
	b.Must(behind.SignalPID(receiver, unix.SIGKILL)) // what has reached its socket is lost with it
	if next := b.Primary(20*time.Second, old); next != behind {
		t.Errorf("%s leads, want %s", next.Name, behind.Name)
	}
	b.WaitText(behind, "select count(*) from confirmed_by_one", "0")
	if log := behind.Log(); !strings.Contains(log, "streaming from it first") {
		t.Error("it lacked nothing: the test has not shown what it is for")
	}
	o.Interrupted(20 * time.Second)

	b.Must(old.Start())
	b.Healthy(40 * time.Second)
	o.Resumed(10 * time.Second)
	o.End(behind, 0)
}
