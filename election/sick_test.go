package election

import (
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// ails has a check fail for that long, as its probe said a moment ago.
func ails(check cluster.CheckName, a cluster.Ailment, since time.Duration) change {
	return func(o *Observation) {
		*o.Health.Of(check) = cluster.Check{Ailment: a, Detail: "as the test has it", Since: ago(since), At: ago(100 * time.Millisecond), Failures: 4}
	}
}

func condemnedFor(a cluster.Ailment) change { return func(o *Observation) { o.Lease.Condemned = a } }

// unseen: the last look failed.
func unseen(o *Observation) { o.Node = o.Node.Failed("timeout", ago(time.Second)) }

func sickMember(name string, a cluster.Ailment) change {
	return who(name, func(m *cluster.Member) { m.Keeper.Sick = a })
}

func gone(o *Observation) {
	o.Guard.Running, o.Guard.Writable = false, false
	o.Node.Value.Mode = cluster.ModeStopped
}

// gaveUp: this member gave its lease up that long ago.
func gaveUp(a cluster.Ailment, since time.Duration) change {
	return func(o *Observation) { o.Self.GaveUp, o.Self.Ailment = ago(since), a }
}

// strict has commits wait for k of the named standbys of a.
func strict(k int, voters ...string) change {
	return func(o *Observation) {
		o.Settings.SynchronousMode = cluster.SyncQuorum
		ruled(cluster.SyncQuorum, cluster.Rule{Primary: "a", Need: k, Voters: voters})(o)
	}
}

func noWatchdog(o *Observation) { o.Self.NoWatchdog = "no such device" }

func missesWatchdog(m *cluster.Member) { m.Keeper.Watchdog = cluster.WatchdogMissing }

func sickRules() []rule {
	hung := ails(cluster.CheckAccept, cluster.AilmentHung, 6*time.Second)
	stalled := ails(cluster.CheckData, cluster.AilmentStalled, 6*time.Second)
	full := ails(cluster.CheckData, cluster.AilmentFull, 6*time.Second)
	due := func(o *Observation) { o.Lease.Renewed, o.Lease.Tried = ago(3*time.Second), ago(3*time.Second) }
	alone := view(func(v *cluster.View) { delete(v.Members, "b"); delete(v.Members, "c") })
	kill := StopServer{Mode: StopImmediate, Patience: sickGrace}
	end := cluster.Position{Timeline: 3, LSN: lsn}
	lag := func(name string) change {
		return func(o *Observation) {
			who(name, func(m *cluster.Member) { m.XlogLocation = lsn - 2<<20 })(o)
			node(func(n *cluster.NodeState) {
				for i := range n.Walsenders {
					if n.Walsenders[i].Name == name {
						n.Walsenders[i].Flush = lsn - 2<<20
					}
				}
			})(o)
		}
	}
	return []rule{
		// condemned
		{name: "a server that takes no connections for probe_timeout is killed and its lease given up",
			given: primary(hung), reason: ReasonGivingUp, do: acts(Condemn{cluster.AilmentHung}, kill)},
		{name: "also when it was not seen for that long",
			given: primary(hung, unseen), reason: ReasonGivingUp, do: acts(Condemn{cluster.AilmentHung}, kill)},
		{name: "and although a renewal is due",
			given: primary(hung, due), reason: ReasonGivingUp, do: acts(Condemn{cluster.AilmentHung}, kill)},
		{name: "so is one whose disk is stalled", given: primary(stalled), reason: ReasonGivingUp, do: acts(Condemn{cluster.AilmentStalled}, kill)},
		{name: "or whose WAL is", given: primary(ails(cluster.CheckWAL, cluster.AilmentReadOnly, 6*time.Second)),
			reason: ReasonGivingUp, do: acts(Condemn{cluster.AilmentReadOnly}, kill)},
		{name: "one whose disk is full ends in an orderly way, but not for ever",
			given: primary(full), reason: ReasonGivingUp,
			do: acts(Condemn{cluster.AilmentFull}, StopServer{Mode: StopFast, Patience: 5 * time.Second})},
		{name: "nothing is done before probe_timeout", given: primary(ails(cluster.CheckAccept, cluster.AilmentHung, 5*time.Second)), reason: ReasonLeading},
		{name: "nor ever when it is 0", given: primary(hung, func(o *Observation) { o.Settings.ProbeTimeout = 0 }), reason: ReasonLeading},
		{name: "nor when nobody else is there", given: primary(full, alone, slots(), node(func(n *cluster.NodeState) { n.Walsenders = nil })), reason: ReasonLeading},
		{name: "nor when all others are sick too", given: primary(full, sickMember("b", cluster.AilmentFull), sickMember("c", cluster.AilmentStalled)), reason: ReasonLeading},
		{name: "nor when they lag too far behind", given: primary(full, lag("b"), lag("c")), reason: ReasonLeading},
		{name: "one that does not is enough", given: primary(hung, lag("b")), reason: ReasonGivingUp, do: acts(Condemn{cluster.AilmentHung}, kill)},
		{name: "nor in a pause", given: primary(hung, mark("a"), func(o *Observation) { o.Settings.Pause, o.Guard.Paused = true, true }), reason: ReasonPausedLeading},
		{name: "nor while another's mark of a pause keeps everybody from electing", given: primary(hung, mark("b"), func(o *Observation) { o.Guard.Paused = true }), reason: ReasonLeading},
		{name: "nor in the middle of a switchover", given: primary(hung, switchover("a", "b", cluster.SwitchoverStopping)),
			reason: ReasonSwitchoverStopping, do: acts(StopServer{Mode: StopFast, Successor: "b"})},
		{name: "nor while the store cannot be read: who could take over is not known", given: primary(hung, storeDown), reason: ReasonLeading},
		{name: "a synchronous standby that is a voter may take over", given: primary(hung, strict(1, "b", "c")), reason: ReasonGivingUp, do: acts(Condemn{cluster.AilmentHung}, kill)},
		{name: "a server that is not up after primary_start_timeout is given up while its start goes on",
			given: cold("a", leased, func(o *Observation) {
				o.Guard.Running, o.Guard.Writable = true, true
				o.Node.Value.Mode = cluster.ModeStarting
				o.Job.Kind, o.Job.Since = JobStart, ago(301*time.Second)
			}), reason: ReasonGivingUp, do: acts(Condemn{cluster.AilmentStart})},
		{name: "before that it may recover", given: cold("a", leased, func(o *Observation) {
			o.Guard.Running, o.Guard.Writable = true, true
			o.Node.Value.Mode = cluster.ModeStarting
			o.Job.Kind, o.Job.Since = JobStart, ago(299*time.Second)
		}), reason: reasonOfJob(JobStart)},

		{name: "nor while the members let it go on without a store, which an heir would need",
			given: primary(failsafe, hung, storeless(4*time.Second), agreed(time.Second), readAgain), reason: ReasonFailsafe},

		// givingUp
		{name: "a condemned server is stopped although it is well again", given: primary(condemnedFor(cluster.AilmentHung)), reason: ReasonGivingUp, do: acts(kill)},
		{name: "and not renewed: what survives every signal must lose its lease", given: primary(condemnedFor(cluster.AilmentStalled), stalled, due, running(JobStop)), reason: ReasonGivingUp},
		{name: "nothing is released while the guard has the server",
			given: cold("a", leased, condemnedFor(cluster.AilmentHung), func(o *Observation) { o.Guard.Running = true }), reason: ReasonGivingUp, do: acts(kill)},
		{name: "nor while a server is seen that the guard knows nothing of",
			given: primary(condemnedFor(cluster.AilmentHung), func(o *Observation) { o.Guard.Running, o.Guard.Writable = false, false }), reason: ReasonGivingUp,
			also: looks},
		{name: "nor while a job may have it start one", given: primary(condemnedFor(cluster.AilmentHung), gone, running(JobStart)), reason: ReasonGivingUp},
		{name: "once it is proved stopped the lease is released", given: primary(condemnedFor(cluster.AilmentHung), gone), reason: ReasonGivingUp, do: acts(Release{Position: cluster.Position{Timeline: 3}})},
		{name: "with the end of its log, where that is known", given: cold("a", leased, condemnedFor(cluster.AilmentFull)),
			reason: ReasonGivingUp, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: end.LSN + 0x70}, Clean: true})},
		{name: "which is looked for, for a moment", given: primary(condemnedFor(cluster.AilmentFull), gone, unseen, ended(JobStop, 200*time.Millisecond)), reason: ReasonGivingUp, also: looks},
		{name: "and not for ever: a directory may not answer any more", given: primary(condemnedFor(cluster.AilmentFull), gone, unseen, ended(JobStop, time.Second)),
			reason: ReasonGivingUp, do: acts(Release{})},
		{name: "a server that was killed has no end to look for", given: primary(condemnedFor(cluster.AilmentStalled), gone, unseen, ended(JobStop, 0)),
			reason: ReasonGivingUp, do: acts(Release{})},
		{name: "a standby is under suspicion sooner than a primary is given up", given: vacant(lsn, ails(cluster.CheckData, cluster.AilmentFull, 3*time.Second), reports("c", lsn)),
			reason: ReasonSickCandidate},
		{name: "and not at once", given: vacant(lsn, ails(cluster.CheckData, cluster.AilmentFull, 2*time.Second), reports("c", lsn)),
			reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "a server whose last heir is gone meanwhile is pardoned", given: primary(condemnedFor(cluster.AilmentHung), gone, alone), reason: ReasonGivingUp, do: acts(Condemn{})},
		{name: "a stop that failed is tried again less and less often", given: primary(condemnedFor(cluster.AilmentStalled), failed(JobStop, 4, 300*time.Millisecond)),
			reason: ReasonGivingUp, also: wakes(now.Add(100 * time.Millisecond))},

		// tooSick
		{name: "a standby whose disk is stalled is no candidate, even when nobody else is there",
			given: vacant(lsn, stalled, alone), reason: ReasonSickCandidate, also: says(Say{Vacancy: beat, Position: &end})},
		{name: "one whose disk is full leaves the race to others", given: vacant(lsn, full, reports("c", lsn)), reason: ReasonSickCandidate, also: wakes(o0(5 * time.Second))},
		{name: "for a while", given: vacant(lsn, full, reports("c", lsn), func(o *Observation) { o.Vacancy, o.Beat.At = ago(6*time.Second), ago(17*time.Second) }),
			reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "and not at all when nobody else is there", given: vacant(lsn, full, alone), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "nor to the sick", given: vacant(lsn, full, reports("c", lsn), sickMember("c", cluster.AilmentFull)), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "an operator may name it", given: vacant(lsn, stalled, reports("c", lsn), wish("", "a")), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat, FailoverRevision: 400})},
		{name: "a member that gave its lease up is no candidate for a minute", given: vacant(lsn, gaveUp(cluster.AilmentHung, 59*time.Second), reports("c", lsn)), reason: ReasonSickCandidate},
		{name: "and then is one again", given: vacant(lsn, gaveUp(cluster.AilmentHung, 60*time.Second), reports("c", lsn)), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "the healthy do not wait for a sick member that has more", given: vacant(lsn, reports("c", lsn+0x1000), sickMember("c", cluster.AilmentFull)),
			reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "in a synchronous cluster they take what it has first",
			given:  vacant(lsn, strictOf("b", "a", "c"), promises("a"), promises("c"), reports("c", lsn+0x1000), sickMember("c", cluster.AilmentFull)),
			reason: ReasonBetterCandidate, do: acts(Follow{Upstream: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}, NoSlot: true})},

		{name: "and of one that may not lead, since a holder without store does not know of it",
			given: vacant(lsn, strictOf("b", "a", "c"), promises("a"), promises("c"), reports("c", lsn+0x1000), view(func(v *cluster.View) {
				v.Failsafe = map[string]string{"a": urlOf("a"), "b": urlOf("b")}
			})),
			reason: ReasonBetterCandidate, do: acts(Follow{Upstream: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}, NoSlot: true})},

		// a required watchdog
		{name: "a member without the watchdog it requires is no candidate, be it alone", given: vacant(lsn, alone, noWatchdog),
			reason: ReasonNoWatchdog, also: says(Say{Vacancy: beat, Position: &end})},
		{name: "nobody waits for one", given: vacant(lsn, reports("c", lsn+0x1000), who("c", missesWatchdog)), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "nor for one that has yet to report", given: vacant(lsn, reports("c", lsn+0x1000), who("c", missesWatchdog), who("c", func(m *cluster.Member) { m.Keeper.Position = nil })),
			reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		{name: "in a synchronous cluster what it has is taken first",
			given:  vacant(lsn, strictOf("b", "a", "c"), promises("a"), promises("c"), reports("c", lsn+0x1000), who("c", missesWatchdog)),
			reason: ReasonBetterCandidate, do: acts(Follow{Upstream: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}, NoSlot: true})},
		{name: "nobody switches over to one", given: primary(wish("a", "b"), who("b", missesWatchdog)),
			reason: ReasonSwitchoverRefused, do: refusal("b lacks the watchdog that it requires")},

		// switchover, recovery
		{name: "nobody switches over to a sick member", given: primary(wish("a", "b"), sickMember("b", cluster.AilmentFull)),
			reason: ReasonSwitchoverRefused, do: refusal("b is sick: the disk is full")},
		{name: "a recovery that would take longer than primary_start_timeout is not begun",
			given: cold("a", leased, crashedAfter(20<<30)), reason: ReasonReleasing, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn}})},
		{name: "one that would not is", given: cold("a", leased, crashedAfter(10<<30)), reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
		{name: "by the rate that was measured here", given: cold("a", leased, crashedAfter(10<<30), func(o *Observation) { o.Recovery.Rate = 32 << 20 }),
			reason: ReasonReleasing, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn}})},
		{name: "a synchronous standby takes over when that is quicker", given: cold("a", leased, crashedAfter(1<<30), strict(1, "b", "c")),
			reason: ReasonReleasing, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn}})},
		{name: "and not when it is not", given: cold("a", leased, crashedAfter(64<<20), strict(1, "b", "c")), reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
		{name: "nor when too few copies are there to elect one", given: cold("a", leased, crashedAfter(1<<30), strict(1, "b", "c"), who("c", func(m *cluster.Member) { m.State = cluster.StateStopped })),
			reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
	}
}

