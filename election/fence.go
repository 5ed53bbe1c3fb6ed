package election

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// settle: a hand-over or release went out and nobody knows whether it took
// effect. It may still be in flight, so a read settles nothing; only another
// transaction on the term does (SAFETY 2, Release). Past the deadline the term is
// forgotten like any other: nothing is done under it any more, and whoever goes on
// with the key puts it again first.
func settle(o *Observation) (Decision, bool) {
	leaves := o.Wish.Stop && o.Settings.Pause
	if o.Lease.Term == 0 || !o.Lease.Unsettled || leaves || !DeadlineLifted(o) && o.Now >= leaseDeadline(o) {
		return Decision{}, false
	}
	d := wait(ReasonSettling, "the answer to a hand-over or release was lost; asking again under the term")
	if o.Lease.Busy == "" && o.Now >= o.Lease.Tried.Add(retryPause) {
		d.Actions = []Action{Settle{}}
	}
	d.wakeAt(o.Lease.Tried.Add(retryPause))
	return d, true
}

// loseLease: the store shows another term than ours, or our deadline passed. The
// term is ended at the guard at once, which stops a writable server. While a call
// of ours on the leader key is under way, a newer term in the view may be its own
// doing: its end, bounded by one attempt, says so, and the deadline stands.
func loseLease(o *Observation) (Decision, bool) {
	if o.Lease.Term == 0 {
		return Decision{}, false
	}
	v := &o.View.Value
	ours := (o.Lease.Busy != "" || o.Lease.Resumed) && v.Leader != nil && v.Leader.Name == o.Self.Name // perhaps our own call's doing
	replaced := o.View.Good() && !ours && !o.Lease.Giving && !reclaims(o) && v.Revision >= int64(o.Lease.Term) &&
		(v.Leader == nil || v.Leader.Term != o.Lease.Term) // guard: term_in_view — SAFETY 2
	switch {
	case replaced:
		return Decision{Reason: ReasonLeaseLost, Actions: []Action{LoseLease{}}, Detail: leaseLostDetail(o), Wake: o.Now.Add(time.Millisecond)}, true
	case !DeadlineLifted(o) && o.Now >= leaseDeadline(o): // guard: worker_deadline — SAFETY 2
		return Decision{Reason: ReasonDeadlinePassed, Actions: []Action{LoseLease{}}, Wake: o.Now.Add(time.Millisecond),
			Detail: fmt.Sprintf("no renewal counted for %s", o.Now.Sub(o.Lease.Renewed).Round(1e7))}, true
	}
	return Decision{}, false
}

// givingAway: a hand-over or release is under way and may have taken effect
// already: the successor may be writing. Until its end is known nothing is done
// under the term, least of all a start of the server (S1).
func givingAway(o *Observation) (Decision, bool) {
	if o.Lease.Term == 0 || !o.Lease.Giving { // guard: nothing_while_giving — S1
		return Decision{}, false
	}
	return wait(ReasonHandingOver, "the answer of the store is awaited"), true
}

// DeadlineLifted reports whether a pause lets this node's server write on without
// a lease: not before the store holds the mark that keeps everybody else from
// electing. Until then the deadline stands, at the guard as here; after the pause
// the mark is taken back only once it stands again.
func DeadlineLifted(o *Observation) bool {
	mark := o.View.Value.PausedAt
	return o.Settings.Pause && mark != nil && mark.Name == o.Self.Name // guard: pause_needs_mark — SAFETY 2, Pause
}

// leaseDeadline is when the guard stops what this lease allows: s + T - margin, of the
// last renewal, or of the last round of promises.
func leaseDeadline(o *Observation) cluster.Instant {
	return max(o.Lease.Renewed.Add(o.Settings.TTL-o.Settings.Margin(o.Guard.LastKill)), o.Lease.AgreedUntil)
}

func leaseLostDetail(o *Observation) string {
	leader := o.View.Value.Leader
	if leader == nil {
		return fmt.Sprintf("the leader key of term %d is gone", o.Lease.Term)
	}
	return fmt.Sprintf("%s holds term %d, ours was %d", leader.Name, leader.Term, o.Lease.Term)
}

