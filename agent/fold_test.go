package agent

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

func TestAStoreSetBackIsNotBelieved(t *testing.T) {
	for name, change := range map[string]func(*cluster.View){
		"lower revision":        func(v *cluster.View) { v.Revision = 40 },
		"leader term goes back": func(v *cluster.View) { v.Leader = &cluster.Leader{Name: "pg2", Term: 44} },
		"another etcd cluster":  func(v *cluster.View) { v.ClusterID = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.loop.seen = Memory{ClusterID: 7, Revision: 45, Term: 45}
			change(&r.view)
			r.step(ViewSeen{View: r.view})
			if r.loop.obs.View.Good() {
				t.Error("a restored etcd was believed (S4)")
			}
		})
	}
}

// TestAStoreIsNotBelievedThatKnowsLessThanItHasTold: what is on disk lags behind by up to persistEvery.
func TestAStoreIsNotBelievedThatKnowsLessThanItHasTold(t *testing.T) {
	r := newRig(t)
	r.view.Revision = 300
	r.see()
	r.loop.reads.busy = true
	r.view.Revision -= 100
	r.step(ViewSeen{View: r.view, Read: r.now})
	if o := &r.loop.obs; o.View.Good() || !o.Refused {
		t.Errorf("a store at revision %d is believed after one at 301", r.view.Revision)
	}
	if r.loop.reads.busy {
		t.Error("the read is still waited for")
	}
	r.view.Revision = 301
	r.see()
	if !r.loop.obs.View.Good() {
		t.Error("one that knows all of it is not")
	}
}

// TestASilenceIsReadAndSoIsWhatARefusalDoesNotExplain: once, until the read has ended.
func TestASilenceIsReadAndSoIsWhatARefusalDoesNotExplain(t *testing.T) {
	r := watchRig(t)
	reads := func(effects []Effect) int { return len(find[ReadStore](effects)) }
	r.pass(r.loop.obs.Settings.TTL)
	if n := reads(r.step(Tick{})); n != 1 {
		t.Fatalf("%d reads of a leader silent for T", n)
	}
	r.pass(10 * time.Millisecond)
	if n := reads(r.step(Tick{})); n != 0 || election.Vacant(&r.loop.obs) {
		t.Errorf("%d more while it is under way; vacant before it has ended: %t", n, election.Vacant(&r.loop.obs))
	}
	r.step(ViewSeen{View: r.view, Read: r.now}) // nothing but the read is new
	if !election.Vacant(&r.loop.obs) {
		t.Error("the read says that the beat stands still, and the lease is not vacant")
	}
	r.loop.busy[LaneLease] = true
	if n := reads(r.step(LeaseDone{Action: election.Acquire{}, At: r.now, Outcome: Refused, Err: "compared"})); n != 1 {
		t.Errorf("%d reads after a comparison failed", n)
	}
	r.step(ViewFailed{"no answer"})
	if r.loop.reads.busy {
		t.Error("a read that failed is waited for")
	}
}

func TestTheHighestTermIsPersistedWhenItIsSeen(t *testing.T) {
	r := newRig(t)
	r.view.Leader = &cluster.Leader{Name: "pg2", Term: 51}
	effects := r.see()
	if p := find[Persist](effects); len(p) != 1 || p[0].Term != 51 || p[0].ClusterID != 7 {
		t.Fatalf("got %+v, want term 51 persisted", p)
	}
	r.step(persisted{})
	if p := find[Persist](r.see()); len(p) != 0 {
		t.Errorf("a view with nothing new was persisted: %+v", p)
	}
}

func TestALookAtAServerThatWasReplacedMeanwhileCountsForNothing(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneLook] = true
	r.step(Looked{At: r.now, Instance: "older", Node: cluster.NodeState{Mode: cluster.ModeStandby}})
	if got := r.loop.obs.Node.Value.Mode; got != cluster.ModePrimary {
		t.Errorf("mode %s, want the look at the present server kept", got)
	}
}

