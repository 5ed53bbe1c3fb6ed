package agent

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// TestTheServerOfAJobIsNotAdopted: a guard that comes in the middle of a post_bootstrap
// script finds its server in the data directory, and no cluster knows that server.
func TestTheServerOfAJobIsNotAdopted(t *testing.T) {
	t.Parallel()
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	dir := t.TempDir()
	link := newGuardLink(dir, dir, "test", func(Event) {}, func() time.Duration { return time.Second }, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		name      string
		pid, want int
	}{
		{"a child of this worker", child.Process.Pid, 0},
		{"a server somebody else started", os.Getppid(), os.Getppid()},
	} {
		if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), fmt.Appendf(nil, "%d\n%s\n", c.pid, dir), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := link.postmaster([]int{c.pid}); got != c.want {
			t.Errorf("%s: the server to adopt is process %d, want %d", c.name, got, c.want)
		}
	}
}

// TestAServerPromotedPastTheGuardIsMadeKnownToIt: by hand in a pause, for example. It is renewed from then on, and not before.
func TestAServerPromotedPastTheGuardIsMadeKnownToIt(t *testing.T) {
	r := newRig(t)
	r.primary()
	server := guard.Server{Instance: "i1", PID: 9}
	r.step(GuardUp{guard.Status{Server: &server, Armed: true, Deadline: time.Duration(r.now.Add(4 * time.Second)), Term: int64(r.loop.obs.Lease.Term)}})
	r.loop.busy[LaneLook] = true
	node := cluster.NodeState{Mode: cluster.ModePrimary, Data: cluster.DataValid, SystemID: "sys", Timeline: 1, ServerVersion: 150018}
	look := func() []Effect {
		r.pass(time.Second)
		r.loop.busy[LaneLook] = true
		return r.step(Looked{At: r.now, Node: node, Instance: "i1"})
	}
	effects := look()
	if told := find[GuardWrites](effects); len(told) != 1 || told[0].Instance != "i1" {
		t.Fatalf("the guard is told %v", told)
	}
	if renewed := leaseActions(effects); len(renewed) != 0 {
		t.Errorf("%v for a server that nobody would stop", renewed)
	}
	r.step(GuardKnows{"i1", "no session"})
	if told := find[GuardWrites](look()); len(told) != 1 {
		t.Errorf("after a failure the guard is told %d times", len(told))
	}
	effects = append(r.step(GuardKnows{Instance: "i1"}), look()...)
	if len(find[GuardWrites](effects)) != 0 || !slices.Contains(leaseActions(effects), election.Action(election.Renew{})) {
		t.Errorf("now that it knows, the loop decides %s and does %v", r.loop.decision.Reason, effects)
	}
}
