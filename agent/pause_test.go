package agent

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// TestAPauseLiftsNoDeadlineOfAServerThatMayBegin: what a job does to the server is
// known at its end. A pause that came in the middle of a promotion lifted the deadline,
// and a server that was frozen then came out of it as a second primary.
func TestAPauseLiftsNoDeadlineOfAServerThatMayBegin(t *testing.T) {
	for kind, lifts := range map[election.JobKind]bool{
		election.JobNone: true, election.JobClone: true, election.JobRejoin: true,
		election.JobPromote: false, election.JobStart: false, election.JobRestart: false,
	} {
		r := newRig(t)
		r.primary()
		r.loop.obs.Guard.Writable = false // as the loop knows it
		r.loop.obs.Job.Kind = kind
		r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 4}
		told := find[GuardPause](r.see())
		if got := len(told) == 1 && told[0].On; got != lifts {
			t.Errorf("job %q: the guard was told %v, want it told of the pause: %t", kind, told, lifts)
		}
	}
}

// TestAPauseLiftsNoDeadlineOfAPromotionThatMayComeLate: a guard whose disk hangs carries it
// out when the worker has long given it up.
func TestAPauseLiftsNoDeadlineOfAPromotionThatMayComeLate(t *testing.T) {
	for _, late := range []bool{true, false} {
		r := newRig(t)
		r.primary()
		r.loop.obs.Guard.Writable = false // as the loop knows it
		r.loop.obs.Job.Kind = election.JobPromote
		r.step(JobDone{Kind: election.JobPromote, Err: "no answer", MayWrite: late})
		r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 4}
		told := find[GuardPause](r.see())
		if lifts := len(told) == 1 && told[0].On; lifts == late {
			t.Errorf("may write: %t, and the guard was told %v", late, told)
		}
	}
}

// TestAConfigurationRepointsNobodyInAPause: a member that hears of a pause and of another
// leader at once brought the configuration with the pause in it to its server, and had it
// follow that leader.
func TestAConfigurationRepointsNobodyInAPause(t *testing.T) {
	for host, reloads := range map[string]bool{"h2": true, "h3": false} {
		r := newRig(t)
		r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", PID: 9}}})
		r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 4}
		r.view.Leader = &cluster.Leader{Name: "pg2", LeaseID: 22, Term: 60}
		r.view.Members["pg2"] = cluster.Member{Name: "pg2", State: cluster.StateRunning, Role: cluster.RolePrimary, Timeline: 1, ConnURL: "postgres://h2:5432/postgres"}
		r.see()
		r.step(SessionOpened{LeaseID: 11, TTL: 5 * time.Second})
		r.loop.busy[LaneLook] = true
		effects := r.step(Looked{At: r.now, Instance: "i1", Node: cluster.NodeState{Mode: cluster.ModeStandby, Data: cluster.DataValid, SystemID: "sys", Timeline: 1,
			ReceiveLSN: 1000, ReplayLSN: 1000, ServerVersion: 150018, PrimaryConninfo: "host=" + host + " port=5432", PrimarySlotName: "pg1"}})
		if got := len(find[OnServer](effects)) == 1; got != reloads {
			t.Errorf("a standby of %s: the configuration is brought to it: %t, want %t", host, got, reloads)
		}
		if host == "h2" {
			continue
		}
		r.view.Config = &cluster.Config{Raw: []byte(`{}`), ModRevision: 5}
		if told := find[OnServer](r.see()); len(told) != 1 {
			t.Errorf("after the pause: %v, want the configuration brought to it", told)
		}
	}
}

// TestAPauseUndoesNoPromise: the last look may be older than what the server was told.
func TestAPauseUndoesNoPromise(t *testing.T) {
	r := newRig(t)
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", PID: 9}}})
	r.view.Leader = &cluster.Leader{Name: "pg2", LeaseID: 22, Term: 60}
	r.view.Members["pg2"] = cluster.Member{Name: "pg2", State: cluster.StateRunning, Role: cluster.RolePrimary, Timeline: 1, ConnURL: "postgres://h2:5432/postgres"}
	r.see()
	r.step(SessionOpened{LeaseID: 11, TTL: 5 * time.Second})
	look := func(conninfo string) []Effect {
		r.loop.busy[LaneLook] = true
		return r.step(Looked{At: r.now, Instance: "i1", Node: cluster.NodeState{Mode: cluster.ModeStandby, Data: cluster.DataValid, SystemID: "sys", Timeline: 1,
			ReceiveLSN: 1000, ReplayLSN: 1000, ServerVersion: 150018, PrimaryConninfo: conninfo, PrimarySlotName: "pg1"}})
	}
	look("host=h2 port=5432")
	r.step(ServerDone{Action: election.Reload{}, Instance: "i1"})
	r.pass(10 * time.Millisecond)
	r.step(ServerDone{Action: election.Promise{Term: 60}, Instance: "i1"})
	r.pass(time.Millisecond)
	r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 4}
	if told := find[OnServer](r.see()); len(told) != 0 {
		t.Errorf("%v by a look from before the promise, which emptied the upstream", told)
	}
	r.pass(time.Millisecond)
	if told := find[OnServer](look("")); len(told) != 0 {
		t.Errorf("%v although the server follows nobody", told)
	}
}

