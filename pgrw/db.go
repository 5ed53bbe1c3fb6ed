package pgrw

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is a handle with the methods of a *pgxpool.Pool: code written for pgx, and what
// sqlc generates for it, takes either. It is cheap to make and holds nothing.
type DB struct {
	c *Cluster
	// read is nil for the primary's handle.
	read *policy
}

// Primary is the handle for writes, and for reads that must see everything.
func (c *Cluster) Primary() *DB { return &DB{c: c} }

// Replica is a handle for reads, which go to a replica as the options say. All it runs
// is read-only.
func (c *Cluster) Replica(options ...ReadOption) *DB {
	p := &policy{maxLag: -1, causal: causalWait}
	for _, option := range options {
		option(p)
	}
	return &DB{c: c, read: p}
}

// operation is one statement, batch or begin on its way through attempts.
type operation struct {
	db     *DB
	ctx    context.Context
	search search
	tries  int
}

// operation is a value, for a place in what lives as long: rows, a transaction, a batch.
func (db *DB) operation(ctx context.Context) operation {
	return operation{db: db, ctx: ctx, search: db.c.search(ctx, db.read)}
}

func (o *operation) lease() (*lease, error) {
	o.tries++
	if o.db.read != nil {
		return o.search.replica(o.ctx, o.db.read)
	}
	return o.search.primary(o.ctx, writing, viaPrimary)
}

// rest pauses before another attempt. A read goes to another server, at once.
func (o *operation) rest() error {
	if o.db.read != nil && !o.db.read.onPrimary {
		return nil
	}
	return o.search.again(o.ctx, o.db.c.now.Load())
}

// readTries bounds how many servers a read is sent to.
const readTries = 4

// repeat decides whether what failed on a lease is sent again: a write only when it
// provably had no effect, a read also when its server was lost or replay was in its way.
// begin tells that nothing but a BEGIN was sent.
func (o *operation) repeat(l *lease, err error, begin bool) bool {
	if err == nil || o.ctx.Err() != nil || time.Now().After(o.search.deadline) {
		return false
	}
	why := ""
	switch state := sqlState(err); {
	case state == stateStarting:
		why = "not_started"
	case o.db.read == nil && state == stateReadOnly && l.standby(o.ctx):
		why = "not_started"
	case begin && (l.broken() || state == stateUnsupported && l.standby(o.ctx)): // BEGIN READ WRITE on a standby
		why = "not_started"
	case o.db.read != nil && o.tries < readTries && (l.broken() || lost(err) || state == stateSerialization && l.standby(o.ctx)):
		why = "read"
	default:
		return false
	}
	o.search.last = err
	if o.db.read != nil && !o.db.read.onPrimary {
		o.search.exclude(l.srv, err)
	}
	o.db.c.kick()
	o.db.c.observer(Event{Kind: EventRetry, Server: l.srv.address, Reason: why, Err: err})
	return true
}

// standby asks whether the server of a lease is one: where it is not, a refusal to write
// is what somebody wanted.
func (l *lease) standby(ctx context.Context) bool {
	conn := l.conn.Conn().PgConn()
	if conn.IsClosed() {
		return true // its end says so as well
	}
	m := l.meta()
	return m.refresh(ctx, conn) != nil || m.recovery
}

// finish gives the lease back and returns the error for the caller: of a write whose
// connection ended after it was sent, that nobody knows. A write under a session marks
// its position first.
func (o *operation) finish(l *lease, err error) error {
	if err == nil && o.db.read == nil {
		o.advance(l)
	}
	broken := l.broken()
	l.release()
	return o.db.judge(l.srv, err, broken)
}

func (o *operation) advance(l *lease) {
	session := SessionFrom(o.ctx)
	if session == nil {
		return
	}
	// The statement has taken effect: a position that cannot be read is no failure of it.
	t, err := l.mark(o.ctx)
	if err != nil {
		t = o.db.c.after(o.ctx, l.meta())
	}
	session.Advance(t)
}

// judge makes an error of a write that was lost in the middle an UnknownError. An ERROR
// of the server is an answer: it undid the statement. A FATAL one is not, since it may
// come after the commit. pgconn.SafeToRetry is not asked: reading on after a connection
// has ended gives an error that it calls safe, whatever was sent before (pgx 5.12).
func (db *DB) judge(srv *server, err error, broken bool) error {
	if err == nil || db.read != nil || !broken || errors.Is(err, ErrCommitUnknown) || answered(err) {
		return err
	}
	unknown := &UnknownError{Server: srv.address, Err: err}
	db.c.observer(Event{Kind: EventCommitUnknown, Server: srv.address, Err: err})
	db.c.kick()
	return unknown
}

// run has f use a lease, again where that is safe.
func (o *operation) run(begin bool, f func(*lease) error) error {
	for {
		l, err := o.lease()
		if err != nil {
			return err
		}
		err = f(l)
		if err == nil || !o.repeat(l, err, begin) {
			return o.finish(l, err)
		}
		l.drop()
		if err := o.rest(); err != nil {
			return err
		}
	}
}

// Exec runs one statement by itself.
func (db *DB) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	o := db.operation(ctx)
	err = o.run(false, func(l *lease) (err error) {
		tag, err = l.conn.Exec(ctx, sql, args...)
		return err
	})
	return tag, err
}

// Ping runs an empty statement.
func (db *DB) Ping(ctx context.Context) error {
	_, err := db.Exec(ctx, "-- ping")
	return err
}

// CopyFrom is pgx's COPY. The source is read once: it is never tried again.
func (db *DB) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource) (int64, error) {
	o := db.operation(ctx)
	l, err := o.lease()
	if err != nil {
		return 0, err
	}
	n, err := l.conn.CopyFrom(ctx, table, columns, source)
	return n, o.finish(l, err)
}

// Acquire lends a connection, which its Release gives back. What runs on it is the
// caller's: it is neither tried again nor marked for a session. Its pool closes it when
// its server is not the primary any more.
func (db *DB) Acquire(ctx context.Context) (*pgxpool.Conn, error) {
	o := db.operation(ctx)
	l, err := o.lease()
	if err != nil {
		return nil, err
	}
	l.srv.inFlight.Add(-1) // its end is not ours to see
	return l.conn, nil
}

// AcquireFunc is Acquire and Release around a function.
func (db *DB) AcquireFunc(ctx context.Context, f func(*pgxpool.Conn) error) error {
	conn, err := db.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return f(conn)
}

// Mark is a token of the primary as it is now: whatever was committed before is there
// for a read with it. It is for writes that went another way, such as database/sql.
func (c *Cluster) Mark(ctx context.Context) (t Token, err error) {
	o := c.Replica(FromPrimary()).operation(ctx)
	err = o.run(false, func(l *lease) (err error) {
		t, err = l.mark(ctx)
		return err
	})
	return t, err
}
