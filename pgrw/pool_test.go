package pgrw

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TestAPasswordOfWithPoolReachesEveryConnection: the one that asks a server what it is,
// without which no server is up, and those of database/sql too.
func TestAPasswordOfWithPoolReachesEveryConnection(t *testing.T) {
	for name, set := range map[string]func(*pgxpool.Config){
		"ConnConfig": func(c *pgxpool.Config) { c.ConnConfig.Password = "secret" },
		"BeforeConnect": func(c *pgxpool.Config) {
			c.BeforeConnect = func(_ context.Context, reach *pgx.ConnConfig) error {
				reach.Password = "secret"
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			primary, standby := newFakeServer(t, false), newFakeServer(t, true)
			primary.set(func() { primary.password = "secret" })
			standby.set(func() { standby.password = "secret" })
			c := open(t, "postgres://"+primary.address()+","+standby.address()+simple, WithPool(set))
			await(t, "the replica", func() bool { all := c.Topology().Replicas(); return len(all) == 1 && all[0].Up })
			if _, err := c.Replica(OrPrimary(FallbackNever)).Exec(t.Context(), "select"); err != nil {
				t.Errorf("a read: %v", err)
			}
			db := c.Primary().SQL()
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), "put"); err != nil || primary.count("put") != 1 {
				t.Errorf("database/sql: %v", err)
			}
		})
	}
}

func TestHooksOfWithPoolRunForDatabaseSQL(t *testing.T) {
	refused := errors.New("refused")
	var ran atomic.Int64
	var refuse atomic.Bool
	s := newScene(t, WithPool(func(c *pgxpool.Config) {
		c.AfterConnect = func(context.Context, *pgx.Conn) error {
			ran.Add(1)
			if refuse.Load() {
				return refused
			}
			return nil
		}
	}))
	if _, err := s.Primary().Exec(t.Context(), "put"); err != nil { // the pool has its connection
		t.Fatal(err)
	}
	before := ran.Load()
	db := s.Primary().SQL()
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "put"); err != nil || ran.Load() != before+1 {
		t.Errorf("AfterConnect ran %d times: %v", ran.Load()-before, err)
	}
	refuse.Store(true)
	other := s.Primary().SQL()
	defer other.Close()
	if err := other.PingContext(t.Context()); !errors.Is(err, refused) {
		t.Errorf("a connection that AfterConnect refused: %v", err)
	}
}
