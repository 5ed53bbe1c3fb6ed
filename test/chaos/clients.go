package chaos

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

const (
	// answerLimit is a client's patience with one statement; connectLimit, with one
	// host: a slow link takes several ways there and back for a session.
	answerLimit  = time.Second
	connectLimit = 2 * time.Second
	watchEvery   = 10 * time.Millisecond
	clientEvery  = 20 * time.Millisecond
	// perRegister and perList bound the history of one key, which is checked whole.
	perRegister, perList = 150, 60
)

// schema holds what clients write. Each write leaves a row in op as part of its own
// transaction, with the timeline and a position before its commit: at the end that
// row tells whether the write survived.
const schema = `
create function tl() returns int language sql volatile as
	$$ select ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int $$;
create table op (id bigint not null, tl int not null, lsn pg_lsn not null);
create table reg (key bigint primary key, value bigint not null);
create table list (key bigint primary key, value bigint[] not null);`

// The statements answer with the timeline and, for writes, the position.
const (
	logOp      = `insert into op values ($1, tl(), pg_current_wal_insert_lsn()) returning tl, lsn - '0/0'`
	writeReg   = `with o as (` + logOp + `), w as (insert into reg values ($2, $1) on conflict (key) do update set value = excluded.value) select * from o`
	appendList = `with o as (` + logOp + `), w as (insert into list values ($2, array[$1::bigint]) on conflict (key) do update set value = list.value || excluded.value) select * from o`
	readReg    = `select tl(), coalesce((select array[value] from reg where key = $1), '{}')`
	readList   = `select tl(), coalesce((select value from list where key = $1), '{}')`
)

// clients are the observers of one cluster.
type clients struct {
	c      *testbed.Cluster
	h      *history
	cancel context.CancelFunc
	group  sync.WaitGroup
	turns  [2]atomic.Int64 // operations so far on registers and on lists
}

// startClients makes the schema and starts watcher and clients, until stop.
func startClients(ctx context.Context, c *testbed.Cluster, h *history) (*clients, error) {
	session, err := c.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer session.Close(ctx)
	if _, err := session.Exec(ctx, schema); err != nil {
		return nil, err
	}
	o := &clients{c: c, h: h}
	ctx, o.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, n := range c.Nodes {
		o.group.Go(func() { o.watch(ctx, n) })
	}
	for range 2 {
		o.group.Go(func() { o.work(ctx, register) })
		o.group.Go(func() { o.work(ctx, list) })
	}
	o.group.Go(func() { h.watchStalls(ctx) })
	return o, nil
}

func (o *clients) stop() {
	o.cancel()
	o.group.Wait()
}

// watch writes to one node all the time, whatever it is.
func (o *clients) watch(ctx context.Context, n *testbed.Node) {
	var session *client
	each(ctx, watchEvery, func() {
		if session == nil {
			session = open(ctx, n)
		}
		if session == nil {
			return
		}
		op := o.h.begin(watch, 0)
		op.node = n.Name
		o.write(session, op, logOp, op.id)
		session = keepSession(session, op)
	})
	closeSession(session)
}

// work writes and reads one kind of object, at whoever is writable.
func (o *clients) work(ctx context.Context, k kind) {
	var session *client
	var node string
	each(ctx, clientEvery, func() {
		if session == nil {
			session, node = o.openWritable(ctx)
		}
		if session == nil {
			return
		}
		turn := o.turns[k].Add(1)
		op := o.h.begin(k, turn/map[kind]int64{register: perRegister, list: perList}[k])
		op.node, op.read = node, turn%3 == 0
		switch {
		case op.read && k == register:
			o.read(session, op, readReg)
		case op.read:
			o.read(session, op, readList)
		case k == register:
			o.write(session, op, writeReg, op.id, op.key)
		default:
			o.write(session, op, appendList, op.id, op.key)
		}
		session = keepSession(session, op)
	})
	closeSession(session)
}

// each calls f at every tick, and does not catch up on missed ones.
func each(ctx context.Context, every time.Duration, f func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// write and read are not ended by stop: the outcome of what was sent is awaited.
func (o *clients) write(session *client, op *operation, statement string, args ...any) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	session.cancelled = nil
	err := session.QueryRow(ctx, statement, args...).Scan(&op.tl, &op.lsn)
	if err == nil {
		err = session.cancelled
	}
	o.h.end(op, err)
}

func (o *clients) read(session *client, op *operation, statement string) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	err := session.QueryRow(ctx, statement, op.key).Scan(&op.tl, &op.seen)
	o.h.end(op, err)
}

// keepSession closes a session that may be broken.
func keepSession(session *client, op *operation) *client {
	if op.outcome != unknown {
		return session
	}
	closeSession(session)
	return nil
}

// refused tells an error after which the statement surely had no effect.
func refused(err error) bool {
	var said *pgconn.PgError
	return errors.As(err, &said) && said.Severity == "ERROR"
}

// open keeps refusals out of the server's log: there are hundreds a second.
func open(ctx context.Context, n *testbed.Node) *client {
	c := &client{}
	config, err := pgx.ParseConfig(n.DSN())
	if err != nil {
		return nil
	}
	config.ConnectTimeout = connectLimit
	config.RuntimeParams["log_min_messages"] = "fatal"
	config.OnNotice = c.notice
	c.Conn, err = pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil
	}
	return c
}

// client is a session that takes notice of what its server warns of.
type client struct {
	*pgx.Conn
	cancelled error // the wait of the last commit for its standbys
}

// errCancelled is a success that came with a warning: durable on the primary, and nobody
// knows where else. It is unknown, not acknowledged (S2).
var errCancelled = errors.New("the wait for synchronous replication was cancelled")

func (c *client) notice(_ *pgconn.PgConn, n *pgconn.Notice) {
	if strings.Contains(n.Message, "wait for synchronous replication") {
		c.cancelled = errCancelled
	}
}

// openWritable asks all nodes at once and takes the first that is writable.
func (o *clients) openWritable(ctx context.Context) (*client, string) {
	type found struct {
		session *client
		node    string
	}
	answers := make(chan found)
	for _, n := range o.c.Nodes {
		go func() {
			session := open(ctx, n)
			if session != nil && !writable(ctx, session) {
				closeSession(session)
				session = nil
			}
			answers <- found{session, n.Name}
		}()
	}
	var taken found
	for range o.c.Nodes {
		answer := <-answers
		if taken.session != nil {
			closeSession(answer.session)
		} else if answer.session != nil {
			taken = answer
		}
	}
	return taken.session, taken.node
}

func writable(ctx context.Context, session *client) bool {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	var recovers bool
	return session.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovers) == nil && !recovers
}

func closeSession(session *client) {
	if session == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = session.Close(ctx) // the server may be gone
}
