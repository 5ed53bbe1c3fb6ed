package election

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// adopt takes the lease for a primary that already runs: one no agent of ours ever
// gave a deadline, in a store where nobody leads; or one that a pause left running
// and that the store's mark protects until it has its lease.
func adopt(o *Observation) (Decision, bool) {
	v, node := &o.View.Value, &o.Node.Value
	marked := v.PausedAt != nil && v.PausedAt.Name == o.Self.Name
	switch {
	case !o.View.Good() || v.Leader != nil || node.SystemID == "":
		return Decision{}, false
	case !marked && (v.PausedAt != nil || !o.Guard.Deadline.Never()):
		return Decision{}, false
	case !marked && reserved(v.Timelines, node.Timeline): // guard: adopt_unreserved — S8
		return Decision{}, false
	case v.Initialize == nil:
		return do(ReasonRecordSystem, PutInitialize{SystemID: node.SystemID}), true
	case v.Initialize.SystemID == "":
		return wait(ReasonWaitingBootstrap, "another member initialises the cluster; this node's server runs outside of it"), true
	case o.Now < waitUntil(o): // guard: adopt_waits — SAFETY 2
		d := wait(ReasonAdoptPrimary, "the last holder may be alive")
		d.wakeAt(waitUntil(o))
		return d, marked
	}
	return acquire(o, ReasonAdoptPrimary), true
}

// reserved reports whether a promotion under some term was given this number.
func reserved(t *cluster.Timelines, number cluster.Timeline) bool {
	return t != nil && slices.ContainsFunc(t.Reserved, func(r cluster.Reservation) bool { return r.Timeline == number })
}

// inherit continues on the leader key that names this node, when it was taken
// for the server our guard holds, or for one proved gone. The re-put gives a new
// term, which kills transactions of the worker before us.
func inherit(o *Observation) (Decision, bool) {
	leader := o.View.Value.Leader
	if !o.View.Good() || leader == nil || leader.Name != o.Self.Name || !o.Guard.Connected || !holderIsMine(o) {
		return Decision{}, false
	}
	d := wait(ReasonInheriting, fmt.Sprintf("continuing on term %d", leader.Term))
	// Like a renewal it makes the lease run anew, so it too needs a good look: a
	// node that cannot see its server must lose its lease, not inherit it from
	// itself after every deadline.
	if !freshLook(o) { // guard: inherit_after_good_look — ARCHITECTURE 1
		d.lookAgain(o)
		return d, true
	}
	if o.Lease.Busy == "" && o.Now >= o.Lease.Tried.Add(retryPause) {
		d.Actions = []Action{Inherit{Term: leader.Term, LeaseID: leader.LeaseID}}
	}
	d.wakeAt(o.Lease.Tried.Add(retryPause))
	return d, true
}

// holderIsMine: the record says this state directory took the key, for the server
// our guard holds; or our guard has none left, which it proved when it said so.
// A record of another state directory is a machine cloned with our name.
func holderIsMine(o *Observation) bool {
	v := &o.View.Value
	h := v.Holder
	switch {
	case handedOverTo(v, o.Self.Name) && !accepted(v): // guard: handed_over_is_accepted — SAFETY 2, my name on the key
		return false // given to the lease of one machine of this name; only Accept can tell which
	case h == nil || !strings.EqualFold(h.Name, o.Self.Name):
		// Written by Patroni under our name: the name is all there is, and our
		// server is in our hands.
		return o.Guard.Running || h == nil
	case h.Node != o.Self.Node: // guard: holder_node — SAFETY 2, my name on the key
		return false
	case h.BootID != "" && h.BootID != o.Self.BootID: // guard: holder_boot — SAFETY 2, my name on the key
		return false // a copy of the whole machine, or this one rebooted: that it expires soon is all that is sure
	}
	return !o.Guard.Running || h.Instance == "" || h.Instance == o.Guard.Instance || !o.Guard.Writable
}

// handedOverTo: the leader key is as a hand-over to name left it.
func handedOverTo(v *cluster.View, name string) bool {
	return v.Handover != nil && v.Leader != nil && v.Handover.To == name && v.Handover.ModRevision == int64(v.Leader.Term)
}

// accepted: the successor of a hand-over has beaten under its term. Whoever comes
// after that goes on by putting the key again (inherit): accepting keeps the term,
// and with it what a dead worker of ours still has in flight.
func accepted(v *cluster.View) bool { return v.Beat != nil && ownBeat(v) }

// namedLeader: the key names this node and this process holds no term.
func namedLeader(o *Observation) Decision {
	v := &o.View.Value
	if handedOverTo(v, o.Self.Name) && !accepted(v) &&
		v.Leader.Term > o.Self.Ended && // guard: accept_no_ended_term — S4: the view is of before it was accepted, and the term would be the same
		v.Leader.LeaseID == o.Self.MemberLease { // guard: accept_own_lease — SAFETY 2
		return acceptHandover(o)
	}
	if d, ok := inherit(o); ok {
		return d
	}
	if !o.View.Good() {
		return noStore(o, o.View.Err)
	}
	return wait(ReasonForeignHolder, "the leader key names this member but was not taken for this server; waiting for it to expire")
}
