package election

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// quorum and both are what most cases are about: commits wait for one of b and c, or
// for each of the two, and strictly.
var (
	quorum = func(o *Observation) {
		o.Settings.SynchronousMode, o.Settings.SynchronousStrict = cluster.SyncQuorum, true
	}
	anyOfTwo = cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}
	none     = cluster.Rule{Primary: "a"}
	onlyB    = cluster.Rule{Primary: "a", Voters: []string{"b"}, Need: 1}
	onlyC    = cluster.Rule{Primary: "a", Voters: []string{"c"}, Need: 1}
)

// ruled has the store list rules.
func ruled(mode string, rules ...cluster.Rule) change {
	return view(func(v *cluster.View) { v.Durability = &cluster.Durability{Mode: mode, Rules: rules, ModRevision: 450} })
}

// inForceSince has a rule proved to be in force at this server, up to a position.
func inForceSince(r cluster.Rule, any bool, from cluster.LSN) change {
	return func(o *Observation) {
		o.Sync = Sync{Instance: "i1", Names: r.Names(any), Begun: r.Names(any), From: from}
	}
}

// told: the server was told of the rule, and nothing is proved of it.
func told(r cluster.Rule) change { return func(o *Observation) { o.Sync.Begun = r.Names(true) } }

func passedOver(o *Observation) { o.Lease.Passed = true }

func senders(w ...cluster.Walsender) change {
	return node(func(n *cluster.NodeState) { n.Walsenders = w })
}

func sender(name string, flush cluster.LSN) cluster.Walsender {
	return cluster.Walsender{Name: name, State: "streaming", Flush: flush}
}

// reaching is a sender that wrote, flushed and replayed so much.
func reaching(name string, write, flush, replay cluster.LSN) cluster.Walsender {
	w := sender(name, flush)
	w.Write, w.Replay = write, replay
	return w
}

// lagLimit has synchronous standbys be at most 100 bytes behind under a synchronous_commit.
func lagLimit(level string) change {
	return func(o *Observation) { o.Settings.MaximumLagOnSyncnode, o.Node.Value.SyncLevel = 100, level }
}

// promisedBy has a member say that it takes no WAL of the last term any more, and how
// far it is.
func promisedBy(name string, at cluster.LSN) change {
	return func(o *Observation) {
		reports(name, at)(o)
		who(name, func(m *cluster.Member) { m.Keeper.Promised = cluster.Term(beat) })(o)
	}
}

// quiet: this standby has promised, and takes nothing.
func quiet(o *Observation) {
	o.Self.Promised = cluster.Term(beat)
	o.Node.Value.Receiver, o.Node.Value.PrimaryConninfo = nil, ""
}

