//go:build integration

package integration

import (
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// failsafeBed is a cluster with failsafe mode, whose members are all listed.
func failsafeBed(t *testing.T, dynamic map[string]any) (*bedtest.Bed, *testbed.Node) {
	t.Helper()
	with := map[string]any{"failsafe_mode": true}
	maps.Copy(with, dynamic)
	b := bedtest.New(t, testbed.Options{TTL: shortTTL, Dynamic: with})
	primary := b.Healthy(10 * time.Second)
	b.Wait(10*time.Second, "all members in /failsafe", func(ctx) string {
		if list := b.Key("failsafe"); strings.Count(list, "/patroni") != 3 {
			return "it says " + list
		}
		return ""
	})
	return b, primary
}

// awaitReason waits until a node decides for that reason.
func awaitReason(b *bedtest.Bed, n *testbed.Node, reason string) {
	b.T().Helper()
	b.WaitStatus(n, 10*time.Second, n.Name+" to be "+reason, func(s testbed.Status) bool { return string(s.Keeper.Reason) == reason })
}

func TestWithoutAnyEtcdAPrimaryInFailsafeGoesOn(t *testing.T) {
	for name, dynamic := range map[string]map[string]any{
		"asynchronous": nil,
		"quorum":       {"synchronous_mode": "quorum"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, primary := failsafeBed(t, dynamic)
			if dynamic != nil {
				awaitQuorum(b, primary)
			}
			before := status(b, primary).Keeper.Term
			o := b.Observe()
			outage := time.NewTimer(5 * shortTTL)

			o.Fault()
			b.Etcd.Stop()
			awaitReason(b, primary, "leading_by_failsafe")
			<-outage.C
			if code := b.Answer(primary, "/primary"); code != 200 {
				t.Errorf("/primary of %s answers %d after five leases without etcd, want 200", primary.Name, code)
			}
			b.Must(b.Etcd.Start(t.Context()))
			awaitReason(b, primary, "leading")
			if after := b.Healthy(15 * time.Second); after != primary || status(b, primary).Keeper.Term < before {
				t.Errorf("%s leads, want %s still", after.Name, primary.Name)
			}
			o.NothingFailed()
			o.End(primary, 0)
		})
	}
}

func TestALeaseThatRanOutInFailsafeIsTakenAnewWithoutAStop(t *testing.T) {
	t.Parallel()
	b, primary := failsafeBed(t, nil)
	server, before := pid(t, primary, testbed.Postmaster), status(b, primary).Keeper.Term
	o := b.Observe()
	outage := time.NewTimer(4 * shortTTL)

	o.Fault()
	for _, n := range b.Nodes {
		n.CutEtcd()
	}
	<-outage.C
	for _, n := range b.Nodes {
		n.HealEtcd()
	}
	awaitReason(b, primary, "leading")
	if after := b.Healthy(15 * time.Second); after != primary || status(b, primary).Keeper.Term <= before {
		t.Errorf("%s leads under term %d, want %s under a term after %d", after.Name, status(b, after).Keeper.Term, primary.Name, before)
	}
	if now := pid(t, primary, testbed.Postmaster); now != server {
		t.Errorf("the postmaster is %d, want %d as before", now, server)
	}
	o.NothingFailed()
	o.End(primary, 0)
}

func TestAPrimaryStopsAtItsDeadlineWhenAMemberDoesNotAgree(t *testing.T) {
	t.Parallel()
	b, primary := failsafeBed(t, nil)
	silent := b.Standby(primary)
	worker := pid(t, silent, testbed.Worker)
	o := b.Observe()

	o.Fault()
	b.Must(syscall.Kill(worker, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(worker, syscall.SIGCONT) })
	b.Etcd.Stop()
	stopsBeingPrimary(b, primary)
	b.Must(b.Etcd.Start(t.Context()))
	b.Must(syscall.Kill(worker, syscall.SIGCONT))
	next := b.Healthy(30 * time.Second)
	o.GapAtMost(60 * time.Second)
	o.End(next, loseAtMost)
}