// o0 is some time after the vacancy of the builders began.
func o0(d time.Duration) cluster.Instant { return ago(100 * time.Millisecond).Add(d) }

// crashedAfter: the server crashed with that much WAL since its redo point.
func crashedAfter(written cluster.LSN) change {
	return func(o *Observation) {
		node(func(n *cluster.NodeState) { n.Control.State, n.Control.Redo = cluster.ControlInProduction, lsn })(o)
		o.Recovery.End = lsn + written
	}
}

// strictOf is strict for a primary that is not a, in the ordinary vacancy.
func strictOf(primary string, voters ...string) change {
	return func(o *Observation) {
		strict(1, voters...)(o)
		ruled(cluster.SyncQuorum, cluster.Rule{Primary: primary, Need: 1, Voters: voters})(o)
	}
}

// promises: a member takes nothing more of the lost term.
func promises(name string) change {
	return func(o *Observation) {
		if name == o.Self.Name {
			o.Self.Promised = cluster.Term(beat)
			o.Node.Value.PrimaryConninfo, o.Node.Value.Receiver = "", nil
			return
		}
		who(name, func(m *cluster.Member) { m.Keeper.Promised = cluster.Term(beat) })(o)
	}
}

func refusal(why string) []Action {
	return acts(ClearFailover{Revision: 400, Result: cluster.Result{ID: "op", Member: "a", Refused: true, NewLeader: "a", Message: "switchover is not possible: " + why}})
}

