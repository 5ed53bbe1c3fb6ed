//go:build integration

package pgrw

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgkeeper/pgkeeper/pgrw"
	"github.com/pgkeeper/pgkeeper/test/pgrw/causal"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// opener is one way to know a cluster.
type opener func(*testing.T, *bedtest.Bed, ...pgrw.Option) *pgrw.Cluster

// byAgents asks the agents for the topology.
func byAgents(t *testing.T, b *bedtest.Bed, options ...pgrw.Option) *pgrw.Cluster {
	t.Helper()
	return openAt(t, agentsDSN(b), options...)
}

func agentsDSN(b *bedtest.Bed) string {
	var agents []string
	for _, n := range b.Nodes {
		agents = append(agents, n.APIAddress())
	}
	return naming(strings.Replace(b.Nodes[0].DSN(), "postgres://", "pgkeeper://", 1), b, agents)
}

// byServers asks nobody but the servers.
func byServers(t *testing.T, b *bedtest.Bed, options ...pgrw.Option) *pgrw.Cluster {
	t.Helper()
	var servers []string
	for _, n := range b.Nodes {
		servers = append(servers, n.SQLAddress())
	}
	return openAt(t, naming(b.Nodes[0].DSN(), b, servers), options...)
}

// naming has a DSN of the first node name these hosts.
func naming(dsn string, b *bedtest.Bed, hosts []string) string {
	return strings.Replace(dsn, b.Nodes[0].SQLAddress(), strings.Join(hosts, ","), 1)
}

