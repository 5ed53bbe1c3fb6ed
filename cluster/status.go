package cluster

import (
	"encoding/json"
	"time"
)

// Status is the agent's whole answer to anybody who asks: made fresh by the loop
// after every step, never changed afterwards, read by REST and metrics.
type Status struct {
	Scope   string
	Name    string
	Version string

	Node Observed[NodeState]
	// LookTook is how long the look took that Node is of.
	LookTook time.Duration
	View     Observed[View]
	// Role and State are what this member calls itself on the wire.
	Role  Role
	State State
	// Reason is why the node does what it does, ReasonSince since when, Detail
	// the same in words with figures.
	Reason      Reason
	ReasonSince Instant
	Detail      string
	// NoCandidate: nobody leads, and whatever comes, this member takes no lease as things are.
	NoCandidate bool

	// Term is held (non-zero) or not. LeaseUntil is the guard's deadline: past
	// it nothing here may be believed to be leading, whatever else it says.
	Term       Term
	LeaseUntil Instant
	// Failsafe: this primary goes on by its members' promises, without the store.
	// PledgedTo is whom this member has promised the same, until Pledged.
	Failsafe  bool
	PledgedTo string
	Pledged   Instant
	// Unconfirmed: this primary recovered from a crash, and its synchronous standbys
	// have yet to confirm what that made visible.
	Unconfirmed bool
	// Store is how the store does itself; nil while nobody has looked.
	Store *StoreHealth
	// Settings is the dynamic configuration in force, ConfigRaw as stored.
	Settings  Settings
	ConfigRaw json.RawMessage
	// ConfigError says why the stored configuration is not the one in force.
	ConfigError      string
	Tags             Tags
	PendingRestart   map[string]PendingReason
	ScheduledRestart *RestartArgs
	// Job is the long work under way, empty when there is none; Progress says
	// how far it is.
	Job      string
	Progress string
	// Sick is what ails this member, or made it give up its lease a moment ago.
	Sick Ailment
	// Watchdog is how the kernel watchdog does.
	Watchdog Watchdog
	// Pooler is what the pooler does that this member drives; empty without one.
	Pooler PoolerState
	// LoopAt is when the loop last stepped, for liveness.
	LoopAt Instant
	// DCSSeen is wall-clock seconds of the last good look at the store; for
	// people and Patroni's dcs_last_seen only, never compared.
	DCSSeen int64
}

// Writable reports whether this node is provably the primary at now: lease valid
// and server out of recovery (S3). A server that is being stopped takes no new
// sessions, although the last look still found it well, and in a switchover its
// successor may be up before it has heard that the lease is given.
func (s *Status) Writable(now Instant) bool {
	return s != nil &&
		s.Holds(now) && // guard: primary_holds — S3
		s.Node.Good() && // guard: primary_seen — S3
		s.Node.Value.Mode == ModePrimary && // guard: primary_writes — S3
		s.State != StateStopping && // guard: primary_stays — S3
		!s.Unconfirmed // guard: primary_confirmed — SAFETY 3, trap 8
}

// Holds reports whether the lease is provably valid at now.
func (s *Status) Holds(now Instant) bool {
	return s != nil && s.Term != 0 && !s.LeaseUntil.Never() && now < s.LeaseUntil
}
