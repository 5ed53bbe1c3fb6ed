package election

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The builders below make the quiet cluster that most cases start from: members a,
// b and c on timeline 3; the observing member is a. A case changes what it is
// about, and nothing else.

const (
	now  = cluster.Instant(1000 * time.Second)
	sys  = "7268616322854375442"
	lsn  = cluster.LSN(0x5000000)
	term = cluster.Term(100)
	beat = int64(110)
)

// change is one difference from a builder's cluster.
type change func(*Observation)

func with(o Observation, changes ...change) Observation {
	for _, c := range changes {
		c(&o)
	}
	return o
}

func ago(d time.Duration) cluster.Instant { return now.Add(-d) }

func member(name string, role cluster.Role, at cluster.LSN) cluster.Member {
	last := name[len(name)-1]
	return cluster.Member{
		Name: name, ConnURL: "postgres://10.0.0." + string('1'+last-'a') + ":5432/postgres",
		State: cluster.StateRunning, Role: role, Timeline: 3, XlogLocation: at,
		Keeper: &cluster.MemberKeeper{Version: "1", Node: "node-" + name}, LeaseID: 1000 + int64(last),
	}
}

// history of timeline 3.
func history() cluster.History {
	return cluster.History{
		{Timeline: 1, Switch: 0x3000000, Reason: "no recovery target specified", Time: "2026-01-01T10:00:00+00:00", NewLeader: "b"},
		{Timeline: 2, Switch: 0x4000000, Reason: "no recovery target specified", Time: "2026-01-02T10:00:00+00:00", NewLeader: "a"},
	}
}

// base is a healthy cluster led by leader, as member a sees it.
func base(leader string) Observation {
	v := cluster.View{
		ClusterID: 1, Revision: 500,
		Initialize: &cluster.Initialize{SystemID: sys, ModRevision: 2},
		Leader:     &cluster.Leader{Name: leader, LeaseID: 1000 + int64(leader[0]), Term: term},
		Members: map[string]cluster.Member{
			"a": member("a", cluster.RoleReplica, lsn), "b": member("b", cluster.RoleReplica, lsn), "c": member("c", cluster.RoleReplica, lsn),
		},
		Config:    &cluster.Config{Raw: []byte("{}"), ModRevision: 3},
		Beat:      &cluster.Beat{TTL: 10_000, Term: term, ModRevision: beat},
		Holder:    &cluster.Holder{Name: leader, Node: "node-" + leader, Instance: "i1", BootID: "boot-" + leader},
		History:   history(),
		Status:    &cluster.Positions{Optime: lsn, Timeline: 3, Parent: 2, Switch: 0x4000000},
		Timelines: &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 3, Term: term}}, ModRevision: 90},
	}
	m := v.Members[leader]
	m.Role = cluster.RolePrimary
	v.Members[leader] = m
	return Observation{
		Now:      now,
		Self:     Self{Name: "a", Node: "node-a", BootID: "boot-a", MemberLease: 1000 + 'a', Started: ago(500 * time.Second), Checkpointed: true},
		Settings: cluster.DefaultSettings(),
		View:     cluster.Seen(v, ago(time.Second)),
		Guard:    Guard{Connected: true, Running: true, Instance: "i1"},
		Beat:     Sighting{Revision: beat, At: ago(time.Second)},
		Read:     now,
	}
}

// primary: a leads and all is well.
func primary(changes ...change) Observation {
	o := base("a")
	o.Node = cluster.Seen(cluster.NodeState{
		Mode: cluster.ModePrimary, Data: cluster.DataValid, SystemID: sys, Timeline: 3, ServerVersion: 150004, WriteLSN: lsn,
		Control: cluster.ControlData{State: cluster.ControlInProduction, SystemID: sys, Timeline: 3},
		Walsenders: []cluster.Walsender{
			{Name: "b", State: "streaming", Flush: lsn}, {Name: "c", State: "streaming", Flush: lsn},
		},
		Slots:           []cluster.Slot{{Name: "b", Type: "physical"}, {Name: "c", Type: "physical"}},
		TimelineHistory: history(),
	}, ago(50*time.Millisecond))
	o.Guard.Writable, o.Guard.Deadline = true, now.Add(8900*time.Millisecond)
	o.Lease = Lease{Term: term, Renewed: ago(100 * time.Millisecond), Tried: ago(100 * time.Millisecond), Acquired: ago(100 * time.Second)}
	return with(o, changes...)
}

