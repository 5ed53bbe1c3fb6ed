//go:build integration

package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed/fakemember"
)

// composed is a lab with the configuration of deploy/compose, which finds its servers by DNS: here they are named.
func composed(t *testing.T) *routed {
	t.Helper()
	r := &routed{lab: newLab(t, -1)}
	shipped, err := os.ReadFile("compose/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	text := string(shipped)
	template := "    server-template node 16 node:5432 check port 8008 resolvers docker resolve-prefer ipv4 init-addr none\n"
	var servers strings.Builder
	for _, m := range r.members {
		fmt.Fprintf(&servers, "    server %s 127.0.0.1:%d check port %d\n", m.Name, m.Port, m.CheckPort)
	}
	hold, err := filepath.Abs("compose/hold.lua")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		template: servers.String(), "/etc/haproxy/hold.lua": hold, "bind *:5000": "bind " + r.params.Primary, "bind *:5001": "bind " + r.params.Replica,
		"bind *:7000": "bind " + r.params.Stats, "    maxconn 1000\n": "    maxconn 1000\n    stats socket " + r.params.Socket + " level admin\n",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("compose/haproxy.cfg has no %q", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	return r
}

// A container that was made anew has another address: HAProxy finds it, and takes it for UP until its checks have failed.
func TestAServerThatHasJustBeenFoundGetsNoWrites(t *testing.T) {
	r := composed(t)
	waitFor(t, "all to be found standbys", func() bool {
		servers, err := r.haproxy().Servers(t.Context())
		return err == nil && !servers["pg1"].Up && !servers["pg2"].Up && !servers["pg3"].Up
	})
	for range 20 {
		r.command(t, "set server primary/pg2 state maint")
		r.command(t, "set server primary/pg2 state ready")
		if conn, name := fakemember.Dial(t.Context(), r.params.Primary, 60*time.Millisecond); conn != nil {
			_ = conn.Close()
			t.Fatalf("a write was sent to %s, which is a standby", name)
		}
	}
	r.members.Become(1)
	r.waitForWrites(t, "pg2")
}