// foreignSystem: this data belongs to another cluster. Nothing of it is touched
// (S7), whoever leads.
func foreignSystem(o *Observation) (Decision, bool) {
	init := o.View.Value.Initialize
	local := o.Node.Value.SystemID
	if o.View.At.Never() || o.Node.At.Never() || init == nil || init.SystemID == "" || local == "" || o.Node.Value.Data != cluster.DataValid {
		return Decision{}, false
	}
	if init.SystemID == local { // guard: system_identifier — S7
		return Decision{}, false
	}
	if lostBootstrap(o) {
		return job(o, ReasonAbandoning, MoveAside{}), true
	}
	d := wait(ReasonForeignSystem, fmt.Sprintf("this data directory belongs to system %s, the cluster is %s", local, init.SystemID))
	if o.Lease.Term != 0 {
		d.Actions = []Action{LoseLease{}}
	}
	d.Done = o.Wish.Stop
	return d, true
}

// lostBootstrap: the foreign data is what this very process made under its claim
// while another member's bootstrap won. Its own new directory is moved aside (S7).
func lostBootstrap(o *Observation) bool {
	return o.Self.InitRevision != 0 && o.Lease.Term == 0 && !o.Settings.Pause && !o.Wish.Stop && o.Guard.Connected && !o.Guard.Running &&
		o.Node.Good() && o.Node.Value.Mode == cluster.ModeStopped &&
		(o.Job.Last == JobInitDB && o.Job.LastErr == "" || o.Job.Last == JobAside) // guard: aside_only_own_initdb — S5
}

// frozenGuard: the parent of the server misses its heartbeats, so the deadline
// may not be kept. The worker stops the server itself, long before the lease
// ends.
func frozenGuard(o *Observation) (Decision, bool) {
	if !o.Guard.Frozen || o.Settings.Pause || o.View.At.Never() && o.Self.Paused { // S6
		return Decision{}, false
	}
	d := wait(ReasonGuardFrozen, "the guard misses its heartbeats")
	d.fence(o)
	return d, true
}

// fence kills the server past its guard, beside whatever job runs: a job may well
// be what waits for the guard that hangs, and no work may hold up a fence.
func (d *Decision) fence(o *Observation) {
	next := o.Guard.FencedAt.Add(retryPause)
	switch {
	case o.Guard.Fencing:
	case !o.Guard.FencedAt.Never() && o.Now < next:
		d.wakeAt(next)
	default:
		d.Actions = append(d.Actions, Fence{}) // guard: fence_beside_jobs — S1
	}
}

// urgently starts a job that safety asks for as soon as the slot is free; after a
// failure only a moment passes, and more of it after each. The deadline stands
// meanwhile, and what hangs in the kernel does not die of being killed more often.
func (d *Decision) urgently(o *Observation, a Action) {
	doubled := 0
	if o.Job.Last == KindOf(a) {
		doubled = min(max(o.Job.Failures-1, 0), 6)
	}
	next := o.Job.LastEnded.Add(min(retryPause<<doubled, maxUrgentPause))
	switch {
	case o.Job.Kind != JobNone:
	case o.Job.LastErr != "" && o.Now < next:
		d.wakeAt(next)
	default:
		d.Actions = append(d.Actions, a)
	}
}

// writableWithoutLease: a server that accepts writes while this process holds no
// term. Either the term can be shown to be ours (a worker before us held it for
// this very server), or nobody ever led it under pgkeeper, or it is stopped.
func writableWithoutLease(o *Observation) (Decision, bool) {
	seenWriting := o.Node.Good() && o.Node.Value.Mode == cluster.ModePrimary
	if !seenWriting && !(o.Guard.Running && o.Guard.Writable) || o.Lease.Term != 0 || o.Settings.Pause {
		return Decision{}, false
	}
	if d, ok := overdue(o); ok {
		return d, true
	}
	d := unleased(o, seenWriting)
	if !o.Guard.Deadline.Never() { // whatever else is tried meanwhile, and however long that takes
		d.forgetPast(o.Now)
		d.wakeAt(overdueAt(o))
	}
	return d, true
}

