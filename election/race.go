package election

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// noBeat identifies the vacancy of a cluster whose holder never beat.
const noBeat = 1

// waitUntil is when a candidate may act: T after this process last saw the beat
// change, on its own clock (SAFETY 2, A candidate). Exempt: a release its holder
// wrote under its term after its server was proved stopped, with no beat since; and
// the last holder itself. A holder that never beat is a Patroni one: then the lease is
// all there is.
func waitUntil(o *Observation) cluster.Instant {
	v := &o.View.Value
	switch {
	case v.Beat == nil:
		return 0
	case v.Leader == nil && v.Release != nil && v.Release.BeatRevision == v.Beat.ModRevision: // guard: release_names_beat — SAFETY 2
		return 0
	case v.Leader == nil && ownSilence(o):
		return 0
	case o.Beat.Revision != v.Beat.ModRevision: // not seen yet on our clock
		return o.Now.Add(beatTTL(o))
	}
	return o.Beat.At.Add(beatTTL(o)) // guard: wait_beat — SAFETY 2
}

// ownSilence: the holder that others wait for is this very process, whose key is gone: an
// operator deleted it, or etcd ended a lease that was kept. Every transaction that takes the
// key beats, so nobody has held it since the last beat of the term that was lost; Patroni's
// do not. That this member's own server does not write meanwhile is decided before a race.
func ownSilence(o *Observation) bool {
	v, ended := &o.View.Value, o.Self.Ended
	mine := ended != 0 && (v.Beat.Term == ended || v.Beat.ModRevision == int64(ended)) // guard: own_beat_alone — SAFETY 2, docs/decisions/0020
	return mine && lastHolder(v, o.Self.Name) &&
		!(v.HasPatroni() || o.Self.PatroniLed) // guard: own_beat_and_no_patroni — SAFETY 2, docs/decisions/0020
}

// beatTTL is the longer of the T that the beat, which there is, names and the T
// configured now.
func beatTTL(o *Observation) time.Duration {
	t := o.Settings.TTL
	if named := time.Duration(o.View.Value.Beat.TTL) * time.Millisecond; named > t { // guard: longer_ttl_counts — SAFETY 2
		t = named
	}
	return t
}

// staleLeader: the key still stands, but its holder's beat did not change for T.
// Its guard has stopped the server by then (the deadline is s + T - margin and s
// precedes the beat we saw), so it may be taken over at once instead of waiting
// for etcd's expiry tick. Only for a holder whose own beat this is: without
// beats the lease is all there is. The transaction compares term and beat; a promise
// compares nothing, and a watch that tells nothing may be one that has lost its store.
func staleLeader(o *Observation) bool {
	return silentLeader(o) && o.Read >= waitUntil(o) // guard: silence_is_read — SAFETY 2, docs/decisions/0016
}

// silentLeader: as far as the watch tells, the holder's beat did not change for T.
func silentLeader(o *Observation) bool {
	v := &o.View.Value
	return o.View.Good() && v.Leader != nil && v.Beat != nil &&
		ownBeat(v) && // guard: stale_needs_own_beat — docs/decisions/0001
		o.Beat.Revision == v.Beat.ModRevision && o.Now >= waitUntil(o)
}

// WantsRead reports whether the store must be read for a silence to count.
func WantsRead(o *Observation) bool { return o.Lease.Term == 0 && silentLeader(o) && !staleLeader(o) }

// ownBeat: the beat was written by the present holder: by a renewal under its
// term, or by the very transaction that took the key.
func ownBeat(v *cluster.View) bool {
	return v.Beat.Term == v.Leader.Term || v.Beat.ModRevision == int64(v.Leader.Term)
}

// race: nobody holds the lease. The best standby takes it.
func race(o *Observation) Decision {
	v, node := &o.View.Value, &o.Node.Value
	switch {
	case !o.View.Good():
		return noStore(o, o.View.Err)
	case node.Mode == cluster.ModeStopped && node.Data == cluster.DataValid:
		return job(o, ReasonStartToRace, StartServer{})
	case v.PausedAt != nil && v.PausedAt.Name != o.Self.Name && !forced(o): // guard: paused_primary — SAFETY 2, Pause
		return wait(ReasonPausedElsewhere, v.PausedAt.Name+" was primary during the pause and has not said that it is not any more")
	case node.Mode == cluster.ModeStopped:
		return wait(ReasonWaitingForData, "no leader to clone from")
	case node.Mode == cluster.ModeStarting:
		return wait(ReasonNotHealthy, startingDetail(o))
	case node.Mode != cluster.ModeStandby:
		return wait(ReasonNotHealthy, "the server is "+node.Mode.String())
	case o.Self.Tags.NoFailover() && !votes(o): // nobody wants to know its position: compete has the guard
		return wait(ReasonNoFailover, "tagged nofailover")
	case o.Self.Strayed && othersCouldLead(o) && o.Now < raceBegan(o).Add(strayedPatience): // guard: strayed_reports_nothing — S8: nobody streams from it either
		d := wait(ReasonSickCandidate, strayedDetail)
		d.wakeAt(raceBegan(o).Add(strayedPatience))
		return d
	case pledged(o): // guard: pledge_votes_for_nobody — SAFETY 3, Failsafe
		return byPledge(o)
	case o.Node.At < o.Vacancy:
		d := wait(ReasonLooking, "")
		d.Look = true
		return d
	}
	if d, ok := revoke(o); ok {
		return d
	}
	if d, ok := readsOwnWAL(o); ok {
		return d
	}
	return compete(o)
}

