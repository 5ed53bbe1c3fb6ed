package cluster

import "strings"

// NodeState is one good look at the local server and its data directory.
type NodeState struct {
	Mode Mode
	Data DataDir
	// SystemID, Timeline, ServerVersion come from pg_control while stopped and
	// from the server while it runs. ServerVersion is as in server_version_num.
	SystemID      string
	Timeline      Timeline
	ServerVersion int
	Control       ControlData

	// WriteLSN is the flush position of a primary. ReceiveLSN and ReplayLSN
	// are a standby's; ReceiveLSN is 0 while nothing was received since start.
	WriteLSN   LSN
	ReceiveLSN LSN
	ReplayLSN  LSN
	// ReplayedAt is the commit time of the last replayed transaction, as
	// PostgreSQL prints it; for people only.
	ReplayedAt   string
	ReplayPaused bool
	// StoppedBy says by which setting a standby's replay has stopped, since its primary allows
	// more; empty when it has not (trap 19).
	StoppedBy     string
	PostmasterPID int
	// CheckpointerPID is of a primary's checkpointer; 0 is not known. Another one under the
	// same postmaster has recovered from the crash of a process.
	CheckpointerPID int
	PostmasterTime  string

	// Receiver is the standby's WAL receiver; nil when there is none.
	Receiver *Receiver
	// EndKnown tells that a standby had read all of the WAL in its own directory before its
	// positions were read. Before that it is known how far it has replayed, and not how much
	// more it has flushed, and confirmed, in an earlier life.
	EndKnown bool
	// ReplaysOwn tells that a standby has WAL that it has not replayed, by what its startup
	// process does: it asks for none from elsewhere before it has come to the end of that,
	// be its replay slow, delayed, paused or blocked by a query.
	ReplaysOwn bool
	// PrimaryConninfo is the conninfo in force, password never included.
	PrimaryConninfo string
	PrimarySlotName string
	Walsenders      []Walsender
	// Gate is whether a primary's commits wait for its gate, and whether that is there.
	Gate GateState
	// SyncCommit is who commits on a primary without waiting for whom they should; nil
	// on a standby, and while nobody has looked.
	SyncCommit *SyncCommit
	// SyncLevel is a primary's own synchronous_commit, that of sessions for which nobody
	// sets another; empty while nobody has looked.
	SyncLevel      string
	Slots          []Slot
	PendingRestart map[string]PendingReason
	// TimelineHistory are the switch points before Timeline, oldest first,
	// read from the server's own history file.
	TimelineHistory History
}

// Position is the newest WAL the server has durably: the flush position of a
// primary, the greater of received and replayed for a standby (trap 5), the last
// checkpoint's for a stopped server. Of a standby whose EndKnown is false it is the least
// that it has.
func (n *NodeState) Position() Position {
	switch n.Mode {
	case ModePrimary:
		return Position{n.Timeline, n.WriteLSN}
	case ModeStandby, ModeStarting:
		return Position{n.Timeline, max(n.ReceiveLSN, n.ReplayLSN, n.Control.MinRecovery)}
	}
	return Position{n.Timeline, max(n.Control.Checkpoint, n.Control.MinRecovery)}
}

// Replayed is how far this server's history goes for whoever compares it with another's:
// its Position, but for a standby that has read all it has. What is left past its replay then
// is a torn record, which the dead primary sent in part: that is no history, and whoever goes
// on from the record before it has lost nothing.
func (n *NodeState) Replayed() LSN {
	if n.Mode == ModeStandby && n.EndKnown && !n.ReplaysOwn && n.Receiver == nil && n.ReplayLSN.Known() {
		return n.ReplayLSN
	}
	return n.Position().LSN
}

// DataDir is what the data directory holds.
type DataDir int

// The zero value is unknown: nothing may be concluded from it.
const (
	// DataUnknown: could not look.
	DataUnknown DataDir = iota
	// DataEmpty: absent or without entries.
	DataEmpty
	// DataValid: a complete data directory.
	DataValid
	// DataBroken: entries, but no readable pg_control or PG_VERSION.
	DataBroken
	// DataTombstone: an interrupted clone or initdb left it; nobody's copy.
	DataTombstone
	// DataDamaged: an interrupted rewind left it, or it may be what somebody restored
	// where work was interrupted. It may be the only copy there is.
	DataDamaged
)

// String names the state in log lines.
func (d DataDir) String() string {
	return [...]string{"unknown", "empty", "valid", "broken", "tombstone", "damaged"}[d]
}

// ControlData is the part of pg_control that decisions need.
type ControlData struct {
	// State is PostgreSQL's DBState: "shut down", "in production", ...
	State    ControlState
	SystemID string
	Timeline Timeline
	// Checkpoint is where the last checkpoint record begins, Redo where
	// recovery from it would begin.
	Checkpoint LSN
	Redo       LSN
	// MinRecovery and MinRecoveryTLI bound what a standby must replay.
	MinRecovery    LSN
	MinRecoveryTLI Timeline
	// CheckpointEnd is where the last checkpoint record ends, read from the
	// WAL; 0 when that was not possible.
	CheckpointEnd LSN
	Checksums     bool
	WalLogHints   bool
	// StandbySignal tells that standby.signal exists in the directory.
	StandbySignal bool
	// Settings a standby must not go below (trap 19).
	MaxConnections, MaxWorkers, MaxWalSenders, MaxPrepared, MaxLocks int
}

// ControlState is pg_control's state.
type ControlState int

// The numbers are PostgreSQL's DBState.
const (
	ControlStartup ControlState = iota
	ControlShutdown
	ControlShutdownInRecovery
	ControlShuttingDown
	ControlInCrashRecovery
	ControlInArchiveRecovery
	ControlInProduction
)

// String is pg_controldata's wording.
func (s ControlState) String() string {
	names := [...]string{"starting up", "shut down", "shut down in recovery", "shutting down",
		"in crash recovery", "in archive recovery", "in production"}
	if s < 0 || int(s) >= len(names) {
		return "unrecognized status code"
	}
	return names[s]
}

// Clean reports whether the server was shut down without a crash.
func (s ControlState) Clean() bool { return s == ControlShutdown || s == ControlShutdownInRecovery }

// Receiver is a standby's WAL receiver.
type Receiver struct {
	// Status is pg_stat_wal_receiver.status: streaming, waiting, ...
	Status   string
	Host     string
	Port     string
	SlotName string
	// Latest is the primary's WAL end as last reported to us.
	Latest   LSN
	Timeline Timeline
}

// Walsender is one row of pg_stat_replication.
type Walsender struct {
	// Name is application_name, which is the member's name.
	Name      string
	PID       int
	Addr      string
	State     string
	SyncState string
	Sent      LSN
	Write     LSN
	Flush     LSN
	Replay    LSN
}

// Reached is how far this standby is in the sense of a value of synchronous_commit: what
// it wrote, flushed or replayed.
func (w *Walsender) Reached(level string) LSN {
	switch strings.ToLower(level) {
	case "remote_write":
		return w.Write
	case "remote_apply":
		return w.Replay
	}
	return w.Flush
}

// Slot is one replication slot.
type Slot struct {
	Name   string
	Type   string
	Active bool
	// Restart is the oldest WAL it keeps.
	Restart   LSN
	WalStatus string
	Plugin    string
	Database  string
	Temporary bool
}
