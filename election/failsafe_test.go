package election

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// failsafe: the mode is on, and the store lists a, b and c.
func failsafe(o *Observation) {
	o.Settings.FailsafeMode = true
	edit(o, func(v *cluster.View) {
		v.Failsafe, v.FailsafeRev = map[string]string{}, 77
		for name, m := range v.Members {
			m.APIURL = urlOf(name)
			v.Members[name] = m
			v.Failsafe[name] = m.APIURL
		}
	})
}

func urlOf(name string) string { return "http://" + name + ":8008/patroni" }

// storeless: no renewal has counted for d.
func storeless(d time.Duration) change {
	return func(o *Observation) {
		o.View = o.View.Failed("no answer", ago(100*time.Millisecond))
		o.Lease.Renewed, o.Lease.Tried, o.Lease.Busy = ago(d), ago(300*time.Millisecond), "renew"
		o.Guard.Deadline = o.Lease.Renewed.Add(9 * time.Second)
	}
}

// agreed: the members promised d ago.
func agreed(d time.Duration) change {
	return func(o *Observation) {
		o.Lease.Agreed, o.Lease.AgreedUntil = ago(d), ago(d).Add(9*time.Second)
		o.Guard.Deadline, o.Failsafe.Tried = o.Lease.AgreedUntil, ago(d)
	}
}

// newWorker has started two seconds ago and seen nothing of the store, which its
// predecessor led under the term that the guard keeps the server for.
func newWorker(changes ...change) Observation {
	o := primary()
	o.View, o.Lease = cluster.Observed[cluster.View]{}, Lease{}
	o.Self.Started = ago(2 * time.Second)
	o.Self.Tenure = &cluster.Tenure{Term: term, TTL: 10 * time.Second, Lists: []map[string]string{{"a": urlOf("a"), "b": urlOf("b"), "c": urlOf("c")}}}
	o.Guard.Term, o.Guard.Deadline = term, now.Add(5*time.Second)
	return with(o, changes...)
}

// resumedTerm: such a worker has taken the term up, and still sees nothing of the store.
func resumedTerm(o *Observation) {
	o.Settings.FailsafeMode = true
	o.Failsafe.Lists, o.Failsafe.RecordUnclear = []map[string]string{{"a": urlOf("a"), "b": urlOf("b"), "c": urlOf("c")}}, true
	o.View = cluster.Observed[cluster.View]{Value: o.View.Value, Err: "no answer", ErrAt: ago(time.Second)}
	o.Guard.Deadline = now.Add(5 * time.Second)
	o.Lease = Lease{Term: term, Resumed: true, Renewed: now.Add(-4 * time.Second), Acquired: now}
}

// readAgain: the store can be read again.
func readAgain(o *Observation) { o.View = cluster.Seen(o.View.Value, ago(10*time.Millisecond)) }

// serverEnded: its server has ended.
func serverEnded(o *Observation) {
	o.Guard.Running, o.Guard.Writable = false, false
	o.Node.Value.Mode = cluster.ModeStopped
}

func pledgedFor(d time.Duration) change {
	return func(o *Observation) { o.Self.Pledged, o.Self.PledgedTo, o.Self.PledgedTerm = now.Add(d), "b", term }
}

func peers(names ...string) []FailsafePeer {
	var all []FailsafePeer
	for _, name := range names {
		all = append(all, FailsafePeer{Name: name, URL: urlOf(name), Keeper: true})
	}
	return all
}

func withRules(rules ...cluster.Rule) change {
	return view(func(v *cluster.View) { v.Durability = &cluster.Durability{Mode: cluster.SyncQuorum, Rules: rules} })
}

