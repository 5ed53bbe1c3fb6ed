//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/deploy"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// proxy runs the shipped HAProxy configuration before the cluster's nodes, and
// returns the addresses for writes and for reads.
func proxy(t *testing.T, b *bedtest.Bed) (writes, reads string) {
	t.Helper()
	program := ""
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy", "/usr/local/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("haproxy is not installed: script/install-deps test installs it")
	}
	ports, err := testbed.FreePorts(3)
	b.Must(err)
	dir := t.TempDir()
	p := deploy.DefaultHAProxyParams()
	p.Servers = nil
	for _, n := range b.Nodes {
		p.Servers = append(p.Servers, deploy.Server{Name: n.Name, Addr: "127.0.0.1", Port: n.SQLPort, CheckPort: n.APIPort})
	}
	address := func(i int) string { return "127.0.0.1:" + fmtInt(ports[i]) }
	p.Primary, p.Replica, p.Stats = address(0), address(1), address(2)
	p.StateFile = filepath.Join(dir, "haproxy.state")
	p.Socket, p.User, p.Group, p.Chroot = "", "", "", ""
	p.Log = "stderr format raw local0"
	config, state, err := deploy.HAProxyConfig(p)
	b.Must(err)
	path := filepath.Join(dir, "haproxy.cfg")
	b.Must(os.WriteFile(path, config, 0o600))
	b.Must(os.WriteFile(p.StateFile, state, 0o600))
	cmd := exec.Command(program, "-db", "-f", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.Must(cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return p.Primary, p.Replica
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
	writes, reads := proxy(t, b)
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
	o := b.ObserveThrough(testbed.ProxyDSN(writes))

	o.Fault()
	b.Ctl("switchover", "--force")
	second := b.Healthy(20 * time.Second)
	o.Interrupted(10 * time.Second)
	o.GapAtMost(4 * time.Second)
	b.Wait(5*time.Second, "writes at "+second.Name, at(writes, only(second)))
	b.Wait(5*time.Second, "reads at a standby", at(reads, standbyOf(second)))

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