func TestALookThatBeganBeforeAJobEndedCountsForNothing(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneLook] = true
	began := r.now
	r.pass(2 * time.Millisecond)
	r.step(JobDone{Kind: election.JobPromote})
	effects := r.step(Looked{At: began, Instance: "i1", Fast: true, Node: cluster.NodeState{Mode: cluster.ModeStandby, Timeline: 2}})
	if node := r.loop.obs.Node; node.Good() || node.Value.Mode != cluster.ModePrimary {
		t.Errorf("good %t, mode %s; want the old look refused and another awaited", node.Good(), node.Value.Mode)
	}
	if len(find[Look](effects)) != 1 {
		t.Error("no other look was begun")
	}
}

func TestClientsAreSentToAPromotedServerBeforeAWholeLook(t *testing.T) {
	for instance, want := range map[string]bool{"i1": true, "i0": false} {
		r := newRig(t)
		r.primary()
		r.seesStandby()
		r.loop.busy[LaneJob], r.loop.obs.Job = true, election.Job{Kind: election.JobPromote, Since: r.now}
		r.loop.busy[LaneMember] = false
		r.pass(2 * time.Millisecond)
		effects := r.step(JobDone{Kind: election.JobPromote, Saw: &Looked{At: r.now, Instance: instance, Fast: true, Node: cluster.NodeState{Mode: cluster.ModePrimary, Timeline: 2, WriteLSN: 1000}}})
		if got := r.loop.Status(0); got.Writable(r.now) != want {
			t.Errorf("seen by the promotion of %s: writable %t, want %t", instance, got.Writable(r.now), want)
		}
		puts := find[PutMember](effects)
		if want && (len(puts) != 1 || puts[0].Member.Role != cluster.RolePrimary || puts[0].Member.Timeline != 2) {
			t.Errorf("publishes %+v, want the primary on timeline 2", puts)
		}
		if looks := find[Look](effects); len(looks) != 1 || looks[0].Fast || len(find[OnServer](effects))+len(find[OnKeys](effects)) != 0 {
			t.Errorf("does %+v, want a whole look and nothing before it", effects)
		}
	}
}

func TestAServerThatRanBeforeIsNotStoppedBeforeItWasLookedAt(t *testing.T) {
	r := newRig(t)
	r.see()
	r.step(SessionOpened{LeaseID: 11, TTL: 5 * time.Second})
	effects := r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "adopted", Writable: true, PID: 9}}})
	if jobs := find[OnJob](append(effects, r.step(Tick{})...)); len(jobs) != 0 {
		t.Errorf("before a look at the running server: %+v, want nothing", jobs)
	}
	r.loop.busy[LaneLook] = true
	if jobs := find[OnJob](r.step(Looked{At: r.now, Instance: "adopted", Err: "no answer"})); len(jobs) != 1 {
		t.Errorf("after a look that failed: %+v, want the server stopped", jobs)
	}
}

func TestAFailedLookKeepsTheLastOneAndIsNotGood(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneLook] = true
	r.step(Looked{At: r.now, Instance: "i1", Err: "no answer"})
	node := r.loop.obs.Node
	if node.Good() || node.Value.Mode != cluster.ModePrimary {
		t.Errorf("good %t, mode %s; want the last value kept and not good", node.Good(), node.Value.Mode)
	}
	if r.loop.Status(0).Writable(r.now) {
		t.Error("/primary answers 200 although the server was not seen")
	}
}

func TestAFrozenGuardIsFencedBesideAJobThatWaitsForIt(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Requests = []cluster.Request{{ID: "x", Member: "pg1", Kind: cluster.RequestRestart}}
	if jobs := find[OnJob](r.see()); len(jobs) != 1 {
		t.Fatal("setup: no restart was started")
	}
	effects := r.step(GuardFrozen{})
	if len(find[OnFence](effects)) != 1 || len(find[Cancel](effects)) != 1 {
		t.Fatalf("got %+v, want the fence at once and the job ended", effects)
	}
	if again := find[OnFence](r.step(Tick{})); len(again) != 0 {
		t.Error("a second fence was started beside the first")
	}
	r.step(FenceDone{Err: "a process is left"})
	r.pass(time.Second)
	if again := find[OnFence](r.step(Tick{})); len(again) != 1 {
		t.Error("a fence that failed was not tried again")
	}
}

