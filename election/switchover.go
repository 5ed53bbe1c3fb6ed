package election

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// A switchover in this file: the holder validates the wish, records "preparing"
// (both ends checkpoint; no impact yet), records "holding" where members drive
// connection poolers, until these hold new work, records "stopping", stops its server
// fast, waits until the candidate confirms that it flushed the shutdown
// checkpoint, and hands the key over with the successor's lease in one
// transaction. Up to that transaction any failure rolls back: the old primary
// starts again under its own term (SAFETY 7).

// switching is the holder's side while its server runs.
func switching(o *Observation) (Decision, bool) {
	if o.Settings.Pause {
		return Decision{}, false
	}
	if sw := o.View.Value.Switchover; sw != nil && sw.From == o.Self.Name {
		switch {
		case sw.Phase != cluster.SwitchoverAborted:
			return advance(o, *sw), true
		case !o.Wish.Stop:
			return do(ReasonSwitchoverAborted, DeleteSwitchover{}), true
		}
		return Decision{}, false // tried once: an agent that must stop does not try again
	}
	f := o.View.Value.Failover
	switch {
	case o.Wish.Stop:
		return begin(o, cluster.Failover{Leader: o.Self.Name, ID: stopID(o)})
	case f.Empty():
		return Decision{}, false
	case o.Wish.FailoverStale:
		return refuse(o, "its time has passed: ask again"), true
	case !o.Wish.FailoverDue:
		return Decision{}, false
	}
	return begin(o, *f)
}

// stopID names the switchover of an agent that is being stopped.
func stopID(o *Observation) string { return fmt.Sprintf("stop-%s-%d", o.Self.Name, o.Lease.Term) }

// begin validates a wish and records the first phase.
func begin(o *Observation, f cluster.Failover) (Decision, bool) {
	if f.Leader != "" && f.Leader != o.Self.Name {
		if f.Member == o.Self.Name { // it has happened
			return answered(o, true, "Successfully switched over to \""+o.Self.Name+"\""), true
		}
		return refuse(o, "leader name does not match: "+o.Self.Name+" leads"), true
	}
	if f.Member == o.Self.Name {
		if f.Leader == "" {
			return answered(o, true, "Successfully failed over to \""+o.Self.Name+"\""), true
		}
		return refuse(o, "Switchover target and source are the same"), true
	}
	m, why := chooseCandidate(o, f.Member)
	if why != "" {
		switch {
		case o.Wish.Stop:
			return Decision{}, false
		case o.Node.At < o.Wish.FailoverSince: // the list of who streams is older than the wish
			d := wait(ReasonSwitchoverPreparing, "looking again: "+why)
			d.lookAgain(o)
			return d, true
		}
		return refuse(o, why), true
	}
	d := do(ReasonSwitchoverPreparing, PutSwitchover{Wish: f.ModRevision, Switchover: cluster.Switchover{
		ID: wishID(f), From: o.Self.Name, To: m.Name, Phase: cluster.SwitchoverPreparing, Term: o.Lease.Term}})
	d.Detail = "to " + m.Name
	return d, true
}

// wishID names the switchover that a wish asks for.
func wishID(f cluster.Failover) string {
	if f.ID != "" {
		return f.ID
	}
	return fmt.Sprintf("failover-%d", f.ModRevision)
}

// refuse answers the key failover with why nothing was tried.
func refuse(o *Observation, why string) Decision {
	d := answered(o, false, "switchover is not possible: "+why)
	d.Reason, d.Detail = ReasonSwitchoverRefused, why
	return d
}

func answered(o *Observation, done bool, message string) Decision {
	f := o.View.Value.Failover
	if f == nil {
		f = &cluster.Failover{}
	}
	d := do(ReasonLeading, ClearFailover{Revision: f.ModRevision, Result: cluster.Result{
		ID: f.ID, Member: o.Self.Name, Done: done, Refused: !done, Message: message, NewLeader: o.Self.Name}})
	return d
}

// chooseCandidate is the named member, or the best; why is empty when it can be
// switched to.
func chooseCandidate(o *Observation, name string) (best cluster.Member, why string) {
	if name != "" {
		m, ok := o.View.Value.Members[name]
		if !ok {
			return m, "candidate does not exists: no member is called " + name
		}
		return m, unsuitable(o, m)
	}
	why = "no good candidates have been found"
	var bestReport report
	for _, name := range slices.Sorted(maps.Keys(o.View.Value.Members)) {
		m := o.View.Value.Members[name]
		if m.Name == o.Self.Name {
			continue
		}
		if reason := unsuitable(o, m); reason != "" {
			why += "; " + reason
			continue
		}
		w, _ := walsenderOf(&o.Node.Value, m.Name)
		r := report{m.Name, cluster.Position{Timeline: m.Timeline, LSN: flushed(w, m)}, m.Tags.FailoverPriority()}
		if best.Name == "" || r.better(bestReport) {
			best, bestReport = m, r
		}
	}
	if best.Name != "" {
		return best, ""
	}
	return best, why
}

