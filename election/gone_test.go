package election

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// ofTwo is the rule that commits of b wait under: one of a and c confirms.
var ofTwo = cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}

// waited is a standby of a strict quorum that b leads, whose commits all wait.
func waited(changes ...change) Observation {
	o := standby(lsn, quorum, ruled("quorum", ofTwo), who("b", func(m *cluster.Member) {
		m.APIURL, m.Keeper.SyncCommit = "http://b", &cluster.SyncCommit{Weakened: []cluster.Weakening{}}
	}))
	o.Suspicion = Suspicion{Leader: "b", Heard: ago(50 * time.Millisecond)}
	return with(o, changes...)
}

// alone: no WAL has come from b for a second, and for 300 ms nothing of its node answers.
func alone(o *Observation) {
	o.NotStreaming, o.Node.Value.Receiver = ago(time.Second), nil
	o.Suspicion = Suspicion{Leader: "b", Heard: ago(time.Second), Since: ago(300 * time.Millisecond), Tried: ago(20 * time.Millisecond), Ended: ago(10 * time.Millisecond)}
}

// finds has a member find the holder of the last beat gone.
func finds(name string) change {
	return who(name, func(m *cluster.Member) { m.Keeper.Gone = beat })
}

// joined has more members, who are voters too.
func joined(names ...string) change {
	return func(o *Observation) {
		rule := ofTwo
		for _, name := range names {
			edit(o, func(v *cluster.View) { v.Members[name] = member(name, cluster.RoleReplica, lsn) })
			rule.Voters = append(slices.Clip(rule.Voters), name)
		}
		ruled("quorum", rule)(o)
	}
}

func suspects(f func(*Suspicion)) change { return func(o *Observation) { f(&o.Suspicion) } }

