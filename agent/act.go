package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// Limits and pauses of effects. They bound waiting; none carries safety.
const (
	// guardLimit bounds one call to the guard.
	guardLimit = 2 * time.Second
	// fenceLimit bounds a fence; it proves within this that no process is left.
	fenceLimit = 10 * time.Second
	// keysPause and serverPause are waited after a failure in their lane.
	keysPause   = 250 * time.Millisecond
	serverPause = time.Second
	// longestPause is the most that a configuration which the server does not take is left
	// alone before the next try. It is not likely to take it then, and a try may be long.
	longestPause = 30 * time.Second
	// serverLimit bounds quick SQL; checkpointLimit a checkpoint, which may
	// have much to write.
	serverLimit     = 10 * time.Second
	checkpointLimit = 10 * time.Minute
)

// act turns a decision into effects. What finds its lane busy is left out: the
// next step decides anew.
func (l *Loop) act(d election.Decision) []Effect {
	var effects []Effect
	for _, a := range d.Actions {
		effects = with(effects, l.actOn(a))
	}
	if d.Look && !l.busy[LaneLook] { // a look under way is the one that is asked for
		l.looks.wanted = true
	}
	return effects
}

func (l *Loop) actOn(a election.Action) []Effect {
	switch a := a.(type) {
	case election.LoseLease:
		return l.lose()
	case election.Resume:
		l.resume()
		return nil
	case election.ClaimInitialize, election.AbandonInitialize, election.PutInitialize, election.FinishBootstrap, election.Acquire,
		election.Inherit, election.Accept, election.Renew, election.Reserve, election.Settle, election.Release, election.HandOver:
		return l.onLease(a)
	case election.PutStatus, election.PutHolder, election.PutHistory, election.PutConfig, election.PutSwitchover, election.DeleteSwitchover, election.ClearFailover,
		election.PutResult, election.PutDurability, election.PutFailsafe:
		return l.onKeys(a)
	case election.PutPausedPrimary:
		if a.Name == "" {
			l.obs.Self.Unmarked = a.Revision
		}
		return l.onKeys(a)
	case election.Condemn:
		return l.condemn(a.Ailment)
	case election.AskFailsafe:
		return l.onFailsafe(a)
	case election.Knock:
		return l.onKnock(a)
	case election.Fence:
		return l.onFence()
	case election.Answer:
		if a.Request.Kind == cluster.RequestReload && a.Result.Done {
			return l.answerReload(a)
		}
		return l.answer(a)
	case election.Reload:
		return nil // begun with its answer, which needs to know how it ends
	case election.Follow, election.EnsureSlots, election.Checkpoint, election.SetSync, election.Promise:
		return l.onServer(a, nil)
	}
	return l.onJob(a)
}

// onLease starts a call on the leader key.
func (l *Loop) onLease(a election.Action) []Effect {
	if l.busy[LaneLease] || l.session.lease == 0 || l.session.opening {
		return nil
	}
	o := &l.obs
	l.busy[LaneLease] = true
	o.Lease.Busy, o.Lease.Tried, o.Lease.Giving = actionName(a), o.Now, gives(a)
	do := OnLease{Action: a, Settings: o.Settings, Holder: l.holder(), Timelines: o.View.Value.Timelines,
		Margin: o.Settings.Margin(o.Guard.LastKill), Term: o.Lease.Term, Renewed: o.Lease.Renewed, Deadline: o.Guard.Deadline}
	do.Holder.Since = l.began(a)
	if b := o.View.Value.Beat; b != nil {
		do.BeatRev = b.ModRevision
	}
	l.shorten(&do)
	return []Effect{{Lane: LaneLease, Limit: o.Settings.Attempt(), Do: do}}
}

// shorten believes in no more than what is left when the call has moved the guard's
// deadline back (Node.shorten).
func (l *Loop) shorten(do *OnLease) {
	if until := l.obs.Now.Add(do.Settings.TTL - do.Margin); beats(do.Action) && do.Deadline > until {
		l.obs.Guard.Deadline = until
	}
}

