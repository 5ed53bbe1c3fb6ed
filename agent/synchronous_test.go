package agent

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// TestAPromiseIsToldOnceItIsOnDisk: a reboot must not forget what others have counted
// on, and a memory that is just being written does not have it yet.
func TestAPromiseIsToldOnceItIsOnDisk(t *testing.T) {
	r := newRig(t)
	r.primary()
	promise := ServerDone{Action: election.Promise{Term: 70}, Instance: "i1"}
	r.loop.busy[LanePersist] = true // another memory, written since before
	if e := find[Persist](r.step(promise)); len(e) != 0 || r.loop.obs.Self.Promised != 0 {
		t.Fatalf("%v, promised %d; want to wait for the memory that is being written", e, r.loop.obs.Self.Promised)
	}
	e := find[Persist](r.step(persisted{Memory: Memory{Revision: 60}}))
	if len(e) != 1 || e[0].Promised != 70 || r.loop.obs.Self.Promised != 0 {
		t.Fatalf("%v, promised %d; want the promise written and not told yet", e, r.loop.obs.Self.Promised)
	}
	r.step(persisted{Memory: Memory(e[0]), Err: "no space left on device"})
	if r.loop.obs.Self.Promised != 0 {
		t.Error("a promise that is not on disk was told")
	}
	r.step(persisted{Memory: Memory(e[0])})
	if r.loop.obs.Self.Promised != 70 || r.loop.obs.Node.Good() {
		t.Errorf("promised %d, and the look before it still counts: %t", r.loop.obs.Self.Promised, r.loop.obs.Node.Good())
	}
	r.view.Leader = &cluster.Leader{Name: "pg2", Term: 90}
	r.view.Revision = 700 // which has the memory written again
	if e := find[Persist](r.see()); len(e) != 1 || e[0].Promised != 70 {
		t.Errorf("%v: the promise is forgotten", e)
	}
}

// TestAPromiseBindsBeforeItIsOnDisk: what is followed while it is being written would still
// be about to be followed when it is told. One that could not be written binds nobody.
func TestAPromiseBindsBeforeItIsOnDisk(t *testing.T) {
	r := newRig(t)
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", PID: 9}}})
	r.view.Leader = &cluster.Leader{Name: "pg2", LeaseID: 22, Term: 60}
	r.view.Members["pg2"] = cluster.Member{Name: "pg2", State: cluster.StateRunning, Role: cluster.RolePrimary, Timeline: 1, ConnURL: "postgres://h2:5432/postgres"}
	r.see()
	r.settle()
	look := func() cluster.Reason {
		r.pass(10 * time.Millisecond)
		r.loop.busy[LaneLook] = true
		r.step(Looked{At: r.now, Instance: "i1", Node: cluster.NodeState{Mode: cluster.ModeStandby, Data: cluster.DataValid, SystemID: "sys", Timeline: 1,
			ReceiveLSN: 1000, ReplayLSN: 1000, ServerVersion: 150018}})
		return r.loop.decision.Reason
	}
	written := find[Persist](r.step(ServerDone{Action: election.Promise{Term: 60}, Instance: "i1"}))
	if len(written) != 1 || written[0].Promised != 60 {
		t.Fatalf("%v, want the promise written", written)
	}
	if got := look(); got != election.ReasonPromisedAway {
		t.Errorf("reason %s; want nobody followed whose term is being revoked", got)
	}
	r.step(persisted{Memory: Memory(written[0]), Err: "no space left on device"})
	if got := look(); got != election.ReasonRepointing || r.loop.seen.Promised != 0 {
		t.Errorf("reason %s, to be written: %d; want pg2 followed, for nobody was promised anything", got, r.loop.seen.Promised)
	}
}

// TestARuleIsProvedOfOneServer: what was found out about a server that is gone says
// nothing about the next, and one that recovered shows nothing before its standbys have
// it.
func TestARuleIsProvedOfOneServer(t *testing.T) {
	r := newRig(t)
	r.view.Durability = waitsForPG2()
	r.primary()
	done := ServerDone{Action: election.SetSync{Names: `ANY 1 ("pg2")`}, Instance: "i1", From: 900}
	r.step(done)
	if got := r.loop.obs.Sync; got.Instance != "i1" || got.Names != `ANY 1 ("pg2")` || got.From != 900 {
		t.Fatalf("%+v", got)
	}
	r.step(ServerStarted{Server: guard.Server{Instance: "i2", Writable: true, PID: 10}})
	if got := r.loop.obs.Sync; got.Instance != "" || !got.Recovered {
		t.Errorf("of a new server it is known already: %+v", got)
	}
	r.step(done)
	if got := r.loop.obs.Sync; got.Instance != "" {
		t.Errorf("an answer about the last server is believed of this one: %+v", got)
	}
}

