//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// split is what the tests of Pgpool-II need in the database: a table, and functions as an application has them.
const split = `
	create role pgkeeper_pgpool login password 'pool-secret';
	create table split (at timestamptz default clock_timestamp(), note text);
	create function reads() returns text stable language sql as $$ select pg_is_in_recovery()::text $$;
	create function writes() returns text language plpgsql as $$ begin insert into split default values; return pg_is_in_recovery()::text; end $$;
	create view hidden as select writes() as write;
	create sequence numbers`

// pgpooled is a cluster behind HAProxy's two endpoints, and Pgpool-II with the rendered configuration on these.
func pgpooled(t *testing.T) (b *bedtest.Bed, primary *testbed.Node, f *testbed.Front, dsn string) {
	t.Helper()
	b = bedtest.New(t, testbed.Options{TTL: shortTTL})
	primary = b.Healthy(10 * time.Second)
	b.Must(primary.Exec(t.Context(), split))
	for _, n := range b.Others(primary) { // the last that was made: both standbys have all of it
		b.WaitText(n, "to_regclass('numbers') is not null", "true")
	}
	f = b.Front()
	for _, address := range []string{f.Writes, f.Reads} {
		b.Wait(10*time.Second, "the endpoint "+address, func(ctx ctx) string {
			if _, err := testbed.TextAt(ctx, testbed.ProxyDSN(address), "select count(*) from split"); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	p := b.Pgpool(f, map[string]string{testbed.PgpoolRole: "pool-secret", "postgres": "super-secret"})
	return b, primary, f, testbed.ProxyDSN(p.Address())
}

// through opens a session through Pgpool-II, which ends with the test.
func through(b *bedtest.Bed, dsn string) *pgx.Conn {
	b.T().Helper()
	session, err := pgx.Connect(b.T().Context(), dsn)
	b.Must(err)
	b.T().Cleanup(func() { _ = session.Close(context.WithoutCancel(b.T().Context())) })
	return session
}

func TestPgpoolSendsWhatWritesToThePrimaryAndWhatReadsToAStandby(t *testing.T) {
	t.Parallel()
	b, primary, _, dsn := pgpooled(t)
	writing := []string{
		"insert into split default values",
		"with w as (insert into split default values returning 1) select * from w",
		"select writes()", "/*PRIMARY*/ select write from hidden",
		"select nextval('numbers')", "select setval('numbers', 7)",
		"update split set note = 'x'", "select * from split for update", "delete from split where note is null",
		"select 1 as one into temp table mine", "select one from mine", "drop table mine",
		"create table if not exists more as select 1 as n", "truncate more", "drop table more",
		"do $$ begin insert into split default values; end $$", "select pg_advisory_lock(1)", "select pg_advisory_unlock(1)",
		"notify somebody", "select pg_notify('a', 'b')", "analyze split",
	}
	if b.Text(primary, "current_setting('server_version_num')::int >= 150000") == "true" {
		writing = append(writing, "merge into split using (select 1) s on false when not matched then insert default values")
	}
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		session := through(b, dsn+"&default_query_exec_mode="+mode)
		for _, sql := range writing {
			if _, err := session.Exec(t.Context(), sql); err != nil {
				t.Errorf("%s: %s: %v", mode, sql, err)
			}
		}
		standby := ""
		if err := session.QueryRow(t.Context(), "select reads()").Scan(&standby); err != nil || standby != "true" {
			t.Errorf("%s: reads go to a server with pg_is_in_recovery() = %s: %v", mode, standby, err)
		}
		if err := session.QueryRow(t.Context(), "select writes()").Scan(&standby); err != nil || standby != "false" {
			t.Errorf("%s: a volatile function runs on a server with pg_is_in_recovery() = %s: %v", mode, standby, err)
		}
		b.Must(readsItsWrite(t, session))
	}
}

// readsItsWrite reads within a transaction what that has written.
func readsItsWrite(t *testing.T, session *pgx.Conn) error {
	return pgx.BeginFunc(t.Context(), session, func(tx pgx.Tx) error {
		before, after := 0, 0
		if err := tx.QueryRow(t.Context(), "select count(*) from split").Scan(&before); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), "insert into split (note) values ('mine')"); err != nil {
			return err
		}
		if err := tx.QueryRow(t.Context(), "select count(*) from split where note = 'mine'").Scan(&after); err != nil {
			return err
		}
		if after == 0 {
			return fmt.Errorf("a transaction does not read its own write: %d rows before", before)
		}
		return nil
	})
}