// beats reports whether a call of a holder writes the beat, with the T it names.
func beats(a election.Action) bool {
	switch a.(type) {
	case election.Renew, election.Inherit:
		return true
	}
	return false
}

// gives reports whether a call gives the leader key away.
func gives(a election.Action) bool {
	switch a.(type) {
	case election.HandOver, election.Release:
		return true
	}
	return false
}

// holder is what the record beside the leader key says.
func (l *Loop) holder() cluster.Holder {
	h := cluster.Holder{Name: l.id.Name, Node: l.id.Node, Instance: l.instance(), BootID: l.id.BootID}
	if began := l.obs.Lease.Began; began != l.obs.Lease.Term {
		h.Since = began
	}
	return h
}

func (l *Loop) onKeys(a election.Action) []Effect {
	if l.busy[LaneKeys] || l.obs.Now < l.keys.retryAt {
		return nil
	}
	if c, clears := a.(election.ClearFailover); clears && c.Revision == l.keys.cleared && l.obs.Now < l.keys.clearedAt.Add(keysPause) {
		return nil // what comes after it is next
	}
	over, replaces := l.over(a)
	if replaces && l.obs.View.Value.Revision < l.keys.written {
		return nil // decided on what was there before the last one
	}
	if list, lists := a.(election.PutFailsafe); lists && !l.tenureHas(list.Members) { // guard: tenure_lists_first — SAFETY 3, Failsafe
		l.failsafe.next, l.tenureRests = list.Members, restsOn{}
		return nil
	}
	l.busy[LaneKeys] = true
	if _, record := a.(election.PutDurability); record {
		l.obs.RecordOver = over
	}
	l.sends(a)
	return []Effect{{Lane: LaneKeys, Limit: l.obs.Settings.RetryTimeout, Do: OnKeys{a, l.holder(), over}}}
}

// over is the revision of what a puts something else in the place of, 0 for nothing.
func (l *Loop) over(a election.Action) (rev int64, replaces bool) {
	v := &l.obs.View.Value
	switch a.(type) {
	case election.PutFailsafe:
		return v.FailsafeRev, true
	case election.PutDurability:
		if v.Durability != nil {
			rev = v.Durability.ModRevision
		}
		return rev, true
	case election.PutSwitchover, election.DeleteSwitchover:
		if v.Switchover != nil {
			rev = v.Switchover.ModRevision
		}
		return rev, true
	}
	return 0, false
}

func (l *Loop) onServer(a election.Action, up *election.Upstream) []Effect {
	lane := serverLane(a)
	if l.busy[lane] || l.obs.Now < *l.retryAt(lane) {
		return nil
	}
	if f, ok := a.(election.Follow); ok && f == l.server.followed && l.obs.Node.At < l.server.followedAt {
		return nil // it has just been told
	}
	l.busy[lane] = true
	switch a := a.(type) {
	case election.SetSync:
		l.obs.Sync.Begun, l.server.naming = a.Names, l.instance()
	case election.Reload:
		l.server.configuring = true
	}
	limit := serverLimit
	switch a.(type) {
	case election.Checkpoint:
		limit = checkpointLimit
	case election.Reload: // a new gate's time to stream comes first
		limit += guard.GateBegins + gateArrives
	}
	waits := l.obs.Node.Value.Gate != cluster.GateOff
	l.config.gated = l.config.gated || l.config.settings.CommitGate || waits
	return []Effect{{Lane: lane, Limit: limit, Do: OnServer{Action: a, Instance: l.instance(), Settings: l.config.settings, Upstream: up, Gated: l.config.gated, Waits: waits}}}
}

// retryAt is when the lane of an action of OnServer is used again after a failure.
func (l *Loop) retryAt(lane Lane) *cluster.Instant {
	if lane == LaneCheckpoint {
		return &l.server.checkpointAt
	}
	return &l.server.retryAt
}

// serverLane is where an action of OnServer runs.
func serverLane(a election.Action) Lane {
	if _, long := a.(election.Checkpoint); long {
		return LaneCheckpoint
	}
	return LaneServer
}

