package agent

import (
	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// fold takes one event into the observation; the effects are those an event needs
// whatever is decided.
func (l *Loop) fold(r clock.Reading, e Event) []Effect {
	switch e := e.(type) {
	case ViewSeen:
		return l.foldView(&e)
	case ViewFailed:
		l.obs.View, l.reads.busy = l.obs.View.Failed(e.Err, r.Boot), false
	case Looked:
		l.foldLook(&e)
	case GuardUp:
		return l.foldGuardUp(e.Status)
	case GuardDown:
		l.foldGuardDown(e.Err)
	case GuardSaid:
		l.foldGuardSaid(e.Event)
	case GuardFrozen:
		l.obs.Guard.Frozen = true
	case GuardAnswered:
		l.obs.Guard.Frozen = false
	case GuardKnows:
		if e.Err == "" && e.Instance == l.instance() {
			l.obs.Guard.Writable = true
		}
	case GuardPaused:
		l.config.pausing = false
		if e.Err != "" {
			l.config.pauseAt = l.obs.Now.Add(keysPause)
			return nil
		}
		l.obs.Guard.Paused, l.obs.Guard.MayPause, l.seen.Paused = e.On, e.On, e.On
		return l.persist()
	case SessionOpened:
		l.foldSession(e)
	case KeptAlive:
		l.foldKeptAlive(e)
	case MemberPut:
		l.busy[LaneMember] = false
		l.member.done(e.Err == "", r.Boot)
		if e.Lease != l.session.lease { // written on a lease that was given up meanwhile
			l.member.forget()
		}
	case LeaseDone:
		return l.foldLease(e)
	case KeysDone:
		l.foldKeys(e)
	case ServerDone:
		return l.foldServer(e)
	case JobDone:
		return l.foldJob(e)
	case FenceDone:
		l.foldFence(e)
	case ServerStarted:
		l.foldStarted(e.Server)
	case RereadDone:
		l.foldReread(e)
	case persisted:
		return append(l.foldPersisted(e), l.foldPledged(e)...)
	case FailsafeAsked:
		return l.foldAsked(e)
	case FailsafeDone:
		l.foldFailsafe(e)
	case StoreHealthSeen:
		l.store = &e.Health
	case PoolerSeen:
		l.pooler = e
	case WatchdogSeen:
		l.foldWatchdog(e.Watchdog)
	case Knocked:
		l.foldKnock(e)
	case SenderGone:
		l.looks.wanted = true
	case JobProgress:
		l.obs.Job.Progress, l.server.lent = e.Text, e.Lent
	case ShutDown:
		if e.Instance == l.instance() {
			l.obs.Guard.Ended = e.Position
		}
	case Probed:
		if c := l.obs.Health.Of(e.Check); c != nil {
			c.Note(e.Began, e.At, e.Ailment, e.Detail)
		}
	case ProbeLost:
		l.obs.Health = cluster.Health{}
	case StopWanted:
		l.obs.Wish.Stop, l.obs.Wish.Leave = true, e.Leave
	case Reloaded:
		l.obs.Self.Tags = e.Tags                                    // none where the file has none any more
		l.config.rev, l.config.applied, l.config.retryAt = 0, -1, 0 // local settings may have changed too
	}
	return nil
}

// persistEvery bounds how far the persisted revision lags behind the seen one, in
// revisions: each is an fsync, and a quiet cluster beats about once a second.
const persistEvery = 500

// foldLook takes a look, unless the server was replaced, or something else made
// looks old, after it began.
func (l *Loop) foldLook(e *Looked) {
	o := &l.obs
	l.busy[LaneLook] = false
	if e.Instance != l.instance() || e.At < l.looks.stale { // what it saw may be gone
		l.looks.wanted = true
		return
	}
	if a := l.server.restarted; a != nil { // said when the member key can say it too
		l.server.restarted = nil
		l.keys.answers = append(l.keys.answers, *a)
	}
	l.looks.failed, o.Looking = e.Err != "", false
	if e.Err != "" {
		o.Node = o.Node.Failed(e.Err, e.At)
		return
	}
	node := &e.Node
	if e.Fast {
		over := fastOver(o.Node.Value, node)
		node = &over
	}
	if born := node.CheckpointerPID; born != 0 && !e.Fast {
		if l.server.born.instance == e.Instance && l.server.born.checkpointer != born { // guard: backend_crash_is_noticed — SAFETY 3, trap 8
			l.log.Info("server recovered from the crash of a process", "member", l.id.Name)
			l.recovered(e.Instance)
		}
		l.server.born.instance, l.server.born.checkpointer = e.Instance, born
	}
	l.foldHeard(&o.Node.Value, node, e)
	o.Node, o.LookTook = cluster.Seen(*node, e.At), e.Took
	l.noteWritten()
	switch {
	case node.Mode != cluster.ModeStarting:
		o.Starting = 0
	case o.Starting.Never():
		o.Starting = o.Now
	}
	streaming := node.Receiver != nil && node.Receiver.Status == "streaming"
	switch {
	case node.Mode != cluster.ModeStandby || streaming:
		o.NotStreaming = 0
	case o.NotStreaming.Never():
		o.NotStreaming = o.Now
	}
}

// fastOver lays a cheap look over the last full one: it says mode, positions and
// whether there is a receiver only.
func fastOver(full cluster.NodeState, fast *cluster.NodeState) cluster.NodeState {
	full.Mode = fast.Mode
	if full.Receiver == nil || fast.Receiver == nil || full.Receiver.Timeline != fast.Receiver.Timeline {
		full.Receiver = fast.Receiver
	}
	full.WriteLSN = max(full.WriteLSN, fast.WriteLSN)
	full.ReceiveLSN, full.ReplayLSN, full.EndKnown = fast.ReceiveLSN, fast.ReplayLSN, fast.EndKnown
	if fast.Timeline != 0 && fast.Timeline != full.Timeline { // what the last one began on is not known of this one
		full.Timeline, full.TimelineHistory = fast.Timeline, nil
	}
	return full
}

// instance is the guard's server now; empty when it has none.
func (l *Loop) instance() string {
	if !l.obs.Guard.Running {
		return ""
	}
	return l.obs.Guard.Instance
}

func (l *Loop) foldGuardUp(st guard.Status) []Effect {
	g := &l.obs.Guard
	*g = election.Guard{Connected: true, LastKill: st.LastKill, Paused: st.Paused}
	if st.Armed || st.Deadline != 0 {
		g.Deadline = cluster.Instant(st.Deadline)
	}
	if st.EndedTerm < st.Term { // guard: resume_not_ended — S1
		g.Term = cluster.Term(st.Term)
	}
	if st.Server != nil {
		g.Running, g.Instance, g.Writable = true, st.Server.Instance, st.Server.Writable
		if g.Writable && g.Paused {
			l.obs.Self.MarksFrom = 0
		}
		if g.Instance == l.seen.Unconfirmed { // guard: recovered_is_remembered — SAFETY 3, trap 8
			l.obs.Sync.Recovered = true
		}
		l.config.gated = st.Gate != nil
		if st.Gate == nil && l.config.settings.CommitGate {
			l.config.applied, l.config.retryAt = -1, 0 // a guard that adopted the server knows of no gate: tell it
		}
	}
	l.stale("the guard was just connected")
	l.config.pausing, l.server.told = false, 0
	return nil
}

func (l *Loop) foldGuardDown(why string) {
	l.obs.Guard = election.Guard{LastKill: l.obs.Guard.LastKill}
	l.stale("no session with the guard: " + why)
}

// stale makes the last look count no more: what it saw may be gone.
func (l *Loop) stale(why string) {
	l.obs.Node = l.obs.Node.Failed(why, l.obs.Now)
	l.looks.wanted, l.looks.failed, l.looks.stale = true, false, l.obs.Now
	l.obs.Looking = true
}

func (l *Loop) foldGuardSaid(e guard.Event) {
	g := &l.obs.Guard
	switch e.Kind {
	case guard.Exited:
		l.server.exited = e.Instance
		if e.Instance == g.Instance {
			g.Running, g.Writable, g.Ended = false, false, cluster.Position{}
			l.stale("the server has exited")
			l.log.Info("server exited", "member", l.id.Name, "pid", e.PID, "status", e.Status, "signal", e.Signal, "leftovers", e.Leftovers)
		}
	case guard.DeadlineFired:
		l.log.Warn("deadline fired", "member", l.id.Name, "term", e.Term)
		if cluster.Term(e.Term) == l.obs.Lease.Term {
			l.obs.Lease.Term, l.obs.Lease.Began, l.obs.Lease.Condemned = 0, 0, "" // the lease is given up by that
			l.past(cluster.Term(e.Term))
		}
	case guard.StoppedAll:
		g.LastKill = max(g.LastKill, e.Took)
	}
}

func (l *Loop) foldSession(e SessionOpened) {
	l.busy[LaneMember] = false
	l.session = session{lease: e.LeaseID, ttl: e.TTL, kept: l.obs.Now, tried: l.obs.Now}
	l.member.forget()
}

func (l *Loop) foldKeptAlive(e KeptAlive) {
	l.busy[LaneMember], l.session.opening = false, false
	l.session.tried = e.At
	switch {
	case e.Gone:
		l.session = session{ttl: l.session.ttl, tried: e.At}
		l.member.forget()
	case e.Err == "":
		l.session.kept = e.At
	}
}

// foldKeys ends a call on a guarded key.
func (l *Loop) foldKeys(e KeysDone) {
	l.busy[LaneKeys] = false
	if e.Err != "" {
		l.keys.retryAt = l.obs.Now.Add(keysPause)
		l.log.Debug("key not written", "member", l.id.Name, "error", e.Err)
		return
	}
	l.wrote(e.Action)
	l.keys.written = max(l.keys.written, e.Revision)
	switch a := e.Action.(type) {
	case election.PutStatus:
		l.obs.Published = l.obs.Now
	case election.PutResult:
		l.obs.Self.Answered = a.Result.ID
	case election.ClearFailover:
		l.keys.cleared, l.keys.clearedAt = a.Revision, l.obs.Now
	}
}