func openAt(t *testing.T, dsn string, options ...pgrw.Option) *pgrw.Cluster {
	t.Helper()
	db, err := pgrw.Open(t.Context(), dsn, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// waitLimit ends a test that would wait for ever.
const waitLimit = time.Minute

// One cluster, which loses nothing, for all of it: most of the time goes into its start.
func TestAClientOfACluster(t *testing.T) {
	b := bedtest.New(t, testbed.Options{TTL: 8 * time.Second, Dynamic: map[string]any{"synchronous_mode": true}})
	for name, open := range map[string]opener{"by agents": byAgents, "by servers": byServers} {
		t.Run("writes, reads and tokens "+name, func(t *testing.T) { healthy(t, b, open) })
	}
	t.Run("the examples of the documentation", func(t *testing.T) { examples(t, b) })
	t.Run("a commit that was cut is unknown and not sent twice", func(t *testing.T) { cutCommit(t, b) })
	t.Run("what was cut before the commit is done again", func(t *testing.T) { cutBefore(t, b) })
	t.Run("a replica that replays late", func(t *testing.T) { lagging(t, b) })
	t.Run("a member that is added", func(t *testing.T) { added(t, b) })
	for name, open := range map[string]opener{"by agents": byAgents, "by servers": byServers} {
		t.Run("switchover and kill "+name, func(t *testing.T) { moved(t, b, open) })
	}
}

// examples runs what pgrw's documentation shows, where it stands.
func examples(t *testing.T, b *bedtest.Bed) {
	b.Must(b.Healthy(20*time.Second).Exec(t.Context(), "create table orders (id serial primary key, item text)"))
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-v", "-run", "^TestTheExamplesRun$", ".")
	cmd.Dir = filepath.Join("..", "..", "pgrw")
	cmd.Env = append(os.Environ(), "CLUSTER_DSN="+agentsDSN(b))
	if said, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(said), "--- PASS: TestTheExamplesRun") {
		t.Errorf("%v\n%s", err, said)
	}
}

func awaitReplicas(t *testing.T, db *pgrw.Cluster, count int) {
	t.Helper()
	err := testbed.Wait(t.Context(), waitLimit, fmt.Sprintf("%d replicas", count), func(context.Context) string {
		up := 0
		for _, n := range db.Topology().Replicas() {
			if n.Up {
				up++
			}
		}
		if up != count {
			return fmt.Sprintf("the client knows %d", up)
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
}

func healthy(t *testing.T, b *bedtest.Bed, open opener) {
	const rows = 200
	ctx, primary := t.Context(), b.Healthy(20*time.Second)
	db := open(t, b, pgrw.WithProbeInterval(50*time.Millisecond))
	awaitReplicas(t, db, 2)
	table := fmt.Sprintf("healthy_%d", time.Now().UnixNano())
	if _, err := db.Primary().Exec(ctx, "create table "+table+" (id int primary key)"); err != nil {
		t.Fatal(err)
	}
	if n, found := db.Topology().Primary(); !found || n.Address != primary.SQLAddress() {
		t.Errorf("the primary is %+v, want %s", n, primary.SQLAddress())
	}
	replicas := 0
	for id := range rows {
		token, err := db.InTx(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "insert into "+table+" values ($1)", id)
			return err
		})
		if err != nil || token.System == 0 || token.Timeline == 0 {
			t.Fatalf("token %+v, error %v", token, err)
		}
		var found, standby bool
		err = db.Replica(pgrw.CausalWait(30*time.Second)).QueryRow(pgrw.WithToken(ctx, token),
			"select exists (select from "+table+" where id = $1), pg_is_in_recovery()", id).Scan(&found, &standby)
		if err != nil || !found {
			t.Fatalf("row %d: found %v, error %v", id, found, err)
		}
		if standby {
			replicas++
		}
	}
	// One whose position lies on a page's edge may go to the primary, and those of a moment in which a busy machine let a
	// replica wait.
	if replicas < rows*9/10 {
		t.Errorf("%d of %d reads were answered by replicas", replicas, rows)
	}
	for what, read := range map[string]*pgrw.DB{"a replica's handle": db.Replica(), "a reading handle of the primary": db.Replica(pgrw.FromPrimary())} {
		if _, err := read.Exec(ctx, "insert into "+table+" values (-1)"); err == nil || !strings.Contains(err.Error(), "25006") {
			t.Errorf("a write on %s: %v, want 25006", what, err)
		}
	}
	if err := db.Replica(pgrw.MaxLagTime(waitLimit), pgrw.MaxLag(16<<20), pgrw.OrPrimary(pgrw.FallbackNever)).Ping(ctx); err != nil {
		t.Errorf("no replica is a minute fresh: %v", err)
	}
	if _, err := db.Replica(pgrw.Tag("zone", "elsewhere"), pgrw.OrPrimary(pgrw.FallbackNever)).Exec(ctx, "select 1"); !errors.Is(err, pgrw.ErrNoReplica) {
		t.Errorf("a replica with a tag that none has: %v", err)
	}
}

// behind opens the cluster's primary through a cutter.
func behind(t *testing.T, b *bedtest.Bed) (*pgrw.Cluster, *cutter, string) {
	t.Helper()
	primary := b.Healthy(20 * time.Second)
	c := newCutter(t, primary.SQLAddress())
	db := openAt(t, strings.Replace(primary.DSN(), primary.SQLAddress(), c.listener.Addr().String(), 1))
	table := fmt.Sprintf("cut_%d", time.Now().UnixNano())
	if _, err := db.Primary().Exec(t.Context(), "create table "+table+" (id int)"); err != nil {
		t.Fatal(err)
	}
	return db, c, table
}

func cutCommit(t *testing.T, b *bedtest.Bed) {
	db, c, table := behind(t, b)
	for name, forward := range map[string]bool{"the server had it": true, "the server never had it": false} {
		runs := 0
		c.arm("commit; ", forward)
		token, err := db.InTx(t.Context(), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			_, err := tx.Exec(ctx, "insert into "+table+" values (1)")
			return err
		})
		if !errors.Is(err, pgrw.ErrCommitUnknown) || !token.IsZero() {
			t.Errorf("%s: token %v, error %v, want ErrCommitUnknown", name, token, err)
		}
		if runs != 1 || c.cuts.Swap(0) != 1 {
			t.Errorf("%s: the function ran %d times", name, runs)
		}
		want := "0"
		if forward {
			want = "1"
		}
		b.Must(testbed.Wait(t.Context(), waitLimit, name, func(ctx context.Context) string {
			n, err := b.Healthy(20*time.Second).Text(ctx, "select count(*) from "+table)
			if n != want {
				return fmt.Sprintf("%s rows, want %s: %v", n, want, err)
			}
			return ""
		}))
		if _, err := db.Primary().Exec(t.Context(), "truncate "+table); err != nil {
			t.Errorf("after the cut: %v", err)
		}
	}
	c.arm("insert into", true)
	if _, err := db.Primary().Exec(t.Context(), "insert into "+table+" values (1)"); !errors.Is(err, pgrw.ErrCommitUnknown) {
		t.Errorf("a statement that was cut: %v, want ErrCommitUnknown", err)
	}
}

func cutBefore(t *testing.T, b *bedtest.Bed) {
	db, c, table := behind(t, b)
	runs := 0
	c.arm("insert into", true)
	_, err := db.InTx(t.Context(), pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		runs++
		_, err := tx.Exec(ctx, "insert into "+table+" values (1)")
		return err
	})
	if err != nil || runs != 2 || c.cuts.Load() != 1 {
		t.Errorf("error %v, the function ran %d times, %d cuts", err, runs, c.cuts.Load())
	}
	c.arm("select 42", true)
	var n int
	if err := db.Replica(pgrw.FromPrimary()).QueryRow(t.Context(), "select 42").Scan(&n); err != nil || n != 42 {
		t.Errorf("a read that was cut: %v", err)
	}
	if n, err := b.Healthy(20*time.Second).Text(t.Context(), "select count(*) from "+table); err != nil || n != "1" {
		t.Errorf("%s rows: %v", n, err)
	}
}

