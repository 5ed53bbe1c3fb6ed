//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// frozenTTL is the lease of the tests that freeze; a process is frozen for three
// of them.
const frozenTTL = shortTTL

// freeze stops one process of the primary for three leases, and lets it go on.
// Before and after, two servers must never be writable at once.
func freeze(t *testing.T, p testbed.Process) (b *bedtest.Bed, old *testbed.Node, o *bedtest.Observed) {
	t.Helper()
	b = bedtest.New(t, testbed.Options{TTL: frozenTTL})
	old = b.Healthy(10 * time.Second)
	o = b.Observe()
	thaw := time.NewTimer(3 * frozenTTL)
	o.Fault()
	b.Must(old.Freeze(p))
	<-thaw.C
	return b, old, o
}

func TestAFrozenWorkerIsFencedBeforeAnotherNodeTakesOver(t *testing.T) {
	t.Parallel()
	b, old, o := freeze(t, testbed.Worker)
	guard, err := old.PID(testbed.Guard)
	b.Must(err)
	next := b.Primary(10*time.Second, old)
	o.Interrupted(5 * time.Second)
	o.GapAtMost(afterLease)
	b.Must(old.Thaw(testbed.Worker))
	b.Healthy(30 * time.Second)
	if now, err := old.PID(testbed.Guard); err != nil || now != guard {
		t.Errorf("the guard is process %d now (error %v), want %d: the thawed worker killed the guard that had done its work", now, err, guard)
	}
	o.End(next, loseAtMost)
}

func TestAFrozenGuardIsNoticedAndItsServerStopped(t *testing.T) {
	t.Parallel()
	b, old, o := freeze(t, testbed.Guard)
	next := b.Primary(10 * time.Second)
	o.Interrupted(5 * time.Second)
	o.GapAtMost(afterLease)
	if err := old.Thaw(testbed.Guard); err != nil {
		t.Logf("the frozen guard was replaced: %v", err)
	}
	b.Healthy(30 * time.Second)
	o.End(next, loseAtMost)
}

func TestAFrozenSupervisorIsNotMissed(t *testing.T) {
	t.Parallel()
	b, old, o := freeze(t, testbed.Supervisor)
	b.Must(old.Thaw(testbed.Supervisor))
	if again := b.Healthy(10 * time.Second); again != old {
		t.Errorf("the primary is %s now, want %s", again.Name, old.Name)
	}
	o.GapAtMost(unnoticed)
	o.NothingFailed()
	o.End(old, 0)
}

func TestAFrozenPostmasterNeverMakesTwoWritableServers(t *testing.T) {
	t.Parallel()
	b, old, o := freeze(t, testbed.Postmaster)
	if err := old.Thaw(testbed.Postmaster); err != nil {
		t.Logf("the frozen server was replaced: %v", err)
	}
	primary := b.Healthy(30 * time.Second)
	o.Resumed(5 * time.Second)
	o.GapAtMost(afterLease)
	o.End(primary, loseAtMost)
}
