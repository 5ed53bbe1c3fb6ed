package probe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// notLetIn is how long a server that does not let the probe in is not asked again: each
// attempt leaves a line in its log.
const notLetIn = time.Minute

// asker asks the server a query. It keeps one session for that: a login a second would
// cost more than all the rest.
type asker struct {
	spec Spec

	mu    sync.Mutex
	kept  *pgconn.PgConn // nil while it is in use
	later cluster.Instant
}

// ask finds out whether a query is answered, over the session of the last time and, when
// that one is silent or gone, over a new one: one session may hang alone. What is no
// silence is an answer.
func (a *asker) ask(ctx context.Context) finding {
	if conn := a.take(); conn != nil {
		brief, cancel := context.WithTimeout(ctx, a.spec.limit()/3)
		err := query(brief, conn)
		cancel()
		if err == nil {
			a.keep(ctx, conn)
			return finding{}
		}
		_ = conn.Close(ctx) // it is broken already when time ran out
	}
	if a.barred() {
		return finding{}
	}
	conn, err := a.connect(ctx)
	if err == nil {
		err = query(ctx, conn)
	}
	switch {
	case err == nil:
		a.keep(ctx, conn)
	case silence(err):
		return finding{ailment: cluster.AilmentHung, detail: "a query gets no answer"}
	}
	return finding{}
}

// query asks what every server knows; it takes a snapshot, as all queries do.
func query(ctx context.Context, conn *pgconn.PgConn) error {
	_, err := conn.Exec(ctx, "select 1").ReadAll()
	return err
}

func (a *asker) take() *pgconn.PgConn {
	a.mu.Lock()
	defer a.mu.Unlock()
	conn := a.kept
	a.kept = nil
	return conn
}

func (a *asker) keep(ctx context.Context, conn *pgconn.PgConn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept != nil {
		_ = conn.Close(ctx)
		return
	}
	a.kept = conn
}

func (a *asker) barred() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return clock.Now() < a.later
}

// connect logs in. The environment's PG* variables and the user's files do not count.
func (a *asker) connect(ctx context.Context) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig("host=/ user=nobody sslmode=disable passfile=/dev/null servicefile=/dev/null")
	if err != nil {
		return nil, fmt.Errorf("prepare a session: %w", err)
	}
	port, err := strconv.ParseUint(a.spec.Port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("prepare a session: %w", err)
	}
	config.Host, config.Port, config.Fallbacks = a.spec.SocketDir, uint16(port), nil
	config.User, config.Password, config.Database = a.spec.User, a.spec.Password, a.spec.Database
	config.RuntimeParams = map[string]string{"application_name": "pgkeeper probe", "search_path": "pg_catalog",
		"log_statement": "none", "log_min_duration_statement": "-1", "default_transaction_isolation": "read committed"}
	conn, err := pgconn.ConnectConfig(ctx, config)
	var said *pgconn.PgError
	if errors.As(err, &said) && !strings.HasPrefix(said.Code, "57P") && said.Code != "53300" { // it starts, it stops, it is full: that passes
		a.mu.Lock()
		a.later = clock.Now().Add(notLetIn)
		a.mu.Unlock()
	}
	return conn, err
}