// unleased decides about such a server while its guard may be trusted to keep to
// the deadline.
func unleased(o *Observation, seenWriting bool) Decision {
	if o.View.At.Never() || !o.View.Good() && o.Guard.Connected && o.Now < o.Guard.Deadline {
		if d, ok := resuming(o); ok {
			return d
		}
		return noStore(o, "a writable server runs under its guard's deadline; the store cannot be read")
	}
	if d, ok := inherit(o); ok {
		return d
	}
	if d, ok := adopt(o); ok && seenWriting {
		return d
	}
	if o.Looking && o.View.Good() && o.View.Value.Leader == nil && o.Guard.Deadline.Never() { // may be one to adopt
		d := wait(ReasonAdoptPrimary, "looking at the running server first")
		d.lookAgain(o)
		return d
	}
	d := wait(ReasonFenceNoLease, "a writable server without a term must not run")
	if o.Guard.Running || !o.Guard.Connected { // guard: fence_without_lease — S1
		d.urgently(o, StopServer{Mode: StopImmediate})
	} else { // started behind the guard's back: the guard has nothing to stop
		d.fence(o)
	}
	return d
}

// overdueAt is when a guard that has not stopped its server is past trusting.
func overdueAt(o *Observation) cluster.Instant {
	return o.Guard.Deadline.Add(o.Settings.Margin(o.Guard.LastKill) / 2)
}

// overdue: the guard should have killed the server a moment ago, and has not said
// that it is gone. It may have been frozen just before its deadline, too late for
// its heartbeats to tell: the rest of the margin is what is left to do it past it.
func overdue(o *Observation) (Decision, bool) {
	g := o.Guard
	if !g.Connected || !g.Running || !g.Writable || g.Paused || g.Deadline.Never() {
		return Decision{}, false
	}
	if o.Now < overdueAt(o) {
		return Decision{}, false
	}
	d := wait(ReasonGuardFrozen, "the guard has not stopped the server at its deadline")
	d.fence(o) // guard: overdue_guard — S1
	return d, true
}

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

// blind: nothing may be concluded from what was not seen.
func blind(o *Observation) (Decision, bool) {
	switch {
	case !o.Guard.Connected:
		return withoutGuard(o), true
	case !o.Node.Good():
		d := wait(ReasonServerUnknown, o.Node.Err)
		d.lookAgain(o)
		// A server that hangs is stopped without being seen, when that is asked for.
		unseen := o.Node.At.Add(2 * o.Settings.RetryTimeout)
		if o.Wish.Stop && o.Now >= unseen {
			return Decision{}, false
		}
		d.wakeAt(unseen)
		return d, true
	case o.View.At.Never():
		return withoutStore(o), true
	}
	return Decision{}, false
}

// withoutGuard: nothing can be done to a server without its parent. An agent that
// was told to stop does not wait for one for ever: a guard that is gone took its
// server with it.
func withoutGuard(o *Observation) Decision {
	d := wait(ReasonWaitingForGuard, "no session with the guard")
	if o.Wish.Stop && o.Lease.Term == 0 {
		patience := o.Node.ErrAt.Add(2 * o.Settings.RetryTimeout)
		d.Done = o.Now >= patience
		d.wakeAt(patience)
	}
	return d
}

// noStore waits for a store that cannot be read, or must not be believed.
func noStore(o *Observation, detail string) Decision {
	if o.Refused {
		return wait(ReasonStoreRefused, o.View.Err)
	}
	return wait(ReasonWaitingForStore, detail)
}

// withoutStore: the store was never read since this process started. After a
// while a stopped standby is started for reads; it can never be promoted that way.
func withoutStore(o *Observation) Decision {
	d := noStore(o, o.View.Err)
	since := o.Self.Started.Add(2 * o.Settings.RetryTimeout)
	d.wakeAt(since)
	switch {
	case o.Settings.Pause || o.Guard.Paused: // guard: pause_without_store — S6, the guard remembers it
		d.Done = o.Wish.Stop
		return d
	case o.Wish.Stop:
		return stopServerThenExit(o)
	case o.Job.Kind != JobNone:
		return wait(reasonOfJob(o.Job.Kind), "")
	case o.Now >= since && o.Node.Value.Mode == cluster.ModeStopped && o.Node.Value.Data == cluster.DataValid && mayTryJob(o):
		return do(ReasonStandbyWithoutDC, StartServer{})
	}
	return d
}