func failsafeRules() []rule {
	listed := PutFailsafe{Members: map[string]string{"a": urlOf("a"), "b": urlOf("b"), "c": urlOf("c")}}
	askAll := AskFailsafe{Self: "a", Peers: peers("b", "c")}
	anew := Acquire{BeatRevision: beat, FailsafeRevision: 77, Failsafe: &PutFailsafe{Members: map[string]string{"a": urlOf("a"), "c": urlOf("c")}}}
	quorum := cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}
	gone := view(func(v *cluster.View) { v.Leader = nil })
	back := func(o *Observation) { o.View = cluster.Seen(o.View.Value, ago(10*time.Millisecond)); o.Lease.Busy = "" }
	tried := func(o *Observation) { o.Lease.Tried = ago(10 * time.Millisecond) }
	return []rule{
		// the holder
		{name: "no renewal counts for two intervals: the members are asked",
			given: primary(failsafe, storeless(5*time.Second)), reason: ReasonLeading, do: acts(askAll)},
		{name: "not before",
			given: primary(failsafe, storeless(3900*time.Millisecond)), reason: ReasonLeading, also: wakes(now.Add(100 * time.Millisecond))},
		{name: "not with the mode off",
			given: primary(failsafe, storeless(5*time.Second), func(o *Observation) { o.Settings.FailsafeMode = false }), reason: ReasonLeading, do: acts(PutFailsafe{Members: map[string]string{}})},
		{name: "not without a good look at the own server",
			given: primary(failsafe, storeless(5*time.Second), func(o *Observation) { o.Node.At = ago(2 * time.Second) }), reason: ReasonLeading, also: looks},
		{name: "not while the guard hangs",
			given:  primary(failsafe, storeless(5*time.Second), func(o *Observation) { o.Guard.Frozen = true }),
			reason: ReasonGuardFrozen, do: acts(Fence{})},
		{name: "not while the lease may have been given away",
			given: primary(failsafe, storeless(5*time.Second), func(o *Observation) { o.Lease.Giving = true }), reason: ReasonHandingOver},
		{name: "nor while nobody knows whether it was",
			given: primary(failsafe, storeless(5*time.Second), func(o *Observation) { o.Lease.Unsettled = true }), reason: ReasonSettling},
		{name: "nor for a sick server that makes room",
			given: primary(failsafe, storeless(5*time.Second), func(o *Observation) { o.Lease.Condemned = cluster.AilmentHung }), reason: ReasonGivingUp,
			do: acts(StopServer{Mode: StopImmediate, Patience: sickGrace})},
		{name: "not when the store's list lacks this member: others may go by another",
			given: primary(failsafe, storeless(5*time.Second), view(func(v *cluster.View) { delete(v.Failsafe, "a") })), reason: ReasonLeading, do: acts(listed)},
		{name: "not when a list may be there that lacks it",
			given: primary(failsafe, storeless(5*time.Second), func(o *Observation) { o.Failsafe.Lists = []map[string]string{{}} }), reason: ReasonLeading},
		{name: "who is in a list that may be there is asked too",
			given: primary(failsafe, storeless(5*time.Second), func(o *Observation) {
				o.Failsafe.Lists = []map[string]string{{"a": urlOf("a"), "d": urlOf("d")}}
			}), reason: ReasonLeading, do: acts(AskFailsafe{Self: "a", Peers: peers("b", "c", "d")})},
		{name: "in a synchronous mode the record says what is enough",
			given: primary(failsafe, storeless(5*time.Second), withRules(quorum)), reason: ReasonLeading,
			do: acts(AskFailsafe{Self: "a", Peers: peers("b", "c"), Rules: []cluster.Rule{quorum}})},
		{name: "unless another record may be in the store",
			given:  primary(failsafe, storeless(5*time.Second), withRules(quorum), func(o *Observation) { o.Failsafe.RecordUnclear = true }),
			reason: ReasonLeading, do: acts(askAll)},
		{name: "or a Patroni member goes by its own rules",
			given: primary(failsafe, storeless(5*time.Second), withRules(quorum), view(func(v *cluster.View) {
				m := v.Members["c"]
				m.Keeper = nil
				v.Members["c"] = m
			})), reason: ReasonLeading, do: acts(AskFailsafe{Self: "a", Peers: []FailsafePeer{peers("b")[0], {Name: "c", URL: urlOf("c")}}})},
		{name: "past its own deadline the lease is given up, whatever promises came before",
			given: primary(failsafe, storeless(30*time.Second), agreed(9*time.Second)), reason: ReasonDeadlinePassed, do: acts(LoseLease{})},
		{name: "on promises a primary goes on",
			given: primary(failsafe, storeless(30*time.Second), agreed(time.Second)), reason: ReasonFailsafe},
		{name: "and asks for the next as often as it would renew",
			given: primary(failsafe, storeless(30*time.Second), agreed(2*time.Second)), reason: ReasonFailsafe, do: acts(askAll)},
		{name: "until a renewal counts, though it left a moment before the questions did",
			given:  primary(failsafe, storeless(2010*time.Millisecond), agreed(2*time.Second), func(o *Observation) { o.Lease.Counted = ago(1990 * time.Millisecond) }),
			reason: ReasonFailsafe},
		{name: "one round at a time",
			given:  primary(failsafe, storeless(30*time.Second), agreed(2*time.Second), func(o *Observation) { o.Failsafe.Busy = true }),
			reason: ReasonFailsafe},
		{name: "the store is back with the key: it goes on as it is until a renewal counts",
			given: primary(failsafe, storeless(30*time.Second), agreed(time.Second), back, tried), reason: ReasonFailsafe},
		{name: "the store is back without it: the key is taken anew at once",
			given:  primary(failsafe, storeless(30*time.Second), agreed(time.Second), back, gone),
			reason: ReasonReclaiming, do: acts(Acquire{BeatRevision: beat, FailsafeRevision: 77})},
		{name: "in a pause too",
			given:  primary(failsafe, storeless(30*time.Second), agreed(time.Second), back, gone, func(o *Observation) { o.Settings.Pause = true }),
			reason: ReasonReclaiming, do: acts(Acquire{BeatRevision: beat, FailsafeRevision: 77})},
		{name: "but not when somebody has led since",
			given: primary(failsafe, storeless(30*time.Second), agreed(time.Second), back, gone, view(func(v *cluster.View) {
				v.Beat = &cluster.Beat{TTL: 10_000, ModRevision: 400}
			})), reason: ReasonLeaseLost, do: acts(LoseLease{})},
		{name: "nor when somebody leads",
			given: primary(failsafe, storeless(30*time.Second), agreed(time.Second), back, view(func(v *cluster.View) {
				v.Leader = &cluster.Leader{Name: "b", Term: 400}
			})), reason: ReasonLeaseLost, do: acts(LoseLease{})},
		{name: "nor past another primary's pause",
			given: primary(failsafe, storeless(30*time.Second), agreed(time.Second), back, gone, view(func(v *cluster.View) {
				v.PausedAt = &cluster.PausedPrimary{Name: "b", ModRevision: 9}
			})), reason: ReasonLeaseLost, do: acts(LoseLease{})},
		// a worker that is new under the term
		{name: "a new worker goes on under the term that the one before it kept",
			given: newWorker(), reason: ReasonResuming, do: acts(Resume{Term: term})},
		{name: "not at once: the store may just be slow",
			given: newWorker(func(o *Observation) { o.Self.Started = ago(1900 * time.Millisecond) }), reason: ReasonWaitingForStore, also: wakes(now.Add(100 * time.Millisecond))},
		{name: "not under a term that the guard does not keep",
			given: newWorker(func(o *Observation) { o.Guard.Term = term + 1 }), reason: ReasonWaitingForStore},
		{name: "not past the deadline",
			given: newWorker(func(o *Observation) { o.Guard.Deadline = ago(time.Millisecond) }), reason: ReasonWaitingForStore},
		{name: "nor with what the store has told",
			given: newWorker(func(o *Observation) {
				o.View = cluster.Seen(cluster.View{Revision: 500}, ago(time.Second)).Failed("no answer", now)
			}), reason: ReasonWaitingForStore},
		{name: "nor in a pause",
			given: newWorker(func(o *Observation) { o.Self.Paused = true }), reason: ReasonWaitingForStore},
		{name: "nor where no list was kept",
			given: newWorker(func(o *Observation) { o.Self.Tenure.Lists = nil }), reason: ReasonWaitingForStore},
		{name: "under it everybody in the kept lists is asked",
			given: primary(failsafe, resumedTerm), reason: ReasonWaitingForStore, do: acts(askAll)},
		{name: "nothing is renewed",
			given: primary(resumedTerm, agreed(500*time.Millisecond)), reason: ReasonFailsafe},
		{name: "a server that has ended is not started under it",
			given: primary(resumedTerm, agreed(500*time.Millisecond), serverEnded), reason: ReasonLeaseLost, do: acts(LoseLease{})},
		{name: "the key is put again when the store can be read",
			given: primary(resumedTerm, agreed(500*time.Millisecond), readAgain), reason: ReasonInheriting, do: acts(Inherit{Term: term, LeaseID: 1000 + 'a'})},
		{name: "also under the term that a call of the worker before made of it",
			given:  primary(resumedTerm, agreed(500*time.Millisecond), readAgain, view(func(v *cluster.View) { v.Leader.Term = 400 })),
			reason: ReasonInheriting, do: acts(Inherit{Term: 400, LeaseID: 1000 + 'a'})},
		{name: "not when it was taken for another server",
			given:  primary(resumedTerm, agreed(500*time.Millisecond), readAgain, view(func(v *cluster.View) { v.Holder.Node = "other" })),
			reason: ReasonLeaseLost, do: acts(LoseLease{})},
		{name: "when the key is gone it is taken anew at once",
			given:  primary(failsafe, resumedTerm, agreed(500*time.Millisecond), readAgain, gone),
			reason: ReasonReclaiming, do: acts(Acquire{BeatRevision: beat, FailsafeRevision: 77})},
		{name: "but not without promises",
			given: primary(failsafe, resumedTerm, readAgain, gone), reason: ReasonLeaseLost, do: acts(LoseLease{})},
		{name: "told to stop it stops its server",
			given: primary(resumedTerm, agreed(500*time.Millisecond), func(o *Observation) { o.Wish.Stop = true }), reason: ReasonStoppingAgent, do: acts(StopServer{Mode: StopFast})},
		{name: "the store is told who the members are",
			given:  primary(failsafe, view(func(v *cluster.View) { v.Failsafe = nil })),
			reason: ReasonLeading, do: acts(listed)},
		{name: "and that there are none once the mode is off",
			given:  primary(failsafe, func(o *Observation) { o.Settings.FailsafeMode = false }),
			reason: ReasonLeading, do: acts(PutFailsafe{Members: map[string]string{}})},

		// the others
		{name: "a member that has promised takes no part in a race",
			given: vacant(lsn, failsafe, pledgedFor(3*time.Second)), reason: ReasonPledged, also: wakes(now.Add(3 * time.Second))},
		{name: "it does not promise to a candidate either",
			given: vacant(lsn, failsafe, withRules(cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}), pledgedFor(3*time.Second)), reason: ReasonPledged},
		{name: "until its promise ends",
			given: vacant(lsn, failsafe, pledgedFor(-10*time.Second)), reason: ReasonCollecting},
		{name: "or the holder has given its lease up",
			given: vacant(lsn, failsafe, pledgedFor(3*time.Second), view(func(v *cluster.View) {
				v.Release = &cluster.Release{By: "b", Term: term, BeatRevision: beat}
			})), reason: ReasonCollecting},
		{name: "but not when another gave one up before it, and has not led since", // as after a Patroni leader
			given: vacant(lsn, failsafe, pledgedFor(3*time.Second), view(func(v *cluster.View) {
				v.Release = &cluster.Release{By: "c", Term: term, BeatRevision: beat}
			})), reason: ReasonPledged},
		{name: "it does not go on with a key that a late transaction brought it",
			given: standby(lsn, failsafe, pledgedFor(3*time.Second), view(func(v *cluster.View) {
				v.Leader = &cluster.Leader{Name: "a", LeaseID: 1000 + 'a', Term: 400}
				v.Holder = &cluster.Holder{Name: "a", Node: "node-a", BootID: "boot-a", Instance: "i1"}
				v.Beat = &cluster.Beat{TTL: 10_000, ModRevision: 400}
			})), reason: ReasonInheriting},
		{name: "a member that is not listed takes no lease",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) { v.Failsafe = map[string]string{"b": urlOf("b")} })), reason: ReasonNotListed},
		{name: "unless everybody who is in the list has said how far it is: none of them leads, and nobody else goes on by it",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) { v.Failsafe = map[string]string{"c": urlOf("c")} }), reports("c", lsn)), reason: ReasonAcquiring,
			do: acts(anew)},
		{name: "not one of them alone",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) {
				v.Failsafe = map[string]string{"b": urlOf("b"), "c": urlOf("c")}
			}), reports("c", lsn)), reason: ReasonNotListed},
		{name: "nor in another vacancy",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) { v.Failsafe = map[string]string{"c": urlOf("c")} }), reports("c", lsn), who("c", func(m *cluster.Member) { m.Keeper.Vacancy-- })), reason: ReasonNotListed},
		{name: "nor where nothing tells one vacancy from another",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) {
				v.Failsafe, v.Beat = map[string]string{"c": urlOf("c")}, nil
			}), reports("c", lsn), who("c", func(m *cluster.Member) { m.Keeper.Vacancy = noBeat })), reason: ReasonNotListed},
		{name: "nobody is asked by lists that are older than the term: the worker before this one may have written another",
			given: primary(failsafe, storeless(5*time.Second), view(func(v *cluster.View) { v.Revision = int64(term) - 1 })), reason: ReasonLeading},
		{name: "unless the holder has given it up; and lists itself with it, lest its heirs be kept away by a list of before",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) {
				v.Failsafe = map[string]string{"b": urlOf("b")}
				v.Release = &cluster.Release{By: "b", Term: term, BeatRevision: beat}
			})), reason: ReasonAcquiring, do: acts(anew)},
		{name: "not before it has told its own address",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) {
				v.Failsafe = map[string]string{"b": urlOf("b")}
				v.Release = &cluster.Release{By: "b", Term: term, BeatRevision: beat}
				v.Members["a"] = cluster.Member{Name: "a", State: v.Members["a"].State, Keeper: v.Members["a"].Keeper}
			})), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat, FailsafeRevision: 77})},
		{name: "one that is in the list leaves it as it is",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) {
				v.Failsafe = map[string]string{"a": urlOf("a")}
			})), reason: ReasonAcquiring, do: acts(Acquire{BeatRevision: beat, FailsafeRevision: 77})},
		{name: "and no Patroni leader came after that, which beats not, and publishes without a timeline",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) {
				v.Failsafe = map[string]string{"b": urlOf("b")}
				v.Release = &cluster.Release{By: "b", Term: term, BeatRevision: beat}
				v.Status = &cluster.Positions{Optime: lsn}
			})), reason: ReasonNotListed},
		{name: "or an operator vouches for the old primary",
			given: vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) {
				v.Failsafe = map[string]string{"b": urlOf("b")}
				v.Failover = &cluster.Failover{Member: "a", Force: true}
			}), func(o *Observation) { o.Wish.FailoverDue = true }), reason: ReasonAcquiring, do: acts(anew)},
	}
}

