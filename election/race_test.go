package election

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func raceRules() []rule {
	released := view(func(v *cluster.View) {
		v.Release = &cluster.Release{By: "b", Term: term, BeatRevision: beat, ModRevision: 120}
	})
	justBeat := func(o *Observation) { o.Beat.At = ago(time.Second) }
	wasHolder := func(o *Observation) { // this process, until a moment ago
		o.Self.Ended = term
		edit(o, func(v *cluster.View) {
			v.Holder = &cluster.Holder{Name: "a"}
			v.Beat = &cluster.Beat{TTL: 10_000, Term: term, ModRevision: beat}
		})
	}
	later := func(d time.Duration) change {
		return func(o *Observation) { o.Vacancy = ago(d); o.Beat.At = ago(d + 10*time.Second); o.Node.At = ago(0) }
	}
	tag := func(tags cluster.Tags) change { return func(o *Observation) { o.Self.Tags = tags } }
	mode := func(m cluster.Mode) change { return node(func(n *cluster.NodeState) { n.Mode = m }) }
	stale := func(o *Observation) {
		o.Beat.At = ago(10 * time.Second)
		edit(o, func(v *cluster.View) { v.Leader = &cluster.Leader{Name: "b", LeaseID: 1098, Term: term} })
	}
	take := acts(Acquire{BeatRevision: beat})
	byWish := acts(Acquire{BeatRevision: beat, FailoverRevision: 400}) // which must still stand
	saysPosition := func(at cluster.LSN) func(*testing.T, Decision) {
		return func(t *testing.T, d Decision) {
			want := Say{Vacancy: beat, Position: &cluster.Position{Timeline: 3, LSN: at}}
			if diff := cmp.Diff(want, d.Say); diff != "" {
				t.Errorf("says (-want +got):\n%s", diff)
			}
		}
	}
	return []rule{
		{name: "data that was written to on another's timeline is reported to nobody while others could lead",
			given: vacant(lsn, strays), reason: ReasonSickCandidate, also: says(Say{})},
		{name: "and races when nobody has led for long", given: vacant(lsn, later(31*time.Second), strays), reason: ReasonAcquiring, do: take},
		{name: "or nobody else could", given: vacant(lsn, view(func(v *cluster.View) { delete(v.Members, "c") }), strays), reason: ReasonAcquiring, do: take},
		{name: "a standby that reads its own WAL is left some time to find how much it has",
			given: vacant(lsn, later(time.Second), alone, readsOwn), reason: ReasonReadingOwnWAL, also: says(Say{})},
		{name: "and no more, where commits wait for nobody: its replay may be paused",
			given: vacant(lsn, later(2*time.Second), alone, readsOwn), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat})},
		// when
		{name: "the best standby takes the lease when T has passed and all have reported",
			given: vacant(lsn, reports("c", lsn-8)), reason: ReasonAcquiring, do: take, also: saysPosition(lsn)},
		{name: "nobody acts before the last holder has been silent for T",
			given: vacant(lsn, reports("c", lsn-8), justBeat), reason: ReasonWaitingForLease, also: wakes(now.Add(9 * time.Second))},
		{name: "while it waits a candidate reports already",
			given: vacant(lsn, justBeat), reason: ReasonWaitingForLease, also: saysPosition(lsn)},
		{name: "a beat this process never saw change has to be watched for T first",
			given: vacant(lsn, func(o *Observation) { o.Beat = Sighting{} }), reason: ReasonWaitingForLease, also: wakes(now.Add(10 * time.Second))},
		{name: "the T that the beat names counts when it is the longer one",
			given: vacant(lsn, reports("c", lsn), view(func(v *cluster.View) {
				v.Beat = &cluster.Beat{TTL: 30_000, Term: term, ModRevision: beat}
			})), reason: ReasonWaitingForLease, also: wakes(now.Add(19 * time.Second))},
		{name: "and so does the T that is configured since",
			given: vacant(lsn, reports("c", lsn), func(o *Observation) { o.Settings.TTL = 30 * time.Second }), reason: ReasonWaitingForLease, also: wakes(now.Add(19 * time.Second))},
		{name: "a release by a holder that has stopped spares the wait",
			given: vacant(lsn, reports("c", lsn), justBeat, released), reason: ReasonAcquiring, do: take},
		{name: "a release older than the newest beat spares nothing",
			given: vacant(lsn, reports("c", lsn), justBeat, released, view(func(v *cluster.View) {
				v.Release = &cluster.Release{By: "b", Term: 50, BeatRevision: beat - 1}
			})), reason: ReasonWaitingForLease, also: wakes(now.Add(9 * time.Second))},
		{name: "who has lost the lease itself waits for nobody: its key was deleted, say, and its server is a standby by now",
			given: vacant(lsn, reports("c", lsn), justBeat, wasHolder), reason: ReasonAcquiring, do: take},
		{name: "also with no other beat than that by which it took the key",
			given: vacant(lsn, reports("c", lsn), justBeat, wasHolder, view(func(v *cluster.View) { v.Beat.Term = 0 }), func(o *Observation) { o.Self.Ended = cluster.Term(beat) }), reason: ReasonAcquiring, do: take},
		{name: "unless another has beaten since",
			given: vacant(lsn, reports("c", lsn), justBeat, wasHolder, func(o *Observation) { o.Self.Ended = term - 1 }), reason: ReasonWaitingForLease, also: wakes(now.Add(9 * time.Second))},
		{name: "or may have led without a beat, as Patroni's members do",
			given: vacant(lsn, reports("c", lsn), justBeat, wasHolder, view(func(v *cluster.View) {
				m := member("c", cluster.RoleReplica, lsn)
				m.Keeper = nil
				v.Members["c"] = m
			})), reason: ReasonWaitingForLease, also: wakes(now.Add(9 * time.Second))},
		{name: "or led when it was seen last",
			given: vacant(lsn, reports("c", lsn), justBeat, wasHolder, func(o *Observation) { o.Self.PatroniLed = true }), reason: ReasonWaitingForLease, also: wakes(now.Add(9 * time.Second))},
		{name: "nor does the memory of a term do that has another's name on it",
			given: vacant(lsn, reports("c", lsn), justBeat, func(o *Observation) { o.Self.Ended = term }), reason: ReasonWaitingForLease, also: wakes(now.Add(9 * time.Second))},
		{name: "a holder that never beat is a Patroni one: its lease is all there is",
			given:  vacant(lsn, view(func(v *cluster.View) { v.Beat = nil; delete(v.Members, "c") })),
			reason: ReasonAcquiring, do: acts(Acquire{})},
		{name: "a key whose holder has not beaten for T is taken over",
			given:  vacant(lsn, reports("c", lsn), stale),
			reason: ReasonAcquiring, do: acts(Acquire{LeaderTerm: term, BeatRevision: beat})},
		{name: "a key is not taken over on a beat that is not its holder's",
			given: vacant(lsn, reports("c", lsn), stale, view(func(v *cluster.View) {
				v.Leader = &cluster.Leader{Name: "b", LeaseID: 1098, Term: 130}
				v.Members["b"] = member("b", cluster.RolePrimary, lsn)
			})), reason: ReasonNotStreaming, also: wakes(now.Add(time.Second))},
		{name: "nothing is concluded from a store that does not answer",
			given: vacant(lsn, storeDown), reason: ReasonWaitingForStore},

		// who
		{name: "while reports are missing a candidate waits a moment",
			given: vacant(lsn), reason: ReasonCollecting, also: wakes(now.Add(200 * time.Millisecond))},
		{name: "a member that does not report is not waited for",
			given: vacant(lsn, later(400*time.Millisecond)), reason: ReasonAcquiring, do: take},
		{name: "a member whose server is starting is waited for: after a power cut it may be the one with the most",
			given:  vacant(lsn, reports("c", lsn), later(400*time.Millisecond), who("c", func(m *cluster.Member) { m.State = cluster.StateStarting })),
			reason: ReasonCollecting, also: wakes(now.Add(1600 * time.Millisecond))},
		{name: "so is the last holder, when its agent has come back and starts the server",
			given: vacant(lsn, reports("c", lsn), later(400*time.Millisecond), view(func(v *cluster.View) {
				v.Members["b"] = member("b", cluster.RoleReplica, 0)
			}), who("b", func(m *cluster.Member) { m.State = cluster.StateStarting })),
			reason: ReasonCollecting, also: wakes(now.Add(1600 * time.Millisecond))},
		{name: "but not for ever",
			given:  vacant(lsn, reports("c", lsn), later(2*time.Second), who("c", func(m *cluster.Member) { m.State = cluster.StateStarting })),
			reason: ReasonAcquiring, do: take},
		{name: "a starting member that may not be elected is not waited for",
			given: vacant(lsn, later(400*time.Millisecond), who("c", func(m *cluster.Member) {
				m.State, m.Tags = cluster.StateStarting, cluster.Tags{"nofailover": true}
			})), reason: ReasonAcquiring, do: take},
		{name: "a report for an earlier vacancy does not count",
			given:  vacant(lsn, reports("c", lsn), who("c", func(m *cluster.Member) { m.Keeper.Vacancy = beat - 1 })),
			reason: ReasonCollecting, also: wakes(now.Add(200 * time.Millisecond))},
		{name: "a member with more goes first",
			given: vacant(lsn, reports("c", lsn+8)), reason: ReasonBetterCandidate, also: wakes(now.Add(1200 * time.Millisecond))},
		{name: "a better member that sleeps is not waited for for ever",
			given: vacant(lsn, reports("c", lsn+8), later(1400*time.Millisecond)), reason: ReasonAcquiring, do: take},
		{name: "a better member that died during the race is forgotten with its key",
			given:  vacant(lsn, reports("c", lsn+8), view(func(v *cluster.View) { delete(v.Members, "c") })),
			reason: ReasonAcquiring, do: take},
		{name: "a shorter log on a newer timeline goes first",
			given: vacant(lsn, who("c", func(m *cluster.Member) {
				m.Keeper.Vacancy, m.Keeper.Position = beat, &cluster.Position{Timeline: 4, LSN: lsn - 8}
			})), reason: ReasonBetterCandidate, also: wakes(now.Add(1200 * time.Millisecond))},
		{name: "of two equals the one with the higher priority goes first",
			given:  vacant(lsn, reports("c", lsn), who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"failover_priority": 2} })),
			reason: ReasonBetterCandidate, also: wakes(now.Add(1200 * time.Millisecond))},
		{name: "of two equals the first by name goes first",
			given: vacant(lsn, reports("c", lsn)), reason: ReasonAcquiring, do: take},
		{name: "a nofailover member with more is passed by",
			given:  vacant(lsn, reports("c", lsn+8), who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"nofailover": true} })),
			reason: ReasonAcquiring, do: take},
		{name: "a Patroni member cannot report: what it published counts",
			given:  vacant(lsn, who("c", func(m *cluster.Member) { m.Keeper = nil; m.XlogLocation = lsn + 8 })),
			reason: ReasonBetterCandidate, also: wakes(now.Add(1200 * time.Millisecond))},
		{name: "the last holder is not waited for, it is dead or stopped",
			given:  vacant(lsn, reports("c", lsn), view(func(v *cluster.View) { v.Members["b"] = member("b", cluster.RolePrimary, lsn+8) })),
			reason: ReasonAcquiring, do: take},
		{name: "the last holder that came back and reports counts like any other",
			given:  vacant(lsn, reports("c", lsn), view(func(v *cluster.View) { v.Members["b"] = member("b", cluster.RoleReplica, lsn+8) }), reports("b", lsn+8)),
			reason: ReasonBetterCandidate, also: wakes(now.Add(1200 * time.Millisecond))},
		{name: "a nofailover member does not race",
			given: vacant(lsn, tag(cluster.Tags{"nofailover": true})), reason: ReasonNoFailover},
		{name: "failover_priority 0 means nofailover",
			given: vacant(lsn, tag(cluster.Tags{"failover_priority": 0})), reason: ReasonNoFailover},
		{name: "a member too far behind does not race",
			given: vacant(lsn-2<<20, reports("c", lsn-3<<20)), reason: ReasonTooFarBehind},
		{name: "how far is too far is the operator's to say",
			given:  vacant(lsn-2<<20, reports("c", lsn-3<<20), func(o *Observation) { o.Settings.MaximumLagOnFailover = -1 }),
			reason: ReasonAcquiring, do: take},
		{name: "a member that never saw the primary's timeline does not race with check_timeline",
			given: vacant(lsn, reports("c", lsn), view(func(v *cluster.View) { v.Status = &cluster.Positions{Optime: lsn, Timeline: 4} }),
				func(o *Observation) {
					o.Settings.CheckTimeline = true
					o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour)
				}),
			reason: ReasonOldTimeline},
		{name: "check_timeline keeps nobody away who has seen it",
			given: vacant(lsn, reports("c", lsn), func(o *Observation) { o.Settings.CheckTimeline = true }), reason: ReasonAcquiring, do: take},
		{name: "without it, it lets whoever has seen it come first",
			given:  vacant(lsn, reports("c", lsn), view(func(v *cluster.View) { v.Status = &cluster.Positions{Optime: lsn, Timeline: 4} })),
			reason: ReasonOldTimeline, also: func(t *testing.T, d Decision) {
				if d.Wake <= now {
					t.Errorf("wakes at %d, want later than now", d.Wake)
				}
			}},
		{name: "and goes when nobody has come for T, so that no operator is needed",
			given: vacant(lsn, reports("c", lsn), view(func(v *cluster.View) { v.Status = &cluster.Positions{Optime: lsn, Timeline: 4} }),
				func(o *Observation) { o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour) }),
			reason: ReasonAcquiring, do: take},
		{name: "what it shares with the lost timeline must lie within the limit",
			given: vacant(lsn, reports("c", lsn), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: lsn, Timeline: 4}
				v.History = append(history(), cluster.HistoryLine{Timeline: 3, Switch: lsn - 2<<20})
			}), func(o *Observation) { o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour) }),
			reason: ReasonTooFarBehind},
		{name: "so must what it shares with one that left an earlier timeline elsewhere than its own did",
			given: vacant(lsn, reports("c", lsn), node(func(n *cluster.NodeState) { n.TimelineHistory = history() }), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: lsn, Timeline: 4}
				v.History = cluster.History{history()[0], {Timeline: 2, Switch: lsn - 2<<20}}
			}), func(o *Observation) { o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour) }),
			reason: ReasonTooFarBehind},
		{name: "so must what it shares with one that left it at the same position, as the published position says",
			given: vacant(lsn, reports("c", lsn), node(func(n *cluster.NodeState) { n.TimelineHistory = history() }), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: history()[1].Switch + 2<<20, Timeline: 4, Parent: 2, Switch: history()[1].Switch}
			}), func(o *Observation) { o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour) }),
			reason: ReasonTooFarBehind},
		{name: "nor does a history of another line of timelines say otherwise",
			given: vacant(lsn, reports("c", lsn), node(func(n *cluster.NodeState) { n.TimelineHistory = history() }), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: lsn, Timeline: 5, Parent: 2, Switch: lsn - 2<<20}
				v.History = append(history(), cluster.HistoryLine{Timeline: 3, Switch: lsn})
			}), func(o *Observation) { o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour) }),
			reason: ReasonTooFarBehind},
		{name: "where the lost one left ours counts before it has told its history",
			given: vacant(lsn, reports("c", lsn), node(func(n *cluster.NodeState) { n.TimelineHistory = history() }), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: lsn, Timeline: 4, Parent: 3, Switch: lsn - 2<<20}
			}), func(o *Observation) { o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour) }),
			reason: ReasonTooFarBehind},
		{name: "while the lost primary has told nothing of its own all counts",
			given: vacant(lsn, reports("c", lsn), node(func(n *cluster.NodeState) { n.TimelineHistory = history() }), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: lsn, Timeline: 4}
			}), func(o *Observation) { o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour) }),
			reason: ReasonAcquiring, do: take},
		{name: "who was promoted since that position was published is not behind it",
			given: vacant(lsn-2<<20, reports("c", lsn-3<<20), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: lsn, Timeline: 2}
			})), reason: ReasonAcquiring, do: take},
		{name: "a position without a timeline is of no older one",
			given: vacant(lsn-2<<20, reports("c", lsn-3<<20), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: lsn}
			})), reason: ReasonTooFarBehind},
		{name: "that of a Patroni leader lies on the timeline that its history tells of, and what this member has past the one before is no part of it",
			given: vacant(lsn, reports("c", lsn), view(func(v *cluster.View) {
				v.Status = &cluster.Positions{Optime: lsn}
				v.History = append(history(), cluster.HistoryLine{Timeline: 3, Switch: lsn - 2<<20})
			}), func(o *Observation) { o.Vacancy, o.Beat.At = ago(time.Hour), ago(time.Hour) }),
			reason: ReasonTooFarBehind},
		{name: "an unfit member reports all the same",
			given: vacant(lsn - 2<<20), reason: ReasonTooFarBehind, also: saysPosition(lsn - 2<<20)},

		// how
		{name: "before it reports a candidate looks once more",
			given: vacant(lsn, func(o *Observation) { o.Node.At = ago(time.Second) }), reason: ReasonLooking, also: looks},
		{name: "a stopped server is started as a standby, whatever it was before",
			given:  cold("b", view(func(v *cluster.View) { v.Leader = nil })),
			reason: ReasonStartToRace, do: acts(StartServer{})},
		{name: "a server that starts does not race yet",
			given: vacant(lsn, mode(cluster.ModeStarting)), reason: ReasonNotHealthy},
		{name: "a node without data waits for a leader to clone from",
			given: vacant(lsn, node(func(n *cluster.NodeState) {
				*n = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}
			}), func(o *Observation) { o.Guard.Running = false }), reason: ReasonWaitingForData},
		{name: "two tries of the transaction are a moment apart",
			given:  vacant(lsn, reports("c", lsn), func(o *Observation) { o.Lease.Tried = ago(10 * time.Millisecond) }),
			reason: ReasonAcquiring, also: wakes(now.Add(40 * time.Millisecond))},

		// pause marks
		{name: "while another was primary in a pause nobody elects, not even a named candidate",
			given: vacant(lsn, reports("c", lsn), mark("b"), wish("", "a")), reason: ReasonPausedElsewhere},
		{name: "who forces a failover to that very member says nothing of its being dead",
			given: vacant(lsn, reports("c", lsn), mark("b"), wish("", "b"), view(func(v *cluster.View) {
				v.Members["b"] = member("b", cluster.RolePrimary, lsn)
				v.Failover.Force = true
			})), reason: ReasonPausedElsewhere},
		{name: "a stopped server is started all the same",
			given:  cold("b", mark("b"), view(func(v *cluster.View) { v.Leader = nil })),
			reason: ReasonStartToRace, do: acts(StartServer{})},
		{name: "who was primary in the pause itself may be elected again",
			given: vacant(lsn, reports("c", lsn), mark("a")), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat, PausedRevision: 300}, PutPausedPrimary{Revision: 300})},
		{name: "the operator's word that it is dead passes the mark by",
			given: vacant(lsn, reports("c", lsn), mark("b"), wish("", "a"), view(func(v *cluster.View) {
				f := *v.Failover
				f.Force = true
				v.Failover = &f
			})), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat, PausedRevision: 300, FailoverRevision: 400})},
		{name: "a wish that names nobody who is there does not",
			given: vacant(lsn, reports("c", lsn), mark("b"), wish("", "pg9"), view(func(v *cluster.View) {
				f := *v.Failover
				f.Force = true
				v.Failover = &f
			})), reason: ReasonPausedElsewhere},

		// named candidates
		{name: "a named candidate goes although another has more",
			given: vacant(lsn, reports("c", lsn+8), wish("", "a")), reason: ReasonAcquiring, do: byWish},
		{name: "a named candidate waits for T like anybody",
			given: vacant(lsn, justBeat, wish("", "a")), reason: ReasonWaitingForLease, also: wakes(now.Add(9 * time.Second))},
		{name: "a failover to a member that lost WAL is the operator's choice",
			given: vacant(lsn-2<<20, wish("", "a")), reason: ReasonAcquiring, do: byWish},
		{name: "a switchover whose primary died is no licence to lose data",
			given: vacant(lsn-2<<20, wish("b", "a")), reason: ReasonTooFarBehind},
		{name: "its candidate goes when it has everything",
			given: vacant(lsn, wish("b", "a")), reason: ReasonAcquiring, do: byWish},
		{name: "others give the named candidate the first try",
			given: vacant(lsn, reports("c", lsn), wish("", "c")), reason: ReasonNamedCandidate, also: wakes(now.Add(4900 * time.Millisecond))},
		{name: "a named candidate that sleeps is not waited for for ever",
			given: vacant(lsn, reports("c", lsn), wish("", "c"), later(6*time.Second)), reason: ReasonAcquiring, do: byWish},
		{name: "a named candidate that is not there is not waited for",
			given: vacant(lsn, reports("c", lsn), wish("", "z")), reason: ReasonAcquiring, do: byWish},
		{name: "a wish that is not due names nobody",
			given:  vacant(lsn, reports("c", lsn), wish("", "c"), func(o *Observation) { o.Wish.FailoverDue = false }),
			reason: ReasonAcquiring, do: byWish},
	}
}