// stopping: the operator stops this agent.
func stopping(o *Observation) (Decision, bool) {
	if !o.Wish.Stop {
		return Decision{}, false
	}
	if o.Settings.Pause && o.Lease.Term != 0 && o.Node.Value.Mode == cluster.ModePrimary && !DeadlineLifted(o) { // guard: mark_before_leaving — SAFETY 2, Pause
		return do(ReasonPausedLeading, PutPausedPrimary{Name: o.Self.Name}), true
	}
	if o.Wish.Leave || o.Settings.Pause { // S6: the guard stays behind with the server
		d := wait(ReasonStopped, "the server is left running under its guard")
		d.Done = true
		return d, true
	}
	if o.Job.Kind != JobNone {
		return wait(reasonOfJob(o.Job.Kind), "stopping once it has ended"), true
	}
	if o.Lease.Term != 0 {
		return stopHolding(o), true
	}
	return stopServerThenExit(o), true
}

func stopServerThenExit(o *Observation) Decision {
	if !o.Guard.Running && (o.Node.Value.Mode == cluster.ModeStopped || !o.Node.Good()) {
		d := wait(ReasonStopped, "the server is stopped")
		d.Done = true
		return d
	}
	d := wait(ReasonStoppingAgent, "")
	d.urgently(o, StopServer{Mode: StopFast})
	return d
}

// paused: nothing touches PostgreSQL (S6). The lock is kept by whoever runs the
// primary, and who that is is recorded without lease, so that nobody elects
// behind its back.
func paused(o *Observation) (Decision, bool) {
	if !o.Settings.Pause {
		return Decision{}, false
	}
	v, primary := &o.View.Value, o.Node.Value.Mode == cluster.ModePrimary
	if primary && reclaims(o) {
		return byPromises(o)
	}
	if primary && o.Lease.Term != 0 && !DeadlineLifted(o) {
		return do(ReasonPausedLeading, PutPausedPrimary{Name: o.Self.Name}), true
	}
	if d, answered := busy(o); answered {
		return d, true
	}
	if d, answered := requests(o); answered {
		return d, true
	}
	switch {
	case primary && o.Lease.Term != 0:
		return pausedLeading(o), true
	case primary && v.Leader == nil && o.View.Good() && v.Initialize != nil && (v.PausedAt == nil || v.PausedAt.Name == o.Self.Name) && o.Now >= waitUntil(o):
		return acquire(o, ReasonPausedLeading), true
	case primary && v.HolderIs(o.Self.Name):
		if d, ok := inherit(o); ok {
			return d, true
		}
	case o.Lease.Term != 0 && o.Node.Value.Mode == cluster.ModeStopped && !o.Guard.Running: // guard: paused_release_after_stop — SAFETY 2, Release
		return do(ReasonPausedNoPrimary, releaseOf(&o.Node.Value)), true
	}
	return wait(ReasonPaused, "resume the cluster to have pgkeeper act"), true
}

// pausedLeading keeps the store in order and answers who asks for a switchover.
func pausedLeading(o *Observation) Decision {
	if f := o.View.Value.Failover; !f.Empty() && (o.Wish.FailoverDue || o.Wish.FailoverStale) {
		return refuse(o, "the cluster is paused: resume it first")
	}
	return do(ReasonPausedLeading, duties(o)...)
}

// busy: the job slot is taken. Everything else waits for its end.
func busy(o *Observation) (Decision, bool) {
	if o.Job.Kind == JobNone {
		return Decision{}, false
	}
	d := wait(reasonOfJob(o.Job.Kind), "")
	d.FastLook = o.Job.Kind == JobPromote
	if o.Lease.Term == 0 && !o.View.Value.HolderIs(o.Self.Name) {
		d.Say = answerSwitchover(o).Say
	}
	return d, true
}
