package election

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// choices draws an Observation from bytes; when they run out, the first choice.
type choices []byte

func (c *choices) n(below int) int {
	if len(*c) == 0 {
		return 0
	}
	b := int((*c)[0])
	*c = (*c)[1:]
	return b % below
}

func (c *choices) yes() bool { return c.n(2) == 1 }

func pick[T any](c *choices, from ...T) T { return from[c.n(len(from))] }

func maybe[T any](c *choices, make func() T) *T {
	if !c.yes() {
		return nil
	}
	v := make()
	return &v
}

func (c *choices) name() string { return pick(c, "a", "b", "c", "z") }

func (c *choices) term() cluster.Term { return pick[cluster.Term](c, 100, 0, 120) }

func (c *choices) revision() int64 { return pick[int64](c, 110, 100, 120) }

func (c *choices) when() cluster.Instant {
	return pick(c, now, ago(100*time.Millisecond), ago(time.Second), ago(9500*time.Millisecond), ago(time.Minute), 0, now.Add(time.Second))
}

func (c *choices) position() cluster.Position {
	return cluster.Position{Timeline: pick[cluster.Timeline](c, 3, 2, 4, 0), LSN: c.lsn()}
}

func (c *choices) lsn() cluster.LSN { return pick(c, lsn, 0, lsn-8, lsn+8, lsn+0x70, lsn-2<<20) }

func (c *choices) phase() cluster.SwitchoverPhase {
	return pick(c, cluster.SwitchoverStopping, cluster.SwitchoverPreparing, cluster.SwitchoverAborted)
}

func (c *choices) tags() cluster.Tags {
	return pick(c, nil, cluster.Tags{"nofailover": true}, cluster.Tags{"failover_priority": 2}, cluster.Tags{"replicatefrom": "c"})
}

func (c *choices) observation() Observation {
	o := Observation{
		Now: now, Settings: cluster.DefaultSettings(),
		Self: Self{Name: "a", Node: pick(c, "node-a", "node-z"), BootID: "boot-a", Tags: c.tags(), MemberLease: pick[int64](c, 1097, 0, 9),
			Started: c.when(), InitRevision: pick[int64](c, 0, 100), Prepared: pick(c, "", "op"), Checkpointed: c.yes()},
		Guard: Guard{Connected: !c.yes(), Frozen: c.n(8) == 1, Running: !c.yes(), Instance: pick(c, "i1", "i2"), Writable: c.yes(), Paused: c.yes(), Deadline: c.when()},
		Beat:  Sighting{Revision: c.revision(), At: c.when()}, Vacancy: c.when(), NotStreaming: c.when(), LookTook: pick(c, 0, time.Second, time.Hour),
		Lease: Lease{Term: c.term(), Renewed: c.when(), Tried: c.when(), Busy: pick(c, "", "renew"), Unsettled: c.n(8) == 1, FailedAt: c.when()},
		Phase: PhaseSeen{ID: pick(c, "op", "older"), Phase: c.phase(), Since: c.when()},
		Wish:  Wish{Stop: c.n(4) == 1, Leave: c.n(4) == 1, FailoverDue: c.yes(), FailoverStale: c.n(4) == 1, RestartDue: c.n(8) == 1},
	}
	o.Lease.Unsettled = o.Lease.Unsettled && o.Lease.Term != 0
	o.Settings.Pause = c.n(3) == 1
	o.Settings.PrimaryStartTimeout = pick(c, time.Minute, 0)
	o.Settings.MaxTimelinesHistory = c.n(3)
	o.Job = Job{Kind: pick(c, JobNone, JobNone, JobNone, pick(c, jobKinds...)), Last: pick(c, append([]JobKind{JobNone}, jobKinds...)...),
		LastErr: pick(c, "", "it broke"), LastEnded: c.when(), Failures: c.n(5)}
	o.Wish.Request = maybe(c, func() cluster.Request {
		return cluster.Request{ID: "r", Member: "a", Kind: pick(c, cluster.RequestRestart, cluster.RequestReinitialize, cluster.RequestReload, "dance")}
	})
	o.View, o.Node = cluster.Seen(c.view(), c.when()), cluster.Seen(c.node(), c.when())
	if c.n(4) == 1 {
		o.View = o.View.Failed("etcd does not answer", now)
	}
	if c.n(4) == 1 {
		o.Node = o.Node.Failed("timeout", now)
	}
	o.Health = cluster.Health{Accept: c.check(cluster.AilmentHung), Data: c.check(cluster.AilmentStalled, cluster.AilmentFull)}
	if c.n(4) == 1 && o.Lease.Term != 0 {
		o.Lease.Condemned = pick(c, cluster.AilmentHung, cluster.AilmentFull)
	}
	if c.n(3) == 1 {
		c.watch(&o)
	}
	o.Self.GaveUp, o.Self.Ailment = pick(c, 0, ago(time.Second)), pick(c, cluster.AilmentHung, cluster.AilmentStalled)
	o.Lease.Resumed = o.Lease.Term != 0 && !o.Lease.Unsettled && c.n(8) == 1
	if c.n(8) == 1 && o.Lease.Term == 0 {
		o.View = pick(c, o.View, cluster.Observed[cluster.View]{})
		o.Guard.Term, o.Self.Tenure = c.term(), &cluster.Tenure{Term: c.term(), TTL: 10 * time.Second, Lists: []map[string]string{{"a": "", "b": ""}}}
	}
	return o
}

