//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestInPauseNothingHappensWhenThePrimaryDies(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	primary := b.Healthy(10 * time.Second)
	b.Ctl("pause", "--wait")
	o := b.Observe()
	servers := map[*testbed.Node]int{}
	for _, n := range b.Others(primary) {
		servers[n] = pid(t, n, testbed.Postmaster)
	}
	patience := time.NewTimer(3 * shortTTL)

	o.Fault()
	b.Must(primary.Kill(testbed.Postmaster))
	<-patience.C
	if now, err := primary.PID(testbed.Postmaster); err == nil {
		t.Errorf("a server was started in pause: %d", now)
	}
	for n, before := range servers {
		if now := pid(t, n, testbed.Postmaster); now != before {
			t.Errorf("the server of %s was restarted in pause", n.Name)
		}
		if got := b.Text(n, "select pg_is_in_recovery()"); got != "true" {
			t.Errorf("%s was promoted in pause", n.Name)
		}
	}
	if r := b.Ctl("list"); !strings.Contains(strings.ToLower(r.Out+r.Err), "maintenance mode") {
		t.Errorf("list does not mention the pause:\n%s", r.Out)
	}
	b.Ctl("resume", "--wait")
	next := b.Healthy(30 * time.Second)
	o.Interrupted(5 * time.Second)
	o.End(next, loseAtMost)
}