// TestKeepRule: what a primary does about the rule its commits wait for, one step after
// the other.
func TestKeepRule(t *testing.T) {
	at := lsn
	put := func(mode string, rules ...cluster.Rule) Action {
		return PutDurability{cluster.Durability{Mode: mode, Rules: rules}}
	}
	old := cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}
	theirs, nobody := cluster.Rule{Primary: "c", Voters: []string{"a"}, Need: 1}, cluster.Rule{Primary: "a", Need: 1}
	for _, c := range []struct {
		name  string
		given Observation
		want  Action
	}{
		{"an asynchronous cluster has no rule", primary(), nil},
		{"the first rule is recorded before the server gets it, beside that there was none", primary(quorum), put("quorum", none, anyOfTwo)},
		{"then the server gets it", primary(quorum, ruled("quorum", anyOfTwo)), SetSync{Names: `ANY 1 ("b","c")`}},
		{"and then there is nothing to do", primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, at)), nil},
		{"what was proved of another server proves nothing", primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, at), func(o *Observation) { o.Sync.Instance = "i0" }),
			SetSync{Names: `ANY 1 ("b","c")`}},
		{"a standby that is lost changes the record first: it lists both rules", primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, at), senders(sender("c", at))),
			put("quorum", anyOfTwo, onlyC)},
		{"then the server", primary(quorum, ruled("quorum", anyOfTwo, onlyC), inForceSince(anyOfTwo, true, at), senders(sender("c", at))), SetSync{Names: `ANY 1 ("c")`}},
		{"the old rule stands until everything before the change is flushed under the new one",
			primary(quorum, ruled("quorum", anyOfTwo, onlyC), inForceSince(onlyC, true, at+8), senders(sender("c", at))), nil},
		{"then it is taken out", primary(quorum, ruled("quorum", anyOfTwo, onlyC), inForceSince(onlyC, true, at), senders(sender("c", at))), put("quorum", onlyC)},
		{"a rule that the server was never told of gives way to the next one",
			primary(quorum, ruled("quorum", anyOfTwo, onlyB), inForceSince(anyOfTwo, true, at), senders(sender("c", at))), put("quorum", anyOfTwo, onlyC)},
		{"one that it was told of stays, whether or not it is in force by now",
			primary(quorum, ruled("quorum", anyOfTwo, onlyB), inForceSince(anyOfTwo, true, at), told(onlyB), senders(sender("c", at))), put("quorum", anyOfTwo, onlyB, onlyC)},
		{"and so does one of which a worker before this one may have told it",
			primary(quorum, ruled("quorum", anyOfTwo, onlyB), senders(sender("c", at))), put("quorum", anyOfTwo, onlyB, onlyC)},
		{"the old rule, wanted again before the next one is proved, stays where it was: commits rest on it",
			primary(quorum, ruled("quorum", anyOfTwo, onlyC), inForceSince(onlyC, true, at)), put("quorum", anyOfTwo, onlyC, anyOfTwo)},
		{"so that it is not given up with what the server was never told of",
			primary(quorum, ruled("quorum", anyOfTwo, onlyC, anyOfTwo), inForceSince(onlyC, true, at), senders(sender("c", at))), put("quorum", anyOfTwo, onlyC)},
		{"the server gets no rule that a change of the record, which may still come, takes out: the record is put once more, in its way",
			primary(quorum, ruled("quorum", onlyB, anyOfTwo), inForceSince(onlyB, true, at), func(o *Observation) { o.RecordOver = 450 }), put("quorum", onlyB, anyOfTwo)},
		{"nor one of a record that is older than the term",
			primary(quorum, ruled("quorum", onlyB, anyOfTwo), inForceSince(onlyB, true, at), view(func(v *cluster.View) { v.Revision = int64(term) - 1 })), nil},
		{"a rule that is in force under the words of another mode is not given up",
			primary(func(o *Observation) { o.Settings.SynchronousMode, o.Settings.SynchronousStrict = cluster.SyncOn, true }, ruled("on", anyOfTwo, onlyB), inForceSince(onlyB, true, at), senders(sender("c", at))),
			put("on", anyOfTwo, onlyB, onlyC)},
		{"when changes come faster than they can be proved, the newest that was begun is finished first",
			primary(quorum, ruled("quorum", old, anyOfTwo, onlyC, none, theirs, onlyB), inForceSince(anyOfTwo, true, at), told(onlyB), senders(sender("b", at), sender("c", at))), SetSync{Names: `ANY 1 ("b")`}},
		{"unless nobody is left to confirm it",
			primary(quorum, ruled("quorum", old, anyOfTwo, onlyC, none, theirs, onlyB), inForceSince(onlyB, true, at), senders(sender("c", at))), put("quorum", old, anyOfTwo, onlyC, none, theirs, onlyB, onlyC)},
		{"as when there was nobody at all",
			primary(quorum, ruled("quorum", old, anyOfTwo, onlyC, none, theirs, nobody), inForceSince(nobody, true, at), senders(sender("c", at))), put("quorum", old, anyOfTwo, onlyC, none, theirs, nobody, onlyC)},
		{"the rules that an operator has forced it past are given up as soon as it leads: who could satisfy them throws away what it has to follow",
			primary(quorum, passedOver, ruled("quorum", theirs, old, anyOfTwo), inForceSince(anyOfTwo, true, at+8)), put("quorum", anyOfTwo)},
		{"not its own, which are proved as ever",
			primary(quorum, passedOver, ruled("quorum", theirs, onlyC, anyOfTwo), inForceSince(anyOfTwo, true, at+8)), put("quorum", onlyC, anyOfTwo)},
		{"nor before its own is recorded",
			primary(quorum, passedOver, ruled("quorum", theirs)), put("quorum", theirs, anyOfTwo)},
		{"nor those that it satisfied, forced or not",
			primary(quorum, ruled("quorum", theirs, anyOfTwo), inForceSince(anyOfTwo, true, at+8)), nil},
		{"what is in the record twice is satisfied once",
			primary(quorum, ruled("quorum", old, anyOfTwo, old, anyOfTwo, old, onlyB), inForceSince(onlyB, true, at), senders(sender("c", at))), put("quorum", old, anyOfTwo, onlyB, onlyC)},
		{"the old rule, wanted again while the server is being told of the next, is no longer proved, and the server is told of it anew",
			primary(quorum, ruled("quorum", onlyB, anyOfTwo), inForceSince(anyOfTwo, true, at), told(onlyB)), SetSync{Names: `ANY 1 ("b","c")`}},
		{"nor is it proved that commits wait for nobody while the server is being told to wait",
			primary(ruled("off", anyOfTwo, none), inForceSince(none, true, at), told(anyOfTwo)), SetSync{}},
		{"who is no voter flushes nothing under the rule",
			primary(quorum, ruled("quorum", old, onlyC), inForceSince(onlyC, true, at), senders(sender("c", at-8), cluster.Walsender{Name: "pgkeeper_clone_b", State: "streaming", Flush: at})), nil},
		{"the strict mode lets nobody off when the last standby is lost", primary(quorum, ruled("quorum", onlyC), inForceSince(onlyC, true, at), senders()), nil},
		{"otherwise commits go on alone, once that is recorded",
			primary(quorum, func(o *Observation) { o.Settings.SynchronousStrict = false }, ruled("quorum", onlyC), inForceSince(onlyC, true, at), senders()),
			put("quorum", onlyC, cluster.Rule{Primary: "a"})},
		{"a strict primary that never had a standby lets no commit through", primary(quorum, senders()), put("quorum", none, cluster.Rule{Primary: "a", Need: 1})},
		{"a clone counts for nothing, under whatever name", primary(quorum, senders(sender("pgkeeper_clone_b", at), sender("c", at))), put("quorum", none, onlyC)},
		{"nor a receiver under the name of a member whose server does not run", primary(quorum, who("b", func(m *cluster.Member) { m.State = cluster.StateCreating })), put("quorum", none, onlyC)},
		{"a member tagged nosync is not waited for", primary(quorum, who("b", func(m *cluster.Member) { m.Tags = cluster.Tags{"nosync": true} })), put("quorum", none, onlyC)},
		{"nor one too far behind the others",
			primary(quorum, func(o *Observation) { o.Settings.MaximumLagOnSyncnode = 100 }, senders(sender("b", at-101), sender("c", at))), put("quorum", none, onlyC)},
		{"who is too far behind with what commits wait for: here with its replay",
			primary(quorum, lagLimit("remote_apply"), senders(reaching("b", at, at, at-101), reaching("c", at, at-101, at))), put("quorum", none, onlyC)},
		{"here with what it wrote", primary(quorum, lagLimit("remote_write"), senders(reaching("b", at-101, at, at), reaching("c", at, at-101, at-101))), put("quorum", none, onlyC)},
		{"and with what it flushed otherwise", primary(quorum, lagLimit("on"), senders(reaching("b", at, at-101, at), reaching("c", at-101, at, at-101))), put("quorum", none, onlyC)},
		{"one that may not be promoted is waited for only where the others do not suffice", primary(quorum, who("b", func(m *cluster.Member) { m.Tags = cluster.Tags{"nofailover": true} })), put("quorum", none, onlyC)},
		{"mode on names as many as are asked for, the best first", primary(func(o *Observation) { o.Settings.SynchronousMode = "on" }, who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"sync_priority": 2} })),
			put("on", none, onlyC)},
		{"and stays with those it has", primary(func(o *Observation) { o.Settings.SynchronousMode = "on" }, ruled("on", onlyC), inForceSince(onlyC, false, at), senders(sender("b", at), sender("c", at-8))), nil},
		{"another mode is recorded with the same voters", primary(quorum, ruled("on", anyOfTwo), inForceSince(anyOfTwo, false, at)), put("quorum", anyOfTwo)},
		{"names compare without regard to case", primary(quorum, ruled("quorum", cluster.Rule{Primary: "A", Voters: []string{"B", "c"}, Need: 1}), inForceSince(anyOfTwo, true, at)), nil},
		{"switched off, it is recorded that nobody is waited for", primary(ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, at)), put("off", anyOfTwo, cluster.Rule{Primary: "a"})},
		{"then the server stops to wait", primary(ruled("off", anyOfTwo, cluster.Rule{Primary: "a"}), inForceSince(anyOfTwo, true, at)), SetSync{}},
		{"then the old rule goes", primary(ruled("off", anyOfTwo, cluster.Rule{Primary: "a"}), inForceSince(cluster.Rule{}, true, at)), put("off", cluster.Rule{Primary: "a"})},
		{"and with the last rule the record", primary(ruled("off", cluster.Rule{Primary: "a"}), inForceSince(cluster.Rule{}, true, at)), PutDurability{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := keepRule(&c.given)
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func synchronousRules() []rule {
	take := acts(Acquire{BeatRevision: beat, DurabilityRevision: 450})
	byWish := acts(Acquire{BeatRevision: beat, DurabilityRevision: 450, FailoverRevision: 400})
	passing := acts(Acquire{BeatRevision: beat, DurabilityRevision: 450, FailoverRevision: 400, Passed: true})
	two := ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1})
	forced := func(o *Observation) {
		wish("", "a")(o)
		edit(o, func(v *cluster.View) { v.Failover.Force = true })
	}
	released := func(clean bool, at cluster.LSN) change {
		return view(func(v *cluster.View) {
			v.Release = &cluster.Release{By: "b", Term: term, BeatRevision: beat, Clean: clean, Position: cluster.Position{Timeline: 3, LSN: at}}
		})
	}
	spareD := func(o *Observation) { // no copy of the rule, and has more
		edit(o, func(v *cluster.View) { v.Members["d"] = member("d", cluster.RoleReplica, lsn) })
		promisedBy("d", lsn+8)(o)
		who("d", func(m *cluster.Member) { m.Tags = cluster.Tags{"nofailover": true, "nosync": true} })(o)
	}
	fromD := acts(Follow{Upstream: Upstream{Member: "d", Host: "10.0.0.4", Port: "5432"}, NoSlot: true})
	lately := func(o *Observation) { o.Vacancy, o.Beat.At = ago(catchUpPatience+time.Second), ago(time.Minute) }
	givesD := node(func(n *cluster.NodeState) {
		n.PrimaryConninfo, n.Receiver = "host=10.0.0.4 port=5432", &cluster.Receiver{Status: "streaming"}
	})
	returned := view(func(v *cluster.View) { v.Members["b"] = member("b", cluster.RoleReplica, lsn) })
	return []rule{
		{name: "before it reports, a standby stops taking WAL and promises to take none of that term again",
			given: vacant(lsn, two), reason: ReasonRevoking, do: acts(Promise{Term: cluster.Term(beat)})},
		{name: "a promise while WAL still comes is none",
			given: vacant(lsn, two, quiet, node(func(n *cluster.NodeState) { n.Receiver = &cluster.Receiver{Status: "streaming"} })), reason: ReasonRevoking, do: acts(Promise{Term: cluster.Term(beat)})},
		{name: "nor one for a term before",
			given: vacant(lsn, two, quiet, func(o *Observation) { o.Self.Promised-- }), reason: ReasonRevoking, do: acts(Promise{Term: cluster.Term(beat)})},
		{name: "one copy of three may miss what one of two voters has confirmed: a second must report",
			given: vacant(lsn, two, quiet), reason: ReasonTooFewReports},
		{name: "a report without a promise does not count",
			given: vacant(lsn, two, quiet, reports("c", lsn)), reason: ReasonTooFewReports},
		{name: "with enough of them the one with the most takes the lease",
			given: vacant(lsn, two, quiet, promisedBy("c", lsn-8)), reason: ReasonAcquiring, do: take},
		{name: "and nobody else, however long that one sleeps",
			given: vacant(lsn, two, quiet, promisedBy("c", lsn+8), func(o *Observation) { o.Vacancy = ago(time.Minute); o.Beat.At = ago(2 * time.Minute) }), reason: ReasonBetterCandidate},
		{name: "how far it is behind the published position does not matter then: what is proved is proved",
			given:  vacant(lsn, two, quiet, promisedBy("c", lsn-8), view(func(v *cluster.View) { v.Status = &cluster.Positions{Optime: lsn + 64<<20, Timeline: 3} })),
			reason: ReasonAcquiring, do: take},
		{name: "while commits may still have waited for nobody, the bound of asynchronous loss holds as well",
			given: vacant(lsn, quiet, promisedBy("c", lsn-8), ruled("quorum", cluster.Rule{Primary: "b"}, cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}),
				view(func(v *cluster.View) { v.Status = &cluster.Positions{Optime: lsn + 64<<20, Timeline: 3} })),
			reason: ReasonTooFarBehind},
		{name: "every rule of the record must be satisfied",
			given:  vacant(lsn, quiet, promisedBy("c", lsn), ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}, cluster.Rule{Primary: "b", Voters: []string{"d"}, Need: 1})),
			reason: ReasonTooFewReports},
		{name: "the primary of a rule has all that was acknowledged under it, and needs nobody beside it",
			given: vacant(lsn, quiet, ruled("quorum", cluster.Rule{Primary: "A", Voters: []string{"b", "c"}, Need: 1})), reason: ReasonAcquiring, do: take},
		{name: "so does whoever has as much as it says to have",
			given: vacant(lsn, quiet, returned, promisedBy("b", lsn), ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c", "d"}, Need: 1})), reason: ReasonAcquiring, do: take},
		{name: "and nobody who has less",
			given: vacant(lsn, quiet, returned, promisedBy("b", lsn+8), ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c", "d"}, Need: 1})), reason: ReasonBetterCandidate},
		{name: "but not one that lacks what it had published itself: that is another copy",
			given: vacant(lsn, quiet, ruled("quorum", cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}),
				view(func(v *cluster.View) { v.Status = &cluster.Positions{Optime: lsn + 8, Timeline: 3} })), reason: ReasonTooFewReports},
		{name: "nor once somebody has led on a timeline that nobody had reserved: a Patroni member, of whose commits nothing is known",
			given: vacant(lsn, quiet, ruled("quorum", cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}), node(func(n *cluster.NodeState) { n.Timeline = 4 }),
				view(func(v *cluster.View) {
					v.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 3, Term: term}}}
				})), reason: ReasonTooFewReports},
		{name: "or this member has seen one lead since",
			given:  vacant(lsn, quiet, ruled("quorum", cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}), func(o *Observation) { o.Self.PatroniLed = true }),
			reason: ReasonTooFewReports},
		{name: "nor of a rule that is another primary's",
			given:  vacant(lsn, quiet, ruled("quorum", cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}, cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1})),
			reason: ReasonTooFewReports},
		{name: "where all voters confirm each commit, any one of them has everything",
			given: vacant(lsn, quiet, ruled("on", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 2})), reason: ReasonAcquiring, do: take},
		{name: "a primary that shut down cleanly before it gave the lease up is a copy too",
			given: vacant(lsn, two, quiet, released(true, lsn)), reason: ReasonAcquiring, do: take},
		{name: "and what it had must be had",
			given: vacant(lsn, two, quiet, released(true, lsn+8)), reason: ReasonBetterCandidate},
		{name: "unless enough others are left: nobody gets anything from a server that was stopped, and nobody was told of what it alone has",
			given: vacant(lsn, two, quiet, promisedBy("c", lsn), released(true, lsn+8)), reason: ReasonAcquiring, do: take},
		{name: "not where the one of them would do for one rule, and not for another",
			given: vacant(lsn, quiet, promisedBy("c", lsn), released(true, lsn+8),
				ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}, cluster.Rule{Primary: "b", Voters: []string{"d"}, Need: 1})), reason: ReasonBetterCandidate},
		{name: "one that crashed does not know how far it had written",
			given: vacant(lsn, two, quiet, released(false, lsn-64)), reason: ReasonTooFewReports},
		{name: "a member that may not be promoted promises and reports all the same",
			given:  vacant(lsn, two, quiet, func(o *Observation) { o.Self.Tags = cluster.Tags{"nofailover": true} }),
			reason: ReasonNoFailover, also: says(Say{Vacancy: beat, Position: &cluster.Position{Timeline: 3, LSN: lsn}})},
		{name: "what it alone has is streamed from it first",
			given:  vacant(lsn, two, quiet, promisedBy("c", lsn+8), who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"nofailover": true} })),
			reason: ReasonBetterCandidate, do: acts(Follow{Upstream: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}, NoSlot: true})},
		{name: "also where enough others are left",
			given:  vacant(lsn, two, quiet, promisedBy("c", lsn), spareD),
			reason: ReasonBetterCandidate, do: fromD, also: wakes(ago(100 * time.Millisecond).Add(catchUpPatience))},
		{name: "who gives nothing is not waited for any longer, though",
			given: vacant(lsn, two, quiet, promisedBy("c", lsn), spareD, lately), reason: ReasonAcquiring, do: take},
		{name: "while it gives, it is",
			given: vacant(lsn, two, quiet, promisedBy("c", lsn), spareD, lately, givesD), reason: ReasonBetterCandidate},
		{name: "and so is who must be heard",
			given:  vacant(lsn, two, quiet, promisedBy("c", lsn+8), who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"nofailover": true} }), lately),
			reason: ReasonBetterCandidate, do: acts(Follow{Upstream: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}, NoSlot: true})},
		{name: "a member named by an operator keeps the commits as well",
			given: vacant(lsn, two, quiet, wish("", "a")), reason: ReasonTooFewReports},
		{name: "unless the operator forces it",
			given: vacant(lsn, two, quiet, forced), reason: ReasonAcquiring, do: passing},
		{name: "who satisfies the rules is forced past none",
			given: vacant(lsn, two, quiet, forced, promisedBy("c", lsn)), reason: ReasonAcquiring, do: byWish},
		{name: "who has less than another has reported is",
			given: vacant(lsn, two, quiet, forced, promisedBy("c", lsn+8)), reason: ReasonAcquiring, do: passing},
		{name: "nobody acts before the last holder has been silent for T, promised or not",
			given: vacant(lsn, two, quiet, promisedBy("c", lsn), func(o *Observation) { o.Beat.At = ago(time.Second) }), reason: ReasonWaitingForLease, also: wakes(now.Add(9 * time.Second))},
		{name: "what a standby has replayed says nothing of what it has, as long as it reads its own WAL",
			given: vacant(lsn, two, quiet, promisedBy("c", lsn), readsOwn), reason: ReasonReadingOwnWAL, also: says(Say{})},
		{name: "unless the operator vouches for it",
			given: vacant(lsn, two, quiet, forced, readsOwn), reason: ReasonAcquiring, do: passing},
		{name: "a leader under a revoked term is not followed",
			given: standby(lsn, func(o *Observation) { o.Self.Promised = term }), reason: ReasonPromisedAway},
		{name: "nor while the promise is being written: what begins now ends after it was told",
			given: standby(lsn, func(o *Observation) { o.Self.Promising = term }), reason: ReasonPromisedAway, do: acts()},
		{name: "one under a newer term is, beside it",
			given: standby(lsn, func(o *Observation) { o.Self.Promising = term - 1 }), reason: ReasonFollowing},
		{name: "under a newer one it is",
			given: standby(lsn, func(o *Observation) { o.Self.Promised = term - 1 }), reason: ReasonFollowing},
		{name: "a primary whose term was revoked while it was silent goes on under a new one",
			given: primary(who("c", func(m *cluster.Member) { m.Keeper.Promised = term })), reason: ReasonNewTerm, do: acts(Settle{})},
		{name: "the rule that a promoted server will go by is recorded first",
			given: standby(lsn, leased, reservedAt(4), quorum, ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1})), reason: ReasonRecordingRule,
			do: acts(PutDurability{cluster.Durability{Mode: "quorum", Rules: []cluster.Rule{{Primary: "b", Voters: []string{"a", "c"}, Need: 1}, {Primary: "a", Voters: []string{"c", "b"}, Need: 1}}}})},
		{name: "and is in force before the server may write",
			given: standby(lsn, leased, reservedAt(4), quorum, ruled("quorum", anyOfTwo)), reason: ReasonPromoting, do: acts(Promote{Timeline: 4, Names: `ANY 1 ("b","c")`}, EnsureSlots{Want: []string{"b", "c"}})},
	}
}

