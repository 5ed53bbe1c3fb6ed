package pgrw

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SendBatch sends a batch. It is tried again only while no server was found for it. A
// transaction that it begins (pgx.Batch.BeginTx) holds its connection until that ends.
func (db *DB) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	o := db.operation(ctx)
	l, err := o.lease()
	if err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	sent := &batch{BatchResults: l.conn.SendBatch(ctx, b), operation: o, l: l}
	if begun := sent.BatchResults.Tx(); begun != nil {
		sent.tx = &tx{Tx: begun, operation: o, l: l, batched: true}
	}
	return sent
}

// batch holds a lease until it is closed.
type batch struct {
	pgx.BatchResults
	operation
	l   *lease
	err error
	// tx has the lease in its place when the batch began a transaction.
	tx *tx
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

// known judges an error while the batch is open. In a transaction nothing is committed yet.
func (b *batch) known(err error) error {
	if b.l == nil || b.tx != nil {
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
	b.err = b.BatchResults.Close()
	if b.tx == nil {
		b.err = b.finish(l, b.err)
	}
	return b.err
}

// Tx is the transaction that the batch began, nil when it began none. It must be ended,
// also when the batch failed.
func (b *batch) Tx() pgx.Tx {
	if b.tx == nil {
		return nil
	}
	return b.tx
}