// longVacant: everybody has had the time to report.
func longVacant(o *Observation) {
	o.Vacancy, o.Beat.At = ago(20*time.Second), ago(31*time.Second)
	o.Node.At = ago(50 * time.Millisecond)
}

func TestFailsafe(t *testing.T) { check(t, failsafeRules()) }

// TestTheRecordStandsInFailsafeOnly: a primary that would change the record, or the list of
// who may take the lease, waits with it while promises are asked for, or count.
func TestTheRecordStandsInFailsafeOnly(t *testing.T) {
	quorum := withRules(cluster.Rule{Primary: "a", Voters: []string{"b"}, Need: 1})
	back := func(o *Observation) { o.View = cluster.Seen(o.View.Value, ago(10*time.Millisecond)) }
	mode := func(o *Observation) { o.Settings.SynchronousMode = cluster.SyncOn }
	newcomer := view(func(v *cluster.View) { v.Failsafe = map[string]string{"a": urlOf("a"), "b": urlOf("b")} })
	for name, c := range map[string]struct {
		given Observation
		want  bool
	}{
		"no failsafe":                          {primary(failsafe, quorum, mode), true},
		"a member that is not in the list yet": {primary(failsafe, newcomer), true},
		"such a member, when promises are asked for at the same moment": {primary(failsafe, newcomer, storeless(5*time.Second)), false},
		"such a member, and a round is running":                         {primary(failsafe, newcomer, func(o *Observation) { o.Failsafe.Busy = true }), false},
		"such a member, and promises count, though the store is back":   {primary(failsafe, newcomer, storeless(20*time.Second), agreed(time.Second), back), false},
		"a round is running": {primary(failsafe, quorum, mode, func(o *Observation) { o.Failsafe.Busy = true }), false},
		"promises count":     {primary(failsafe, quorum, mode, storeless(20*time.Second), agreed(time.Second), back), false},
	} {
		d := Decide(&c.given)
		if got := slices.ContainsFunc(d.Actions, changesRecord); got != c.want {
			t.Errorf("%s: the record, or the list, is changed: %t, want %t; %+v", name, got, c.want, d)
		}
	}
}

