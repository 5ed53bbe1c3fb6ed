//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestAStoppedAgentHandsThePrimaryOver(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL}) // a hand-over does not wait for the lease
	old := b.Healthy(10 * time.Second)
	o := b.Observe()

	o.Fault()
	b.Must(old.Stop(time.Minute))
	next := b.Primary(5*time.Second, old)
	o.Interrupted(5 * time.Second)
	o.GapAtMost(planned)
	if _, err := old.PID(testbed.Postmaster); err == nil {
		t.Errorf("the server of %s still runs", old.Name)
	}

	b.Must(old.Start())
	b.Healthy(20 * time.Second)
	o.End(next, 0)
}

func TestStoppingTheAgentOfAStandbyDisturbsNobody(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	o := b.Observe()

	o.Fault()
	b.Must(standby.Stop(time.Minute))
	if _, err := standby.PID(testbed.Postmaster); err == nil {
		t.Errorf("the server of %s still runs", standby.Name)
	}
	b.Must(standby.Start())
	if again := b.Healthy(20 * time.Second); again != primary {
		t.Errorf("the primary is %s now, want %s", again.Name, primary.Name)
	}
	o.NothingFailed()
	o.End(primary, 0)
}

func TestAClusterThatWasStoppedNodeByNodeStartsAgain(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{})
	b.Healthy(10 * time.Second)
	o := b.Observe()
	o.Writer.Stop()

	o.Fault()
	for _, n := range b.Nodes {
		b.Must(n.Stop(time.Minute))
	}
	b.Must(b.StartNodes())
	o.End(b.Healthy(30*time.Second), 0)
}