func TestSick(t *testing.T) { check(t, sickRules()) }

// TestTheSickAreExplained: what the probes say is told, and whether anybody could help.
func TestTheSickAreExplained(t *testing.T) {
	full := ails(cluster.CheckData, cluster.AilmentFull, 7*time.Second)
	for _, c := range []struct {
		name  string
		given Observation
		want  []string
	}{
		{"with an heir", primary(full), []string{"the disk is full for 7.0 s", "b could take over"}},
		{"without", primary(full, view(func(v *cluster.View) { delete(v.Members, "b"); delete(v.Members, "c") })), []string{"no other member could take over now"}},
		{"afterwards", standby(lsn, gaveUp(cluster.AilmentHung, 10*time.Second)), []string{"gave its lease up 10.0 s ago", "no answer"}},
	} {
		said := healthInWords(&c.given)
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q does not say %q", c.name, said, want)
			}
		}
	}
	healthy := primary()
	if said := healthInWords(&healthy); said != "" {
		t.Errorf("a healthy server: %q", said)
	}
}

// TestAServerWhoseGuardIsGoneIsNotGivenUpYet: nothing is known of it then.
func TestAServerWhoseGuardIsGoneIsNotGivenUpYet(t *testing.T) {
	o := primary(ails(cluster.CheckAccept, cluster.AilmentHung, 6*time.Second), func(o *Observation) { o.Guard = Guard{} })
	if d := Decide(&o); d.Reason != ReasonWaitingForGuard {
		t.Errorf("reason %s", d.Reason)
	}
}
