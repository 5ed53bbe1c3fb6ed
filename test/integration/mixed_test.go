//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// Clusters of agents and the distribution's Patroni, as whoever moves node by node has them.

// rejoined bounds the way back of a node: Patroni recovers a killed server in single-user
// mode and rewinds it, and polls once a second.
const rejoined = 6 * time.Minute

// move has the other program run a node, on the same file and data directory.
func move(b *bedtest.Bed, n *testbed.Node, patroni bool) {
	b.T().Helper()
	b.Must(n.Stop(time.Minute))
	b.Must(n.UnderPatroni(patroni))
	b.Must(n.Start())
}

// leads waits for a healthy cluster that a node leads, which both tools show.
func leads(b *bedtest.Bed, n *testbed.Node) {
	b.T().Helper()
	if primary := b.Healthy(rejoined); primary != n {
		b.T().Fatalf("%s leads, want %s", primary.Name, n.Name)
	}
	for tool, list := range map[string]func() testbed.Result{
		"patronictl": func() testbed.Result { return b.Patronictl(n.Name, "list") }, "pgkeeper": func() testbed.Result { return b.Ctl("list") }} {
		b.Wait(rejoined, tool+" list with "+n.Name+" as the leader and everybody else as a replica that runs", func(ctx) string { // a server that was adopted connects anew
			text := list().Out
			if count(text, n.Name, "Leader") == 1 && count(text, "Leader") == 1 && count(text, "Replica")+count(text, "Sync Standby") == len(b.Nodes)-1 &&
				count(text, "running")+count(text, "streaming") == len(b.Nodes) {
				return ""
			}
			return text
		})
	}
}

// takesOver kills all of a primary's node, waits for another, and has the killed one back.
func takesOver(b *bedtest.Bed, o *bedtest.Observed, primary *testbed.Node) (next *testbed.Node) {
	b.T().Helper()
	o.Spread()
	o.Fault()
	b.Must(primary.KillAll())
	next = b.Primary(2*testbed.PatroniTTL, primary)
	o.Interrupted(time.Minute)
	b.T().Logf("%s took over from %s, no write for %v", next.Name, primary.Name, o.Gap().Round(time.Millisecond))
	b.Must(primary.Start())
	leads(b, next)
	return next
}

func TestAClusterMovesFromPatroniNodeByNode(t *testing.T) {
	t.Parallel()
	b := bedtest.NewMixed(t, testbed.Options{}, "pg1", "pg2", "pg3")
	one, two, three := b.Node("pg1"), b.Node("pg2"), b.Node("pg3")
	o := b.Observe()
	o.Fault()
	for _, n := range []*testbed.Node{two, three} {
		move(b, n, false)
		leads(b, one)
		if cloned := count(n.Log(), "job started", "action=clone"); cloned > 0 {
			t.Errorf("%s was cloned: it had the data", n.Name)
		}
	}
	o.NothingFailed() // nor a moment without writes: no primary was touched

	// Either tool, in either direction: what it says is what happened.
	b.Patronictl(`Successfully switched over to "pg2"`, "switchover", "--master", "pg1", "--candidate", "pg2", "--force")
	leads(b, two)
	b.Patronictl(`Successfully switched over to "pg1"`, "switchover", "--master", "pg2", "--candidate", "pg1", "--force")
	leads(b, one)
	b.Ctl("switchover", "--primary", "pg1", "--candidate", "pg3", "--force")
	leads(b, three)
	b.Ctl("switchover", "--primary", "pg3", "--candidate", "pg1", "--force")
	leads(b, one)
	if record := b.Key("pgkeeper/switchover"); record != "" {
		t.Errorf("the record of the switchover stands: %s", record)
	}

	b.Patronictl(`Successfully switched over to "pg2"`, "switchover", "--master", "pg1", "--candidate", "pg2", "--force")
	move(b, one, false)
	leads(b, two)
	move(b, three, true) // and there is a way back
	leads(b, two)
	o.End(two, 0)
}

func TestAKilledPrimaryIsReplacedWhoeverRunsIt(t *testing.T) {
	t.Parallel()
	b := bedtest.NewMixed(t, testbed.Options{Configure: func(name string, config map[string]any) {
		if name == "pg3" {
			config["tags"] = map[string]any{"nofailover": true} // so that it is known who takes over
		}
	}}, "pg1")
	one := b.Node("pg1")
	leads(b, one)
	o := b.Observe()
	next := takesOver(b, o, one)
	if next != b.Node("pg2") {
		t.Errorf("%s took over, want pg2", next.Name)
	}
	o.End(next, loseAtMost)
	o = b.Observe() // each failover may lose its own last rows
	last := takesOver(b, o, next)
	if last != one {
		t.Errorf("%s took over, want pg1", last.Name)
	}
	o.End(last, loseAtMost)
}

