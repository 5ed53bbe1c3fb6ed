package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// console is PgBouncer's own database. It speaks the simple protocol only, and a
// command that waits keeps its connection busy: each command has a connection of its own.
type console struct{ config *pgconn.Config }

// newConsole reads the DSN.
func newConsole(dsn string) (console, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return console{}, fmt.Errorf("poolers.pgbouncer.admin: %w", err)
	}
	if config.Database == "" || config.Database == config.User {
		config.Database = "pgbouncer"
	}
	return console{config}, nil
}

// command runs one command to its end, or until ctx ends.
func (c console) command(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	return run(ctx, conn, sql)
}

// connectLimit bounds the way to the console: a busy machine may keep it waiting.
const connectLimit = 2 * time.Second

func (c console) connect(ctx context.Context) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, c.config)
	if err != nil {
		return nil, fmt.Errorf("reach the console of PgBouncer: %w", err)
	}
	return conn, nil
}

// run runs a command, and closes the connection.
func run(ctx context.Context, conn *pgconn.PgConn, sql string) ([]*pgconn.Result, error) {
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return query(ctx, conn, sql)
}

// query runs a command.
func query(ctx context.Context, conn *pgconn.PgConn, sql string) ([]*pgconn.Result, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	return results, nil
}

// pause keeps new transactions of a database waiting, and gives those under way a time to
// end. drained is false when some go on after it: new ones wait all the same.
func (c console) pause(ctx context.Context, database string, limit time.Duration) (drained bool, err error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, limit) // from when it was told
	defer cancel()
	err = already(run(limited, conn, "PAUSE "+quoted(database)))
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

// resume lets them through.
func (c console) resume(ctx context.Context, database string) error {
	return already(c.command(ctx, "RESUME "+quoted(database)))
}

// already: it is as it was asked to be.
func already(_ []*pgconn.Result, err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (strings.Contains(refused.Message, "already") || strings.Contains(refused.Message, "not paused")) {
		return nil
	}
	return err
}

// reload has PgBouncer read its files.
func (c console) reload(ctx context.Context) error {
	_, err := c.command(ctx, "RELOAD")
	return err
}

// host is where PgBouncer sends the clients of a database; empty when it has none of
// that name.
func (c console) host(ctx context.Context, database string) (host, port string, err error) {
	results, err := c.command(ctx, showDatabases)
	if err != nil {
		return "", "", err
	}
	at := databases(results)[database].at
	return at.host, at.port, nil
}

const showDatabases = "SHOW DATABASES"

// database is what the console shows of one.
type database struct {
	at     server
	paused bool
}

// databases reads SHOW DATABASES.
func databases(results []*pgconn.Result) map[string]database {
	if len(results) == 0 {
		return nil
	}
	column := map[string]int{} // their order and number change with the version
	for i, f := range results[0].FieldDescriptions {
		column[f.Name] = i
	}
	all := map[string]database{}
	for _, row := range results[0].Rows {
		all[string(row[column["name"]])] = database{
			at:     server{string(row[column["host"]]), string(row[column["port"]])},
			paused: string(row[column["paused"]]) != "0",
		}
	}
	return all
}

// quoted is a name for the console.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
