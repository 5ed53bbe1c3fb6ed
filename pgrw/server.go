package pgrw

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// purpose is what connections of a pool are for. Those for reading are read-only
// sessions, on whatever server, so that a read that falls back to the primary cannot
// write there either.
type purpose int

const (
	writing purpose = iota
	reading
)

// Limits for servers that answer nothing, where the DSN sets none.
const (
	dialLimit = 3 * time.Second
	pingLimit = time.Second
)

// server is one address and what is known of it.
type server struct {
	address  string
	dsn      string
	settings *settings

	// What was seen last, from whatever connection. The timeline is a lower bound and never falls.
	timeline atomic.Uint32
	lsn      atomic.Uint64
	down     atomic.Bool

	inFlight atomic.Int64
	latency  atomic.Int64 // nanoseconds, moving average

	mu     sync.Mutex
	pools  [2]*pgxpool.Pool
	closed bool
	// live are all connections.
	live map[*pgconn.PgConn]bool
	// tenure is the time as the primary: it ends when another server is.
	tenure context.Context
	depose context.CancelFunc

	// stopProbe ends the goroutine that asks it.
	stopProbe context.CancelFunc
}

func newServer(address, dsn string, s *settings) *server {
	srv := &server{address: address, dsn: dsn, settings: s, live: map[*pgconn.PgConn]bool{}}
	srv.tenure, srv.depose = context.WithCancel(context.Background())
	srv.depose() // until it is the primary
	return srv
}

// raise notes a timeline that the server has proved to be on or past.
func (s *server) raise(timeline uint32) {
	for {
		old := s.timeline.Load()
		if timeline <= old || s.timeline.CompareAndSwap(old, timeline) {
			return
		}
	}
}

func (s *server) note(m *connMeta) {
	s.raise(m.timeline)
	s.lsn.Store(uint64(m.lsn))
}

// took moves the average of latencies an eighth of the way.
func (s *server) took(d time.Duration) {
	old := s.latency.Load()
	if old == 0 {
		s.latency.Store(int64(d))
		return
	}
	s.latency.Store(old + (int64(d)-old)/8)
}

// pool is the pool for a purpose, made when it is first wanted, and the context of the
// present tenure.
func (s *server) pool(p purpose) (*pgxpool.Pool, context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, fmt.Errorf("%s left the cluster", s.address)
	}
	if s.pools[p] != nil {
		return s.pools[p], s.tenure, nil
	}
	config, err := s.config()
	if err != nil {
		return nil, nil, err
	}
	s.hook(config, p)
	// Not the caller's context: the pool outlives it.
	s.pools[p], err = pgxpool.NewWithConfig(context.Background(), config)
	return s.pools[p], s.tenure, err
}

// config is how the server is reached, as the DSN and the user's changes have it: by its
// pools and by connections outside of them alike.
func (s *server) config() (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(s.dsn)
	if err != nil {
		return nil, err
	}
	limitConnect(config.ConnConfig)
	config.PingTimeout = pingLimit
	s.settings.pool(config)
	return config, nil
}

// connect opens a connection outside of the pools.
func (s *server) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	reach := config.ConnConfig.Copy() // the user's may be one for all
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, reach); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, reach)
}

// limitConnect bounds attempts to connect; pgx's own default is two minutes.
func limitConnect(config *pgx.ConnConfig) {
	if config.ConnectTimeout == 0 || config.ConnectTimeout > time.Minute {
		config.ConnectTimeout = dialLimit
	}
}

// hook adds what every connection must go through to the hooks of the user.
func (s *server) hook(config *pgxpool.Config, p purpose) {
	after, before := config.AfterConnect, config.BeforeClose
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if after != nil {
			if err := after(ctx, conn); err != nil {
				return err
			}
		}
		return s.introduce(ctx, conn, p)
	}
	config.BeforeClose = func(conn *pgx.Conn) {
		s.forget(conn.PgConn())
		if before != nil {
			before(conn)
		}
	}
}

// introduce asks a new connection what server it leads to.
func (s *server) introduce(ctx context.Context, conn *pgx.Conn, p purpose) error {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	if p == reading {
		if err := conn.PgConn().Exec(ctx, "set default_transaction_read_only = on").Close(); err != nil {
			return fmt.Errorf("make the session read-only: %w", err)
		}
	}
	meta, err := readMeta(ctx, conn.PgConn())
	if err != nil {
		return err
	}
	conn.PgConn().CustomData()[metaKey] = meta
	s.note(meta)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[conn.PgConn()] = true
	return nil
}

func (s *server) forget(conn *pgconn.PgConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, conn)
}

// enthrone begins a tenure, if none is under way.
func (s *server) enthrone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tenure.Err() != nil && !s.closed {
		s.tenure, s.depose = context.WithCancel(context.Background())
	}
}

// demote ends the tenure, if there is one, and closes every connection: those that could
// write, and those for reading too, since a server that is demoted restarts. It returns
// how many there were. Whoever waits for an answer on one gets an error now rather than
// when the kernel gives up on a machine that is gone.
func (s *server) demote() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tenure.Err() != nil {
		return 0
	}
	s.depose()
	for _, p := range s.pools {
		if p != nil {
			p.Reset()
		}
	}
	for conn := range s.live {
		_ = conn.Conn().Close() // its user finds out
	}
	return len(s.live)
}

// close ends the use of the server. Pools wait for connections that are in use, so it
// returns a function that waits for the end.
func (s *server) close() (wait func()) {
	if s.stopProbe != nil {
		s.stopProbe()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.depose()
	pools := s.pools
	return func() {
		for _, p := range pools {
			if p != nil {
				p.Close()
			}
		}
	}
}

// lease is a connection in use.
type lease struct {
	conn  *pgxpool.Conn
	srv   *server
	began time.Time
}

// acquire takes a connection. One to a primary is given up for when its tenure ends.
func (s *server) acquire(ctx context.Context, p purpose) (*lease, error) {
	pool, tenure, err := s.pool(p)
	if err != nil {
		return nil, err
	}
	if p == writing || tenure.Err() == nil {
		bound, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(tenure, cancel)()
		ctx = bound
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	s.inFlight.Add(1)
	return &lease{conn: conn, srv: s, began: time.Now()}, nil
}

func (l *lease) meta() *connMeta {
	m, _ := l.conn.Conn().PgConn().CustomData()[metaKey].(*connMeta)
	if m == nil { // a user's hook cleared the map
		m = &connMeta{recovery: true}
	}
	return m
}

// release gives the connection back. It may be called once.
func (l *lease) release() {
	l.srv.inFlight.Add(-1)
	l.srv.took(time.Since(l.began))
	l.conn.Release()
}

// drop gives it back as one that nobody should get again.
func (l *lease) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = l.conn.Conn().Close(ctx)
	l.srv.inFlight.Add(-1)
	l.conn.Release()
}

// broken reports whether the connection ended.
func (l *lease) broken() bool { return l.conn.Conn().IsClosed() }
