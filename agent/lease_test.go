package agent

import (
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

func TestARenewalGoesOutOnlyAfterAFreshLook(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.pass(time.Second)
	if effects := r.step(Tick{}); renews(effects) || len(find[Look](effects)) != 1 {
		t.Fatalf("a renewal is due after an old look: got %+v, want a look and no renewal", effects)
	}
	if !renews(r.look(cluster.ModePrimary)) {
		t.Fatal("no renewal after the fresh look")
	}
}

// On a machine with far too much to do every look takes longer than half of the time between
// two renewals.
func TestALookThatTakesLongIsFollowedByARenewalAllTheSame(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.pass(time.Second)
	r.step(Tick{})
	const took = 800 * time.Millisecond
	began := r.now
	r.pass(took)
	node := cluster.NodeState{Mode: cluster.ModeStarting, Data: cluster.DataValid, SystemID: "sys", Timeline: 1, ServerVersion: 150018}
	if effects := r.step(Looked{At: began, Took: took, Node: node, Instance: r.loop.instance()}); !renews(effects) {
		t.Errorf("after a look of %v at a server that starts: %+v, want a renewal", took, effects)
	}
}

func TestARenewalThatCommittedMovesTheLeaseToBeforeItLeft(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.pass(time.Second)
	r.step(Tick{})
	r.look(cluster.ModePrimary)
	left := r.now
	r.pass(300 * time.Millisecond) // a slow store
	r.step(LeaseDone{Action: election.Renew{}, At: left, Term: 61, Outcome: Succeeded})
	status := r.loop.Status(0)
	if want := left.Add(5*time.Second - 500*time.Millisecond); status.LeaseUntil != want {
		t.Errorf("lease until %d, want %d: it counts from before the request left", status.LeaseUntil, want)
	}
}

func TestAFailedRenewalMovesNothing(t *testing.T) {
	for _, outcome := range []Outcome{Failed, Unknown} {
		r := newRig(t)
		r.primary()
		before := r.loop.Status(0).LeaseUntil
		r.pass(time.Second)
		r.loop.busy[LaneLease] = true
		r.step(LeaseDone{Action: election.Renew{}, At: r.now, Term: 61, Outcome: outcome, Err: "no answer"})
		if got := r.loop.Status(0); got.LeaseUntil != before || got.Term != 61 {
			t.Errorf("outcome %d: lease until %d of term %d, want %d of 61", outcome, got.LeaseUntil, got.Term, before)
		}
	}
}

func TestAReservedTimelineIsPromotedOntoBeforeTheViewShowsIt(t *testing.T) {
	for _, a := range []election.Action{election.Reserve{Above: 1}, election.Accept{Term: 61, Timeline: 2}} {
		t.Run(actionName(a), func(t *testing.T) {
			r := newRig(t)
			r.primary()
			if effects := r.seesStandby(); len(leaseActions(effects)) != 1 {
				t.Fatalf("a standby under the term does %v, want one reservation", leaseActions(effects))
			}
			reserved := &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 2, Term: 61}}, ModRevision: 70}
			effects := r.step(LeaseDone{Action: a, At: r.now, Term: 61, Outcome: Succeeded, Timelines: reserved})
			jobs := find[OnJob](effects)
			if len(jobs) != 1 || !reflect.DeepEqual(jobs[0].Action, election.Promote{Timeline: 2}) || len(leaseActions(effects)) != 0 {
				t.Errorf("after its reservation it does %+v and %v, want the promotion onto 2 and no second reservation", jobs, leaseActions(effects))
			}
		})
	}
}

func TestASuccessorThatTakesItsTermUpAgainRemembersTheHandOver(t *testing.T) {
	r := newRig(t)
	r.view.Handover = &cluster.Handover{From: "pg2", To: "pg1", ID: "op", ModRevision: 60}
	r.primary() // inherits term 60
	if got := r.loop.obs.Self.HandedOver; got != 60 {
		t.Errorf("the tenure began with hand-over %d, want 60", got)
	}
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.Inherit{Term: 61}, At: r.now, Term: 62, Outcome: Succeeded})
	if got := r.loop.obs.Self.HandedOver; got != 60 {
		t.Errorf("after another term: hand-over %d, want 60 still", got)
	}
	r.step(LeaseDone{Action: election.Acquire{}, At: r.now, Term: 90, Outcome: Succeeded})
	if got := r.loop.obs.Self.HandedOver; got != 0 {
		t.Errorf("after a race: hand-over %d, want none", got)
	}
}

