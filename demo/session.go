package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// session connects as an application would: one DSN with every host, and the
// client itself finds the primary.
func (s *stage) session(ctx context.Context) (connection, error) {
	c, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return inserter{c}, nil
}

func (s *stage) open(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(s.dsn("read-write"))
	if err != nil {
		return nil, fmt.Errorf("read the DSN: %w", err)
	}
	config.ConnectTimeout = time.Second
	return pgx.ConnectConfig(ctx, config)
}

// inserter is a session of the writer.
type inserter struct{ *pgx.Conn }

func (i inserter) Insert(ctx context.Context, seq int64) error {
	_, err := i.Exec(ctx, "insert into demo (seq) values ($1)", seq)
	return err
}

// Close does not say goodbye to a server that may be gone.
func (i inserter) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = i.Conn.Close(ctx)
}

func (s *stage) createTable(ctx context.Context) error {
	c, err := s.openSoon(ctx)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if _, err := c.Exec(ctx, "create table demo (seq bigint primary key, at timestamptz not null default clock_timestamp())"); err != nil {
		return fmt.Errorf("create the table: %w", err)
	}
	return nil
}

// openSoon connects as soon as there is a primary.
func (s *stage) openSoon(ctx context.Context) (c *pgx.Conn, err error) {
	bounded, cancel := context.WithTimeout(ctx, healedWithin)
	defer cancel()
	for {
		if c, err = s.open(bounded); err == nil {
			return c, nil
		}
		select {
		case <-bounded.Done():
			return nil, fmt.Errorf("connect to the primary: %w", err)
		case <-time.After(lookEvery):
		}
	}
}

// rows reads which rows there are, from the primary.
func (s *stage) rows(ctx context.Context) (map[int64]bool, error) {
	c, err := s.openSoon(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	found, err := c.Query(ctx, "select seq from demo")
	if err != nil {
		return nil, fmt.Errorf("read the rows: %w", err)
	}
	list, err := pgx.CollectRows(found, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read the rows: %w", err)
	}
	present := make(map[int64]bool, len(list))
	for _, seq := range list {
		present[seq] = true
	}
	return present, nil
}
