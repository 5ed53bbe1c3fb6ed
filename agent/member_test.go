package agent

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// Found by the simulator (seed 1613): the ttl was changed while a write of the
// member key was under way over a slow connection.
func TestAMemberKeyOnAnEarlierLeaseIsWrittenAgain(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneMember] = true
	r.loop.member.sent = &cluster.Member{State: "under way"}
	r.step(SessionOpened{LeaseID: 12, TTL: 5 * time.Second}) // the lease of another length
	r.loop.member.sent = &cluster.Member{State: "under way"}
	if puts := find[PutMember](r.step(MemberPut{Lease: 11})); len(puts) != 1 {
		t.Errorf("the key lies on the lease that was given up; it is written %d times, want once", len(puts))
	}
}

func TestAMemberKeyThatALateWriteMovedIsWrittenAgain(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Members = map[string]cluster.Member{"pg1": {LeaseID: 11}}
	r.see()
	r.pass(time.Second)
	r.view.Members = map[string]cluster.Member{"pg1": {LeaseID: 7}}
	if puts := find[PutMember](r.see()); len(puts) != 1 {
		t.Errorf("the key lies on lease 7, which nobody keeps; it is written %d times, want once", len(puts))
	}
}

// Found by the simulator (seed 229719467643444): a write of the member key came 14 s
// late, and the promise that the key had had since was gone with it.
func TestAMemberKeyThatLostItsPromiseIsWrittenAgain(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.member.wrote.Keeper.Promised, r.loop.obs.Self.Promised = 40, 40
	r.view.Members = map[string]cluster.Member{"pg1": {LeaseID: 11, Keeper: &cluster.MemberKeeper{Promised: 40}}}
	r.see()
	r.pass(time.Second)
	r.view.Members = map[string]cluster.Member{"pg1": {LeaseID: 11, Keeper: &cluster.MemberKeeper{}}}
	if puts := find[PutMember](r.see()); len(puts) != 1 || puts[0].Member.Keeper.Promised != 40 {
		t.Errorf("the promise is not in the key any more; it is written %d times, want once", len(puts))
	}
}

// Found by the simulator (seed 1613): the leader key was inherited on the old lease
// while one of another length was granted; the member key vanished with the new one.
func TestNoLeaseIsTakenWhileAnotherSessionIsOpened(t *testing.T) {
	r := newRig(t)
	r.step(GuardUp{guard.Status{}})
	r.view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 11, Term: 60}
	r.view.Holder = &cluster.Holder{Name: "pg1", Node: "node1", BootID: "boot"}
	r.view.Beat = &cluster.Beat{TTL: 5000, Term: 60, ModRevision: 60}
	r.view.Revision = 59
	r.see()
	r.step(SessionOpened{LeaseID: 11, TTL: 7 * time.Second}) // not the length that is configured
	r.pass(time.Second)
	r.step(Tick{})
	if !r.loop.session.opening {
		t.Fatal("setup: no session is being opened")
	}
	r.pass(time.Second)
	if calls := leaseActions(r.look(cluster.ModeStandby)); len(calls) != 0 {
		t.Errorf("started %v on a session that is being replaced", calls)
	}
}

// Found by the simulator (seed 19044): the term was lost while the call that moves
// it to a lease of another length was under way, and a session was opened beside it.
func TestNoSessionIsOpenedWhileACallMayBringOne(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Config = &cluster.Config{Raw: []byte(`{"ttl":10}`), ModRevision: 4}
	if calls := leaseActions(r.see()); len(calls) != 1 {
		t.Fatalf("setup: %v under way, want the regrant", calls)
	}
	r.pass(5 * time.Second) // the deadline passes
	if opened := find[OpenSession](r.step(Tick{})); len(opened) != 0 || r.loop.obs.Lease.Term != 0 {
		t.Errorf("%d sessions are opened beside a regrant under way, of term %d", len(opened), r.loop.obs.Lease.Term)
	}
}

func TestAFailedBootstrapShowsInTheMemberKey(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.obs.Node.Value.Mode = cluster.ModeStopped
	r.loop.obs.Job = election.Job{Last: election.JobInitDB, LastErr: "bootstrap.post_bootstrap: exit status 3"}
	if got := r.loop.state(); got != cluster.StateInitFailed {
		t.Errorf("the state is %q, want %q", got, cluster.StateInitFailed)
	}
	r.loop.obs.Job.Last = election.JobNone // the claim is given up
	if got := r.loop.state(); got != cluster.StateInitFailed {
		t.Errorf("without its claim the state is %q, want %q", got, cluster.StateInitFailed)
	}
	r.loop.obs.Job.LastErr = ""
	if got := r.loop.state(); got != cluster.StateStopped {
		t.Errorf("after a good one the state is %q, want %q", got, cluster.StateStopped)
	}
}
