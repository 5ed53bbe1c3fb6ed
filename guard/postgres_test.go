//go:build integration

package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

const pgBin = "/usr/lib/postgresql/15/bin"

// cluster is a real PostgreSQL 15 under a real guard.
type cluster struct {
	*node
	owner *Owner
	port  string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	if _, err := os.Stat(pgBin); err != nil {
		t.Skipf("PostgreSQL 15 is not installed in %s", pgBin)
	}
	c := &cluster{node: newNode(t), port: strconv.Itoa(freeport.Of(t))}
	top := filepath.Dir(c.data)
	noErr(t, os.RemoveAll(c.data))
	if os.Geteuid() == 0 {
		c.owner = serverUser(t)
		noErr(t, os.Chown(top, int(c.owner.UID), int(c.owner.GID)))
	}
	c.sql(t, "initdb", "-D", c.data, "-A", "trust", "-U", "postgres", "--no-sync", "--no-instructions")
	noErr(t, os.WriteFile(filepath.Join(c.data, "postgresql.auto.conf"), fmt.Appendf(nil,
		"port = %s\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n", c.port), 0o600))
	c.chown("postgresql.auto.conf")
	c.startGuard(nil)
	return c
}

func serverUser(t *testing.T) *Owner {
	t.Helper()
	u, err := user.Lookup("postgres")
	noErr(t, err)
	uid, err := strconv.Atoi(u.Uid)
	noErr(t, err)
	gid, err := strconv.Atoi(u.Gid)
	noErr(t, err)
	return &Owner{UID: uint32(uid), GID: uint32(gid)}
}

func (c *cluster) chown(name string) {
	c.t.Helper()
	if c.owner != nil {
		noErr(c.t, os.Chown(filepath.Join(c.data, name), int(c.owner.UID), int(c.owner.GID)))
	}
}

func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(pgBin, name), args...)
	cmd.Dir = "/"
	if c.owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.owner.UID, Gid: c.owner.GID}}
	}
	return cmd
}

