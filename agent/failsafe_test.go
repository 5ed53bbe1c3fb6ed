package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// failsafeRig is a standby whose leader is pg2, with failsafe mode.
func failsafeRig(t *testing.T) *rig {
	r := newRig(t)
	r.loop.parse = func(raw json.RawMessage) (cluster.Settings, string) {
		s, why := parseTest(raw)
		s.FailsafeMode = true
		return s, why
	}
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", PID: 9}}})
	r.view.Leader = &cluster.Leader{Name: "pg2", LeaseID: 12, Term: 60}
	r.view.Beat = &cluster.Beat{TTL: 5000, Term: 60, ModRevision: 60}
	r.view.Members["pg2"] = cluster.Member{Name: "pg2", Keeper: &cluster.MemberKeeper{}}
	r.see()
	r.step(SessionOpened{LeaseID: 11, TTL: 5 * time.Second})
	r.look(cluster.ModeStandby)
	r.settle()
	return r
}

func asked(id uint64) FailsafeAsked {
	return FailsafeAsked{ID: id, Ask: cluster.FailsafeAsk{Name: "pg2", Term: 60, TTL: 5 * time.Second}}
}

// TestAFailsafePromiseIsToldOnceItIsOnDisk: it holds from the question on, and is told
// when a restart cannot forget it any more.
func TestAFailsafePromiseIsToldOnceItIsOnDisk(t *testing.T) {
	r := failsafeRig(t)
	r.loop.busy[LanePersist] = true // another memory, written since before
	if e := r.step(asked(1)); len(find[Persist](e)) != 0 || len(find[AnswerFailsafe](e)) != 0 || r.loop.obs.Self.Pledged != r.now.Add(5*time.Second) {
		t.Fatalf("%+v, promised until %d; want to wait for the memory that is being written, and the promise in force", e, r.loop.obs.Self.Pledged)
	}
	e := r.step(persisted{Memory: Memory{Revision: 60}})
	wrote := find[Persist](e)
	if len(wrote) != 1 || wrote[0].Pledge.Until != r.now.Add(5*time.Second) || wrote[0].Pledge.BootID != "boot" || len(find[AnswerFailsafe](e)) != 0 {
		t.Fatalf("%+v; want the promise written, and not told yet", e)
	}
	told := find[AnswerFailsafe](r.step(persisted{Memory: Memory(wrote[0])}))
	if len(told) != 1 || told[0].ID != 1 || told[0].Answer.Verdict != cluster.FailsafeAccepted {
		t.Fatalf("%+v; want it told", told)
	}
}

func TestAFailsafePromiseThatIsNotOnDiskIsNotToldAndHolds(t *testing.T) {
	r := failsafeRig(t)
	wrote := find[Persist](r.step(asked(1)))
	if len(wrote) != 1 {
		t.Fatalf("%+v", wrote)
	}
	told := find[AnswerFailsafe](r.step(persisted{Memory: Memory(wrote[0]), Err: "no space left on device"}))
	if len(told) != 1 || told[0].Answer.Verdict != cluster.FailsafeUnkept || r.loop.obs.Self.Pledged != r.now.Add(5*time.Second) {
		t.Fatalf("%+v, promised until %d", told, r.loop.obs.Self.Pledged)
	}
}

func TestARefusalNeedsNoDisk(t *testing.T) {
	r := failsafeRig(t)
	for name, ask := range map[string]FailsafeAsked{
		"of an earlier term":                 {ID: 2, Ask: cluster.FailsafeAsk{Name: "pg2", Term: 59, TTL: time.Second}},
		"of a term it is about to vote down": asked(3),
	} {
		r.loop.seen.Promised = 60
		told := find[AnswerFailsafe](r.step(ask))
		if len(told) != 1 || told[0].Answer.Verdict != cluster.FailsafeConflict || !r.loop.obs.Self.Pledged.Never() {
			t.Errorf("%s: %+v, promised until %d", name, told, r.loop.obs.Self.Pledged)
		}
	}
}

