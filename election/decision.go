package election

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Decision is what to do now. The zero Decision does nothing.
type Decision struct {
	Reason cluster.Reason
	// Detail is the reason in words with figures; for people only.
	Detail string
	// Actions run in order; those of one lane (store, server, job) wait for
	// each other, and a lane that is busy skips what it was given: the next
	// step decides anew.
	Actions []Action
	// Say is what this member's key must tell the others.
	Say Say
	// Wake is when to look again if nothing happens before; zero means at the
	// next regular look.
	Wake cluster.Instant
	// Look asks for a look at the server now.
	Look bool
	// FastLook asks for the cheap look every 5 ms: somebody waits for this
	// server's next state.
	FastLook bool
	// Done: the agent may exit.
	Done bool
}

// Say is the part of the member key that decisions control.
type Say struct {
	// Vacancy and Position report in a race; Switchover and Position answer a
	// switchover (Position nil while only preparing).
	Vacancy    int64
	Switchover string
	Position   *cluster.Position
	// Gone is the last beat of a holder whose node this member finds gone.
	Gone int64
}

// Action is one thing to do; the set is closed.
type Action interface{ action() }

// Upstream is the server a standby streams from.
type Upstream struct {
	Member, Host, Port string
}

// StopMode is how a server is asked to stop.
type StopMode string

// The modes of a stop.
const (
	StopFast      StopMode = "fast"
	StopImmediate StopMode = "immediate"
)

type (
	// Condemn gives the lease up because of what ails the server: nothing renews it
	// any more, and it is released once the server is proved stopped.
	Condemn struct{ Ailment cluster.Ailment }
	// ClaimInitialize creates the empty key `initialize` on the member lease.
	ClaimInitialize struct{}
	// AbandonInitialize gives up a claim whose bootstrap failed.
	AbandonInitialize struct{ Revision int64 }
	// PutInitialize records the identifier of existing data in an empty store.
	PutInitialize struct{ SystemID string }
	// FinishBootstrap ends the bootstrap in one transaction (S7).
	FinishBootstrap struct {
		Revision int64
		SystemID string
	}
	// Acquire takes the leader key. LeaderTerm 0: it must be absent; else a
	// stale key of exactly that term is taken over. The beat must not have
	// moved from BeatRevision.
	Acquire struct {
		LeaderTerm   cluster.Term
		BeatRevision int64
		// PausedRevision is the paused_primary mark that may be passed by: our
		// own, or one the operator forced.
		PausedRevision int64
		// FailsafeRevision is the list of failsafe members that this one is in, or may pass by.
		FailsafeRevision int64
		// Failsafe takes the place of a list that this member is not in; nil leaves the list.
		Failsafe *PutFailsafe
		// DurabilityRevision is the record of rules that the race was decided by.
		DurabilityRevision int64
		// SyncRevision is the key `sync` likewise, FailoverRevision the key `failover`.
		SyncRevision, FailoverRevision int64
		// Passed: an operator forces it past rules of the record that it does not satisfy.
		Passed bool
	}
	// Inherit continues on the leader key a dead worker of this node held.
	Inherit struct {
		Term    cluster.Term
		LeaseID int64
	}
	// Accept takes up a hand-over addressed to this node, reserving Timeline in
	// the same transaction.
	Accept struct {
		Term     cluster.Term
		Timeline cluster.Timeline
	}
	// Renew is keepalive, then beat under the term.
	Renew struct{}
	// Reserve reserves a timeline number greater than all reserved and than
	// Above.
	Reserve struct{ Above cluster.Timeline }
	// LoseLease forgets the term and ends it at the guard, at once.
	LoseLease struct{}
	// Resume goes on under the term that a worker before this one kept for it.
	Resume struct{ Term cluster.Term }
	// Settle finds out what became of a hand-over or release.
	Settle struct{}
	// Release gives the leader key up; the server is proved stopped.
	// Clean: the position is the end of a clean shutdown.
	Release struct {
		Position cluster.Position
		Clean    bool
	}
	// HandOver gives the leader key to another member, on its lease. The server is
	// proved stopped, or, named by Exiting, has written its last at Position.
	HandOver struct {
		To       string
		LeaseID  int64
		ID       string
		Position cluster.Position
		// Exiting is the guard's server that is left; empty for none.
		Exiting string
	}

	// PutStatus publishes how far the primary has written.
	PutStatus struct{ Positions cluster.Positions }
	// PutHistory publishes the promotions.
	PutHistory struct{ History cluster.History }
	// PutConfig restores a missing dynamic configuration.
	PutConfig struct{}
	// PutSwitchover records a phase before the step it names. Wish is the mod_revision of
	// the key failover that it begins for; 0 when it goes on, or nobody asked.
	PutSwitchover struct {
		Switchover cluster.Switchover
		Wish       int64
	}
	// DeleteSwitchover clears a switchover that is over.
	DeleteSwitchover struct{}
	// ClearFailover answers the key `failover` (result when it has an id) and
	// clears it.
	ClearFailover struct {
		Revision int64
		Result   cluster.Result
	}
	// PutPausedPrimary records who is primary during a pause; empty clears it.
	PutPausedPrimary struct {
		Name string
		// Revision is the mark that is cleared.
		Revision int64
	}
	// PutHolder records the server that runs now under the term.
	PutHolder struct{}
	// PutResult answers an operator who waits for it.
	PutResult struct{ Result cluster.Result }
	// Answer answers a request and removes it.
	Answer struct {
		Request cluster.Request
		Result  cluster.Result
	}

	// InitDB creates a new cluster in the empty data directory.
	InitDB struct{}
	// StartServer starts the server: writable under the term, or as a standby.
	StartServer struct {
		Writable bool
		Upstream *Upstream
	}
	// StopServer stops the server and proves that none of it is left. Successor is
	// the member that must get the shutdown record; empty for none.
	StopServer struct {
		Mode      StopMode
		Successor string
		// Patience is how long a fast stop may take before it becomes an immediate
		// one; 0 for the usual.
		Patience time.Duration
	}
	// Fence, in a lane of its own, kills a guard that hangs and every process of the server, and
	// proves that none is left.
	Fence struct{}
	// Promote promotes the standby onto the reserved timeline. Or are others that were
	// reserved in this tenure: an earlier promotion may be under way, and end on one of them.
	// Names are the synchronous standbys in force before that.
	Promote struct {
		Timeline cluster.Timeline
		Or       []cluster.Timeline
		Names    string
	}
	// Rejoin finds out how this node's data relates to the source's, rewinds or
	// clones if it must, and follows.
	Rejoin struct {
		Source Upstream
		// Patroni runs the source, which may lack history files that a standby asks for.
		Patroni bool
	}
	// Clone builds the data directory anew from the source.
	Clone struct{ Source Upstream }
	// MoveAside puts the data directory aside.
	MoveAside struct{}
	// Restart stops and starts the server in its present role.
	Restart struct {
		Request  *cluster.Request
		Writable bool
		Upstream *Upstream
	}

	// Follow points the standby at another upstream. NoSlot: through no slot, since that
	// one is a standby that keeps none for this member.
	Follow struct {
		Upstream Upstream
		NoSlot   bool
	}
	// EnsureSlots makes the physical slots wanted, and drops those of members that
	// left long ago or stream from elsewhere, which would keep WAL for ever.
	EnsureSlots struct{ Want, Drop []string }
	// Checkpoint runs a checkpoint; For is the switchover it prepares, empty
	// after a promotion.
	Checkpoint struct {
		For string
		// Names are the standbys that this one's commits will wait for once it is
		// promoted, in force beforehand; empty for no change.
		Names string
	}
	// Reload reloads the configuration.
	Reload struct{}
	// SetSync has the running server go by the names, empty for the configured ones,
	// and proves that every walsender does.
	SetSync struct{ Names string }
	// Promise ends this standby's WAL receiver, and keeps durably that it will take
	// no WAL of Term, or of any before it, again.
	Promise struct{ Term cluster.Term }
	// AskFailsafe asks the members for their promise, and moves the guard's deadline
	// when enough give it.
	AskFailsafe struct {
		Self  string
		Peers []FailsafePeer
		// Rules: an election that cannot satisfy one of them cannot be complete; none
		// where every peer must accept.
		Rules []cluster.Rule
	}
	// Knock tries whether anything of the leader's node answers: its agent, or its
	// server.
	Knock struct{ Leader, APIURL, Host, Port string }
	// PutFailsafe lists the members whose promises the holder may go on by.
	PutFailsafe struct{ Members map[string]string }
	// PutDurability records the rules that commits are acknowledged under; without
	// rules it removes the record.
	PutDurability struct{ Record cluster.Durability }
)

