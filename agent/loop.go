package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// Identity is what of a member does not change while its worker runs.
type Identity struct {
	Scope, Name string
	// Node is the random id of the state directory, BootID the kernel's.
	Node, BootID string
	// ConnURL, APIURL and ProxyURL are what the member key says.
	ConnURL, APIURL, ProxyURL string
	Version                   string
}

// ParseConfig turns the stored dynamic configuration into settings, as far as it is good;
// why is empty when all of it is.
type ParseConfig func(raw json.RawMessage) (s cluster.Settings, why string)

// Loop is the state between two steps. It is used by one goroutine.
type Loop struct {
	id    Identity
	parse ParseConfig
	log   *slog.Logger

	obs      election.Observation
	decision election.Decision
	since    cluster.Instant // of decision.Reason
	logged   cluster.Reason
	// decided is told every decision and what it rests on; it must not wait.
	decided func(clock.Reading, *election.Observation, election.Decision)

	busy    [lanes]bool
	session session
	reads   reads
	member  publication
	config  configState
	looks   looks
	keys    keysState
	server  serverState
	seen    Memory
	// store is how the store does itself; nil while nobody has looked. Nothing is
	// decided by it.
	store *cluster.StoreHealth
	// watchdog is what the guard says of its watchdog.
	watchdog cluster.Watchdog
	// pooler is what the pooler does that this member drives.
	pooler PoolerSeen
	// pledging are questions of holders whose answer waits for the disk.
	pledging []pledging
	failsafe failsafeState
	// tenure is the one that is surely on disk, tenureRests what the newest rests on.
	tenure      *cluster.Tenure
	tenureRests restsOn
	// left is since when the slot of a former member is nobody's.
	left    map[string]cluster.Instant
	started cluster.Instant
	// wake is when to step again if nothing happens, as of the last step.
	wake cluster.Instant
	// swept: the last step ended with all that is kept up beside the decisions.
	swept bool
	// failoverRev is the key failover that Wish.FailoverSince speaks of.
	failoverRev int64
	// abandoned is the claim on initialize that was given up last; the view may
	// still show it.
	abandoned int64
}

// NewLoop starts from what is remembered. bootstrap is the dynamic configuration
// this member would give a new cluster; it is in force until the store has one.
func NewLoop(id Identity, tags cluster.Tags, memory Memory, bootstrap json.RawMessage, parse ParseConfig, log *slog.Logger, now cluster.Instant) *Loop {
	l := &Loop{
		id: id, parse: parse, log: log, seen: memory, started: now,
		left: map[string]cluster.Instant{},
		keys: keysState{screened: map[string]bool{}},
	}
	l.config.settings, _ = parse(bootstrap)
	l.obs.Settings = l.config.settings
	l.obs.Self = election.Self{Name: id.Name, Node: id.Node, BootID: id.BootID, Tags: tags, Started: now, Checkpointed: true, Promised: memory.Promised, Paused: memory.Paused, Strayed: memory.Strayed,
		Pledged: memory.Pledge.UntilAfter(id.BootID, now), PatroniLed: memory.PatroniLed, PledgedTo: memory.Pledge.To, PledgedTerm: memory.Pledge.Term, MarksFrom: math.MaxInt64}
	l.obs.Recovery.Rate = memory.ReplayRate
	l.server.unconfirmed = memory.Unconfirmed
	l.obs.Self.Tenure, l.tenure = tenureOf(&memory), memory.Tenure
	l.looks.wanted = true
	l.wake = l.nextWake()
	return l
}

// Step folds one event, decides, and returns the effects to start. It reads no
// clock and waits for nothing.
func (l *Loop) Step(r clock.Reading, e Event) []Effect {
	effects := l.step(r, e)
	l.wake = l.nextWake()
	return effects
}

func (l *Loop) step(r clock.Reading, e Event) []Effect {
	due := r.Boot >= l.wake // what the driver was told
	settled, kept := !due && l.settled(e), !due && l.kept(e)
	before := l.obs.Now
	l.obs.Now = r.Boot
	if l.onlyLooks(e) {
		if l.swept && !l.keepsSince(before) {
			return with(l.keepJob(), l.keepLooking())
		}
		kept = true
	}
	effects := l.fold(r, e)
	l.swept = !settled
	if settled {
		return effects
	}
	if !kept {
		l.derive(r)
		effects = with(effects, l.noteWhose())
		d := election.Decide(&l.obs)
		if l.decided != nil {
			l.decided(r, &l.obs, d) // before acting, which changes the observation
		}
		l.note(d)
		effects = with(effects, l.act(d))
	}
	return with(effects, l.keep())
}