func TestEnoughPromises(t *testing.T) {
	ask := func(rules ...cluster.Rule) AskFailsafe {
		return AskFailsafe{Self: "a", Peers: peers("b", "c"), Rules: rules}
	}
	quorum := cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}
	all := cluster.Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 2}
	one := cluster.Rule{Primary: "A", Voters: []string{"B"}, Need: 1}
	for _, c := range []struct {
		name     string
		ask      AskFailsafe
		accepted []string
		want     bool
	}{
		{"asynchronous: all", ask(), []string{"b", "c"}, true},
		{"asynchronous: one is silent", ask(), []string{"b"}, false},
		{"nobody else is listed", AskFailsafe{Self: "a"}, nil, true},
		{"any one of two confirms: an election needs two copies, one is free", ask(quorum), []string{"b"}, true},
		{"nobody has promised: two are free", ask(quorum), nil, false},
		{"both confirm: one free copy is enough for an election", ask(all), []string{"b"}, false},
		{"both confirm, both have promised", ask(all), []string{"b", "c"}, true},
		{"of two rules one is enough: an election must satisfy both", ask(all, quorum), []string{"c"}, true},
		{"the primary of a rule that is left from before needs nobody beside it: it must have promised", ask(cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}), []string{"c"}, false},
		{"and then the others may be silent", ask(cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}), []string{"b"}, true},
		{"names compare without regard to case", ask(one), []string{"b"}, true},
		{"who is no copy frees nobody", ask(one), []string{"c"}, false},
	} {
		if got := c.ask.Enough(c.accepted); got != c.want {
			t.Errorf("%s: enough is %t, want %t", c.name, got, c.want)
		}
	}
}

