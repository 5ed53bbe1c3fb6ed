//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// A job that waits for the frozen guard once held the fence up: the old primary
// wrote on for 8.7 s beside the new one, at a lease of 3 s.
func TestAJobThatWaitsForAFrozenGuardDoesNotHoldUpTheFence(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: frozenTTL})
	old := b.Healthy(10 * time.Second)
	o := b.Observe()
	thaw := time.NewTimer(3 * frozenTTL)
	o.Fault()
	b.Must(old.Freeze(testbed.Guard))
	asked := make(chan struct{})
	go func() { // within the heartbeats that notice the freeze
		defer close(asked)
		_, _ = b.Cluster.Ctl(t.Context(), "restart", testbed.Scope, old.Name, "--force")
	}()
	<-thaw.C
	if err := old.Thaw(testbed.Guard); err != nil {
		t.Logf("the frozen guard was replaced: %v", err)
	}
	<-asked
	next := b.Healthy(30 * time.Second)
	o.End(next, loseAtMost) // and no two servers were writable at once
}
