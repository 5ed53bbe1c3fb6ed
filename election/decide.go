package election

import (
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// gate answers for one situation, or passes (false).
type gate func(*Observation) (Decision, bool)

// gates stand in the order of the safety argument: first what must be stopped or
// settled, then what is not known, then what the operator said, then work under
// way, then who holds the lease. The first that answers decides.
var gates = [...]gate{
	settle,
	loseLease,
	foreignSystem,
	frozenGuard,
	givingAway,
	writableWithoutLease,
	resumed,
	sick,
	shutDown,
	blind,
	stopping,
	paused,
	busy,
	bootstrap,
	requests,
}

// Decide says what this node must do now.
func Decide(o *Observation) Decision {
	d := paced(o, withoutOldMark(o, decide(o)))
	d.forgetPast(o.Now)
	d = withoutPledged(o, withSuspicion(o, withFailsafe(o, withRenewal(o, withOverdue(o, d)))))
	d.forgetPast(o.Now)
	return d
}

// forgetPast: that wait is over, and what is still missing comes as an event. A
// time that has passed must not stand before one that is still to come, such as a
// deadline.
func (d *Decision) forgetPast(now cluster.Instant) {
	if d.Wake <= now {
		d.Wake = 0
	}
}

func decide(o *Observation) Decision {
	for _, g := range gates {
		if d, answered := g(o); answered {
			return d
		}
	}
	return byLeadership(o)
}

// byLeadership dispatches on who holds the leader key.
func byLeadership(o *Observation) Decision {
	leader := o.View.Value.Leader
	switch {
	case o.Lease.Term != 0:
		return holding(o)
	case leader == nil || staleLeader(o) || goneForMost(o):
		return race(o)
	}
	d := following(o)
	switch {
	case leader.Name == o.Self.Name:
		d = namedLeader(o)
	case findsGone(o):
		d = holderGone(o)
	}
	if v := &o.View.Value; v.Beat != nil && ownBeat(v) { // look again when the beat would have been silent for T
		d.wakeAt(waitUntil(o))
	}
	return d
}

// paced holds calls on the leader key back for a moment after one failed: a store
// that refuses at once must not be asked in a tight loop.
func paced(o *Observation, d Decision) Decision {
	next := o.Lease.FailedAt.Add(retryPause)
	if o.Lease.FailedAt.Never() || o.Now >= next || !slices.ContainsFunc(d.Actions, callsStore) {
		return d
	}
	d.Actions = slices.DeleteFunc(slices.Clone(d.Actions), callsStore)
	d.wakeAt(next)
	return d
}

// callsStore reports whether a is a call on the leader key or on initialize.
func callsStore(a Action) bool {
	switch a.(type) {
	case ClaimInitialize, AbandonInitialize, PutInitialize, FinishBootstrap,
		Acquire, Inherit, Accept, Reserve, Settle, Release, HandOver:
		return true
	}
	return false
}

// withoutOldMark has this node take its own paused_primary mark back, wherever it
// stands by now, once the pause is over and its server provably does not write:
// nobody may elect while the mark stands. A holder's duties do the same.
func withoutOldMark(o *Observation, d Decision) Decision {
	v, mode := &o.View.Value, o.Node.Value.Mode
	switch {
	case v.PausedAt == nil || v.PausedAt.Name != o.Self.Name || o.Settings.Pause || o.Lease.Term != 0:
	case !o.View.Good() || !o.Node.Good() || !o.Guard.Connected || o.Guard.Running && o.Guard.Writable:
	case v.Holder != nil && v.Holder.Name == o.Self.Name && v.Holder.Node != o.Self.Node: // a machine cloned with this name
	case mode == cluster.ModeStopped || mode == cluster.ModeStandby: // guard: mark_outlives_writer — SAFETY 2, Pause
		d.Actions = append(slices.Clone(d.Actions), PutPausedPrimary{Revision: v.PausedAt.ModRevision})
	}
	return d
}

// lookAgain asks for another look while the server changes by itself, but not
// faster than it can change.
func (d *Decision) lookAgain(o *Observation) {
	next := max(o.Node.At, o.Node.ErrAt).Add(lookPause)
	if d.Look = o.Now >= next; !d.Look {
		d.wakeAt(next)
	}
}

// withRenewal adds the renewal that is due to whatever was decided. A lease is
// renewed only after a good look at the own server and only while the guard
// answers: a worker that cannot see its server, or whose guard cannot stop it,
// must lose its lease (ARCHITECTURE 1).
func withRenewal(o *Observation, d Decision) Decision {
	if o.Lease.Term == 0 || touchesLeader(d.Actions) {
		return d
	}
	if !DeadlineLifted(o) {
		d.wakeAt(leaseDeadline(o)) // a renewal that hangs must not let it pass unseen
	}
	due := max(o.Lease.Renewed.Add(o.Settings.RenewEvery()), o.Lease.Tried.Add(o.Settings.RenewEvery()/4))
	if needsDeadline(o) { // a new guard: nothing may write under it before it has one
		due = o.Lease.Tried.Add(retryPause)
	}
	switch {
	case o.Now < due:
		d.wakeAt(due)
	case o.Lease.Condemned != "" || condemns(d.Actions): // guard: condemned_is_not_renewed — L1: what cannot be stopped must lose its lease all the same
	case o.Lease.Resumed: // guard: resumed_renews_nothing — S1: what a worker before this one has in flight would outlive it
	case o.Lease.Unsettled, !o.Guard.Connected, o.Guard.Frozen: // guard: renew_needs_guard — SAFETY 2
	case WritesUnknown(o): // guard: renew_writes_known — S1: nobody would stop it at the deadline
	case !freshLook(o): // guard: renew_after_good_look — ARCHITECTURE 1
		d.Look = true
	case o.Lease.Busy == "":
		d.Actions = append([]Action{Renew{}}, d.Actions...)
	}
	return d
}

// WritesUnknown: this node's server writes, and its guard takes it for a standby. A promotion under way tells the guard first
// and the loop last.
func WritesUnknown(o *Observation) bool {
	return o.Node.Good() && o.Node.Value.Mode == cluster.ModePrimary && o.Guard.Connected && o.Guard.Running && !o.Guard.Writable && o.Job.Kind == JobNone
}

// needsDeadline: the guard was replaced, and has no deadline for the term held.
func needsDeadline(o *Observation) bool {
	return o.Lease.Term != 0 && o.Guard.Connected && o.Guard.Deadline.Never() && !DeadlineLifted(o)
}

// freshLook: the server answered a look within half a renewal interval. How long the look
// took does not count against it: on a machine with far too much to do, where a server that
// starts needs half a second to refuse a connection, no look would ever be fresh, and every
// start would end at its deadline. No deadline rests on a look: s is read after it, before
// the keepalive. What took longer than an attempt may is an answer to a worker that did not
// run for a while, and old.
func freshLook(o *Observation) bool {
	answered := o.Node.At.Add(min(o.LookTook, o.Settings.Attempt()))
	return o.Node.Good() && answered >= o.Now.Add(-o.Settings.RenewEvery()/2)
}

// touchesLeader reports whether the actions already write the leader key.
func touchesLeader(actions []Action) bool {
	for _, a := range actions {
		switch a.(type) {
		case Release, HandOver, LoseLease, Settle, Inherit, Accept, Acquire, FinishBootstrap:
			return true
		}
	}
	return false
}

// wakeAt asks for a look back no later than at.
func (d *Decision) wakeAt(at cluster.Instant) {
	if d.Wake.Never() || at < d.Wake {
		d.Wake = at
	}
}

func wait(reason cluster.Reason, detail string) Decision {
	return Decision{Reason: reason, Detail: detail}
}

func do(reason cluster.Reason, actions ...Action) Decision {
	return Decision{Reason: reason, Actions: actions}
}
