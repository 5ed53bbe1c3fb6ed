package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// lookTimeout bounds one statement of a kept connection inside the server, so
// that a look on a sick server ends there too and not only here.
const lookTimeout = 3 * time.Second

// openLimit bounds one attempt to open a kept connection, for which no call waits
// longer than it may.
const openLimit = 15 * time.Second

// session is one connection that is kept open: a privileged one is still there
// when all others are used up.
type session struct {
	open func(context.Context) (*pgconn.PgConn, error)
	// opening is the attempt under way; nil for none.
	opening *opening
	// token is in the channel while nobody uses the session: a mutex that can be
	// waited for with a deadline.
	token    chan struct{}
	conn     *pgconn.PgConn
	prepared map[string]bool
}

func newSession(open func(context.Context) (*pgconn.PgConn, error)) *session {
	s := &session{open: open, token: make(chan struct{}, 1)}
	s.token <- struct{}{}
	return s
}

func (s *session) acquire(ctx context.Context) error {
	select {
	case <-s.token:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the connection to the server: %w", context.Cause(ctx))
	}
}

func (s *session) release() { s.token <- struct{}{} }

// opening is one attempt to open a connection; done is closed when it has ended.
type opening struct {
	done   chan struct{}
	cancel context.CancelFunc
	conn   *pgconn.PgConn
	err    error
}

// connect opens the connection, or waits for the attempt under way. An attempt outlasts the
// call that began it: where one takes longer than a call may, on a machine with far too much
// to do, every call would begin anew, and none ever get in.
func (s *session) connect(ctx context.Context) error {
	if s.opening == nil {
		s.begin(ctx)
	}
	o := s.opening
	select {
	case <-o.done:
	case <-ctx.Done():
		return fmt.Errorf("%w: the server has not let us in yet: %w", ErrUnreachable, context.Cause(ctx))
	}
	s.opening = nil
	o.cancel()
	if o.err != nil {
		return o.err
	}
	s.conn, s.prepared = o.conn, map[string]bool{}
	return nil
}

func (s *session) begin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openLimit)
	o := &opening{done: make(chan struct{}), cancel: cancel}
	s.opening = o
	go func() {
		defer close(o.done)
		o.conn, o.err = s.open(ctx)
	}()
}

// abandon ends the attempt under way.
func (s *session) abandon(ctx context.Context) {
	o := s.opening
	if o == nil {
		return
	}
	s.opening = nil
	o.cancel()
	<-o.done
	if o.err == nil {
		_ = o.conn.Close(ctx) // nothing is left to be told
	}
}

// with runs f on the connection, opening it first when needed. A connection that
// broke is dropped; the next call opens a new one.
func (s *session) with(ctx context.Context, f func(*pgconn.PgConn) error) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	// A connection that was kept, or an attempt that an earlier call began, may be of a
	// server that was restarted since: its failure says nothing about the one that runs now.
	earlier := s.usable() || s.opening != nil
	err := s.once(ctx, f)
	if err != nil && earlier && !s.usable() && ctx.Err() == nil {
		err = s.once(ctx, f)
	}
	return err
}

func (s *session) usable() bool { return s.conn != nil && !s.conn.IsClosed() }

// once runs f on the connection, opening it first when there is none.
func (s *session) once(ctx context.Context, f func(*pgconn.PgConn) error) error {
	if !s.usable() {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	return f(s.conn)
}

// query runs a prepared statement and returns its rows as text; nil is NULL.
func (s *session) query(ctx context.Context, name, sql string, args ...string) (rows [][]*string, err error) {
	err = s.with(ctx, func(conn *pgconn.PgConn) error {
		if !s.prepared[name] {
			if _, err := conn.Prepare(ctx, name, sql, nil); err != nil {
				return err
			}
			s.prepared[name] = true
		}
		values := make([][]byte, len(args))
		for i, arg := range args {
			values[i] = []byte(arg)
		}
		result := conn.ExecPrepared(ctx, name, values, nil, nil).Read()
		rows = texts(result)
		return result.Err
	})
	return rows, err
}

// texts copies a result's values.
func texts(result *pgconn.Result) [][]*string {
	rows := make([][]*string, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = make([]*string, len(row))
		for j, value := range row {
			if value != nil {
				text := string(value)
				rows[i][j] = &text
			}
		}
	}
	return rows
}

func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.acquire(ctx) != nil {
		return
	}
	defer s.release()
	s.abandon(ctx)
	if s.conn != nil {
		_ = s.conn.Close(ctx) // nothing is left to be told
		s.conn = nil
	}
}

// SuperuserConn opens a further connection as superuser through the unix socket,
// with a statement timeout of 3 s, synchronous_commit local and a search path of
// pg_catalog alone, so that nobody's function is called by accident. The caller
// closes it.
func (s *Server) SuperuserConn(ctx context.Context) (*pgconn.PgConn, error) {
	return s.connectLocal(ctx)
}

