package election

import (
	"cmp"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// following: another member leads. This one streams from it, or is brought to
// where it can.
func following(o *Observation) Decision {
	if promisedAway(o) {
		return wait(ReasonPromisedAway, fmt.Sprintf("%s leads under term %d, of which this member has promised to take no WAL: it must put its key again", o.View.Value.Leader.Name, o.View.Value.Leader.Term))
	}
	if o.Self.Strayed && o.Node.Value.Data != cluster.DataUnknown { // guard: strayed_is_cloned — S8: by numbers it would follow, or be rewound to where it is not
		return strayed(o)
	}
	switch node := &o.Node.Value; node.Mode {
	case cluster.ModeStandby:
		return streaming(o)
	case cluster.ModeStopped:
		return rejoining(o)
	case cluster.ModeStarting:
		return startingFollower(o)
	default:
		d := wait(ReasonStartingStandby, "the server is "+node.Mode.String())
		d.lookAgain(o)
		return d
	}
}

// startingFollower: a standby that lets nobody in cannot be told to stream from another, nor
// be compared. What it was started to stream from may be gone, with WAL that it needs before
// it is consistent. Then it is stopped, compared by what its directory says, and started
// anew, at the one that leads; once for each.
func startingFollower(o *Observation) Decision {
	d := wait(ReasonStartingStandby, startingDetail(o))
	d.lookAgain(o)
	leader, ok := o.View.Value.LeaderMember()
	up, known := upstreamOf(leader)
	tagged, _ := upstream(o) // told to stream from there, it may be recovering from a crash
	if !ok || !known || !leader.RunsPrimary() || up == o.Aimed || tagged == o.Aimed || o.Guard.Writable {
		return d
	}
	if until := startingSince(o).Add(startingPatience); o.Now < until {
		d.wakeAt(until)
		return d
	}
	d = job(o, ReasonRejoining, StopServer{Mode: StopFast}) // guard: starting_is_repointed — L1
	d.Detail = cmp.Or(d.Detail, fmt.Sprintf("it lets nobody in, and was not started to stream from %s", up.Member))
	return d
}

// startingSince is since when nobody waits for a server that lets nobody in.
func startingSince(o *Observation) cluster.Instant {
	if o.Starting.Never() {
		return o.Now
	}
	return max(o.Job.LastEnded, o.Starting)
}

// startingDetail says what a server may wait for that runs and lets nobody in.
func startingDetail(o *Observation) string {
	if o.Now < startingSince(o).Add(startingPatience) {
		return "the server is starting"
	}
	return "the server is up and lets nobody in: it replays WAL up to where it is consistent, waits for WAL that it needs for that, or its snapshot waits for a transaction that has not ended (one with over 64 subtransactions)"
}

// strayed: this member's data was written to on a number that is another's.
func strayed(o *Observation) Decision {
	leader, ok := o.View.Value.LeaderMember()
	up, known := upstreamOf(leader)
	if !ok || !known || !leader.RunsPrimary() {
		return wait(ReasonLeaderNotReady, strayedDetail)
	}
	d := job(o, ReasonCloning, Clone{Source: up})
	d.Detail = cmp.Or(d.Detail, strayedDetail)
	return d
}

// streaming keeps a running standby on the right upstream.
func streaming(o *Observation) Decision {
	answer := answerSwitchover(o)
	if sw := o.View.Value.Switchover; answer.Reason != "" && sw.Phase == cluster.SwitchoverStopping {
		return answer // its upstream is stopping on purpose: not the time to look into it
	}
	d := stream(o)
	if answer.Reason != "" {
		d.Reason, d.Detail = answer.Reason, answer.Detail
		d.Actions = append(d.Actions, answer.Actions...)
		d.Say, d.FastLook = answer.Say, answer.FastLook
	}
	return d
}

func stream(o *Observation) Decision {
	node := &o.Node.Value
	up, known := upstream(o)
	if !known {
		return wait(ReasonLeaderNotReady, "the leader has not published its address")
	}
	leader, _ := o.View.Value.LeaderMember()
	if at, ok := o.View.Value.History.SwitchOf(node.Timeline); ok && leader.RunsPrimary() && leader.Timeline > node.Timeline && node.Replayed() > at {
		from, _ := upstreamOf(leader)
		if until := o.NotStreaming.Add(streamPatience); node.ReplaysOwn && node.ReplayLSN <= at && o.Now < until { // what is past it may be a torn record
			d := wait(ReasonNotStreaming, replaysDetail(node))
			d.lookAgain(o)
			d.wakeAt(until)
			return d
		}
		d := compare(o, ReasonDiverged, from)
		if d.Reason == ReasonDiverged {
			d.Detail = fmt.Sprintf("at %s, but timeline %d ended at %s", node.Position(), node.Timeline, at)
		}
		return d
	}
	if !PointsAt(o, up) {
		return do(ReasonRepointing, Follow{Upstream: up})
	}
	if node.StoppedBy != "" && !switchoverWith(&o.View.Value, o.Self.Name) {
		// Only a restart takes over what the primary has, which pg_control says. It may go on streaming
		// meanwhile, and what it shows to its clients grows old.
		d := job(o, ReasonReplayStopped, StopServer{Mode: StopFast})
		d.Detail = cmp.Or(d.Detail, node.StoppedBy)
		return d
	}
	if node.Receiver != nil && node.Receiver.Status == "streaming" {
		d := wait(ReasonFollowing, up.Member)
		if slots, ok := slotsToMend(o); ok {
			d.Actions = []Action{slots}
		}
		return d
	}
	return notStreaming(o, leader, up)
}

// notStreaming: pointed the right way, and nothing comes. After a while its
// relation to the leader is looked into; the job finds that nothing is wrong,
// or rewinds or clones.
func notStreaming(o *Observation, leader cluster.Member, up Upstream) Decision {
	if node := &o.Node.Value; node.ReplaysOwn { // guard: own_wal_first — L1: a restart would lose the place, the pause and what is known of its WAL, and come to the same
		d := wait(ReasonNotStreaming, replaysDetail(node))
		d.wakeAt(o.Now.Add(time.Second))
		return d
	}
	d := wait(ReasonNotStreaming, "no stream from "+up.Member+" yet")
	since := o.NotStreaming.Add(streamPatience)
	if o.NotStreaming.Never() || o.Now < since || !leader.RunsPrimary() {
		d.wakeAt(max(since, o.Now.Add(time.Second)))
		return d
	}
	from, _ := upstreamOf(leader)
	return compare(o, ReasonNotStreaming, from)
}

// replaysDetail says what a standby is at before it asks anybody for WAL.
func replaysDetail(node *cluster.NodeState) string {
	text := fmt.Sprintf("it asks for WAL when it has replayed what it has: it is at %s", node.ReplayLSN)
	if end := node.Position().LSN; end > node.ReplayLSN {
		text += " of " + end.String()
	}
	if node.ReplayPaused {
		text += ", and its replay is paused (pg_wal_replay_resume)"
	}
	return text
}

// compare looks into a standby's relation to the leader, once each ten seconds:
// it connects there, and what it does about it needs time to show. The comparison
// of a stopped server does not count against one that is seen to have diverged:
// pg_control does not know how far the WAL of a killed standby reaches, only the
// running server does.
func compare(o *Observation, reason cluster.Reason, leader Upstream) Decision {
	again := o.Job.LastEnded.Add(maxJobPause)
	news := reason == ReasonDiverged && o.Job.LastMode == cluster.ModeStopped && o.Job.LastErr == ""
	if o.Job.Last == JobRejoin && o.Now < again && !news {
		d := wait(reason, "compared with "+leader.Member+" a moment ago")
		if o.Job.LastErr != "" {
			d.Detail = o.Job.LastErr
		}
		d.wakeAt(again)
		return d
	}
	return job(o, reason, rejoin(o, leader))
}

func rejoin(o *Observation, source Upstream) Rejoin {
	m, known := memberNamed(&o.View.Value, source.Member)
	return Rejoin{Source: source, Patroni: known && !m.IsKeeper()}
}

// rejoining brings back a node whose server is stopped, or that has no data.
func rejoining(o *Observation) Decision {
	node, v := &o.Node.Value, &o.View.Value
	leader, ok := v.LeaderMember()
	up, known := upstreamOf(leader)       // a cascading standby compares with the leader and is pointed at its upstream later
	if node.Data == cluster.DataUnknown { // guard: unknown_data_is_not_cloned_over — S5
		d := wait(ReasonServerUnknown, "the data directory could not be looked into")
		d.lookAgain(o)
		return d
	}
	if node.Data == cluster.DataBroken {
		return wait(ReasonDataBroken, "the data directory has entries but is no PostgreSQL data directory: empty it or correct data_dir")
	}
	if node.Data == cluster.DataValid && ok && known && handedOver(o) {
		// Our own clean shutdown is what the successor confirmed: no rewind. Its
		// promotion is what clients wait for, so our start does not compete with it.
		if until := o.Job.LastEnded.Add(successorPatience); !leader.RunsPrimary() && !o.Job.LastEnded.Never() && o.Now < until {
			d := wait(ReasonLeaderNotReady, "the successor is being promoted")
			d.wakeAt(until)
			return d
		}
		return job(o, ReasonStartingStandby, StartServer{Upstream: &up})
	}
	if !ok || !known || !leader.RunsPrimary() {
		if node.Data == cluster.DataValid && node.Control.StandbySignal && known {
			return job(o, ReasonStartingStandby, StartServer{Upstream: &up})
		}
		return wait(ReasonLeaderNotReady, "the leader is not a running primary yet")
	}
	if node.Data == cluster.DataValid {
		return job(o, ReasonRejoining, rejoin(o, up))
	}
	return job(o, ReasonCloning, Clone{Source: up})
}

// handedOver: this server's shutdown is the one the present leader took over.
func handedOver(o *Observation) bool {
	h, node := o.View.Value.Handover, &o.Node.Value
	return h != nil && h.From == o.Self.Name && o.View.Value.HolderIs(h.To) &&
		node.Control.State == cluster.ControlShutdown && node.Timeline == h.Position.Timeline &&
		node.Control.CheckpointEnd == h.Position.LSN
}

// Relation is how a stopped or standing node's data relates to a source's.
type Relation int

// The relations, from the cheapest way back to the dearest.
const (
	// RelationFollows: the node's WAL is a prefix of the source's history.
	RelationFollows Relation = iota
	// RelationDiverged: the node has WAL the source's history does not.
	RelationDiverged
	// RelationUnrelated: numbers cannot tell (S8), or the histories part where
	// nothing is known: only a clone is safe.
	RelationUnrelated
	// RelationForeign: another system identifier; nothing may be touched.
	RelationForeign
	// RelationNotReady: the source cannot serve as one now.
	RelationNotReady
)

// String names a relation in log lines.
func (r Relation) String() string {
	return [...]string{"follows", "diverged", "unrelated", "foreign", "not_ready"}[r]
}

// Source is what the source of a rejoin said of itself, over its own connection.
type Source struct {
	SystemID   string
	Timeline   cluster.Timeline
	LSN        cluster.LSN
	InRecovery bool
	// History are the switches before Timeline.
	History cluster.History
}

// MayReplace says why this node's data must not be replaced by a copy of the
// source; empty when it may. It is the proof S5 asks for before a clone, whoever
// asked for it: a running primary of the same system, on a history not older than
// ours.
func MayReplace(node cluster.NodeState, src Source) string {
	switch {
	case node.SystemID != "" && src.SystemID != node.SystemID: // guard: clone_same_system — S7
		return fmt.Sprintf("it belongs to system %s, this data to %s", src.SystemID, node.SystemID)
	case src.InRecovery: // guard: clone_from_primary — S5
		return "it is a standby, and only a primary proves what is the newest history"
	case src.Timeline < node.Timeline: // guard: clone_newer_source — S5
		return fmt.Sprintf("it is on timeline %d, this data on %d: this may be the newest copy", src.Timeline, node.Timeline)
	}
	return ""
}

// Relate compares a node's data with a source. It is the proof that S5 asks for
// before anything is rewound or cloned: the source is a running primary of the
// same system, and its history is newer than ours or parts from it.
func Relate(node cluster.NodeState, src Source) Relation {
	end := node.Replayed()
	wasPrimary := !node.Control.StandbySignal && node.Mode != cluster.ModeStandby
	switch {
	case src.SystemID != node.SystemID: // guard: rejoin_same_system — S7
		return RelationForeign
	case src.InRecovery: // guard: rejoin_from_primary — S5
		return RelationNotReady
	case src.Timeline < node.Timeline: // guard: rejoin_newer_source — S5
		// The source is on an older history than ours: it may be we who hold the
		// newest. Never touched from here (S5).
		return RelationNotReady
	case src.Timeline == node.Timeline:
		if wasPrimary { // guard: equal_timeline_ex_primary — SAFETY 5
			return RelationUnrelated
		}
		if end > src.LSN {
			// More WAL than the source on one timeline: pg_rewind sees nothing to
			// do there, and streaming would never begin.
			return RelationUnrelated
		}
		return RelationFollows
	}
	at, found := src.History.SwitchOf(node.Timeline)
	switch {
	case !found:
		return RelationUnrelated
	case wasPrimary && !node.Control.State.Clean():
		return RelationDiverged // how far its WAL reaches is not known: pg_rewind finds out
	case end > at || wasPrimary && node.Control.Checkpoint >= at:
		return RelationDiverged
	}
	return RelationFollows
}
