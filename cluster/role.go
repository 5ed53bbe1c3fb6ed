package cluster

// Mode is what the local PostgreSQL server is. The zero value is Unknown, and
// Unknown is never writable.
type Mode int

// The modes of a server.
const (
	// ModeUnknown: could not look, or the look was contradictory.
	ModeUnknown Mode = iota
	// ModeStopped: no process of the server is left.
	ModeStopped
	// ModeStarting: processes exist, connections are not accepted yet (recovery).
	ModeStarting
	// ModeStandby: running, in recovery, read-only.
	ModeStandby
	// ModePrimary: running, out of recovery, accepts writes.
	ModePrimary
	// ModeStopping: a shutdown was requested, processes are left.
	ModeStopping
)

// String names the mode in log lines, metrics and transcripts.
func (m Mode) String() string {
	return [...]string{"unknown", "stopped", "starting", "standby", "primary", "stopping"}[m]
}

// Running reports whether the server answers queries.
func (m Mode) Running() bool { return m == ModeStandby || m == ModePrimary }

// Role is what a member calls itself on the wire (member key, REST, CLI).
type Role string

// Roles as Patroni writes them.
const (
	RolePrimary       Role = "primary"
	RoleReplica       Role = "replica"
	RoleDemoted       Role = "demoted"
	RolePromoted      Role = "promoted"
	RoleUninitialized Role = "uninitialized"
	RoleStandbyLeader Role = "standby_leader"
)

// State is the state a member shows on the wire.
type State string

// States as Patroni writes them. StateIndex gives the number its metric uses.
const (
	StateInitializing State = "initializing new cluster"
	StateInitFailed   State = "initdb failed"
	StateCreating     State = "creating replica"
	StateRunning      State = "running"
	StateStarting     State = "starting"
	StateStartFailed  State = "start failed"
	StateRestarting   State = "restarting"
	StateStopping     State = "stopping"
	StateStopped      State = "stopped"
	StateStopFailed   State = "stop failed"
	StateCrashed      State = "crashed"
)

// StateIndex is the value of Patroni's metric patroni_postgres_state for a
// state; -1 for a text it does not know.
func StateIndex(s State) int {
	order := []State{
		StateInitializing, StateInitFailed, "running custom bootstrap script", "custom bootstrap failed",
		StateCreating, StateRunning, StateStarting, "starting after custom bootstrap", StateStartFailed,
		StateRestarting, "restart failed", StateStopping, StateStopped, StateStopFailed, StateCrashed,
	}
	for i, known := range order {
		if known == s {
			return i
		}
	}
	return -1
}

// Reason is the stable snake_case name of why a node does what it does. The
// same string stands in the log, /status, metric labels, transcripts and explain.
type Reason string

// Term is the fencing token: the mod_revision of the leader key as its holder's
// own transaction wrote it (SAFETY 2). Zero means no term is held.
type Term int64