// watch makes it a strict quorum, in which b may be gone.
func (c *choices) watch(o *Observation) {
	o.Settings.SynchronousMode, o.Settings.SynchronousStrict = cluster.SyncQuorum, c.n(4) != 1
	o.Suspicion = Suspicion{Leader: c.name(), Heard: c.when(), Since: pick(c, ago(time.Second), c.when()), Ended: pick(c, ago(10*time.Millisecond), c.when()), Tried: c.when(), Busy: c.yes()}
	o.Self.Promised = pick(c, cluster.Term(110), c.term())
	v := &o.View.Value
	v.Durability = maybe(c, func() cluster.Durability {
		return cluster.Durability{Mode: cluster.SyncQuorum, Rules: []cluster.Rule{{Primary: "b", Voters: []string{"a", "c"}, Need: 1 + c.n(2)}}, ModRevision: 450}
	})
	v.Sync = maybe(c, func() cluster.Sync {
		return cluster.Sync{Leader: c.name(), SyncStandby: pick(c, "", "a,c"), Quorum: c.n(2), ModRevision: 460}
	})
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if k := v.Members[name].Keeper; k != nil {
			k.Gone, k.Promised, k.SyncCommit = c.revision(), cluster.Term(c.revision()), maybe(c, func() cluster.SyncCommit { return cluster.SyncCommit{Weakened: []cluster.Weakening{}} })
		}
	}
}

// check is one that is well, or has failed for a while.
func (c *choices) check(ailments ...cluster.Ailment) cluster.Check {
	if c.n(4) != 1 {
		return cluster.Check{}
	}
	return cluster.Check{Ailment: pick(c, ailments...), Since: ago(6 * time.Second), At: pick(c, now, ago(time.Minute)), Failures: 1 + c.n(3)}
}

func (c *choices) node() cluster.NodeState {
	n := cluster.NodeState{
		Mode: cluster.Mode(c.n(6)), Data: pick(c, cluster.DataValid, cluster.DataEmpty, cluster.DataUnknown, cluster.DataBroken, cluster.DataTombstone, cluster.DataDamaged),
		SystemID: pick(c, sys, "", "1"), Timeline: pick[cluster.Timeline](c, 3, 2, 4, 0), WriteLSN: c.lsn(), ReceiveLSN: c.lsn(), ReplayLSN: c.lsn(),
		Control:         cluster.ControlData{State: cluster.ControlState(c.n(7)), Checkpoint: c.lsn(), CheckpointEnd: c.lsn(), MinRecovery: c.lsn(), StandbySignal: c.yes()},
		Receiver:        maybe(c, func() cluster.Receiver { return cluster.Receiver{Status: pick(c, "streaming", "waiting")} }),
		PrimaryConninfo: pick(c, "host=10.0.0.2 port=5432", "", "host"), TimelineHistory: pick(c, history(), nil), PrimarySlotName: pick(c, "a", ""),
	}
	if c.yes() {
		n.Walsenders = []cluster.Walsender{{Name: pick(c, "b", "B"), State: pick(c, "streaming", "catchup"), Flush: c.lsn()}}
		n.Slots = []cluster.Slot{{Name: "b", Type: "physical", Restart: c.lsn()}}
	}
	return n
}

