//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// Faults of a standby's processes must not be seen by any client.
func TestFaultsOfAStandbyDisturbNobody(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	o := b.Observe()
	o.Fault()
	for _, p := range []testbed.Process{testbed.Worker, testbed.Guard} {
		b.Must(standby.Kill(p))
		b.Wait(10*time.Second, "another "+string(p), func(ctx) string {
			if _, err := standby.PID(p); err != nil {
				return err.Error()
			}
			return ""
		})
		if again := b.Healthy(20 * time.Second); again != primary {
			t.Errorf("after the %s was killed the primary is %s, want %s", p, again.Name, primary.Name)
		}
	}
	thaw := time.NewTimer(2 * shortTTL)
	b.Must(standby.Freeze(testbed.Worker))
	<-thaw.C
	b.Must(standby.Thaw(testbed.Worker))
	if again := b.Healthy(20 * time.Second); again != primary {
		t.Errorf("after the worker was frozen the primary is %s, want %s", again.Name, primary.Name)
	}
	o.NothingFailed()
	o.End(primary, 0)
}