func TestInAQuorumADeadReplicaDoesNotEndFailsafe(t *testing.T) {
	t.Parallel()
	b, primary := failsafeBed(t, map[string]any{"synchronous_mode": "quorum"})
	silent := b.Standby(primary)
	awaitQuorum(b, primary)
	worker := pid(t, silent, testbed.Worker)
	outage := time.NewTimer(5 * shortTTL)

	b.Must(syscall.Kill(worker, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(worker, syscall.SIGCONT) })
	b.Etcd.Stop()
	awaitReason(b, primary, "leading_by_failsafe")
	<-outage.C
	if code := b.Answer(primary, "/primary"); code != 200 {
		t.Errorf("/primary of %s answers %d, want 200: one of two voters has promised", primary.Name, code)
	}
	b.Must(b.Etcd.Start(t.Context()))
	b.Must(syscall.Kill(worker, syscall.SIGCONT))
	if after := b.Healthy(30 * time.Second); after != primary {
		t.Errorf("%s leads, want %s still", after.Name, primary.Name)
	}
}

func TestARestartedMemberKeepsItsPromise(t *testing.T) {
	t.Parallel()
	b, primary := failsafeBed(t, nil)
	o := b.Observe()

	// Only the primary is without etcd: the others see its lease run out, and wait.
	o.Fault()
	primary.CutEtcd()
	awaitReason(b, primary, "leading_by_failsafe")
	outage := time.NewTimer(4 * shortTTL)
	restarts := time.NewTicker(shortTTL)
	defer restarts.Stop()
	for going := true; going; {
		select {
		case <-outage.C:
			going = false
		case <-restarts.C:
			standby := b.Standby(primary)
			b.Must(syscall.Kill(pid(t, standby, testbed.Worker), syscall.SIGKILL))
		}
	}
	if code := b.Answer(primary, "/primary"); code != 200 {
		t.Errorf("/primary of %s answers %d, want 200", primary.Name, code)
	}
	primary.HealEtcd()
	if after := b.Healthy(20 * time.Second); after != primary {
		t.Errorf("%s leads, want %s still", after.Name, primary.Name)
	}
	o.NothingFailed()
	o.End(primary, 0)
}

// TestAWorkerReplacedWithoutEtcdGoesOnInFailsafe: that of the primary under the term which
// the one before it kept, that of a member with the key by which it knows the question.
func TestAWorkerReplacedWithoutEtcdGoesOnInFailsafe(t *testing.T) {
	t.Parallel()
	const ttl = 20 * time.Second // two workers are to be replaced within it, on a busy machine
	b, primary := failsafeBed(t, map[string]any{"ttl": ttl.Seconds()})
	server, before := pid(t, primary, testbed.Postmaster), status(b, primary).Keeper.Term
	o := b.Observe()

	o.Fault()
	for _, n := range b.Nodes {
		n.CutEtcd()
	}
	awaitReason(b, primary, "leading_by_failsafe")
	outage := time.NewTimer(ttl + shortTTL)
	for _, n := range []*testbed.Node{b.Standby(primary), primary} {
		b.Must(syscall.Kill(pid(t, n, testbed.Worker), syscall.SIGKILL))
	}
	b.Wait(10*time.Second, "the next worker to resume the term", func(ctx) string {
		if !strings.Contains(primary.Log(), "term resumed") {
			return "it has not"
		}
		return ""
	})
	awaitReason(b, primary, "leading_by_failsafe")
	<-outage.C
	if code := b.Answer(primary, "/primary"); code != 200 {
		t.Errorf("/primary of %s answers %d, want 200", primary.Name, code)
	}
	for _, n := range b.Nodes {
		n.HealEtcd()
	}
	awaitReason(b, primary, "leading")
	if after := b.Healthy(15 * time.Second); after != primary || status(b, primary).Keeper.Term <= before || pid(t, primary, testbed.Postmaster) != server {
		t.Errorf("%s leads under term %d with server %d, want %s under a term after %d with server %d", after.Name, status(b, after).Keeper.Term,
			pid(t, after, testbed.Postmaster), primary.Name, before, server)
	}
	o.NothingFailed()
	o.End(primary, 0)
}
