package pgrw

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SendBatch sends a batch. It is tried again only while no server was found for it.
func (db *DB) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	o := db.operation(ctx)
	l, err := o.lease()
	if err != nil {
		return failedBatch{err}
	}
	return &batch{BatchResults: l.conn.SendBatch(ctx, b), operation: o, l: l}
}

// batch holds a lease until it is closed.
type batch struct {
	pgx.BatchResults
	operation
	l   *lease
	err error
}

// Exec reads the next result.
func (b *batch) Exec() (pgconn.CommandTag, error) {
	tag, err := b.BatchResults.Exec()
	return tag, b.known(err)
}

// Query reads the next result's rows.
func (b *batch) Query() (pgx.Rows, error) {
	rows, err := b.BatchResults.Query()
	return rows, b.known(err)
}

// known judges an error while the batch is open.
func (b *batch) known(err error) error {
	if b.l == nil {
		return err
	}
	return b.db.judge(b.l.srv, err, b.l.broken())
}

// Close ends the batch.
func (b *batch) Close() error {
	if b.l == nil {
		return b.err
	}
	l := b.l
	b.l = nil
	b.err = b.finish(l, b.BatchResults.Close())
	return b.err
}

// failedBatch has nothing but an error.
type failedBatch struct{ err error }

func (b failedBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, b.err }
func (b failedBatch) Query() (pgx.Rows, error)         { return failedRows(b), b.err }
func (b failedBatch) QueryRow() pgx.Row                { return &row{err: b.err} }
func (b failedBatch) Close() error                     { return b.err }
func (failedBatch) Tx() pgx.Tx                         { return nil }
