package cluster

import "encoding/json"

// RequestKind is what an operator asks one member to do.
type RequestKind string

// Requests addressed to one member. A switchover or failover is asked for
// through the key `failover`, as Patroni's tools do.
const (
	RequestRestart       RequestKind = "restart"
	RequestReload        RequestKind = "reload"
	RequestReinitialize  RequestKind = "reinitialize"
	RequestCancelRestart RequestKind = "cancel_restart"
	// RequestRemove asks the leader to drop the slot of a member that is gone.
	RequestRemove RequestKind = "remove"
)

// Request is one key pgkeeper/requests/<member>/<id>. REST and CLI both write
// it; the member's loop takes it up, and answers with a Result.
type Request struct {
	ID     string      `json:"id"`
	Member string      `json:"member"`
	Kind   RequestKind `json:"kind"`
	// Args is the kind's own body: RestartArgs, ReinitArgs, RemoveArgs.
	Args        json.RawMessage `json:"args,omitempty"`
	ModRevision int64           `json:"-"`
}

// RestartArgs narrows a restart; all conditions must hold or it is refused.
type RestartArgs struct {
	// Schedule is an ISO 8601 time with zone; empty means now.
	Schedule        string `json:"schedule,omitempty"`
	Role            Role   `json:"role,omitempty"`
	PostgresVersion string `json:"postgres_version,omitempty"`
	// Timeout is in seconds; 0 means the member's own.
	Timeout        float64 `json:"timeout,omitempty"`
	RestartPending bool    `json:"restart_pending,omitempty"`
}

// ReinitArgs says how to rebuild a standby.
type ReinitArgs struct {
	Force      bool `json:"force,omitempty"`
	FromLeader bool `json:"from_leader,omitempty"`
}

// RemoveArgs name the member that is gone.
type RemoveArgs struct {
	Member string `json:"member"`
}

// Result answers a request or a failover wish: key pgkeeper/results/<id>.
type Result struct {
	ID string `json:"id"`
	// Member is who answered.
	Member string `json:"member"`
	// Done: it happened. Accepted: it was scheduled, or goes on in the
	// background. Neither: it was refused or failed, and Message says why.
	Done     bool `json:"done"`
	Accepted bool `json:"accepted,omitempty"`
	// Refused tells a refusal (nothing was tried) from a failure.
	Refused bool   `json:"refused,omitempty"`
	Message string `json:"message"`
	// NewLeader is the member a switchover or failover made primary.
	NewLeader string `json:"new_leader,omitempty"`
}
