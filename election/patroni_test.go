package election

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// sync has the key `sync` say who may lead.
func sync(leader, standbys string, quorum int) change {
	return view(func(v *cluster.View) {
		v.Sync = &cluster.Sync{Leader: leader, SyncStandby: standbys, Quorum: quorum, ModRevision: 460}
	})
}

// byPatroniMember has a member's key come from Patroni.
func byPatroniMember(name string, at cluster.LSN) change {
	return who(name, func(m *cluster.Member) { *m = member(name, cluster.RoleReplica, at); m.Keeper = nil })
}

func patroniRules() []rule {
	patroniLed := view(func(v *cluster.View) { v.Beat = nil })
	alone := view(func(v *cluster.View) { delete(v.Members, "c") })
	settled := func(o *Observation) { o.Vacancy, o.Node.At = ago(10*time.Second), ago(0) }
	tells := func(name string, at cluster.LSN) change { // there is no beat to report for
		return func(o *Observation) {
			reports(name, at)(o)
			who(name, func(m *cluster.Member) { m.Keeper.Vacancy = noBeat })(o)
		}
	}
	take := acts(Acquire{SyncRevision: 460})
	failover := func(f cluster.Failover) change {
		return func(o *Observation) {
			edit(o, func(v *cluster.View) { v.Failover = &f })
			o.Wish.FailoverDue = true
		}
	}
	return []rule{
		// when a Patroni leader, which keeps no record, is gone
		{name: "a member that a Patroni leader lists in sync has every commit and takes the lease",
			given: vacant(lsn, patroniLed, alone, sync("b", "a", 0)), reason: ReasonAcquiring, do: take},
		{name: "one that it does not list takes nothing, however far it is and whoever is left",
			given: vacant(lsn+8, patroniLed, alone, sync("b", "c", 0)), reason: ReasonNotListedSync},
		{name: "nor where the leader waits for nobody: what was acknowledged since is on it alone",
			given: vacant(lsn, patroniLed, alone, sync("b", "", 0)), reason: ReasonNotListedSync},
		{name: "names are compared as PostgreSQL does, without regard to case",
			given: vacant(lsn, patroniLed, alone, sync("b", "x, A", 0)), reason: ReasonAcquiring, do: take},
		{name: "a record of rules from before that leader decides nothing",
			given:  vacant(lsn, patroniLed, alone, sync("b", "a", 0), ruled("quorum", cluster.Rule{Primary: "c", Voters: []string{"x", "y"}, Need: 1})),
			reason: ReasonAcquiring, do: acts(Acquire{SyncRevision: 460, DurabilityRevision: 450})},
		{name: "one that cannot be read forbids everything still",
			given:  vacant(lsn, patroniLed, alone, sync("b", "a", 0), quiet, view(func(v *cluster.View) { v.Durability = &cluster.Durability{Unreadable: true, ModRevision: 450} })),
			reason: ReasonTooFewReports},
		{name: "in a quorum as many others must be no further as the key says: one that has not reported is not counted",
			given: vacant(lsn, patroniLed, sync("b", "a,c", 1)), reason: ReasonTooFewReports},
		{name: "one that has, is",
			given: vacant(lsn, patroniLed, sync("b", "a,c", 1), tells("c", lsn)), reason: ReasonAcquiring, do: take},
		{name: "one that is further goes first",
			given: vacant(lsn, patroniLed, sync("b", "a,c", 1), tells("c", lsn+8)), reason: ReasonBetterCandidate},
		{name: "who is in no list is waited for by nobody, however far it is",
			given: vacant(lsn, patroniLed, sync("b", "a", 0), tells("c", lsn+8)), reason: ReasonAcquiring, do: take},
		{name: "what an agent had when it gave the lease to that leader is not what it has",
			given: vacant(lsn, sync("b", "a,c", 1), view(func(v *cluster.View) {
				v.Release = &cluster.Release{By: "c", Term: term, BeatRevision: beat, Clean: true, Position: cluster.Position{Timeline: 3, LSN: lsn}}
				v.Status = &cluster.Positions{Optime: lsn}
			})), reason: ReasonTooFewReports},
		{name: "what a Patroni voter published may be older than the end of the lease",
			given: vacant(lsn, patroniLed, sync("b", "a,c", 1), byPatroniMember("c", lsn)), reason: ReasonTooFewReports, also: wakes(now.Add(9900 * time.Millisecond))},
		{name: "a ttl after it, it is not",
			given: vacant(lsn, patroniLed, sync("b", "a,c", 1), byPatroniMember("c", lsn), settled), reason: ReasonAcquiring, do: take},
		{name: "and a Patroni voter that is further goes first",
			given: vacant(lsn, patroniLed, sync("b", "a,c", 1), byPatroniMember("c", lsn+8), settled), reason: ReasonBetterCandidate},
		{name: "where commits of an agent may have waited for nobody too, a member that lacks too much of what was published takes nothing, although the key sync names it",
			given: vacant(lsn-2<<20, alone, sync("b", "a,c", 0), byPatroniMember("c", lsn-2<<20), ruled("on", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 2}, cluster.Rule{Primary: "b"})), reason: ReasonTooFarBehind},
		{name: "an agent that led is no proof that nobody has led since: a Patroni leader of a quorum writes the key after its promotion",
			given:  vacant(lsn, sync("a", "b,c", 1), byPatroniMember("c", lsn), ruled("quorum", cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1})),
			reason: ReasonTooFewReports},
		{name: "unless its key is there yet, which no Patroni member takes over",
			given: vacant(lsn, sync("a", "b,c", 1), byPatroniMember("c", lsn), ruled("quorum", cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}), view(func(v *cluster.View) {
				v.Leader = &cluster.Leader{Name: "a", LeaseID: 1000 + 'a', Term: term}
			}), func(o *Observation) { o.Self.Ended = term }), reason: ReasonAcquiring, do: acts(Acquire{LeaderTerm: term, BeatRevision: beat, DurabilityRevision: 450, SyncRevision: 460})},
		{name: "but not a key of that name that it has not led by",
			given: vacant(lsn, sync("a", "b,c", 1), byPatroniMember("c", lsn), ruled("quorum", cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}), view(func(v *cluster.View) {
				v.Leader = &cluster.Leader{Name: "a", LeaseID: 1000 + 'a', Term: term}
			}), func(o *Observation) { o.Self.Ended = term - 1 }), reason: ReasonTooFewReports},
		{name: "a failover to a named member keeps to it too",
			given: vacant(lsn, patroniLed, alone, sync("b", "c", 0), failover(cluster.Failover{Member: "a"})), reason: ReasonNotListedSync},
		{name: "unless the operator says that what is lost is lost",
			given: vacant(lsn, patroniLed, alone, sync("b", "c", 0), failover(cluster.Failover{Member: "a", Force: true})), reason: ReasonAcquiring, do: acts(Acquire{SyncRevision: 460, Passed: true})},
		{name: "a member that may not be promoted says how far it is",
			given: vacant(lsn, patroniLed, alone, sync("b", "a,c", 1), func(o *Observation) { o.Self.Tags = cluster.Tags{"nofailover": true} }), reason: ReasonNoFailover,
			also: func(t *testing.T, d Decision) {
				if d.Say.Position == nil {
					t.Error("it says nothing")
				}
			}},

		// when a member of pgkeeper led, and commits rest on Patroni's too
		{name: "among voters of pgkeeper promises decide, whatever Patroni member is there",
			given:  vacant(lsn, ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a"}, Need: 1}), sync("b", "a", 0), byPatroniMember("c", lsn)),
			reason: ReasonRevoking, do: acts(Promise{Term: cluster.Term(beat)})},
		{name: "a Patroni voter promises nothing: then the key sync decides",
			given:  vacant(lsn, ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}), sync("b", "a,c", 1), byPatroniMember("c", lsn), settled),
			reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat, SyncRevision: 460, DurabilityRevision: 450})},
	}
}

