package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestAPrimaryThatCannotServeIsReplacedInTime: L1 while the fault lasts. Where the server
// can be stopped it takes probe_timeout and an election; where not, the lease that is not
// renewed any more has to end first. (Under a short lease a server that hangs is killed at
// its deadline, before probe_timeout, and may be back by itself.)
func TestAPrimaryThatCannotServeIsReplacedInTime(t *testing.T) {
	threads := &pool{}
	defer threads.close()
	const at, slack, schedules = 10 * s, 3 * s, 10
	for _, ttl := range []int{3, 10, 30} {
		for _, kinds := range [][]string{{"freeze server"}, {"disk hangs"}, {"data disk full"}, {"disk hangs", "stuck backend"}} {
			settings := fmt.Sprintf(`{"ttl":%d,"loop_wait":2,"retry_timeout":3}`, ttl)
			bound := cluster.DefaultProbeTimeout + slack
			if len(kinds) > 1 {
				bound += time.Duration(ttl) * s
			}
			for seed := range uint64(schedules) {
				w := newWorld(threads, seed, 3, settings, false)
				w.boot()
				w.runUntil(at)
				lead := w.acknowledging()
				if len(lead) != 1 {
					t.Fatalf("%s, ttl %d, seed %d: %d primaries before the fault", kinds, ttl, seed, len(lead))
				}
				sick := lead[0]
				for _, kind := range kinds {
					w.plan([]fault{{at: at, kind: kind, lasts: 10 * time.Minute, node: sick.i, exact: true}})
				}
				if w.runUntil(at + 100*time.Millisecond); len(w.acknowledging()) > 0 {
					t.Fatalf("%s, ttl %d, seed %d: the fault has no effect", kinds, ttl, seed)
				}
				for w.violation == "" && w.now < at+bound && len(w.acknowledging()) == 0 {
					w.runUntil(w.now + 100*time.Millisecond)
				}
				if w.violation != "" || len(w.acknowledging()) == 0 {
					t.Errorf("%s, ttl %d, seed %d: nobody served within %s (%s)%s", kinds, ttl, seed, bound, w.unsettled(), w.violation)
				}
				w.close()
			}
		}
	}
}