// standby: b leads and a streams from it.
func standby(at cluster.LSN, changes ...change) Observation {
	o := base("b")
	o.Node = cluster.Seen(standbyNode(at), ago(50*time.Millisecond))
	return with(o, changes...)
}

func standbyNode(at cluster.LSN) cluster.NodeState {
	return cluster.NodeState{
		Mode: cluster.ModeStandby, EndKnown: true, Data: cluster.DataValid, SystemID: sys, Timeline: 3, ReceiveLSN: at, ReplayLSN: at,
		Control:         cluster.ControlData{State: cluster.ControlInArchiveRecovery, SystemID: sys, Timeline: 3, StandbySignal: true},
		Receiver:        &cluster.Receiver{Status: "streaming", Host: "10.0.0.2", Port: "5432"},
		PrimaryConninfo: "user=replicator host=10.0.0.2 port=5432 application_name=a", PrimarySlotName: "a",
	}
}

// readsOwn: its server was started a moment ago, and has not read all of its own WAL.
var readsOwn = node(func(n *cluster.NodeState) { n.EndKnown, n.ReceiveLSN = false, 0 })

// vacant: b led and has been silent for longer than T; its key and member key are
// gone. Nobody has reported yet.
func vacant(at cluster.LSN, changes ...change) Observation {
	o := standby(at)
	edit(&o, func(v *cluster.View) {
		v.Leader = nil
		delete(v.Members, "b")
	})
	o.Beat.At = ago(11 * time.Second)
	o.Vacancy = ago(100 * time.Millisecond)
	o.Node.Value.Receiver = nil
	return with(o, changes...)
}

// cold: a's server is stopped, last shut down cleanly as a primary.
func cold(leader string, changes ...change) Observation {
	o := base(leader)
	o.Guard.Running = false
	o.Node = cluster.Seen(cluster.NodeState{
		Mode: cluster.ModeStopped, Data: cluster.DataValid, SystemID: sys, Timeline: 3,
		Control: cluster.ControlData{State: cluster.ControlShutdown, SystemID: sys, Timeline: 3, Checkpoint: lsn, CheckpointEnd: lsn + 0x70},
	}, ago(50*time.Millisecond))
	return with(o, changes...)
}

// fresh: an empty directory and an empty store.
func fresh(changes ...change) Observation {
	o := cold("b", node(func(n *cluster.NodeState) { *n = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty} }))
	o.View.Value = cluster.View{ClusterID: 1, Revision: 5}
	o.Beat = Sighting{}
	return with(o, changes...)
}

// leased gives a's observation the lease.
func leased(o *Observation) {
	edit(o, func(v *cluster.View) {
		v.Leader = &cluster.Leader{Name: "a", LeaseID: o.Self.MemberLease, Term: term}
		v.Holder = &cluster.Holder{Name: "a", Node: "node-a", Instance: o.Guard.Instance, BootID: "boot-a"}
	})
	o.Lease = Lease{Term: term, Renewed: ago(100 * time.Millisecond), Tried: ago(100 * time.Millisecond)}
	o.Guard.Deadline = now.Add(8900 * time.Millisecond)
}

// edit changes the view, whose map it copies first.
func edit(o *Observation, f func(*cluster.View)) {
	o.View.Value.Members = maps.Clone(o.View.Value.Members)
	f(&o.View.Value)
}

func view(f func(*cluster.View)) change { return func(o *Observation) { edit(o, f) } }

func node(f func(*cluster.NodeState)) change {
	return func(o *Observation) {
		o.Node.Value.Slots = slices.Clone(o.Node.Value.Slots)
		o.Node.Value.Walsenders = slices.Clone(o.Node.Value.Walsenders)
		f(&o.Node.Value)
	}
}

// who changes one member key.
func who(name string, f func(*cluster.Member)) change {
	return view(func(v *cluster.View) {
		m := v.Members[name]
		if m.Keeper != nil {
			k := *m.Keeper
			m.Keeper = &k
		}
		f(&m)
		v.Members[name] = m
	})
}

// reports has a member report its position for the vacancy of the last beat.
func reports(name string, at cluster.LSN) change {
	return who(name, func(m *cluster.Member) {
		m.Keeper.Vacancy, m.Keeper.Position = beat, &cluster.Position{Timeline: 3, LSN: at}
	})
}

