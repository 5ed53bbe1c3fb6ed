package agent

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// fastEvery is between two cheap looks while somebody waits for the server's
// next state; lookPause between two looks of which the first failed.
const (
	fastEvery = 5 * time.Millisecond
	lookPause = 50 * time.Millisecond
	// syncLook is between two looks at the standbys that commits wait for.
	syncLook = 250 * time.Millisecond
)

// keep is what is kept up whatever was decided: the member lease and key, the
// looks, the server's configuration, the guard's pause, answers.
func (l *Loop) keep() []Effect {
	effects := l.keepPause()
	effects = with(effects, l.keepWrites())
	effects = with(effects, l.keepTenure())
	effects = with(effects, l.keepRecovered())
	effects = with(effects, l.keepRead())
	effects = with(effects, l.keepSession())
	effects = with(effects, l.keepMember())
	effects = with(effects, l.keepAnswers())
	effects = with(effects, l.keepConfigured())
	effects = with(effects, l.keepJob())
	effects = with(effects, l.keepNaming())
	return with(effects, l.keepLooking())
}

// keepsSince reports whether keep might do more than look, and end work that nobody wants,
// since it ran at before and nothing happened but that time has passed. It is nearly
// never so. All of it that depends on time has one at which the loop asks to be woken, but
// for a lease of another length than is wanted, and what ails this member.
func (l *Loop) keepsSince(before cluster.Instant) bool {
	for _, at := range [...]cluster.Instant{l.nextKeepAlive(), l.nextPublish(), l.keys.retryAt, l.server.retryAt, l.server.checkpointAt, l.config.retryAt, l.config.pauseAt} {
		if at > before && at <= l.obs.Now {
			return true
		}
	}
	return election.WantsRead(&l.obs) || l.session.ttl != l.config.settings.TTL || !l.obs.Self.GaveUp.Never() || !l.obs.Health.Well()
}

// with adds effects to others; most steps have none, or one, which is not copied.
func with(effects, more []Effect) []Effect {
	if len(effects) == 0 {
		return more
	}
	return append(effects, more...)
}

// keepPause has the guard enforce its deadline exactly when the safety argument
// wants it to: for a server that may write it is lifted only while the store holds
// our mark of the pause, and stands again from the first renewal after it.
func (l *Loop) keepPause() []Effect {
	o := &l.obs
	want := o.Settings.Pause
	if o.Guard.Writable || l.mayBegin() { // guard: pause_spares_no_promotion — SAFETY 2, Pause
		want = election.DeadlineLifted(o)
	}
	told := want == o.Guard.Paused && (want || !o.Guard.MayPause)
	if !o.Guard.Connected || l.config.pausing || told || o.Now < l.config.pauseAt {
		return nil
	}
	if !want && o.Guard.Writable && (o.Lease.Term == 0 || o.Now >= o.Guard.Deadline) {
		return nil // the guard would refuse: a writable server needs a deadline first
	}
	l.config.pausing, o.Guard.MayPause = true, o.Guard.MayPause || want
	return []Effect{{Lane: LaneGuard, Limit: guardLimit, Do: GuardPause{On: want}}}
}

// keepWrites has the guard know that its server writes where it was not the guard that promoted it: an operator did in a
// pause, or a promotion before this guard's time. A server that it takes for a standby it would not stop at the deadline;
// until it knows, nothing is renewed (election).
func (l *Loop) keepWrites() []Effect {
	if !election.WritesUnknown(&l.obs) || !l.server.told.Never() && l.obs.Now < l.server.told.Add(time.Second) {
		return nil
	}
	l.server.told = l.obs.Now
	l.log.Warn("server writes that the guard takes for a standby", "member", l.id.Name, "reason", "it was promoted past the guard")
	return []Effect{{Lane: LaneGuard, Limit: guardLimit, Do: GuardWrites{l.instance()}}}
}

// mayBegin: the job under way may make the server one that writes, or has done so
// already; the loop hears of that at its end.
func (l *Loop) mayBegin() bool {
	switch l.obs.Job.Kind {
	case election.JobPromote, election.JobStart, election.JobRestart:
		return true
	}
	return false
}