// TestAFailsafePromiseOutlivesItsProcess: a restart goes by the same clock; after a
// reboot nobody knows how long ago it was, and all of T is waited for.
func TestAFailsafePromiseOutlivesItsProcess(t *testing.T) {
	const kept = 100 * second
	for name, c := range map[string]struct {
		boot  string
		start cluster.Instant
		want  cluster.Instant
	}{
		"restart":                {"boot", 98 * second, kept},
		"late restart":           {"boot", 300 * second, kept},
		"reboot":                 {"another", 7 * second, 12 * second},
		"reboot after some time": {"another", 99 * second, 104 * second},
		"the kernel is mute":     {"", 7 * second, 12 * second},
		"a clock of the past":    {"boot", 10 * second, 15 * second},
	} {
		memory := Memory{Pledge: cluster.Pledge{To: "pg2", Term: 7, Until: kept, BootID: "boot", TTL: 5 * time.Second}}
		l := NewLoop(Identity{Name: "pg1", BootID: c.boot}, nil, memory, nil, parseTest, slog.New(slog.DiscardHandler), c.start)
		if self := &l.obs.Self; self.Pledged != c.want || self.PledgedTo != "pg2" || self.PledgedTerm != 7 {
			t.Errorf("%s: promised %s of term %d until %d, want pg2, 7 and %d", name, self.PledgedTo, self.PledgedTerm, self.Pledged, c.want)
		}
	}
}

// TestARoundOfPromisesMovesTheLeaseToBeforeItsFirstQuestion.
func TestARoundOfPromisesMovesTheLeaseToBeforeItsFirstQuestion(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.pass(3 * time.Second)
	left := r.now
	r.pass(time.Second)
	r.loop.obs.Failsafe.Busy = true
	r.step(FailsafeDone{Term: 60, At: left, Until: left.Add(4 * time.Second)})
	if r.loop.obs.Lease.Agreed != 0 {
		t.Fatal("promises of an earlier term count")
	}
	before := r.loop.obs.Guard.Deadline
	r.step(FailsafeDone{Term: 61, At: left, Until: left.Add(4500 * time.Millisecond), Err: "pg2 does not answer"})
	if r.loop.obs.Guard.Deadline != before || r.loop.obs.Lease.Agreed != 0 {
		t.Fatal("a round that was not enough counts")
	}
	r.step(FailsafeDone{Term: 61, At: left, Until: left.Add(4500 * time.Millisecond)})
	if got := r.loop.Status(0); got.LeaseUntil != left.Add(4500*time.Millisecond) || !got.Failsafe {
		t.Errorf("lease until %d, want %d", got.LeaseUntil, left.Add(4500*time.Millisecond))
	}
	r.step(LeaseDone{Action: election.Renew{}, At: r.now, Term: 61, Outcome: LeaseGone, Err: "lease not found"})
	if got := r.loop.Status(0); got.Term != 61 || r.loop.session.lease != 0 {
		t.Errorf("term %d, lease %d; want the term on its promises, and another lease sought", got.Term, r.loop.session.lease)
	}
	r.step(LeaseDone{Action: election.Renew{}, At: r.now, Term: 61, Outcome: Succeeded})
	if got := r.loop.Status(0); got.Failsafe {
		t.Error("a renewal counted, and it is still in failsafe")
	}
}

