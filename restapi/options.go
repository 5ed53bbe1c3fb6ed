package restapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/peer"
)

// What an Operator may wrap in its errors. Any other error means that the store
// or the member could not be asked, and is answered with 503 (502 for PUT /config).
var (
	// ErrConflict: somebody else changed the same thing meanwhile (409).
	ErrConflict = errors.New("changed meanwhile")
	// ErrAbsent: what should be changed or deleted does not exist (404; 503 for
	// PATCH /config, as in Patroni).
	ErrAbsent = errors.New("does not exist")
	// ErrInvalid: the wish itself is wrong; its text goes to the asker (400).
	ErrInvalid = errors.New("invalid request")
)

// Operator carries out what a POST, PUT, PATCH or DELETE asks for. Every call
// ends with its context; ending so says nothing about the outcome.
type Operator interface {
	// Submit hands one member a request and waits for its result.
	Submit(ctx context.Context, request cluster.Request) (cluster.Result, error)
	// Failover writes the wish for a switchover or failover and waits for its
	// result; a scheduled one is Accepted as soon as it is written.
	Failover(ctx context.Context, wish cluster.Failover) (cluster.Result, error)
	// PatchConfig merges patch into the dynamic configuration (null deletes), or
	// stores it whole when replace is set, and returns what is stored then.
	PatchConfig(ctx context.Context, patch json.RawMessage, replace bool) (json.RawMessage, error)
	// CancelFailover withdraws a scheduled switchover.
	CancelFailover(ctx context.Context) error
}

// Options is everything a Server needs. Status, Now and Wall are required.
type Options struct {
	// Status returns the newest status without waiting; nil before the first.
	Status func() *cluster.Status
	// Explain returns the newest decision in words without waiting; nil before the
	// first, and a nil func when this process has none to give.
	Explain func() *cluster.Explanation
	// Lost returns what is known of WAL that this member had and the cluster has not,
	// newest first, without waiting; may be nil.
	Lost func() []cluster.Lost
	// Changed has something to receive soon after a new status was stored; Follow takes
	// it. nil has events follow a fourth of a second later.
	Changed <-chan struct{}
	// Progress returns the newest quick look at the local server's positions without
	// waiting, nil when there is none yet; that it is called has such looks made for a
	// while. May be nil: then the status' own look has to do.
	Progress func() *cluster.Progress
	// Listeners bounds how many listen to /events at once; 0 takes DefaultListeners.
	Listeners int
	// Now reads CLOCK_BOOTTIME; leases are compared with it.
	Now func() cluster.Instant
	// Wall reads the wall clock. It serves scheduled times and the deadline of
	// reading a body; nothing safety rests on.
	Wall func() time.Time
	// Operator carries out writes; nil answers them with 503.
	Operator Operator
	// Metrics serves /metrics; nil answers it with 501.
	Metrics http.Handler
	// Access says who may use the unsafe methods.
	Access Access
	// Peers knows calls of the cluster's other agents; nil answers them with 503.
	Peers *peer.Verifier
	// Reach calls every other agent and says which of them answer; may be nil.
	Reach func(ctx context.Context) []cluster.Reach
	// Failsafe brings the question of a holder without store to the loop, and returns its
	// answer once that is durable, or none when ctx ends; nil answers with 503.
	Failsafe func(ctx context.Context, ask cluster.FailsafeAsk) cluster.FailsafeAnswer
	// ExtraHeaders are added to every answer (restapi.http_extra_headers), and
	// ExtraHeadersTLS to answers over TLS, where they win.
	ExtraHeaders    map[string]string
	ExtraHeadersTLS map[string]string
	// ServerTokens is restapi.server_tokens: "minimal" says pgkeeper/<version>
	// in the Server header, "productonly" pgkeeper; otherwise there is none.
	ServerTokens string
	// Version is pgkeeper's own.
	Version string
	// WaitLimit bounds how long a write waits for its result; 0 takes Patroni's
	// rules (see Server.bound).
	WaitLimit time.Duration
	// NewID makes the id of a request; nil takes 130 random bits as text.
	NewID func() string
	// Log may be nil.
	Log *slog.Logger
}

// Access says who may use POST, PUT, PATCH and DELETE. An allowlist, client
// certificates and Basic auth each count as configured, and all that are
// configured must agree. Where none is, only loopback may.
type Access struct {
	// Username and Password are for Basic auth; on when Username is not empty.
	Username, Password string
	// Allowlist holds addresses, CIDR ranges and host names.
	Allowlist []string
	// AllowlistIncludeMembers also allows the hosts of all members' api_urls.
	AllowlistIncludeMembers bool
	// VerifyClient is restapi.verify_client: "", none, optional or required. It
	// counts only on connections over TLS.
	VerifyClient string
}
