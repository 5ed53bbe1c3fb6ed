package election

import "github.com/pgkeeper/pgkeeper/cluster"

// paused: nothing touches PostgreSQL (S6). The lock is kept by whoever runs the
// primary, and who that is is recorded without lease, so that nobody elects
// behind its back. A deadline that stands, because the store has not recorded the pause,
// is kept as ever.
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
	if sw := o.View.Value.Switchover; sw != nil && sw.From == o.Self.Name && sw.Phase != cluster.SwitchoverAborted { // guard: paused_switchover_ends — L1: it would go on when the pause ends, at a time that nobody has asked for
		return abort(o, *sw, "the cluster was paused")
	}
	if f := o.View.Value.Failover; !f.Empty() && (o.Wish.FailoverDue || o.Wish.FailoverStale) {
		return refuse(o, "the cluster is paused: resume it first")
	}
	return do(ReasonPausedLeading, duties(o)...)
}
