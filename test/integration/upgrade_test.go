//go:build integration

package integration

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestAnAgentIsUpgradedUnderItsServerAndNoClientNotices(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: sickTTL}) // a worker built with the race detector is seconds in coming, on a busy machine
	primary := b.Healthy(10 * time.Second)
	o := b.Observe()
	o.Fault()
	for _, n := range b.Nodes {
		supervisor, worker := pid(t, n, testbed.Supervisor), pid(t, n, testbed.Worker)
		guard, server := pid(t, n, testbed.Guard), pid(t, n, testbed.Postmaster)
		b.Must(n.Signal(testbed.Supervisor, unix.SIGUSR2))
		b.Wait(15*time.Second, "another worker on "+n.Name, func(ctx) string {
			if now, err := n.PID(testbed.Worker); err != nil || now == worker {
				return "none"
			}
			return ""
		})
		b.Healthy(20 * time.Second)
		if now := pid(t, n, testbed.Supervisor); now != supervisor {
			t.Errorf("the supervisor of %s is %d, want %d: it is the same process with another image", n.Name, now, supervisor)
		}
		if now := pid(t, n, testbed.Guard); now != guard {
			t.Errorf("the guard of %s is %d, want %d as before", n.Name, now, guard)
		}
		if now := pid(t, n, testbed.Postmaster); now != server {
			t.Errorf("the postmaster of %s is %d, want %d as before", n.Name, now, server)
		}
		if count(n.Log(), "msg=upgrade") != 1 {
			t.Errorf("%s does not tell of the upgrade", n.Name)
		}
	}
	if again := b.Healthy(5 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	o.GapAtMost(unnoticed)
	o.NothingFailed()
	o.End(primary, 0)
	if err := primary.Stop(time.Minute); err != nil { // the upgraded agent still obeys
		t.Error(err)
	}
}
