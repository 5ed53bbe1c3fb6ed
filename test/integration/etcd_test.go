//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

func TestAPrimaryCutOffFromEtcdStopsBeforeAnotherIsElected(t *testing.T) {
	for name, cut := range map[string]func(*testbed.Node){
		"connections refused": (*testbed.Node).CutEtcd,
		"packets lost":        (*testbed.Node).FreezeEtcd,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bedtest.New(t, testbed.Options{TTL: shortTTL})
			old := b.Healthy(10 * time.Second)
			o := b.Observe()

			o.Fault()
			cut(old)
			next := b.Primary(15*time.Second, old)
			o.Interrupted(5 * time.Second)
			o.GapAtMost(afterLease)
			old.HealEtcd()
			if primary := b.Healthy(30 * time.Second); primary != next {
				t.Errorf("the primary is %s, want %s still", primary.Name, next.Name)
			}
			o.End(next, loseAtMost)
		})
	}
}

func TestAStandbyCutOffFromEtcdGoesOnStreaming(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	server := pid(t, standby, testbed.Postmaster)
	o := b.Observe()
	outage := time.NewTimer(3 * shortTTL)

	o.Fault()
	standby.CutEtcd()
	<-outage.C
	if now := pid(t, standby, testbed.Postmaster); now != server {
		t.Errorf("the postmaster is %d, want %d as before", now, server)
	}
	if got := b.Text(standby, "select count(*) from pg_stat_wal_receiver where status = 'streaming'"); got != "1" {
		t.Errorf("%s streams no more", standby.Name)
	}
	standby.HealEtcd()
	b.Healthy(15 * time.Second)
	o.NothingFailed()
	o.End(primary, 0)
}

func TestWhenEtcdIsDownForAllThePrimaryStopsAndIsBackWithIt(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	primary := b.Healthy(10 * time.Second)
	o := b.Observe()

	o.Fault()
	b.Etcd.Stop()
	stopsBeingPrimary(b, primary)
	b.Must(b.Etcd.Start(t.Context()))
	next := b.Healthy(30 * time.Second)
	o.Interrupted(5 * time.Second)
	o.GapAtMost(60 * time.Second)
	o.End(next, loseAtMost)
}

func TestNoClientNoticesTheDeathOfAnEtcdMember(t *testing.T) {
	for _, who := range []string{"leader", "follower"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			const ttl = 8 * time.Second // an election of etcd takes a second or two of it
			b := bedtest.New(t, testbed.Options{EtcdMembers: 3, EtcdBinary: true, TTL: ttl})
			primary := b.Healthy(10 * time.Second)
			before := status(b, primary)
			victim := 0
			b.Wait(10*time.Second, "etcd's leader", func(ctx ctx) string {
				var err error
				if victim, err = b.Etcd.Leader(ctx); err != nil {
					return err.Error()
				}
				return ""
			})
			if who == "follower" {
				victim = (victim + 1) % 3
			}
			o := b.Observe()
			quiet := time.NewTimer(3 * ttl)

			o.Fault()
			b.Etcd.Members[victim].Kill()
			<-quiet.C
			if after := status(b, primary); after.Keeper.Term != before.Keeper.Term || b.Answer(primary, "/primary") != 200 {
				t.Errorf("after the death: %v, term %d, want term %d as before", after, after.Keeper.Term, before.Keeper.Term)
			}
			b.Must(b.Etcd.Members[victim].Start(t.Context()))
			o.GapAtMost(unnoticed)
			o.NothingFailed()
			o.End(primary, 0)
		})
	}
}

// stopsBeingPrimary waits until a primary neither says that it is one nor takes a write.
func stopsBeingPrimary(b *bedtest.Bed, primary *testbed.Node) {
	b.Wait(10*time.Second, "the primary to stop being one", func(ctx ctx) string {
		switch primary.Health(ctx, "/primary") {
		case 200:
			return "it answers 200"
		case 0: // and it may be too busy to take a write in time
			return "it does not answer"
		}
		if primary.Exec(ctx, "create table if not exists after_the_end ()") == nil {
			return "it accepts writes"
		}
		return ""
	})
}

// TestALeaseThatIsTakenFromItsHolderIsTakenAgain: an operator deletes the leader key, or a
// stuck member of etcd revokes the lease. The others wait for the end of a lease of longTTL,
// since the last holder may be alive; who knows that it is not is that one.
func TestALeaseThatIsTakenFromItsHolderIsTakenAgain(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: longTTL})
	primary := b.Healthy(10 * time.Second)
	before := status(b, primary)
	client, err := b.Etcd.Client(t.Context())
	b.Must(err)
	defer client.Close()
	o := b.Observe()

	o.Fault()
	_, err = client.Delete(t.Context(), testbed.Base+"leader")
	b.Must(err)
	o.Interrupted(planned)
	o.GapAtMost(planned)
	t.Logf("writes went on after %s", o.Gap())
	if again := b.Healthy(30 * time.Second); again != primary {
		t.Errorf("%s leads, want %s", again.Name, primary.Name)
	}
	if after := status(b, primary); after.Keeper.Term <= before.Keeper.Term {
		t.Errorf("term %d after %d", after.Keeper.Term, before.Keeper.Term)
	}
	o.End(primary, 0)
}
