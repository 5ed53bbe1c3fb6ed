//go:build integration || bench

package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

// node is one real server of a test, its postmaster a child of the test.
type node struct {
	t *testing.T
	*Server
	settings cluster.Settings
	cmd      *exec.Cmd
	exited   chan struct{}
}

var passwords = map[string]Credentials{
	"superuser":   {Username: "postgres", Password: `su'per \"secret`},
	"replication": {Username: "replicator", Password: "repl:secret\\x"},
	"rewind":      {Username: "rewinder", Password: "rewind secret"},
}

// binDir finds PostgreSQL's programs.
func binDir(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range found {
		if _, err := os.Stat(filepath.Join(dir, "postgres")); err == nil {
			return dir
		}
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path)
	}
	t.Skip("PostgreSQL is not installed")
	return ""
}

// space is a directory that the server's user can enter.
func space(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // the server's user must pass
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if o, err := lookupOwner(""); err == nil {
			if err := os.Chown(dir, int(o.uid), int(o.gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func bootTime() cluster.Instant {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return cluster.Instant(ts.Nano())
}

func newNode(t *testing.T, name string, change ...func(*Options)) *node {
	t.Helper()
	dir := space(t)
	o := Options{
		DataDir: filepath.Join(dir, "data"), BinDir: binDir(t), Listen: freeport.Address(t), SocketDir: dir,
		Superuser: passwords["superuser"], Replication: passwords["replication"], Rewind: passwords["rewind"],
		Scope: "test", Name: name, LogPath: filepath.Join(dir, "server.log"), Now: bootTime, Wall: time.Now,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, Server: s, settings: cluster.DefaultSettings()}
	n.settings.PostgreSQL.PgHBA = []string{
		"local all all scram-sha-256", "local replication all scram-sha-256",
		"host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256",
	}
	t.Cleanup(func() {
		s.Close()
		n.stop(syscall.SIGQUIT)
		if t.Failed() {
			if log, err := os.ReadFile(o.LogPath); err == nil {
				lines := strings.Split(string(log), "\n")
				t.Logf("log of %s:\n%s", name, strings.Join(slices.DeleteFunc(lines, func(line string) bool {
					return strings.Contains(line, "the database system is starting up")
				}), "\n"))
			}
		}
	})
	return n
}

// limit is a context for one step of a test.
func limit(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func (n *node) ctx() context.Context { return limit(n.t, 3*time.Minute) }

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) initDB() string {
	n.t.Helper()
	id, err := n.InitDB(n.ctx(), InitSpec{})
	n.must(err)
	return id
}

func (n *node) config(up *Upstream) Change {
	n.t.Helper()
	c, err := n.WriteConfig(n.ctx(), ConfigSpec{Settings: n.settings, Upstream: up})
	n.must(err)
	return c
}

// start runs the postmaster, from a thread that lives as long as it does.
func (n *node) start(writable bool) {
	n.t.Helper()
	n.must(n.SetStandbySignal(!writable))
	spec, err := n.StartSpec(writable, n.settings)
	n.must(err)
	n.spawn(spec)
	n.waitMode(map[bool]cluster.Mode{true: cluster.ModePrimary, false: cluster.ModeStandby}[writable])
}

func (n *node) spawn(spec Start) {
	n.t.Helper()
	log, err := os.OpenFile(spec.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	n.must(err)
	defer log.Close()
	n.cmd = exec.Command(spec.Argv[0], spec.Argv[1:]...)
	n.cmd.Env, n.cmd.Dir, n.cmd.Stdout, n.cmd.Stderr = spec.Env, spec.DataDir, log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		n.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: spec.UID, Gid: spec.GID, Groups: spec.Groups}
	}
	started := make(chan error, 1)
	exited := make(chan struct{})
	cmd := n.cmd
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		if cmd.Process != nil {
			_ = cmd.Wait()
		}
		close(exited)
	}()
	n.must(<-started)
	n.exited = exited
}

func (n *node) pid() int {
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// stop signals the postmaster and waits until it and its children are gone.
func (n *node) stop(sig syscall.Signal) {
	n.t.Helper()
	if n.cmd == nil {
		return
	}
	_ = syscall.Kill(n.pid(), sig)
	select {
	case <-n.exited:
	case <-time.After(patience):
		n.t.Errorf("postmaster %d did not stop", n.pid())
	}
	n.cmd = nil
	if sig != syscall.SIGKILL {
		return
	}
	// A test has no guard that kills the rest: each is in a group of its own, and would
	// be there until it notices that its postmaster is gone.
	wait(n.t, "the end of "+n.o.Name+"'s processes", func() (bool, string) {
		left := n.processes()
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(left) == 0, fmt.Sprint(left)
	})
}

// patience bounds what must happen, on a machine that does much else.
const patience = 90 * time.Second

// wait polls for a condition.
func wait(t *testing.T, what string, met func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var seen string
	for time.Now().Before(deadline) {
		var ok bool
		if ok, seen = met(); ok {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s did not happen; last seen: %s", what, seen)
}

func (n *node) look() cluster.NodeState {
	n.t.Helper()
	state, err := n.Look(n.ctx(), n.cmd != nil, n.pid())
	n.must(err)
	return state
}

func (n *node) waitMode(want cluster.Mode) {
	n.t.Helper()
	wait(n.t, "mode "+want.String(), func() (bool, string) {
		state, err := n.Look(n.t.Context(), true, n.pid())
		return err == nil && state.Mode == want, fmt.Sprint(state.Mode, " ", err)
	})
}

func (n *node) upstream(of *node) *Upstream {
	return &Upstream{Host: "127.0.0.1", Port: of.Port(), SlotName: cluster.SlotName(n.o.Name)}
}

func (n *node) source(of *node) Source {
	return Source{Host: "127.0.0.1", Port: of.Port(), SlotName: cluster.SlotName(n.o.Name)}
}

// waitStreaming waits until n streams from of and has all its WAL.
func (n *node) waitStreaming(of *node) {
	n.t.Helper()
	wait(n.t, n.o.Name+" streaming from "+of.o.Name, func() (bool, string) {
		mine, err := n.Look(n.t.Context(), true, n.pid())
		if err != nil {
			return false, err.Error()
		}
		theirs, err := of.Look(n.t.Context(), true, of.pid())
		if err != nil {
			return false, err.Error()
		}
		at := max(mine.ReceiveLSN, mine.ReplayLSN)
		ok := mine.Receiver != nil && mine.Receiver.Status == "streaming" && mine.Receiver.Port == of.Port() &&
			mine.Timeline == theirs.Timeline && at >= theirs.WriteLSN && mine.ReplayLSN >= theirs.WriteLSN
		return ok, fmt.Sprintf("mine %+v, primary at %s", mine, theirs.Position())
	})
}

// sql runs statements as superuser.
func (n *node) sql(text string) string {
	n.t.Helper()
	conn, err := n.SuperuserConn(n.ctx())
	n.must(err)
	defer closeConn(n.ctx(), conn)
	_, err = conn.Exec(n.ctx(), "set statement_timeout = 0; set search_path = public").ReadAll()
	n.must(err)
	results, err := conn.Exec(n.ctx(), text).ReadAll()
	if err != nil {
		n.t.Fatalf("%s: %v", text, err)
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		return ""
	}
	return string(last.Rows[0][0])
}

// promote does what the guard does: places files, writes the trigger, signals.
func (n *node) promote(files map[string]string) {
	n.t.Helper()
	n.must(n.owner.do(func() error {
		for name, content := range files {
			if err := writeFile(n.data("pg_wal", name), []byte(content), 0o600); err != nil {
				return err
			}
		}
		return os.WriteFile(n.data("promote"), nil, 0o600)
	}))
	n.must(syscall.Kill(n.pid(), syscall.SIGUSR1))
	wait(n.t, "promotion", func() (bool, string) {
		fast, err := n.LookFast(n.t.Context())
		return err == nil && !fast.InRecovery, fmt.Sprint(fast, err)
	})
}

func (n *node) promoteTo(tl cluster.Timeline) {
	n.t.Helper()
	files, err := n.HistoryFiles(n.look().Timeline, tl)
	n.must(err)
	n.promote(files)
	if got := n.look().Timeline; got != tl {
		n.t.Fatalf("promoted to timeline %d, want %d", got, tl)
	}
}

// tool runs one of PostgreSQL's programs as the server's user.
func (n *node) tool(program string, args ...string) string {
	n.t.Helper()
	out, err := n.run(n.ctx(), job{program: program, args: args})
	n.must(err)
	return out
}

// primary makes a running primary.
func primary(t *testing.T, name string, change ...func(*Options)) *node {
	t.Helper()
	n := newNode(t, name, change...)
	n.begin()
	return n
}

// tuned makes a running primary with parameters.
func tuned(t *testing.T, name string, parameters map[string]string) *node {
	t.Helper()
	n := newNode(t, name)
	n.settings.PostgreSQL.Parameters = parameters
	n.begin()
	return n
}

// begin makes a node a running primary.
func (n *node) begin() {
	n.initDB()
	n.config(nil)
	n.start(true)
}

// standby makes a running standby of of.
func standby(t *testing.T, name string, of *node) *node {
	t.Helper()
	n := newNode(t, name)
	n.settings = of.settings
	n.must(n.Clone(n.ctx(), n.source(of), nil))
	n.config(n.upstream(of))
	n.start(false)
	n.waitStreaming(of)
	return n
}

// login tries a connection over TCP.
func (n *node) login(c Credentials) error {
	port, _ := strconv.ParseUint(n.Port(), 10, 16)
	config, err := clientConfig(c, "127.0.0.1", strconv.FormatUint(port, 10), "postgres", "disable")
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(n.ctx(), config)
	if err != nil {
		return err
	}
	result := conn.ExecParams(n.ctx(), "select 1", nil, nil, nil, nil).Read()
	return errors.Join(result.Err, conn.Close(n.ctx()))
}

// controldata is pg_controldata's own reading.
func (n *node) controldata() map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(n.tool("pg_controldata", n.o.DataDir)) {
		if name, value, found := strings.Cut(line, ":"); found {
			values[name] = strings.TrimSpace(value)
		}
	}
	return values
}
