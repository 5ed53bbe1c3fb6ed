//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestAnotherNodeTakesOverFromAKilledNodeWhichReturnsByRewind(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	old := b.Healthy(10 * time.Second)
	before := status(b, old)
	o := b.Observe()

	o.Fault()
	b.Must(old.KillAll())
	next := b.Primary(15*time.Second, old)
	o.Interrupted(15 * time.Second)
	o.GapAtMost(afterLease)
	if after := status(b, next); after.Timeline <= before.Timeline || after.Keeper.Term <= before.Keeper.Term {
		t.Errorf("timeline and term are %d and %d, want more than %d and %d", after.Timeline, after.Keeper.Term, before.Timeline, before.Keeper.Term)
	}

	b.Must(old.Start())
	if primary := b.Healthy(30 * time.Second); primary != next {
		t.Errorf("the primary is %s, want %s still", primary.Name, next.Name)
	}
	if system := status(b, old).SystemID; system != before.SystemID {
		t.Errorf("system identifier %s, want %s", system, before.SystemID)
	}
	o.End(next, loseAtMost)
}

func TestAllKilledNodesComeBackWithEveryRow(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	b.Healthy(10 * time.Second)
	o := b.Observe()

	o.Fault()
	b.Must(b.PowerCut())
	b.Must(b.StartNodes())
	primary := b.Healthy(30 * time.Second)
	o.Interrupted(5 * time.Second)
	o.GapAtMost(60 * time.Second)
	o.End(primary, loseAtMost)
}