func (c *choices) view() cluster.View {
	v := cluster.View{
		Revision: pick[int64](c, 500, 50),
		Initialize: maybe(c, func() cluster.Initialize {
			return cluster.Initialize{SystemID: pick(c, sys, "", "1"), ModRevision: c.revision()}
		}),
		Leader: maybe(c, func() cluster.Leader {
			return cluster.Leader{Name: c.name(), LeaseID: pick[int64](c, 1097, 7), Term: c.term()}
		}),
		Config: maybe(c, func() cluster.Config { return cluster.Config{} }),
		Failover: maybe(c, func() cluster.Failover {
			return cluster.Failover{Leader: pick(c, "a", "", "b"), Member: pick(c, "b", "", "a", "z"), ID: pick(c, "op", ""), Force: c.yes(), ModRevision: 400}
		}),
		Status: maybe(c, func() cluster.Positions {
			p := c.position()
			return cluster.Positions{Optime: p.LSN, Timeline: p.Timeline}
		}),
		Beat: maybe(c, func() cluster.Beat { return cluster.Beat{TTL: 10_000, Term: c.term(), ModRevision: c.revision()} }),
		Holder: maybe(c, func() cluster.Holder {
			return cluster.Holder{Name: c.name(), Node: pick(c, "node-a", "node-z"), Instance: pick(c, "i1", ""), BootID: pick(c, "boot-a", "boot-z", "")}
		}),
		Handover: maybe(c, func() cluster.Handover {
			return cluster.Handover{From: c.name(), To: c.name(), ID: "op", Position: c.position(), ModRevision: c.revision()}
		}),
		Release: maybe(c, func() cluster.Release { return cluster.Release{By: c.name(), BeatRevision: c.revision()} }),
		Switchover: maybe(c, func() cluster.Switchover {
			return cluster.Switchover{ID: "op", From: c.name(), To: c.name(), Phase: c.phase(), Term: c.term()}
		}),
		PausedAt: maybe(c, func() cluster.PausedPrimary { return cluster.PausedPrimary{Name: c.name(), ModRevision: 300} }),
		Timelines: maybe(c, func() cluster.Timelines {
			return cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: pick[cluster.Timeline](c, 3, 4, 5), Term: c.term()}}}
		}),
		History: pick(c, history(), nil, history()[:1]),
		Members: map[string]cluster.Member{},
	}
	for _, name := range []string{"a", "b", "c"} {
		if !c.yes() {
			continue
		}
		m := member(name, pick(c, cluster.RoleReplica, cluster.RolePrimary), c.lsn())
		m.State, m.Tags = pick(c, cluster.StateRunning, cluster.StateStopped), c.tags()
		m.Keeper.Vacancy, m.Keeper.Switchover = c.revision(), pick(c, "", "op")
		m.Keeper.Position = maybe(c, c.position)
		if c.n(4) == 1 {
			m.Keeper = nil
		}
		v.Members[name] = m
	}
	return v
}

// FuzzDecide: whatever is observed, a decision breaks none of these.
func FuzzDecide(f *testing.F) {
	for seed := range 64 {
		bytes := make([]byte, 160)
		for i := range bytes {
			bytes[i] = byte((i + 1) * (seed*seed + 3*seed + 7) >> 2)
		}
		f.Add(bytes)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) { holdsOn(t, data) })
}

// TestDecideOnManyObservations walks more of the same than the fuzz target's seeds,
// the same ones each time.
func TestDecideOnManyObservations(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 160)
	seen := map[cluster.Reason]bool{}
	for i := range 20_000 {
		dull := i % 8 // of eight choices, so many are the first one
		for i := range data {
			if data[i] = 0; random.IntN(8) >= dull {
				data[i] = byte(random.Uint32())
			}
		}
		seen[holdsOn(t, data)] = true
	}
	if len(seen) < 50 { // the draw is worth something only while it reaches most of the rules
		t.Errorf("%d reasons were reached: %v", len(seen), slices.Sorted(maps.Keys(seen)))
	}
}

func holdsOn(t *testing.T, data []byte) cluster.Reason {
	t.Helper()
	bytes := choices(data)
	o := bytes.observation()
	d := Decide(&o)
	again := choices(data)
	untouched := again.observation()
	if !reflect.DeepEqual(o, untouched) {
		t.Fatal("the observation was changed")
	}
	for range 3 { // maps are walked in another order each time
		if e := Decide(&untouched); !reflect.DeepEqual(d, e) {
			t.Fatalf("two decisions on one observation:\n%+v\n%+v", d, e)
		}
	}
	beats(t, &o, d)
	for _, broken := range violations(&o, d) {
		t.Fatalf("%s\ndecision %+v\nobservation %+v", broken, d, o)
	}
	return d.Reason
}

