//go:build integration

package integration

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestAKilledPostmasterIsRestartedWhereItWas(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	primary := b.Healthy(10 * time.Second)
	before := status(b, primary)
	o := b.Observe()

	o.Fault()
	b.Must(primary.Kill(testbed.Postmaster))
	o.Interrupted(15 * time.Second)

	if again := b.Healthy(15 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s: a local restart was quicker", again.Name, primary.Name)
	}
	if after := status(b, primary); after.Timeline != before.Timeline || after.Keeper.Term != before.Keeper.Term {
		t.Errorf("timeline and term are %d and %d, want %d and %d as before", after.Timeline, after.Keeper.Term, before.Timeline, before.Keeper.Term)
	}
	o.GapAtMost(planned)
	o.End(primary, 0)
}

func TestAKilledBackendIsTheServersOwnBusiness(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	primary := b.Healthy(10 * time.Second)
	before := status(b, primary)
	o := b.Observe()
	postmaster, err := primary.PID(testbed.Postmaster)
	b.Must(err)
	victim := connect(b, primary)

	o.Fault()
	b.Must(primary.SignalPID(int(victim.PgConn().PID()), unix.SIGKILL))
	o.Interrupted(15 * time.Second)

	if again := b.Healthy(15 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	if now, err := primary.PID(testbed.Postmaster); err != nil || now != postmaster {
		t.Errorf("the postmaster is %d (%v), want %d as before: it restarts its backends itself", now, err, postmaster)
	}
	if after := status(b, primary); after.Timeline != before.Timeline {
		t.Errorf("timeline %d, want %d", after.Timeline, before.Timeline)
	}
	noticed := "server recovered from the crash of a process"
	b.Wait(15*time.Second, "the agent to notice", func(ctx) string { // with its next whole look
		if count(primary.Log(), noticed) == 0 {
			return "no line in its log"
		}
		return ""
	})
	if n := count(primary.Log(), noticed); n != 1 {
		t.Errorf("the agent noticed %d recoveries, want 1", n)
	}
	o.GapAtMost(planned)
	o.End(primary, 0)
}

func TestAKilledStandbyServerComesBackByItself(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	old, err := standby.PID(testbed.Postmaster)
	b.Must(err)
	o := b.Observe()

	o.Fault()
	b.Must(standby.Kill(testbed.Postmaster))
	waitReplaced(b, standby, old)
	b.Healthy(15 * time.Second)
	o.NothingFailed()
	o.End(primary, 0)
}

// A standby that recovered from the crash of a process by itself would do so in the middle of a promotion too, as a
// primary of the timeline it was to leave. A primary recovers by itself, and so does a standby in a pause, in which nobody
// would start it.
func TestABackendKilledOnAStandbyEndsItsServer(t *testing.T) {
	t.Parallel()
	const show = "current_setting('restart_after_crash')"
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	old, err := standby.PID(testbed.Postmaster)
	b.Must(err)
	o := b.Observe()

	o.Fault()
	b.Must(standby.SignalPID(int(connect(b, standby).PgConn().PID()), unix.SIGKILL))
	waitReplaced(b, standby, old)
	b.Healthy(15 * time.Second)
	o.NothingFailed()

	b.Ctl("switchover", "--candidate", standby.Name, "--force")
	b.WaitText(standby, show, "on")
	b.WaitText(primary, show, "off")
	b.Ctl("pause", "--wait")
	b.WaitText(primary, show, "on")
	b.Ctl("resume", "--wait")
	b.WaitText(primary, show, "off")
	b.Healthy(15 * time.Second)
	o.End(standby, 0)
}

// waitReplaced waits until a node has another postmaster than the old one.
func waitReplaced(b *bedtest.Bed, n *testbed.Node, old int) {
	b.T().Helper()
	b.Wait(10*time.Second, "another postmaster", func(ctx) string {
		if now, err := n.PID(testbed.Postmaster); err != nil || now == old {
			return "none"
		}
		return ""
	})
}