// connectLocal opens a superuser connection and makes sure that the server which
// answers is the one of our data directory.
func (s *Server) connectLocal(ctx context.Context) (*pgconn.PgConn, error) {
	parameters := map[string]string{
		"statement_timeout": strconv.Itoa(int(lookTimeout.Milliseconds())),
		// Our own changes never wait for a standby.
		"synchronous_commit":              "local",
		"search_path":                     "pg_catalog",
		"log_statement":                   "none",
		"log_min_duration_statement":      "-1",
		"jit":                             "off",
		"max_parallel_workers_per_gather": "0",
		"lc_messages":                     "C",
		"datestyle":                       "ISO",  // as others read times
		"role":                            "none", // or it is what somebody has set for this role, and has fewer rights
	}
	if s.version.idleTimeout { // a session that is kept is idle between two looks
		parameters["idle_session_timeout"] = "0"
	}
	config, where, err := s.localConfig(s.o.Superuser, parameters)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, s.explain(err, s.o.Superuser, where)
	}
	if err := s.checkServer(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// localConfig connects through the unix socket. A server that somebody else
// started has it elsewhere, perhaps, or has none: postmaster.pid says where it is.
func (s *Server) localConfig(c Credentials, parameters map[string]string) (config *pgconn.Config, where string, err error) {
	host, port := s.o.SocketDir, s.port
	if lockfile, err := s.readPidFile(); err == nil && lockfile.port != "" {
		port = lockfile.port
		switch {
		case lockfile.socket != "":
			host = lockfile.socket
		case lockfile.listen == "*":
			host = "localhost"
		case lockfile.listen != "":
			host = lockfile.listen
		}
	}
	config, err = clientConfig(c, host, port, s.o.Database, "disable")
	if err != nil {
		return nil, "", err
	}
	maps.Copy(config.RuntimeParams, parameters)
	return config, net.JoinHostPort(host, port), nil
}

// clientConfig builds a connection's settings from nothing but its arguments:
// the environment's PG* variables and the user's files do not count.
func clientConfig(c Credentials, host, port, database, sslmode string) (*pgconn.Config, error) {
	settings := []keyword{
		{"host", host}, {"port", port}, {"user", c.Username}, {"dbname", database}, {"sslmode", sslmode},
		{"passfile", "/dev/null"}, {"servicefile", "/dev/null"}, {"connect_timeout", "5"}, {"application_name", "pgkeeper"},
	}
	if sslmode != "disable" {
		settings = append(settings, keyword{"sslcert", c.SSLCert}, keyword{"sslkey", c.SSLKey},
			keyword{"sslpassword", c.SSLPassword}, keyword{"sslrootcert", c.SSLRootCert})
	}
	config, err := pgconn.ParseConfig(conninfo(settings))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrOptions, c.Configured, err)
	}
	config.Password = c.Password
	// A standby runs no statement where the default is serializable.
	config.RuntimeParams["default_transaction_isolation"] = "read committed"
	// Before 14 a walsender has no other mark of a standby than that it may not write.
	config.RuntimeParams["default_transaction_read_only"] = "off"
	return config, nil
}

// checkServer refuses a server of another data directory on our socket.
func (s *Server) checkServer(ctx context.Context, conn *pgconn.PgConn) error {
	result := conn.ExecParams(ctx, "select current_setting('data_directory')", nil, nil, nil, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("ask the server for its data directory: %w", result.Err)
	}
	got := string(result.Rows[0][0])
	same, err := s.sameDirectory(got)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%w: port %s in %s leads to the server of %s, not of %s: give each server its own port or socket directory",
			ErrForeignServer, s.port, s.o.SocketDir, got, s.o.DataDir)
	}
	return nil
}

// SQLSTATEs that are told apart.
const (
	stateCannotConnectNow    = "57P03" // starting up or shutting down
	stateAdminShutdown       = "57P01"
	stateCrashShutdown       = "57P02"
	stateInvalidPassword     = "28P01"
	stateInvalidAuth         = "28000" // also: no pg_hba.conf entry
	stateTooManyConnections  = "53300"
	stateNotInPrerequisite   = "55000"
	stateObjectInUse         = "55006"
	stateDuplicateObject     = "42710"
	stateUndefinedObject     = "42704"
	stateReadOnlyTransaction = "25006"
)

// sqlState is the SQLSTATE inside err; empty when there is none.
func sqlState(err error) string {
	if pg, is := errors.AsType[*pgconn.PgError](err); is {
		return pg.Code
	}
	return ""
}

// explain turns a failed connection into words that say what to do.
func (s *Server) explain(err error, c Credentials, where string) error {
	switch sqlState(err) {
	case stateInvalidPassword:
		return fmt.Errorf("%w: password of role %q at %s is wrong: it must equal %s.password: %w",
			ErrAuthentication, c.Username, where, c.Configured, err)
	case stateInvalidAuth:
		return fmt.Errorf("%w: role %q at %s: check that the role of %s exists and that pg_hba.conf there lets it in: %w",
			ErrAuthentication, c.Username, where, c.Configured, err)
	case stateTooManyConnections:
		return fmt.Errorf("%w: %s has no free connection: raise max_connections or superuser_reserved_connections: %w", ErrUnreachable, where, err)
	case "":
		var network net.Error
		if errors.As(err, &network) && network.Timeout() {
			return fmt.Errorf("%w: %s did not answer in time: %w", ErrUnreachable, where, err)
		}
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, where, err)
	}
	return fmt.Errorf("connect to %s as %q: %w", where, c.Username, err)
}
