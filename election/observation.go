package election

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Observation is everything one decision may rest on. The agent folds events
// into it; nothing in it changes while Decide reads it.
type Observation struct {
	// Now is CLOCK_BOOTTIME of this machine at the step.
	Now      cluster.Instant
	Self     Self
	Settings cluster.Settings
	View     cluster.Observed[cluster.View]
	// Refused: the store was read but is not believed (S4); View.Err says why.
	Refused bool
	Node    cluster.Observed[cluster.NodeState]
	// Looking: the server has changed, and no look at it has ended since, well or
	// not. Node says what was before, or is good, of a server that has just been
	// promoted: mode, timeline and position are what its job saw, the rest was before.
	Looking bool
	// LookTook is how long that last good look at the server took.
	LookTook time.Duration
	Guard    Guard
	Lease    Lease
	// Beat is the holder's beat as this process watched it change.
	Beat Sighting
	// Read is when the read of the store left that the view begins with; what a watch has told since is on top of it.
	Read cluster.Instant
	// Failsafe is what a holder knows of its way to go on without the store.
	Failsafe Failsafe
	// Suspicion is what this member measures of the leader's node by itself.
	Suspicion Suspicion
	// Vacancy is since when this process sees no live holder; zero while
	// there is one.
	Vacancy cluster.Instant
	Job     Job
	Wish    Wish
	// Sync is what is known of the rule this server's commits wait under.
	Sync Sync
	// Phase is the running switchover as this process watched it.
	Phase PhaseSeen
	// RecordOver is the revision of the record of rules that the last change was sent over,
	// under this term: while the store shows that one, the change may still come.
	RecordOver int64
	// Heard is the greatest timeline that a member's key has told of since this process
	// began: the one that told it may be gone, and have told it nowhere else.
	Heard cluster.Timeline
	// RetainedSlots are the slots of members that have left; ExpiredSlots those
	// of them that were left for longer than member_slots_ttl.
	RetainedSlots, ExpiredSlots []string
	// Published is when this holder last published its position.
	Published cluster.Instant
	// Health is what the probes of this node say; Recovery how long a start would take.
	Health   cluster.Health
	Recovery Recovery
	// Aimed is whom the server was last started, or told, to stream from, by this process; nobody, when
	// that is not known.
	Aimed Upstream
	// Starting is since when this server was seen to let nobody in, as it starts; 0 while it
	// does not.
	Starting cluster.Instant
	// NotStreaming is since when this standby has no streaming receiver, though nothing has changed about where its WAL is
	// to come from; 0 while it has one.
	NotStreaming cluster.Instant
}

// Self is who this node is.
type Self struct {
	Name string
	// Node is the random id of the state directory, BootID the kernel's.
	Node, BootID string
	Tags         cluster.Tags
	// MemberLease is the lease of this node's member key; 0 before the first.
	MemberLease int64
	Started     cluster.Instant
	// InitRevision is the mod_revision of `initialize` as this process
	// claimed it; 0 when it did not.
	InitRevision int64
	// Prepared is the id of the switchover this node is ready for, as the
	// candidate or as the primary that has checkpointed.
	Prepared string
	// Answered is the id of the last switchover this process answered as its
	// successor.
	Answered string
	// HandedOver is the mod_revision of the hand-over that this tenure began
	// with, although its term has changed since; 0 when it began another way.
	HandedOver int64
	// Strayed: this member's data came out of recovery on a timeline that is another's.
	Strayed bool
	// PatroniLed: the newest leader that this member knows of was a Patroni member.
	PatroniLed bool
	// Paused: a worker before this one, or this one, has told the guard of a pause and
	// not of its end.
	Paused bool
	// Promised is the newest term this member will take no WAL from, durably. Promising is
	// the same while it is being written: nobody is told yet, and nothing is followed
	// beside it that would still arrive when it is.
	Promised, Promising cluster.Term
	// Pledged is until when this member has promised a holder, durably or about to be,
	// to race for nothing and to vote for nobody. PledgedTo is that holder, PledgedTerm its
	// term; 0 is a Patroni leader's.
	Pledged     cluster.Instant
	PledgedTo   string
	PledgedTerm cluster.Term
	// Tenure is the term that a worker before this one held, as it kept it for this one,
	// without its configuration; nil when there is none.
	Tenure *cluster.Tenure
	// NoWatchdog says why the watchdog that is required here cannot be used; empty
	// when it can, or none is required.
	NoWatchdog string
	// Checkpointed: a checkpoint was completed since this node was promoted.
	Checkpointed bool
	// Unmarked is the mark of a pause, by its mod_revision, that this process has asked the
	// store to take back: the request may still arrive.
	Unmarked int64
	// Ended is the newest term that this process has held and holds no more.
	Ended cluster.Term
	// MarksFrom is the revision from which on a mark of a pause is this process's own doing:
	// its first term. A worker before it may have asked the store to take an earlier one
	// back; that request compares the mark alone, and may still arrive. It is 0 when that
	// worker has left a guard whose deadline a mark had lifted.
	MarksFrom int64
	// GaveUp is when this process last gave up a lease because its server was sick
	// with Ailment; zero for never.
	GaveUp  cluster.Instant
	Ailment cluster.Ailment
}

// Recovery is what a crash recovery of the own server rests on.
type Recovery struct {
	// End is the newest position that the server was seen to have written.
	End cluster.LSN
	// Rate is how many bytes of WAL it replayed in a second when that was last
	// measured here; 0 when it never was.
	Rate int64
}

