package election

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Sick servers in this file: a primary that holds its lease and cannot serve makes room
// for a member that can.
//
// What a probe finds is no part of the safety argument, and nothing here weakens it: the
// only things that are ever done about a sick primary are to stop renewing, to stop its
// server, and to release the lease once that is proved stopped (SAFETY 2, Release).
// Where it cannot be stopped, because a process hangs in the kernel, nothing is
// released: the deadline passes, and others elect T after the last beat. What hangs
// there acknowledges nothing, and SIGKILL waits for whatever comes back.
//
// A replacement costs an outage and, in asynchronous clusters, perhaps the last commits.
// So it needs all of these: the same check failing for probe_timeout without a success
// between; somebody healthy who may and could win; no pause, no switchover under way;
// and a member that gave up is no candidate for a while, so that two of them which
// suffer from one cause do not hand the lease to and fro.

const (
	// sickRest is how long a member that gave its lease up for an ailment is no
	// candidate while others are.
	sickRest = time.Minute
	// sickPatience is how long a sick member leaves a race to the healthy.
	sickPatience = 5 * time.Second
	// sickGrace is how long a server that hangs has to end by itself: one that hears the
	// signal needs no more, and the others wait for its end.
	sickGrace = 100 * time.Millisecond
	// sickLook is how long a release waits for the look that shows a clean end.
	sickLook = 500 * time.Millisecond
	// electionTakes is what a failover takes from a release to a new primary, with
	// much to spare.
	electionTakes = 2 * time.Second
	// usualReplay is how many bytes of WAL a recovery is taken to replay in a second,
	// until it was measured here.
	usualReplay = 64 << 20
)

// sick: the lease is ours, and the server is not fit to serve under it.
func sick(o *Observation) (Decision, bool) {
	if o.Lease.Term == 0 || !o.Guard.Connected || o.Settings.Pause {
		return Decision{}, false
	}
	if o.Lease.Condemned != "" {
		return givingUp(o), true
	}
	ailment, detail := condemned(o)
	if ailment == "" {
		return Decision{}, false
	}
	d := do(ReasonGivingUp, Condemn{Ailment: ailment})
	d.Detail = detail
	if o.Guard.Running && o.Job.Kind == JobNone {
		d.Actions = append(d.Actions, stopSick(o, ailment))
	}
	d.wakeAt(o.Now.Add(time.Millisecond))
	return d, true
}

// condemned is what the lease is to be given up for; empty for nothing.
func condemned(o *Observation) (ailment cluster.Ailment, detail string) {
	sw := o.View.Value.Switchover
	switch {
	case o.Wish.Stop, !o.View.Good(), FailsafeActive(o), // guard: sick_needs_store — L1: without a store nobody can take over
		sw != nil && sw.From == o.Self.Name && sw.Phase != cluster.SwitchoverAborted:
		return "", ""
	case startsTooLong(o):
		ailment, detail = cluster.AilmentStart, fmt.Sprintf("the server is not up after %s", lasting(o.Now.Sub(o.Job.Since)))
	default:
		ailment, detail = ailing(o, o.Settings.ProbeTimeout)
	}
	if ailment == "" {
		return "", ""
	}
	to, found := heir(o)
	if !found { // guard: sick_needs_heir — L1: given up for nobody, the cluster would lose what it has
		return "", ""
	}
	return ailment, fmt.Sprintf("%s; %s could take over", detail, to)
}

// ailing is what this node's probes have found to be wrong for as long as patience; empty
// for nothing.
func ailing(o *Observation, patience time.Duration) (cluster.Ailment, string) {
	if patience <= 0 {
		return "", ""
	}
	for _, c := range o.Health.Each() {
		if a := c.Ailing(o.Now, patience); a != "" {
			return a, fmt.Sprintf("%s for %s (%s)", a, lasting(o.Now.Sub(c.Since)), c.Detail)
		}
	}
	return "", ""
}

// suspected is what ails this node, or may: whoever is to take over must be above that
// sooner than a primary is given up for it. A disk that all of them share fills for all
// at the same moment.
func suspected(o *Observation) (cluster.Ailment, string) {
	patience := o.Settings.ProbeTimeout
	patience /= 2 // guard: sick_suspected_sooner — L1: the lease is not given to a member with the same ailment
	return ailing(o, patience)
}

// Sickness is what this member tells the others: what may ail it, or made it give up its
// lease a moment ago.
func Sickness(o *Observation) cluster.Ailment {
	if a, _ := suspected(o); a != "" {
		return a
	}
	if !o.Self.GaveUp.Never() && o.Now < o.Self.GaveUp.Add(sickRest) { // guard: sick_rests — L1: two members with one ailment do not hand the lease to and fro
		return o.Self.Ailment
	}
	return ""
}

// startsTooLong: the server was started to write and is not up after primary_start_timeout.
func startsTooLong(o *Observation) bool {
	limit := o.Settings.PrimaryStartTimeout
	return limit > 0 && o.Job.Kind == JobStart && o.Guard.Running && o.Guard.Writable && o.Now >= o.Job.Since.Add(limit)
}

