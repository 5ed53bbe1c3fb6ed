package agent

import (
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// publication is what the member key says.
type publication struct {
	// wrote is the key as last written, sent the one under way.
	wrote, sent *cluster.Member
	// draft is what it would say now, made anew in every step; draftKeeper is its
	// part of that name.
	draft       cluster.Member
	draftKeeper cluster.MemberKeeper
	at          cluster.Instant
	retryAt     cluster.Instant
	due         cluster.Instant
}

func (p *publication) forget() { p.wrote = nil }

func (p *publication) done(ok bool, now cluster.Instant) {
	if ok {
		p.wrote, p.at = p.sent, now
	} else {
		p.retryAt = now.Add(keysPause)
	}
	p.sent = nil
}

// keepMember writes the member key when it would say something new: at once, but
// positions that merely moved wait for loop_wait.
func (l *Loop) keepMember() []Effect {
	l.member.due = l.member.retryAt
	if l.busy[LaneMember] || l.session.lease == 0 || l.obs.Node.At.Never() || l.obs.Now < l.member.retryAt {
		return nil
	}
	if l.overwritten() {
		l.member.forget()
	}
	l.member.due = 0
	m, wrote := l.memberNow(), l.member.wrote
	if wrote != nil && m.OnlyMoved(wrote) {
		if !m.Moved(wrote) {
			return nil
		}
		// A tenth sooner, so that it is the look that finds it due, and not a step of its own.
		wait := l.obs.Settings.LoopWait
		if due := l.member.at.Add(wait - wait/10); l.obs.Now < due {
			l.member.due = due
			return nil
		}
	}
	l.busy[LaneMember] = true
	sent, keeper := *m, *m.Keeper
	sent.Keeper = &keeper
	l.member.sent = &sent
	return []Effect{{Lane: LaneMember, Limit: l.obs.Settings.RetryTimeout, Do: PutMember{&sent}}}
}

// overwritten: the store shows the key gone, on another lease than ours, or without
// our promise, well after it was written. A write that came late does that: the key would
// vanish with an earlier session's lease, and nobody could follow this member; or the
// holder would never learn of the promise that keeps this member from following.
func (l *Loop) overwritten() bool {
	view := &l.obs.View
	if l.member.wrote == nil || !view.Good() || view.At < l.member.at.Add(keysPause) {
		return false
	}
	m, there := view.Value.Members[l.id.Name]
	return !there || m.LeaseID != l.session.lease || promisedIn(&m) != promisedIn(l.member.wrote)
}

func promisedIn(m *cluster.Member) cluster.Term {
	if m.Keeper == nil {
		return 0
	}
	return m.Keeper.Promised
}

func (l *Loop) nextPublish() cluster.Instant { return l.member.due }

// memberNow is what the member key must say; the next call changes it.
func (l *Loop) memberNow() *cluster.Member {
	o := &l.obs
	node := &o.Node.Value
	m, k := &l.member.draft, &l.member.draftKeeper
	sick, progress := election.Sickness(o), o.Job.Progress
	if sick != "" && progress == "" {
		progress = "sick: " + sick.String() // where lists of members have room for it
	}
	*k = cluster.MemberKeeper{
		Version: l.id.Version, Node: l.id.Node, Reason: l.decision.Reason, Progress: progress, Promised: l.obs.Self.Promised,
		Vacancy: l.decision.Say.Vacancy, Position: l.decision.Say.Position, Switchover: l.decision.Say.Switchover, Gone: l.decision.Say.Gone,
		Gate: node.Gate, SyncCommit: node.SyncCommit, Sick: sick, Watchdog: l.watchdog.State,
		Pooler: l.pooler.State, Held: l.pooler.Held,
	}
	if l.store != nil {
		k.StoreTroubles = l.store.Troubles
	}
	*m = cluster.Member{
		Name: l.id.Name, ConnURL: l.id.ConnURL, APIURL: l.id.APIURL, ProxyURL: l.id.ProxyURL,
		State: l.state(), Role: l.role(), Version: cluster.PatroniVersion, Tags: o.Self.Tags,
		PendingRestart: len(node.PendingRestart) > 0, PendingReason: node.PendingRestart,
		Timeline: node.Timeline, Pause: o.Settings.Pause,
		Keeper: k,
	}
	if s := l.server.scheduled; s != nil {
		m.ScheduledRestart = map[string]any{"schedule": s.Schedule, "postmaster_start_time": node.PostmasterTime}
	}
	if node.Mode.Running() {
		m.XlogLocation = node.Position().LSN
	}
	if node.Mode == cluster.ModeStandby {
		m.ReceiveLSN, m.ReplayLSN = node.ReceiveLSN, node.ReplayLSN
		m.ReplicationState = replicationState(node)
	}
	if node.Mode == cluster.ModePrimary && !o.Self.Checkpointed {
		m.CheckpointAfterPromote = new(bool)
	}
	return m
}

func replicationState(node *cluster.NodeState) string {
	if node.Receiver != nil && node.Receiver.Status == "streaming" {
		return "streaming"
	}
	return "in archive recovery"
}

// role is what this member calls itself.
func (l *Loop) role() cluster.Role {
	node := &l.obs.Node.Value
	switch {
	case node.Data != cluster.DataValid:
		return cluster.RoleUninitialized
	case node.Mode == cluster.ModePrimary && l.obs.Lease.Term != 0:
		return cluster.RolePrimary
	case l.obs.Job.Kind == election.JobPromote:
		return cluster.RolePromoted
	case node.Mode == cluster.ModePrimary:
		return cluster.RoleDemoted
	}
	return cluster.RoleReplica
}

// state is the state this member shows.
func (l *Loop) state() cluster.State {
	switch l.obs.Job.Kind {
	case election.JobInitDB:
		return cluster.StateInitializing
	case election.JobClone:
		return cluster.StateCreating
	case election.JobRestart:
		return cluster.StateRestarting
	case election.JobStop:
		return cluster.StateStopping
	}
	switch l.obs.Node.Value.Mode {
	case cluster.ModeStandby, cluster.ModePrimary:
		if !l.obs.Guard.Running {
			return cluster.StateCrashed
		}
		return cluster.StateRunning
	case cluster.ModeStarting:
		return cluster.StateStarting
	case cluster.ModeStopping:
		return cluster.StateStopping
	}
	if l.obs.Job.LastErr != "" {
		switch l.obs.Job.Last {
		case election.JobStart:
			return cluster.StateStartFailed
		case election.JobInitDB, election.JobNone: // none: its claim has been given up
			return cluster.StateInitFailed
		}
	}
	return cluster.StateStopped
}

// Status is the agent's whole answer to anybody who asks, made after each step.
func (l *Loop) Status(dcsSeen int64) *cluster.Status {
	s := &cluster.Status{}
	l.Fill(s, dcsSeen)
	return s
}

// Fill makes the status in s, for a driver that shows it to nobody else.
func (l *Loop) Fill(s *cluster.Status, dcsSeen int64) {
	o := &l.obs
	to := l.seen.Pledge.To
	if o.Now >= o.Self.Pledged {
		to = ""
	}
	*s = cluster.Status{
		Scope: l.id.Scope, Name: l.id.Name, Version: l.id.Version,
		Node: o.Node, LookTook: o.LookTook, View: o.View, Role: l.role(), State: l.state(),
		Reason: l.decision.Reason, ReasonSince: l.since, Detail: l.decision.Detail, NoCandidate: election.NoCandidate(o, l.decision.Reason),
		Term: o.Lease.Term, LeaseUntil: l.leaseUntil(),
		Settings: o.Settings, ConfigRaw: l.config.raw, ConfigError: l.config.problem,
		Tags: o.Self.Tags, PendingRestart: o.Node.Value.PendingRestart, ScheduledRestart: l.server.scheduled,
		Unconfirmed: election.Unconfirmed(o), Sick: election.Sickness(o), Failsafe: election.FailsafeActive(o), PledgedTo: to, Pledged: o.Self.Pledged,
		Job: string(o.Job.Kind), Progress: l.obs.Job.Progress, LoopAt: o.Now, DCSSeen: dcsSeen, Store: l.store, Watchdog: l.watchdog, Pooler: l.pooler.State,
	}
}

// leaseUntil is the guard's deadline for the term held; in pause the guard keeps
// none, and the lease itself is the bound.
func (l *Loop) leaseUntil() cluster.Instant {
	if l.obs.Lease.Term == 0 {
		return 0
	}
	return l.obs.Guard.Deadline
}
