package agent

import (
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

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
