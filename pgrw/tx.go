package pgrw

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Begin starts a transaction.
func (db *DB) Begin(ctx context.Context) (pgx.Tx, error) { return db.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx starts a transaction with options; a replica's handle makes it read-only. It
// waits for a primary as a statement does. Commit advances the context's session without
// a round trip of its own.
func (db *DB) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	t, err := db.begin(ctx, options)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (db *DB) begin(ctx context.Context, options pgx.TxOptions) (*tx, error) {
	if db.read != nil {
		options.AccessMode = pgx.ReadOnly
	}
	o := db.operation(ctx)
	for {
		l, err := o.lease()
		if err != nil {
			return nil, err
		}
		inner, err := l.conn.BeginTx(ctx, options)
		if err == nil {
			return &tx{Tx: inner, operation: o, l: l, query: options.CommitQuery}, nil
		}
		if !o.repeat(l, err, true) {
			l.release()
			return nil, err
		}
		l.drop()
		if err := o.rest(); err != nil {
			return nil, err
		}
	}
}

// tx is pgx's transaction, but for its end.
type tx struct {
	pgx.Tx
	operation
	l     *lease
	query string // to commit with
	// batched: a batch began it, and pgx keeps what to commit with to itself.
	batched bool
	token   Token
	// failed: the connection was lost before COMMIT was sent.
	failed bool
	// ended: pgx's transaction does not know of our COMMIT, so nothing may reach it after that.
	ended bool
	// outer is the transaction of a savepoint; nil for a transaction. The lease is its.
	outer *tx
}

// over tells that nothing may be sent any more: by then somebody else may have the connection.
func (t *tx) over() bool { return t.ended || t.outer != nil && t.outer.over() }

// errUnsent tells that the transaction was rolled back for want of a connection.
var errUnsent = errors.New("the transaction was rolled back: its connection, or its time, was over before COMMIT was sent")

// Commit commits and marks the position after it, in one round trip.
func (t *tx) Commit(ctx context.Context) error {
	if t.over() {
		return pgx.ErrTxClosed
	}
	t.ended = true
	if t.outer != nil {
		return t.Tx.Commit(ctx)
	}
	if t.l.broken() || ctx.Err() != nil {
		t.l.drop() // the server rolls back
		return errors.Join(errUnsent, ctx.Err())
	}
	var err error
	switch {
	case t.db.read != nil:
		err = t.Tx.Commit(ctx)
	case t.batched:
		if err = t.Tx.Commit(ctx); err == nil {
			t.token, _ = t.l.mark(ctx) // or it is found elsewhere, below
		}
	default:
		err = t.commit(ctx)
	}
	broken, m := t.l.broken(), t.l.meta()
	t.l.release() // which ends a session that is still in the transaction
	switch {
	case errors.Is(err, pgx.ErrTxCommitRollback):
		return err
	case err != nil:
		return t.db.judge(t.l.srv, err, broken)
	case t.db.read == nil && t.token.IsZero():
		t.token = t.db.c.after(ctx, m)
	}
	if s := SessionFrom(t.ctx); s != nil {
		s.Advance(t.token)
	}
	return nil
}

// commit sends COMMIT and the question for the position as one message. Only the answer
// to the first decides. A server that is told to stop may answer the first alone: then
// the token is left to be found elsewhere.
func (t *tx) commit(ctx context.Context) error {
	query := t.query
	if query == "" {
		query = "commit"
	}
	results := t.l.conn.Conn().PgConn().Exec(ctx, query+"; "+positionSQL)
	var tag string
	var position [][]byte
	for first := true; results.NextResult(); first = false {
		reader := results.ResultReader()
		for reader.NextRow() {
			position = nil
			for _, value := range reader.Values() {
				position = append(position, append([]byte(nil), value...))
			}
		}
		done, err := reader.Close()
		if err == nil && first {
			tag = done.String()
		}
	}
	err := results.Close()
	switch {
	case tag == "ROLLBACK":
		return pgx.ErrTxCommitRollback
	case tag == "" && err == nil:
		return fmt.Errorf("no answer to %q", query)
	case tag == "":
		return err
	}
	t.mark(position)
	return nil
}

func (t *tx) mark(position [][]byte) {
	m := t.l.meta()
	if len(position) < 2 || len(position[1]) == 0 || m.read(position) != nil {
		return
	}
	t.l.srv.note(m)
	t.token = m.token()
}

// Rollback gives up; after the end it does nothing but say so.
func (t *tx) Rollback(ctx context.Context) error {
	if t.over() {
		return pgx.ErrTxClosed
	}
	t.ended = true
	err := t.Tx.Rollback(ctx)
	if t.outer == nil {
		t.l.release()
	}
	return err
}

// Begin makes a savepoint.
func (t *tx) Begin(ctx context.Context) (pgx.Tx, error) {
	if t.over() {
		return nil, pgx.ErrTxClosed
	}
	inner, err := t.Tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &tx{Tx: inner, operation: t.operation, l: t.l, outer: t}, nil
}

// Exec is pgx's, while the transaction is open; so are the others.
func (t *tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if t.over() {
		return pgconn.CommandTag{}, pgx.ErrTxClosed
	}
	return t.Tx.Exec(ctx, sql, args...)
}

// Query is pgx's.
func (t *tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if t.over() {
		return failedRows{pgx.ErrTxClosed}, pgx.ErrTxClosed
	}
	return t.Tx.Query(ctx, sql, args...)
}

// QueryRow is pgx's.
func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if t.over() {
		return &row{err: pgx.ErrTxClosed}
	}
	return t.Tx.QueryRow(ctx, sql, args...)
}

// SendBatch is pgx's.
func (t *tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if t.over() {
		return pgx.FailedBatchResults(b, pgx.ErrTxClosed)
	}
	return t.Tx.SendBatch(ctx, b)
}

// CopyFrom is pgx's.
func (t *tx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	if t.over() {
		return 0, pgx.ErrTxClosed
	}
	return t.Tx.CopyFrom(ctx, table, columns, source)
}

// Prepare is pgx's.
func (t *tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if t.over() {
		return nil, pgx.ErrTxClosed
	}
	return t.Tx.Prepare(ctx, name, sql)
}