func TestSynchronous(t *testing.T) { check(t, synchronousRules()) }

// TestUnconfirmed: what the recovery of a crashed primary makes visible is shown to
// nobody before its standbys have it.
func TestUnconfirmed(t *testing.T) {
	recovered := func(o *Observation) { o.Sync.Recovered = true }
	for name, c := range map[string]struct {
		given Observation
		want  bool
	}{
		"a primary that never crashed":              {primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, lsn)), false},
		"one that recovered":                        {primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, lsn+8), recovered), true},
		"one that recovered, whose standbys follow": {primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, lsn), recovered, func(o *Observation) { o.Sync.Confirmed = true }), false},
		"one that waits for nobody":                 {primary(recovered), false},
		"one on another number than was reserved":   {primary(reservedAt(4)), true},
	} {
		if got := Unconfirmed(&c.given); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if o := primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, lsn+8)); ConfirmedByRule(&o) {
		t.Error("confirmed, and nobody has what was written before")
	}
	if o := primary(quorum, ruled("quorum", anyOfTwo), inForceSince(anyOfTwo, true, lsn)); !ConfirmedByRule(&o) {
		t.Error("both have it, and it is not confirmed")
	}
}

// TestNobodyIsLetOffInAPause: a standby that is lost holds commits up until the pause ends,
// strict or not, since nothing touches the server (S6).
func TestNobodyIsLetOffInAPause(t *testing.T) {
	for _, strict := range []bool{true, false} {
		for _, pause := range []bool{true, false} {
			o := primary(quorum, ruled("quorum", onlyC), inForceSince(onlyC, true, lsn), senders(sender("b", lsn)), func(o *Observation) {
				o.Settings.SynchronousStrict, o.Settings.Pause = strict, pause
			})
			changes := false
			for _, a := range duties(&o) {
				switch a.(type) {
				case PutDurability, SetSync:
					changes = true
				}
			}
			if changes == pause {
				t.Errorf("strict %t, pause %t: the rule is changed: %t", strict, pause, changes)
			}
		}
	}
}

