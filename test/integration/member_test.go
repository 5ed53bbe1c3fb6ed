//go:build integration

package integration

import (
	"os"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestANodeThatLostItsDataIsClonedAnew(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	o := b.Observe()

	o.Fault()
	b.Must(standby.KillAll())
	b.Must(os.RemoveAll(standby.DataDir()))
	b.Must(standby.Start())
	if again := b.Healthy(40 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	if count(standby.Log(), "job started", "action=clone") == 0 {
		t.Errorf("%s was not cloned", standby.Name)
	}
	o.NothingFailed()
	o.End(primary, 0)
}

// TestAMemberWhoseWALIsGoneIsClonedAnew: it was away for longer than its slot is kept, and the
// primary is another meanwhile. Its server was started anew every ten seconds, and never streamed.
func TestAMemberWhoseWALIsGoneIsClonedAnew(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL, Dynamic: map[string]any{"member_slots_ttl": "1s", "postgresql": map[string]any{
		"parameters": map[string]any{"wal_keep_size": "0", "min_wal_size": "32MB", "max_wal_size": "48MB"}}}})
	old := b.Healthy(10 * time.Second)
	away := b.Others(old)[1]
	b.Must(away.Stop(time.Minute))
	b.Must(old.Stop(time.Minute))
	next := b.Primary(30*time.Second, old)
	b.WaitText(next, "select count(*) from pg_replication_slots", "0")
	for range 10 {
		b.Must(next.Exec(t.Context(), "create table filler (n int); drop table filler"))
		b.Must(next.Exec(t.Context(), "select pg_switch_wal()"))
		b.Must(next.Exec(t.Context(), "checkpoint"))
	}

	b.Must(away.Start())
	b.Must(old.Start())
	if again := b.Healthy(60 * time.Second); again != next {
		t.Errorf("the primary is %s now, want %s", again.Name, next.Name)
	}
	if log := away.Log(); count(log, "wal that is needed is removed") == 0 || count(log, "cloning from") == 0 && count(log, "clone") == 0 {
		t.Errorf("%s was not cloned for want of WAL", away.Name)
	}
}

func TestAFourthMemberJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Dynamic: map[string]any{"member_slots_ttl": "2s"}})
	primary := b.Healthy(10 * time.Second)
	o := b.Observe()

	o.Fault()
	fourth, err := b.Add("pg4")
	b.Must(err)
	b.Must(fourth.Start())
	b.Healthy(40 * time.Second)
	b.WaitText(primary, "select count(*) from pg_stat_replication where state = 'streaming'", "3")
	if r := b.Ctl("list"); count(r.Out, "pg4", "streaming") != 1 {
		t.Errorf("list does not show the fourth member streaming:\n%s", r.Out)
	}

	b.Must(fourth.Stop(time.Minute))
	b.Wait(10*time.Second, "the member key to go", func(ctx ctx) string {
		if _, found, err := b.Cluster.Key(ctx, "members/pg4"); found || err != nil {
			return "it is there"
		}
		return ""
	})
	b.Wait(20*time.Second, "the slot to go", func(ctx ctx) string {
		slots, err := primary.Text(ctx, "select string_agg(slot_name, ' ') from pg_replication_slots")
		if err != nil || count(slots, "pg4") > 0 {
			return slots
		}
		return ""
	})
	o.NothingFailed()
	o.End(primary, 0)
}

func TestAMemberReplicatesFromWhomItsTagNames(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Unstarted: true, Configure: func(name string, config map[string]any) {
		if name == "pg3" {
			config["tags"] = map[string]any{"replicatefrom": "pg2", "nofailover": true}
		}
		if name == "pg2" {
			config["tags"] = map[string]any{"nofailover": true}
		}
	}})
	b.Must(b.StartNodes())
	if primary := b.Healthy(45 * time.Second); primary.Name != "pg1" {
		t.Fatalf("the primary is %s, and only pg1 may be one", primary.Name)
	}
	middle, last := b.Node("pg2"), b.Node("pg3")
	upstream := "select sender_port from pg_stat_wal_receiver where status = 'streaming'"
	b.Wait(20*time.Second, "pg3 to stream from pg2", func(ctx ctx) string {
		port, err := last.Text(ctx, upstream)
		if err != nil {
			return err.Error()
		}
		if port != fmtInt(middle.SQLPort) {
			return "it streams from port " + port
		}
		return ""
	})
	o := b.Observe()
	o.Fault()
	b.Must(middle.KillAll())
	b.Wait(30*time.Second, "pg3 to stream from the primary while pg2 is gone", func(ctx ctx) string {
		port, err := last.Text(ctx, upstream)
		if err != nil {
			return err.Error()
		}
		if port != fmtInt(b.Node("pg1").SQLPort) {
			return "it streams from port " + port
		}
		return ""
	})
	o.NothingFailed()
	o.End(b.Node("pg1"), 0)
}

func TestAMemberTaggedNofailoverIsNeverPromoted(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2, TTL: shortTTL, Configure: func(name string, config map[string]any) {
		if name == "pg2" {
			config["tags"] = map[string]any{"nofailover": true}
		}
	}})
	primary, other := b.Node("pg1"), b.Node("pg2")
	o := b.Observe()
	patience, look := time.NewTimer(3*shortTTL), time.NewTicker(50*time.Millisecond)
	defer look.Stop()

	o.Fault()
	b.Must(primary.KillAll())
	for over := false; !over; {
		select {
		case <-patience.C:
			over = true
		case <-look.C:
			if other.Health(t.Context(), "/primary") == 200 {
				t.Fatal("the member tagged nofailover was promoted")
			}
		}
	}
	awaitReason(b, other, "not_a_candidate_nofailover")
	b.Refused("may become primary", "failover", "--candidate", "pg2", "--force")
	b.Must(primary.Start())
	if again := b.Healthy(30 * time.Second); again != primary {
		t.Errorf("the primary is %s", again.Name)
	}
	o.Interrupted(5 * time.Second)
	o.End(primary, 0)
}
