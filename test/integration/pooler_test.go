//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// pooled is a cluster behind a PgBouncer that the first node's agent drives. Its clients
// need no password; it logs into servers as the superuser.
func pooled(t *testing.T) (b *bedtest.Bed, dsn string) {
	t.Helper()
	p := bedtest.PgBouncer(t, map[string]string{"postgres": "super-secret"})
	b = bedtest.New(t, testbed.Options{TTL: shortTTL, Configure: func(name string, config map[string]any) {
		if name == "pg1" {
			config["poolers"] = p.Pooler("postgres")
		}
	}})
	return b, p.DSN("postgres", "postgres")
}

var (
	processed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
	failedTx  = regexp.MustCompile(`number of failed transactions: (\d+)`)
)

func TestThroughPgBouncerASwitchoverCostsNoTransactionAndADeadPrimaryLittle(t *testing.T) {
	t.Parallel()
	b, dsn := pooled(t)
	first := b.Healthy(10 * time.Second)
	at := func(n *testbed.Node) func(ctx) string {
		return func(ctx ctx) string {
			port, err := testbed.TextAt(ctx, dsn+" default_query_exec_mode=simple_protocol", "current_setting('port')")
			if err != nil || port != fmtInt(n.SQLPort) {
				return fmt.Sprintf("they go to %s: %v", port, err)
			}
			return ""
		}
	}
	b.Wait(10*time.Second, "clients at "+first.Name, at(first))
	b.Must(first.Exec(t.Context(), "create table pooled (at timestamptz default clock_timestamp())"))
	script := filepath.Join(first.Dir(), "insert.sql")
	b.Must(os.WriteFile(script, []byte("insert into pooled default values;\n"), 0o644))
	said := make(chan string, 1)
	go func() {
		out, err := first.ServerProgram(t.Context(), "pgbench", "-n", "-c", "4", "-M", "simple", "-R", "200", "-T", "15", "-f", script, dsn)
		said <- fmt.Sprintf("%s\n%v", out, err)
	}()
	// The last primary dies below with all that runs beside it, and must not take the agent
	// that drives the pooler along.
	next := b.Others(first, b.Cluster.Nodes[0])[0]
	for _, to := range []*testbed.Node{next, first, next} {
		b.Ctl("switchover", "--force", "--candidate", to.Name)
		b.Healthy(20 * time.Second)
	}
	b.Wait(5*time.Second, "clients at "+next.Name, at(next))
	out := <-said
	done, failed := processed.FindStringSubmatch(out), failedTx.FindStringSubmatch(out)
	if done == nil || failed == nil || failed[1] != "0" || !strings.HasSuffix(out, "<nil>") {
		t.Fatal(out)
	}
	if rows := b.Text(next, "select count(*) from pooled"); rows != done[1] {
		t.Errorf("%s rows of %s transactions", rows, done[1])
	}
	t.Logf("%s transactions, longest stall %s s", done[1],
		b.Text(next, "select max(at - before) from (select at, lag(at) over (order by at) as before from pooled) x"))

	// A dead primary takes the transactions with it that were under way, and no more.
	b.Must(next.KillAll())
	fault, refused := clock.Now(), 0
	for insert(t, dsn) != nil {
		if refused++; clock.Now().Sub(fault) > time.Minute {
			t.Fatal("no writes through the pooler after a minute")
		}
	}
	third := b.Primary(15*time.Second, next)
	t.Logf("writes again %s after the primary's death, %d attempts refused", clock.Now().Sub(fault), refused)
	b.Wait(5*time.Second, "clients at "+third.Name, at(third))
}

// insert writes once through the pooler, and waits as long as that takes.
func insert(t *testing.T, dsn string) error {
	conn, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(t.Context()) }()
	return conn.Exec(t.Context(), "insert into pooled default values").Close()
}