func TestRace(t *testing.T) { check(t, raceRules()) }

// TestVacant: the agent's word for "since when" agrees with who races.
func TestVacant(t *testing.T) {
	silent := standby(lsn, func(o *Observation) { o.Beat.At = ago(time.Minute) })
	cases := []struct {
		name string
		o    Observation
		want bool
	}{
		{"a cluster whose leader beats is not vacant", standby(lsn), false},
		{"a cluster without leader key is vacant", vacant(lsn), true},
		{"a cluster whose leader is silent for T is vacant", silent, true},
		{"a silence that only the watch tells is none: it may have lost its store", with(silent, func(o *Observation) { o.Read = ago(51 * time.Second) }), false},
		{"it is one when the store says so too, of a read that left after T", with(silent, func(o *Observation) { o.Read = ago(50 * time.Second) }), true},
		{"a silent leader is not called vacant by itself", primary(func(o *Observation) { o.Beat.At = ago(time.Minute) }), false},
		{"a release left over spares no wait while somebody holds the key", standby(lsn, func(o *Observation) { o.Beat.At = ago(time.Second) }, view(func(v *cluster.View) {
			v.Release = &cluster.Release{By: "c", Term: 50, BeatRevision: v.Beat.ModRevision}
		})), false},
		{"before the first view nothing is known", Observation{Now: now}, false},
		{"a beat that a hand-over left behind proves nothing", with(silent, view(func(v *cluster.View) {
			v.Leader = &cluster.Leader{Name: "c", Term: 130}
		})), false},
	}
	for _, c := range cases {
		if got := Vacant(&c.o); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// TestAPromiseNeedsAReadOfTheStore: it compares nothing. A voter that has lost the store, and nothing else, would revoke the term
// of a primary that is well, from which it streams.
func TestAPromiseNeedsAReadOfTheStore(t *testing.T) {
	voter := standby(lsn, view(func(v *cluster.View) {
		v.Durability = &cluster.Durability{Mode: cluster.SyncQuorum, Rules: []cluster.Rule{{Primary: v.Leader.Name, Voters: []string{"a", "c"}, Need: 1}}}
	}), func(o *Observation) { o.Beat.At, o.Read = ago(time.Minute), ago(2*time.Minute) })
	if d := Decide(&voter); d.Reason != ReasonFollowing || !WantsRead(&voter) {
		t.Errorf("unread it decides %s, %v; wants a read: %t", d.Reason, d.Actions, WantsRead(&voter))
	}
	voter.Read = voter.Now
	voter.Vacancy = voter.Now
	if d := Decide(&voter); d.Reason != ReasonRevoking && d.Reason != ReasonLooking || WantsRead(&voter) {
		t.Errorf("read it decides %s; wants a read: %t", d.Reason, WantsRead(&voter))
	}
}