// Patroni's rules hold where it has a say: only whom the key sync names is elected, by
// Patroni after an agent led, and by an agent after Patroni did.
func TestNoAcknowledgedRowIsLostBetweenPatroniAndAgents(t *testing.T) {
	t.Parallel()
	b := bedtest.NewMixed(t, testbed.Options{Dynamic: map[string]any{"synchronous_mode": true}, Configure: func(name string, config map[string]any) {
		if name == "pg2" {
			config["tags"] = map[string]any{"nosync": true}
		}
	}}, "pg1", "pg2")
	one, three := b.Node("pg1"), b.Node("pg3")
	lists := func(leader, standby string) {
		t.Helper()
		b.Wait(time.Minute, standby+" in the key sync of "+leader, func(c ctx) string {
			value, _, err := b.Cluster.Key(c, "sync")
			if err != nil {
				return err.Error()
			}
			if !strings.Contains(value, fmt.Sprintf(`"leader":"%s"`, leader)) || !strings.Contains(value, fmt.Sprintf(`"sync_standby":"%s"`, standby)) {
				return "it says " + value
			}
			return ""
		})
	}
	lists("pg1", "pg3")
	o := b.Observe()
	if next := takesOver(b, o, one); next != three {
		t.Errorf("%s took over from pg1, and pg3 was the synchronous standby", next.Name)
	}
	lists("pg3", "pg1")
	b.WaitText(three, "current_setting('synchronous_standby_names')", `FIRST 1 ("pg1")`)
	if next := takesOver(b, o, three); next != one {
		t.Errorf("%s took over from pg3, and pg1 was the synchronous standby", next.Name)
	}
	lists("pg1", "pg3")
	o.End(one, 0)
}

func TestWithoutEtcdPatroniAndAgentsLeaveEachOthersPrimaryAlone(t *testing.T) {
	t.Parallel()
	b := bedtest.NewMixed(t, testbed.Options{Dynamic: map[string]any{"failsafe_mode": true}}, "pg1")
	o := b.Observe()
	for _, primary := range []*testbed.Node{b.Node("pg1"), b.Node("pg2")} {
		if primary.Name != "pg1" {
			b.Ctl("switchover", "--candidate", primary.Name, "--force")
		}
		leads(b, primary)
		b.Wait(time.Minute, "all members in /failsafe", func(c ctx) string {
			if list, _, err := b.Cluster.Key(c, "failsafe"); err != nil || strings.Count(list, "/patroni") != 3 {
				return fmt.Sprintf("it says %s (%v)", list, err)
			}
			return ""
		})
		o.Resumed(time.Minute)
		failed := len(o.Writer.Failures())
		outage := time.NewTimer(testbed.PatroniTTL + 5*time.Second)
		b.Etcd.Stop()
		<-outage.C
		if code := b.Answer(primary, "/primary"); code != 200 {
			t.Errorf("/primary of %s answers %d after more than a lease without etcd", primary.Name, code)
		}
		b.Must(b.Etcd.Start(t.Context()))
		leads(b, primary)
		if now := len(o.Writer.Failures()); now != failed {
			t.Errorf("%d statements failed while etcd was gone and %s led", now-failed, primary.Name)
		}
	}
	o.End(b.Node("pg2"), 0)
}

// In a pause the leader's node moves too, with its server running.
func TestAPausedLeaderMovesFromPatroniWithItsServer(t *testing.T) {
	t.Parallel()
	b := bedtest.NewMixed(t, testbed.Options{}, "pg1", "pg2")
	one, three := b.Node("pg1"), b.Node("pg3")
	before := b.Status(three).PostmasterStart
	b.Patronictl("Success: restart on member pg3", "restart", "bed", "pg3", "--force")
	leads(b, one)
	if after := b.Status(three).PostmasterStart; after == before {
		t.Errorf("the server of pg3 runs since %s, as before its restart", after)
	}
	b.Patronictl("Reinitialize is completed on: pg3", "reinit", "bed", "pg3", "--force", "--wait")
	leads(b, one)
	b.Patronictl("Configuration changed", "edit-config", "--force", "-s", "postgresql.parameters.work_mem=5MB")
	b.WaitText(three, "current_setting('work_mem')", "5MB")
	b.Refused("use --api", "reinit", "bed", "pg2", "--force")

	o := b.Observe()
	o.Fault()
	server := pid(t, one, testbed.Postmaster)
	b.Patronictl("Success: cluster management is paused", "pause", "--wait")
	move(b, one, false)
	leads(b, one)
	b.Patronictl("Success: cluster management is resumed", "resume", "--wait")
	awaitReason(b, one, "leading")
	leads(b, one)
	if now := pid(t, one, testbed.Postmaster); now != server {
		t.Errorf("the postmaster of pg1 is %d, want %d as before", now, server)
	}
	b.Ctl("pause", "--wait")
	b.Ctl("resume", "--wait")
	leads(b, one)
	o.NothingFailed()
	o.End(one, 0)
}