// onJob starts long work, but none beside a fence. A fence takes every process in the data
// directory for one of a server that must not run: it would end the work in the middle,
// and for its sake kill a guard that had merely to say that nothing is left. So it is for a
// worker that thaws past its deadline, which fences before it hears that its guard has
// stopped the server, and then hears it. The end of the fence decides anew.
func (l *Loop) onJob(a election.Action) []Effect {
	if l.busy[LaneFence] { // guard: no_job_beside_fence — S5: it would be killed in its middle
		return nil
	}
	if l.busy[LaneJob] || l.server.configuring && starts(a) { // guard: no_start_beside_reload — S1 (gate)
		return nil
	}
	o := &l.obs
	l.busy[LaneJob] = true
	o.Job.Kind, o.Job.Since, o.Job.Mode, o.Job.Writes = election.KindOf(a), o.Now, o.Node.Value.Mode, writes(a)
	if r, ok := a.(election.Restart); ok {
		l.server.restarting = r.Request
		if r.Request == nil {
			l.server.scheduled = nil
		} else {
			l.keys.screened[r.Request.ID] = true
			o.Wish.Request = nil
		}
	}
	l.server.source, l.server.lent = "", false
	if up, starts := aims(a); starts {
		o.Aimed = up
		if o.Job.Kind == election.JobClone || o.Job.Kind == election.JobRejoin { // it copies, or compares with
			l.server.source = up.Member
		}
	}
	l.config.gated = l.config.gated || l.config.settings.CommitGate
	l.server.recovers = o.Node.Value.Control
	l.log.Info("job started", "member", l.id.Name, "action", string(o.Job.Kind), "reason", string(l.decision.Reason))
	return []Effect{{Lane: LaneJob, Do: OnJob{Action: a, Settings: l.config.settings, Node: o.Node.Value, Term: o.Lease.Term, Instance: l.instance(), CloneFrom: l.cloneFrom()}}}
}

// aims is whom a server that a job starts as a standby streams from at first; nobody known,
// when it is started as it was.
func aims(a election.Action) (up election.Upstream, starts bool) {
	told := (*election.Upstream)(nil)
	switch a := a.(type) {
	case election.Rejoin:
		return a.Source, true
	case election.Clone:
		return a.Source, true
	case election.StartServer:
		told = a.Upstream
	case election.Restart:
		told = a.Upstream
	default:
		return up, false
	}
	if told != nil {
		up = *told
	}
	return up, true
}

// writes reports whether a has the server write, or starts one that may.
func writes(a election.Action) bool {
	switch a := a.(type) {
	case election.Promote:
		return true
	case election.StartServer:
		return a.Writable
	case election.Restart:
		return a.Writable
	}
	return false
}

// starts reports whether a starts a server, or has it write: both go by the names that a
// reload may be about to change.
func starts(a election.Action) bool {
	switch a.(type) {
	case election.StartServer, election.Restart, election.Promote, election.Rejoin, election.Clone:
		return true
	}
	return false
}

// onFence fences past the guard. The job under way is ended beside it: it may be
// what waits for the guard that hangs.
func (l *Loop) onFence() []Effect {
	if l.busy[LaneFence] {
		return nil
	}
	l.busy[LaneFence], l.obs.Guard.Fencing = true, true
	effects := []Effect{{Lane: LaneFence, Limit: fenceLimit, Do: OnFence{}}}
	if l.busy[LaneJob] {
		effects = append(effects, Effect{Lane: LaneJob, Do: Cancel{}})
	}
	return effects
}

// answer ends a request: the result is written, the request removed.
func (l *Loop) answer(a election.Answer) []Effect {
	l.keys.screened[a.Request.ID] = true
	l.obs.Wish.Request = nil
	l.keys.answers = append(l.keys.answers, a)
	return nil
}

// actionName is an action's type in snake_case, for logs and metrics.
func actionName(a election.Action) string {
	if _, renews := a.(election.Renew); renews { // as nearly always
		return "renew"
	}
	name := fmt.Sprintf("%T", a)
	name = name[strings.LastIndexByte(name, '.')+1:]
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 && !(name[i-1] >= 'A' && name[i-1] <= 'Z') {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
