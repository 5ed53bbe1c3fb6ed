package memory

import (
	"errors"
	"fmt"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// Kind names the request a Call makes.
type Kind string

// The requests of dcs.KV that a Core answers at once.
const (
	CallRange     Kind = "range"
	CallTxn       Kind = "txn"
	CallGrant     Kind = "grant"
	CallKeepAlive Kind = "keepalive"
	CallRevoke    Kind = "revoke"
)

// Call is one request as data: it can be held back, reordered, repeated, lost.
type Call struct {
	Kind     Kind
	Prefix   string
	Compares []dcs.Compare
	Ops      []dcs.Op
	// TTL is Grant's, in seconds; Lease is KeepAlive's and Revoke's.
	TTL   int64
	Lease int64
}

// Writes reports whether the call can change the store.
func (c Call) Writes() bool { return c.Kind != CallRange }

// Answer is what a Call comes back with; only its kind's fields are set.
type Answer struct {
	Snapshot dcs.Snapshot
	Revision int64
	Lease    int64
	Err      error
}

var errKind = errors.New("no such request")

// Do answers one call now.
func (c *Core) Do(call Call) Answer {
	switch call.Kind {
	case CallRange:
		return Answer{Snapshot: c.Range(call.Prefix)}
	case CallTxn:
		rev, err := c.Txn(call.Compares, call.Ops)
		return Answer{Revision: rev, Err: err}
	case CallGrant:
		return Answer{Lease: c.Grant(call.TTL)}
	case CallKeepAlive:
		return Answer{Err: c.KeepAlive(call.Lease)}
	case CallRevoke:
		return Answer{Err: c.Revoke(call.Lease)}
	}
	return Answer{Err: fmt.Errorf("%w: %q", errKind, call.Kind)}
}

// Lost is the answer a client gives itself when none came: a write may have been
// applied or may be yet, a read certainly changed nothing.
func Lost(call Call) Answer {
	if call.Writes() {
		return Answer{Err: fmt.Errorf("%s: no answer: %w", call.Kind, dcs.ErrUnknownOutcome)}
	}
	return Answer{Err: fmt.Errorf("%s: no answer: %w", call.Kind, dcs.ErrUnavailable)}
}
