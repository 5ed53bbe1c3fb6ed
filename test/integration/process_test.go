//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestAKilledWorkerIsReplacedAndNoClientNotices(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: sickTTL})
	primary := b.Healthy(10 * time.Second)
	before := status(b, primary)
	server := pid(t, primary, testbed.Postmaster)
	o := b.Observe()

	o.Fault()
	b.Must(primary.Kill(testbed.Worker))
	b.WaitStatus(primary, 10*time.Second, "leading under a new term", func(s testbed.Status) bool {
		return s.Keeper.Reason == "leading" && s.Keeper.Term > before.Keeper.Term
	})
	if again := b.Healthy(10 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	if now := pid(t, primary, testbed.Postmaster); now != server {
		t.Errorf("the postmaster is %d, want %d as before", now, server)
	}
	o.GapAtMost(unnoticed)
	o.NothingFailed()
	o.End(primary, 0)
}

func TestANewSupervisorAdoptsWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	primary := b.Healthy(10 * time.Second)
	server, guard := pid(t, primary, testbed.Postmaster), pid(t, primary, testbed.Guard)
	o := b.Observe()

	o.Fault()
	b.Must(primary.Kill(testbed.Supervisor))
	_, err := primary.Exit(30 * time.Second)
	b.Must(err)
	b.Must(primary.Start())
	if again := b.Healthy(15 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	if now := pid(t, primary, testbed.Postmaster); now != server {
		t.Errorf("the postmaster is %d, want %d as before", now, server)
	}
	if now := pid(t, primary, testbed.Guard); now != guard {
		t.Errorf("the guard is %d, want %d as before", now, guard)
	}
	o.GapAtMost(unnoticed)
	o.NothingFailed()
	o.End(primary, 0)
}

func TestAKilledGuardTakesItsServerWithItAndBothComeBack(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	primary := b.Healthy(10 * time.Second)
	o := b.Observe()

	o.Fault()
	b.Must(primary.Kill(testbed.Guard))
	o.Interrupted(20 * time.Second)
	o.GapAtMost(planned)
	last, mayLose := b.Healthy(20*time.Second), loseAtMost
	if last == primary { // its rows are on its disk; another had only what it received
		mayLose = 0
	}
	o.End(last, mayLose)
}

func TestWhenEveryProcessOfAnAgentIsKilledItsServerStopsAndAnotherNodeTakesOver(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	old := b.Healthy(10 * time.Second)
	server := pid(t, old, testbed.Postmaster)
	o := b.Observe()

	o.Fault()
	b.Must(old.KillAgent())
	b.Wait(2*time.Second, "the server to stop with its guard", func(ctx) string {
		if !testbed.Gone(server) {
			return "the postmaster runs"
		}
		return ""
	})
	next := b.Primary(15*time.Second, old)
	o.Interrupted(5 * time.Second)
	o.GapAtMost(afterLease)
	b.Must(old.Start())
	b.Healthy(30 * time.Second)
	o.End(next, loseAtMost)
}