func TestInPauseAnAgentCanBeRestartedAndLeavesItsServer(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	primary := b.Healthy(10 * time.Second)
	b.Ctl("pause", "--wait")
	o := b.Observe()
	o.Fault()
	for _, n := range b.Nodes {
		server := pid(t, n, testbed.Postmaster)
		b.Must(n.Stop(time.Minute))
		if now := pid(t, n, testbed.Postmaster); now != server {
			t.Errorf("the postmaster of %s is %d, want %d as before", n.Name, now, server)
		}
	}
	absence := time.NewTimer(2 * shortTTL) // longer than any lease
	<-absence.C
	b.Must(b.StartNodes())
	if again := b.Healthy(20 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	b.Ctl("resume", "--wait")
	if again := b.Healthy(20 * time.Second); again != primary {
		t.Errorf("after the pause the primary is %s, want %s", again.Name, primary.Name)
	}
	o.GapAtMost(unnoticed)
	o.NothingFailed()
	o.End(primary, 0)
}

func TestConfigurationChangesReachEveryServer(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	primary := b.Healthy(10 * time.Second)
	b.Ctl("edit-config", "-p", "work_mem=7MB", "-p", "max_connections=70", "--force")
	for _, n := range b.Nodes {
		b.Wait(10*time.Second, "work_mem of "+n.Name, func(ctx ctx) string {
			if got, err := n.Text(ctx, "current_setting('work_mem')"); got != "7MB" {
				return got + errText(err)
			}
			return ""
		})
		b.WaitStatus(n, 10*time.Second, "pending a restart", func(s testbed.Status) bool { return s.PendingRestart })
		if got := b.Text(n, "current_setting('max_connections')"); got != "60" {
			t.Errorf("max_connections of %s is %s before any restart", n.Name, got)
		}
	}
	b.Wait(10*time.Second, "list to show who is to be restarted for what", func(ctx) string { // restart --pending reads the same
		if r := b.Ctl("list", "-e"); count(r.Out, "max_connections") != 3 {
			return r.Out
		}
		return ""
	})

	o := b.Observe()
	o.Fault()
	b.Ctl("restart", testbed.Scope, "--pending", "--force")
	if again := b.Healthy(20 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s: a restart is no failover", again.Name, primary.Name)
	}
	for _, n := range b.Nodes {
		b.WaitText(n, "current_setting('max_connections')", "70")
		b.WaitStatus(n, 10*time.Second, "done", func(s testbed.Status) bool { return !s.PendingRestart })
	}
	o.Interrupted(5 * time.Second)
	o.GapAtMost(planned)
	o.End(primary, 0)
}

func TestTheLeaseCanBeMadeLongerAndShorterWhileItIsHeld(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	primary := b.Healthy(10 * time.Second)
	o := b.Observe()
	o.Fault()
	b.Ctl("edit-config", "-s", "ttl=20", "-s", "retry_timeout=3", "--force")
	b.WaitStatus(primary, 15*time.Second, "on a longer lease", func(s testbed.Status) bool { return s.Keeper.LeaseMs > 10000 })
	b.Ctl("edit-config", "-s", "ttl=6", "-s", "retry_timeout=1", "--force")
	b.WaitStatus(primary, 15*time.Second, "on a shorter lease", func(s testbed.Status) bool { return s.Keeper.LeaseMs < 6000 && s.Keeper.LeaseMs > 0 })
	b.Healthy(10 * time.Second)
	o.GapAtMost(unnoticed)
	o.NothingFailed()

	o.Fault()
	b.Must(primary.KillAll())
	next := b.Primary(12*time.Second, primary)
	o.Interrupted(5 * time.Second)
	o.GapAtMost(afterLease) // and not the longer one
	o.End(next, loseAtMost)
}

func TestMembersAreRestartedReloadedAndRebuiltOnRequest(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	o := b.Observe()
	o.Fault()

	server := pid(t, standby, testbed.Postmaster)
	b.Ctl("restart", testbed.Scope, standby.Name, "--force")
	if now := pid(t, standby, testbed.Postmaster); now == server {
		t.Errorf("%s was not restarted", standby.Name)
	}
	b.Healthy(15 * time.Second)

	b.Must(standby.Reconfigure(func(config map[string]any) {
		config["postgresql"].(map[string]any)["parameters"].(map[string]any)["work_mem"] = "9MB"
	}))
	b.Ctl("reload", testbed.Scope, standby.Name, "--force")
	b.Wait(10*time.Second, "the local setting", func(ctx ctx) string {
		if got, err := standby.Text(ctx, "current_setting('work_mem')"); got != "9MB" {
			return got + errText(err)
		}
		return ""
	})

	clones := count(standby.Log(), "job started", "action=clone")
	b.Refused("leader", "reinit", testbed.Scope, primary.Name, "--force")
	b.Ctl("reinit", testbed.Scope, standby.Name, "--force", "--wait")
	if now := count(standby.Log(), "job started", "action=clone"); now != clones+1 {
		t.Errorf("%s was cloned %d times, want %d", standby.Name, now, clones+1)
	}
	if again := b.Healthy(20 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	o.NothingFailed()
	o.End(primary, 0)
}

func TestTheRestartOfThePrimaryIsNoFailover(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	primary := b.Healthy(10 * time.Second)
	before := status(b, primary)
	o := b.Observe()
	o.Fault()
	b.Ctl("restart", testbed.Scope, primary.Name, "--force")
	if again := b.Healthy(20 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	if after := status(b, primary); after.Timeline != before.Timeline || after.PostmasterStart == before.PostmasterStart {
		t.Errorf("timeline %d (was %d), started %s (was %s): want the same timeline and another start", after.Timeline, before.Timeline, after.PostmasterStart, before.PostmasterStart)
	}
	o.Interrupted(5 * time.Second)
	o.GapAtMost(planned)
	o.End(primary, 0)
}

func TestFailoverMakesTheNamedMemberPrimary(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	old := b.Healthy(10 * time.Second)
	named := b.Others(old)[1]
	o := b.Observe()
	o.Fault()
	b.Ctl("failover", "--candidate", named.Name, "--force")
	if primary := b.Healthy(20 * time.Second); primary != named {
		t.Errorf("the primary is %s, want %s", primary.Name, named.Name)
	}
	o.Interrupted(5 * time.Second)
	o.GapAtMost(planned)
	o.End(named, loseAtMost)
}

func TestHistoryAndListTellWhatHappened(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2})
	old := b.Healthy(10 * time.Second)
	b.Ctl("switchover", "--force")
	next := b.Healthy(20 * time.Second)
	var history []map[string]any
	b.Wait(5*time.Second, "the history of the switchover", func(ctx) string {
		if err := json.Unmarshal([]byte(b.Ctl("history", "-o", "json").Out), &history); err != nil {
			return err.Error()
		}
		if len(history) != 1 || history[0]["New Leader"] != next.Name {
			return b.Ctl("history").Out
		}
		return ""
	})
	var members []map[string]any // Healthy waits for what list reads
	b.Must(json.Unmarshal([]byte(b.Ctl("list", "-o", "json").Out), &members))
	roles := map[any]any{}
	for _, m := range members {
		roles[m["Member"]] = m["Role"]
	}
	if roles[next.Name] != "Leader" || roles[old.Name] != "Replica" {
		t.Errorf("roles are %v, want %s leading and %s following", roles, next.Name, old.Name)
	}
	b.Wait(5*time.Second, "list over the REST API of another member to show the leader", func(ctx ctx) string {
		r, err := b.Run(ctx, "", "list", "--api", "http://"+strings.TrimPrefix(old.URL(""), "http://"))
		if err != nil || r.Code != 0 || count(r.Out, next.Name, "Leader") != 1 {
			return fmt.Sprint(r, err)
		}
		return ""
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return " " + err.Error()
}

func TestDoctorFindsInAHealthyClusterOnlyWhatTheTestsMadeSo(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	b.Healthy(10 * time.Second)
	checks := func() map[string]bool {
		r, err := b.Run(t.Context(), "", "doctor", "-c", b.Nodes[0].ConfigPath(), "-o", "json", "--haproxy", "../../deploy/haproxy/haproxy.cfg")
		b.Must(err)
		var rows []struct{ Check, Where, What string }
		if err := json.Unmarshal([]byte(r.Out), &rows); err != nil {
			t.Fatalf("%v: %s", err, r)
		}
		if r.Code != 1 { // for the servers of tests run with fsync=off
			t.Errorf("doctor: %s", r)
		}
		found := map[string]bool{}
		for _, row := range rows {
			found[row.Check] = true
			t.Logf("%s: %s: %s", row.Where, row.Check, row.What)
		}
		return found
	}
	// The shipped HAProxy is for max_connections 100, and these servers have 60.
	only := func(want ...string) {
		t.Helper()
		b.Wait(10*time.Second, "doctor to find "+strings.Join(want, " and ")+" alone", func(ctx) string { // what has just begun may still be told of
			if found := slices.Sorted(maps.Keys(checks())); !slices.Equal(found, want) {
				return "it finds " + strings.Join(found, " and ")
			}
			return ""
		})
	}
	only("fsync_off", "haproxy_server_maxconn")
	b.Ctl("pause", "--wait")
	only("fsync_off", "haproxy_server_maxconn", "paused")
}
