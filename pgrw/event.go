package pgrw

import "time"

// EventKind says what an Event tells.
type EventKind string

// The kinds of events.
const (
	// EventRoute: a statement or transaction was given a server. Reason is the handle's: "primary", "replica" or "fallback".
	EventRoute EventKind = "route"
	// EventFallback: a read goes to the primary. Reason: "no_replica", "stale", "token".
	EventFallback EventKind = "fallback"
	// EventWait: somebody waited for a primary, for Duration; Err when in vain.
	EventWait EventKind = "wait"
	// EventCausalWait: a read waited on a replica for its token, for Duration. Reason: "satisfied" or "behind".
	EventCausalWait EventKind = "causal_wait"
	// EventStaleRejected: a server was not used because of its state. Reason: "lag", "token", "recovery" (a primary that is a
	// standby by now), "timeline" (one of a timeline that is over).
	EventStaleRejected EventKind = "stale_rejected"
	// EventRetry: something is tried again. Reason: "not_started", "conflict", "lost", "read".
	EventRetry EventKind = "retry"
	// EventCommitUnknown: an ErrCommitUnknown was returned.
	EventCommitUnknown EventKind = "commit_unknown"
	// EventWriteLost: a token names WAL that a failover has left behind: the write is gone. Its read is answered by the primary.
	EventWriteLost EventKind = "write_lost"
	// EventForeignToken: a token comes from another cluster. Its read is answered by the primary.
	EventForeignToken EventKind = "foreign_token"
	// EventPrimary: the primary changed; Server is empty when there is none now.
	EventPrimary EventKind = "primary"
	// EventDropped: connections to a former primary were closed; Count of them in use.
	EventDropped EventKind = "dropped"
	// EventSource: the topology comes from elsewhere now. Reason: "events", "cluster" or "servers".
	EventSource EventKind = "source"
)

// Event is something an observer may count or log. Fields that do not apply are zero.
type Event struct {
	Kind     EventKind
	Server   string // host:port
	Reason   string
	Duration time.Duration
	Count    int
	Err      error
}