// lagging pauses the replay of one standby.
func lagging(t *testing.T, b *bedtest.Bed) {
	ctx, primary := t.Context(), b.Healthy(20*time.Second)
	late := b.Others(primary)[0]
	db := byAgents(t, b, pgrw.WithProbeInterval(50*time.Millisecond))
	awaitReplicas(t, db, 2)
	b.Must(late.Exec(ctx, "select pg_wal_replay_pause()"))
	defer func() { b.Must(late.Exec(ctx, "select pg_wal_replay_resume()")) }()
	b.Must(primary.Exec(ctx, fmt.Sprintf("create table late_%d as select repeat('x', 1000) from generate_series(1, 2000)", time.Now().UnixNano())))
	for name, option := range map[string]pgrw.ReadOption{"bytes": pgrw.MaxLag(1 << 20), "time": pgrw.MaxLagTime(3 * time.Second)} {
		read := db.Replica(option, pgrw.OrPrimary(pgrw.FallbackNever))
		b.Must(testbed.Wait(ctx, waitLimit, "the late replica to be left out by "+name, func(context.Context) string {
			for range 20 {
				var port int
				if err := read.QueryRow(ctx, "select current_setting('port')::int").Scan(&port); err != nil {
					return err.Error()
				}
				if port == late.SQLPort {
					return "it is still read from"
				}
			}
			return ""
		}))
	}
}

// added makes a fourth member, which nobody tells the client of but the agents.
func added(t *testing.T, b *bedtest.Bed) {
	b.Healthy(20 * time.Second)
	db := byAgents(t, b)
	awaitReplicas(t, db, 2)
	n, err := b.Add("pg4")
	b.Must(err)
	b.Must(n.Start())
	b.Must(n.Healthy(t.Context(), 60*time.Second, "/replica"))
	ready := time.Now()
	awaitReplicas(t, db, 3)
	took := time.Since(ready)
	t.Logf("known %v after /replica was 200", took.Round(time.Millisecond))
	if took > 15*time.Second { // agents tell; without them it would know never
		t.Errorf("the client knew it after %v", took)
	}
}

// moved reads what it writes while the primary is moved and then killed.
func moved(t *testing.T, b *bedtest.Bed, open opener) {
	var waits atomic.Int64
	db := open(t, b, pgrw.WithMaxWait(2*waitLimit), pgrw.WithObserver(func(e pgrw.Event) {
		if e.Kind == pgrw.EventWait && e.Err == nil {
			waits.Add(1)
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run := &causal.Run{DB: db, Table: fmt.Sprintf("moved_%d", time.Now().UnixNano()), Workers: 4}
	b.Must(run.Prepare(ctx))
	done := make(chan causal.Result, 1)
	go func() { done <- run.Do(ctx) }()
	more := func(what string) {
		t.Helper()
		from := run.Reads()
		b.Must(testbed.Wait(t.Context(), 2*waitLimit, "reads "+what, func(context.Context) string {
			if n := run.Reads() - from; n < 300 {
				return fmt.Sprintf("%d came", n)
			}
			return ""
		}))
	}
	more("at first")
	b.Ctl("switchover", "--force")
	more("after the switchover")
	old := b.Healthy(30 * time.Second)
	b.Must(old.KillAll())
	b.Primary(30*time.Second, old)
	more("after the kill")
	b.Must(old.Start())
	more("with the old primary back")
	b.Healthy(40 * time.Second)
	cancel()
	result := <-done
	t.Logf("%+v; %d waits", result, waits.Load())
	if result.Stale != 0 {
		t.Errorf("%d stale reads with a token: %s", result.Stale, result.Example)
	}
	if result.ControlStale == 0 {
		t.Error("no read without a token was stale: the run proves nothing")
	}
	if result.Failed != 0 {
		t.Errorf("%d writes or reads failed: %s", result.Failed, result.First)
	}
	if result.ByReplica == 0 || waits.Load() == 0 {
		t.Errorf("%d reads by replicas, %d waits for a primary: want some of both", result.ByReplica, waits.Load())
	}
}
