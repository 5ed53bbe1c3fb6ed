package pgrw

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

const simple = "/app?user=u&sslmode=disable&default_query_exec_mode=simple_protocol"

// events remembers what an observer heard.
type events struct {
	mu  sync.Mutex
	all []Event
}

func (e *events) observe(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// count counts events of a kind, and of a reason unless it is empty.
func (e *events) count(kind EventKind, reason string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, event := range e.all {
		if event.Kind == kind && (reason == "" || event.Reason == reason) {
			n++
		}
	}
	return n
}

// scene is a cluster of a primary and two replicas, an agent with events, and a client.
type scene struct {
	testing.TB
	*Cluster
	servers []*fakeServer
	agent   *fakeAgent
	heard   *events
}

// newScene opens a client on s0, the primary, s1 and s2.
func newScene(t testing.TB, options ...Option) *scene {
	t.Helper()
	s := &scene{TB: t, heard: &events{}, agent: newFakeAgent(t, 0)}
	for i := range 3 {
		s.servers = append(s.servers, newFakeServer(t, i > 0))
	}
	s.agent.lead(1, 0, s.servers...)
	s.Cluster = open(t, "pgkeeper://"+s.agent.host()+simple, append([]Option{WithObserver(s.heard.observe), WithProbeInterval(10 * time.Millisecond)}, options...)...)
	s.replicas(2)
	return s
}

func open(t testing.TB, dsn string, options ...Option) *Cluster {
	t.Helper()
	c, err := Open(t.Context(), dsn, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// replicas waits until so many are known and up, and their positions with them.
func (s *scene) replicas(count int) {
	s.Helper()
	await(s.TB, "the replicas", func() bool {
		up := 0
		for _, n := range s.Topology().Replicas() {
			if n.Up && n.LSN != 0 {
				up++
			}
		}
		return up == count
	})
}

// promote makes a server the primary of timeline 2 and tells of it.
func (s *scene) promote(i int) {
	s.servers[i].set(func() { s.servers[i].recovery, s.servers[i].timeline = false, 2 })
	s.agent.lead(2, i, s.servers...)
}

// ask reads which server answers.
func (s *scene) ask(ctx context.Context, db *DB) string {
	s.Helper()
	var address string
	if err := db.QueryRow(ctx, "select address").Scan(&address); err != nil {
		s.Fatal(err)
	}
	for i, server := range s.servers {
		if server.address() == address {
			return "s" + string(rune('0'+i))
		}
	}
	return address
}

// await waits for a condition.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit, tick := time.NewTimer(time.Minute), time.NewTicker(time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// failing answers statements with a word in them, so often; others as ever.
func failing(word string, times int, r reply) func(string) reply {
	var mu sync.Mutex
	return func(sql string) reply {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(sql, word) && times > 0 {
			times--
			return r
		}
		return reply{}
	}
}