// TestATermKnowsWhetherAnOperatorForcedItPastRules: for as long as the tenure lasts, under
// whatever term.
func TestATermKnowsWhetherAnOperatorForcedItPastRules(t *testing.T) {
	r := newRig(t)
	r.primary()
	for i, c := range []struct {
		by   election.Action
		want bool
	}{
		{election.Acquire{Passed: true}, true},
		{election.Inherit{Term: 61}, true},
		{election.Acquire{}, false},
		{election.Acquire{Passed: true}, true},
		{election.Accept{Term: 63}, false},
	} {
		r.step(LeaseDone{Action: c.by, At: r.now, Term: cluster.Term(61 + i), Outcome: Succeeded})
		if got := r.loop.obs.Lease.Passed; got != c.want {
			t.Errorf("after %+v: %t, want %t", c.by, got, c.want)
		}
	}
}

func TestAReloadAskedForReadsTheFileAndWritesNoConfigurationWithoutItsUpstream(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Requests = []cluster.Request{{ID: "q1", Member: "pg1", Kind: cluster.RequestReload}}
	effects := r.see()
	if rereads, configured := find[Reread](effects), find[OnServer](effects); len(rereads) != 1 || len(configured) != 0 {
		t.Fatalf("got %+v, want the file read and nothing else", effects)
	}
	reread := 0
	n := &Node{reread: func() error { reread++; return errors.New("line 3") }} // no server: configuring it would panic
	if done, _ := n.Run(t.Context(), Reread{}).(RereadDone); done.Err != "line 3" || reread != 1 {
		t.Errorf("read %d times, %+v; want the local file read once", reread, done)
	}
}

func TestAClaimWhoseAnswerWasLostIsKnownByItsLease(t *testing.T) {
	r := newRig(t)
	r.view.Initialize = nil
	r.step(GuardUp{guard.Status{}})
	r.see()
	r.step(SessionOpened{LeaseID: 11, TTL: 5 * time.Second})
	r.loop.busy[LaneLook] = true
	r.step(Looked{At: r.now, Node: cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}})
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.ClaimInitialize{}, Outcome: Unknown, Err: "no answer in time"})

	r.view.Initialize = &cluster.Initialize{LeaseID: 12, ModRevision: 70}
	r.see()
	if r.loop.decision.Reason != election.ReasonWaitingBootstrap {
		t.Errorf("another's claim: reason %s, want %s", r.loop.decision.Reason, election.ReasonWaitingBootstrap)
	}
	r.view.Initialize = &cluster.Initialize{LeaseID: 11, ModRevision: 71}
	r.see()
	if r.loop.obs.Self.InitRevision != 71 || r.loop.decision.Reason == election.ReasonWaitingBootstrap {
		t.Errorf("our own claim: revision %d, reason %s; want 71 and the work to go on", r.loop.obs.Self.InitRevision, r.loop.decision.Reason)
	}
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.AbandonInitialize{Revision: 71}, Outcome: Unknown, Err: "no answer in time"})
	if r.loop.obs.Self.InitRevision != 71 {
		t.Error("the claim may still stand: nobody else can initialise until it is given up")
	}
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.AbandonInitialize{Revision: 71}, Outcome: Succeeded})
	r.see()
	if r.loop.obs.Self.InitRevision != 0 {
		t.Error("a claim that was given up is taken up again")
	}
}

func TestARefusedRenewalEndsTheTermAtOnce(t *testing.T) {
	for _, outcome := range []Outcome{Refused, LeaseGone} {
		r := newRig(t)
		r.primary()
		r.loop.busy[LaneLease] = true
		effects := r.step(LeaseDone{Action: election.Renew{}, At: r.now, Term: 61, Outcome: outcome})
		ends := find[GuardEnd](effects)
		if len(ends) != 1 || ends[0].Term != 61 || r.loop.Status(0).Term != 0 {
			t.Errorf("outcome %d: guard told %v, term now %d; want term 61 ended", outcome, ends, r.loop.Status(0).Term)
		}
	}
}

