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
