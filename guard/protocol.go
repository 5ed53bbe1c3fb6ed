package guard

import (
	"encoding/json"
	"fmt"
	"time"
)

// ProtocolVersion is the version of the socket protocol spoken by this build. A
// guard is often older than its worker: fields may be added, none may change.
//
// Version 2 knows gates, version 3 watchdogs.
const ProtocolVersion = 3

// maxLine is the longest message in bytes; promotion with its history files is
// by far the largest one, at a few KiB.
const maxLine = 64 << 10

// Mode says how a server is asked to stop.
type Mode string

// The three modes of PostgreSQL, and SIGKILL.
const (
	Smart     Mode = "smart"     // SIGTERM: waits for clients to leave
	Fast      Mode = "fast"      // SIGINT: disconnects clients, writes a checkpoint
	Immediate Mode = "immediate" // SIGQUIT: no checkpoint, recovery at next start
	Kill      Mode = "kill"      // SIGKILL to every process of the server
)

// request is one line from a worker. Which fields count depends on Op.
type request struct {
	ID        uint64            `json:"id"`
	Op        string            `json:"op"`
	V         int               `json:"v,omitempty"`
	Session   uint64            `json:"session,omitempty"`
	WorkerPID int               `json:"worker_pid,omitempty"`
	Version   string            `json:"version,omitempty"`
	Term      int64             `json:"term,omitempty"`
	At        time.Duration     `json:"at_boottime_ns,omitempty"`
	Margin    time.Duration     `json:"margin_ns,omitempty"`
	PID       int               `json:"pid,omitempty"`
	DataDir   string            `json:"data_dir,omitempty"`
	Writable  bool              `json:"writable,omitempty"`
	Argv      []string          `json:"argv,omitempty"`
	Env       []string          `json:"env,omitempty"`
	Owner     *Owner            `json:"owner,omitempty"`
	LogPath   string            `json:"log_path,omitempty"`
	History   map[string]string `json:"history_files,omitempty"`
	Mode      Mode              `json:"mode,omitempty"`
	On        bool              `json:"on,omitempty"`
	Force     bool              `json:"force,omitempty"`
	Renewed   time.Duration     `json:"renewed_boottime_ns,omitempty"`
	Gate      *Gate             `json:"gate,omitempty"`
	Watchdog  *Watchdog         `json:"watchdog,omitempty"`
}

// reply answers the request of the same id.
type reply struct {
	ID       uint64       `json:"id"`
	Error    *RemoteError `json:"error,omitempty"`
	Status   *Status      `json:"status,omitempty"`
	Instance string       `json:"instance,omitempty"`
	PID      int          `json:"pid,omitempty"`
	Killed   int          `json:"killed,omitempty"`
}

// Owner is the OS user a server runs as.
type Owner struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Status is what the guard knows, at the moment of answering.
type Status struct {
	Protocol  int           `json:"v"`
	Version   string        `json:"version"`
	PID       int           `json:"pid"`
	Now       time.Duration `json:"now_boottime_ns"`
	Session   uint64        `json:"session"`
	WorkerPID int           `json:"worker_pid,omitempty"` // 0 when no worker is connected
	Term      int64         `json:"term,omitempty"`
	EndedTerm int64         `json:"ended_term,omitempty"`
	Deadline  time.Duration `json:"deadline_boottime_ns,omitempty"`
	Margin    time.Duration `json:"margin_ns,omitempty"`
	Armed     bool          `json:"armed"` // a server that may write will be stopped at Deadline
	Paused    bool          `json:"paused"`
	LastKill  time.Duration `json:"last_kill_ns,omitempty"` // from the first signal to the proof; 0 when never
	Server    *Server       `json:"server,omitempty"`       // nil when none
	LastExit  *Event        `json:"last_exit,omitempty"`    // the latest exited event of this guard
	Gate      *GateStatus   `json:"gate,omitempty"`         // nil when the server wants none

	Watchdog *WatchdogStatus `json:"watchdog,omitempty"` // nil when it is off
}

// State says where a server is in its life.
type State string

// The states of a server the guard holds.
const (
	Running  State = "running"
	Stopping State = "stopping" // asked to stop
	Killing  State = "killing"  // SIGKILL sent, or postmaster gone and leftovers not
)

// Server is the server a guard holds.
type Server struct {
	Instance          string        `json:"instance"` // 128 random bits in hex, new for every start and adoption
	PID               int           `json:"pid"`
	DataDir           string        `json:"data_dir"`
	State             State         `json:"state"`
	Writable          bool          `json:"writable"` // may be out of recovery, so the deadline counts
	Adopted           bool          `json:"adopted"`
	ParentDeathSignal bool          `json:"parent_death_signal"`
	Since             time.Duration `json:"since_boottime_ns"`
	Leftovers         int           `json:"leftovers,omitempty"` // processes that SIGKILL has not removed yet
}

// Kind names an event.
type Kind string

// What the guard reports unasked.
const (
	// Exited: the postmaster ended and no process of it is left.
	Exited Kind = "exited"
	// DeadlineFired: the deadline of Term passed with a server that may write.
	DeadlineFired Kind = "deadline_fired"
	// StoppedAll: a forced stop is proved complete; it took Took.
	StoppedAll Kind = "stopped_all"

	superseded Kind = "superseded"
)

// Event is one message that no request asked for. Which fields are set depends on
// the kind.
type Event struct {
	Kind      Kind          `json:"event"`
	Instance  string        `json:"instance,omitempty"`
	PID       int           `json:"pid,omitempty"`
	Status    int           `json:"status,omitempty"` // exit status; -1 when unknown (adopted) or ended by Signal
	Signal    int           `json:"signal,omitempty"` // signal that ended the postmaster, else 0
	At        time.Duration `json:"at_boottime_ns"`
	Leftovers int           `json:"leftovers,omitempty"` // processes besides the postmaster that were killed
	Term      int64         `json:"term,omitempty"`
	Took      time.Duration `json:"took_ns,omitempty"`
}

func decodeRequest(line []byte) (request, error) {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("%w: not a JSON object of the protocol: %w", ErrBadRequest, err)
	}
	if r.Op == "" {
		return r, fmt.Errorf("%w: op is missing", ErrBadRequest)
	}
	return r, nil
}

func encodeLine(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // only strings, numbers and maps of strings go in
		b, _ = json.Marshal(reply{Error: remote(err)})
	}
	return append(b, '\n')
}
