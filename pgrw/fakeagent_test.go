package pgrw

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
)

// fakeAgent is an agent's REST API: GET /cluster, /history and, if it has them, /events.
type fakeAgent struct {
	*httptest.Server

	mu       sync.Mutex
	members  []wireMember
	leader   string
	term     int64
	history  string
	noEvents int // a status in place of events
	lines    []string
	more     chan struct{}
	asked    map[string]int
}

func newFakeAgent(t testing.TB, noEvents int) *fakeAgent {
	t.Helper()
	a := &fakeAgent{noEvents: noEvents, history: "[]", more: make(chan struct{}), asked: map[string]int{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

func (a *fakeAgent) host() string { return a.Listener.Addr().String() }

// lead makes a cluster of servers, named s0, s1, ..., and tells of its leader; -1 is none.
func (a *fakeAgent) lead(term int64, leader int, servers ...*fakeServer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.members, a.leader, a.term = nil, "", term
	for i, s := range servers {
		host, port, _ := net.SplitHostPort(s.address())
		number, _ := strconv.Atoi(port)
		m := wireMember{Name: fmt.Sprintf("s%d", i), Role: "replica", State: "streaming", Host: host, Port: number, Timeline: 1}
		if i == leader {
			m.Role, m.State, a.leader = "leader", "running", m.Name
		}
		a.members = append(a.members, m)
	}
	a.snapshot()
}

// tags gives a member tags.
func (a *fakeAgent) tags(member int, tags map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.members[member].Tags = tags
	a.snapshot()
}

// snapshot tells of everything anew; a.mu is held.
func (a *fakeAgent) snapshot() {
	s := wireSnapshot{Members: a.members}
	for _, m := range a.members {
		if m.Name == a.leader {
			s.Leader = &wireLeader{Name: m.Name, Term: a.term, Host: m.Host, Port: m.Port}
		}
	}
	a.send("snapshot", s)
}

// send sends an event to whoever listens; a.mu is held.
func (a *fakeAgent) send(name string, data any) {
	text, _ := json.Marshal(data)
	a.lines = append(a.lines, "event: "+name+"\ndata: "+string(text)+"\n\n")
	close(a.more)
	a.more = make(chan struct{})
}

func (a *fakeAgent) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[path]
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked[r.URL.Path]++
	noEvents, history := a.noEvents, a.history
	list := map[string]any{"members": a.members}
	a.mu.Unlock()
	switch {
	case r.URL.Path == "/cluster":
		_ = json.NewEncoder(w).Encode(list)
	case r.URL.Path == "/history":
		_, _ = fmt.Fprint(w, history)
	case noEvents != 0:
		w.WriteHeader(noEvents)
	default:
		a.stream(w, r)
	}
}

func (a *fakeAgent) stream(w http.ResponseWriter, r *http.Request) {
	at := -1
	for {
		a.mu.Lock()
		if at < 0 {
			at = max(0, len(a.lines)-1) // a snapshot comes first
		}
		lines, more := a.lines[at:], a.more
		at = len(a.lines)
		a.mu.Unlock()
		for _, line := range lines {
			_, _ = fmt.Fprint(w, line)
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}
