package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// QueryOptions say what to run, where, and as whom.
type QueryOptions struct {
	Target
	SQL string
	// Username, Password and Database override what the environment (PGUSER,
	// PGPASSWORD, the passfile) says.
	Username, Password, Database string
	// Delimiter separates columns of the tsv form; a tab when empty.
	Delimiter string
}

// queryConnect bounds one attempt to connect.
const queryConnect = 5 * time.Second

// Query runs SQL on a member and shows every result.
func (o *Operator) Query(ctx context.Context, options QueryOptions) error {
	if strings.TrimSpace(options.SQL) == "" {
		return errors.New("nothing to run: give SQL with -c or a file with -f")
	}
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	m, err := Pick(overview, options.Target)
	if err != nil {
		return err
	}
	conn, err := connect(ctx, m, options)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return o.run(ctx, conn, m, options)
}

func connect(ctx context.Context, m Member, options QueryOptions) (*pgconn.PgConn, error) {
	host, port, err := net.SplitHostPort(m.Host)
	if err != nil {
		return nil, fmt.Errorf("member %s has told no address of its server", m.Name)
	}
	dsn := url.Values{"host": {host}, "port": {port}, "application_name": {"pgkeeper query"}}
	if options.Username != "" {
		dsn.Set("user", options.Username)
	}
	dsn.Set("dbname", "postgres")
	if options.Database != "" {
		dsn.Set("dbname", options.Database)
	}
	settings, err := pgconn.ParseConfig("postgres://?" + dsn.Encode())
	if err != nil {
		return nil, fmt.Errorf("connect to %s at %s: %w", m.Name, m.Host, err)
	}
	if options.Password != "" {
		settings.Password = options.Password
	}
	settings.ConnectTimeout = queryConnect
	conn, err := pgconn.ConnectConfig(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("connect to %s at %s as %s: %s", m.Name, m.Host, settings.User, connectReason(err))
	}
	return conn, nil
}

// connectReason keeps the server's own words and drops pgx's list of attempts.
func connectReason(err error) string {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		if strings.HasPrefix(said.Code, "28") {
			return said.Message + ": choose the user with -U, and the password with --password or PGPASSWORD"
		}
		return said.Message
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error() + ": is the server running? look with pgkeeper list"
	}
	return firstLine(err)
}

func (o *Operator) run(ctx context.Context, conn *pgconn.PgConn, m Member, options QueryOptions) error {
	results := conn.Exec(ctx, options.SQL)
	for results.NextResult() {
		reader := results.ResultReader()
		if err := o.showResult(reader, options); err != nil {
			return err
		}
		tag, err := reader.Close()
		if err != nil {
			break // Close below gives the same error with its place
		}
		if len(reader.FieldDescriptions()) == 0 {
			o.Console.Say("%s", tag)
		}
	}
	if err := results.Close(); err != nil {
		if said, ok := errors.AsType[*pgconn.PgError](err); ok {
			return fmt.Errorf("%s on %s: %s: %s (SQLSTATE %s)", "query", m.Name, said.Severity, said.Message, said.Code)
		}
		return fmt.Errorf("query on %s: %w", m.Name, err)
	}
	return nil
}

func (o *Operator) showResult(reader *pgconn.ResultReader, options QueryOptions) error {
	fields := reader.FieldDescriptions()
	if len(fields) == 0 {
		return nil
	}
	var t Table
	for _, f := range fields {
		t.Columns = append(t.Columns, Column{Head: f.Name, Key: f.Name})
	}
	for reader.NextRow() {
		var row []Cell
		for _, value := range reader.Values() {
			if value == nil {
				row = append(row, Cell{Value: json.RawMessage("null")})
				continue
			}
			row = append(row, Cell{Text: string(value), Value: string(value)})
		}
		t.Rows = append(t.Rows, row)
	}
	if o.Console.Format == FormatTSV && options.Delimiter != "" {
		return t.delimited(o.Console.Out, options.Delimiter)
	}
	return o.Console.Show(t)
}
