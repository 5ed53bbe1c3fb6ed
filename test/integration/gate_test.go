//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// gated is a cluster whose commits wait for the gate.
func gated(t *testing.T, ttl time.Duration) (*bedtest.Bed, *testbed.Node) {
	t.Helper()
	b := bedtest.New(t, testbed.Options{TTL: ttl, Dynamic: map[string]any{"commit_gate": true}})
	primary := b.Healthy(10 * time.Second)
	awaitGate(b, primary)
	return b, primary
}

func awaitGate(b *bedtest.Bed, n *testbed.Node) {
	b.T().Helper()
	b.WaitStatus(n, 10*time.Second, "gated", func(s testbed.Status) bool { return s.Keeper.CommitGate == "connected" })
}

func TestANodeWhoseWholeAgentIsFrozenAcknowledgesNothingPastItsLease(t *testing.T) {
	t.Parallel()
	b, old := gated(t, frozenTTL)
	agent := []testbed.Process{testbed.Supervisor, testbed.Worker, testbed.Guard, testbed.Gate}
	o := b.Observe()
	o.Fault()
	frozen := time.Now()
	for _, p := range agent {
		b.Must(old.Freeze(p))
	}
	next := b.Primary(3*frozenTTL, old)
	on := time.NewTimer(frozenTTL) // the old server goes on beside the new one
	<-on.C
	if got := b.Text(old, "select pg_is_in_recovery()"); got != "false" {
		t.Fatalf("pg_is_in_recovery is %q on the old primary: this proves nothing", got)
	}
	for _, p := range slices.Backward(agent) { // the gate thaws first, before who could stop the server
		b.Must(old.Thaw(p))
	}
	b.Healthy(30 * time.Second)
	o.Resumed(10 * time.Second)
	for _, i := range o.Watcher.Intervals() {
		// When a write was sent: an answer in time may have waited for this program to read it.
		if late := i.LastSent.Sub(frozen); i.Node == old.Name && i.From.Before(frozen) && late > frozenTTL {
			t.Errorf("%s acknowledged a write that was sent %v after it was frozen, its lease was %v", old.Name, late, frozenTTL)
		}
	}
	o.End(next, loseAtMost)
}

func TestAGatedClusterGoesOnWhateverHappensToItsAgents(t *testing.T) {
	t.Parallel()
	b, primary := gated(t, longTTL)
	b.Wait(10*time.Second, "list to show the gate", func(ctx) string { // by the key of the primary
		if r := b.Ctl("list"); !strings.Contains(r.Out, "Commit gate: on, connected") {
			return r.Out
		}
		return ""
	})
	b.WaitText(primary, "select count(*)::text from pg_stat_replication where application_name = current_setting('synchronous_standby_names')", "1")
	if s := status(b, primary); strings.Contains(fmt.Sprint(s), "pgkeeper_gate_") {
		t.Errorf("the gate is shown as a member: %v", s)
	}
	o := b.Observe()
	o.Fault()
	gate := pid(t, primary, testbed.Gate)
	b.Must(primary.Kill(testbed.Gate))
	b.Wait(10*time.Second, "another gate", func(ctx) string {
		if now, err := primary.PID(testbed.Gate); err != nil || now == gate {
			return "none"
		}
		return ""
	})
	awaitGate(b, primary)
	gate = pid(t, primary, testbed.Gate)
	worker := pid(t, primary, testbed.Worker)
	for _, hit := range []func() error{
		func() error { return primary.Kill(testbed.Worker) },
		func() error { return primary.Signal(testbed.Supervisor, unix.SIGUSR2) },
	} {
		b.Must(hit())
		b.Wait(15*time.Second, "another worker", func(ctx) string {
			if now, err := primary.PID(testbed.Worker); err != nil || now == worker {
				return "none"
			}
			return ""
		})
		b.Healthy(20 * time.Second)
		awaitGate(b, primary)
		worker = pid(t, primary, testbed.Worker)
	}
	if now := pid(t, primary, testbed.Gate); now != gate {
		t.Errorf("the gate is %d, want %d as before: no worker is needed for it", now, gate)
	}
	o.GapAtMost(unnoticed)
	o.NothingFailed()

	o.Fault()
	b.Must(primary.Kill(testbed.Postmaster)) // the next one has a gate of another name
	o.Interrupted(10 * time.Second)
	primary = b.Healthy(30 * time.Second)
	awaitGate(b, primary)
	o.GapAtMost(planned)

	o.Fault()
	b.Ctl("switchover", "--primary", primary.Name, "--force")
	next := b.Healthy(20 * time.Second)
	if next == primary {
		t.Fatalf("%s is primary still", next.Name)
	}
	o.Interrupted(5 * time.Second)
	awaitGate(b, next)
	o.GapAtMost(planned)

	o.Fault()
	b.Must(next.Kill(testbed.Guard)) // and its server dies with it
	o.Interrupted(20 * time.Second)
	last := b.Healthy(40 * time.Second)
	awaitGate(b, last)
	o.GapAtMost(longTTL - 5*time.Second)
	o.End(last, loseAtMost)
}

