//go:build integration

package gate

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

const (
	pgBin    = "/usr/lib/postgresql/15/bin"
	password = "it's a\\secret"
	name     = "pgkeeper_gate_1a2b3c4d"
)

// lab is a real PostgreSQL 15 under a real guard, whose commits wait for the gate.
type lab struct {
	*testing.T
	top, data string
	port      string
	owner     *guard.Owner
	guard     *exec.Cmd
	worker    *guard.Client
	server    guard.Started
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if _, err := os.Stat(pgBin); err != nil {
		t.Skipf("PostgreSQL 15 is not installed in %s", pgBin)
	}
	top, err := os.MkdirTemp("", "pgg") //nolint:usetesting // t.TempDir is too long for a socket
	l := &lab{T: t, top: top, data: filepath.Join(top, "data")}
	l.must(err)
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	l.must(os.Chmod(top, 0o755))
	l.port = strconv.Itoa(freeport.Of(t))
	l.must(os.WriteFile(filepath.Join(top, "pw"), []byte(password+"\n"), 0o644))
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		l.must(err)
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		l.owner = &guard.Owner{UID: uint32(uid), GID: uint32(gid)}
		l.must(os.Chown(top, uid, gid))
	}
	l.tool("initdb", "-D", l.data, "-A", "scram-sha-256", "-U", "postgres", "--pwfile", filepath.Join(top, "pw"), "--no-sync", "--no-instructions")
	l.configure("")
	l.startGuard()
	return l
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) tool(program string, args ...string) {
	l.Helper()
	cmd := exec.Command(filepath.Join(pgBin, program), args...) //nolint:noctx // ends by itself
	cmd.Dir = "/"
	if l.owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: l.owner.UID, Gid: l.owner.GID}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		l.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// configure writes the server's settings.
func (l *lab) configure(more string) {
	l.Helper()
	path := filepath.Join(l.data, "postgresql.auto.conf")
	l.must(os.WriteFile(path, fmt.Appendf(nil,
		"port = %s\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nfsync = off\nsynchronous_standby_names = '%s'\n%s", l.port, l.top, name, more), 0o600))
	if l.owner != nil {
		l.must(os.Chown(path, int(l.owner.UID), int(l.owner.GID)))
	}
}

func (l *lab) startGuard() {
	l.Helper()
	run := filepath.Join(l.top, "run")
	l.guard = exec.Command(os.Args[0], run) //nolint:noctx // ended below
	l.guard.Env = append(os.Environ(), roleEnv+"=1")
	l.guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	l.guard.Stderr = writer{l.T}
	l.guard.WaitDelay = time.Second // whoever holds stderr
	l.must(l.guard.Start())
	l.Cleanup(func() {
		_ = l.guard.Process.Kill()
		_ = l.guard.Wait()
		_, _ = guard.KillAll(l.data, 30*time.Second)
	})
	l.until("the guard answers", func() bool {
		client, err := guard.Connect(l.Context(), filepath.Join(run, guard.SocketName))
		if err == nil {
			_, err = client.Hello(l.Context(), 1, "test")
		}
		if err == nil {
			l.worker = client
			l.Cleanup(func() { _ = client.Close() })
		}
		return err == nil
	})
}

type writer struct{ t *testing.T }

func (w writer) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// patience bounds what must happen, leased is more than a test takes.
const (
	patience = time.Minute
	leased   = 9 * time.Minute
)

func (l *lab) until(what string, ok func() bool) {
	l.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			l.Fatalf("waited in vain: %s", what)
		}
	}
}

// pass lets time go by in which nothing must happen.
func pass(d time.Duration) { <-time.NewTimer(d).C }

func (l *lab) spec() *guard.Gate {
	return &guard.Gate{Name: name, SocketDir: l.top, Port: l.port, User: "postgres", Password: password, Owner: l.owner}
}

// lease moves the deadline to d from now.
func (l *lab) lease(d time.Duration) time.Duration {
	l.Helper()
	now := guard.Now()
	l.must(l.worker.Renewed(l.Context(), 1, now, now+d, time.Minute))
	return now + d
}

// boot starts the server; gate may be nil.
func (l *lab) boot(writable bool, gate *guard.Gate) {
	l.Helper()
	var err error
	l.server, err = l.worker.Start(l.Context(), guard.StartOptions{
		Argv: []string{filepath.Join(pgBin, "postgres"), "-D", l.data}, Env: []string{"LC_ALL=C"}, DataDir: l.data, Owner: l.owner,
		LogPath: filepath.Join(l.top, "postgres.log"), Writable: writable, Term: 1, Gate: gate,
	})
	l.must(err)
	l.until("PostgreSQL answers", func() bool {
		conn, err := l.connect(nil)
		if err == nil {
			_ = conn.Close(l.Context())
		}
		return err == nil
	})
}