func TestPatroniRules(t *testing.T) { check(t, patroniRules()) }

// TestWhatPatroniLeft: what a new primary does about the key `sync` of a Patroni leader.
func TestWhatPatroniLeft(t *testing.T) {
	left := sync("b", "a,c", 1)
	theirs := cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}
	promoting := vacant(lsn, left, quorum)
	if _, first := ruleBeforePromotion(&promoting); !cmp.Equal(first, Action(PutDurability{cluster.Durability{Mode: "quorum",
		Rules: []cluster.Rule{theirs, none, {Primary: "a", Voters: []string{"c", "b"}, Need: 1}}}})) {
		t.Errorf("before its promotion it records %+v: not the rule that commits of before rest on, and its own of the same copies", first)
	}
	again := vacant(lsn, left, quorum, ruled("quorum", anyOfTwo)) // it led before that leader, too
	if names, first := ruleBeforePromotion(&again); !cmp.Equal(first, Action(PutDurability{cluster.Durability{Mode: "quorum",
		Rules: []cluster.Rule{theirs, none, {Primary: "a", Voters: []string{"c", "b"}, Need: 1}}}})) {
		t.Errorf("when its own record is from before that leader it records %+v before its promotion, with %q", first, names)
	}
	for name, c := range map[string]struct {
		given Observation
		want  Action
	}{
		"nor does a record of its own from before that leader do":     {primary(left, quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, lsn)), PutDurability{cluster.Durability{Mode: "quorum", Rules: []cluster.Rule{theirs, none, anyOfTwo}}}},
		"an asynchronous primary removes it: everything is here":      {primary(left), PutDurability{}},
		"its own it leaves to the record":                             {primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, lsn), sync("a", "b,c", 1)), nil},
		"a synchronous one records its own rule beside, first of all": {primary(left, quorum), PutDurability{cluster.Durability{Mode: "quorum", Rules: []cluster.Rule{theirs, none, anyOfTwo}}}},
	} {
		if got, _ := keepRule(&c.given); !cmp.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestNoCandidate: Patroni members are told of whoever waits for nothing that could make it a
// candidate, and of nobody else.
func TestNoCandidate(t *testing.T) {
	for reason, want := range map[cluster.Reason]bool{
		ReasonNotListedSync: true, ReasonNotListed: true, ReasonTooFarBehind: true, ReasonOldTimeline: true, ReasonNoWatchdog: true, ReasonSickCandidate: true,
		ReasonFollowing: false, ReasonLeading: false, ReasonAcquiring: false, ReasonCollecting: false, ReasonTooFewReports: false, ReasonPledged: false,
		ReasonBetterCandidate: false, ReasonNamedCandidate: false, ReasonNoFailover: false,
	} {
		if o := vacant(lsn); NoCandidate(&o, reason) != want {
			t.Errorf("%s is told as no candidate: %t, want %t", reason, !want, want)
		}
	}
	for name, c := range map[string]struct {
		given Observation
		want  bool
	}{
		"one that an operator has named, and that is behind another": {vacant(lsn, wish("", "a")), true},
		"one beside which another is named":                          {vacant(lsn, wish("b", "c")), true},
		"in a quorum that would cost the other a vote":               {vacant(lsn, wish("", "a"), quorum), false},
		"where nobody is named":                                      {vacant(lsn), false},
	} {
		if NoCandidate(&c.given, ReasonBetterCandidate) != c.want {
			t.Errorf("%s is told as no candidate: %t, want %t", name, !c.want, c.want)
		}
	}
}
