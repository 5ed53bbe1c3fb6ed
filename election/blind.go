package election

import "github.com/pgkeeper/pgkeeper/cluster"

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
	case o.Looking: // guard: whole_look_after_promotion — SAFETY 3: its walsenders are those of a standby
		d := wait(ReasonServerUnknown, "promoted a moment ago, and not looked at since")
		d.lookAgain(o)
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
