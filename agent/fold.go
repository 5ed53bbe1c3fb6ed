package agent

import (
	"fmt"

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

// foldView takes a view of the store, unless the store was set back (S4).
func (l *Loop) foldView(e *ViewSeen) []Effect {
	o, v := &l.obs, &e.View
	if e.Read != 0 {
		l.reads.busy = false
	}
	if v.Revision < l.reads.past && e.Read < l.reads.pastAt { // guard: past_terms_are_shown — S4
		return nil
	}
	if why := l.setBack(v); why != "" { // guard: store_set_back — S4
		o.View, o.Refused = o.View.Failed(why, o.Now), true
		return nil
	}
	o.Refused = false
	if e.Read != 0 {
		o.Read = e.Read
	}
	if v.Beat == nil {
		o.Beat = election.Sighting{}
	} else if v.Beat.ModRevision != o.Beat.Revision {
		o.Beat = election.Sighting{Revision: v.Beat.ModRevision, At: o.Now}
	}
	for _, m := range v.Members {
		o.Heard = max(o.Heard, m.Timeline)
	}
	switch sw := v.Switchover; {
	case sw == nil:
		o.Phase = election.PhaseSeen{}
	case sw.ID != o.Phase.ID || sw.Phase != o.Phase.Phase:
		o.Phase = election.PhaseSeen{ID: sw.ID, Phase: sw.Phase, Since: o.Now}
	}
	l.foldMembers(v)
	if lead := v.Leader; lead != nil {
		if m, known := v.Members[lead.Name]; known {
			o.Self.PatroniLed = !m.IsKeeper()
			l.seen.PatroniLed = o.Self.PatroniLed // kept with its term
		}
	}
	o.View = cluster.Seen(*v, o.Now)
	l.foldConfig(v.Config)
	l.foldRequests(v)
	return l.remember(v)
}

// setBack says why a view must not be believed: it is older than what this node
// once persisted (a restored backup), or of another etcd cluster.
func (l *Loop) setBack(v *cluster.View) string {
	seen := max(l.seen.Revision, l.obs.View.Value.Revision, l.reads.past)
	switch {
	case l.seen.ClusterID == 0:
		return ""
	case v.ClusterID != l.seen.ClusterID:
		return fmt.Sprintf("etcd cluster %x is not the one this node knows (%x): if etcd was rebuilt on purpose, remove the file memory.json from the state directory of every node", v.ClusterID, l.seen.ClusterID)
	case v.Leader != nil && v.Leader.Term < l.seen.Term: // guard: store_term_goes_back — S4
		return fmt.Sprintf("etcd shows leader term %d, this node has seen %d: it was restored from a backup; remove memory.json from the state directory of every node once no old primary can be running", v.Leader.Term, l.seen.Term)
	case v.Revision < seen:
		return fmt.Sprintf("etcd is at revision %d, this node has seen %d: it was restored from a backup; remove memory.json from the state directory of every node once no old primary can be running", v.Revision, seen)
	}
	return ""
}

// persistEvery bounds how far the persisted revision lags behind the seen one, in
// revisions: each is an fsync, and a quiet cluster beats about once a second.
const persistEvery = 500

// remember asks to persist what a reboot must not forget.
func (l *Loop) remember(v *cluster.View) []Effect {
	var term cluster.Term
	if v.Leader != nil {
		term = v.Leader.Term
	}
	if l.busy[LanePersist] || term <= l.seen.Term && v.Revision < l.seen.Revision+persistEvery && v.ClusterID == l.seen.ClusterID {
		return nil
	}
	l.seen.ClusterID, l.seen.Revision, l.seen.Term = v.ClusterID, v.Revision, max(term, l.seen.Term)
	return l.persist()
}

// foldConfig keeps the last good configuration when the stored one is bad. A worker that
// has just started has none: it goes by what is good of the stored one, for that is nearer
// to what is in force than what the cluster began with, and its predecessor may have a
// synchronous mode from there that nobody has turned off.
func (l *Loop) foldConfig(c *cluster.Config) {
	if c == nil || c.ModRevision == l.config.rev {
		return
	}
	l.config.rev, l.config.raw = c.ModRevision, c.Raw
	s, why := l.parse(c.Raw)
	if why == "" {
		if err := s.CheckTiming(); err != nil {
			why = err.Error()
		}
	}
	first := !l.config.read
	switch {
	case why == "" || why == l.config.problem:
	case first:
		l.log.Warn("stored configuration has bad values, only the rest is in force", "member", l.id.Name, "error", why)
	default:
		l.log.Warn("stored configuration refused, the last good one stays in force", "member", l.id.Name, "error", why)
	}
	l.config.problem, l.config.read = why, true
	if why == "" || first && s.CheckTiming() == nil {
		l.config.settings = s
	}
}

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
	}
}