// unsuitable says why a member cannot take over now; empty when it can.
func unsuitable(o *Observation, m cluster.Member) string {
	node := &o.Node.Value
	w, streaming := walsenderOf(node, m.Name)
	lag := flushed(w, m).Behind(node.WriteLSN)
	limit := o.Settings.MaximumLagOnFailover
	switch {
	case m.Tags.NoFailover():
		return m.Name + " is tagged nofailover"
	case m.NoWatchdog(): // guard: watchdog_successor — L1: a switchover goes to a server that may be promoted
		return m.Name + " lacks the watchdog that it requires"
	case m.State != cluster.StateRunning:
		return fmt.Sprintf("%s is %s", m.Name, m.State)
	case m.Sick() != "": // guard: sick_successor — L1: a switchover goes to a server that can serve
		return fmt.Sprintf("%s is sick: %s", m.Name, m.Sick())
	case !streaming:
		return m.Name + " does not stream from this primary"
	case m.Timeline != 0 && m.Timeline != node.Timeline:
		return fmt.Sprintf("%s is on timeline %d, not %d", m.Name, m.Timeline, node.Timeline)
	case limit >= 0 && lag > uint64(limit):
		return fmt.Sprintf("%s is %d bytes behind, the limit is %d", m.Name, lag, limit)
	}
	return ""
}

// advance takes the next step of a recorded switchover while the server still
// runs as primary.
func advance(o *Observation, sw cluster.Switchover) Decision {
	m, known := o.View.Value.Members[sw.To]
	switch {
	case sw.Term != o.Lease.Term:
		return abort(o, sw, "the agent was restarted in the middle")
	case sw.Phase == cluster.SwitchoverStopping:
		d := wait(ReasonSwitchoverStopping, "to "+sw.To)
		d.urgently(o, StopServer{Mode: StopFast, Successor: sw.To})
		return d
	case !known:
		return abort(o, sw, sw.To+" is gone")
	case unsuitable(o, m) != "":
		return abort(o, sw, "the candidate is not fit any more: "+unsuitable(o, m))
	case sw.Phase == cluster.SwitchoverHolding:
		return holdWork(o, sw)
	case phaseAge(o, sw) > preparePatience:
		return abort(o, sw, fmt.Sprintf("the candidate was not ready after %s", preparePatience))
	}
	d := wait(ReasonSwitchoverPreparing, "waiting for "+sw.To+" to be ready")
	d.wakeAt(o.Phase.Since.Add(preparePatience + 1))
	switch {
	case o.Self.Prepared != sw.ID:
		d.Actions = []Action{Checkpoint{For: sw.ID}}
	case m.IsKeeper() && m.Keeper.Switchover != sw.ID:
	case len(unheld(o, sw)) > 0:
		sw.Phase = cluster.SwitchoverHolding
		d = do(ReasonSwitchoverHolding, PutSwitchover{Switchover: sw})
	default:
		sw.Phase = cluster.SwitchoverStopping
		d = do(ReasonSwitchoverStopping, PutSwitchover{Switchover: sw})
	}
	return d
}

// holdWork waits for the poolers. One that takes too long costs its clients what they
// would lose without it: it ends no switchover.
func holdWork(o *Observation, sw cluster.Switchover) Decision {
	waiting := unheld(o, sw)
	if len(waiting) == 0 || phaseAge(o, sw) > holdPatience {
		sw.Phase = cluster.SwitchoverStopping
		return do(ReasonSwitchoverStopping, PutSwitchover{Switchover: sw})
	}
	d := wait(ReasonSwitchoverHolding, "for the pooler of "+strings.Join(waiting, ", "))
	d.wakeAt(o.Phase.Since.Add(holdPatience + 1))
	return d
}