// TestTheRuleAsksForNoMoreThanStream: of two that are asked for one is left, in the strict
// mode too, as in Patroni.
func TestTheRuleAsksForNoMoreThanStream(t *testing.T) {
	both := cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 2}
	for _, mode := range []string{cluster.SyncOn, cluster.SyncQuorum} {
		asked := func(o *Observation) {
			o.Settings.SynchronousMode, o.Settings.SynchronousStrict, o.Settings.SynchronousNodes = mode, true, 2
		}
		for name, c := range map[string]struct {
			stream []cluster.Walsender
			want   cluster.Rule
		}{
			"both": {[]cluster.Walsender{sender("b", lsn), sender("c", lsn)}, both},
			"one":  {[]cluster.Walsender{sender("c", lsn)}, onlyC},
			"none": {nil, both},
		} {
			o := primary(asked, ruled(mode, both), senders(c.stream...))
			if got := wantedRule(&o); !got.Equal(c.want) {
				t.Errorf("%s, %s stream: %+v, want %+v", mode, name, got, c.want)
			}
		}
	}
}

// TestTheSameOfTwoIsStreamedFrom: two copies have more, may not be promoted, and are as far
// as each other. This member took now from the one and now from the other, as the map of
// members happened to be walked, and each time anew. And it does so through no slot: neither
// has one for it.
func TestTheSameOfTwoIsStreamedFrom(t *testing.T) {
	spare := func(name string) change {
		return func(o *Observation) {
			promisedBy(name, lsn+8)(o)
			who(name, func(m *cluster.Member) { m.Tags = cluster.Tags{"nofailover": true} })(o)
		}
	}
	points := func(slot string, r *cluster.Receiver) change {
		return node(func(n *cluster.NodeState) {
			n.PrimaryConninfo, n.PrimarySlotName, n.Receiver = "host=10.0.0.3 port=5432", slot, r
		})
	}
	fromC := acts(Follow{Upstream: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}, NoSlot: true})
	for name, c := range map[string]struct {
		points change
		want   []Action
	}{
		"to nobody":                          {func(*Observation) {}, fromC},
		"there":                              {points("", nil), nil},
		"there, by a slot that is missing":   {points("a", nil), fromC},
		"there, by a slot that it was given": {points("a", &cluster.Receiver{Status: "streaming"}), nil},
	} {
		for range 20 {
			o := vacant(lsn, quorum, joined("d"), quiet, spare("d"), spare("c"), c.points)
			d := Decide(&o)
			if diff := cmp.Diff(c.want, d.Actions, cmpopts.EquateEmpty()); d.Reason != ReasonBetterCandidate || diff != "" {
				t.Fatalf("points %s: %s (%s), actions (-want +got):\n%s", name, d.Reason, d.Detail, diff)
			}
		}
	}
}
