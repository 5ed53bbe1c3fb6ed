package election

import (
	"fmt"
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
		return Decision{Reason: ReasonDeadlinePassed, Actions: []Action{LoseLease{}}, Wake: o.Now.Add(time.Millisecond), Detail: deadlineDetail(o)}, true
	}
	return Decision{}, false
}

// deadlineDetail says what kept the lease from being renewed.
func deadlineDetail(o *Observation) string {
	text := fmt.Sprintf("no renewal counted for %s", o.Now.Sub(o.Lease.Renewed).Round(1e7))
	switch {
	case o.Lease.Tried > o.Lease.Renewed:
		return text + ": etcd has confirmed none"
	case !o.Guard.Connected || o.Guard.Frozen:
		return text + ": the guard does not answer"
	case !o.Node.Good():
		return text + ": the server could not be looked at (" + orUnknown(o.Node.Err) + ")"
	}
	return text
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
	if mark == nil {
		return false
	}
	if mark.ModRevision < o.Self.MarksFrom { // guard: mark_of_this_worker — SAFETY 2, Pause: nor one that a worker before it may have asked that for
		return false
	}
	if mark.ModRevision == o.Self.Unmarked { // guard: unmarked_lifts_nothing — SAFETY 2, Pause: it may go at any moment, since this process has asked for that
		return false
	}
	return o.Settings.Pause && mark.Name == o.Self.Name // guard: pause_needs_mark — SAFETY 2, Pause
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
	if o.Lease.Term != 0 {
		return Decision{}, false
	}
	if d, ok := overdue(o); ok { // also in a pause that the store has not recorded: the deadline stands
		return d, true
	}
	if !seenWriting && !(o.Guard.Running && o.Guard.Writable) || o.Settings.Pause { // S6
		return Decision{}, false
	}
	// Given away, or lost: what is left of it writes nothing, and has its deadline.
	if exits := o.Job.Kind == JobStop || o.Job.Last == JobStop && o.Job.LastErr == ""; exits && o.Guard.Ended.LSN.Known() {
		d := wait(reasonOfJob(JobStop), "it has written its shutdown checkpoint and is about to exit")
		d.wakeAt(overdueAt(o))
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

// stands: the guard of a server that may write has a deadline, which no pause has lifted. A
// job that has it write tells the guard first, and the loop last: of a start it may not even
// be known that there is a server.
func stands(o *Observation) bool {
	g := &o.Guard
	writes := o.Job.Writes || g.Running && g.Writable
	if !writes { // guard: overdue_job — S1: what a job began may come through beside the next primary
		return false
	}
	return g.Connected && !g.Paused && !g.Deadline.Never() && !DeadlineLifted(o)
}

// withOverdue has a worker without a term look again when its guard is overdue, whatever it
// does until then.
func withOverdue(o *Observation, d Decision) Decision {
	if at := overdueAt(o); o.Lease.Term == 0 && stands(o) && o.Now < at {
		d.wakeAt(at)
	}
	return d
}

// overdue: the guard should have killed the server a moment ago, and has not said
// that it is gone. It may have been frozen just before its deadline, too late for
// its heartbeats to tell: the rest of the margin is what is left to do it past it.
func overdue(o *Observation) (Decision, bool) {
	if !stands(o) {
		return Decision{}, false
	}
	if o.Now < overdueAt(o) {
		return Decision{}, false
	}
	d := wait(ReasonGuardFrozen, "the guard has not stopped the server at its deadline")
	d.fence(o) // guard: overdue_guard — S1
	return d, true
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

// busy: the job slot is taken. Everything else waits for its end.
func busy(o *Observation) (Decision, bool) {
	if o.Job.Kind == JobNone {
		return Decision{}, false
	}
	d := wait(reasonOfJob(o.Job.Kind), "")
	if o.Job.Kind == JobInitDB && o.Job.LastErr != "" { // tries of it follow one another sooner than an operator looks
		d.Detail = failedBefore(o)
	}
	d.FastLook = o.Job.Kind == JobPromote
	if o.Lease.Term == 0 && !o.View.Value.HolderIs(o.Self.Name) {
		d.Say = answerSwitchover(o).Say
	}
	return d, true
}
