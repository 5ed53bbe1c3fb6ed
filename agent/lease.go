package agent

import (
	"context"
	"log/slog"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// foldLease takes the end of a call on the leader key. Only an outcome that says
// the term is lost, or that it went on, changes what is held; a failure changes
// nothing, and the deadline that was set stays the only bound.
func (l *Loop) foldLease(e LeaseDone) []Effect {
	o := &l.obs
	l.busy[LaneLease] = false
	o.Lease.Busy, o.Lease.Giving, o.Lease.FailedAt = "", false, 0
	if e.Outcome != Succeeded {
		o.Lease.FailedAt = o.Now
	}
	l.reads.wanted = l.reads.wanted || e.Outcome == Refused // what was compared came from the view
	if e.Outcome != Succeeded && e.Err != "" {
		level := slog.LevelInfo
		if election.FailsafeActive(o) { // again and again, as long as etcd is away
			level = slog.LevelDebug
		}
		l.log.Log(context.Background(), level, "leader key call failed", "member", l.id.Name, "action", actionName(e.Action), "error", e.Err)
	}
	// The view shows a reserved number in a moment; a promotion need not wait for that,
	// nor the number be reserved twice.
	if shown := o.View.Value.Timelines; e.Timelines != nil && (shown == nil || shown.ModRevision < e.Timelines.ModRevision) {
		o.View.Value.Timelines = e.Timelines
	}
	switch e.Action.(type) {
	case election.Renew:
		return l.foldRenew(e)
	case election.Acquire, election.Inherit, election.Accept, election.FinishBootstrap:
		l.foldTaken(e)
		if e.Outcome == Succeeded {
			return l.unpledge()
		}
	case election.HandOver, election.Release:
		return l.foldGiven(e)
	case election.Settle:
		return l.foldSettled(e)
	case election.ClaimInitialize:
		if e.Outcome == Succeeded {
			o.Self.InitRevision = e.Revision
		}
	case election.AbandonInitialize:
		if e.Outcome == Succeeded || e.Outcome == Refused { // otherwise it may still stand, and nobody else could claim
			l.abandoned, o.Self.InitRevision = o.Self.InitRevision, 0
			o.Job.Last = election.JobNone
		}
	}
	if e.Outcome == LeaseGone {
		l.loseSession()
	}
	return nil
}

func (l *Loop) loseSession() {
	l.session = session{ttl: l.session.ttl, tried: l.obs.Now}
	l.member.forget()
}

// foldRenew: a renewal counts only when its transaction committed; then the lease
// runs from before its keepalive left. A refused one ends the term at once.
func (l *Loop) foldRenew(e LeaseDone) []Effect {
	o := &l.obs
	switch {
	case e.Term != o.Lease.Term: // of a term that was lost meanwhile
	case e.Outcome == Succeeded: // guard: renewal_counts_when_committed — SAFETY 2
		l.counted(e.At)
	case e.Outcome == Refused, e.Outcome == LeaseGone: // guard: refused_renewal_ends_term — SAFETY 2
		if e.Outcome == LeaseGone {
			l.loseSession()
		}
		if election.FailsafeActive(o) { // the members' promises hold, whatever became of the lease
			return nil
		}
		return l.lose()
	}
	return nil
}

// counted moves what this node may rely on: s, and the deadline the guard got.
func (l *Loop) counted(s cluster.Instant) {
	o := &l.obs
	o.Lease.Renewed, o.Lease.Counted = s, o.Now
	l.session.kept, l.session.tried = s, s
	o.Guard.Deadline = max(s.Add(o.Settings.TTL-o.Settings.Margin(o.Guard.LastKill)), o.Lease.AgreedUntil)
}

// lose forgets the term and has the guard end it.
func (l *Loop) lose() []Effect {
	term := l.obs.Lease.Term
	l.obs.Lease = election.Lease{Tried: l.obs.Lease.Tried, FailedAt: l.obs.Lease.FailedAt}
	l.past(term)
	l.log.Warn("lease lost", "member", l.id.Name, "term", int64(term))
	return []Effect{{Lane: LaneGuard, Limit: guardLimit, Do: GuardEnd{Term: term}}}
}

// notShown is why a view counts for nothing.
const notShown = "the view does not show our own write yet"

// past notes a term that was held and is no more. A view of before it would have this member
// take up again what gave it that term.
func (l *Loop) past(term cluster.Term) {
	l.obs.Self.Ended = max(l.obs.Self.Ended, term)
	if l.reads.past, l.reads.pastAt = max(l.reads.past, int64(term)), l.obs.Now; l.obs.View.Value.Revision < l.reads.past {
		l.obs.View = l.obs.View.Failed(notShown, l.obs.Now)
	}
}

func (l *Loop) foldTaken(e LeaseDone) {
	o := &l.obs
	if e.Outcome != Succeeded {
		return
	}
	o.Self.HandedOver = l.handedOver(e.Action)
	if o.Lease.Began = l.began(e.Action); o.Lease.Began == 0 {
		o.Lease.Began = e.Term
	}
	o.Lease.Term, o.Lease.Acquired, o.Lease.Unsettled, o.Lease.Resumed = e.Term, o.Now, false, false
	if _, goesOn := e.Action.(election.Inherit); !goesOn {
		acquired, _ := e.Action.(election.Acquire)
		o.Lease.Condemned, o.Lease.Passed = "", acquired.Passed
	}
	o.Lease.Agreed, o.Lease.AgreedUntil = 0, 0
	o.Failsafe.Lists, o.Failsafe.RecordUnclear, l.failsafe = nil, false, failsafeState{} // what was sent under another term fails
	o.Self.InitRevision, o.Self.MarksFrom = 0, min(o.Self.MarksFrom, int64(e.Term))
	o.Job.Failures = 0
	l.counted(e.At)
	l.looks.wanted = true
	l.log.Info("lease taken", "member", l.id.Name, "action", actionName(e.Action), "term", int64(e.Term))
}

// handedOver is the hand-over record that the tenure which now begins, or goes on
// under another term, has begun with.
func (l *Loop) handedOver(a election.Action) int64 {
	o := &l.obs
	h := o.View.Value.Handover
	inherit, goesOn := a.(election.Inherit)
	switch {
	case !goesOn || h == nil:
		return 0
	case h.ModRevision == int64(inherit.Term):
		return h.ModRevision
	}
	return o.Self.HandedOver
}

// began is the term that the tenure began with which a call on the leader key goes on with;
// 0 when it begins one.
func (l *Loop) began(a election.Action) cluster.Term {
	inherit, goesOn := a.(election.Inherit)
	if !goesOn {
		return 0
	}
	if began := l.obs.Lease.Began; began != 0 { // a lease of another length
		return began
	}
	v := &l.obs.View.Value
	ours := v.Beat != nil && (v.Beat.Term == inherit.Term || v.Beat.ModRevision == int64(inherit.Term)) // Patroni leaves an old record, and beats not
	if h := v.Holder; ours && h != nil && h.Since != 0 && h.Node == l.id.Node {
		return h.Since
	}
	return inherit.Term
}

// foldGiven: given away, refused (somebody else has it), or nobody knows.
func (l *Loop) foldGiven(e LeaseDone) []Effect {
	o := &l.obs
	switch e.Outcome {
	case Succeeded:
		l.log.Info("lease given", "member", l.id.Name, "action", actionName(e.Action), "term", int64(o.Lease.Term))
		term := max(o.Lease.Term, e.Term)
		o.View = o.View.Failed(notShown, o.Now)
		o.Lease = election.Lease{Tried: o.Lease.Tried, FailedAt: o.Lease.FailedAt}
		switch {
		case o.Guard.Ended.LSN.Known() && l.busy[LaneJob]: // the deadline stands until the exit, and what the server has yet to tidy up is not cut short
			l.server.gave = term
			return nil
		case o.Wish.Stop && !o.Guard.Running: // the guard itself is dismissed next
			return nil
		}
		return []Effect{{Lane: LaneGuard, Limit: guardLimit, Do: GuardEnd{Term: term}}}
	case Refused:
		// The comparison that failed may be the successor's lease (it died), not
		// the term: the view tells which. A lost term shows there.
		l.looks.wanted = true
	case Unknown:
		o.Lease.Unsettled = true // guard: unknown_is_unsettled — SAFETY 2, Release
	case Failed, LeaseGone:
	}
	return nil
}

func (l *Loop) foldSettled(e LeaseDone) []Effect {
	o := &l.obs
	switch e.Outcome {
	case Succeeded:
		o.Lease.Term, o.Lease.Unsettled = e.Term, false // no renewal: Renewed stays
	case Refused, LeaseGone:
		return l.lose()
	case Unknown:
		o.Lease.Unsettled = true // it may have put the key: the next settling finds out, and takes no newer term of ours for another's
	case Failed:
	}
	return nil
}