// settled: the event is a view in which only positions and the holder's beat have
// moved, and nothing that goes on here rests on the others'. A beat only puts off the
// time at which its holder counts as gone (election's tests hold every decision to
// that). What was decided stands until the next event, or the time it named; on a busy
// cluster most views are of this kind.
func (l *Loop) settled(e Event) bool {
	seen, ok := e.(ViewSeen)
	return ok && seen.Read == 0 && l.onlyBeats(&seen.View)
}

func (l *Loop) onlyBeats(seen *cluster.View) bool {
	o := &l.obs
	return o.View.Good() && !o.Refused && seen.News != 0 && seen.News == o.View.Value.News && seen.ClusterID == o.View.Value.ClusterID &&
		seen.Revision >= o.View.Value.Revision && o.Vacancy.Never() && o.Suspicion.Since.Never() && o.View.Value.Switchover == nil && o.View.Value.Failover.Empty()
}

// kept: the event ends what the loop keeps up beside its decisions, in a way that
// changes nothing they read.
func (l *Loop) kept(e Event) bool {
	switch e := e.(type) {
	case MemberPut, persisted, StoreHealthSeen, PoolerSeen:
		return true
	case KeptAlive:
		return !e.Gone && !l.session.opening
	case Looked:
		return l.onlyFlows(&e)
	case Probed: // of a server that was well and is
		c := l.obs.Health.Of(e.Check)
		return c == nil || e.Ailment == "" && c.Ailment == ""
	}
	return false
}

// onlyLooks: a tick that was asked for to look again, and nothing else. What is
// decided is decided when the look has ended; while one is under way, ticks decide.
func (l *Loop) onlyLooks(e Event) bool {
	if _, tick := e.(Tick); !tick || l.busy[LaneLook] || !l.obs.Guard.Connected || l.server.scheduled != nil || !l.obs.View.Value.Failover.Empty() {
		return false
	}
	now, wake := l.obs.Now, l.decision.Wake
	return now >= l.nextLook() && (wake.Never() || wake > now)
}

// OnDecision has f told every decision and what it rests on, within the step: f
// must not wait, and changes neither.
func (l *Loop) OnDecision(f func(clock.Reading, *election.Observation, election.Decision)) {
	l.decided = f
}

// unknownPatience is how long a server may be unknown before that is more than passing.
const unknownPatience = 2 * time.Second

// note logs a decision when its reason changed: a quiet cluster logs nothing.
func (l *Loop) note(d election.Decision) {
	if d.Reason != l.decision.Reason {
		l.since = l.obs.Now
	}
	if d.Reason != l.logged && (!passing(d.Reason) || d.Reason == election.ReasonServerUnknown && l.obs.Now.Sub(l.since) >= unknownPatience) {
		l.logged = d.Reason
		level := slog.LevelInfo
		if alarming[d.Reason] {
			level = slog.LevelWarn
		}
		l.log.Log(context.Background(), level, "decided", "member", l.id.Name, "reason", string(d.Reason), "detail", d.Detail,
			"mode", l.obs.Node.Value.Mode.String(), "term", int64(l.obs.Lease.Term), "timeline", uint32(l.obs.Node.Value.Timeline))
	}
	l.decision = d
}

// alarming are reasons that ask for an operator, or that cost an outage.
var alarming = map[cluster.Reason]bool{
	election.ReasonForeignSystem: true, election.ReasonForeignHolder: true, election.ReasonDataBroken: true, election.ReasonDataDamaged: true,
	election.ReasonLeaseLost: true, election.ReasonDeadlinePassed: true, election.ReasonFenceNoLease: true,
	election.ReasonGuardFrozen: true, election.ReasonServerUnknown: true, election.ReasonPausedElsewhere: true, election.ReasonPromotionFails: true,
	election.ReasonGivingUp: true, election.ReasonSickCandidate: true,
	election.ReasonSwitchoverAborted: true, election.ReasonTooFarBehind: true, election.ReasonOldTimeline: true,
}

// passing are reasons that a healthy node has for a few milliseconds between two
// others; jobs log their own beginning and end.
func passing(r cluster.Reason) bool {
	return r == election.ReasonServerUnknown || r == election.ReasonReserving || strings.HasPrefix(string(r), "running_")
}

