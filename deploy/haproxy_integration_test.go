//go:build integration

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed/fakemember"
	"github.com/pgkeeper/pgkeeper/test/testbed/freeport"
)

const (
	// flipLimit is how long routing may lag behind a change of role: less than with HAProxy's own checks of every two
	// seconds, of which three have to fail, and more than a busy machine delays. The bench measures it.
	flipLimit = 3 * time.Second
	// waitLimit ends a test that would wait for ever.
	waitLimit = 30 * time.Second
	// lookFor is how long the tests look where connections go.
	lookFor = 500 * time.Millisecond
)

func TestHAProxyAcceptsTheShippedConfig(t *testing.T) {
	shipped, err := os.ReadFile("haproxy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	// As shipped, but for the one file that HAProxy must find while it checks.
	hold, err := filepath.Abs("haproxy/hold.lua")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(shipped), DefaultHAProxyParams().Hold, hold)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), haproxyBinary(t), "-c", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("haproxy -c: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "[WARNING]") && !strings.Contains(line, "server state file") {
			t.Errorf("a warning on the shipped configuration: %s", line)
		}
	}
}

func TestHAProxyRoutesNoWriteToAStandbyRightAfterStart(t *testing.T) {
	for _, primary := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("primary is server %d", primary+1), func(t *testing.T) {
			lab := newLab(t, primary)
			lab.start(t)
			writes := lab.observe(t, lab.params.Primary, time.Second, 1)
			lab.requireOnly(t, writes, lab.members[primary].Name)
			t.Logf("first write routed %v after start", writes.first.Round(time.Millisecond))
		})
	}
}

func TestHAProxyRoutesNothingRightAfterStartWithoutAPrimary(t *testing.T) {
	lab := newLab(t, -1)
	lab.start(t)
	waitFor(t, "reads to reach a replica", func() bool { return lab.connect(t, lab.params.Replica) != "" })
	if writes := lab.observe(t, lab.params.Primary, lookFor, 0); len(writes.counts) != 0 {
		t.Errorf("writes were routed with no primary: %v", writes.counts)
	}
}

func TestHAProxyRoutesNoWriteToAStandbyAfterAReload(t *testing.T) {
	lab := newLab(t, 1)
	lab.start(t)
	lab.waitForWrites(t, "pg2")
	if err := lab.process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	lab.requireOnly(t, lab.observe(t, lab.params.Primary, time.Second, 1), "pg2")
}

func TestHAProxyFollowsAChangeOfRole(t *testing.T) {
	lab := newLab(t, 0)
	lab.start(t)
	lab.waitForWrites(t, "pg1")
	waitFor(t, "reads to leave the primary", func() bool { return lab.connect(t, lab.params.Replica) == "pg2" })
	session, name := lab.hold(t, lab.params.Primary)
	if name != "pg1" {
		t.Fatalf("the held session is on %s, want pg1", name)
	}

	start := time.Now()
	lab.members[0].Become("replica")
	lab.members[2].Become("primary")

	lab.waitForWrites(t, "pg3")
	moved := time.Since(start)
	if err := session.SetReadDeadline(start.Add(waitLimit)); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the session on the old primary was not cut: %v", err)
	}
	cut := time.Since(start)
	t.Logf("writes moved after %v, the old session was cut after %v", moved.Round(time.Millisecond), cut.Round(time.Millisecond))
	if moved > flipLimit || cut > flipLimit {
		t.Errorf("writes moved after %v, the old session was cut after %v; want both within %v", moved, cut, flipLimit)
	}
	lab.requireOnly(t, lab.observe(t, lab.params.Primary, lookFor, 1), "pg3")
	waitFor(t, "reads on pg1 and not on pg3", func() bool { // by checks of their own, which may come later
		reads := lab.observe(t, lab.params.Replica, lookFor, 1)
		return reads.counts["pg3"] == 0 && reads.counts["pg1"] > 0
	})
}

func TestHAProxyNeverRoutesToTheOldPrimaryWhileBothAreUp(t *testing.T) {
	lab := newLab(t, 0)
	lab.start(t)
	lab.waitForWrites(t, "pg1")
	lab.members[1].Become("primary") // and pg1 still says so too
	waitFor(t, "writes to be refused while two members claim to be the primary", func() bool {
		return lab.connect(t, lab.params.Primary) == ""
	})
	lab.members[0].Become("replica")
	lab.waitForWrites(t, "pg2")
}

