package pgrw

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Query runs a statement and returns its rows, which hold a connection until they are
// closed. As with pgx, an error may come here or from the rows, which are never nil.
func (db *DB) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	r := &rows{operation: db.operation(ctx), sql: sql, args: args}
	if err := r.open(); err != nil {
		return failedRows{err}, err
	}
	return r, nil
}

// QueryRow is Query for one row; the error comes from Scan.
func (db *DB) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	r := &rows{operation: db.operation(ctx), sql: sql, args: args}
	r.err = r.open()
	return (*row)(r)
}

// rows hold a lease until they end. Until the first row has come they may be opened
// again elsewhere.
type rows struct {
	pgx.Rows
	operation
	sql     string
	args    []any
	l       *lease
	started bool
	err     error
}

func (r *rows) open() error {
	for {
		l, err := r.lease()
		if err != nil {
			return err
		}
		found, err := l.conn.Query(r.ctx, r.sql, r.args...)
		if err == nil {
			r.Rows, r.l = found, l
			return nil
		}
		if !r.repeat(l, err, false) {
			return r.finish(l, err)
		}
		l.drop()
		if err := r.rest(); err != nil {
			return err
		}
	}
}

// Next prepares the next row.
func (r *rows) Next() bool {
	for r.l != nil {
		if r.Rows.Next() {
			r.started = true
			return true
		}
		err := r.Rows.Err()
		if r.started || !r.repeat(r.l, err, false) {
			r.end(err)
			return false
		}
		r.l.drop()
		r.l = nil
		if r.err = r.rest(); r.err != nil {
			return false
		}
		r.err = r.open()
	}
	return false
}

func (r *rows) end(err error) {
	l := r.l
	r.l = nil
	r.err = r.finish(l, err)
}

// Close ends the rows.
func (r *rows) Close() {
	if r.l != nil {
		r.Rows.Close()
		r.end(r.Rows.Err())
	}
}

// Err is what went wrong.
func (r *rows) Err() error {
	if r.err != nil || r.l == nil {
		return r.err
	}
	return r.Rows.Err()
}

// Scan reads the row.
func (r *rows) Scan(dest ...any) error {
	err := r.Rows.Scan(dest...)
	if err != nil {
		r.Close() // pgx has closed its own
	}
	return err
}

// Values reads the row as pgx decodes it.
func (r *rows) Values() ([]any, error) {
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, err
}

// row is the first of rows.
type row rows

// Scan reads the row; pgx.ErrNoRows when there is none.
func (r *row) Scan(dest ...any) error {
	all := (*rows)(r)
	defer all.Close()
	if !all.Next() {
		if err := all.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := all.Scan(dest...); err != nil {
		return err
	}
	all.Close()
	return all.Err()
}

// failedRows have nothing but an error.
type failedRows struct{ err error }

func (failedRows) Close()                                       {}
func (r failedRows) Err() error                                 { return r.err }
func (failedRows) CommandTag() pgconn.CommandTag                { return pgconn.CommandTag{} }
func (failedRows) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (failedRows) Next() bool                                   { return false }
func (r failedRows) Scan(...any) error                          { return r.err }
func (r failedRows) Values() ([]any, error)                     { return nil, r.err }
func (failedRows) RawValues() [][]byte                          { return nil }
func (failedRows) Conn() *pgx.Conn                              { return nil }
func (failedRows) TypeMap() *pgtype.Map                         { return nil }
