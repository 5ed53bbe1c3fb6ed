package pgrw

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// InTx is DB.InTx on the primary.
func (c *Cluster) InTx(ctx context.Context, options pgx.TxOptions, f func(context.Context, pgx.Tx) error) (Token, error) {
	return c.Primary().InTx(ctx, options, f)
}

// InTx runs f in a transaction and commits it, or rolls back when f fails. It begins
// again, up to WithMaxConflicts times, when the server undid the transaction for a
// serialization failure or a deadlock, and, within WithMaxWait, when the connection was
// lost before COMMIT was sent. So f may run more than once: whatever it does beside the
// transaction must bear that.
//
// After COMMIT was sent nothing is done again: when no answer came, the error is an
// ErrCommitUnknown. The token names the position after the commit; it is zero after an
// error, from a replica's handle, and where the server does not tell positions.
func (db *DB) InTx(ctx context.Context, options pgx.TxOptions, f func(context.Context, pgx.Tx) error) (Token, error) {
	deadline := time.Now().Add(db.c.maxWait)
	conflicts := 0
	for {
		t, err := db.once(ctx, options, f)
		if err == nil {
			return t.token, nil
		}
		why := ""
		switch {
		case t == nil, ctx.Err() != nil, errors.Is(err, ErrCommitUnknown): // no transaction began; or there is no asking again
			return Token{}, err
		case conflict(err):
			why = "conflict"
			if conflicts++; conflicts > db.c.conflicts {
				return Token{}, err
			}
		case t.lostBeforeCommit(err) && time.Now().Before(deadline):
			why = "lost"
		default:
			return Token{}, err
		}
		db.c.observer(Event{Kind: EventRetry, Server: t.l.srv.address, Reason: why, Err: err})
		if err := backOff(ctx, conflicts); err != nil {
			return Token{}, err
		}
	}
}

// once is one attempt; its transaction is nil when none began.
func (db *DB) once(ctx context.Context, options pgx.TxOptions, f func(context.Context, pgx.Tx) error) (t *tx, err error) {
	t, err = db.begin(ctx, options)
	if err != nil {
		return nil, err
	}
	defer func() {
		if !t.ended { // f failed, or panicked
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingLimit)
			defer cancel()
			t.failed = t.l.broken() || sqlState(err) == stateReadOnly && t.l.standby(undo)
			_ = t.Rollback(undo) // the server rolls back by itself
		}
	}()
	if err := f(ctx, inside{t}); err != nil {
		return t, err
	}
	return t, t.Commit(ctx)
}

// lostBeforeCommit tells that f failed with its connection, or that COMMIT was not sent.
func (t *tx) lostBeforeCommit(err error) bool {
	if t.failed {
		if t.db.read != nil {
			t.l.srv.down.Store(true) // until it answers again
		}
		t.db.c.kick()
		return true
	}
	return errors.Is(err, errUnsent)
}

// backOff pauses after a conflict, longer each time and by chance, so that those that
// were in each other's way are not again.
func backOff(ctx context.Context, conflicts int) error {
	most := time.Millisecond << min(conflicts, 7)
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errInTx tells a function of InTx that its end is not its own.
var errInTx = errors.New("pgrw: InTx ends this transaction: return nil to commit, an error to roll back")

// inside is a transaction as a function of InTx sees it.
type inside struct{ *tx }

// Commit is refused.
func (inside) Commit(context.Context) error { return errInTx }

// Rollback is refused.
func (inside) Rollback(context.Context) error { return errInTx }