func TestHAProxySendsReadsToThePrimaryWhenNoReplicaIsLeft(t *testing.T) {
	lab := newLab(t, 0)
	lab.start(t)
	waitFor(t, "reads on a replica", func() bool { return lab.connect(t, lab.params.Replica) == "pg2" })
	lab.members[1].Become("")
	lab.members[2].Become("")
	waitFor(t, "reads on the primary", func() bool { return lab.connect(t, lab.params.Replica) == "pg1" })
	lab.members[2].Become("replica")
	waitFor(t, "reads back on a replica", func() bool { return lab.connect(t, lab.params.Replica) == "pg3" })
}

// lab is three fake members behind a real HAProxy with the shipped configuration.
type lab struct {
	params  HAProxyParams
	members fakemember.Set
	process *os.Process
	config  string
	// exited is closed when the process has ended.
	exited chan struct{}
}

// newLab makes the members; primary is the index of the one that says it is, -1 for none.
func newLab(t *testing.T, primary int, change ...func(*HAProxyParams)) *lab {
	t.Helper()
	l := &lab{params: DefaultHAProxyParams()}
	var err error
	if l.members, err = fakemember.StartSet(3, primary); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.members.Close() })
	l.params.Servers = nil
	for _, m := range l.members {
		l.params.Servers = append(l.params.Servers, Server{Name: m.Name, Addr: "127.0.0.1", Port: m.Port, CheckPort: m.CheckPort})
	}
	dir, err := os.MkdirTemp("", "hap") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l.params.Primary, l.params.Replica, l.params.Stats = freeport.Address(t), freeport.Address(t), freeport.Address(t)
	l.params.Socket = filepath.Join(dir, "socket")
	l.params.User, l.params.Group, l.params.Chroot, l.params.Hold = "", "", "", ""
	l.params.Log = "stderr format raw local0"
	for _, c := range change {
		c(&l.params)
	}
	config, err := l.params.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.config = config
	return l
}

// start runs HAProxy as systemd does, a master with a worker, and stops it with the test.
func (l *lab) start(t *testing.T) {
	t.Helper()
	log := &strings.Builder{}
	cmd := exec.Command(haproxyBinary(t), "-W", "-db", "-f", l.config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	l.process, l.exited = cmd.Process, exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is in its log
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-exited
		if t.Failed() {
			t.Logf("haproxy said:\n%s", log.String())
		}
	})
}

// connect opens one connection and returns the name of the member it reached, empty when it reached none.
func (l *lab) connect(t *testing.T, addr string) string {
	t.Helper()
	conn, name := dial(t.Context(), addr)
	if conn != nil {
		_ = conn.Close()
	}
	return name
}

// hold opens a connection and keeps it open until the test ends.
func (l *lab) hold(t *testing.T, addr string) (net.Conn, string) {
	t.Helper()
	var conn net.Conn
	var name string
	waitFor(t, "a connection to "+addr, func() bool {
		conn, name = dial(t.Context(), addr)
		return conn != nil
	})
	t.Cleanup(func() { _ = conn.Close() })
	return conn, name
}

func dial(ctx context.Context, addr string) (net.Conn, string) {
	return fakemember.Dial(ctx, addr, 2*time.Second)
}

// sightings is where connections went.
type sightings struct {
	counts map[string]int
	first  time.Duration // from the beginning to the first that arrived anywhere
}

// observe connects every two milliseconds for a while, and until so many connections arrived.
func (l *lab) observe(t *testing.T, addr string, during time.Duration, least int) sightings {
	t.Helper()
	seen := sightings{counts: map[string]int{}}
	start := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for arrived := 0; time.Since(start) < during || arrived < least && time.Since(start) < waitLimit; <-tick.C {
		name := l.connect(t, addr)
		if name == "" {
			continue
		}
		if len(seen.counts) == 0 {
			seen.first = time.Since(start)
		}
		seen.counts[name]++
		arrived++
	}
	return seen
}

func (l *lab) requireOnly(t *testing.T, seen sightings, name string) {
	t.Helper()
	if seen.counts[name] == 0 || len(seen.counts) != 1 {
		t.Errorf("connections went to %v, want %s only", seen.counts, name)
	}
}

func (l *lab) waitForWrites(t *testing.T, name string) {
	t.Helper()
	waitFor(t, "writes on "+name, func() bool { return l.connect(t, l.params.Primary) == name })
}

func waitFor(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ; !met(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", waitLimit, what)
		}
	}
}

// haproxyBinary finds HAProxy also where a plain user's PATH does not look.
func haproxyBinary(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy", "/usr/local/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("haproxy is not installed: script/install-deps test installs it")
	return ""
}