// TestWhatIsToldToAServerThatIsGoneEnds: nobody is promoted while names are told, which may
// hang for all of its time with a server that has exited.
func TestWhatIsToldToAServerThatIsGoneEnds(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.settle()
	if begun := find[OnServer](r.loop.onServer(election.SetSync{Names: `ANY 1 ("pg2")`}, nil)); len(begun) != 1 {
		t.Fatalf("%+v", begun)
	}
	ends := func(effects []Effect) (n int) {
		for _, e := range effects {
			if _, is := e.Do.(Cancel); is && e.Lane == LaneServer {
				n++
			}
		}
		return n
	}
	if n := ends(r.see()); n != 0 {
		t.Error("ended while its server lives")
	}
	if n := ends(r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i1"}})); n != 1 {
		t.Errorf("ended %d times with its server, want once", n)
	}
	r.step(ServerStarted{Server: guard.Server{Instance: "i2", PID: 10}})
	r.step(ServerDone{Action: election.SetSync{Names: `ANY 1 ("pg2")`}, Instance: "i1", Err: "context canceled"})
	if n := ends(r.see()); n != 0 || r.loop.server.naming != "" {
		t.Error("what has ended is ended again")
	}
	if n := len(r.loop.onServer(election.Promise{Term: 60}, nil)); n != 1 {
		t.Error("the next server pays for it")
	}
}

// TestAPromiseIsOfTheServerThatKeepsIt: the receiver of the next server may run.
func TestAPromiseIsOfTheServerThatKeepsIt(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.step(ServerStarted{Server: guard.Server{Instance: "i2", PID: 10}})
	if e := find[Persist](r.step(ServerDone{Action: election.Promise{Term: 70}, Instance: "i1"})); len(e) != 0 && e[0].Promised != 0 || r.loop.obs.Self.Promising != 0 {
		t.Errorf("%v: promised for a server that is gone", e)
	}
	r.step(ServerDone{Action: election.Promise{Term: 70}, Instance: "i2"})
	if r.loop.obs.Self.Promising != 70 {
		t.Error("its own promise does not count")
	}
}

func waitsForPG2() *cluster.Durability {
	return &cluster.Durability{Mode: cluster.SyncQuorum, Rules: []cluster.Rule{{Primary: "pg1", Voters: []string{"pg2"}, Need: 1}}}
}

// TestARecoveredPrimaryIsUnconfirmed: until its standbys have what the recovery from a crash
// made visible, whether the server was started anew, or recovered from the crash of a
// process by itself, and whichever worker looks.
func TestARecoveredPrimaryIsUnconfirmed(t *testing.T) {
	const names = `ANY 1 ("pg2")`
	quorum := func(t *testing.T, memory Memory) *rig {
		r := newRig(t)
		r.loop.seen, r.loop.server.unconfirmed = memory, memory.Unconfirmed
		r.view.Durability = waitsForPG2()
		r.primary()
		r.loop.config.settings.SynchronousMode = cluster.SyncQuorum
		return r
	}
	look := func(r *rig, checkpointer int, flushed cluster.LSN) []Effect {
		return r.step(Looked{At: r.now, Instance: r.loop.instance(), Node: cluster.NodeState{Mode: cluster.ModePrimary, Data: cluster.DataValid, CheckpointerPID: checkpointer,
			Walsenders: []cluster.Walsender{{Name: "pg2", State: "streaming", Flush: flushed}}}})
	}
	unconfirmed := func(r *rig) bool { return election.Unconfirmed(&r.loop.obs) }

	r := quorum(t, Memory{ClusterID: 7, Revision: 50, Term: 60})
	look(r, 11, 0)
	if look(r, 11, 0); unconfirmed(r) {
		t.Fatal("nothing has happened")
	}
	effects := look(r, 12, 0)
	if !unconfirmed(r) {
		t.Fatal("another checkpointer under the same postmaster: it has recovered")
	}
	p := find[Persist](effects)
	if len(p) != 1 || p[0].Unconfirmed != r.loop.instance() {
		t.Fatalf("%+v: the next worker is not told", p)
	}

	next := quorum(t, Memory(p[0]))
	if look(next, 12, 0); !unconfirmed(next) {
		t.Error("the next worker does not know")
	}
	next.step(ServerDone{Action: election.SetSync{Names: names}, Instance: next.loop.instance(), From: 900})
	next.loop.obs.Sync.Begun = names
	if look(next, 12, 899); !unconfirmed(next) {
		t.Error("the standby does not have it yet")
	}
	effects = look(next, 12, 900)
	if p := find[Persist](effects); unconfirmed(next) || len(p) != 1 || p[0].Unconfirmed != "" {
		t.Errorf("unconfirmed: %t, persists %+v: it is confirmed, and the worker after next is not told", unconfirmed(next), p)
	}

	r.view.Durability = nil
	if r.see(); r.loop.obs.Sync.Recovered {
		t.Error("commits wait for nobody: nothing is to be confirmed")
	}
}