func (l *lab) connect(parameters map[string]string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("sslmode=disable passfile=/dev/null")
	l.must(err)
	port, _ := strconv.Atoi(l.port)
	config.Host, config.Port, config.User, config.Password, config.Database = "127.0.0.1", uint16(port), "postgres", password, "postgres"
	maps.Copy(config.RuntimeParams, parameters)
	return pgx.ConnectConfig(l.Context(), config)
}

// session does not wait for the gate.
func (l *lab) session() *pgx.Conn {
	l.Helper()
	conn, err := l.connect(map[string]string{"synchronous_commit": "local"})
	l.must(err)
	l.Cleanup(func() { _ = conn.Close(context.WithoutCancel(l.Context())) })
	return conn
}

// client commits, over and over, and says when each began and was acknowledged.
type client struct {
	acked chan commit
}

type commit struct{ began, acked time.Duration }

func (l *lab) client() *client {
	l.Helper()
	conn, err := l.connect(nil)
	l.must(err)
	c := &client{acked: make(chan commit, 1<<20)}
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(c.acked)
		for ctx.Err() == nil {
			began := guard.Now()
			if _, err := conn.Exec(ctx, "insert into t values (1)"); err != nil {
				return
			}
			c.acked <- commit{began, guard.Now()}
		}
	}()
	l.Cleanup(func() { cancel(); <-done })
	return c
}

// next is the next acknowledgement; 0 if none comes within d.
func (c *client) next(d time.Duration) time.Duration {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case next := <-c.acked:
		return next.acked
	case <-limit.C:
		return 0
	}
}

// drain forgets what came so far, and returns the newest.
func (c *client) drain() (last commit) {
	for {
		select {
		case next, open := <-c.acked:
			if !open {
				return last
			}
			last = next
		default:
			return last
		}
	}
}

func (l *lab) status() guard.Status {
	l.Helper()
	st, err := l.worker.Status(l.Context())
	l.must(err)
	return st
}

// table is made by a session that waits for nobody.
func (l *lab) table() {
	l.Helper()
	_, err := l.session().Exec(l.Context(), "create table if not exists t (n int)")
	l.must(err)
}

// gatePID waits for a gate that streams.
func (l *lab) gatePID(not int) int {
	l.Helper()
	pid := 0
	l.until("a gate streams", func() bool {
		g := l.status().Gate
		if g == nil || g.PID == 0 || g.PID == not || !g.Report.Streaming {
			return false
		}
		pid = g.PID
		return true
	})
	return pid
}

func TestCommitsWaitForTheGate(t *testing.T) {
	l := newLab(t)
	l.lease(leased)
	l.boot(true, nil)
	l.table()
	c := l.client()
	if at := c.next(500 * time.Millisecond); at != 0 {
		t.Fatal("a commit was acknowledged without a gate")
	}
	began := guard.Now()
	l.must(l.worker.Gate(t.Context(), l.spec()))
	at := c.next(patience)
	if at == 0 {
		t.Fatal("no commit was acknowledged with a gate")
	}
	t.Logf("gate wanted to first acknowledgement: %v", at-began)
	pid := l.gatePID(0)

	// A gate that is killed is replaced; the server's clients only wait.
	c.drain()
	began = guard.Now()
	l.must(unix.Kill(pid, unix.SIGKILL))
	next := l.gatePID(pid)
	c.drain()
	if at = c.next(patience); at == 0 {
		t.Fatal("no commit was acknowledged after the gate was killed")
	}
	t.Logf("gate killed to acknowledgements by the next: %v", at-began)

	// One that is frozen alone is noticed, and replaced.
	began = guard.Now()
	l.must(unix.Kill(next, unix.SIGSTOP))
	l.gatePID(next)
	c.drain()
	if at = c.next(patience); at == 0 {
		t.Fatal("no commit was acknowledged after the gate was frozen")
	}
	t.Logf("gate frozen to acknowledgements by the next: %v", at-began)
}