// strayedDetail is why data that came out of recovery on a timeline of another is of no use.
const strayedDetail = "this data was written to on a timeline that is another primary's; it is cloned as soon as somebody leads"

// readsOwnWAL: a standby that was started again has yet to read what is in its own
// directory. It has flushed, and may have confirmed, more than it has replayed; to report
// what it has replayed would have commits lost that it has (trap 5). Where commits wait for
// standbys that is waited for. Elsewhere nothing hangs on it but who has the most, for
// which a while must do: its replay may be paused, or delayed for hours.
func readsOwnWAL(o *Observation) (Decision, bool) {
	until := raceBegan(o).Add(startGrace)
	if o.Node.Value.EndKnown || forced(o) || !votes(o) && o.Now >= until { // guard: end_known — SAFETY 3
		return Decision{}, false
	}
	d := wait(ReasonReadingOwnWAL, fmt.Sprintf("replayed up to %s; how far its own WAL reaches is not known yet", o.Node.Value.ReplayLSN))
	d.lookAgain(o)
	if !votes(o) {
		d.wakeAt(until)
	}
	return d, true
}

// forced: the operator vouches for the old primary being dead. Who names that very member
// as the next primary does not, nor who names nobody that is there to lead.
func forced(o *Observation) bool {
	v := &o.View.Value
	f := v.Failover
	if f.Empty() || !f.Force {
		return false
	}
	if _, known := v.Members[f.Member]; !known { // guard: forced_names_a_member — SAFETY 2, Pause: who names nobody vouches for nothing
		return false
	}
	return !lastHolder(v, f.Member) && (v.PausedAt == nil || v.PausedAt.Name != f.Member) // guard: named_is_not_dead — SAFETY 2, Pause
}

// compete reports this node's position and acts when it is its turn.
func compete(o *Observation) Decision {
	mine := ownReport(o)
	say := Say{Vacancy: vacancy(o), Position: &mine.position}
	d := standing(o, mine)
	if ill, sick := tooSick(o); sick { // guard: sick_candidate — L1: a server that cannot serve is not promoted
		d = ill
	}
	if why := o.Self.NoWatchdog; why != "" { // guard: watchdog_candidate — S1, watchdog: its guard would refuse the promotion
		d = wait(ReasonNoWatchdog, why)
	}
	if o.Self.Tags.NoFailover() { // guard: nofailover — a copy that others must know of, and no candidate
		d = wait(ReasonNoFailover, "tagged nofailover; its position is reported")
	}
	d.Say = say
	return d
}

// vacancy identifies the absence of a holder that is raced for.
func vacancy(o *Observation) int64 {
	if b := o.View.Value.Beat; b != nil {
		return b.ModRevision
	}
	return noBeat
}

// standing is this node's place in the race.
func standing(o *Observation, mine report) Decision {
	if d, ok := named(o, mine); ok {
		return d
	}
	record := o.View.Value.Durability
	if d, unfit := unfit(o, mine); unfit && record.Lax() && !patroniLeft(o) { // otherwise positions are proved, and nothing is estimated
		return d
	}
	until := waitUntil(o)
	if o.Now < until && !goneForMost(o) {
		d := wait(ReasonWaitingForLease, fmt.Sprintf("the last holder may be alive for %s more", until.Sub(o.Now).Round(time.Millisecond)))
		d.wakeAt(until)
		return d
	}
	if votes(o) {
		return elect(o, mine)
	}
	began := raceBegan(o)
	best, missing, coming := field(o, mine)
	switch {
	case olderTimeline(o, mine) && o.Now < began.Add(o.Settings.TTL): // guard: old_timeline_goes_last — trap 6
		// Somebody who has seen it may be about to come; if nobody does, what was
		// written there is what asynchronous replication may lose.
		d := wait(ReasonOldTimeline, fmt.Sprintf("on timeline %d, the primary was on %d; waiting for a member that has seen it",
			mine.position.Timeline, publishedOn(&o.View.Value)))
		d.wakeAt(began.Add(o.Settings.TTL))
		return d
	case len(missing) > 0 && o.Now < began.Add(reportGrace):
		d := wait(ReasonCollecting, "no report yet from "+strings.Join(missing, ", "))
		d.wakeAt(began.Add(reportGrace))
		return d
	case len(coming) > 0 && o.Now < began.Add(startGrace):
		// After a power cut everybody comes back, and not at the same moment: the
		// first to be up need not be the one with the most.
		d := wait(ReasonCollecting, strings.Join(coming, ", ")+" is starting and may have more")
		d.wakeAt(began.Add(startGrace))
		return d
	case best.name != mine.name && o.Now < began.Add(reportGrace+candidatePatience): // guard: best_position — SAFETY 3
		d := wait(ReasonBetterCandidate, fmt.Sprintf("%s is at %s, this member at %s", best.name, best.position, mine.position))
		d.wakeAt(began.Add(reportGrace + candidatePatience))
		return d
	}
	return acquire(o, ReasonAcquiring)
}

