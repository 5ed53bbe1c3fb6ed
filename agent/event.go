package agent

import (
	"encoding/json"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// Event is something that happened; the set is closed. Events carry data only.
type Event interface{ event() }

type (
	// Tick is the wake-up Step asked for.
	Tick struct{}

	// ViewSeen is a view of the store, folded from a watch, or loaded by a read that left at Read.
	ViewSeen struct {
		View cluster.View
		Read cluster.Instant
	}
	// ViewFailed: the store could not be read, or its watch broke.
	ViewFailed struct{ Err string }

	// Looked is a look at the server that began at At and took Took.
	Looked struct {
		At   cluster.Instant
		Took time.Duration
		Fast bool
		Node cluster.NodeState
		Err  string
		// Instance is the guard's server at the beginning of the look: a look
		// at a server that was replaced meanwhile does not count.
		Instance string
	}

	// GuardUp: the worker has the guard's session.
	GuardUp struct{ Status guard.Status }
	// GuardDown: the session ended.
	GuardDown struct{ Err string }
	// GuardSaid is an event the guard reported.
	GuardSaid struct{ Event guard.Event }
	// GuardFrozen: heartbeats are missed.
	GuardFrozen struct{}
	// GuardAnswered: the heartbeats are answered again.
	GuardAnswered struct{}

	// GuardKnows: the guard was told that its server, Instance, writes; Err says that it does not know of it.
	GuardKnows struct{ Instance, Err string }
	// GuardPaused: the guard was told to pause or resume; Err says it refused.
	GuardPaused struct {
		On  bool
		Err string
	}

	// SessionOpened: the member lease was granted, or a predecessor's resumed.
	SessionOpened struct {
		LeaseID int64
		TTL     time.Duration
	}
	// KeptAlive: a keepalive of the member lease that left at At ended.
	KeptAlive struct {
		At   cluster.Instant
		Gone bool
		Err  string
	}
	// MemberPut: the member key was written on Lease, or not.
	MemberPut struct {
		Lease int64
		Err   string
	}

	// LeaseDone: a call on the leader key that left at At ended.
	LeaseDone struct {
		Action election.Action
		At     cluster.Instant
		Term   cluster.Term
		// Revision is the claim's, for ClaimInitialize; Timelines is the list after
		// a Reserve or an Accept.
		Revision  int64
		Timelines *cluster.Timelines
		Outcome   Outcome
		Err       string
	}
	// KeysDone: a guarded key was written, or not. Revision is its own, for the
	// record of rules, the failsafe list and the switchover.
	KeysDone struct {
		Action   election.Action
		Revision int64
		Err      string
	}
	// ServerDone: quick SQL ended.
	ServerDone struct {
		Action election.Action
		// Instance is the guard's server when it began; From is what SetSync read.
		Instance string
		From     cluster.LSN
		Err      string
	}
	// JobDone: the job ended. Saw is the cheap look that ended a promotion, Taken the number
	// that one found to be in use. MayWrite: a promotion has made the server one that may
	// write, or may yet, however the job ended.
	JobDone struct {
		Kind     election.JobKind
		Err      string
		Saw      *Looked
		Taken    cluster.Timeline
		MayWrite bool
	}
	// FenceDone: a fence past the guard ended.
	FenceDone struct{ Err string }
	// ServerStarted: a job has had the guard start a server; it may take long
	// until that answers.
	ServerStarted struct{ Server guard.Server }
	// SenderGone says that a walsender has ended.
	SenderGone struct{}
	// JobProgress says how far a job is, in words. Lent: it copies a standby, and needs its
	// leader no more.
	JobProgress struct {
		Text string
		Lent bool
	}
	// ShutDown: the server that a job stops has written its shutdown checkpoint, which
	// ends at Position.
	ShutDown struct {
		Instance string
		Position cluster.Position
	}

	// Probed: one try of a check ended; an empty ailment is a success. The times are the
	// probe's, which may have waited long to be heard.
	Probed struct {
		Check     cluster.CheckName
		Began, At cluster.Instant
		Ailment   cluster.Ailment
		Detail    string
	}
	// ProbeLost: the probe has ended; what it said counts no more.
	ProbeLost struct{}
	// FailsafeAsked: a holder without store asks for this member's promise; it hears
	// the answer under ID.
	FailsafeAsked struct {
		ID  uint64
		Ask cluster.FailsafeAsk
	}
	// FailsafeDone: a round of promises under Term ended, whose first question left at
	// At. Err says why it was not enough; else the guard has the deadline Until.
	FailsafeDone struct {
		Term      cluster.Term
		At, Until cluster.Instant
		Accepted  []string
		Err       string
	}

	// Knocked: a try of the leader's node ended. Answered is who did, empty for nobody.
	// The times are the try's own, by which it shows whether it was held up.
	Knocked struct {
		Leader       string
		Began, Ended cluster.Instant
		Answered     string
	}

	// StopWanted: the agent was told to stop; Leave keeps the server running.
	StopWanted struct{ Leave bool }
	// Reloaded: the local configuration was read again.
	Reloaded struct {
		Tags cluster.Tags
		Raw  json.RawMessage
	}
)

// RereadDone: the local configuration was read again; Err says why the old one
// stays in force.
type RereadDone struct{ Err string }

// persisted: the memory was written, or it will be next time.
type persisted struct {
	Memory Memory
	Err    string
}

// Outcome is how a call on the store ended.
type Outcome int

// The outcomes; Unknown may still take effect later.
const (
	Succeeded Outcome = iota
	Failed
	Refused
	LeaseGone
	Unknown
)

func (Tick) event()          {}
func (ViewSeen) event()      {}
func (ViewFailed) event()    {}
func (Looked) event()        {}
func (GuardUp) event()       {}
func (GuardDown) event()     {}
func (GuardSaid) event()     {}
func (GuardFrozen) event()   {}
func (GuardAnswered) event() {}
func (GuardPaused) event()   {}
func (GuardKnows) event()    {}
func (SessionOpened) event() {}
func (KeptAlive) event()     {}
func (MemberPut) event()     {}
func (LeaseDone) event()     {}
func (KeysDone) event()      {}
func (ServerDone) event()    {}
func (JobDone) event()       {}
func (FenceDone) event()     {}
func (ServerStarted) event() {}
func (SenderGone) event()    {}
func (JobProgress) event()   {}
func (ShutDown) event()      {}
func (Probed) event()        {}
func (ProbeLost) event()     {}
func (FailsafeAsked) event() {}
func (FailsafeDone) event()  {}
func (Knocked) event()       {}
func (StopWanted) event()    {}
func (Reloaded) event()      {}
func (RereadDone) event()    {}
func (persisted) event()     {}