// beats: while its holder leads, another beat changes no decision, but for the time
// until which it stands. The loop rests on that: it decides nothing when it sees one.
func beats(t *testing.T, o *Observation, d Decision) {
	t.Helper()
	v := &o.View.Value
	if !o.View.Good() || o.Refused || v.Beat == nil || v.Leader == nil || v.Beat.Term != v.Leader.Term || !o.Vacancy.Never() || Vacant(o) || !o.Suspicion.Since.Never() ||
		v.Switchover != nil || !v.Failover.Empty() || o.Beat.Revision != v.Beat.ModRevision ||
		v.Revision < int64(max(v.Leader.Term, o.Lease.Term)) { // a view that shows more than beats comes first
		return
	}
	later := *o
	beat := *v.Beat
	beat.ModRevision += 1000
	later.View.Value.Beat, later.View.At, later.View.Value.Revision = &beat, o.Now, v.Revision+1000
	later.Beat = Sighting{Revision: beat.ModRevision, At: o.Now}
	e := Decide(&later)
	if !e.Wake.Never() && (d.Wake.Never() || e.Wake < d.Wake) {
		t.Fatalf("another beat has the loop wake sooner:\n%+v\n%+v\nobservation %+v", d, e, o)
	}
	if e.Wake = d.Wake; !reflect.DeepEqual(d, e) {
		t.Fatalf("another beat changes the decision:\n%+v\n%+v\nobservation %+v", d, e, o)
	}
}

// violations names what no decision may do.
func violations(o *Observation, d Decision) (broken []string) {
	must := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	_, known := explanations[d.Reason]
	must(known, "reason %q is not explained", d.Reason)
	must(d.Wake == 0 || d.Wake > o.Now, "wakes in the past")
	must(!d.Done || o.Wish.Stop, "exits without being told to")
	must(d.Say.Position == nil || o.Lease.Term == 0, "a holder reports in a race")
	for _, a := range d.Actions {
		name := strings.TrimPrefix(fmt.Sprintf("%T", a), "election.")
		must(!o.Settings.Pause || inPauseAllowed(o, a), "%s in pause", name)
		must(!seeks(a) || o.Lease.Term == 0 || o.Lease.Resumed, "%s with a term", name)
		must(!o.Lease.Resumed || underResumed(a), "%s under a term that is only resumed", name)
		must(!rebuilds(a) || o.Lease.Term == 0, "%s with a term", name)
		must(!writes(o, a) || o.Lease.Term != 0, "%s without a term", name)
		must(KindOf(a) == JobNone || o.Job.Kind == JobNone, "%s while a job runs", name)
		broken = append(broken, wrongAction(o, a)...)
	}
	return broken
}

// wrongAction holds each action to its own conditions.
func wrongAction(o *Observation, a Action) (broken []string) {
	v, stopped := o.View.Value, o.Node.Good() && o.Node.Value.Mode == cluster.ModeStopped && !o.Guard.Running && o.Guard.Connected
	ok, what := true, ""
	switch a := a.(type) {
	case Resume:
		ok = o.View.At.Never() && o.Guard.Connected && !o.Guard.Frozen && o.Guard.Running && o.Guard.Writable && o.Now < o.Guard.Deadline && o.Guard.Term == a.Term && o.Self.Tenure.Term == a.Term
		what = "resumes a term that the guard does not keep"
	case Renew:
		ok = o.Guard.Connected && !o.Guard.Frozen && o.Node.Good() && o.Now.Sub(o.Node.At)-min(o.LookTook, o.Settings.Attempt()) <= o.Settings.RenewEvery()/2 && o.Lease.Term != 0 && !o.Lease.Unsettled && o.Lease.Condemned == ""
		what = "renews without guard, a fresh look or a settled term"
	case Release:
		gone := o.Lease.Condemned != "" && !o.Node.Good() && !o.Guard.Running && o.Guard.Connected // proved by the guard; its directory does not answer
		ok, what = (stopped || gone) && o.Lease.Term != 0, "releases before the server is proved stopped"
	case HandOver:
		ok, what = stopped && o.Lease.Term != 0 && a.Position.LSN.Known() && a.LeaseID != 0, "hands over before the server is proved stopped"
	case Acquire:
		mark := v.PausedAt
		ok = o.View.Good() && o.Guard.Connected && o.Self.MemberLease != 0 && (o.Now >= waitUntil(o) && (v.Leader == nil || staleLeader(o)) || goneForMost(o) && promisedEnough(o)) && (mark == nil || mark.Name == o.Self.Name || forced(o)) && !o.Lease.Unsettled &&
			(!byPatroni(o) || v.Sync.Rule().IsCopy(o.Self.Name) || forced(o))
		what = "acquires a lease that may be held"
	case PutInitialize:
		ok, what = a.SystemID != "" && v.Initialize == nil, "records no identifier, or over one"
	case ClaimInitialize:
		ok, what = v.Leader == nil && v.Initialize == nil && o.View.Good(), "claims the bootstrap of a cluster that exists"
	case InitDB:
		ok, what = o.Node.Value.Data == cluster.DataEmpty || o.Node.Value.Data == cluster.DataTombstone, "runs initdb into data"
	case Clone:
		m, known := v.LeaderMember()
		ok, what = known && m.RunsPrimary() && o.Node.Value.Data != cluster.DataUnknown, "clones without a running primary, or over what it could not see"
		ok = ok || o.Wish.Request != nil && known && m.RunsPrimary()
	case MoveAside:
		ok, what = o.Self.InitRevision != 0 && stopped, "moves data aside that this process did not make"
	case Promote:
		ok, what = a.Timeline > o.Node.Value.Timeline && slices.Contains(tenureNumbers(o), a.Timeline), "promotes onto a number that is not reserved"
	case PutPausedPrimary:
		ok = a.Name == o.Self.Name && o.Settings.Pause && o.Lease.Term != 0 ||
			a.Name == "" && !o.Settings.Pause && (o.Lease.Term != 0 && !o.Guard.Paused || o.Lease.Term == 0 && !(o.Guard.Running && o.Guard.Writable))
		what = "marks or unmarks wrongly"
	}
	if !ok {
		broken = append(broken, what)
	}
	return broken
}