// TestNoWorkBeginsBesideAFence: a worker that thaws past its deadline fences first, and
// hears from its guard meanwhile that the server is gone. To rejoin at once would put
// processes into the data directory that the fence takes for what its guard has left, for
// which it kills the guard, and then them, in the middle of a rewind.
func TestNoWorkBeginsBesideAFence(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.pass(3 * 5 * time.Second)
	effects := r.step(Tick{})
	for range 3 {
		r.pass(time.Millisecond)
		effects = append(effects, r.step(Tick{})...)
	}
	if len(find[OnFence](effects)) != 1 {
		t.Fatalf("setup: past the deadline %+v, want a fence", effects)
	}
	r.view.Leader = &cluster.Leader{Name: "pg2", LeaseID: 12, Term: 70}
	r.view.Holder = &cluster.Holder{Name: "pg2", Node: "node2", Instance: "i2", BootID: "boot"}
	r.view.Beat = &cluster.Beat{TTL: 5000, Term: 70, ModRevision: 71}
	r.view.Members["pg2"] = cluster.Member{Name: "pg2", ConnURL: "postgres://h2:5432/postgres", State: "running", Role: "primary", Timeline: 2, Keeper: &cluster.MemberKeeper{}}
	r.view.Revision = 75
	r.see()
	if e := r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i1"}}); len(find[OnJob](append(e, r.look(cluster.ModeStopped)...))) != 0 {
		t.Error("a job was started beside the fence")
	}
	if r.loop.decision.Reason != election.ReasonRejoining {
		t.Fatalf("setup: decided %+v, want to rejoin", r.loop.decision)
	}
	r.step(FenceDone{})
	r.pass(time.Millisecond)
	if jobs := find[OnJob](r.look(cluster.ModeStopped)); len(jobs) != 1 {
		t.Errorf("after the fence %+v, want the rejoin", jobs)
	}
}

func TestAGuardThatHangsIsKnownWithinHalfOfTheLease(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second} {
		every, patience := rhythm(ttl)
		if known := 3*every + patience; known > ttl/2 || every <= 0 || patience < 0 {
			t.Errorf("ttl %s: asked every %s, known after %s; want at most half of the ttl", ttl, every, known)
		}
	}
}

func TestTheExitOfTheServerIsSeenAtOnce(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.pass(2 * time.Millisecond)
	effects := r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i1"}})
	if r.loop.obs.Node.Good() || r.loop.obs.Guard.Running {
		t.Error("the last look still counts after the server exited")
	}
	if looks := find[Look](effects); len(looks) != 1 || looks[0].Running {
		t.Errorf("got %+v, want a look at the directory at once", effects)
	}
}

func TestAStartThatTheGuardAlreadySaidIsOverIsNotBelieved(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i2"}})
	r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i1"}})
	r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i2"}})
	r.step(ServerStarted{guard.Server{Instance: "i2", Writable: true}})
	if r.loop.obs.Guard.Running {
		t.Error("a server that has exited counts as running")
	}
}

func TestABadStoredConfigurationKeepsTheLastGoodOne(t *testing.T) {
	r := newRig(t)
	r.view.Config = &cluster.Config{Raw: json.RawMessage(`{"ttl":9}`), ModRevision: 10}
	r.see()
	r.view.Config = &cluster.Config{Raw: json.RawMessage(`{"bad":true}`), ModRevision: 11}
	r.see()
	s := r.loop.Status(0)
	if s.ConfigError == "" || r.loop.config.settings.TTL != 9*time.Second {
		t.Errorf("error %q, ttl %s; want the error named and 9 s kept", s.ConfigError, r.loop.config.settings.TTL)
	}
}