// keepRead has the store read where the watch is not enough: before a beat that stands still counts, which is also what a
// watch shows that has lost its store, and after a comparison has failed that the view may not explain.
func (l *Loop) keepRead() []Effect {
	if l.reads.busy || !l.obs.View.Good() || !l.reads.wanted && !election.WantsRead(&l.obs) {
		return nil
	}
	l.reads.busy, l.reads.wanted = true, false
	return []Effect{{Lane: LaneStore, Do: ReadStore{}}}
}

// keepSession has a member lease of the configured length, and keeps it alive
// where no renewal does. While a primary holds, its renewals do.
func (l *Loop) keepSession() []Effect {
	if l.busy[LaneMember] || l.obs.View.At.Never() || !l.obs.View.Good() {
		return nil
	}
	want := l.config.settings.TTL
	switch {
	case l.session.lease == 0 || l.session.ttl != want && l.obs.Lease.Term == 0:
		// A call on the leader key may bring a session of its own (a regrant), also
		// one whose term was given up meanwhile: two would leave the leader key on
		// one lease and the member key on another, which nobody keeps alive.
		if l.busy[LaneLease] || l.obs.Now < l.session.tried.Add(lookPause) {
			return nil
		}
		l.busy[LaneMember], l.session.opening = true, true
		l.session.tried = l.obs.Now
		return []Effect{{Lane: LaneMember, Limit: l.obs.Settings.RetryTimeout, Do: OpenSession{TTL: want, Resume: l.resumable(want)}}}
	case l.session.ttl != want && l.obs.Lease.Busy == "" && !l.busy[LaneLease] && l.obs.Lease.Condemned == "" && // it would renew
		!election.FailsafeActive(&l.obs): // and compare a key that may be gone, again and again, before it can be taken anew
		return l.regrant(want)
	case l.obs.Lease.Term == 0 && l.obs.Now >= l.nextKeepAlive():
		l.busy[LaneMember] = true
		l.session.tried = l.obs.Now
		return []Effect{{Lane: LaneMember, Limit: l.obs.Settings.Attempt(), Do: KeepAlive{}}}
	}
	return nil
}

// regrant moves a holder to a lease of another length: the key is put again on
// the new lease, which is a new term.
func (l *Loop) regrant(ttl time.Duration) []Effect {
	l.busy[LaneLease] = true
	l.obs.Lease.Busy, l.obs.Lease.Tried = "regrant", l.obs.Now
	settings := l.obs.Settings
	settings.TTL = ttl
	if l.session.shortest == 0 || ttl < l.session.shortest {
		l.session.shortest = ttl
	}
	a := election.Inherit{Term: l.obs.Lease.Term}
	do := OnLease{Action: a, Settings: settings, Holder: l.holder(),
		Margin: settings.Margin(l.obs.Guard.LastKill), Term: l.obs.Lease.Term, Deadline: l.obs.Guard.Deadline, Renewed: l.obs.Lease.Renewed}
	do.Holder.Since = l.began(a)
	l.shorten(&do)
	return []Effect{{Lane: LaneLease, Limit: l.obs.Settings.Attempt(), Do: do}}
}

// resumable is the lease a worker before this one left under our leader key, if
// it is of the wanted length.
func (l *Loop) resumable(ttl time.Duration) int64 {
	v := l.obs.View.Value
	if v.Leader == nil || v.Leader.Name != l.id.Name || v.Beat == nil || v.Beat.TTL != ttl.Milliseconds() {
		return 0
	}
	if v.Holder == nil || v.Holder.Node != l.id.Node || v.Holder.BootID != l.id.BootID {
		return 0
	}
	return v.Leader.LeaseID
}

// nextKeepAlive is when the member lease is due; sooner again after a failure, and at
// once when there is none.
func (l *Loop) nextKeepAlive() cluster.Instant {
	switch {
	case l.session.lease == 0 && !l.session.tried.Never():
		return l.session.tried.Add(lookPause)
	case l.session.lease == 0 || l.obs.Lease.Term != 0:
		return 0
	}
	every := l.obs.Settings.KeepEvery()
	return max(l.session.kept.Add(every), l.session.tried.Add(every/4))
}

