package pgrw

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// SQL is the handle for database/sql, and so for whatever stands on that. The *sql.DB
// has a pool of its own, of one connection to some server each: its limits are set on
// it, and it is closed before the Cluster. Connections to a former primary are closed;
// a replica's connection is checked for the context's token before each use; while
// there is no primary, connecting waits for one. Not here: trying again (a statement
// that was lost is an error as database/sql knows it, and may have been committed), and
// advancing a session; see Cluster.Mark for that.
func (db *DB) SQL() *sql.DB { return sql.OpenDB(&connector{db}) }

// connector opens connections for database/sql.
type connector struct{ db *DB }

// Driver is pgx's.
func (*connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// Connect finds a server by way of the pools, whose checks it has passed then, and opens
// a connection to it.
func (k *connector) Connect(ctx context.Context) (driver.Conn, error) {
	o := k.db.operation(ctx)
	l, err := o.lease()
	if err != nil {
		return nil, err
	}
	srv := l.srv
	l.release()
	config, err := srv.config()
	if err != nil {
		return nil, err
	}
	p := writing
	if k.db.read != nil {
		p = reading
	}
	before := config.BeforeConnect
	if before == nil {
		before = func(context.Context, *pgx.ConnConfig) error { return nil }
	}
	return stdlib.GetConnector(*config.ConnConfig.Copy(),
		stdlib.OptionBeforeConnect(before),
		stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			if config.AfterConnect != nil {
				if err := config.AfterConnect(ctx, conn); err != nil {
					return err
				}
			}
			return k.introduce(ctx, srv, conn, p)
		}),
		stdlib.OptionResetSession(func(ctx context.Context, conn *pgx.Conn) error { return k.reset(ctx, srv, conn) }),
	).Connect(ctx)
}

// introduce is what pools do for their connections. No pool tells of the end of this one.
func (k *connector) introduce(ctx context.Context, srv *server, conn *pgx.Conn, p purpose) error {
	if err := srv.introduce(ctx, conn, p); err != nil {
		return err
	}
	go func() {
		<-conn.PgConn().CleanupDone()
		srv.forget(conn.PgConn())
	}()
	return nil
}

// reset decides before each use whether a connection still leads where the handle does.
func (k *connector) reset(ctx context.Context, srv *server, conn *pgx.Conn) error {
	v := k.db.c.now.Load()
	if k.db.read == nil {
		if v.primary != srv || conn.PgConn().ParameterStatus("in_hot_standby") == "on" || disturbed(conn.PgConn().Conn()) {
			return driver.ErrBadConn
		}
		return nil
	}
	if v.primary == srv { // it stood in for replicas, or was one
		if p := k.db.read; !p.onPrimary && len(k.db.c.choose(v, p, nil).fit) > 0 {
			return driver.ErrBadConn
		}
	} else if !k.serves(v, srv) {
		return driver.ErrBadConn
	}
	t := TokenFrom(ctx).Later(k.db.read.after)
	if t.IsZero() {
		return nil
	}
	m, _ := conn.PgConn().CustomData()[metaKey].(*connMeta)
	if m == nil || m.refresh(ctx, conn.PgConn()) != nil || m.judge(t, v.ends) != satisfied {
		return fmt.Errorf("%w: it has not the writes of the token", driver.ErrBadConn)
	}
	return nil
}

// serves reports whether a replica is one of those asked for.
func (k *connector) serves(v *view, srv *server) bool {
	for _, s := range k.db.c.choose(v, k.db.read, nil).fit {
		if s.server == srv {
			return true
		}
	}
	return false
}