// unheld are the members whose pooler could hold work for the switchover and does not.
func unheld(o *Observation, sw cluster.Switchover) []string {
	var names []string
	for name, m := range o.View.Value.Members { // in any order: sorted below
		if k := m.Keeper; k != nil && k.Pooler != "" && k.Pooler != cluster.PoolerLost && k.Held != sw.ID {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func phaseAge(o *Observation, sw cluster.Switchover) time.Duration {
	if o.Phase.ID != sw.ID || o.Phase.Phase != sw.Phase {
		return 0
	}
	return o.Now.Sub(o.Phase.Since)
}

// abort rolls a switchover back and says why. The wish is answered first: with the
// wish standing and the record gone it would begin anew. The record of an agent
// that is stopping stays as aborted, for the same reason.
func abort(o *Observation, sw cluster.Switchover, why string) Decision {
	d := do(ReasonSwitchoverAborted)
	d.Detail = why
	if f := o.View.Value.Failover; !f.Empty() && wishID(*f) == sw.ID {
		d.Actions = append(d.Actions, ClearFailover{Revision: f.ModRevision, Result: cluster.Result{
			ID: f.ID, Member: o.Self.Name, Message: "switchover to " + sw.To + " was rolled back: " + why}})
	}
	if !o.Wish.Stop {
		d.Actions = append(d.Actions, DeleteSwitchover{})
		return d
	}
	sw.Phase, sw.Why, sw.Term = cluster.SwitchoverAborted, why, o.Lease.Term
	d.Actions = append(d.Actions, PutSwitchover{Switchover: sw})
	return d
}

// handOverStopped is the holder's side once its server is down.
func handOverStopped(o *Observation, sw cluster.Switchover) Decision {
	node := &o.Node.Value
	m := o.View.Value.Members[sw.To]
	position := cluster.Position{Timeline: node.Timeline, LSN: node.Control.CheckpointEnd}
	switch {
	case o.Guard.Running || !o.Node.Good(): // guard: hand_over_after_stop — SAFETY 2, Release
		return wait(ReasonSwitchoverStopping, "the guard still has the server")
	case sw.Term != o.Lease.Term: // a new worker of ours: the successor reads the phase under the new term
		sw.Term = o.Lease.Term
		return do(ReasonSwitchoverStopping, PutSwitchover{Switchover: sw})
	case node.Control.State != cluster.ControlShutdown || !position.LSN.Known(): // guard: clean_shutdown_record — SAFETY 2, Release
		return abort(o, sw, fmt.Sprintf("the server did not shut down cleanly: %s, last record ends at %s", node.Control.State, position.LSN))
	case m.State != cluster.StateRunning: // guard: successor_runs — SAFETY 7
		return abort(o, sw, sw.To+" died on the way")
	case !m.IsKeeper(): // Patroni takes the freed key itself, led by the key failover
		return do(ReasonReleasing, Release{Position: position, Clean: true})
	case confirmed(m, sw, position): // guard: successor_confirms — SAFETY 7
		return do(ReasonHandingOver, HandOver{To: m.Name, LeaseID: m.LeaseID, ID: askedFor(o, sw), Position: position})
	case phaseAge(o, sw) > confirmPatience+o.Settings.RetryTimeout:
		return abort(o, sw, sw.To+" did not confirm the shutdown checkpoint at "+position.LSN.String())
	}
	d := wait(ReasonSwitchoverConfirm, fmt.Sprintf("%s must confirm %s", sw.To, position.LSN))
	d.wakeAt(o.Phase.Since.Add(confirmPatience + o.Settings.RetryTimeout + 1))
	return d
}

// shutDown: the server that a switchover stops has written its shutdown checkpoint, and
// the candidate has it. PostgreSQL writes it when the last backend is gone and none is
// admitted any more, and nothing after it: what is left of the server sends what is
// written, archives it and tidies up. The candidate need not wait for that (SAFETY 2,
// Release), which takes as long as the slowest standby and the archiver. The deadline
// stands until the exit.
func shutDown(o *Observation) (Decision, bool) {
	sw, end := o.View.Value.Switchover, o.Guard.Ended
	switch {
	case !end.LSN.Known(): // guard: checkpoint_before_hand_over — SAFETY 2, Release
		return Decision{}, false
	case o.Settings.Pause || !o.Guard.Connected || !o.Guard.Running || o.Lease.Term == 0:
		return Decision{}, false
	case sw == nil || sw.From != o.Self.Name || sw.Phase != cluster.SwitchoverStopping || sw.Term != o.Lease.Term:
		return Decision{}, false
	}
	m := o.View.Value.Members[sw.To]
	if m.State != cluster.StateRunning || !m.IsKeeper() || !confirmed(m, *sw, end) { // guard: checkpoint_confirmed — SAFETY 7
		return Decision{}, false
	}
	return do(ReasonHandingOver, HandOver{To: m.Name, LeaseID: m.LeaseID, ID: askedFor(o, *sw), Position: end, Exiting: o.Guard.Instance}), true
}

// askedFor is the id under which somebody waits for the switchover's result; empty
// for an agent that stops, where nobody does.
func askedFor(o *Observation, sw cluster.Switchover) string {
	if f := o.View.Value.Failover; f.Empty() || wishID(*f) != sw.ID {
		return ""
	}
	return sw.ID
}

// flushed is how far a member has flushed: its walsender says, or, before its first
// word after a connect, what it published itself.
func flushed(w cluster.Walsender, m cluster.Member) cluster.LSN {
	if w.Flush.Known() {
		return w.Flush
	}
	return m.XlogLocation
}

// confirmed: the candidate says that, after its receiver ended, it has flushed
// past the shutdown checkpoint of this timeline.
func confirmed(m cluster.Member, sw cluster.Switchover, end cluster.Position) bool {
	k := m.Keeper
	return k != nil && k.Switchover == sw.ID && k.Position != nil && m.LeaseID != 0 &&
		k.Position.Timeline == end.Timeline && k.Position.LSN >= end.LSN
}

// stopHolding stops an agent whose node leads: by a switchover when somebody can
// take over, else by a clean stop and a release.
func stopHolding(o *Observation) Decision {
	switch o.Node.Value.Mode {
	case cluster.ModePrimary:
		if d, ok := switching(o); ok {
			return d
		}
	case cluster.ModeStopped:
		return holderStopped(o)
	}
	d := wait(ReasonStoppingAgent, "")
	d.urgently(o, StopServer{Mode: StopFast})
	return d
}

// candidacy is the holder's switchover to this member; nil when there is none.
func candidacy(o *Observation) *cluster.Switchover {
	sw := o.View.Value.Switchover
	if sw == nil || !strings.EqualFold(sw.To, o.Self.Name) || !o.View.Value.HolderIs(sw.From) {
		return nil
	}
	return sw
}

// answerSwitchover is the candidate's side; an empty Reason when there is none.
func answerSwitchover(o *Observation) Decision {
	sw := candidacy(o)
	if sw == nil || int64(sw.Term) == 0 {
		return Decision{}
	}
	node := &o.Node.Value
	switch {
	case o.Self.Prepared != sw.ID:
		return do(ReasonCandidatePreparing, Checkpoint{For: sw.ID, Names: namesOf(o, firstRule(o))})
	case sw.Phase != cluster.SwitchoverStopping:
		d := wait(ReasonCandidateReady, "ready to take over from "+sw.From)
		d.Say = Say{Switchover: sw.ID}
		return d
	}
	d := wait(ReasonCandidateReady, "waiting for "+sw.From+" to stop")
	d.Say = Say{Switchover: sw.ID}
	d.FastLook = true
	gone := node.Mode == cluster.ModeStandby && (node.Receiver == nil || node.Receiver.Status != "streaming")
	inPhase := o.Phase.ID == sw.ID && o.Phase.Phase == cluster.SwitchoverStopping
	if gone && inPhase && o.Node.Good() && o.Node.At >= o.Phase.Since { // guard: receiver_gone — SAFETY 7
		position := node.Position()
		d.Say.Position = &position
		d.Reason, d.Detail = ReasonCandidateConfirms, position.String()
	}
	return d
}

// acceptHandover takes up the key that was put on this member's lease: one
// keepalive and one transaction with beat and timeline, then it is ours.
func acceptHandover(o *Observation) Decision {
	h := o.View.Value.Handover
	d := wait(ReasonAcceptingHandover, "from "+h.From+" at "+h.Position.String())
	next := o.Lease.Tried.Add(retryPause)
	if o.Lease.Busy == "" && o.Now >= next && o.Guard.Connected {
		d.Actions = []Action{Accept{Term: o.View.Value.Leader.Term, Timeline: max(highestTimeline(o), h.Position.Timeline) + 1}}
	}
	// A receiver that is just being started when the promotion comes has the startup
	// process sleep first, for as long as wal_retrieve_retry_interval. Not before the key
	// is given: a receiver that ended too early must come again for the rest.
	if host, _ := conninfoTarget(o.Node.Value.PrimaryConninfo); host != "" && o.Node.Value.Mode == cluster.ModeStandby {
		d.Actions = append(d.Actions, Follow{})
	}
	d.wakeAt(next)
	return d
}