// TestAWorkerThatStartsBesideABadConfigurationGoesByTheRestOfIt: what its predecessor had
// in force is in there, a synchronous mode for one, and not in what the cluster began with.
func TestAWorkerThatStartsBesideABadConfigurationGoesByTheRestOfIt(t *testing.T) {
	r := newRig(t)
	r.loop.parse = parseOver(json.RawMessage(`{"loop_wait":1,"maximum_lag_on_failover":5}`))
	bad := func(rest string) json.RawMessage {
		return json.RawMessage(`{"maximum_lag_on_failover":"far","postgresql":{"parameters":{"a\nport":1}}` + rest + `}`)
	}
	r.view.Config = &cluster.Config{Raw: bad(`,"ttl":9,"synchronous_mode":"quorum"`), ModRevision: 10}
	r.see()
	s := r.loop.config.settings
	if r.loop.Status(0).ConfigError == "" || s.TTL != 9*time.Second || s.SynchronousMode != cluster.SyncQuorum || s.MaximumLagOnFailover != 5 || len(s.PostgreSQL.Parameters) != 0 {
		t.Errorf("error %q, settings %+v", r.loop.Status(0).ConfigError, s)
	}
	r.view.Config = &cluster.Config{Raw: bad(`,"ttl":8`), ModRevision: 11}
	r.see()
	if got := r.loop.config.settings; got.TTL != 9*time.Second || got.SynchronousMode != cluster.SyncQuorum {
		t.Errorf("a running agent takes something of a bad configuration: %+v", got)
	}
	r.loop.config.read = false
	r.view.Config = &cluster.Config{Raw: json.RawMessage(`{"ttl":`), ModRevision: 12}
	r.see()
	if got := r.loop.config.settings; got.MaximumLagOnFailover != 5 {
		t.Errorf("one that is no JSON: %+v", got)
	}
}

func TestPositionsThatMerelyMovedWaitForLoopWait(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneLook] = true
	node := r.loop.obs.Node.Value
	node.WriteLSN += 100
	if got := find[PutMember](r.step(Looked{At: r.now, Instance: "i1", Node: node})); len(got) != 0 {
		t.Errorf("a moved position was published at once: %+v", got)
	}
	r.pass(2 * time.Second)
	if got := find[PutMember](r.step(Tick{})); len(got) != 1 || got[0].Member.XlogLocation != node.WriteLSN {
		t.Errorf("got %+v, want the position published after loop_wait", got)
	}
}

func TestARestartWhoseConditionsDoNotHoldIsRefusedWithTheReason(t *testing.T) {
	for name, c := range map[string]struct {
		args cluster.RestartArgs
		want string
	}{
		"another role":    {cluster.RestartArgs{Role: cluster.RoleReplica}, "host role mismatch: the member is primary, not replica"},
		"nothing pending": {cluster.RestartArgs{RestartPending: true}, "pending restart flag is not set"},
		"new enough":      {cluster.RestartArgs{PostgresVersion: "15.2"}, "postgres version mismatch: the server is not older than 15.2"},
		"in the past":     {cluster.RestartArgs{Schedule: "2020-01-01T00:00:00Z"}, "Cannot schedule restart in the past"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.primary()
			args, err := json.Marshal(c.args)
			if err != nil {
				t.Fatal(err)
			}
			r.view.Requests = []cluster.Request{{ID: "x", Member: "pg1", Kind: cluster.RequestRestart, Args: args}}
			effects := r.see()
			if jobs := find[OnJob](effects); len(jobs) != 0 {
				t.Fatalf("started %+v", jobs)
			}
			answers := answersIn(r, effects)
			if len(answers) != 1 || answers[0].Result.Message != c.want || !answers[0].Result.Refused {
				t.Errorf("got %+v, want refused: %s", answers, c.want)
			}
		})
	}
}

// answersIn collects the answers given, letting the keys lane run free.
func answersIn(r *rig, effects []Effect) (answers []election.Answer) {
	for range 5 {
		for _, d := range find[OnKeys](effects) {
			if a, ok := d.Action.(election.Answer); ok {
				answers = append(answers, a)
			}
			effects = r.step(KeysDone{Action: d.Action})
		}
	}
	return answers
}