func TestAMemberPromisesAHolder(t *testing.T) {
	ask := cluster.FailsafeAsk{Name: "b", Term: term, TTL: 5 * time.Second}
	patroni := cluster.FailsafeAsk{Name: "b", TTL: 5 * time.Second}
	keyless := view(func(v *cluster.View) { delete(v.Members, "b") })
	foreign := view(func(v *cluster.View) {
		m := v.Members["b"]
		m.Keeper = nil
		v.Members["b"] = m
	})
	for _, c := range []struct {
		name  string
		given Observation
		ask   cluster.FailsafeAsk
		want  cluster.FailsafeVerdict
	}{
		{"a standby accepts", standby(lsn, failsafe), ask, cluster.FailsafeAccepted},
		{"without etcd too", standby(lsn, failsafe, func(o *Observation) { o.View = o.View.Failed("no answer", now) }), ask, cluster.FailsafeAccepted},
		{"one that has not seen the store since its start too", Observation{Now: now, Self: Self{Name: "a"}, Settings: cluster.DefaultSettings()}, ask, cluster.FailsafeAccepted},
		{"while the lease has run out too", vacant(lsn, failsafe), ask, cluster.FailsafeAccepted},
		{"not with the mode off", standby(lsn), ask, cluster.FailsafeOff},
		{"not its own name", standby(lsn, failsafe), cluster.FailsafeAsk{Name: "a", Term: term, TTL: time.Second}, cluster.FailsafeInvalid},
		{"not for no time", standby(lsn, failsafe), cluster.FailsafeAsk{Name: "b", Term: term}, cluster.FailsafeInvalid},
		{"not for an hour", standby(lsn, failsafe), cluster.FailsafeAsk{Name: "b", Term: term, TTL: time.Hour}, cluster.FailsafeInvalid},
		{"not one whose server writes", primary(failsafe, func(o *Observation) { o.Lease = Lease{} }), ask, cluster.FailsafePrimary},
		{"not one that is promoted", standby(lsn, failsafe, func(o *Observation) { o.Job.Kind = JobPromote }), ask, cluster.FailsafePrimary},
		{"not one that holds the lease", standby(lsn, failsafe, leased), ask, cluster.FailsafeConflict},
		{"not while it is taking the lease", vacant(lsn, failsafe, func(o *Observation) { o.Lease.Busy = "acquire" }), ask, cluster.FailsafeConflict},
		{"not when another leads after the asker", standby(lsn, failsafe), cluster.FailsafeAsk{Name: "c", Term: term - 1, TTL: time.Second}, cluster.FailsafeConflict},
		{"nor when another has led since", vacant(lsn, failsafe, view(func(v *cluster.View) { v.Beat.ModRevision, v.Beat.Term = 400, 0 })), ask, cluster.FailsafeConflict},
		{"nor has beaten since", vacant(lsn, failsafe, view(func(v *cluster.View) { v.Beat.Term = term + 1 })), ask, cluster.FailsafeConflict},
		{"not after its vote against that term", vacant(lsn, failsafe, func(o *Observation) { o.Self.Promised = term }), ask, cluster.FailsafeConflict},
		{"a vote against an earlier term is no matter", standby(lsn, failsafe, func(o *Observation) { o.Self.Promised = term - 1 }), ask, cluster.FailsafeAccepted},
		{"a Patroni leader is accepted as Patroni does", standby(lsn, failsafe, foreign), patroni, cluster.FailsafeAccepted},
		{"not when another leads", standby(lsn, failsafe, view(func(v *cluster.View) {
			v.Members["d"] = cluster.Member{Name: "d"}
		})), cluster.FailsafeAsk{Name: "d", TTL: time.Second}, cluster.FailsafeConflict},
		{"also when its member key is gone, if it was promised before", vacant(lsn, failsafe, keyless, pledgedFor(time.Second), func(o *Observation) { o.Self.PledgedTerm = 0 }), patroni, cluster.FailsafeAccepted},
		{"not once that has ended", vacant(lsn, failsafe, keyless, pledgedFor(0), func(o *Observation) { o.Self.PledgedTerm = 0 }), patroni, cluster.FailsafeForeign},
		{"nor when an agent of that name was promised", vacant(lsn, failsafe, keyless, pledgedFor(time.Second)), patroni, cluster.FailsafeForeign},
		{"nor when another was", vacant(lsn, failsafe, keyless, pledgedFor(time.Second), func(o *Observation) { o.Self.PledgedTo, o.Self.PledgedTerm = "c", 0 }), patroni, cluster.FailsafeForeign},
		{"an unsigned question in a pgkeeper member's name is not", standby(lsn, failsafe), patroni, cluster.FailsafeForeign},
		{"nor in nobody's", standby(lsn, failsafe), cluster.FailsafeAsk{Name: "x", TTL: time.Second}, cluster.FailsafeForeign},
	} {
		if got := AcceptFailsafe(&c.given, c.ask); got.Verdict != c.want {
			t.Errorf("%s: %q (%s), want %q", c.name, got.Verdict, got.Why, c.want)
		}
	}
}

// TestAPromiseLastsTheLongerT: the asker goes by its own T, and one that is longer here
// costs nothing but patience; a later question never shortens an earlier promise.
func TestAPromiseLastsTheLongerT(t *testing.T) {
	o := standby(lsn, failsafe)
	got := []cluster.Instant{
		PledgeUntil(&o, cluster.FailsafeAsk{TTL: 30 * time.Second}), PledgeUntil(&o, cluster.FailsafeAsk{TTL: time.Second}),
	}
	o.Self.Pledged = now.Add(time.Minute)
	got = append(got, PledgeUntil(&o, cluster.FailsafeAsk{TTL: time.Second}))
	want := []cluster.Instant{now.Add(30 * time.Second), now.Add(o.Settings.TTL), now.Add(time.Minute)}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