// TestWhatWasSentAndIsNotShownIsAskedToo: a list or a record that left and is not seen
// in the store may be there; one whose answer was lost may come later, until the term
// ends.
func TestWhatWasSentAndIsNotShownIsAskedToo(t *testing.T) {
	r := newRig(t)
	r.primary()
	one, two := map[string]string{"pg1": "u"}, map[string]string{"pg1": "u", "pg2": "v"}
	rule := cluster.Durability{Rules: []cluster.Rule{{Primary: "pg1", Voters: []string{"pg2"}, Need: 1}}}
	send := func(a election.Action, err string) {
		r.loop.busy[LaneKeys], r.loop.keys.retryAt, r.loop.keys.written = false, 0, 0
		r.loop.onKeys(a)
		r.loop.keys.retryAt = r.now.Add(time.Hour) // the loop itself writes nothing
		r.step(KeysDone{Action: a, Err: err})
	}
	shown := func(what string, lists int, unclear bool) {
		t.Helper()
		r.loop.keys.retryAt = r.now.Add(time.Hour)
		r.see()
		if got := r.loop.obs.Failsafe; len(got.Lists) != lists || got.RecordUnclear != unclear {
			t.Errorf("%s: %+v, want %d lists, unclear: %t", what, got, lists, unclear)
		}
	}
	renewed := func(term cluster.Term) {
		t.Helper()
		r.loop.busy[LaneLease], r.loop.keys.retryAt = true, r.now.Add(time.Hour)
		r.step(LeaseDone{Action: election.Inherit{Term: term - 1}, At: r.now, Term: term, Outcome: Succeeded})
		r.view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 11, Term: term}
		r.view.Revision = max(r.view.Revision, int64(term))
	}
	send(election.PutFailsafe{Members: one}, "")
	shown("written, and not shown", 1, false)
	r.view.Failsafe = one
	shown("shown", 0, false)
	send(election.PutFailsafe{Members: two}, "no answer")
	shown("no answer", 1, false)
	r.view.Failsafe = two
	shown("sent once, and shown", 0, false)
	send(election.PutFailsafe{Members: one}, "no answer")
	send(election.PutFailsafe{Members: one}, "")
	r.view.Failsafe = one
	shown("sent twice, and the first may yet come", 1, false)
	send(election.PutFailsafe{Members: two}, "")
	r.view.Failsafe = two
	shown("whatever is written after it", 1, false)
	renewed(90)
	shown("under a new term nothing of it takes effect any more", 0, false)

	send(election.PutDurability{Record: rule}, "")
	shown("a record", 0, true)
	r.view.Durability = &rule
	shown("a record, shown", 0, false)
	send(election.PutDurability{}, "no answer")
	send(election.PutDurability{Record: rule}, "")
	shown("another record may yet come", 0, true)
	renewed(200)
	shown("a new term", 0, false)
}

// verdicts are what members say: members that answer at once.
type verdicts map[string]cluster.FailsafeVerdict

func (a verdicts) Ask(_ context.Context, _ cluster.FailsafeAsk, peers []election.FailsafePeer, heard func(string, cluster.FailsafeAnswer, error) bool) {
	for _, p := range peers {
		if verdict := a[p.Name]; verdict != "" && heard(p.Name, cluster.FailsafeAnswer{Verdict: verdict, Why: "because"}, nil) {
			return
		}
	}
}

// tickingClock moves on a second whenever it is read.
type tickingClock struct {
	Clock
	now cluster.Instant
}

func (c *tickingClock) Now() cluster.Instant { c.now += second; return c.now }

