package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// retryPause is between two tries to connect, after a gap of some length: an immediate retry that leaves the other
// processes of the machine some time, and a hundredth of a long gap, which hundreds of tries a second would only make
// longer: each that reaches a server costs it a process. It is part of the gap.
func retryPause(gap time.Duration) time.Duration { return max(2*time.Millisecond, gap/100) }

// client writes through one connection to the server that accepts writes.
type client struct {
	*journal
	config *pgx.ConnConfig
	// patience bounds a statement, and a try to reach one host; 0 for none.
	patience      time.Duration
	insert, table string
	runID         int64
	acknowledged  int64 // rows 1 to this one are
	conn          *pgx.Conn
}

func newClient(dsn, insert, table string, run int64, patience time.Duration, j *journal) (*client, error) {
	config, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	return &client{journal: j, config: config, patience: patience, insert: insert, table: table, runID: run}, nil
}

// parse reads a DSN. Statements go without a prepared name, so that a new connection is one round trip from a write.
func parse(dsn string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the connection string: %w", err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.ValidateConnect != nil {
		config.ValidateConnect = writable
	}
	return config, nil
}

// eachHost is config for each of its hosts alone.
func eachHost(config *pgx.ConnConfig) []*pgx.ConnConfig {
	alone := func(host string, port uint16) *pgx.ConnConfig {
		own := config.Copy()
		own.Host, own.Port, own.Fallbacks = host, port, nil
		return own
	}
	all := []*pgx.ConnConfig{alone(config.Host, config.Port)}
	for _, f := range config.Fallbacks {
		all = append(all, alone(f.Host, f.Port))
	}
	return all
}

// writable is target_session_attrs=read-write as libpq does it: a server of version 14 or newer has said what it is by
// the time it is ready, an older one is asked.
func writable(ctx context.Context, conn *pgconn.PgConn) error {
	switch conn.ParameterStatus("in_hot_standby") {
	case "on":
		return errors.New("read only connection")
	case "off":
		if conn.ParameterStatus("default_transaction_read_only") == "off" {
			return nil
		}
	}
	return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn)
}

func (c *client) run(ctx context.Context) {
	defer c.close()
	start := time.Now()
	for n := int64(1); ctx.Err() == nil; n++ {
		due := start.Add(time.Duration(n) * c.every)
		if !sleepUntil(ctx, due) {
			return
		}
		if !c.write(ctx, n, due) {
			return
		}
	}
}

// write tries one row until it is acknowledged.
func (c *client) write(ctx context.Context, n int64, due time.Time) bool {
	for ctx.Err() == nil {
		if !c.connected(ctx, due) {
			if !sleepUntil(ctx, time.Now().Add(retryPause(time.Since(due)))) {
				return false
			}
			continue
		}
		sent := time.Now()
		if err := c.exec(ctx, n); err != nil {
			c.failed(err, true)
			c.close()
			continue
		}
		c.acked(ack{due: due, sent: sent, at: time.Now()})
		c.mu.Lock()
		c.acknowledged = n
		c.mu.Unlock()
		return true
	}
	return false
}

// exec sends one row. A server that is cut off never answers, and nothing tells.
func (c *client) exec(ctx context.Context, n int64) error {
	if c.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.patience)
		defer cancel()
	}
	_, err := c.conn.Exec(ctx, c.insert, c.runID, n)
	return err
}

func (c *client) connected(ctx context.Context, due time.Time) bool {
	if c.conn != nil && !c.conn.IsClosed() {
		return true
	}
	conn, err := c.connect(ctx, due)
	if err != nil {
		if ctx.Err() == nil {
			c.failed(err, false)
		}
		return false
	}
	c.conn = conn
	return true
}

// connect goes from host to host as libpq does. A client with patience tries each of them
// again and again beside the others, and takes the first that accepts writes: one that is
// cut off would hold the others up.
func (c *client) connect(ctx context.Context, due time.Time) (*pgx.Conn, error) {
	if c.patience == 0 {
		return pgx.ConnectConfig(ctx, c.config)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the other tries end with it
	found := make(chan *pgx.Conn)
	for _, host := range eachHost(c.config) {
		go c.try(ctx, host, due, found)
	}
	select {
	case conn := <-found:
		return conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// try connects to one host until it accepts writes, or ctx ends.
func (c *client) try(ctx context.Context, host *pgx.ConnConfig, due time.Time, found chan<- *pgx.Conn) {
	for sleepUntil(ctx, time.Now()) {
		limited, cancel := context.WithTimeout(ctx, c.patience)
		conn, err := pgx.ConnectConfig(limited, host)
		cancel()
		if err == nil {
			select {
			case found <- conn:
			case <-ctx.Done():
				_ = conn.Close(ctx) // nobody wants it
			}
			return
		}
		if ctx.Err() == nil {
			c.failed(err, false)
		}
		sleepUntil(ctx, time.Now().Add(retryPause(time.Since(due))))
	}
}

func (c *client) close() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond) //nolint:usetesting // a program
	defer cancel()
	_ = c.conn.Close(ctx) // it is broken already, or of no use
	c.conn = nil
}

func (c *client) report(since time.Time) any { return c.journal.report(since, time.Now()) }

// verify counts the acknowledged rows that a new connection does not see.
func (c *client) verify(ctx context.Context) (any, error) {
	c.mu.Lock()
	want := c.acknowledged
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c.config)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	var found int64
	err = conn.QueryRow(ctx, "select count(*) from "+c.table+" where run = $1 and id <= $2", c.runID, want).Scan(&found)
	if err != nil {
		return nil, err
	}
	return map[string]int64{"acked": want, "missing": want - found}, nil
}

// sleepUntil waits; false when ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
