package pgrw

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// What can be in the way of a statement. All come wrapped with the server's own error
// where there is one, so that errors.As finds a *pgconn.PgError.
var (
	// ErrNoPrimary: no server could be written to within WithMaxWait.
	ErrNoPrimary = errors.New("no primary")
	// ErrNoReplica: no replica is as asked for, and the policy keeps the read off the primary.
	ErrNoReplica = errors.New("no replica")
	// ErrTooStale: replicas run, but none is as fresh as asked for, and the policy keeps the read off the primary.
	ErrTooStale = errors.New("no replica is fresh enough")
	// ErrCommitUnknown: a statement or COMMIT was sent and the connection ended before the answer. It may have taken effect.
	ErrCommitUnknown = errors.New("it is not known whether this was committed")
	// ErrClosed: the Cluster was closed.
	ErrClosed = errors.New("pgrw: closed")
)

// UnknownError is an ErrCommitUnknown with its circumstances. Look for the effect (a
// row by an id that the application chose) before anything is sent again.
type UnknownError struct {
	// Server is the address of the server it was sent to.
	Server string
	// Err is how the connection ended.
	Err error
}

// Error says what happened, where, and what to do.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("%v: the connection to %s ended after it was sent: %v (look for its effect before it is sent again)", ErrCommitUnknown, e.Server, e.Err)
}

// Unwrap makes errors.Is(err, ErrCommitUnknown) true, and finds the cause.
func (e *UnknownError) Unwrap() []error { return []error{ErrCommitUnknown, e.Err} }

// SQLSTATEs that matter here.
const (
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateReadOnly      = "25006"
	stateUnsupported   = "0A000"
	stateShutdown      = "57P01"
	stateCrash         = "57P02"
	stateStarting      = "57P03"
)

// sqlState is the server's code, empty when the error is not the server's.
func sqlState(err error) string {
	if refused, found := errors.AsType[*pgconn.PgError](err); found {
		return refused.Code
	}
	return ""
}

// answered tells an error by which the server undid what it was sent.
func answered(err error) bool {
	refused, found := errors.AsType[*pgconn.PgError](err)
	return found && refused.SeverityUnlocalized == "ERROR"
}

// hopeless tells a failure to connect that a later attempt will meet as well: wrong
// password, no such database or role, no permission.
func hopeless(err error) bool {
	state := sqlState(err)
	if state == "" {
		_, found := errors.AsType[*pgconn.ParseConfigError](err)
		return found
	}
	switch state[:2] {
	case "57", "53", "08", "58", "XX":
		return false
	}
	return state != stateReadOnly
}

// conflict tells that the server undid the work because of other work.
func conflict(err error) bool {
	state := sqlState(err)
	return state == stateSerialization || state == stateDeadlock
}

// lost tells that a connection ended rather than that a server refused. An error that
// says neither is judged by the connection, see DB.
func lost(err error) bool {
	switch sqlState(err) {
	case stateShutdown, stateCrash, stateStarting:
		return true
	case "":
	default:
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