func TestARequestIsTakenUpOnce(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Requests = []cluster.Request{{ID: "x", Member: "pg1", Kind: cluster.RequestRestart}}
	if jobs := find[OnJob](r.see()); len(jobs) != 1 {
		t.Fatalf("got %+v, want one restart", jobs)
	}
	r.step(JobDone{Kind: election.JobRestart})
	effects := r.look(cluster.ModePrimary)
	if jobs := find[OnJob](effects); len(jobs) != 0 {
		t.Errorf("the same request restarted twice: %+v", jobs)
	}
	if answers := r.loop.keys.answers; len(answers) == 0 && len(answersIn(r, effects)) == 0 && !r.loop.busy[LaneKeys] {
		t.Error("nobody was told how the restart ended")
	}
}

func TestAScheduledFailoverIsDueInItsMinuteOnly(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		f           *cluster.Failover
		wall        time.Time
		now, missed bool
	}{
		"none":        {nil, at, false, false},
		"now":         {&cluster.Failover{Member: "a"}, at, true, false},
		"before":      {&cluster.Failover{Member: "a", ScheduledAt: at.Format(time.RFC3339)}, at.Add(-time.Second), false, false},
		"on time":     {&cluster.Failover{Member: "a", ScheduledAt: at.Format(time.RFC3339)}, at.Add(time.Second), true, false},
		"long past":   {&cluster.Failover{Member: "a", ScheduledAt: at.Format(time.RFC3339)}, at.Add(time.Hour), false, true},
		"not a stamp": {&cluster.Failover{Member: "a", ScheduledAt: "noon"}, at, false, true},
	} {
		if now, missed := due(c.f, c.wall); now != c.now || missed != c.missed {
			t.Errorf("%s: due %t missed %t, want %t %t", name, now, missed, c.now, c.missed)
		}
	}
}