// TestAMarkThatIsTakenBackLiftsNothing: the request may arrive when the next pause has
// begun, so that this one needs a mark of its own.
func TestAMarkThatIsTakenBackLiftsNothing(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.PausedAt = &cluster.PausedPrimary{Name: "pg1", ModRevision: 62}
	if asked := puts[election.PutPausedPrimary](r.see()); len(asked) != 1 || asked[0].Revision != 62 {
		t.Fatalf("%v: the mark of a pause that is over is taken back", asked)
	}
	r.step(KeysDone{Action: election.PutPausedPrimary{Revision: 62}, Err: "no answer"})
	r.pass(keysPause)
	r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 70}
	if asked := puts[election.PutPausedPrimary](r.see()); len(asked) != 1 || asked[0].Name != "pg1" {
		t.Errorf("%v: the next pause puts it anew", asked)
	}
	if election.DeadlineLifted(&r.loop.obs) {
		t.Error("the deadline is lifted by the mark that may go")
	}
	r.view.PausedAt = &cluster.PausedPrimary{Name: "pg1", ModRevision: 71}
	if r.see(); !election.DeadlineLifted(&r.loop.obs) {
		t.Error("nor by its own")
	}
}

// puts are what the effects write to the store, of one kind.
func puts[A election.Action](effects []Effect) (all []A) {
	for _, k := range find[OnKeys](effects) {
		if a, ok := k.Action.(A); ok {
			all = append(all, a)
		}
	}
	return all
}

// TestAPauseThatTheGuardMayStillHearOfIsEndedFirst: the answer to the word that lifts the
// deadline was lost, the pause is over, and the word may yet be carried out.
func TestAPauseThatTheGuardMayStillHearOfIsEndedFirst(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 70}
	r.view.PausedAt = &cluster.PausedPrimary{Name: "pg1", ModRevision: 71}
	if told := find[GuardPause](r.see()); len(told) != 1 || !told[0].On {
		t.Fatalf("%v: the guard is told of the pause", told)
	}
	r.step(GuardPaused{On: true, Err: "no answer"})
	r.pass(keysPause)
	r.view.Config = &cluster.Config{Raw: []byte(`{"pause":false}`), ModRevision: 72}
	effects := r.see()
	if told := find[GuardPause](effects); len(told) != 1 || told[0].On {
		t.Errorf("%v: it must be told that the pause is over", told)
	}
	if asked := puts[election.PutPausedPrimary](effects); len(asked) != 0 {
		t.Errorf("%v: the mark is taken back while its deadline may yet be lifted", asked)
	}
	effects = r.step(GuardPaused{On: false})
	if asked := puts[election.PutPausedPrimary](append(effects, r.see()...)); len(asked) == 0 {
		t.Error("the mark stays for ever")
	}
}

// TestAMarkOfBeforeThisWorkerLiftsNothing: the worker before may have asked the store to take
// it back when its pause was over, and that request may arrive in the next one. A guard whose
// deadline it had lifted is in the same pause still.
func TestAMarkOfBeforeThisWorkerLiftsNothing(t *testing.T) {
	for _, lifted := range []bool{false, true} {
		r := newRig(t)
		if lifted {
			r.step(GuardUp{guard.Status{Paused: true, Server: &guard.Server{Instance: "i1", Writable: true, PID: 9}}})
		}
		r.primary()
		r.view.PausedAt = &cluster.PausedPrimary{Name: "pg1", ModRevision: 58}
		r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 70}
		effects := r.see()
		if got := election.DeadlineLifted(&r.loop.obs); got != lifted {
			t.Errorf("a guard that was found paused: %t; the mark of before lifts its deadline: %t", lifted, got)
		}
		if asked := puts[election.PutPausedPrimary](effects); (len(asked) == 0) != lifted {
			t.Errorf("a guard that was found paused: %t; marks: %v", lifted, asked)
		}
		r.step(KeysDone{Action: election.PutPausedPrimary{Name: "pg1"}})
		r.view.PausedAt = &cluster.PausedPrimary{Name: "pg1", ModRevision: 71}
		r.see()
		if !election.DeadlineLifted(&r.loop.obs) {
			t.Errorf("a guard that was found paused: %t; the mark of this pause does not lift its deadline", lifted)
		}
	}
}
