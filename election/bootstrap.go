package election

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// bootstrap answers while the store does not know the cluster's system
// identifier. At most one member initialises (S7): the claim is a key on the
// claimant's lease, so a winner that dies leaves the way free, and the end is one
// transaction that the claim's revision conditions.
func bootstrap(o *Observation) (Decision, bool) {
	init := o.View.Value.Initialize
	if init != nil && init.SystemID != "" {
		return Decision{}, false
	}
	mine := init != nil && o.Self.InitRevision != 0 && init.ModRevision == o.Self.InitRevision
	switch {
	case !o.View.Good():
		return noStore(o, o.View.Err), true
	case o.Lease.Term != 0: // the key was deleted under a running cluster: its holder repairs it
		if init != nil || o.Node.Value.SystemID == "" {
			return Decision{}, false // claimed meanwhile: that claim cannot succeed beside a holder, and leading goes on
		}
		return do(ReasonRecordSystem, PutInitialize{SystemID: o.Node.Value.SystemID}), true
	case o.View.Value.Leader != nil && mine:
		return do(ReasonAbandoning, AbandonInitialize{Revision: init.ModRevision}), true
	case o.View.Value.HolderIs(o.Self.Name) && hasData(&o.Node.Value): // a new worker of the holder's: it goes on with the key, and repairs it then
		return Decision{}, false
	case init == nil && staleLeader(o) && hasData(&o.Node.Value): // that one leads no more, and its key may stand as long as its agent lives
		return recordExisting(o), true
	case o.View.Value.Leader != nil: // guard: claim_leaderless — S7
		d := wait(ReasonWaitingBootstrap, "the leader has yet to record the system identifier")
		if o.View.Value.Beat != nil {
			d.wakeAt(waitUntil(o))
		}
		return d, true
	case init == nil && hasData(&o.Node.Value):
		return recordExisting(o), true
	case init == nil:
		return claim(o), true
	case mine:
		return initialise(o, *init), true
	}
	return wait(ReasonWaitingBootstrap, "another member initialises the cluster"), true
}

// hasData: there is a complete data directory, of a cluster the store forgot or
// never knew.
func hasData(n *cluster.NodeState) bool { return n.Data == cluster.DataValid && n.SystemID != "" }

// claim takes the right to initialise. What an interrupted initdb or clone left counts
// as empty: it is moved aside, never reused.
func claim(o *Observation) Decision {
	if o.Node.Value.Data == cluster.DataDamaged { // guard: damaged_data_founds_nothing — S5
		return wait(ReasonDataDamaged, "work that was interrupted left this data directory, which may be the only copy: bring up a member whose data is whole, or restore the data and remove the file tombstone in the state directory, or move the data directory away to begin anew")
	}
	switch o.Node.Value.Data {
	case cluster.DataEmpty, cluster.DataTombstone:
	case cluster.DataUnknown, cluster.DataValid: // valid, but its identifier is not known yet
		d := wait(ReasonServerUnknown, "the data directory could not be looked into")
		d.lookAgain(o)
		return d
	default:
		return wait(ReasonDataBroken, "the data directory has entries but is no PostgreSQL data directory: empty it or correct data_dir")
	}
	if trace := lived(o); trace != "" { // guard: claim_only_what_never_lived — S7: `initialize` is gone, and the data is not
		return wait(ReasonWaitingBootstrap, trace+": a member that has its data must record the system identifier")
	}
	if o.Self.Tags.NoFailover() { // guard: nofailover_claims_nothing
		return wait(ReasonWaitingBootstrap, "tagged nofailover: another member must initialise the cluster")
	}
	if !mayTryJob(o) {
		return job(o, ReasonClaiming, nil)
	}
	if o.Self.MemberLease == 0 || o.Lease.Busy != "" || o.Now < o.Lease.Tried.Add(retryPause) {
		d := wait(ReasonClaiming, "")
		d.wakeAt(o.Lease.Tried.Add(retryPause))
		return d
	}
	return do(ReasonClaiming, ClaimInitialize{})
}

// lived says what tells of a cluster that somebody has the data of, although the store
// knows no system identifier: somebody deleted that key. Empty where nothing does.
func lived(o *Observation) string {
	v := &o.View.Value
	if v.Beat != nil || v.Status != nil {
		return "this cluster has had a primary"
	}
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if m := v.Members[name]; name != o.Self.Name && m.Timeline != 0 {
			return name + " has data"
		}
	}
	return ""
}

// initialise runs initdb under the claim and ends the bootstrap.
func initialise(o *Observation, init cluster.Initialize) Decision {
	switch {
	case o.Job.Last == JobInitDB && o.Job.LastErr != "":
		d := do(ReasonAbandoning, AbandonInitialize{Revision: init.ModRevision})
		d.Detail = o.Job.LastErr
		return d
	case o.Node.Value.Data == cluster.DataValid && o.Job.Last == JobInitDB:
		if o.Lease.Busy != "" || o.Now < o.Lease.Tried.Add(retryPause) {
			return wait(ReasonFinishing, "")
		}
		return do(ReasonFinishing, FinishBootstrap{Revision: init.ModRevision, SystemID: o.Node.Value.SystemID})
	case o.Node.Value.Data != cluster.DataEmpty && o.Node.Value.Data != cluster.DataTombstone: // guard: initdb_only_into_empty — S5
		return do(ReasonAbandoning, AbandonInitialize{Revision: init.ModRevision})
	}
	return job(o, ReasonInitDB, InitDB{})
}

// recordExisting gives an empty store the identifier of data that is already
// there. A directory that was a primary's goes first; a standby's waits, since
// its primary may be about to come.
func recordExisting(o *Observation) Decision {
	node := &o.Node.Value
	patience := o.Self.Started.Add(2 * o.Settings.TTL)
	if (node.Control.StandbySignal || node.Mode == cluster.ModeStandby) && o.Now < patience {
		d := wait(ReasonRecordSystem, fmt.Sprintf("the store knows no cluster; a member that was primary may come first (waiting %s)",
			patience.Sub(o.Now).Round(1e8)))
		d.wakeAt(patience)
		return d
	}
	return do(ReasonRecordSystem, PutInitialize{SystemID: node.SystemID})
}