func TestTheCommitGateIsTurnedOnAndOffUnderLoad(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2})
	primary := b.Healthy(10 * time.Second)
	o := b.Observe()
	o.Fault()
	for _, on := range []bool{true, false, true} {
		b.Ctl("edit-config", "-s", fmt.Sprintf("commit_gate=%t", on), "--force")
		want := map[bool]string{true: "connected", false: ""}[on]
		b.WaitStatus(primary, 10*time.Second, "gated: "+want, func(s testbed.Status) bool { return s.Keeper.CommitGate == want })
		b.WaitText(primary, "select current_setting('synchronous_standby_names') like 'pgkeeper_gate_%'", fmt.Sprint(on))
		o.Resumed(5 * time.Second)
	}
	b.Refused("synchronous_standby_names", "edit-config", "-p", "synchronous_standby_names=pg2", "--force")
	o.GapAtMost(unnoticed)
	o.NothingFailed()
	o.End(primary, 0)
}

// durabilityChanges bounds how long a commit waits while the mode changes.
const durabilityChanges = unnoticed

// TestDurabilityIsChangedUnderLoad goes the ways between lease-gated commits, a quorum and
// neither while clients write: no commit may hang, and no row that was acknowledged may be
// lost, although the primary dies as soon as its quorum is in force for the second time.
func TestDurabilityIsChangedUnderLoad(t *testing.T) {
	t.Parallel()
	b, old := gated(t, 8*time.Second)
	o := b.Observe()
	for _, step := range []string{"quorum", "gate", "quorum"} {
		changeDurability(b, o, old, step)
	}
	o.NothingFailed()
	if again := b.Healthy(20 * time.Second); again != old {
		t.Errorf("the primary is %s, want %s still", again.Name, old.Name)
	}

	o.Fault()
	b.Must(old.KillAll())
	next := b.Primary(30*time.Second, old)
	o.Interrupted(20 * time.Second)
	b.Must(old.Start())
	b.Healthy(40 * time.Second)
	for _, step := range []string{"gate", "off"} {
		changeDurability(b, o, next, step)
	}
	b.Wait(10*time.Second, "the gate's process to end", func(context.Context) string {
		if _, err := next.PID(testbed.Gate); err == nil {
			return "it runs"
		}
		return ""
	})
	o.End(next, 0)
}

// changeDurability takes the cluster to another mode and returns when that is in force on
// the primary, and nothing is left of the one before.
func changeDurability(b *bedtest.Bed, o *bedtest.Observed, primary *testbed.Node, to string) {
	b.T().Helper()
	o.Fault()
	gate, mode := to == "gate", "off"
	if to == "quorum" {
		mode = to
	}
	b.Ctl("edit-config", "--force", "-s", fmt.Sprintf("commit_gate=%t", gate), "-s", "synchronous_mode="+mode)
	rest := b.Others(primary)
	switch to {
	case "quorum":
		names(b, primary, 15*time.Second, `ANY 1 ("`+rest[0].Name+`","`+rest[1].Name+`")`)
		b.WaitStatus(primary, 10*time.Second, "not gated", func(s testbed.Status) bool { return s.Keeper.CommitGate == "" })
	case "gate":
		awaitGate(b, primary)
	default:
		names(b, primary, 15*time.Second, "")
	}
	if to != "quorum" {
		b.Wait(15*time.Second, "the record of rules to go", func(context.Context) string { return b.Key("pgkeeper/durability") })
	}
	o.Resumed(5 * time.Second)
	b.T().Logf("to %s:", to)
	o.GapAtMost(durabilityChanges)
}