func (c *cluster) sql(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (c *cluster) psql(query string) (string, error) {
	out, err := c.psqlCommand(query).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (c *cluster) psqlCommand(query string) *exec.Cmd {
	cmd := exec.Command("psql", "-XAtq", "-h", "127.0.0.1", "-p", c.port, "-U", "postgres", "-c", query)
	cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=20")
	return cmd
}

func (c *cluster) boot(w *Client, writable bool, term int64) Started {
	c.t.Helper()
	s, err := w.Start(c.t.Context(), StartOptions{
		Argv: []string{filepath.Join(pgBin, "postgres"), "-D", c.data},
		Env:  []string{"LC_ALL=C"}, DataDir: c.data, Owner: c.owner,
		LogPath: filepath.Join(filepath.Dir(c.data), "postgres.log"), Writable: writable, Term: term,
	})
	noErr(c.t, err)
	c.until("PostgreSQL answers", func() bool { _, err := c.psql("select 1"); return err == nil })
	return s
}

// longQueries keeps backends busy in the executor: they do not look at signals of
// a postmaster that is gone.
func (c *cluster) longQueries(n int) {
	c.t.Helper()
	for range n {
		cmd := c.psqlCommand("select count(*) from generate_series(1, 100000000000) a")
		noErr(c.t, cmd.Start())
		c.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	c.until("the long queries run", func() bool {
		out, err := c.psql("select count(*) from pg_stat_activity where query like '%generate_series(1, 1000%' and pid <> pg_backend_pid()")
		return err == nil && out == strconv.Itoa(n)
	})
}

func TestPostgresKilledIsReportedWithItsBackendsGone(t *testing.T) {
	c := newCluster(t)
	w := c.worker(1)
	noErr(t, w.Deadline(t.Context(), 1, Now()+5*time.Minute, time.Second))
	s := c.boot(w, true, 1)
	c.longQueries(3)
	before := Now()
	noErr(t, unix.Kill(s.PID, unix.SIGKILL))
	e := event(t, w, Exited)
	took := Now() - before
	t.Logf("postmaster SIGKILL to exited event with 3 busy backends: %v, %d leftovers killed", took, e.Leftovers)
	if e.Signal != int(unix.SIGKILL) || e.Leftovers < 3 || c.leftovers() != 0 {
		t.Errorf("exit %+v, %d processes left", e, c.leftovers())
	}
	if took > 10*time.Second {
		t.Errorf("took %v, want a few ms", took)
	}
	// The crashed server comes back under the same term, which still holds.
	c.boot(w, true, 1)
}

func TestPostgresIsStoppedAtItsDeadlineInsideALongQuery(t *testing.T) {
	c := newCluster(t)
	w := c.worker(1)
	const margin = 12 * time.Second
	noErr(t, w.Deadline(t.Context(), 1, Now()+5*time.Minute, margin))
	c.boot(w, true, 1)
	c.longQueries(2)
	at := Now() + 200*time.Millisecond
	noErr(t, w.Deadline(t.Context(), 1, at, margin))
	fired := event(t, w, DeadlineFired)
	event(t, w, Exited)
	t.Logf("deadline to firing: %v, to proof: %v", fired.At-at, Now()-at)
	if late := fired.At - at; late < 0 || late > margin/3 {
		t.Errorf("fired %v after the deadline", late)
	}
	if over := Now() - at; over > margin || c.leftovers() != 0 {
		t.Errorf("stopped %v after the deadline with %d processes left, want less than the margin and none", over, c.leftovers())
	}
	if _, err := c.psql("select 1"); err == nil {
		t.Error("PostgreSQL still answers")
	}
}

func TestPostgresIsPromotedPastReservedTimelines(t *testing.T) {
	c := newCluster(t)
	noErr(t, os.WriteFile(filepath.Join(c.data, "standby.signal"), nil, 0o600))
	c.chown("standby.signal")
	w := c.worker(1)
	s := c.boot(w, false, 0)
	wantErr(t, w.Promote(t.Context(), 7, c.data, nil), ErrStaleTerm)
	noErr(t, w.Deadline(t.Context(), 7, Now()+5*time.Minute, time.Second))
	noErr(t, w.Promote(t.Context(), 7, c.data, map[string]string{
		"00000002.history": "1\t0/1000000\treserved\n", "00000003.history": "1\t0/1000000\treserved\n",
	}))
	c.until("the server left recovery", func() bool {
		out, err := c.psql("select pg_is_in_recovery()")
		return err == nil && out == "f"
	})
	out, err := c.psql("select timeline_id from pg_control_checkpoint(), pg_switch_wal() union select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int order by 1 desc limit 1")
	noErr(t, err)
	if out != "4" {
		t.Errorf("promoted to timeline %s, want 4", out)
	}
	st, err := w.Status(t.Context())
	noErr(t, err)
	if !st.Armed || st.Server.Instance != s.Instance {
		t.Errorf("status %+v, want the deadline armed for %s", st, s.Instance)
	}
	// Nobody signals the postmaster: it must fall with the guard.
	noErr(t, c.cmd.Process.Kill())
	c.until("PostgreSQL fell with its guard", func() bool { return c.leftovers() == 0 })
}

func TestPostgresStoppedFastReportsACleanExit(t *testing.T) {
	c := newCluster(t)
	w := c.worker(1)
	noErr(t, w.Deadline(t.Context(), 1, Now()+5*time.Minute, time.Second))
	c.boot(w, true, 1)
	before := Now()
	noErr(t, w.Stop(t.Context(), Fast))
	e := event(t, w, Exited)
	t.Logf("fast stop to exited event: %v", Now()-before)
	if e.Status != 0 || e.Signal != 0 || e.Leftovers != 0 {
		t.Errorf("exit %+v, want a clean one", e)
	}
	if _, err := os.Stat(filepath.Join(c.data, "postmaster.pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("postmaster.pid is still there: %v", err)
	}
}
