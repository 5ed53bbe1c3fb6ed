package testbed

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// connectLimit bounds an ordinary observer's attempt on one host, so that a frozen
	// server costs little.
	connectLimit = 500 * time.Millisecond
	// patientLimit bounds it where a session is needed, however busy the machine.
	patientLimit = 10 * time.Second
)

// DSN connects to this server as superuser, whatever its role.
func (n *Node) DSN() string {
	return fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable", superuser, superuserPassword, n.SQLAddress())
}

// ProxyDSN connects through a load balancer at the address.
func ProxyDSN(address string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable", superuser, superuserPassword, address)
}

// DSN names all nodes and connects to the one that is writable.
func (c *Cluster) DSN() string {
	var hosts []string
	for _, n := range c.Nodes {
		hosts = append(hosts, n.SQLAddress())
	}
	return fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable&target_session_attrs=read-write", superuser, superuserPassword, strings.Join(hosts, ","))
}

// connect opens a session, each host within limit; settings are run-time parameters of it.
func connect(ctx context.Context, dsn string, limit time.Duration, settings map[string]string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.ConnectTimeout = limit
	maps.Copy(config.RuntimeParams, settings)
	return pgx.ConnectConfig(ctx, config)
}

// Connect opens a session on this server; the caller closes it.
func (n *Node) Connect(ctx context.Context) (*pgx.Conn, error) {
	return connect(ctx, n.DSN(), patientLimit, nil)
}

// Connect opens a session on the writable server; the caller closes it.
func (c *Cluster) Connect(ctx context.Context) (*pgx.Conn, error) {
	return connect(ctx, c.DSN(), patientLimit, nil)
}

// Exec runs statements on this server.
func (n *Node) Exec(ctx context.Context, statements string) error {
	session, err := n.Connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", n.Name, err)
	}
	defer session.Close(ctx)
	_, err = session.Exec(ctx, statements)
	return err
}

// Text runs a query on this server and returns its one value as text.
func (n *Node) Text(ctx context.Context, query string) (string, error) {
	return TextAt(ctx, n.DSN(), query)
}

// TextAt runs a query at any address and returns its one value as text.
func TextAt(ctx context.Context, dsn, query string) (string, error) {
	session, err := connect(ctx, dsn, patientLimit, nil)
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	defer session.Close(ctx)
	var value string
	err = session.QueryRow(ctx, "select ("+query+")::text").Scan(&value)
	return value, err
}