func (Condemn) action()           {}
func (ClaimInitialize) action()   {}
func (AbandonInitialize) action() {}
func (PutInitialize) action()     {}
func (FinishBootstrap) action()   {}
func (Acquire) action()           {}
func (Inherit) action()           {}
func (Accept) action()            {}
func (Renew) action()             {}
func (Reserve) action()           {}
func (LoseLease) action()         {}
func (Resume) action()            {}
func (Settle) action()            {}
func (Release) action()           {}
func (HandOver) action()          {}
func (PutStatus) action()         {}
func (PutHistory) action()        {}
func (PutConfig) action()         {}
func (PutSwitchover) action()     {}
func (DeleteSwitchover) action()  {}
func (ClearFailover) action()     {}
func (PutPausedPrimary) action()  {}
func (PutHolder) action()         {}
func (PutResult) action()         {}
func (Answer) action()            {}
func (InitDB) action()            {}
func (StartServer) action()       {}
func (StopServer) action()        {}
func (Fence) action()             {}
func (Promote) action()           {}
func (Rejoin) action()            {}
func (Clone) action()             {}
func (MoveAside) action()         {}
func (Restart) action()           {}
func (Follow) action()            {}
func (EnsureSlots) action()       {}
func (Checkpoint) action()        {}
func (Reload) action()            {}
func (SetSync) action()           {}
func (Promise) action()           {}
func (PutDurability) action()     {}
func (AskFailsafe) action()       {}
func (PutFailsafe) action()       {}
func (Knock) action()             {}