// givingUp stops a server whose lease is given up and releases the lease.
func givingUp(o *Observation) Decision {
	d := wait(ReasonGivingUp, o.Lease.Condemned.String())
	switch {
	case o.Guard.Running: // guard: sick_release_after_stop — S1; SAFETY 2, Release
		d.urgently(o, stopSick(o, o.Lease.Condemned))
	case o.Node.Good() && o.Node.Value.Mode != cluster.ModeStopped: // guard: sick_release_of_what_runs — S1: started behind the guard's back, it has nothing to prove stopped
		d.lookAgain(o)
	case o.Job.Kind != JobNone: // it may have the guard start something yet
	case !othersCouldLead(o):
		return do(ReasonGivingUp, Condemn{}) // its heir is gone: what is left to try is a start here
	case !o.Node.Good() && o.Lease.Condemned == cluster.AilmentFull && o.Now < o.Job.LastEnded.Add(sickLook): // to say that it got to an end
		d.lookAgain(o)
		d.wakeAt(o.Job.LastEnded.Add(sickLook))
	case o.Lease.Busy != "" || o.Now < o.Lease.Tried.Add(retryPause):
		d.wakeAt(o.Lease.Tried.Add(retryPause))
	case o.Node.Good():
		d.Actions = append(d.Actions, releaseOf(&o.Node.Value))
	default: // its directory does not answer
		d.Actions = append(d.Actions, Release{})
	}
	return d
}

// stopSick is how the server is stopped: a full disk leaves room for an orderly end, in
// which the standbys get everything; whatever else ails it would only wait for that.
func stopSick(o *Observation, a cluster.Ailment) StopServer {
	if a == cluster.AilmentFull {
		return StopServer{Mode: StopFast, Patience: o.Settings.ProbeTimeout}
	}
	return StopServer{Mode: StopImmediate, Patience: sickGrace}
}

// condemns reports whether the actions give the lease up.
func condemns(actions []Action) bool {
	return slices.ContainsFunc(actions, func(a Action) bool { c, ok := a.(Condemn); return ok && c.Ailment != "" })
}

// heir is a member that could win the election after a release, as far as can be known.
func heir(o *Observation) (name string, found bool) {
	v := &o.View.Value
	if v.PausedAt != nil || !enoughCopies(o) {
		return "", false
	}
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if m := v.Members[name]; name != o.Self.Name && couldWin(o, &m) {
			return name, true
		}
	}
	return "", false
}

// couldWin: the member runs, is healthy, and has what an election here asks for.
func couldWin(o *Observation, m *cluster.Member) bool {
	node, v := &o.Node.Value, &o.View.Value
	switch {
	case m.State != cluster.StateRunning || m.Tags.NoFailover() || m.NoWatchdog() || m.Sick() != "":
		return false
	case m.Timeline != 0 && node.Timeline != 0 && m.Timeline != node.Timeline:
		return false
	}
	asking := v.Durability.Asking()
	for _, rule := range asking {
		if !rule.Lists(m.Name) {
			return false
		}
	}
	if len(asking) > 0 {
		return true // an election proves that it has every commit
	}
	w, _ := walsenderOf(node, m.Name)
	limit, behind := o.Settings.MaximumLagOnFailover, max(w.Flush, m.XlogLocation).Behind(max(node.WriteLSN, o.Recovery.End))
	return limit < 0 || behind <= uint64(limit)
}

// enoughCopies: as many copies of every rule could promise as an election needs, without
// this one.
func enoughCopies(o *Observation) bool {
	for _, rule := range o.View.Value.Durability.Asking() {
		have := 0
		for _, name := range rule.Copies() {
			if m, known := memberNamed(&o.View.Value, name); known && m.Name != o.Self.Name && m.State == cluster.StateRunning {
				have++
			}
		}
		if have < rule.Reports() {
			return false
		}
	}
	return true
}

// tooSick leaves a race to others: for good while this member could not be promoted, else
// for a moment while somebody healthy is there.
func tooSick(o *Observation) (Decision, bool) {
	a := Sickness(o)
	f := o.View.Value.Failover
	if a == "" || !f.Empty() && o.Wish.FailoverDue && f.Member == o.Self.Name {
		return Decision{}, false
	}
	now, detail := suspected(o)
	if now != "" && !now.MayServe() {
		return wait(ReasonSickCandidate, detail), true
	}
	until := raceBegan(o).Add(sickPatience)
	if o.Now >= until || !othersCouldLead(o) {
		return Decision{}, false
	}
	d := wait(ReasonSickCandidate, a.String())
	d.wakeAt(until)
	return d, true
}

// yields: the member is sick and this one is not: it is no rival.
func yields(o *Observation, m *cluster.Member) bool {
	return m.Sick() != "" && Sickness(o) == ""
}

// recoveryTakes predicts a crash recovery: the WAL since the redo point at the rate that
// was measured here last.
func recoveryTakes(o *Observation) time.Duration {
	node, end := &o.Node.Value, o.Recovery.End
	if p := o.View.Value.Status; p != nil && p.Timeline == node.Timeline {
		end = max(end, p.Optime)
	}
	redo := node.Control.Redo
	if !redo.Known() || end <= redo {
		return 0
	}
	rate := o.Recovery.Rate
	if rate <= 0 {
		rate = usualReplay
	}
	return time.Duration(float64(end-redo) / float64(rate) * float64(time.Second))
}

// recoversTooLong says why a crashed primary is better replaced than recovered; empty
// when it is not. Synchronous commits are all elsewhere, and nothing is lost by that:
// then the quicker way is taken. Otherwise the operator's bound decides.
func recoversTooLong(o *Observation) string {
	takes, limit := recoveryTakes(o), o.Settings.PrimaryStartTimeout
	switch {
	case o.Node.Value.Control.State.Clean():
		return ""
	case limit == 0:
		return "the server crashed and primary_start_timeout is 0"
	case takes > limit:
		return fmt.Sprintf("the server crashed, and its recovery would take %s, longer than primary_start_timeout (%s)", lasting(takes), lasting(limit))
	case takes > electionTakes && len(o.View.Value.Durability.Asking()) > 0:
		if _, found := heir(o); found { // guard: quick_heir_of_a_crash — L1: nobody could win, and the recovery here is all there is
			return fmt.Sprintf("the server crashed, and its recovery would take %s: a synchronous standby is quicker", lasting(takes))
		}
	}
	return ""
}