// keepAnswers writes the answers that are due, one at a time.
func (l *Loop) keepAnswers() []Effect {
	if len(l.keys.answers) == 0 || l.busy[LaneKeys] || l.obs.Now < l.keys.retryAt || l.session.lease == 0 {
		return nil
	}
	a := l.keys.answers[0]
	l.keys.answers = l.keys.answers[1:]
	return l.onKeys(a)
}

// keepConfigured brings a changed dynamic configuration to a running server.
func (l *Loop) keepConfigured() []Effect {
	if !l.obs.Node.Good() || !l.obs.Node.Value.Mode.Running() || l.obs.Job.Kind != election.JobNone || l.config.applied == l.config.rev {
		return nil
	}
	if l.config.refused == l.config.rev && l.obs.Now < l.config.retryAt {
		return nil
	}
	up, known := election.UpstreamOf(&l.obs)
	if l.obs.Node.Value.Mode == cluster.ModeStandby {
		if !known {
			return nil // the recovery section would lose its upstream
		}
		points := election.PointsAt(&l.obs, up) && l.obs.Node.At >= l.server.followedAt
		if l.obs.Settings.Pause && !points { // guard: paused_repoints_nobody — S6: the files say whom to follow
			return nil
		}
	}
	effects := l.onServer(election.Reload{}, &up)
	if len(effects) > 0 {
		l.config.applied = l.config.rev
	}
	return effects
}

// keepJob ends work that nobody wants any more.
func (l *Loop) keepJob() []Effect {
	kind := l.obs.Job.Kind
	cancelable := kind == election.JobClone || kind == election.JobRejoin || kind == election.JobInitDB || kind == election.JobStart
	given := l.obs.Lease.Condemned != "" && kind != election.JobNone && kind != election.JobStop
	if l.obs.Wish.Stop && cancelable || given || l.deposed() {
		return []Effect{{Lane: LaneJob, Do: Cancel{}}}
	}
	return nil
}

// deposed: another leads by now than whom the job copies. From one that is frozen it would
// wait for ever, and whatever else ends a primary ends the copy too. A standby that is
// copied goes on.
func (l *Loop) deposed() bool {
	o := &l.obs
	leader := o.View.Value.Leader
	return l.server.source != "" && !l.server.lent && o.View.Good() && !o.Settings.Pause && leader != nil && leader.Name != l.server.source
}

// keepLooking looks when it is time, or when something happened.
func (l *Loop) keepLooking() []Effect {
	if l.busy[LaneLook] || !l.obs.Guard.Connected {
		return nil
	}
	o := &l.obs
	if o.Now < l.nextLook() {
		return nil
	}
	cheap := l.decision.FastLook || l.looks.watching && o.Now < l.looks.whole.Add(o.Settings.LoopWait)
	fast := cheap && !l.looks.wanted && o.Node.Good() && o.Node.Value.Mode.Running()
	if !fast {
		l.looks.whole = o.Now
	}
	l.busy[LaneLook] = true
	l.looks.began, l.looks.wanted = o.Now, false
	return []Effect{{Lane: LaneLook, Limit: l.obs.Settings.Attempt(), Do: Look{
		Fast: fast, Running: o.Guard.Running, Instance: l.instance()}}}
}

// nextLook is when the server is to be looked at again.
func (l *Loop) nextLook() cluster.Instant {
	o := &l.obs
	switch {
	case l.busy[LaneLook], !o.Guard.Connected: // both end with an event
		return o.Now.Add(time.Second)
	case l.looks.wanted && !l.looks.failed:
		return l.looks.began.Add(time.Millisecond)
	case l.looks.wanted || !o.Node.Good():
		return l.looks.began.Add(lookPause)
	case l.decision.FastLook:
		return l.looks.began.Add(fastEvery)
	case o.Lease.Term != 0 && o.View.Value.Durability.Asks(): // a standby that is lost keeps commits waiting
		return l.looks.began.Add(min(syncLook, o.Settings.RenewEvery()))
	case o.Lease.Term != 0:
		return l.looks.began.Add(o.Settings.RenewEvery())
	case l.looks.watching:
		return l.looks.began.Add(l.watchEvery())
	}
	return l.looks.began.Add(o.Settings.LoopWait)
}
