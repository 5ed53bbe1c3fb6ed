// Package fakemember is members as HAProxy sees them: for tests and figures of routing alone, where a role moves when the
// test says so and no server has to be promoted.
package fakemember

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Member has a REST API that answers by role, and a server that greets every connection with the member's name and keeps
// it open.
type Member struct {
	Name string
	// Port is the server's, CheckPort the REST API's, both on 127.0.0.1.
	Port, CheckPort int

	role atomic.Value // "primary", "replica" or "" for neither
	rest *httptest.Server
	sql  net.Listener
}

// Start makes a member on free ports.
func Start(name, role string) (*Member, error) {
	m := &Member{Name: name}
	m.Become(role)
	sql, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binds only
	if err != nil {
		return nil, err
	}
	m.sql = sql
	m.rest = httptest.NewServer(http.HandlerFunc(m.answer))
	m.Port, m.CheckPort = port(sql.Addr()), port(m.rest.Listener.Addr())
	go m.greet()
	return m, nil
}

// Become changes what it says it is: "primary", "replica", or "" for neither.
func (m *Member) Become(role string) { m.role.Store(role) }

// Close ends it.
func (m *Member) Close() {
	m.rest.Close()
	_ = m.sql.Close()
}

func (m *Member) answer(w http.ResponseWriter, r *http.Request) {
	role, _ := m.role.Load().(string)
	if r.Method != http.MethodOptions || r.URL.Path != "/"+role {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (m *Member) greet() {
	for {
		conn, err := m.sql.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			fmt.Fprintln(conn, m.Name)
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}

func port(addr net.Addr) int {
	tcp, _ := addr.(*net.TCPAddr)
	return tcp.Port
}

// Set is some members, of which one is the primary at most.
type Set []*Member

// StartSet makes members pg1 to pgN; primary is the index of the one that says it is, -1 for none.
func StartSet(count, primary int) (Set, error) {
	var s Set
	for i := range count {
		m, err := Start(fmt.Sprintf("pg%d", i+1), "")
		if err != nil {
			return s, errors.Join(err, s.Close())
		}
		s = append(s, m)
	}
	s.Become(primary)
	return s, nil
}

// Become makes one the primary, -1 none, and all others replicas.
func (s Set) Become(primary int) {
	for i, m := range s {
		if i == primary {
			m.Become("primary")
		} else {
			m.Become("replica")
		}
	}
}

// Topology is what an agent would tell of them; revision is the term too.
func (s Set) Topology(primary int, revision int64) *cluster.Topology {
	t := &cluster.Topology{Revision: revision}
	for i, m := range s {
		t.Members = append(t.Members, cluster.TopologyMember{Name: m.Name})
		if i == primary {
			t.Leader = &cluster.TopologyLeader{Name: m.Name, Term: cluster.Term(revision)}
		}
	}
	return t
}

// Close ends all of them.
func (s Set) Close() error {
	for _, m := range s {
		m.Close()
	}
	return nil
}

// Dial connects to addr and waits for a member's greeting. Without one, name is empty and conn nil. Of hundreds at once some
// take longer than a second to connect, on a busy machine.
func Dial(ctx context.Context, addr string, patience time.Duration) (conn net.Conn, name string) {
	conn, err := (&net.Dialer{Timeout: max(time.Second, patience)}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, ""
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		_ = conn.Close()
		return nil, ""
	}
	return conn, strings.TrimSpace(line)
}
