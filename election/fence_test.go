package election

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func fenceRules() []rule {
	unsettled := func(o *Observation) { o.Lease.Unsettled = true }
	pastDeadline := func(o *Observation) { o.Lease.Renewed = ago(9500 * time.Millisecond) }
	noTerm := func(o *Observation) { o.Lease = Lease{} }
	noDeadline := func(o *Observation) { o.Guard.Deadline = 0 }
	led := func(name string) change {
		return view(func(v *cluster.View) { v.Leader = &cluster.Leader{Name: name, LeaseID: 7, Term: 130} })
	}
	noLeader := view(func(v *cluster.View) { v.Leader = nil })
	holder := func(f func(*cluster.Holder)) change {
		return view(func(v *cluster.View) { h := *v.Holder; f(&h); v.Holder = &h })
	}
	otherSystem := node(func(n *cluster.NodeState) { n.SystemID = "1" })
	neverRead := func(o *Observation) { o.View = cluster.Observed[cluster.View]{Err: "etcd does not answer", ErrAt: now} }
	justStarted := func(o *Observation) { o.Self.Started = ago(time.Second) }
	// handedOver: b gave the key to a, which has not accepted yet.
	handedOver := view(func(v *cluster.View) {
		v.Leader = &cluster.Leader{Name: "a", LeaseID: 1000 + 'a', Term: 120}
		v.Handover = &cluster.Handover{From: "b", To: "a", ID: "op", Position: cluster.Position{Timeline: 3, LSN: lsn}, ModRevision: 120}
	})
	inheritance := Inherit{Term: term, LeaseID: 1000 + 'a'}
	return []rule{
		// settle
		{name: "an unknown outcome is settled by a transaction, whatever the view says",
			given: cold("a", leased, unsettled, led("b")), reason: ReasonSettling, do: acts(Settle{})},
		{name: "an unknown outcome is settled one transaction at a time",
			given:  cold("a", leased, unsettled, func(o *Observation) { o.Lease.Busy = "settle" }),
			reason: ReasonSettling},
		{name: "past the deadline an unsettled term is forgotten, so that an agent can stop without etcd",
			given: cold("a", leased, unsettled, pastDeadline, storeDown), reason: ReasonDeadlinePassed, do: acts(LoseLease{})},

		// loseLease
		{name: "a holder that sees another term gives its own up",
			given: primary(led("b")), reason: ReasonLeaseLost, do: acts(LoseLease{})},
		{name: "a holder whose key was deleted by hand gives its term up",
			given: primary(noLeader), reason: ReasonLeaseLost, do: acts(LoseLease{})},
		{name: "a view older than the term says nothing about it",
			given: primary(noLeader, view(func(v *cluster.View) { v.Revision = int64(term) - 1 })), reason: ReasonLeading},
		{name: "a holder past its deadline gives its term up although etcd answers again",
			given: primary(pastDeadline), reason: ReasonDeadlinePassed, do: acts(LoseLease{})},
		{name: "a holder past its deadline gives its term up while etcd is away",
			given: primary(pastDeadline, storeDown), reason: ReasonDeadlinePassed, do: acts(LoseLease{})},

		// foreignSystem
		{name: "data of another cluster is not touched",
			given: cold("b", otherSystem), reason: ReasonForeignSystem},
		{name: "a primary of another cluster is not touched either",
			given: primary(noTerm, noDeadline, otherSystem), reason: ReasonForeignSystem},
		{name: "a holder whose data turns out to be foreign gives its term up",
			given: primary(otherSystem), reason: ReasonForeignSystem, do: acts(LoseLease{})},
		{name: "the loser of a bootstrap moves its own new directory aside",
			given:  cold("b", otherSystem, ended(JobInitDB, time.Second), func(o *Observation) { o.Self.InitRevision = 1 }),
			reason: ReasonAbandoning, do: acts(MoveAside{})},
		{name: "a directory that this process did not make is never moved aside",
			given:  cold("b", otherSystem, ended(JobStart, time.Second), func(o *Observation) { o.Self.InitRevision = 1 }),
			reason: ReasonForeignSystem},

		// givingAway
		{name: "while a hand-over is under way nothing is started under the term, whatever the view shows",
			given:  with(cold("b"), func(o *Observation) { o.Lease = Lease{Term: 100, Renewed: now, Busy: "hand_over", Giving: true} }),
			reason: ReasonHandingOver},

		// frozenGuard
		{name: "a fence that failed is tried again after a moment",
			given:  primary(func(o *Observation) { o.Guard.Frozen, o.Guard.FencedAt = true, ago(20*time.Millisecond) }),
			reason: ReasonGuardFrozen, also: wakes(now.Add(30 * time.Millisecond))},
		{name: "a job that waits for the frozen guard does not hold up the fence",
			given:  primary(func(o *Observation) { o.Guard.Frozen, o.Job.Kind, o.Job.Since = true, JobRestart, ago(time.Minute) }),
			reason: ReasonGuardFrozen, do: acts(Fence{})},
		{name: "one fence at a time",
			given:  primary(func(o *Observation) { o.Guard.Frozen, o.Guard.Fencing = true, true }),
			reason: ReasonGuardFrozen},

		// writableWithoutLease
		{name: "a writable server without a term is stopped while somebody else leads",
			given: primary(noTerm, led("b")), reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},
		{name: "a server the guard started to write is stopped without a term even if it cannot be seen",
			given:  primary(noTerm, led("b"), func(o *Observation) { o.Node = o.Node.Failed("timeout", now) }),
			reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},
		{name: "a server that the guard has not stopped at its deadline is killed past it",
			given: primary(noTerm, led("b"), storeDown, func(o *Observation) {
				o.Guard.Deadline = ago(o.Settings.Margin(0) / 2)
			}), reason: ReasonGuardFrozen, do: acts(Fence{})},
		{name: "so is one in the middle of its promotion, which may come through beside the next primary",
			given: standby(lsn, writing(JobPromote), storeDown, func(o *Observation) {
				o.Guard.Deadline = ago(o.Settings.Margin(0) / 2)
			}), reason: ReasonGuardFrozen, do: acts(Fence{})},
		{name: "so is one that the guard may have started to write, and was frozen before it said so",
			given: cold("a", writing(JobStart), storeDown, func(o *Observation) {
				o.Guard.Deadline = ago(o.Settings.Margin(0) / 2)
			}), reason: ReasonGuardFrozen, do: acts(Fence{})},
		{name: "but no standby that is being started",
			given: cold("a", running(JobStart), storeDown, func(o *Observation) {
				o.Guard.Deadline = ago(o.Settings.Margin(0) / 2)
			}), reason: reasonOfJob(JobStart)},
		{name: "a promotion whose deadline has just passed is looked after when half of the margin has",
			given: standby(lsn, writing(JobPromote), storeDown, func(o *Observation) {
				o.Guard.Deadline = ago(o.Settings.Margin(0)/2 - time.Millisecond)
			}), reason: reasonOfJob(JobPromote), also: wakes(now.Add(time.Millisecond))},
		{name: "a standby has no deadline that anybody could miss",
			given:  standby(lsn, led("b"), func(o *Observation) { o.Guard.Deadline = ago(time.Minute) }),
			reason: ReasonFollowing},
		{name: "a guard whose deadline has just passed is given half of the margin",
			given: primary(noTerm, led("b"), storeDown, func(o *Observation) {
				o.Guard.Deadline = ago(o.Settings.Margin(0)/2 - time.Millisecond)
			}), reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},
		{name: "so is one in a pause that the store has not recorded: the deadline stands",
			given: primary(noTerm, led("b"), storeDown, inPause, func(o *Observation) {
				o.Guard.Deadline = ago(o.Settings.Margin(0) / 2)
			}), reason: ReasonGuardFrozen, do: acts(Fence{})},
		{name: "and the moment when that is due is waited for",
			given:  primary(noTerm, led("b"), storeDown, inPause, func(o *Observation) { o.Guard.Deadline = now.Add(time.Second) }),
			reason: ReasonPaused, also: wakes(now.Add(1500 * time.Millisecond))},
		{name: "in a pause that it has recorded the server writes on, whatever its guard was told",
			given: primary(noTerm, led("b"), storeDown, inPause, mark("a"), func(o *Observation) {
				o.Guard.Deadline = ago(o.Settings.Margin(0) / 2)
			}), reason: ReasonPaused},
		{name: "a primary started behind the guard's back is killed without it",
			given: primary(noTerm, led("b"), func(o *Observation) { o.Guard.Running = false }), reason: ReasonFenceNoLease, do: acts(Fence{})},
		{name: "an old sight of a primary is no primary once the guard says it is gone",
			given: primary(noTerm, led("b"), func(o *Observation) {
				o.Guard.Running = false
				o.Node = o.Node.Failed("the server has exited", ago(time.Second))
			}), reason: ReasonServerUnknown, also: looks},
		{name: "a new worker waits for its first view while the guard's deadline protects the server",
			given: primary(noTerm, neverRead), reason: ReasonWaitingForStore},
		{name: "a new worker that loses etcd again still relies on the guard's deadline",
			given: primary(noTerm, storeDown), reason: ReasonWaitingForStore},
		{name: "a writable server past the guard's deadline is stopped even without etcd",
			given:  primary(noTerm, storeDown, func(o *Observation) { o.Guard.Deadline = ago(1) }),
			reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},

		// inherit
		{name: "a new worker continues on the lease of the primary its guard holds",
			given: primary(noTerm), reason: ReasonInheriting, do: acts(inheritance)},
		{name: "a store that takes its time over that does not hide the moment when the guard is overdue",
			given: primary(noTerm, func(o *Observation) {
				o.Lease.Busy, o.Lease.Tried, o.Guard.Deadline = "inherit", ago(time.Second), ago(100*time.Millisecond)
			}), reason: ReasonInheriting, also: wakes(now.Add(400 * time.Millisecond))},
		{name: "a lease is not inherited on an old look at the server",
			given:  cold("a", func(o *Observation) { o.Node.At = ago(time.Minute) }),
			reason: ReasonInheriting},
		{name: "a new worker continues on its lease when the server is stopped",
			given: cold("a"), reason: ReasonInheriting, do: acts(inheritance)},
		{name: "a new worker waits a moment between two tries to inherit",
			given:  primary(noTerm, func(o *Observation) { o.Lease.Tried = ago(10 * time.Millisecond) }),
			reason: ReasonInheriting, also: wakes(now.Add(40 * time.Millisecond))},
		{name: "a key that another machine of my name took is foreign",
			given: cold("a", holder(func(h *cluster.Holder) { h.Node = "node-z" })), reason: ReasonForeignHolder},
		{name: "a key that a copy of my machine took is foreign, though it has my state directory",
			given: cold("a", holder(func(h *cluster.Holder) { h.BootID = "boot-z" })), reason: ReasonForeignHolder},
		{name: "a key that was taken for another server than my guard's is foreign and my writable server stops",
			given:  primary(noTerm, holder(func(h *cluster.Holder) { h.Instance = "i0" })),
			reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},
		{name: "a key that Patroni took under my name is mine while my guard has the server",
			given: primary(noTerm, view(func(v *cluster.View) { v.Holder, v.Beat = nil, nil })), reason: ReasonInheriting, do: acts(inheritance)},

		// adopt
		{name: "a running primary that nobody ever led is adopted",
			given:  primary(noTerm, noDeadline, noLeader, view(func(v *cluster.View) { v.Beat, v.Timelines = nil, nil })),
			reason: ReasonAdoptPrimary, do: acts(Acquire{})},
		{name: "a running primary in an empty store has its identifier recorded first, and is not stopped",
			given:  primary(noTerm, noDeadline, view(func(v *cluster.View) { *v = cluster.View{Revision: 5} })),
			reason: ReasonRecordSystem, do: acts(PutInitialize{SystemID: sys})},
		{name: "a running primary beside somebody else's bootstrap is left alone",
			given: primary(noTerm, noDeadline, view(func(v *cluster.View) {
				*v = cluster.View{Revision: 5, Initialize: &cluster.Initialize{LeaseID: 9, ModRevision: 4}}
			})), reason: ReasonWaitingBootstrap},
		{name: "a running server that nobody ever led is looked at before it is judged",
			given: primary(noTerm, noLeader, noDeadline, func(o *Observation) {
				o.Node, o.Looking = o.Node.Failed("the guard has just taken it over", now), true
			}),
			reason: ReasonAdoptPrimary},
		{name: "a primary whose last holder may be alive is not adopted",
			given:  primary(noTerm, noDeadline, noLeader, view(func(v *cluster.View) { v.Timelines = nil })),
			reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},
		{name: "a primary on a timeline that some term reserved is not adopted",
			given:  primary(noTerm, noDeadline, noLeader, func(o *Observation) { o.Beat.At = ago(time.Minute) }),
			reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},
		{name: "a server that once had a deadline is not adopted",
			given:  primary(noTerm, noLeader, view(func(v *cluster.View) { v.Beat, v.Timelines = nil, nil })),
			reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},

		// namedLeader
		{name: "a hand-over is accepted with a timeline of its own",
			given: standby(lsn, handedOver), reason: ReasonAcceptingHandover, do: acts(Accept{Term: 120, Timeline: 4}, Follow{})},
		{name: "a hand-over to the lease of another machine of my name is not mine",
			given: standby(lsn, handedOver, func(o *Observation) { o.Self.MemberLease = 9 }), reason: ReasonForeignHolder},
		{name: "a hand-over that was accepted, and whose term has ended, is not accepted again by a view of before",
			given: standby(lsn, handedOver, func(o *Observation) { o.Self.Ended = 120 }), reason: ReasonForeignHolder},
		{name: "one of after the last term is accepted",
			given: standby(lsn, handedOver, func(o *Observation) { o.Self.Ended = 119 }), reason: ReasonAcceptingHandover, do: acts(Accept{Term: 120, Timeline: 4}, Follow{})},
		{name: "a holder that lost its term while etcd is away concludes nothing from its old key",
			given: cold("a", storeDown), reason: ReasonWaitingForStore},
		{name: "a hand-over that a worker before me accepted is inherited, which gives a new term",
			given: standby(lsn, handedOver, view(func(v *cluster.View) {
				v.Beat = &cluster.Beat{TTL: 10_000, Term: 120, ModRevision: 125}
				v.Holder = &cluster.Holder{Name: "a", Node: "node-a", Instance: "i1", BootID: "boot-a"}
			})), reason: ReasonInheriting, do: acts(Inherit{Term: 120, LeaseID: 1000 + 'a'})},

		// blind
		{name: "without a guard nothing is done",
			given: standby(lsn, func(o *Observation) { o.Guard = Guard{} }), reason: ReasonWaitingForGuard},
		{name: "an agent that must stop does not wait for a guard for ever",
			given: standby(lsn, stop, func(o *Observation) {
				o.Guard = Guard{}
				o.Node = o.Node.Failed("no session with the guard", ago(time.Minute))
			}), reason: ReasonWaitingForGuard, also: done},
		{name: "an agent that must stop waits for its guard while its lease may run",
			given: primary(stop, func(o *Observation) {
				o.Guard = Guard{}
				o.Node = o.Node.Failed("no session with the guard", ago(time.Minute))
			}), reason: ReasonWaitingForGuard, also: stays},
		{name: "a server that cannot be seen is looked at again, and nothing else",
			given:  standby(lsn, func(o *Observation) { o.Node = o.Node.Failed("timeout", ago(time.Second)) }),
			reason: ReasonServerUnknown, also: looks},
		{name: "looks at a server that cannot be seen are paced",
			given:  standby(lsn, func(o *Observation) { o.Node = o.Node.Failed("timeout", ago(10*time.Millisecond)) }),
			reason: ReasonServerUnknown, also: wakes(now.Add(40 * time.Millisecond))},

		// withoutStore
		{name: "a stopped server waits for etcd at first",
			given: cold("b", neverRead, justStarted), reason: ReasonWaitingForStore, also: wakes(now.Add(5 * time.Second))},
		{name: "after a while without etcd a stopped server is started for reading",
			given: cold("b", neverRead), reason: ReasonStandbyWithoutDC, do: acts(StartServer{})},
		{name: "a store that was set back is not believed",
			given:  cold("b", neverRead, justStarted, func(o *Observation) { o.Refused = true }),
			reason: ReasonStoreRefused},
		{name: "an agent that never saw etcd stops when told",
			given: standby(lsn, neverRead, stop), reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
		{name: "without etcd the guard remembers a pause: nothing is started",
			given: cold("b", neverRead, func(o *Observation) { o.Guard.Paused = true }), reason: ReasonWaitingForStore},
		{name: "nor stopped with its agent",
			given: standby(lsn, neverRead, stop, func(o *Observation) { o.Guard.Paused = true }), reason: ReasonWaitingForStore, also: done},
		{name: "a job goes on without etcd",
			given: cold("b", neverRead, running(JobStart)), reason: reasonOfJob(JobStart)},

		// stopping
		{name: "a server that hangs is stopped without being seen",
			given: standby(lsn, stop, func(o *Observation) {
				o.Node.At = ago(time.Minute)
				o.Node = o.Node.Failed("timeout", ago(time.Second))
			}),
			reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
		{name: "a server that was seen just now is looked at before it is stopped again",
			given:  standby(lsn, stop, ended(JobStop, 0), func(o *Observation) { o.Node = o.Node.Failed("a job has just ended", now) }),
			reason: ReasonServerUnknown},
		{name: "an agent whose guard has no server exits although nothing can be seen",
			given: standby(lsn, stop, func(o *Observation) {
				o.Guard.Running = false
				o.Node.At = ago(time.Minute)
				o.Node = o.Node.Failed("permission denied", now)
			}), reason: ReasonStopped, also: done},
		{name: "nothing is given back on an old look at the server",
			given: cold("a", leased, stop, func(o *Observation) {
				o.Node.At = ago(7 * time.Second)
				o.Node = o.Node.Failed("permission denied", now)
			}), reason: ReasonHolderWaits},
		{name: "a standby's agent stops its server first",
			given: standby(lsn, stop), reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
		{name: "a standby's agent may exit when its server is stopped",
			given: cold("b", stop), reason: ReasonStopped, also: done},
		{name: "a server that the guard still has is not stopped yet",
			given:  cold("b", stop, func(o *Observation) { o.Guard.Running = true }),
			reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
		{name: "failures of other work do not hold a stop up",
			given:  standby(lsn, stop, failed(JobRejoin, 5, 20*time.Millisecond), func(o *Observation) { o.Job.LastEnded = ago(60 * time.Millisecond) }),
			reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
		{name: "an agent that is told to stop waits for the running job",
			given: standby(lsn, stop, running(JobRejoin)), reason: reasonOfJob(JobRejoin), also: stays},
		{name: "an agent that leaves keeps its server running",
			given: primary(stop, func(o *Observation) { o.Wish.Leave = true }), reason: ReasonStopped, also: done},
		{name: "a primary without a candidate is stopped before its lease is given back",
			given:  primary(stop, view(func(v *cluster.View) { delete(v.Members, "b"); delete(v.Members, "c") })),
			reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
		{name: "a stopped holder gives its lease back and then exits",
			given: cold("a", leased, stop), reason: ReasonReleasing, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn + 0x70}, Clean: true}), also: stays},
		{name: "a holder that was about to promote stops instead",
			given: standby(lsn, leased, stop), reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
	}
}

func TestFence(t *testing.T) { check(t, fenceRules()) }

func pauseRules() []rule {
	noTerm := func(o *Observation) { o.Lease = Lease{} }
	noLeader := view(func(v *cluster.View) { v.Leader = nil })
	longAgo := func(o *Observation) { o.Lease.Renewed = ago(time.Minute) }
	silent := func(o *Observation) { o.Beat.At = ago(time.Minute) }
	unmarks := func(o *Observation) { o.Self.Unmarked = 300 }
	return []rule{
		{name: "a primary that sees the pause records itself before anything else",
			given: primary(inPause, wish("a", "b")), reason: ReasonPausedLeading, do: acts(PutPausedPrimary{Name: "a"})},
		{name: "a recorded primary keeps its lease and rests",
			given: primary(inPause, mark("a")), reason: ReasonPausedLeading},
		{name: "a switchover that has begun does not outlast the beginning of a pause: it would go on at its end",
			given: primary(inPause, mark("a"), wish("a", "b"), switchover("a", "b", cluster.SwitchoverPreparing)), reason: ReasonSwitchoverAborted,
			do: acts(ClearFailover{Revision: 400, Result: cluster.Result{ID: "op", Member: "a", Message: "switchover to b was rolled back: the cluster was paused"}}, DeleteSwitchover{})},
		{name: "in pause no slot is made",
			given: primary(inPause, mark("a"), node(func(n *cluster.NodeState) { n.Slots = nil })), reason: ReasonPausedLeading},
		{name: "a recorded primary writes on without a lease",
			given: primary(inPause, mark("a"), longAgo, storeDown, func(o *Observation) { o.Lease.Tried = now }), reason: ReasonPausedLeading},
		{name: "a pause that is not recorded lifts no deadline",
			given: primary(inPause, longAgo, storeDown), reason: ReasonDeadlinePassed, do: acts(LoseLease{})},
		{name: "nor does a mark that this process has asked the store to take back: that may still arrive",
			given: primary(inPause, mark("a"), unmarks, longAgo, storeDown), reason: ReasonDeadlinePassed, do: acts(LoseLease{})},
		{name: "nor does one of an earlier pause, which a worker before this one may have asked the store to take back",
			given: primary(inPause, mark("a"), func(o *Observation) { o.Self.MarksFrom = 301 }, longAgo, storeDown), reason: ReasonDeadlinePassed, do: acts(LoseLease{})},
		{name: "a new worker puts that one anew once it leads",
			given: primary(inPause, mark("a"), func(o *Observation) { o.Self.MarksFrom = 301 }), reason: ReasonPausedLeading, do: acts(PutPausedPrimary{Name: "a"})},
		{name: "in the next pause that one is put anew",
			given: primary(inPause, mark("a"), unmarks), reason: ReasonPausedLeading, do: acts(PutPausedPrimary{Name: "a"})},
		{name: "after a pause the mark stays while a word that lifts the deadline may still reach the guard",
			given: primary(mark("a"), func(o *Observation) { o.Guard.MayPause = true }), reason: ReasonLeading},
		{name: "a mark that names another lifts no deadline",
			given: primary(inPause, mark("b"), longAgo), reason: ReasonDeadlinePassed, do: acts(LoseLease{})},
		{name: "an agent stopped in pause records its primary before it leaves it behind",
			given: primary(inPause, stop), reason: ReasonPausedLeading, do: acts(PutPausedPrimary{Name: "a"}), also: stays},
		{name: "an agent stopped in pause leaves a recorded primary running",
			given: primary(inPause, stop, mark("a")), reason: ReasonStopped, also: done},
		{name: "a paused primary whose lease ran out takes it again",
			given:  primary(inPause, mark("a"), noTerm, noLeader, silent),
			reason: ReasonPausedLeading, do: acts(Acquire{BeatRevision: beat, PausedRevision: 300})},
		{name: "a primary promoted by hand in pause takes no lease while another is marked",
			given: primary(inPause, mark("b"), noTerm, noLeader, silent), reason: ReasonPaused},
		{name: "a new worker in pause continues on its lease",
			given: primary(inPause, mark("a"), noTerm), reason: ReasonInheriting, do: acts(Inherit{Term: term, LeaseID: 1000 + 'a'})},
		{name: "a holder whose server was stopped in pause gives its lease back",
			given:  cold("a", leased, inPause, mark("a")),
			reason: ReasonPausedNoPrimary, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn + 0x70}, Clean: true})},
		{name: "a holder gives nothing back while its guard has the server",
			given: cold("a", leased, inPause, mark("a"), func(o *Observation) { o.Guard.Running = true }), reason: ReasonPaused},
		{name: "a restart that an operator asked for in pause is no reason to give the lease back",
			given: cold("a", leased, inPause, mark("a"), running(JobRestart)), reason: reasonOfJob(JobRestart)},
		{name: "an unsettled release does not keep an agent from stopping in pause",
			given:  cold("a", leased, inPause, mark("a"), stop, func(o *Observation) { o.Lease.Unsettled = true }),
			reason: ReasonStopped, also: done},
		{name: "a standby rests in pause",
			given: standby(lsn, inPause), reason: ReasonPaused},
		{name: "a stopped standby is not started in pause",
			given: cold("b", inPause), reason: ReasonPaused},
		{name: "a holder that has not promoted yet does not in pause",
			given: standby(lsn, leased, inPause), reason: ReasonPaused},
		{name: "nobody elects in pause",
			given: vacant(lsn, inPause), reason: ReasonPaused},
		{name: "in pause nothing is stopped although it writes without a lease",
			given: primary(noTerm, inPause, view(func(v *cluster.View) { v.Leader = &cluster.Leader{Name: "b", Term: 130} })), reason: ReasonPaused},
		{name: "in pause not even a frozen guard is fenced",
			given: primary(inPause, mark("a"), func(o *Observation) { o.Guard.Frozen = true }), reason: ReasonPausedLeading},
		{name: "a switchover asked for in pause is refused",
			given: primary(inPause, mark("a"), wish("a", "b")), reason: ReasonSwitchoverRefused,
			do: acts(ClearFailover{Revision: 400, Result: cluster.Result{ID: "op", Member: "a", Refused: true, NewLeader: "a",
				Message: "switchover is not possible: the cluster is paused: resume it first"}})},

		// after the pause
		{name: "after the pause the mark stands until the guard enforces the deadline",
			given: primary(mark("a"), func(o *Observation) { o.Guard.Paused = true }), reason: ReasonLeading},
		{name: "then it is taken back",
			given: primary(mark("a")), reason: ReasonLeading, do: acts(PutPausedPrimary{Revision: 300})},
		{name: "a leader by hand-over takes its predecessor's mark back",
			given: primary(mark("b")), reason: ReasonLeading, do: acts(PutPausedPrimary{Revision: 300})},
		{name: "a marked primary that lost its lease in the pause is not stopped by the resume",
			given:  primary(mark("a"), noTerm, noLeader, silent),
			reason: ReasonAdoptPrimary, do: acts(Acquire{BeatRevision: beat, PausedRevision: 300})},
		{name: "it waits until no other holder can be alive",
			given: primary(mark("a"), noTerm, noLeader), reason: ReasonAdoptPrimary, also: wakes(now.Add(9 * time.Second))},
		{name: "a marked primary whose cluster somebody else was forced to lead is stopped",
			given:  primary(mark("a"), noTerm, view(func(v *cluster.View) { v.Leader = &cluster.Leader{Name: "b", Term: 130} })),
			reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},
		{name: "a member that was primary in the pause and is stopped now says so",
			given:  cold("b", mark("a"), view(func(v *cluster.View) { v.Leader = nil; v.Holder = nil })),
			reason: ReasonStartToRace, do: acts(StartServer{}, PutPausedPrimary{Revision: 300})},
		{name: "a machine cloned with the marked name takes nothing back",
			given: cold("b", mark("a"), view(func(v *cluster.View) {
				v.Leader = nil
				v.Holder = &cluster.Holder{Name: "a", Node: "node-z"}
			})), reason: ReasonStartToRace, do: acts(StartServer{})},
		{name: "a marked server that may still write keeps its mark",
			given: vacant(lsn, mark("a"), reports("c", lsn), func(o *Observation) { o.Guard.Writable = true; o.Node.Value.Mode = cluster.ModeStarting }),
			// Its guard says that it may write, which is taken for writing.
			reason: ReasonFenceNoLease, do: acts(StopServer{Mode: StopImmediate})},
	}
}

func TestPause(t *testing.T) { check(t, pauseRules()) }

// An operator wants to know what kept the lease from being renewed.
func TestADeadlineThatPassedSaysWhy(t *testing.T) {
	past := func(o *Observation) { o.Lease.Renewed, o.Lease.Tried = ago(time.Minute), ago(time.Minute) }
	for want, given := range map[string]Observation{
		"no renewal counted for 1m0s":                            primary(past),
		"no renewal counted for 1m0s: etcd has confirmed none":   primary(past, func(o *Observation) { o.Lease.Tried = ago(time.Second) }),
		"no renewal counted for 1m0s: the guard does not answer": primary(past, func(o *Observation) { o.Guard.Frozen = true }),
		"no renewal counted for 1m0s: the server could not be looked at (connection refused)": primary(past, func(o *Observation) {
			o.Node = o.Node.Failed("connection refused", ago(time.Second))
		}),
	} {
		if d, lost := loseLease(&given); !lost || d.Detail != want {
			t.Errorf("%v, %q, want %q", lost, d.Detail, want)
		}
	}
}
