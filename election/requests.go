package election

import (
	"github.com/pgkeeper/pgkeeper/cluster"
)

// requests answers what an operator asked of this member. It comes after every
// gate of safety and before the ordinary course, so that a request is never the
// reason for something unsafe. In pause, restarts and rebuilds by name are still
// the operator's own act and allowed.
func requests(o *Observation) (Decision, bool) {
	r := o.Wish.Request
	switch {
	case o.Job.Kind != JobNone:
		return Decision{}, false
	case r != nil && r.Kind == cluster.RequestRestart && leaseless(o) && o.View.Value.HolderIs(o.Self.Name): // it goes on with its key first
		return Decision{}, false
	case r != nil:
		return request(o, *r), true
	case o.Wish.RestartDue && o.Node.Value.Mode.Running() && !o.Settings.Pause:
		return do(ReasonRestarting, restart(o, nil)), true
	}
	return Decision{}, false
}

func request(o *Observation, r cluster.Request) Decision {
	switch r.Kind {
	case cluster.RequestReload:
		return do(ReasonReloading, Reload{}, Answer{r, cluster.Result{ID: r.ID, Member: o.Self.Name, Done: true, Accepted: true, Message: "reload scheduled"}})
	case cluster.RequestRestart:
		return requestRestart(o, r)
	case cluster.RequestReinitialize:
		return requestReinit(o, r)
	}
	return refuseRequest(o, r, "this member does not know the request "+string(r.Kind)+": it may run an older version")
}

func refuseRequest(o *Observation, r cluster.Request, why string) Decision {
	d := do(ReasonRequestRefuse, Answer{r, cluster.Result{ID: r.ID, Member: o.Self.Name, Refused: true, Message: why}})
	d.Detail = why
	return d
}

// requestRestart: the conditions of the body were already checked against this
// server by the agent, which knows versions and clocks.
func requestRestart(o *Observation, r cluster.Request) Decision {
	if !o.Node.Value.Mode.Running() {
		return refuseRequest(o, r, "the server is "+o.Node.Value.Mode.String()+", not running")
	}
	if switchoverWith(&o.View.Value, o.Self.Name) {
		return refuseRequest(o, r, "a switchover is in progress")
	}
	if leaseless(o) { // guard: restart_starts_again — L1: its guard would not start it, and in a pause nobody else does
		return refuseRequest(o, r, "this primary has no lease, without which it could not be started again: ask again when it has, or resume the cluster")
	}
	return do(ReasonRestarting, restart(o, &r))
}

// leaseless: a primary that only a pause lets write.
func leaseless(o *Observation) bool {
	return o.Node.Value.Mode == cluster.ModePrimary && (o.Lease.Term == 0 || o.Now >= leaseDeadline(o))
}

// switchoverWith reports whether member takes part in a running switchover.
func switchoverWith(v *cluster.View, member string) bool {
	sw := v.Switchover
	return sw != nil && sw.Phase != cluster.SwitchoverAborted && (sw.From == member || sw.To == member)
}

func restart(o *Observation, r *cluster.Request) Restart {
	a := Restart{Request: r, Writable: o.Node.Value.Mode == cluster.ModePrimary}
	if up, ok := upstream(o); ok && !a.Writable {
		a.Upstream = &up
	}
	return a
}

func requestReinit(o *Observation, r cluster.Request) Decision {
	v := &o.View.Value
	leader, known := v.LeaderMember()
	up, addressed := upstreamOf(leader)
	switch {
	case o.Lease.Term != 0 || v.HolderIs(o.Self.Name) || o.Node.Value.Mode == cluster.ModePrimary:
		return refuseRequest(o, r, "I am the leader, can not reinitialize")
	case v.Leader == nil:
		return refuseRequest(o, r, "Cluster has no leader, can not reinitialize")
	case switchoverWith(v, o.Self.Name):
		return refuseRequest(o, r, "a switchover is in progress")
	case !known || !addressed || !leader.RunsPrimary(): // guard: reinit_needs_primary — S5
		return refuseRequest(o, r, "the leader is not a running primary, can not reinitialize")
	}
	return do(ReasonReinitialize, Clone{Source: up}, Answer{r, cluster.Result{ID: r.ID, Member: o.Self.Name, Accepted: true, Done: true, Message: "reinitialize started"}})
}
