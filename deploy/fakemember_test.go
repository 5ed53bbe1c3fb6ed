//go:build integration

package deploy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// fakeMember is a member as HAProxy sees one: a REST API that answers by role, and a server that greets every
// connection with the member's name and keeps it open.
type fakeMember struct {
	server Server
	role   atomic.Value // "primary", "replica" or "" for neither
	rest   *httptest.Server
	sql    net.Listener
}

func startMember(t *testing.T, name, role string) *fakeMember {
	t.Helper()
	m := &fakeMember{}
	m.role.Store(role)
	m.rest = httptest.NewServer(http.HandlerFunc(m.answer))
	t.Cleanup(m.rest.Close)
	sql, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.sql = sql
	t.Cleanup(func() { _ = sql.Close() })
	m.server = Server{Name: name, Addr: "127.0.0.1", Port: port(sql.Addr()), CheckPort: port(m.rest.Listener.Addr())}
	go m.greet()
	return m
}

func (m *fakeMember) answer(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodOptions || r.URL.Path != "/"+m.role.Load().(string) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (m *fakeMember) greet() {
	for {
		conn, err := m.sql.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			fmt.Fprintln(conn, m.server.Name)
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}

func port(addr net.Addr) int { return addr.(*net.TCPAddr).Port }
