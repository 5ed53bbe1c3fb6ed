//go:build integration

package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// An application may have had its isolation level made everybody's.
func TestAStandbyIsLookedAtWhereTransactionsAreSerializable(t *testing.T) {
	a := tuned(t, "a", map[string]string{"default_transaction_isolation": "serializable"})
	b := standby(t, "b", a)
	b.look()
	if _, err := b.LookFast(b.ctx()); err != nil {
		t.Error(err)
	}
	if _, err := b.LookProgress(b.ctx()); err != nil {
		t.Error(err)
	}
	b.promoteTo(2)
}

func TestTheSuperuserIsItselfWhateverRoleItBeginsWith(t *testing.T) {
	a := primary(t, "a")
	a.sql("create role app; alter role postgres set role = app")
	a.watch.close() // a session that was there before is not concerned
	a.look()
	if got := a.sql("select current_user"); got != "postgres" {
		t.Errorf("it acts as %s", got)
	}
}

// What is kept for the moment when no connection is left must not be ended for being idle.
func TestASessionIsKeptWhereIdleOnesAreEnded(t *testing.T) {
	a := tuned(t, "a", map[string]string{"idle_session_timeout": "300ms", "max_connections": "25"})
	a.look()
	a.takeAll()
	<-time.After(time.Second) // idle for so long
	a.takeAll()               // what was let go
	if _, err := a.Look(a.ctx(), true, a.pid()); err != nil {
		t.Error(err)
	}
}

func TestTimesAreInOneFormWhateverTheServersIs(t *testing.T) {
	a := tuned(t, "a", map[string]string{"datestyle": "German"})
	if _, err := time.Parse("2006-01-02 15:04:05.999999Z07", a.look().PostmasterTime); err != nil {
		t.Error(err)
	}
}

// Before PostgreSQL 14 it is all that tells a primary from a standby there.
func TestAPrimaryWhoseClientsMayOnlyReadIsNoStandby(t *testing.T) {
	a := tuned(t, "a", map[string]string{"default_transaction_read_only": "on"})
	b := standby(t, "b", a)
	for n, want := range map[*node]string{a: "off", b: "on"} {
		config, err := a.replicationConfig(a.source(n))
		a.must(err)
		conn, err := pgconn.ConnectConfig(a.ctx(), config)
		a.must(err)
		if row, err := command(a.ctx(), conn, "SHOW transaction_read_only"); err != nil || string(row[0]) != want {
			t.Errorf("%s shows %s (%v), want %s", n.o.Name, row, err, want)
		}
		closeConn(a.ctx(), conn)
	}
}

// takeAll has every connection that is left do something for long.
func (n *node) takeAll() {
	n.t.Helper()
	for range 30 {
		conn, err := n.SuperuserConn(n.ctx())
		if sqlState(err) == stateTooManyConnections {
			return
		}
		n.must(err)
		go func() {
			_, _ = conn.Exec(n.ctx(), "set statement_timeout = 0; select pg_sleep(600)").ReadAll() // ended with the server
		}()
	}
	n.t.Fatal("connections are left")
}