func TestThroughPgpoolNoWriteReachesAStandbyAndANewSessionWorksAtOnce(t *testing.T) {
	t.Parallel()
	b, primary, f, dsn := pgpooled(t)
	o := b.ObserveThrough(dsn)
	for range 3 {
		warm(b, dsn)
		session := through(b, dsn)
		_, err := session.Exec(t.Context(), "insert into split default values")
		b.Must(err)
		o.Fault()
		b.Ctl("switchover", "--force")
		routedFrom(b, f, primary) // beside the operator's answer, mostly before it
		cut := session.Ping(t.Context())
		reconnected(t, dsn, 1, fmt.Sprintf("a switchover (a session that was there: %v)", cut))
		kept := make([]*pgx.Conn, 4)
		for i := range kept {
			kept[i] = through(b, dsn)
		}
		warm(b, dsn)
		next := b.Healthy(20 * time.Second)
		for _, session := range kept { // cut once is enough
			if _, err := session.Exec(t.Context(), "insert into split default values"); err != nil {
				t.Errorf("a session that began after the switchover: %v", err)
			}
		}
		if next == primary {
			t.Fatalf("%s is the primary still", next.Name)
		}
		primary = next
		o.GapAtMost(planned)
		readsAtAStandby(b, dsn)
	}

	o.Fault()
	b.Must(primary.KillAll())
	reconnected(t, dsn, 0, "the death of the primary")
	next := b.Primary(15*time.Second, primary)
	o.Resumed(10 * time.Second)
	o.GapAtMost(afterLease)
	readsAtAStandby(b, dsn)
	b.Must(primary.Start())
	b.Healthy(30 * time.Second)
	for _, f := range o.Writer.Failures() {
		t.Logf("failed %v", f.Err)
		if refusedByAStandby(f.Err) {
			t.Errorf("row %d reached a standby: %v", f.Seq, f.Err)
		}
	}
	o.End(next, loseAtMost)
}

// refusedByAStandby tells "cannot execute INSERT in a read-only transaction".
func refusedByAStandby(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "25006"
}

// warm opens some sessions at once and closes them: Pgpool-II keeps their connections for who comes next. Each of them
// has to write and to read.
func warm(b *bedtest.Bed, dsn string) {
	b.T().Helper()
	const sessions = 8
	done := make(chan error, sessions)
	for range sessions {
		go func() { done <- writeAndRead(b.T().Context(), dsn) }()
	}
	for range sessions {
		if err := <-done; err != nil {
			b.T().Errorf("one of %d new sessions: %v", sessions, err)
		}
	}
}

// writeAndRead does both in a new session.
func writeAndRead(ctx ctx, dsn string) error {
	session, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer session.Close(ctx)
	if _, err := session.Exec(ctx, "insert into split default values"); err != nil {
		return err
	}
	_, err = session.Exec(ctx, "select reads()")
	return err
}

// reconnected opens new sessions until one writes and reads, with at most so many attempts (0 for any number within a
// minute), none of which a standby may have refused.
func reconnected(t *testing.T, dsn string, most int, after string) {
	t.Helper()
	began := clock.Now()
	for attempts := 1; ; attempts++ {
		err := writeAndRead(t.Context(), dsn)
		if err == nil {
			t.Logf("RECONNECT after %s: %v, %d attempts", after, clock.Now().Sub(began).Round(100*time.Microsecond), attempts)
			return
		}
		if refusedByAStandby(err) {
			t.Errorf("attempt %d: a write reached a standby: %v", attempts, err)
		}
		if attempts == most || clock.Now().Sub(began) > time.Minute {
			t.Fatalf("no session after %s, %d attempts: %v", after, attempts, err)
		}
	}
}

func readsAtAStandby(b *bedtest.Bed, dsn string) {
	b.T().Helper()
	b.Wait(5*time.Second, "reads at a standby", func(ctx ctx) string {
		if standby, err := testbed.TextAt(ctx, dsn, "reads()"); err != nil || standby != "true" {
			return fmt.Sprintf("pg_is_in_recovery() is %s: %v", standby, err)
		}
		return ""
	})
}