func TestALateRenewalOfAnEndedTermCountsForNothing(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.Renew{}, At: r.now, Term: 61, Outcome: Refused})
	r.step(LeaseDone{Action: election.Renew{}, At: r.now, Term: 61, Outcome: Succeeded})
	if s := r.loop.Status(0); s.Term != 0 || s.Holds(r.now) {
		t.Errorf("holds term %d again after it ended", s.Term)
	}
}

func TestAHandOverOfUnknownOutcomeIsSettledByATransaction(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.HandOver{To: "pg2"}, At: r.now, Term: 61, Outcome: Unknown, Err: "timeout"})
	if !r.loop.obs.Lease.Unsettled {
		t.Fatal("an unknown hand-over left the lease settled")
	}
	before := r.loop.Status(0).LeaseUntil
	r.pass(100 * time.Millisecond)
	actions := leaseActions(r.step(Tick{}))
	if len(actions) != 1 || actions[0] != (election.Settle{}) {
		t.Fatalf("got %v, want one Settle", actions)
	}
	r.pass(100 * time.Millisecond)
	r.step(LeaseDone{Action: election.Settle{}, At: r.now, Term: 70, Outcome: Succeeded})
	if s := r.loop.Status(0); s.Term != 70 || s.LeaseUntil != before {
		t.Errorf("term %d until %d after settling, want the new term 70 until %d as before: settling sends no keepalive", s.Term, s.LeaseUntil, before)
	}
}

// TestATermThatEndedIsNotTakenUpByAnOlderView: it still shows what gave this member that term, and etcd would say once more
// that it did.
func TestATermThatEndedIsNotTakenUpByAnOlderView(t *testing.T) {
	r := newRig(t)
	r.primary()
	older := r.view
	older.Revision = 60
	r.loop.obs.View.Value.Revision = 60 // a watch that has told nothing since
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.Renew{}, At: r.now, Term: 61, Outcome: Refused})
	if r.loop.obs.Self.Ended != 61 {
		t.Errorf("after the end of term 61 the newest that has ended is %d", r.loop.obs.Self.Ended)
	}
	if r.loop.obs.Lease.Term != 0 || r.loop.obs.View.Good() {
		t.Fatalf("after the end of term 61 a view of revision 60 counts, under term %d", r.loop.obs.Lease.Term)
	}
	r.step(ViewSeen{View: older})
	if r.loop.obs.View.Good() || r.loop.obs.Refused {
		t.Error("told again it counts, or is taken for a store that was set back: it is late")
	}
	r.pass(time.Millisecond)
	r.step(ViewSeen{View: older, Read: r.now})
	if !r.loop.obs.Refused {
		t.Error("a store that was read since, and knows nothing of the term, is believed")
	}
	older.Revision = 61
	r.step(ViewSeen{View: older})
	if !r.loop.obs.View.Good() {
		t.Error("a view of the term's own revision does not count")
	}
}

// TestASettlingOfUnknownOutcomeIsSettledAgain: it may have put the key, whose term would be taken for another holder's.
func TestASettlingOfUnknownOutcomeIsSettledAgain(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.Settle{}, At: r.now, Term: 61, Outcome: Unknown, Err: "timeout"})
	r.view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 11, Term: 70}
	r.view.Beat = &cluster.Beat{TTL: 5000, Term: 61, ModRevision: 70}
	actions := leaseActions(r.see())
	r.pass(100 * time.Millisecond)
	actions = append(actions, leaseActions(r.step(Tick{}))...)
	if len(actions) != 1 || actions[0] != (election.Settle{}) || r.loop.obs.Lease.Term != 61 {
		t.Errorf("got %v under term %d, want one Settle under 61", actions, r.loop.obs.Lease.Term)
	}
}