// TestARecordOfRulesIsPutOnce: until the view shows it, what was decided on the view
// before would be put a second time.
func TestARecordOfRulesIsPutOnce(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.config.settings.SynchronousMode = cluster.SyncQuorum
	puts := func(effects []Effect) (n int) {
		for _, k := range find[OnKeys](effects) {
			if _, ok := k.Action.(election.PutDurability); ok {
				n++
			}
		}
		return n
	}
	effects := r.see()
	if puts(effects) != 1 {
		t.Fatalf("%+v, want the record put", effects)
	}
	r.step(KeysDone{Action: find[OnKeys](effects)[0].Action, Revision: 75})
	if n := puts(r.look(cluster.ModePrimary)); n != 0 {
		t.Errorf("put %d times more, before the view could show it", n)
	}
	r.settle()
	r.view.Revision = 74 // and 75 with the next
	if n := puts(r.see()); n != 1 {
		t.Errorf("put %d times, want once: the view of that revision shows none", n)
	}
}

// TestAWriteNamesWhatItReplaces: it fails when something else stands there by the time it
// arrives.
func TestAWriteNamesWhatItReplaces(t *testing.T) {
	r := newRig(t)
	r.primary()
	v := &r.loop.obs.View.Value
	for _, c := range []struct {
		action election.Action
		there  func()
		want   int64
	}{
		{election.PutDurability{}, func() { v.Durability = nil }, 0},
		{election.PutDurability{}, func() { v.Durability = &cluster.Durability{ModRevision: 7} }, 7},
		{election.PutFailsafe{}, func() { v.FailsafeRev = 8 }, 8},
		{election.PutSwitchover{}, func() { v.Switchover = nil }, 0},
		{election.PutSwitchover{}, func() { v.Switchover = &cluster.Switchover{ModRevision: 9} }, 9},
		{election.DeleteSwitchover{}, func() {}, 9},
	} {
		c.there()
		if over, replaces := r.loop.over(c.action); over != c.want || !replaces {
			t.Errorf("%T replaces revision %d, %t; want %d", c.action, over, replaces, c.want)
		}
	}
	if _, replaces := r.loop.over(election.PutStatus{}); replaces {
		t.Error("a status replaces nothing: the next comes anyway")
	}
}

// TestACheckpointHoldsNothingUp: it takes minutes on a large server; a promise that an
// election waits for, and whom commits wait for, do not.
func TestACheckpointHoldsNothingUp(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.settle()
	r.loop.obs.Self.Checkpointed = false
	checkpoints := func(effects []Effect) (n int) {
		for _, d := range find[OnServer](effects) {
			if _, is := d.Action.(election.Checkpoint); is {
				n++
			}
		}
		return n
	}
	if got := checkpoints(r.look(cluster.ModePrimary)); got != 1 {
		t.Fatalf("%d checkpoints begin, want one", got)
	}
	for _, a := range []election.Action{election.Promise{Term: 60}, election.SetSync{Names: `ANY 1 ("pg2")`}, election.EnsureSlots{}} {
		if got := find[OnServer](r.loop.onServer(a, nil)); len(got) != 1 {
			t.Errorf("%T waits for the checkpoint", a)
		}
		r.loop.fold(clock.Reading{Boot: r.now}, ServerDone{Action: a, Instance: "i1", Err: "it broke"})
		r.loop.server.retryAt = 0
	}
	if got := checkpoints(r.look(cluster.ModePrimary)); got != 0 {
		t.Errorf("%d checkpoints begin beside the first", got)
	}
	r.step(ServerDone{Action: election.Checkpoint{}, Instance: "i1", Err: "it broke"})
	if got := find[OnServer](r.loop.onServer(election.Promise{Term: 60}, nil)); len(got) != 1 {
		t.Error("a promise waits for the next try of a checkpoint that has failed")
	}
	if got := checkpoints(r.loop.onServer(election.Checkpoint{}, nil)); got != 0 {
		t.Error("a checkpoint that has failed is tried again at once")
	}
	r.pass(serverPause)
	if got := checkpoints(r.look(cluster.ModePrimary)); got != 1 {
		t.Errorf("%d checkpoints begin after the pause, want one", got)
	}
	r.step(ServerDone{Action: election.Checkpoint{}, Instance: "i1"})
	if !r.loop.obs.Self.Checkpointed || r.loop.busy[LaneCheckpoint] {
		t.Error("its end is not noted")
	}
}
