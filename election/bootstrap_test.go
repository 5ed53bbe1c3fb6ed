package election

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func bootstrapRules() []rule {
	claimedBy := func(rev int64) change {
		return view(func(v *cluster.View) { v.Initialize = &cluster.Initialize{LeaseID: 7, ModRevision: rev} })
	}
	mine := func(o *Observation) { o.Self.InitRevision = 4 }
	made := node(func(n *cluster.NodeState) { n.Data, n.SystemID, n.Timeline = cluster.DataValid, sys, 1 })
	data := func(d cluster.DataDir) change { return node(func(n *cluster.NodeState) { n.Data = d }) }
	forgotten := view(func(v *cluster.View) { *v = cluster.View{Revision: 5} })
	uninitialised := view(func(v *cluster.View) { v.Initialize = nil })
	return []rule{
		{name: "an empty node in an empty store claims the bootstrap",
			given: fresh(), reason: ReasonClaiming, do: acts(ClaimInitialize{})},
		{name: "nothing is claimed before the member lease is there",
			given: fresh(func(o *Observation) { o.Self.MemberLease = 0 }), reason: ReasonClaiming},
		{name: "an interrupted initdb counts as empty",
			given: fresh(data(cluster.DataTombstone)), reason: ReasonClaiming, do: acts(ClaimInitialize{})},
		{name: "data that an interrupted rewind damaged founds no new cluster", // it may be the only copy
			given: fresh(data(cluster.DataDamaged)), reason: ReasonDataDamaged},
		{name: "nor does a claim that is held already",
			given: fresh(claimedBy(4), mine, data(cluster.DataDamaged)), reason: ReasonAbandoning, do: acts(AbandonInitialize{Revision: 4})},
		{name: "a directory with something else in it claims nothing",
			given: fresh(data(cluster.DataBroken)), reason: ReasonDataBroken},
		{name: "a directory that could not be looked into claims nothing",
			given: fresh(data(cluster.DataUnknown)), reason: ReasonServerUnknown},
		{name: "a nofailover member leaves the bootstrap to others",
			given: fresh(func(o *Observation) { o.Self.Tags = cluster.Tags{"nofailover": true} }), reason: ReasonWaitingBootstrap},
		{name: "the store must answer before anything is concluded from an empty one",
			given: fresh(storeDown), reason: ReasonWaitingForStore},
		{name: "a member waits for another's bootstrap",
			given: fresh(claimedBy(4)), reason: ReasonWaitingBootstrap},
		{name: "the winner runs initdb",
			given: fresh(claimedBy(4), mine), reason: ReasonInitDB, do: acts(InitDB{})},
		{name: "also over what an interrupted one left",
			given: fresh(claimedBy(4), mine, node(func(n *cluster.NodeState) { n.Data = cluster.DataTombstone })), reason: ReasonInitDB, do: acts(InitDB{})},
		{name: "initdb never runs into data",
			given: fresh(claimedBy(4), mine, made), reason: ReasonAbandoning, do: acts(AbandonInitialize{Revision: 4})},
		{name: "the winner ends the bootstrap in one transaction",
			given:  fresh(claimedBy(4), mine, made, ended(JobInitDB, time.Second)),
			reason: ReasonFinishing, do: acts(FinishBootstrap{Revision: 4, SystemID: sys})},
		{name: "the end of the bootstrap is not sent twice at once",
			given: fresh(claimedBy(4), mine, made, ended(JobInitDB, time.Second), func(o *Observation) { o.Lease.Busy = "finish_bootstrap" }), reason: ReasonFinishing},
		{name: "a winner whose initdb failed gives its claim back",
			given: fresh(claimedBy(4), mine, failed(JobInitDB, 1, 0)), reason: ReasonAbandoning, do: acts(AbandonInitialize{Revision: 4})},
		{name: "and claims again only after a pause",
			given: fresh(func(o *Observation) {
				o.Job = Job{Failures: 1, LastErr: "it broke", LastEnded: ago(100 * time.Millisecond)}
			}),
			// Whoever executes forgets the kind of the job when a claim is given back.
			reason: ReasonBackingOff, also: wakes(now.Add(150 * time.Millisecond))},
		{name: "a claim of a process before this one is another's",
			given: fresh(claimedBy(4), func(o *Observation) { o.Self.InitRevision = 3 }), reason: ReasonWaitingBootstrap},
		{name: "the directory of a primary has its identifier recorded at once",
			given: cold("b", forgotten), reason: ReasonRecordSystem, do: acts(PutInitialize{SystemID: sys})},
		{name: "the directory of a standby waits for the primary's to come first",
			given: cold("b", forgotten, node(func(n *cluster.NodeState) { n.Control.StandbySignal = true }),
				func(o *Observation) { o.Self.Started = ago(time.Second) }),
			reason: ReasonRecordSystem, also: wakes(now.Add(19 * time.Second))},
		{name: "the directory of a standby is taken when nobody came",
			given:  cold("b", forgotten, node(func(n *cluster.NodeState) { n.Control.StandbySignal = true })),
			reason: ReasonRecordSystem, do: acts(PutInitialize{SystemID: sys})},
		{name: "an identifier that is not known is not recorded",
			given: cold("b", forgotten, node(func(n *cluster.NodeState) { n.SystemID = "" })), reason: ReasonServerUnknown},
		{name: "a holder restores the identifier that was deleted under it",
			given: primary(uninitialised), reason: ReasonRecordSystem, do: acts(PutInitialize{SystemID: sys})},
		{name: "a holder leads on while somebody claims the bootstrap of its cluster",
			given: primary(claimedBy(4)), reason: ReasonLeading},
		{name: "nobody claims the bootstrap of a cluster that has a leader",
			given: fresh(view(func(v *cluster.View) { v.Leader = &cluster.Leader{Name: "b", Term: 3} })), reason: ReasonWaitingBootstrap},
		{name: "nobody claims the bootstrap of a cluster that has had a primary",
			given: fresh(view(func(v *cluster.View) { v.Beat = &cluster.Beat{Term: 3, ModRevision: 4} })), reason: ReasonWaitingBootstrap},
		{name: "also where Patroni's was the last",
			given: fresh(view(func(v *cluster.View) { v.Status = &cluster.Positions{Optime: 5} })), reason: ReasonWaitingBootstrap},
		{name: "nor of one of which another member has the data",
			given: fresh(view(func(v *cluster.View) { v.Members = map[string]cluster.Member{"b": {Name: "b", Timeline: 1}} })), reason: ReasonWaitingBootstrap},
		{name: "members without data do not keep it from being claimed",
			given:  fresh(view(func(v *cluster.View) { v.Members = map[string]cluster.Member{"b": {Name: "b"}} })),
			reason: ReasonClaiming, do: acts(ClaimInitialize{})},
		{name: "a new worker of the holder goes on with the key although the identifier was deleted",
			given:  primary(uninitialised, func(o *Observation) { o.Lease.Term, o.Lease.Renewed = 0, 0 }),
			reason: ReasonInheriting, do: acts(Inherit{Term: term, LeaseID: 1000 + 'a'})},
		{name: "who has data waits for a leader that beats to record a deleted identifier, and looks again when it would have been silent",
			given: standby(lsn, uninitialised), reason: ReasonWaitingBootstrap, also: wakes(standbyWaits())},
		{name: "and records it when that leader is silent for T, whose key may stand on",
			given:  standby(lsn, uninitialised, func(o *Observation) { o.Beat.At = ago(time.Hour) }),
			reason: ReasonRecordSystem, do: acts(PutInitialize{SystemID: sys})},
		{name: "a claim in a cluster that has a leader is given back",
			given:  fresh(claimedBy(4), mine, view(func(v *cluster.View) { v.Leader = &cluster.Leader{Name: "b", Term: 3} })),
			reason: ReasonAbandoning, do: acts(AbandonInitialize{Revision: 4})},
	}
}

// standbyWaits is when the beat that a standby has seen would have been silent for T.
func standbyWaits() cluster.Instant {
	o := standby(lsn)
	return waitUntil(&o)
}

func TestBootstrap(t *testing.T) { check(t, bootstrapRules()) }
