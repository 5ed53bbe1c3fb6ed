package pgfake

import (
	"errors"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Kind says what a Happening is.
type Kind int

// What happens to a server by itself, for Site.Notify.
const (
	// Exited: the postmaster has ended; Reap has its pid.
	Exited Kind = iota
	// Opened: the server accepts writes.
	Opened
	// Promoted: it does so, on a new timeline.
	Promoted
	// Unlinked: in its promotion it has removed standby.signal.
	Unlinked
	// Settled: a commit that waited got its outcome.
	Settled
	// GateLost: the server has ended the connection of its gate.
	GateLost
)

// Happening is something that happened to Server at At.
type Happening struct {
	Kind    Kind
	Server  *Server
	At      cluster.Instant
	Commit  Commit
	Outcome Outcome
}

// Commit names a transaction; 0 is none.
type Commit int32

// Outcome is what a client knows of its transaction.
type Outcome int

// The outcomes of a commit.
const (
	// Refused: nothing was written.
	Refused Outcome = iota
	// Acknowledged: the client was told of success.
	Acknowledged
	// Waiting: durable here or about to be, and nobody was told yet.
	Waiting
	// Warned: success with the warning that a wait was cancelled: unknown, for us.
	Warned
	// Lost: the connection broke before an answer.
	Lost
)

// String names the outcome in transcripts.
func (o Outcome) String() string {
	return [...]string{"refused", "acknowledged", "waiting", "warned", "lost"}[o]
}

// Fast is what LookFast sees; the fields are those of postgres.Fast.
type Fast struct {
	InRecovery             bool
	Receive, Replay, Flush cluster.LSN
	Timeline               cluster.Timeline
	Receiver, EndKnown     bool
}

// Source is what a server says of itself; the fields are postgres.SourceInfo's.
type Source struct {
	SystemID   string
	Timeline   cluster.Timeline
	LSN        cluster.LSN
	History    cluster.History
	InRecovery bool
}

// Upstream is whom a standby streams from; Host is the member's name.
type Upstream struct{ Host, Port, Slot string }

// Errors; those with a name that package postgres has stand for its error.
var (
	ErrNoServer       = errors.New("no server answers")
	ErrHung           = errors.New("the server does not answer")
	ErrTooMany        = errors.New("sorry, too many clients already")
	ErrUnreachable    = errors.New("server not reachable")
	ErrNotEmpty       = errors.New("data directory is not empty")
	ErrBusy           = errors.New("data directory is being worked on")
	ErrRunning        = errors.New("a server runs in the data directory")
	ErrSourceNotReady = errors.New("source of the rewind is not ready")
	ErrTimelineTaken  = errors.New("timeline number cannot be taken")
	ErrNeedClone      = errors.New("rewind is not possible, a clone is needed")
	ErrDamaged        = errors.New("data directory is damaged by an interrupted rewind")
	ErrInterrupted    = errors.New("interrupted")
	ErrDiskFull       = errors.New("no space left on device")
)