func TestActionsAreNamedInSnakeCase(t *testing.T) {
	for want, a := range map[string]election.Action{"renew": election.Renew{}, "init_db": election.InitDB{}, "hand_over": election.HandOver{}, "put_status": election.PutStatus{}} {
		if got := actionName(a); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestMovedPositionsAloneDecideNothing: on a busy cluster most views say only how far
// the others are. They are seen, and nobody is asked again what to do, unless a race
// or a switchover rests on them.
func TestMovedPositionsAloneDecideNothing(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.News = r.view.Revision + 1
	r.see()
	decided := 0
	r.loop.OnDecision(func(clock.Reading, *election.Observation, election.Decision) { decided++ })
	moved := func() int {
		before := decided
		r.see()
		return decided - before
	}
	if got := moved(); got != 0 || r.loop.obs.View.Value.Revision != r.view.Revision {
		t.Errorf("a view of moved positions was decided on %d times, and is seen at %d, want 0 and %d", got, r.loop.obs.View.Value.Revision, r.view.Revision)
	}
	r.view.News++
	if got := moved(); got != 1 {
		t.Errorf("news was decided on %d times", got)
	}
	r.view.Switchover = &cluster.Switchover{ID: "op", From: "pg1", To: "pg2", Phase: cluster.SwitchoverPreparing, Term: 61}
	r.view.News++
	moved()
	if got := moved(); got != 1 {
		t.Errorf("in a switchover a moved position was decided on %d times, want 1", got)
	}
	r.view.Switchover, r.view.Leader = nil, nil
	r.view.News++
	moved()
	if got := moved(); got != 1 {
		t.Errorf("without a leader a moved position was decided on %d times, want 1", got)
	}
}

// TestALoopWithoutGuardDoesNotSpin: its end comes as an event; nothing can be looked at
// before.
func TestALoopWithoutGuardDoesNotSpin(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.step(GuardDown{Err: "connection refused"})
	if wake := r.loop.NextWake().Sub(r.now); wake < 100*time.Millisecond {
		t.Errorf("it looks again after %s", wake)
	}
}

// TestATickThatOnlyLooksDecidesNothing: what the look shows is decided upon when it
// ends. A tick that comes while it is under way decides, since it may hang, and so does
// one at a time that the last decision named.
func TestATickThatOnlyLooksDecidesNothing(t *testing.T) {
	r := newRig(t)
	r.primary()
	decided := 0
	r.loop.OnDecision(func(clock.Reading, *election.Observation, election.Decision) { decided++ })
	r.pass(r.loop.nextLook().Sub(r.now))
	r.loop.decision.Wake = 0
	if looks := find[Look](r.step(Tick{})); len(looks) != 1 || decided != 0 {
		t.Fatalf("%d looks and %d decisions, want a look and none", len(looks), decided)
	}
	r.pass(time.Second)
	if r.step(Tick{}); decided != 1 {
		t.Errorf("%d decisions while the look hangs, want one", decided)
	}
	r.look(cluster.ModePrimary)
	decided = 0
	r.pass(r.loop.nextLook().Sub(r.now))
	r.loop.decision.Wake = r.now
	if r.step(Tick{}); decided != 1 {
		t.Errorf("%d decisions at the time the last one named, want one", decided)
	}
}

// TestACheapLookAtAnotherTimelineKnowsNothingOfWhatItBeganOn: what it says of the last one is
// not published as what this one left.
func TestACheapLookAtAnotherTimelineKnowsNothingOfWhatItBeganOn(t *testing.T) {
	full := cluster.NodeState{Mode: cluster.ModeStandby, Timeline: 2, TimelineHistory: cluster.History{{Timeline: 1, Switch: 10}}}
	for timeline, known := range map[cluster.Timeline]bool{0: true, 2: true, 3: false} {
		if got := fastOver(full, &cluster.NodeState{Mode: cluster.ModePrimary, Timeline: timeline}); (got.TimelineHistory != nil) != known {
			t.Errorf("a look at timeline %d: history %v, want it kept: %t", timeline, got.TimelineHistory, known)
		}
	}
}

// TestATimelineThatWasToldOnceIsRemembered: a Patroni member's key tells of its timeline only
// while its server runs.
func TestATimelineThatWasToldOnceIsRemembered(t *testing.T) {
	r := newRig(t)
	for _, timeline := range []cluster.Timeline{3, 5, 0} {
		r.view.Members = map[string]cluster.Member{"pg2": {Name: "pg2", Timeline: timeline}}
		r.see()
	}
	if got := r.loop.obs.Heard; got != 5 {
		t.Errorf("the greatest timeline that was told of is %d, want 5", got)
	}
	for _, h := range []cluster.History{{{Timeline: 6}}, {{Timeline: 1}}} { // a Patroni leader that goes on from an older one writes its own over it
		r.view.History = h
		r.see()
	}
	if got := r.loop.obs.Heard; got != 7 {
		t.Errorf("the greatest timeline that was told of is %d, want 7, as the key history had it once", got)
	}
}

// TestAWishIsClearedOnce: the view tells of that a moment later, and until then a switchover
// that is rolled back goes on with its record, not with the wish again: that would fail, and
// hold the record up for long enough to have the switchover go on.
func TestAWishIsClearedOnce(t *testing.T) {
	r := newRig(t)
	clears := election.ClearFailover{Revision: 40}
	if got := find[OnKeys](r.loop.onKeys(clears)); len(got) != 1 {
		t.Fatalf("cleared by %d calls", len(got))
	}
	r.step(KeysDone{Action: clears})
	r.loop.busy[LaneKeys] = false
	if got := find[OnKeys](r.loop.onKeys(clears)); len(got) != 0 {
		t.Error("it is cleared again before the view can tell")
	}
	if got := find[OnKeys](r.loop.onKeys(election.DeleteSwitchover{})); len(got) != 1 {
		t.Error("what comes after it waits")
	}
	r.loop.busy[LaneKeys], r.loop.obs.Now = false, r.loop.obs.Now.Add(time.Second)
	if got := find[OnKeys](r.loop.onKeys(clears)); len(got) != 1 {
		t.Error("one that stands for long is not cleared again")
	}
}
