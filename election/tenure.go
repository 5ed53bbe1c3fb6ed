package election

import (
	"github.com/pgkeeper/pgkeeper/cluster"
)

// A tenure that a new worker takes up while the store is away (SAFETY 3, Failsafe): the
// worker before it held the term, and left on disk what must be known to go on by the
// members' promises. docs/decisions/0015 has the argument.

// resuming: the guard keeps a server that may write under the term which the worker
// before this one left, and the store has told nothing since this one started.
func resuming(o *Observation) (Decision, bool) {
	if !mayResume(o) {
		return Decision{}, false
	}
	d := wait(ReasonWaitingForStore, "the store cannot be read; this member's earlier worker led")
	kept := cluster.Settings{TTL: o.Self.Tenure.TTL, LoopWait: o.Settings.LoopWait}
	due := o.Self.Started.Add(kept.RenewEvery()) // the store may just be slow
	switch {
	case o.Now < due:
		d.wakeAt(due)
	case !freshLook(o):
		d.lookAgain(o)
	default:
		return do(ReasonResuming, Resume{Term: o.Self.Tenure.Term}), true
	}
	return d, true
}

func mayResume(o *Observation) bool {
	t, g := o.Self.Tenure, &o.Guard
	switch {
	case t == nil || len(t.Lists) == 0 || o.Wish.Stop || o.Self.Paused || g.Paused:
		return false
	case !o.View.At.Never(): // guard: resume_without_store — S1: what the store says decides
		return false
	case t.Term != g.Term: // guard: resume_guards_term — S1: the guard is the witness that the term is held
		return false
	case !g.Connected, g.Frozen, !g.Running, !g.Writable, o.Job.Kind != JobNone:
		return false
	}
	return o.Now < g.Deadline // guard: resume_before_deadline — S1
}

// resumed is all that a worker does under a term that it has resumed: it asks the members,
// and puts the key again as soon as the store can be read.
func resumed(o *Observation) (Decision, bool) {
	if o.Lease.Term == 0 || !o.Lease.Resumed || !o.Guard.Connected {
		return Decision{}, false
	}
	v := &o.View.Value
	switch {
	case o.Wish.Stop && !o.Settings.Pause && o.Guard.Running && o.Job.Kind == JobNone:
		return stopServerThenExit(o), true
	case !o.Node.Good():
		d := wait(ReasonServerUnknown, o.Node.Err)
		d.lookAgain(o)
		return d, true
	case !o.Guard.Running || o.Node.Value.Mode != cluster.ModePrimary: // guard: resumed_starts_nothing — S1
		return do(ReasonLeaseLost, LoseLease{}), true
	case !o.View.Good() || v.Revision < int64(o.Lease.Term):
		if d, ok := byPromises(o); ok {
			return d, true
		}
		return noStore(o, "this member's earlier worker led; the members are asked"), true
	}
	if d, ok := inherit(o); ok {
		return d, true
	}
	if reclaims(o) {
		return acquire(o, ReasonReclaiming), true
	}
	return do(ReasonLeaseLost, LoseLease{}), true
}
