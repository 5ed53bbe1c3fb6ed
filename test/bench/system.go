//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// setup is what a cluster is started with.
type setup struct {
	ttl, loopWait, retryTimeout time.Duration
	// unstarted leaves the nodes down.
	unstarted bool
	// dynamic is merged over the first dynamic configuration, at its top level.
	dynamic map[string]any
	// pooled puts a pooler in front, where a system drives one.
	pooled bool
	// volumes gives each node a file system of its own, which needs root.
	volumes bool
	// hosts gives each node and each member of etcd a host of its own (lan), which needs root.
	hosts bool
	// patience is how long the direct client waits for an answer; 0 for ever.
	patience time.Duration
}

// system is a running cluster of either kind.
type system interface {
	name() string
	build() string
	etcd() *testbed.Etcd
	members() []member
	// add makes another member, which is not started.
	add(name string) (member, error)
	// ttl is the lease in force.
	ttl() time.Duration
	// proxy writes HAProxy's configuration as this system documents it and returns its path and the address for writes.
	proxy(dir string) (config, writes string, err error)
	close() error
}

// member is one node of it.
type member interface {
	name() string
	sql() string // host:port
	api() string
	logPath() string
	start() error
	running() bool
	// stop sends SIGTERM to the agent and waits for its end.
	stop(limit time.Duration) error
	// killAll ends all processes of the node at once.
	killAll() error
	killPostmaster() error
	// hits are the ways to hit the agent's processes.
	hits() []hit
	// agentPIDs are the processes of the agent, without the server's.
	agentPIDs() []int
	// data is the server's data directory.
	data() string
	// wipe removes the data of a node that is stopped.
	wipe() error
}

// hit is one way to freeze or kill processes of an agent.
type hit struct {
	what string
	// frozen processes go on after undo; killed ones are started again by the harness.
	frozen bool
	do     func() error
	undo   func() error
}

// Who the bench is to a server, and what the server's rules say about it.
const (
	clientName   = "bench"
	clientAccess = "host bench bench 127.0.0.1/32 trust"
	lanAccess    = "host bench bench " + lan.Subnet + " trust"
	writesTable  = "bench_writes"
	superuser    = "postgres"
	secret       = "bench-secret"
)

// serverParameters are those of both systems: PostgreSQL's defaults where they matter here.
func serverParameters() map[string]any {
	return map[string]any{"max_connections": 100, "shared_buffers": "128MB", "max_wal_size": "1GB", "min_wal_size": "80MB"}
}

// dsn is a connection string of the bench's role for one host or several.
func dsn(hosts ...string) string {
	s := "postgres://" + clientName + "@" + strings.Join(hosts, ",") + "/bench?sslmode=disable&connect_timeout=1"
	if len(hosts) > 1 {
		s += "&target_session_attrs=read-write"
	}
	return s
}

func sqlHosts(members []member) []string {
	var hosts []string
	for _, m := range members {
		hosts = append(hosts, m.sql())
	}
	return hosts
}

// rest asks a node without keeping the connection: nodes come and go.
var rest = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// code is the answer's code of a GET, 0 for none.
func code(ctx context.Context, m member, path string) int {
	status, _ := get(ctx, "http://"+m.api()+path)
	return status
}

func get(ctx context.Context, url string) (int, []byte) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil
	}
	response, err := rest.Do(request)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body) // a short body is judged by who reads it
	return response.StatusCode, body
}

// primary is the member that says it is, nil while none or several do; missing says why.
func primary(ctx context.Context, members []member) (found member, missing string) {
	for _, m := range members {
		if code(ctx, m, "/primary") != http.StatusOK {
			continue
		}
		if found != nil {
			return nil, found.name() + " and " + m.name() + " both are primary"
		}
		found = m
	}
	if found == nil {
		return nil, "no primary"
	}
	return found, ""
}

// replicas says what keeps all members but the primary from being its streaming replicas.
func replicas(ctx context.Context, s system, leader member) string {
	standbys := 0
	for _, m := range s.members() {
		if m == leader || !m.running() {
			continue
		}
		standbys++
		if c := code(ctx, m, "/replica"); c != http.StatusOK {
			return fmt.Sprintf("%s answers %d on /replica", m.name(), c)
		}
	}
	return streaming(ctx, leader, standbys)
}

// streaming asks the primary itself how many standbys stream from it.
func streaming(ctx context.Context, leader member, want int) string {
	conn, err := pgx.Connect(ctx, adminDSN(leader, "postgres"))
	if err != nil {
		return err.Error()
	}
	defer conn.Close(ctx)
	var n int
	err = conn.QueryRow(ctx, "select count(*) from pg_stat_replication where state = 'streaming' and application_name not like '%clone%' and application_name <> 'pg_basebackup' and application_name not like 'pgkeeper_gate_%'").Scan(&n)
	if err != nil {
		return err.Error()
	}
	if n < want {
		return fmt.Sprintf("%d of %d standbys stream", n, want)
	}
	return ""
}

// healthy waits until the cluster is, and returns its primary.
func healthy(ctx context.Context, s system, limit time.Duration) (member, error) {
	var leader member
	err := testbed.Wait(ctx, limit, "a healthy "+s.name(), func(ctx context.Context) string {
		var missing string
		if leader, missing = primary(ctx, s.members()); missing != "" {
			return missing
		}
		return replicas(ctx, s, leader)
	})
	return leader, err
}

func adminDSN(m member, database string) string {
	return "postgres://" + superuser + ":" + secret + "@" + m.sql() + "/" + database + "?sslmode=disable&connect_timeout=2"
}

// prepare makes the bench's role, database and table.
func prepare(ctx context.Context, leader member) error {
	for _, step := range []struct{ database, sql string }{
		{"postgres", "create role bench login superuser"},
		{"postgres", "create database bench"},
		{"bench", "create table " + writesTable + " (run bigint, id bigint, primary key (run, id))"},
	} {
		if err := exec1(ctx, adminDSN(leader, step.database), step.sql); err != nil {
			return fmt.Errorf("prepare the database: %w", err)
		}
	}
	return nil
}

// exec1 runs one statement over a connection of its own.
func exec1(ctx context.Context, dsn, sql string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// answers waits until a server, or what stands before it, lets a client in.
func answers(ctx context.Context, what, dsn string) error {
	return testbed.Wait(ctx, 20*time.Second, what, func(ctx context.Context) string {
		if err := exec1(ctx, dsn, "select 1"); err != nil {
			return err.Error()
		}
		return ""
	})
}

// switchover asks the primary's REST API to hand over to whom it likes, as both systems understand it. The answer comes
// when it is done.
func switchover(ctx context.Context, leader member) error {
	body, err := json.Marshal(map[string]string{"leader": leader.name()})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+leader.api()+"/switchover", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		return fmt.Errorf("ask for a switchover: %w", err)
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(response.Body) // only for the message
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the switchover was answered %s: %s", response.Status, strings.TrimSpace(string(said)))
	}
	return nil
}

// databaseSize is that of the bench's database, in bytes.
func databaseSize(ctx context.Context, leader member) (size int64, err error) {
	conn, err := pgx.Connect(ctx, adminDSN(leader, "bench"))
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	return size, conn.QueryRow(ctx, "select pg_database_size(current_database())").Scan(&size)
}