// foldServer ends quick SQL.
func (l *Loop) foldServer(e ServerDone) []Effect {
	lane := serverLane(e.Action)
	l.busy[lane] = false
	if lane == LaneServer {
		l.server.configuring, l.server.naming = false, ""
	}
	if e.Err != "" {
		l.serverFailed(e)
		return nil
	}
	l.looks.wanted = true
	if e.Instance != l.instance() { // guard: done_to_this_server — SAFETY 3: it says nothing of the server that has come since
		return nil
	}
	switch a := e.Action.(type) {
	case election.Checkpoint:
		if a.For != "" {
			l.obs.Self.Prepared = a.For
		} else {
			l.obs.Self.Checkpointed = true
		}
	case election.Reload:
		l.config.pause = 0
	case election.Follow:
		l.server.followed, l.server.followedAt, l.obs.Aimed = a, l.obs.Now, a.Upstream
	case election.SetSync:
		l.foldSync(e, a)
	case election.Promise: // it follows nobody
		l.server.followed, l.server.followedAt = election.Follow{}, l.obs.Now
		return l.promise(a.Term)
	}
	return nil
}

// serverFailed has what failed wait: a configuration that the server does not take longer
// each time, and without anything else waiting for it.
func (l *Loop) serverFailed(e ServerDone) {
	l.log.Warn("server action failed", "member", l.id.Name, "action", actionName(e.Action), "error", e.Err)
	here := e.Instance == l.instance() // else it says nothing of the server that runs
	c := &l.config
	switch _, configured := e.Action.(election.Reload); {
	case configured && here && c.applied >= 0: // else another configuration has come meanwhile
		if c.refused != c.applied || l.obs.Node.Value.Gate == cluster.GateMissing { // commits wait for the gate that it may bring
			c.pause = 0
		}
		c.refused, c.pause = c.applied, min(max(2*c.pause, serverPause), longestPause)
		c.retryAt, c.applied = l.obs.Now.Add(c.pause), -1
	case configured:
		c.applied = -1
	case here:
		*l.retryAt(serverLane(e.Action)) = l.obs.Now.Add(serverPause)
	}
}

// foldFence ends a fence. The next is a moment later: after a failure, to try again;
// after a success the end of the session, and with it all that was said of the
// server, is on its way.
func (l *Loop) foldFence(e FenceDone) {
	g := &l.obs.Guard
	l.busy[LaneFence], g.Fencing, g.FencedAt = false, false, l.obs.Now
	if e.Err != "" {
		l.log.Error("server not fenced", "member", l.id.Name, "error", e.Err)
	}
	l.stale("a fence has just ended")
}

// foldStarted notes a new server, unless the guard has already said it is gone.
func (l *Loop) foldStarted(s guard.Server) {
	if s.Instance == l.server.exited {
		return
	}
	g := &l.obs.Guard
	g.Running, g.Instance, g.Writable = true, s.Instance, s.Writable
	g.Ended = cluster.Position{}
	l.server.retryAt, l.server.checkpointAt, l.config.retryAt = 0, 0, 0 // the last one has failed, not this one
	l.obs.Sync = election.Sync{}
	if s.Writable {
		l.recovered(s.Instance)
	}
	l.stale("the server was just started")
}

// foldJob ends the job.
func (l *Loop) foldJob(e JobDone) []Effect {
	o := &l.obs
	l.busy[LaneJob], l.server.source = false, ""
	failures := 0
	if e.Err != "" {
		failures = o.Job.Failures + 1
		l.log.Warn("job failed", "member", l.id.Name, "action", string(e.Kind), "failures", failures, "error", e.Err)
	} else {
		l.log.Info("job done", "member", l.id.Name, "action", string(e.Kind), "duration", o.Now.Sub(o.Job.Since))
	}
	if e.MayWrite && o.Guard.Running { // guard: promotion_may_come_late — S1: a guard may carry it out when a disk lets it
		o.Guard.Writable = true
	}
	if e.Kind == election.JobPromote && e.Err == "" {
		o.Guard.Writable = true
		o.Self.Checkpointed = false
	}
	l.measureRecovery(e)
	o.Job = election.Job{Last: e.Kind, LastErr: e.Err, LastEnded: o.Now, LastMode: o.Job.Mode, Failures: failures, Taken: e.Taken}
	l.stale("a job has just ended")
	if e.Saw != nil && e.Saw.Instance == l.instance() { // clients need not wait for a whole look
		o.Node = cluster.Seen(fastOver(o.Node.Value, &e.Saw.Node), e.Saw.At)
	}
	if r := l.server.restarting; r != nil && e.Kind == election.JobRestart {
		l.server.restarting = nil
		l.server.restarted = &election.Answer{Request: *r, Result: restartResult(l.id.Name, r.ID, e.Err)}
	}
	var effects []Effect
	if term := l.server.gave; term != 0 {
		l.server.gave = 0
		effects = []Effect{{Lane: LaneGuard, Limit: guardLimit, Do: GuardEnd{Term: term}}}
	}
	if e.Err == "" && makesAnew(e.Kind) {
		l.seen.Whose = Whose{}
		effects = append(effects, l.stray(false)...)
	}
	return effects
}

// makesAnew reports whether a job that went well leaves other data than there was, or has what
// there is begin a timeline of its own.
func makesAnew(kind election.JobKind) bool {
	switch kind {
	case election.JobClone, election.JobInitDB, election.JobAside, election.JobPromote:
		return true
	}
	return false
}

func restartResult(member, id, failure string) cluster.Result {
	if failure != "" {
		return cluster.Result{ID: id, Member: member, Message: "restart failed: " + failure}
	}
	return cluster.Result{ID: id, Member: member, Done: true, Message: "restarted successfully"}
}