// Done reports whether the agent may exit.
func (l *Loop) Done() bool { return l.decision.Done && !l.busy[LaneLease] && !l.busy[LaneJob] }

// Term is held, or 0.
func (l *Loop) Term() cluster.Term { return l.obs.Lease.Term }

// Settings are those that the last step went by.
func (l *Loop) Settings() cluster.Settings { return l.obs.Settings }

// derive fills in what follows from the folded state and the clocks.
func (l *Loop) derive(r clock.Reading) {
	o := &l.obs
	o.Settings = l.config.settings
	o.Settings.TTL = l.inForce()
	o.Self.MemberLease = l.session.lease
	o.RetainedSlots, o.ExpiredSlots = l.leftSlots()
	l.deriveSuspicion()
	l.deriveNotStreaming()
	switch {
	case !election.Vacant(o):
		o.Vacancy = 0
	case o.Vacancy.Never():
		o.Vacancy = o.Now
	}
	l.deriveSync()
	if o.Settings.Pause {
		o.Lease.Condemned = "" // S6
	}
	l.deriveFailsafe()
	l.screen(r)
	l.deriveClaim()
	l.deriveFailover(r)
	o.Wish.RestartDue = l.server.scheduled != nil && !r.Wall.Before(l.server.scheduleAt)
}

// inForce is T: the lease's, until a new one is granted. A holder that is to have a
// shorter one goes by it from the moment it is told: candidates may before it knows.
func (l *Loop) inForce() time.Duration {
	want := l.config.settings.TTL
	switch {
	case l.session.ttl == 0:
		return want
	case l.obs.Lease.Term == 0:
		return l.session.ttl
	}
	t := min(l.session.ttl, want)
	if l.session.shortest != 0 {
		t = min(t, l.session.shortest) // guard: shorter_ttl_at_once — SAFETY 2
	}
	return t
}

// deriveClaim knows a claim on initialize by its lease: the answer to it may have
// been lost, or a worker before this one, on the same lease, may have made it.
func (l *Loop) deriveClaim() {
	init := l.obs.View.Value.Initialize
	if init != nil && init.SystemID == "" && init.LeaseID != 0 && init.LeaseID == l.session.lease && init.ModRevision != l.abandoned {
		l.obs.Self.InitRevision = init.ModRevision
	}
}

// deriveFailover finds whether the key failover is due, and since when.
func (l *Loop) deriveFailover(r clock.Reading) {
	o := &l.obs
	f := o.View.Value.Failover
	o.Wish.FailoverDue, o.Wish.FailoverStale = due(f, r.Wall)
	switch {
	case !o.Wish.FailoverDue:
		o.Wish.FailoverSince, l.failoverRev = 0, 0
	case f.ModRevision != l.failoverRev:
		o.Wish.FailoverSince, l.failoverRev = o.Now, f.ModRevision
	}
}

// scheduleGrace is how long after its time a scheduled failover still counts; it
// is Patroni's 1.5 loop_wait at its default, doubled.
const scheduleGrace = 30 * time.Second

// due says whether a failover wish is to be acted on now, or was missed.
func due(f *cluster.Failover, wall time.Time) (now, missed bool) {
	if f.Empty() {
		return false, false
	}
	if f.ScheduledAt == "" {
		return true, false
	}
	at, err := time.Parse(time.RFC3339, f.ScheduledAt)
	if err != nil {
		return false, true
	}
	return !wall.Before(at) && wall.Before(at.Add(scheduleGrace)), !wall.Before(at.Add(scheduleGrace))
}

// NextWake is when to step again if nothing happens.
func (l *Loop) NextWake() cluster.Instant { return l.wake }

func (l *Loop) nextWake() cluster.Instant {
	next := l.nextLook()
	for _, at := range [...]cluster.Instant{l.decision.Wake, l.nextKeepAlive(), l.nextPublish(), l.keys.retryAt, l.server.retryAt, l.server.checkpointAt, l.config.retryAt, l.config.pauseAt} {
		if !at.Never() && at > l.obs.Now && at < next {
			next = at
		}
	}
	if l.server.scheduled != nil || !l.obs.View.Value.Failover.Empty() {
		next = min(next, l.obs.Now.Add(time.Second))
	}
	return max(next, l.obs.Now.Add(time.Millisecond))
}