// promisedEnough: so many have promised that nothing the holder does is acknowledged.
func promisedEnough(o *Observation) bool {
	all := promisedReports(o, ownReport(o))
	return promised(o) && !o.View.Value.Durability.Lax() && !slices.ContainsFunc(o.View.Value.Durability.Asking(), func(r cluster.Rule) bool {
		have, _ := counted(r, all)
		return have < r.Reports()
	})
}

func seeks(a Action) bool {
	switch a.(type) {
	case Acquire, Inherit, Accept, ClaimInitialize, FinishBootstrap, AbandonInitialize:
		return true
	}
	return false
}

// underResumed is all that is done before the key is put again.
func underResumed(a Action) bool {
	switch a.(type) {
	case Inherit, Acquire, AskFailsafe, LoseLease, Fence, StopServer:
		return true
	}
	return false
}

func rebuilds(a Action) bool {
	switch a.(type) {
	case Rejoin, Clone, InitDB, MoveAside, Follow:
		return true
	}
	return false
}

// writes: the action makes a server that may write. A restart by name in pause is
// the operator's own act.
func writes(o *Observation, a Action) bool {
	switch a := a.(type) {
	case Promote, Reserve, Renew, LoseLease, Settle, PutStatus, PutHistory, PutConfig, PutSwitchover, DeleteSwitchover, ClearFailover:
		return true
	case StartServer:
		return a.Writable
	case Restart:
		return a.Writable && !o.Settings.Pause
	}
	return false
}

// inPauseAllowed: what may be done in pause touches the store only, except what an
// operator asked for by name.
func inPauseAllowed(o *Observation, a Action) bool {
	switch a.(type) {
	case Fence: // what the guard should have done: no pause has lifted its deadline
		return stands(o) && o.Now >= overdueAt(o)
	case Renew, LoseLease, Settle, Inherit, Answer, PutStatus, PutHistory, PutConfig, PutPausedPrimary, ClearFailover, DeleteSwitchover, PutResult:
		return true
	case Acquire:
		return o.Node.Value.Mode == cluster.ModePrimary // its own lease that ran out
	case Release:
		return o.Node.Value.Mode == cluster.ModeStopped
	case Restart, Clone, Reload:
		return o.Wish.Request != nil
	}
	return false
}

// TestViolationsAreSeen: the fuzz target's net has no hole for the worst.
func TestViolationsAreSeen(t *testing.T) {
	cases := []struct {
		name string
		o    Observation
		do   Action
	}{
		{"promote without term", standby(lsn), Promote{Timeline: 9}},
		{"a writable start without term", cold("b"), StartServer{Writable: true}},
		{"promote in pause", standby(lsn, leased, inPause), Promote{Timeline: 4}},
		{"clone with term", standby(lsn, leased), Clone{}},
		{"release with a server", primary(), Release{}},
		{"acquire from a live holder", standby(lsn), Acquire{}},
		{"renew without guard", primary(func(o *Observation) { o.Guard.Connected = false }), Renew{}},
	}
	for _, c := range cases {
		if got := violations(&c.o, do(ReasonLeading, c.do)); len(got) == 0 {
			t.Errorf("%s was not seen", c.name)
		}
	}
	quiet := primary()
	if got := violations(&quiet, Decide(&quiet)); !slices.Equal(got, nil) {
		t.Errorf("a quiet primary violates %v", got)
	}
}