// acquire takes the leader key, which must be absent, or exactly the stale term,
// with the beat where we saw it.
func acquire(o *Observation, reason cluster.Reason) Decision {
	v := &o.View.Value
	if unlisted(o, o.Self.Name) { // guard: unlisted_takes_nothing — SAFETY 3, Failsafe
		return wait(ReasonNotListed, "the last holder does not know this member, and may go on without its promise")
	}
	a := Acquire{FailsafeRevision: v.FailsafeRev, Failsafe: listedAnew(o), FailoverRevision: v.FailoverRev}
	if v.Leader != nil {
		a.LeaderTerm = v.Leader.Term
	}
	if v.Beat != nil {
		a.BeatRevision = v.Beat.ModRevision
	}
	if v.PausedAt != nil {
		a.PausedRevision = v.PausedAt.ModRevision
	}
	if v.Durability != nil {
		a.DurabilityRevision = v.Durability.ModRevision
	}
	if v.Sync != nil {
		a.SyncRevision = v.Sync.ModRevision
	}
	d := wait(reason, "")
	next := o.Lease.Tried.Add(retryPause)
	if o.Lease.Busy == "" && o.Now >= next && o.Self.MemberLease != 0 && o.Guard.Connected {
		d.Actions = []Action{a}
		return d
	}
	d.wakeAt(next)
	return d
}

// named handles a failover that names its candidate while nobody leads. A
// switchover whose primary died on the way is no licence to lose data: its
// candidate must be fit like any other.
func named(o *Observation, mine report) (Decision, bool) {
	f := o.View.Value.Failover
	if f.Empty() || f.Member == "" || !o.Wish.FailoverDue {
		return Decision{}, false
	}
	until := waitUntil(o)
	if f.Member == o.Self.Name {
		if d, bad := unfit(o, mine); bad && f.Leader != "" && o.View.Value.Durability.Lax() { // guard: switchover_candidate_fit
			return d, true
		}
		if o.Now < until {
			d := wait(ReasonWaitingForLease, "named as candidate; the last holder may be alive")
			d.wakeAt(until)
			return d, true
		}
		if votes(o) && !f.Force { // guard: named_keeps_commits — SAFETY 3
			return elect(o, mine), true
		}
		return passing(o, mine, acquire(o, ReasonAcquiring)), true
	}
	patience := max(until, o.Vacancy).Add(namedPatience)
	if m, ok := o.View.Value.Members[f.Member]; ok && m.State == cluster.StateRunning && o.Now < patience {
		d := wait(ReasonNamedCandidate, f.Member+" was named as the new primary")
		d.wakeAt(patience)
		return d, true
	}
	return Decision{}, false
}

// passing has the term that d takes know whether the rules of the record are satisfied, or
// passed over by an operator's word.
func passing(o *Observation, mine report, d Decision) Decision {
	for i, a := range d.Actions {
		if a, ok := a.(Acquire); ok && forced(o) && votes(o) {
			a.Passed = !slices.ContainsFunc(elect(o, mine).Actions, acquires)
			d.Actions[i] = a
		}
	}
	return d
}

// acquires reports whether a takes the leader key that nobody holds.
func acquires(a Action) bool {
	_, ok := a.(Acquire)
	return ok
}

// Vacant reports whether the lease is to be raced for: nobody provably holds it, since
// the key is absent or its holder's beat stopped for T, or most find the holder's node
// gone.
func Vacant(o *Observation) bool {
	return !o.View.At.Never() && (o.View.Value.Leader == nil || o.Lease.Term == 0 && (staleLeader(o) || goneForMost(o)))
}