func TestOnlyCallsWithAKeepaliveMakeTheLeaseRunAnew(t *testing.T) {
	for a, want := range map[election.Action]cluster.Instant{
		election.Renew{}: 9, election.Acquire{}: 9, election.Inherit{}: 9, election.Accept{}: 9,
		election.Settle{}: 4, election.HandOver{}: 0, election.Release{}: 0, election.Reserve{}: 0,
	} {
		if got := runsFrom(OnLease{Action: a, Renewed: 4}, 9); got != want {
			t.Errorf("after %s the lease runs from %d, want %d", actionName(a), got, want)
		}
	}
}

func TestWhatWasGivenAwayIsNotHeld(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.HandOver{To: "pg2"}, At: r.now, Term: 61, Outcome: Succeeded})
	if s := r.loop.Status(0); s.Term != 0 || s.Writable(r.now) {
		t.Errorf("term %d, writable %t after the hand-over", s.Term, s.Writable(r.now))
	}
}

// What a server has yet to tidy up after its shutdown checkpoint is not cut short by the
// end of its term: the deadline stands until the exit, and then the guard hears of it.
func TestTheGuardHearsOfATermThatWasHandedOverWhenItsServerHasExited(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.busy[LaneJob], r.loop.obs.Job = true, election.Job{Kind: election.JobStop, Since: r.now}
	r.step(ShutDown{Instance: "i0", Position: cluster.Position{Timeline: 1, LSN: 900}})
	if r.loop.obs.Guard.Ended.LSN.Known() {
		t.Error("the end of another server was taken for this one's")
	}
	r.step(ShutDown{Instance: "i1", Position: cluster.Position{Timeline: 1, LSN: 900}})
	r.loop.busy[LaneLease] = true
	effects := r.step(LeaseDone{Action: election.HandOver{To: "pg2"}, At: r.now, Term: 61, Outcome: Succeeded})
	if ends := find[GuardEnd](effects); len(ends) != 0 || r.loop.Status(0).Term != 0 || r.loop.decision.Reason == election.ReasonFenceNoLease {
		t.Errorf("after the hand-over the guard is told %v, term %d, %s; want nothing yet", ends, r.loop.Status(0).Term, r.loop.decision.Reason)
	}
	effects = r.step(JobDone{Kind: election.JobStop})
	if ends := find[GuardEnd](effects); len(ends) != 1 || ends[0].Term != 61 {
		t.Errorf("after the stop the guard is told %v, want term 61 ended", ends)
	}
	r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i1"}})
	if g := r.loop.obs.Guard; g.Running || g.Ended.LSN.Known() {
		t.Errorf("%+v after the exit", g)
	}
	if ends := find[GuardEnd](r.step(JobDone{Kind: election.JobStart})); len(ends) != 0 {
		t.Errorf("told again: %v", ends)
	}
}

func TestAnExpiredLeaseIsNotHeldByItself(t *testing.T) {
	r := newRig(t)
	r.primary()
	s := r.loop.Status(0)
	if !s.Writable(r.now) {
		t.Fatal("a fresh primary is not writable")
	}
	if s.Writable(s.LeaseUntil) {
		t.Error("/primary would answer 200 at the deadline with no new step (S3)")
	}
}

func TestACallUnderWayDoesNotLookLikeALostLease(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.obs.Lease.Busy = "inherit"
	r.view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 12, Term: 75}
	r.view.Revision = 75
	if r.see(); r.loop.obs.Lease.Term != 61 {
		t.Error("the view of our own write under way lost the lease")
	}
}

func TestAChangedTTLMovesTheHolderToANewLease(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Config = &cluster.Config{Raw: []byte(`{"ttl":8}`), ModRevision: 62}
	effects := r.see()
	var inherits []OnLease
	for _, d := range find[OnLease](effects) {
		if _, ok := d.Action.(election.Inherit); ok {
			inherits = append(inherits, d)
		}
	}
	if len(inherits) != 1 || inherits[0].Settings.TTL != 8*time.Second {
		t.Fatalf("got %+v, want the key put again on a lease of 8 s", effects)
	}
	if r.loop.obs.Settings.TTL != 5*time.Second {
		t.Error("the new ttl counted before a lease of that length was granted")
	}
}