func goneRules() []rule {
	knock := Knock{Leader: "b", APIURL: "http://b", Host: "10.0.0.2", Port: "5432"}
	take := acts(Acquire{LeaderTerm: term, BeatRevision: beat, DurabilityRevision: 450})
	promise := acts(Promise{Term: cluster.Term(beat)})
	saysGone := says(Say{Gone: beat})
	saysNothing := says(Say{})
	hears := func(o *Observation) {
		o.NotStreaming = 0
		o.Suspicion.Heard = ago(50 * time.Millisecond)
		o.Node.Value.Receiver = &cluster.Receiver{Status: "streaming"}
	}
	lately := func(o *Observation) { o.Node.At, o.Vacancy = ago(0), ago(100*time.Millisecond) }
	tried := func(d time.Duration) change { return suspects(func(s *Suspicion) { s.Tried = ago(d) }) }
	off := func(o *Observation) { o.Settings.FastFailover = false }
	return []rule{
		// when the leader's node is tried
		{name: "while WAL comes nobody tries the leader's node", given: waited(), reason: ReasonFollowing},
		{name: "while it flows no decision is wanted about that", given: waited(), reason: ReasonFollowing, also: wakes(now.Add(9 * time.Second))},
		{name: "a look that finds nothing new is followed by another decision soon", given: waited(suspects(func(s *Suspicion) { s.Heard = ago(200 * time.Millisecond) })), reason: ReasonFollowing, also: wakes(now.Add(100 * time.Millisecond))},
		{name: "when none has come for a moment, this member does", given: waited(suspects(func(s *Suspicion) { s.Heard = ago(time.Second) })), reason: ReasonFollowing, do: acts(knock)},
		{name: "and at once when its receiver has ended", given: waited(func(o *Observation) { o.NotStreaming, o.Node.Value.Receiver = ago(0), nil }), reason: ReasonNotStreaming, do: acts(knock)},
		{name: "seldom while anything there answers", given: waited(suspects(func(s *Suspicion) { s.Heard, s.Tried = ago(time.Second), ago(400*time.Millisecond) })),
			reason: ReasonFollowing, also: wakes(now.Add(100 * time.Millisecond))},
		{name: "often once nothing does", given: waited(alone, tried(100*time.Millisecond)), reason: ReasonHolderGone, do: acts(knock), also: saysGone},
		{name: "one try at a time", given: waited(alone, tried(time.Second), suspects(func(s *Suspicion) { s.Busy = true })), reason: ReasonHolderGone, also: saysGone},
		{name: "what was measured of another leader is not taken for this one's", given: waited(suspects(func(s *Suspicion) { s.Leader, s.Heard = "c", ago(time.Second) })), reason: ReasonFollowing},

		// when it is found gone
		{name: "a leader from whom no WAL comes, and of whom nothing answers, is found gone", given: waited(alone), reason: ReasonHolderGone, also: saysGone},
		{name: "not after a single moment", given: waited(alone, suspects(func(s *Suspicion) { s.Since = ago(150 * time.Millisecond) })), reason: ReasonNotStreaming, also: saysNothing},
		{name: "not when that was a while ago", given: waited(alone, suspects(func(s *Suspicion) { s.Since, s.Ended, s.Busy = ago(5*time.Second), ago(2*time.Second), true }), func(o *Observation) { o.Beat.At = ago(6 * time.Second) }), reason: ReasonNotStreaming, also: saysNothing},
		{name: "not while WAL comes all the same", given: waited(alone, hears), reason: ReasonFollowing, also: saysNothing},
		{name: "not when it has beaten since: it is there, and only not reached from here", given: waited(alone, func(o *Observation) { o.Beat.At = ago(100 * time.Millisecond) }), reason: ReasonNotStreaming, also: saysNothing},
		{name: "until its next beat is overdue", given: waited(alone, suspects(func(s *Suspicion) { s.Since = ago(10 * time.Second) }), func(o *Observation) { o.Beat.At = ago(3 * time.Second) }), reason: ReasonHolderGone, also: saysGone},

		// where
		{name: "the option is off", given: waited(alone, finds("c"), off), reason: ReasonNotStreaming, also: saysNothing},
		{name: "commits are asynchronous", given: waited(alone, finds("c"), func(o *Observation) { o.Settings.SynchronousMode = "off" }), reason: ReasonNotStreaming, also: saysNothing},
		{name: "the mode is not strict", given: waited(alone, finds("c"), func(o *Observation) { o.Settings.SynchronousStrict = false }), reason: ReasonNotStreaming, also: saysNothing},
		{name: "commits may have been acknowledged that waited for nobody", given: waited(alone, finds("c"), ruled("quorum", cluster.Rule{Primary: "b"}, ofTwo)), reason: ReasonNotStreaming, also: saysNothing},
		{name: "roles are known to weaken synchronous_commit", given: waited(alone, finds("c"), who("b", func(m *cluster.Member) {
			m.Keeper.SyncCommit = &cluster.SyncCommit{Weakened: []cluster.Weakening{{Role: "app", Value: "off"}}}
		})), reason: ReasonNotStreaming, also: saysNothing},
		{name: "nobody has looked whether they do", given: waited(alone, finds("c"), who("b", func(m *cluster.Member) { m.Keeper.SyncCommit = &cluster.SyncCommit{} })), reason: ReasonNotStreaming, also: saysNothing},
		{name: "a look that failed last does not hide what was found before", given: waited(alone, who("b", func(m *cluster.Member) {
			m.Keeper.SyncCommit = &cluster.SyncCommit{Weakened: []cluster.Weakening{}, WeakenedUnknown: "no answer"}
		})), reason: ReasonHolderGone, also: saysGone},
		{name: "a member runs Patroni", given: waited(alone, finds("c"), view(func(v *cluster.View) { v.Members["d"] = cluster.Member{Name: "d"} })), reason: ReasonNotStreaming, also: saysNothing},
		{name: "another was primary in a pause", given: waited(alone, finds("c"), mark("b")), reason: ReasonNotStreaming, also: saysNothing},
		{name: "the cluster is paused", given: waited(alone, finds("c"), inPause), reason: ReasonPaused, also: saysNothing},
		{name: "a switchover is under way, for which its server is stopped", given: waited(alone, finds("c"), switchover("b", "c", cluster.SwitchoverPreparing)), reason: ReasonNotStreaming, also: saysNothing},
		{name: "an operator has named somebody", given: waited(alone, finds("c"), wish("b", "c")), reason: ReasonNotStreaming, also: saysNothing},
		{name: "it has not accepted the hand-over to it yet", given: waited(alone, finds("c"), view(func(v *cluster.View) { v.Leader.Term = 120 })), reason: ReasonNotStreaming, also: saysNothing},
		{name: "this member has promised it not to race", given: waited(alone, finds("c"), pledgedFor(5*time.Second)), reason: ReasonNotStreaming, also: saysNothing},
		{name: "a look at this member's own server that is to come takes nothing back", given: waited(alone, finds("c"), func(o *Observation) { o.Node = o.Node.Failed("a promise was just made", now) }), reason: ReasonServerUnknown, also: func(t *testing.T, d Decision) {
			if d.Say.Gone != beat {
				t.Error("takes back that the leader is gone")
			}
		}},
		{name: "this member's own server is no standby", given: waited(alone, finds("c"), node(func(n *cluster.NodeState) { n.Mode = cluster.ModeStarting })), reason: ReasonStartingStandby, also: says(Say{})},

		// who decides
		{name: "when most members find the same, this one looks at its server again", given: waited(alone, finds("c"), func(o *Observation) { o.Vacancy = now }), reason: ReasonLooking, also: saysGone},
		{name: "and promises, as in any race that commits hang on", given: waited(alone, finds("c"), lately), reason: ReasonRevoking, do: promise, also: saysGone},
		{name: "one of two is not most", given: waited(alone, lately, view(func(v *cluster.View) {
			delete(v.Members, "c")
			v.Durability.Rules = []cluster.Rule{{Primary: "b", Voters: []string{"a"}, Need: 1}}
		})), reason: ReasonHolderGone, also: saysGone},
		{name: "who found it before the last beat does not count", given: waited(alone, lately, who("c", func(m *cluster.Member) { m.Keeper.Gone = beat - 1 })), reason: ReasonHolderGone, also: saysGone},
		{name: "of five members two are not most", given: waited(alone, lately, joined("d", "e"), finds("c")), reason: ReasonHolderGone, also: saysGone},
		{name: "three are", given: waited(alone, lately, joined("d", "e"), finds("c"), finds("d")), reason: ReasonRevoking, do: promise, also: saysGone},
		{name: "most voters of every rule must be among them", given: waited(alone, lately, finds("c"), ruled("quorum", ofTwo, cluster.Rule{Primary: "b", Voters: []string{"c", "x"}, Need: 1})),
			reason: ReasonHolderGone, also: saysGone},

		// and then
		{name: "with enough promises the key is taken over at once, from that term and under those rules", given: waited(alone, finds("c"), lately, quiet, promisedBy("c", lsn)), reason: ReasonAcquiring, do: take},
		{name: "without them it is not", given: waited(alone, finds("c"), lately, quiet), reason: ReasonTooFewReports},
		{name: "whoever has more goes first, however long", given: waited(alone, finds("c"), lately, quiet, promisedBy("c", lsn+8), func(o *Observation) { o.Vacancy = ago(time.Minute) }), reason: ReasonBetterCandidate},
		{name: "the first by name of two as far does not wait for the lease either", given: waited(alone, finds("c"), quiet, promisedBy("c", lsn), func(o *Observation) {
			o.Node.At, o.Vacancy = ago(0), ago(2*time.Second)
			who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"failover_priority": 5} })(o)
		}), reason: ReasonAcquiring, do: take},
		{name: "a leader that answers after all is waited for, to put its key again", given: waited(alone, finds("c"), lately, quiet, promisedBy("c", lsn), suspects(func(s *Suspicion) { s.Since = 0 })),
			reason: ReasonPromisedAway, do: acts()},
		{name: "a lease that has run out is raced for whoever claims what", given: waited(alone, lately, quiet, promisedBy("c", lsn), suspects(func(s *Suspicion) { s.Since = 0 }), func(o *Observation) { o.Beat.At = ago(11 * time.Second) }, tried(0)),
			reason: ReasonAcquiring, do: acts(Acquire{LeaderTerm: term, BeatRevision: beat, DurabilityRevision: 450})},
	}
}

func TestGone(t *testing.T) { check(t, goneRules()) }

// TestAClaimStandsForTheVacancy: the loop has its server looked at again as soon as most
// find the leader gone, and no sooner.
func TestAClaimStandsForTheVacancy(t *testing.T) {
	one, most := waited(alone), waited(alone, finds("c"))
	if Vacant(&one) || !Vacant(&most) {
		t.Errorf("vacant when one finds it: %t, when most do: %t", Vacant(&one), Vacant(&most))
	}
	if WatchesLeader(&most) == false {
		t.Error("the leader is not watched")
	}
}

// TestHolderGoneSaysWhoFindsTheSame for the operator.
func TestHolderGoneSaysWhoFindsTheSame(t *testing.T) {
	o := waited(alone, joined("d", "e"), finds("e"), finds("c"))
	o.View.Value.Members["f"] = member("f", cluster.RoleReplica, lsn)
	const want = "no WAL from b, and neither its agent nor its server answers; of 6 members most must find that: found by c, e too"
	if diff := cmp.Diff(want, Decide(&o).Detail); diff != "" {
		t.Error(diff)
	}
}