func TestTheGuardGetsItsDeadlineFromEnoughPromises(t *testing.T) {
	ask := election.AskFailsafe{Self: "pg1", Peers: []election.FailsafePeer{{Name: "pg2", Keeper: true}, {Name: "pg3", Keeper: true}}}
	for name, c := range map[string]struct {
		members verdicts
		want    []string
		moved   cluster.Instant
	}{
		"all promise":  {verdicts{"pg2": cluster.FailsafeAccepted, "pg3": cluster.FailsafeAccepted}, []string{"pg2", "pg3"}, 1*second + 4500*cluster.Instant(time.Millisecond)},
		"one refuses":  {verdicts{"pg2": cluster.FailsafeAccepted, "pg3": cluster.FailsafeConflict}, []string{"pg2"}, 0},
		"one is quiet": {verdicts{"pg2": cluster.FailsafeAccepted}, []string{"pg2"}, 0},
	} {
		g := &deadlineGuard{}
		n := NewNode(Parts{Link: fixedLink{g}, Clock: &tickingClock{}, Config: &config.Config{Name: "pg1"}, Peers: c.members, Log: slog.New(slog.DiscardHandler)})
		e, _ := n.Run(t.Context(), OnFailsafe{Ask: ask, Term: 61, TTL: 5 * time.Second, Margin: 500 * time.Millisecond}).(FailsafeDone)
		if len(e.Accepted) != len(c.want) || (e.Err == "") != (c.moved != 0) || g.at != time.Duration(c.moved) || c.moved != 0 && e.Until != c.moved {
			t.Errorf("%s: %+v, the guard's deadline is %s, want %v and %d", name, e, g.at, c.want, c.moved)
		}
	}
}

// TestALaterRenewalIsNotMovedBackByARound: the two overlap, and the guard must not hear
// of the earlier last.
func TestALaterRenewalIsNotMovedBackByARound(t *testing.T) {
	g := &deadlineGuard{}
	n := NewNode(Parts{Link: fixedLink{g}, Clock: &tickingClock{}, Config: &config.Config{Name: "pg1"}, Log: slog.New(slog.DiscardHandler)})
	for _, from := range []cluster.Instant{5 * second, 3 * second} {
		if err := n.deadline(t.Context(), 61, from, 5*time.Second, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if g.at != 9*time.Second {
		t.Errorf("the deadline is %s, want 9s of the later", g.at)
	}
	if err := n.deadline(t.Context(), 62, 3*second, 5*time.Second, time.Second); err != nil || g.at != 7*time.Second {
		t.Errorf("%v, the deadline of another term is %s, want 7s", err, g.at)
	}
}

// deadlineGuard notes the deadline it is given.
type deadlineGuard struct {
	Guard
	at time.Duration
}

func (g *deadlineGuard) Renewed(_ context.Context, _ int64, _, at, _ time.Duration) error {
	g.at = at
	return nil
}

type fixedLink struct{ g Guard }

func (l fixedLink) Guard() Guard                  { return l.g }
func (l fixedLink) PID() int                      { return 0 }
func (l fixedLink) Started(guard.Server)          {}
func (l fixedLink) Exited(string) <-chan struct{} { return nil }
func (l fixedLink) Kill() (int, error)            { return 0, nil }

func TestACreatedClusterHasFailsafeModeUnlessToldOtherwise(t *testing.T) {
	for raw, want := range map[string]string{
		``:                                `{"failsafe_mode":true}`,
		`{"ttl":5}`:                       `{"failsafe_mode":true,"ttl":5}`,
		`{"failsafe_mode":false,"ttl":5}`: `{"failsafe_mode":false,"ttl":5}`,
		`{"failsafe_mode":"off","ttl":5}`: `{"failsafe_mode":"off","ttl":5}`,
	} {
		if got := string(newCluster(json.RawMessage(raw))); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

// TestALeaseOfAnotherLengthWaitsForTheEndOfFailsafe: to put the key on it compares the
// term, and where the key is gone that fails for ever and leaves no turn to take it anew.
func TestALeaseOfAnotherLengthWaitsForTheEndOfFailsafe(t *testing.T) {
	for _, active := range []bool{false, true} {
		r := newRig(t)
		r.primary()
		r.loop.config.settings.TTL = 20 * time.Second
		if o := &r.loop.obs; active {
			o.Lease.Agreed, o.Lease.AgreedUntil = o.Lease.Renewed+1, o.Now.Add(time.Second)
		}
		if began := len(r.loop.keepSession()) > 0; began == active {
			t.Errorf("in failsafe %t: the key is put on another lease: %t", active, began)
		}
	}
}
