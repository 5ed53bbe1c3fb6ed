//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/deploy"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// front is HAProxy with the shipped configuration before a cluster, and `pgkeeper route` beside it.
type front struct {
	// writes and reads are addresses.
	writes, reads string
	route         *exec.Cmd
	routeLog      string
}

// haproxyBinary finds HAProxy, or skips the test.
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

func newFront(t *testing.T, b *bedtest.Bed) *front {
	t.Helper()
	program := haproxyBinary(t)
	ports, err := testbed.FreePorts(3)
	b.Must(err)
	p := deploy.DefaultHAProxyParams()
	p.Servers = nil
	for _, n := range b.Nodes {
		p.Servers = append(p.Servers, deploy.Server{Name: n.Name, Addr: "127.0.0.1", Port: n.SQLPort, CheckPort: n.APIPort})
	}
	address := func(i int) string { return "127.0.0.1:" + fmtInt(ports[i]) }
	p.Primary, p.Replica, p.Stats = address(0), address(1), address(2)
	p.Socket = filepath.Join(b.Dir(), "haproxy.sock") // a short path
	p.User, p.Group, p.Chroot = "", "", ""
	p.Log = "stderr format raw local0"
	path, err := p.Write(t.TempDir())
	b.Must(err)
	run(t, b, nil, program, "-db", "-f", path)
	f := &front{writes: p.Primary, reads: p.Replica, routeLog: filepath.Join(t.TempDir(), "route.log")}
	log, err := os.Create(f.routeLog)
	b.Must(err)
	defer log.Close()
	pgkeeper, err := testbed.Binary(t.Context())
	b.Must(err)
	f.route = run(t, b, log, pgkeeper, "route", "-d", "etcd3://"+strings.Join(b.Etcd.Endpoints(), ","), testbed.Scope, "--haproxy", p.Socket)
	return f
}

// run starts a program that ends with the test.
func run(t *testing.T, b *bedtest.Bed, log *os.File, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if log != nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	b.Must(cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return cmd
}

// routed waits until `pgkeeper route` has said that writes go to the node.
func (f *front) routed(b *bedtest.Bed, to *testbed.Node) {
	b.T().Helper()
	b.Wait(5*time.Second, "writes routed to "+to.Name, func(ctx) string {
		text, err := os.ReadFile(f.routeLog)
		if err != nil || count(string(text), `msg="writes routed"`, "member="+to.Name) == 0 {
			return "it says: " + string(text)
		}
		return ""
	})
}

// serverOf is the port of the server behind an address of the proxy.
func serverOf(b *bedtest.Bed, address string) func(ctx) string {
	return func(ctx ctx) string {
		port, err := testbed.TextAt(ctx, testbed.ProxyDSN(address), "current_setting('port')")
		if err != nil {
			return err.Error()
		}
		return port
	}
}

func TestThroughHAProxyWritesFollowThePrimaryAndReadsTheStandbys(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{TTL: shortTTL})
	first := b.Healthy(10 * time.Second)
	f := newFront(t, b)
	writes, reads := f.writes, f.reads
	at := func(address string, want func(port string) bool) func(ctx) string {
		port := serverOf(b, address)
		return func(ctx ctx) string {
			if got := port(ctx); !want(got) {
				return "they go to " + got
			}
			return ""
		}
	}
	only := func(n *testbed.Node) func(string) bool {
		return func(port string) bool { return port == fmtInt(n.SQLPort) }
	}
	standbyOf := func(n *testbed.Node) func(string) bool {
		return func(port string) bool {
			for _, other := range b.Others(n) {
				if port == fmtInt(other.SQLPort) {
					return true
				}
			}
			return false
		}
	}
	b.Wait(5*time.Second, "writes at "+first.Name, at(writes, only(first)))
	b.Wait(5*time.Second, "reads at a standby", at(reads, standbyOf(first)))
	f.routed(b, first)
	o := b.ObserveThrough(testbed.ProxyDSN(writes))

	o.Fault()
	b.Ctl("switchover", "--force")
	second := b.Healthy(20 * time.Second)
	o.Interrupted(10 * time.Second)
	o.GapAtMost(4 * time.Second)
	b.Wait(5*time.Second, "writes at "+second.Name, at(writes, only(second)))
	f.routed(b, second)
	b.Wait(5*time.Second, "reads at a standby", at(reads, standbyOf(second)))

	b.Must(f.route.Process.Kill()) // from here on HAProxy's checks govern alone
	o.Fault()
	b.Must(second.KillAll())
	third := b.Primary(15*time.Second, second)
	o.Interrupted(15 * time.Second)
	o.GapAtMost(9 * time.Second)
	b.Wait(5*time.Second, "writes at "+third.Name, at(writes, only(third)))
	b.Must(second.Start())
	b.Healthy(30 * time.Second)
	b.Wait(5*time.Second, "reads at a standby", at(reads, standbyOf(third)))
	o.End(third, loseAtMost)
}