func inPause(o *Observation) { o.Settings.Pause = true }
func stop(o *Observation)    { o.Wish.Stop = true }

// mark has the store say that name was primary in a pause.
func mark(name string) change {
	return view(func(v *cluster.View) { v.PausedAt = &cluster.PausedPrimary{Name: name, ModRevision: 300} })
}

func storeDown(o *Observation) { o.View = o.View.Failed("etcd does not answer", now) }

// writing is a job that has the server write.
func writing(kind JobKind) change {
	return func(o *Observation) { running(kind)(o); o.Job.Writes = true }
}

func running(kind JobKind) change {
	return func(o *Observation) { o.Job.Kind, o.Job.Since = kind, ago(time.Second) }
}

func failed(kind JobKind, times int, since time.Duration) change {
	return func(o *Observation) {
		o.Job = Job{Last: kind, LastErr: "it broke", LastEnded: ago(since), Failures: times}
	}
}

func ended(kind JobKind, since time.Duration) change {
	return func(o *Observation) { o.Job = Job{Last: kind, LastEnded: ago(since)} }
}

// wish has the operator ask for a switchover (from and to) or failover (to), now.
func wish(from, to string) change {
	return func(o *Observation) {
		edit(o, func(v *cluster.View) {
			v.Failover, v.FailoverRev = &cluster.Failover{Leader: from, Member: to, ID: "op", ModRevision: 400}, 400
		})
		o.Wish.FailoverDue = true
	}
}

// switchover records a switchover from -> to in a phase, seen for a second.
func switchover(from, to string, phase cluster.SwitchoverPhase) change {
	return func(o *Observation) {
		edit(o, func(v *cluster.View) {
			v.Switchover = &cluster.Switchover{ID: "op", From: from, To: to, Phase: phase, Term: term, ModRevision: 410}
		})
		o.Phase = PhaseSeen{ID: "op", Phase: phase, Since: ago(time.Second)}
	}
}

// rule is one sentence about Decide.
type rule struct {
	name   string
	given  Observation
	reason cluster.Reason
	do     []Action
	// also checks what else the sentence says.
	also func(*testing.T, Decision)
}

// allRules is every table, for the tests about all of them.
func allRules() []rule {
	return slices.Concat(decideRules(), fenceRules(), pauseRules(), bootstrapRules(), holderRules(),
		raceRules(), followRules(), switchoverRules(), requestRules(), synchronousRules(), sickRules(), failsafeRules(), goneRules(), patroniRules())
}

func check(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			d := Decide(&r.given)
			if d.Reason != r.reason {
				t.Errorf("reason %q (%s), want %q", d.Reason, d.Detail, r.reason)
			}
			if diff := cmp.Diff(r.do, d.Actions, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if r.also != nil {
				r.also(t, d)
			}
		})
	}
}

func acts(a ...Action) []Action { return a }

// wakes checks when the decision asks to look again.
func wakes(at cluster.Instant) func(*testing.T, Decision) {
	return func(t *testing.T, d Decision) {
		t.Helper()
		if d.Wake != at {
			t.Errorf("wake in %s, want in %s", d.Wake.Sub(now), at.Sub(now))
		}
	}
}

func looks(t *testing.T, d Decision) {
	t.Helper()
	if !d.Look {
		t.Error("asks for no look")
	}
}

func done(t *testing.T, d Decision) {
	t.Helper()
	if !d.Done {
		t.Error("the agent may not exit")
	}
}

func stays(t *testing.T, d Decision) {
	t.Helper()
	if d.Done {
		t.Error("the agent may exit")
	}
}

func slots(has ...cluster.Slot) change {
	return node(func(n *cluster.NodeState) { n.Slots = has })
}

// says checks what the member key must tell.
func says(want Say) func(*testing.T, Decision) {
	return func(t *testing.T, d Decision) {
		t.Helper()
		if diff := cmp.Diff(want, d.Say); diff != "" {
			t.Errorf("says (-want +got):\n%s", diff)
		}
	}
}

// reservedAt has the store reserve a number for the term held.
func reservedAt(number cluster.Timeline) change {
	return view(func(v *cluster.View) {
		v.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 3, Term: 50}, {Timeline: number, Term: term}}, ModRevision: 120}
	})
}