// Guard is the guard as the worker knows it.
type Guard struct {
	// Connected: this worker holds the guard's one session.
	Connected bool
	// Frozen: connected, but two heartbeats were missed.
	Frozen bool
	// Running: the guard has a server. Instance is its id.
	Running  bool
	Instance string
	// Writable: the server was started, or promoted, to write.
	Writable bool
	// Ended is where the log of that server has ended for good: it has written its
	// shutdown checkpoint as a primary, and has yet to exit. Zero until then.
	Ended cluster.Position
	// Fencing: a fence past the guard is under way. FencedAt is when the last
	// one of this session ended; zero when there was none.
	Fencing  bool
	FencedAt cluster.Instant
	// Paused: the guard does not enforce its deadline. MayPause: a word that has it do so
	// was sent, and none since that it should, and has answered: it may yet be.
	Paused, MayPause bool
	// Deadline is when the guard stops the server; zero when it has none. Term is what it
	// was for when this worker came, unless that had ended.
	Deadline cluster.Instant
	Term     cluster.Term
	// LastKill is how long the last stop at a deadline took.
	LastKill time.Duration
}

// Lease is what this process holds.
type Lease struct {
	// Term is held, or 0. Began is the term that this tenure began with, as far as that is
	// known: a new worker, or a lease of another length, goes on under another.
	Term, Began cluster.Term
	// Renewed is s of the last renewal that counted: just before its keepalive
	// left. Tried is when the last attempt began.
	Renewed, Tried cluster.Instant
	// Counted is when this process heard of it.
	Counted cluster.Instant
	// Agreed is s of the last round of promises that was enough: just before the first
	// question left. AgreedUntil is the deadline that it gave the guard.
	Agreed, AgreedUntil cluster.Instant
	// Acquired is when this process got the term.
	Acquired cluster.Instant
	// Busy names the call on the leader key under way; empty for none.
	Busy string
	// Giving: that call gives the key away (a hand-over or a release). It may
	// have taken effect already, so nothing may be done under the term.
	Giving bool
	// Unsettled: the outcome of a hand-over or release is unknown; only a
	// further transaction on the term may settle it.
	Unsettled bool
	// FailedAt is when the last call on the leader key ended without success;
	// zero after a success.
	FailedAt cluster.Instant
	// Resumed: a worker before this one took the term, and its key could not be put again
	// yet. Nothing is written under it.
	Resumed bool
	// Passed: it was taken by an operator's word past rules that were not satisfied.
	Passed bool
	// Condemned: the server under it is sick and another member shall lead. It is
	// renewed no more, and released once the server is proved stopped.
	Condemned cluster.Ailment
}

// Failsafe is what a holder knows of the rounds of promises.
type Failsafe struct {
	// Busy: a round is under way; Tried is when the last one began.
	Busy  bool
	Tried cluster.Instant
	// Lists are what was sent to the store under this term as the list of members, and
	// is not shown by it: any of them may be there.
	Lists []map[string]string
	// RecordUnclear: a record of rules was sent to the store, and is not shown by it.
	RecordUnclear bool
}

// Sync is the rule in force at a server that may write.
type Sync struct {
	// Instance is the guard's server for which Names was proved to be in force, at
	// every walsender; empty when nothing is proved.
	Instance string
	Names    string
	// Begun are the names that the server was told last; they may be in force.
	Begun string
	// From is a position read after that: what was written before it may have been
	// acknowledged under an older rule.
	From cluster.LSN
	// Recovered: this server was started to write, and what its recovery made visible
	// may be on no standby. Confirmed: it is, on as many as the rule asks for.
	Recovered, Confirmed bool
}

// Sighting is when this process last saw a value change, on its own clock.
type Sighting struct {
	Revision int64
	At       cluster.Instant
}

// PhaseSeen is since when this process sees the switchover in its phase.
type PhaseSeen struct {
	ID    string
	Phase cluster.SwitchoverPhase
	Since cluster.Instant
}

// JobKind names long work in the one job slot.
type JobKind string

// The kinds of long work.
const (
	JobNone    JobKind = ""
	JobInitDB  JobKind = "initdb"
	JobStart   JobKind = "start"
	JobStop    JobKind = "stop"
	JobPromote JobKind = "promote"
	JobRejoin  JobKind = "rejoin"
	JobClone   JobKind = "clone"
	JobRestart JobKind = "restart"
	JobAside   JobKind = "move_aside"
)

// Job is the job slot: what runs, and how the last one ended.
type Job struct {
	Kind  JobKind
	Since cluster.Instant
	// Mode is what the server was when it began.
	Mode cluster.Mode
	// Writes: it promotes the server, or starts one that may write.
	Writes bool
	// Progress is how far it is, in words.
	Progress string
	// Last is the job that ended last, LastErr its failure (empty for none).
	Last      JobKind
	LastErr   string
	LastEnded cluster.Instant
	// LastMode is what the server was when that job began.
	LastMode cluster.Mode
	// Failures counts failures in a row, for backing off.
	Failures int
	// Taken: the last one, a promotion, found that the number reserved for it is in use.
	Taken cluster.Timeline
}

// Wish is what operators ask of this node, already found due by the wall clock
// where a time was named.
type Wish struct {
	// Stop: the agent was told to stop. Leave: keep the server running.
	Stop, Leave bool
	// Request is the oldest request key addressed to this member, or nil.
	Request *cluster.Request
	// FailoverDue: the key `failover` asks for something now; FailoverStale: its
	// time passed too long ago to be meant.
	FailoverDue, FailoverStale bool
	// FailoverSince is when this process first saw it due; zero while it is not.
	FailoverSince cluster.Instant
	// RestartDue: a scheduled restart has come due.
	RestartDue bool
}
