//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// routed waits until `pgkeeper route` has said that writes go to the node.
func routed(b *bedtest.Bed, f *testbed.Front, to *testbed.Node) {
	b.T().Helper()
	b.Wait(5*time.Second, "writes routed to "+to.Name, func(ctx) string {
		if said := f.Log(); count(said, `msg="writes routed"`, "member="+to.Name) == 0 {
			return "it says: " + said
		}
		return ""
	})
}

// routedFrom waits until the last word of `pgkeeper route` is that writes go to another node than old.
func routedFrom(b *bedtest.Bed, f *testbed.Front, old *testbed.Node) {
	b.T().Helper()
	b.Wait(5*time.Second, "writes routed to another than "+old.Name, func(ctx) string {
		said := f.Log()
		last := said[max(0, strings.LastIndex(said, `msg="writes routed"`)):]
		for _, n := range b.Others(old) {
			if strings.Contains(last, "member="+n.Name) {
				return ""
			}
		}
		return "it says: " + said
	})
}

// serverOf is the port of the server behind an address of the proxy.
func serverOf(b *bedtest.Bed, address string) func(ctx) string {
	return func(ctx ctx) string {
		port, err := testbed.TextAt(ctx, testbed.ProxyDSN(address), "current_setting('port')")
		if err != nil {
			return err.Error()
		}
		return port
	}
}

func TestThroughHAProxyWritesFollowThePrimaryAndReadsTheStandbys(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	first := b.Healthy(10 * time.Second)
	f := b.Front()
	writes, reads := f.Writes, f.Reads
	at := func(address string, want func(port string) bool) func(ctx) string {
		port := serverOf(b, address)
		return func(ctx ctx) string {
			if got := port(ctx); !want(got) {
				return "they go to " + got
			}
			return ""
		}
	}
	only := func(n *testbed.Node) func(string) bool {
		return func(port string) bool { return port == fmtInt(n.SQLPort) }
	}
	standbyOf := func(n *testbed.Node) func(string) bool {
		return func(port string) bool {
			for _, other := range b.Others(n) {
				if port == fmtInt(other.SQLPort) {
					return true
				}
			}
			return false
		}
	}
	b.Wait(5*time.Second, "writes at "+first.Name, at(writes, only(first)))
	b.Wait(5*time.Second, "reads at a standby", at(reads, standbyOf(first)))
	routed(b, f, first)
	o := b.ObserveThrough(testbed.ProxyDSN(writes))

	o.Fault()
	b.Ctl("switchover", "--force")
	second := b.Healthy(20 * time.Second)
	o.Interrupted(10 * time.Second)
	o.GapAtMost(planned)
	b.Wait(5*time.Second, "writes at "+second.Name, at(writes, only(second)))
	routed(b, f, second)
	b.Wait(5*time.Second, "reads at a standby", at(reads, standbyOf(second)))

	b.Must(f.KillRoute()) // from here on HAProxy's checks govern alone
	o.Spread()
	o.Fault()
	b.Must(second.KillAll())
	third := b.Primary(15*time.Second, second)
	o.Interrupted(15 * time.Second)
	o.GapAtMost(afterLease)
	b.Wait(5*time.Second, "writes at "+third.Name, at(writes, only(third)))
	b.Must(second.Start())
	b.Healthy(30 * time.Second)
	b.Wait(5*time.Second, "reads at a standby", at(reads, standbyOf(third)))
	o.End(third, loseAtMost)
}