func TestAFrozenAgentAcknowledgesNothingPastItsDeadline(t *testing.T) {
	for _, who := range []string{"guard", "guard and gate"} {
		t.Run(who, func(t *testing.T) {
			l := newLab(t)
			l.lease(leased)
			l.boot(true, l.spec())
			l.table()
			c := l.client()
			pid := l.gatePID(0)
			if c.next(patience) == 0 {
				t.Fatal("no commit was acknowledged")
			}
			until := l.lease(4 * time.Second) // enough to freeze them before it is over
			l.must(l.guard.Process.Signal(unix.SIGSTOP))
			if who != "guard" {
				l.must(unix.Kill(pid, unix.SIGSTOP))
			}
			t.Cleanup(func() { _ = l.guard.Process.Signal(unix.SIGCONT); _ = unix.Kill(pid, unix.SIGCONT) })
			pass(until - guard.Now() + 2*time.Second)
			conn := l.session() // the server must be running for this to prove anything
			l.until("the client's commit waits", func() bool {
				var n int
				l.must(conn.QueryRow(t.Context(), "select count(*) from pg_stat_activity where wait_event = 'SyncRep'").Scan(&n))
				return n == 1
			})
			last := c.drain()
			t.Logf("last acknowledgement %v before the deadline", until-last.acked)
			// What was decided in time may be delivered later, on a busy machine by much; what
			// began after the deadline was not decided in time.
			if last.began > until {
				t.Errorf("a commit that began %v after the deadline was acknowledged", last.began-until)
			}
			// A gate that thaws, its guard still frozen, confirms nothing of what waits.
			_ = unix.Kill(pid, unix.SIGCONT)
			if at := c.next(600 * time.Millisecond); at != 0 {
				t.Errorf("a commit was acknowledged %v after the deadline, by a gate that thawed", at-until)
			}
		})
	}
}

func TestInAPauseTheGateGoesOnWithoutADeadline(t *testing.T) {
	l := newLab(t)
	l.lease(leased)
	l.must(l.worker.SetPause(t.Context(), true))
	l.lease(leased)
	l.boot(true, l.spec())
	l.table()
	until := l.lease(300 * time.Millisecond)
	c := l.client()
	pass(until - guard.Now() + 300*time.Millisecond)
	c.drain()
	if c.next(patience) == 0 {
		t.Error("in a pause no commit was acknowledged past the deadline")
	}
}

func TestAPromotedServerIsGatedFromItsFirstCommit(t *testing.T) {
	l := newLab(t)
	l.lease(leased)
	l.must(os.WriteFile(filepath.Join(l.data, "standby.signal"), nil, 0o600))
	l.boot(false, l.spec())
	if g := l.status().Gate; g == nil || g.PID != 0 {
		t.Errorf("a standby has the gate %+v, want one that does not run", g)
	}
	began := guard.Now()
	l.must(l.worker.Promote(t.Context(), 1, l.data, nil))
	conn, err := l.connect(nil)
	l.must(err)
	defer conn.Close(t.Context())
	writable := time.Duration(0)
	l.until("the promoted server takes a commit", func() bool {
		var recovery bool
		l.must(conn.QueryRow(t.Context(), "select pg_is_in_recovery()").Scan(&recovery))
		if !recovery && writable == 0 {
			writable = guard.Now()
		}
		if recovery {
			return false
		}
		_, err := conn.Exec(t.Context(), "create table t (n int)")
		return err == nil
	})
	t.Logf("promote to writable %v, to the first acknowledged commit %v", writable-began, guard.Now()-began)
	// It counts what it confirmed afterwards: the client may be told sooner.
	if g := l.status().Gate; !g.Report.Streaming || g.Starts != 1 {
		t.Errorf("gate %+v at the first acknowledgement, want one that streams", g)
	}
	l.until("the gate has counted it", func() bool { return l.status().Gate.Report.Confirmed > 0 })
}

func TestTheGateDoesNotHoldUpAFastStop(t *testing.T) {
	l := newLab(t)
	for _, gated := range []bool{false, true} {
		l.lease(leased)
		var spec *guard.Gate
		if gated {
			spec = l.spec()
		}
		l.boot(true, spec)
		l.table()
		if gated {
			l.client()
			l.gatePID(0)
		}
		began := guard.Now()
		l.must(l.worker.Stop(t.Context(), guard.Fast))
		for e := range l.worker.Events() {
			if e.Kind == guard.Exited {
				if e.Status != 0 {
					t.Errorf("exit %+v, want a clean one", e)
				}
				break
			}
		}
		took := guard.Now() - began
		t.Logf("fast stop, gated %t: %v", gated, took)
		if took > 20*time.Second { // one that waits for a walsender does so for wal_sender_timeout, a minute
			t.Errorf("a fast stop took %v with gated %t", took, gated)
		}
	}
	l.until("the gate is gone", func() bool { return l.status().Gate == nil })
}
