package election

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func switchoverRules() []rule {
	const preparing, holding, stopping, aborted = cluster.SwitchoverPreparing, cluster.SwitchoverHolding, cluster.SwitchoverStopping, cluster.SwitchoverAborted
	prepared := func(o *Observation) { o.Self.Prepared = "op" }
	candidate := func(name string, at *cluster.Position) change {
		return who(name, func(m *cluster.Member) { m.Keeper.Switchover, m.Keeper.Position = "op", at })
	}
	pooler := func(name string, state cluster.PoolerState, held string) change {
		return who(name, func(m *cluster.Member) { m.Keeper.Pooler, m.Keeper.Held = state, held })
	}
	end := cluster.Position{Timeline: 3, LSN: lsn + 0x70}
	short := cluster.Position{Timeline: 3, LSN: lsn}
	phaseFor := func(d time.Duration) change { return func(o *Observation) { o.Phase.Since = ago(d) } }
	record := func(id, to string, phase cluster.SwitchoverPhase) PutSwitchover {
		return PutSwitchover{Switchover: cluster.Switchover{ID: id, From: "a", To: to, Phase: phase, Term: term}}
	}
	begun := func(p PutSwitchover) PutSwitchover { p.Wish = 400; return p } // while that wish stands
	phased := func(p PutSwitchover) PutSwitchover { p.Switchover.ModRevision = 410; return p }
	refused := func(why string) []Action {
		return acts(ClearFailover{Revision: 400, Result: cluster.Result{ID: "op", Member: "a", Refused: true, NewLeader: "a",
			Message: "switchover is not possible: " + why}})
	}
	happened := func(how string) []Action {
		return acts(ClearFailover{Revision: 400, Result: cluster.Result{ID: "op", Member: "a", Done: true, NewLeader: "a", Message: how}})
	}
	rolledBack := func(why string) ClearFailover {
		return ClearFailover{Revision: 400, Result: cluster.Result{ID: "op", Member: "a", Message: "switchover to b was rolled back: " + why}}
	}
	down := func(changes ...change) Observation { // a has stopped for its switchover to b
		return with(cold("a", leased, wish("a", "b"), switchover("a", "b", stopping)), changes...)
	}
	exiting := func(changes ...change) Observation { // a has written its shutdown checkpoint for it, and is about to exit
		o := primary(wish("a", "b"), switchover("a", "b", stopping), prepared, running(JobStop), candidate("b", &end))
		o.Guard.Ended = end
		return with(o, changes...)
	}
	given := func(o *Observation) { // away: b leads
		o.Lease = Lease{}
		edit(o, func(v *cluster.View) { v.Leader = &cluster.Leader{Name: "b", LeaseID: 1098, Term: term + 20} })
	}
	candidateOf := func(phase cluster.SwitchoverPhase, changes ...change) Observation {
		return with(standby(lsn, switchover("b", "a", phase), prepared), changes...)
	}
	slotsThere := node(func(n *cluster.NodeState) {
		n.Slots = []cluster.Slot{{Name: "b", Type: "physical"}, {Name: "c", Type: "physical"}}
	})
	silent := node(func(n *cluster.NodeState) { n.Receiver = nil })
	return []rule{
		// begin
		{name: "a switchover to a named candidate begins with its record",
			given: primary(wish("a", "b")), reason: ReasonSwitchoverPreparing, do: acts(begun(record("op", "b", preparing)))},
		{name: "a failover with a healthy leader is a switchover",
			given: primary(wish("", "c")), reason: ReasonSwitchoverPreparing, do: acts(begun(record("op", "c", preparing)))},
		{name: "without a name the best standby is chosen",
			given:  primary(wish("a", ""), node(func(n *cluster.NodeState) { n.Walsenders[0].Flush = lsn - 8 })),
			reason: ReasonSwitchoverPreparing, do: acts(begun(record("op", "c", preparing)))},
		{name: "a wish by Patroni's tools has no id and gets one",
			given: primary(wish("a", "b"), view(func(v *cluster.View) {
				v.Failover = &cluster.Failover{Leader: "a", Member: "b", ModRevision: 400}
			})), reason: ReasonSwitchoverPreparing, do: acts(begun(record("failover-400", "b", preparing)))},
		{name: "a switchover that is not due waits",
			given: primary(wish("a", "b"), func(o *Observation) { o.Wish.FailoverDue = false }), reason: ReasonLeading},
		{name: "a switchover whose time has passed is refused",
			given:  primary(wish("a", "b"), func(o *Observation) { o.Wish.FailoverStale = true }),
			reason: ReasonSwitchoverRefused, do: refused("its time has passed: ask again")},
		{name: "a switchover away from another leader is refused",
			given: primary(wish("c", "b")), reason: ReasonSwitchoverRefused, do: refused("leader name does not match: a leads")},
		{name: "a switchover that has happened is answered so",
			given: primary(wish("b", "a")), reason: ReasonLeading, do: happened(`Successfully switched over to "a"`)},
		{name: "a failover that has happened is answered so",
			given: primary(wish("", "a")), reason: ReasonLeading, do: happened(`Successfully failed over to "a"`)},
		{name: "a switchover to oneself is refused",
			given: primary(wish("a", "a")), reason: ReasonSwitchoverRefused, do: refused("Switchover target and source are the same")},
		{name: "a candidate that does not exist is refused",
			given: primary(wish("a", "z")), reason: ReasonSwitchoverRefused, do: refused("candidate does not exists: no member is called z")},
		{name: "a candidate that does not run is refused",
			given:  primary(wish("a", "b"), who("b", func(m *cluster.Member) { m.State = cluster.StateStopped })),
			reason: ReasonSwitchoverRefused, do: refused("b is stopped")},
		{name: "a candidate that does not stream is refused",
			given:  primary(wish("a", "b"), node(func(n *cluster.NodeState) { n.Walsenders = n.Walsenders[1:] })),
			reason: ReasonSwitchoverRefused, do: refused("b does not stream from this primary")},
		{name: "nobody is refused by a look that is older than the wish",
			given: primary(wish("a", "b"), node(func(n *cluster.NodeState) { n.Walsenders = n.Walsenders[1:] }),
				func(o *Observation) { o.Wish.FailoverSince = o.Node.At.Add(time.Millisecond) }),
			reason: ReasonSwitchoverPreparing},
		{name: "a candidate on another timeline is refused",
			given:  primary(wish("a", "b"), who("b", func(m *cluster.Member) { m.Timeline = 2 })),
			reason: ReasonSwitchoverRefused, do: refused("b is on timeline 2, not 3")},
		{name: "a candidate too far behind is refused",
			given:  primary(wish("a", "b"), node(func(n *cluster.NodeState) { n.Walsenders[0].Flush = lsn - 2<<20 })),
			reason: ReasonSwitchoverRefused, do: refused("b is 2097152 bytes behind, the limit is 1048576")},
		{name: "when no candidate fits the refusal names why, member by member",
			given: primary(wish("a", ""), who("b", func(m *cluster.Member) { m.Tags = cluster.Tags{"nofailover": true} }),
				who("c", func(m *cluster.Member) { m.State = cluster.StateStopped })),
			reason: ReasonSwitchoverRefused, do: refused("no good candidates have been found; b is tagged nofailover; c is stopped")},

		// advance
		{name: "the primary checkpoints while nothing has an impact",
			given: primary(wish("a", "b"), switchover("a", "b", preparing)), reason: ReasonSwitchoverPreparing, do: acts(Checkpoint{For: "op"})},
		{name: "it waits for the candidate to be ready",
			given:  primary(wish("a", "b"), switchover("a", "b", preparing), prepared),
			reason: ReasonSwitchoverPreparing},
		{name: "when both are ready it records the stop before it stops",
			given:  primary(wish("a", "b"), switchover("a", "b", preparing), prepared, candidate("b", nil)),
			reason: ReasonSwitchoverStopping, do: acts(phased(record("op", "b", stopping)))},
		{name: "a Patroni candidate does not say that it is ready",
			given:  primary(wish("a", "b"), switchover("a", "b", preparing), prepared, who("b", func(m *cluster.Member) { m.Keeper = nil })),
			reason: ReasonSwitchoverStopping, do: acts(phased(record("op", "b", stopping)))},
		{name: "where somebody drives a pooler it records first that poolers shall hold new work",
			given:  primary(wish("a", "b"), switchover("a", "b", preparing), prepared, candidate("b", nil), pooler("c", cluster.PoolerServing, "")),
			reason: ReasonSwitchoverHolding, do: acts(phased(record("op", "b", holding)))},
		{name: "it waits for them",
			given:  primary(wish("a", "b"), switchover("a", "b", holding), prepared, candidate("b", nil), pooler("b", cluster.PoolerHolding, "op"), pooler("c", cluster.PoolerHolding, "older"), phaseFor(4500*time.Millisecond)),
			reason: ReasonSwitchoverHolding, also: wakes(now.Add(500*time.Millisecond + 1))},
		{name: "and stops when all hold for it",
			given:  primary(wish("a", "b"), switchover("a", "b", holding), prepared, candidate("b", nil), pooler("b", cluster.PoolerHolding, "op")),
			reason: ReasonSwitchoverStopping, do: acts(phased(record("op", "b", stopping)))},
		{name: "a pooler whose console does not answer is not waited for",
			given:  primary(wish("a", "b"), switchover("a", "b", preparing), prepared, candidate("b", nil), pooler("c", cluster.PoolerLost, "")),
			reason: ReasonSwitchoverStopping, do: acts(phased(record("op", "b", stopping)))},
		{name: "nor is one that takes too long",
			given:  primary(wish("a", "b"), switchover("a", "b", holding), prepared, candidate("b", nil), pooler("c", cluster.PoolerServing, ""), phaseFor(5*time.Second+1)),
			reason: ReasonSwitchoverStopping, do: acts(phased(record("op", "b", stopping)))},
		{name: "a candidate that became unfit meanwhile ends the switchover",
			given:  primary(wish("a", "b"), switchover("a", "b", holding), who("b", func(m *cluster.Member) { m.State = cluster.StateStopped })),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("the candidate is not fit any more: b is stopped"), DeleteSwitchover{})},
		{name: "once recorded the server is stopped",
			given:  primary(wish("a", "b"), switchover("a", "b", stopping), prepared),
			reason: ReasonSwitchoverStopping, do: acts(StopServer{Mode: StopFast, Successor: "b"})},
		{name: "a candidate that is never ready ends the switchover",
			given:  primary(wish("a", "b"), switchover("a", "b", preparing), phaseFor(31*time.Second)),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("the candidate was not ready after 30s"), DeleteSwitchover{})},
		{name: "a candidate that became unfit ends the switchover",
			given:  primary(wish("a", "b"), switchover("a", "b", preparing), who("b", func(m *cluster.Member) { m.State = cluster.StateStopped })),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("the candidate is not fit any more: b is stopped"), DeleteSwitchover{})},
		{name: "a candidate that is gone ends the switchover",
			given:  primary(wish("a", "b"), switchover("a", "b", preparing), view(func(v *cluster.View) { delete(v.Members, "b") })),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("b is gone"), DeleteSwitchover{})},
		{name: "a new worker rolls a switchover back that has no impact yet",
			given: primary(wish("a", "b"), switchover("a", "b", preparing), view(func(v *cluster.View) {
				sw := *v.Switchover
				sw.Term = 90
				v.Switchover = &sw
			})), reason: ReasonSwitchoverAborted, do: acts(rolledBack("the agent was restarted in the middle"), DeleteSwitchover{})},
		{name: "rolling back leaves a newer wish alone",
			given: primary(switchover("a", "b", preparing), phaseFor(31*time.Second), wish("a", "c"), view(func(v *cluster.View) {
				v.Failover = &cluster.Failover{Leader: "a", Member: "c", ID: "newer", ModRevision: 420}
			})), reason: ReasonSwitchoverAborted, do: acts(DeleteSwitchover{})},

		// handOverStopped
		{name: "the stopped primary waits for the candidate's confirmation",
			given:  down(candidate("b", nil)),
			reason: ReasonSwitchoverConfirm, also: wakes(now.Add(1900 * time.Millisecond))},
		{name: "a candidate that has less than the shutdown record is not given the lease",
			given: down(candidate("b", &short)), reason: ReasonSwitchoverConfirm},
		{name: "a confirmation of another switchover is none",
			given:  down(candidate("b", &end), who("b", func(m *cluster.Member) { m.Keeper.Switchover = "older" })),
			reason: ReasonSwitchoverConfirm},
		{name: "a candidate that has everything is given the lease, on its own",
			given:  down(candidate("b", &end)),
			reason: ReasonHandingOver, do: acts(HandOver{To: "b", LeaseID: 1098, ID: "op", Position: end})},
		{name: "nothing is handed over while the guard has the server",
			given: down(candidate("b", &end), func(o *Observation) { o.Guard.Running = true }), reason: ReasonSwitchoverStopping},
		{name: "once the shutdown checkpoint is written nobody waits for the exit",
			given: exiting(), reason: ReasonHandingOver, do: acts(HandOver{To: "b", LeaseID: 1098, ID: "op", Position: end, Exiting: "i1"})},
		{name: "nor does an agent that stops",
			given:  exiting(stop, view(func(v *cluster.View) { v.Failover = nil })),
			reason: ReasonHandingOver, do: acts(HandOver{To: "b", LeaseID: 1098, Position: end, Exiting: "i1"})},
		{name: "before it is written nothing is handed over",
			given:  exiting(func(o *Observation) { o.Guard.Ended = cluster.Position{} }, candidate("b", &cluster.Position{})),
			reason: reasonOfJob(JobStop)},
		{name: "a server that hangs in its exit holds nothing up",
			given:  exiting(func(o *Observation) { o.Job = Job{Last: JobStop, LastErr: "it hangs", LastEnded: now} }),
			reason: ReasonHandingOver, do: acts(HandOver{To: "b", LeaseID: 1098, ID: "op", Position: end, Exiting: "i1"})},
		{name: "nor to a candidate that has less than it",
			given: exiting(candidate("b", &short)), reason: reasonOfJob(JobStop)},
		{name: "nor to one that confirmed it for another switchover",
			given: exiting(who("b", func(m *cluster.Member) { m.Keeper.Switchover = "older" })), reason: reasonOfJob(JobStop)},
		{name: "nor to one whose server died on the way",
			given: exiting(who("b", func(m *cluster.Member) { m.State = cluster.StateCrashed })), reason: reasonOfJob(JobStop)},
		{name: "a stop that no switchover asked for gives nothing away",
			given: exiting(view(func(v *cluster.View) { v.Switchover = nil })), reason: reasonOfJob(JobStop)},
		{name: "nor does that of a switchover which is not at its stop",
			given: exiting(switchover("a", "b", holding)), reason: reasonOfJob(JobStop)},
		{name: "nor that of one from another term",
			given: exiting(view(func(v *cluster.View) {
				sw := *v.Switchover
				sw.Term = 90
				v.Switchover = &sw
			})), reason: reasonOfJob(JobStop)},
		{name: "nor that of another member's",
			given: exiting(switchover("c", "b", stopping)), reason: reasonOfJob(JobStop)},
		{name: "nor one in a pause",
			given: exiting(inPause), reason: ReasonPausedLeading, do: acts(PutPausedPrimary{Name: "a"})},
		{name: "a Patroni candidate takes the key when the server is gone",
			given: exiting(who("b", func(m *cluster.Member) { m.Keeper = nil })), reason: reasonOfJob(JobStop)},
		{name: "what is left of a server after the hand-over is left to exit",
			given: exiting(given), reason: reasonOfJob(JobStop), also: wakes(now.Add(9400 * time.Millisecond))},
		{name: "and so between the end of the stop and the guard's word of the exit",
			given:  exiting(given, func(o *Observation) { o.Job = Job{Last: JobStop, LastEnded: now} }),
			reason: reasonOfJob(JobStop)},
		{name: "one that no stop has ended is stopped at once, whatever it wrote",
			given:  exiting(given, func(o *Observation) { o.Job = Job{Last: JobStop, LastEnded: now, LastErr: "it hangs"} }),
			reason: ReasonFenceNoLease, also: wakes(now.Add(retryPause))},
		{name: "a candidate that does not confirm in time ends the switchover",
			given:  down(candidate("b", nil), phaseFor(9*time.Second)),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("b did not confirm the shutdown checkpoint at 0/5000070"), DeleteSwitchover{})},
		{name: "a candidate whose server died on the way ends the switchover at once",
			given:  down(candidate("b", &end), who("b", func(m *cluster.Member) { m.State = cluster.StateCrashed })),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("b died on the way"), DeleteSwitchover{})},
		{name: "a candidate whose key is gone ends the switchover at once",
			given:  down(view(func(v *cluster.View) { delete(v.Members, "b") })),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("b died on the way"), DeleteSwitchover{})},
		{name: "a shutdown that was none ends the switchover",
			given:  down(candidate("b", &end), node(func(n *cluster.NodeState) { n.Control.State = cluster.ControlInProduction })),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("the server did not shut down cleanly: in production, last record ends at 0/5000070"), DeleteSwitchover{})},
		{name: "a clean shutdown whose end is not known ends it too",
			given:  down(candidate("b", &end), node(func(n *cluster.NodeState) { n.Control.CheckpointEnd = 0 })),
			reason: ReasonSwitchoverAborted, do: acts(rolledBack("the server did not shut down cleanly: shut down, last record ends at 0/0"), DeleteSwitchover{})},
		{name: "rolled back, the old primary starts again under its own term",
			given: cold("a", leased), reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
		{name: "a new worker that finds the stopped primary goes on under its own term",
			given: down(candidate("b", &end), view(func(v *cluster.View) {
				sw := *v.Switchover
				sw.Term = 90
				v.Switchover = &sw
			})), reason: ReasonSwitchoverStopping, do: acts(phased(record("op", "b", stopping)))},
		{name: "a Patroni candidate takes the freed key itself",
			given:  down(who("b", func(m *cluster.Member) { m.Keeper = nil })),
			reason: ReasonReleasing, do: acts(Release{Position: end, Clean: true})},

		// a stopping agent
		{name: "an agent that stops hands over like a switchover",
			given: primary(stop), reason: ReasonSwitchoverPreparing, do: acts(record("stop-a-100", "b", preparing))},
		{name: "it hands over without an id, since nobody waits for a result",
			given:  with(down(stop, candidate("b", &end)), view(func(v *cluster.View) { v.Failover = nil })),
			reason: ReasonHandingOver, do: acts(HandOver{To: "b", LeaseID: 1098, Position: end})},
		{name: "a hand-over that fails it does not try again: the record stays as aborted",
			given:  primary(stop, switchover("a", "b", preparing), phaseFor(31*time.Second)),
			reason: ReasonSwitchoverAborted, do: acts(PutSwitchover{Switchover: cluster.Switchover{ID: "op", From: "a", To: "b", Phase: aborted, Term: term,
				Why: "the candidate was not ready after 30s", ModRevision: 410}})},
		{name: "after that it stops its server",
			given: primary(stop, switchover("a", "b", aborted)), reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
		{name: "and gives its lease back",
			given: cold("a", leased, stop, switchover("a", "b", aborted)), reason: ReasonReleasing, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn + 0x70}, Clean: true})},
		{name: "a primary that was not stopped after all clears the aborted record",
			given: primary(switchover("a", "b", aborted)), reason: ReasonSwitchoverAborted, do: acts(DeleteSwitchover{})},

		// the candidate
		{name: "a candidate runs its restart point",
			given: standby(lsn, switchover("b", "a", preparing)), reason: ReasonCandidatePreparing, do: acts(Checkpoint{For: "op"})},
		{name: "a candidate of a strict mode has whom its commits will wait for in force before there is a gap",
			given:  standby(lsn, quorum, ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}), switchover("b", "a", preparing)),
			reason: ReasonCandidatePreparing, do: acts(Checkpoint{For: "op", Names: `ANY 1 ("b","c")`})},
		{name: "a candidate says that it is ready",
			given: candidateOf(preparing), reason: ReasonCandidateReady, do: acts(EnsureSlots{Want: []string{"b", "c"}}), also: says(Say{Switchover: "op"})},
		{name: "a candidate that has the slots of the others says no more",
			given: candidateOf(preparing, slotsThere), reason: ReasonCandidateReady, also: says(Say{Switchover: "op"})},
		{name: "who was the candidate of a switchover that was rolled back drops them",
			given: candidateOf(aborted, slotsThere), reason: ReasonCandidateReady, do: acts(EnsureSlots{Drop: []string{"b", "c"}})},
		{name: "and so when its record is gone",
			given: with(standby(lsn, slotsThere)), reason: ReasonFollowing, do: acts(EnsureSlots{Drop: []string{"b", "c"}})},
		{name: "a candidate that still receives confirms nothing",
			given: candidateOf(stopping, slotsThere), reason: ReasonCandidateReady, also: says(Say{Switchover: "op"})},
		{name: "a candidate confirms when its receiver has ended",
			given: candidateOf(stopping, silent), reason: ReasonCandidateConfirms,
			also: says(Say{Switchover: "op", Position: &cluster.Position{Timeline: 3, LSN: lsn}})},
		{name: "a look from before the phase confirms nothing",
			given:  candidateOf(stopping, silent, func(o *Observation) { o.Node.At = ago(2 * time.Second) }),
			reason: ReasonCandidateReady, also: says(Say{Switchover: "op"})},
		{name: "a phase of another switchover confirms nothing",
			given: candidateOf(stopping, silent, func(o *Observation) { o.Phase.ID = "older" }), reason: ReasonCandidateReady, also: says(Say{Switchover: "op"})},
		{name: "a candidate does not look into the silence of its primary that stops",
			given: candidateOf(stopping, silent, func(o *Observation) { o.NotStreaming = ago(5 * time.Second) }), reason: ReasonCandidateConfirms},
		{name: "a candidate answers while a job runs",
			given: candidateOf(preparing, running(JobRejoin)), reason: reasonOfJob(JobRejoin), also: says(Say{Switchover: "op"})},
		{name: "a switchover by somebody who does not lead is not answered",
			given: candidateOf(preparing, switchover("c", "a", preparing)), reason: ReasonFollowing, also: says(Say{})},
		{name: "others take no notice of a switchover",
			given: standby(lsn, switchover("b", "c", stopping)), reason: ReasonFollowing, also: says(Say{})},
	}
}

func TestSwitchover(t *testing.T) { check(t, switchoverRules()) }