func TestARenewalThatTheGuardDidNotHearOfDoesNotCount(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	store := dcs.NewStore(memory.NewServer(func() cluster.Instant { return 1 }).Client("pg1"), "service", "s")
	session, err := store.Open(t.Context(), "pg1", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := session.Acquire(t.Context(), dcs.Candidacy{TTL: 5 * time.Second, Holder: cluster.Holder{Name: "pg1"}})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{log: quiet, clock: realClock{}, store: store, session: session, lease: lease}
	n.link = newGuardLink(t.TempDir(), t.TempDir(), "1", func(Event) {}, func() time.Duration { return 5 * time.Second }, quiet)
	settings, _ := parseTest(nil)
	e, ok := n.onLease(t.Context(), OnLease{Action: election.Renew{}, Settings: settings, Term: lease.Term(), Margin: time.Second}).(LeaseDone)
	if !ok || e.Outcome == Succeeded {
		t.Errorf("a renewal counted as %+v although the guard kept its old deadline", e)
	}
}

func TestAGuardThatStoppedTheServerEndsTheTermHere(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.step(GuardSaid{guard.Event{Kind: guard.DeadlineFired, Term: 61, Instance: "i1"}})
	if s := r.loop.Status(0); s.Term != 0 {
		t.Errorf("term %d is still held after its deadline fired", s.Term)
	}
}

func TestNothingIsStartedUnderATermThatMayHaveBeenHandedOver(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i1"}})
	r.view.Switchover = &cluster.Switchover{ID: "x", From: "pg1", To: "pg2", Phase: cluster.SwitchoverStopping, Term: 61}
	end := cluster.Position{Timeline: 1, LSN: 900}
	r.view.Members = map[string]cluster.Member{"pg2": {Name: "pg2", State: cluster.StateRunning, LeaseID: 22,
		Keeper: &cluster.MemberKeeper{Switchover: "x", Position: &end}}}
	r.see()
	r.loop.busy[LaneLook] = true
	effects := r.step(Looked{At: r.now, Node: cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataValid, SystemID: "sys", Timeline: 1,
		Control: cluster.ControlData{State: cluster.ControlShutdown, Checkpoint: 800, CheckpointEnd: 900}}})
	if actions := leaseActions(effects); len(actions) != 1 {
		t.Fatalf("setup: got %v, want the hand-over", actions)
	}
	// Its transaction has taken effect, its answer is still on the way.
	r.view.Switchover = nil
	r.view.Leader = &cluster.Leader{Name: "pg2", LeaseID: 22, Term: 80}
	r.view.Handover = &cluster.Handover{From: "pg1", To: "pg2", Position: end, ModRevision: 80}
	r.view.Revision = 80
	if jobs := find[OnJob](r.see()); len(jobs) != 0 {
		t.Errorf("started %+v under a term that is another member's by now (S1)", jobs)
	}
	effects = r.step(LeaseDone{Action: election.HandOver{To: "pg2"}, At: r.now, Term: 61, Outcome: Succeeded})
	if ends := find[GuardEnd](effects); len(ends) != 1 || ends[0].Term != 61 || r.loop.Status(0).Term != 0 {
		t.Errorf("after the answer: guard told %v, term %d; want term 61 ended", ends, r.loop.Status(0).Term)
	}
}

// The store gave the key: that the guard has no deadline yet makes it no less ours,
// and the next renewal brings one.
func TestAnAcquisitionThatTheGuardDidNotHearOfIsStillOurs(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	store := dcs.NewStore(memory.NewServer(func() cluster.Instant { return 1 }).Client("pg1"), "service", "s")
	session, err := store.Open(t.Context(), "pg1", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{log: quiet, clock: realClock{}, store: store, session: session}
	n.link = newGuardLink(t.TempDir(), t.TempDir(), "1", func(Event) {}, func() time.Duration { return 5 * time.Second }, quiet)
	settings, _ := parseTest(nil)
	e, ok := n.onLease(t.Context(), OnLease{Action: election.Acquire{}, Settings: settings, Margin: time.Second}).(LeaseDone)
	if !ok || e.Outcome != Succeeded || e.Term == 0 || e.Err == "" {
		t.Errorf("an acquisition that the store granted counted as %+v", e)
	}
}
