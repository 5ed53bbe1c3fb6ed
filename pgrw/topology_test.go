package pgrw

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestAnAgentWithoutEventsIsPolled(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusNotImplemented} {
		agent, primary, standby := newFakeAgent(t, status), newFakeServer(t, false), newFakeServer(t, true)
		agent.lead(0, 0, primary, standby)
		c := open(t, "pgkeeper://"+agent.host()+simple, WithPollInterval(time.Millisecond))
		if got := c.Topology(); got.Source != fromCluster {
			t.Errorf("%d: the topology comes from %s", status, got.Source)
		}
		standby.set(func() { standby.recovery, standby.timeline = false, 2 })
		agent.lead(0, 1, primary, standby)
		await(t, "the new primary", func() bool { n, _ := c.Topology().Primary(); return n.Address == standby.address() })
		if agent.count("/events") != 1 {
			t.Errorf("%d: events were asked for %d times", status, agent.count("/events"))
		}
	}
}

func TestEventsArePushed(t *testing.T) {
	s := newScene(t, WithPollInterval(time.Hour))
	if got := s.Topology(); got.Source != fromEvents {
		t.Errorf("the topology comes from %s", got.Source)
	}
	s.agent.mu.Lock()
	s.agent.send("leader_lost", wireLeader{Name: "s0", Term: 1})
	s.agent.mu.Unlock()
	await(t, "no primary", func() bool { _, found := s.Topology().Primary(); return !found })
	s.agent.mu.Lock()
	m := s.agent.members[1]
	s.agent.send("leader", wireLeader{Name: "s1", Term: 2, Host: m.Host, Port: m.Port})
	s.agent.send("member_lost", wireMember{Name: "s2"})
	s.agent.mu.Unlock()
	await(t, "s1 alone", func() bool { n, _ := s.Topology().Primary(); return n.Name == "s1" && len(s.Topology().Nodes) == 2 })
	s.agent.mu.Lock()
	added := s.agent.members[2]
	added.Name = "s9"
	s.agent.send("member", added)
	s.agent.mu.Unlock()
	await(t, "s9", func() bool { return len(s.Topology().Nodes) == 3 })
	if s.agent.count("/cluster") != 0 {
		t.Error("the cluster was polled as well")
	}
}

func TestAnOlderLeaderIsNotBelieved(t *testing.T) {
	s := newScene(t)
	s.promote(1)
	await(t, "the new primary", func() bool { n, _ := s.Topology().Primary(); return n.Name == "s1" })
	changes := s.heard.count(EventPrimary, "")
	s.agent.lead(1, 0, s.servers...) // an agent that is behind, which then comes after
	s.agent.lead(2, 1, s.servers...)
	s.agent.tags(2, map[string]any{"n": 1})
	await(t, "what came after", func() bool {
		for _, n := range s.Topology().Nodes {
			if n.Tags["n"] == "1" {
				return true
			}
		}
		return false
	})
	if n, _ := s.Topology().Primary(); n.Name != "s1" || s.heard.count(EventPrimary, "") != changes {
		t.Errorf("the primary is %s, after %d changes more", n.Name, s.heard.count(EventPrimary, "")-changes)
	}
}

// A store that was restored, or made anew, has lower terms.
func TestALowerTermIsBelievedWhenNothingElseWasHeardForLong(t *testing.T) {
	agent, old, now := newFakeAgent(t, 0), newFakeServer(t, false), newFakeServer(t, false)
	c := newCluster(dsn{agents: []string{agent.URL}, before: "postgres://", after: simple})
	t.Cleanup(c.Close)
	told := func(term int64, s *fakeServer) *report {
		return &report{term: term, leader: s.address(), members: []member{{name: "s", address: s.address()}}}
	}
	c.believe(t.Context(), agent.URL, told(5, old), fromEvents)
	silent := func(d time.Duration) { c.mu.Lock(); c.heardAt = time.Now().Add(-d); c.mu.Unlock() }
	silent(forgetAfter - 2*time.Second)
	if c.believe(t.Context(), agent.URL, told(1, now), fromEvents) {
		t.Error("an agent that is behind was believed")
	}
	silent(forgetAfter)
	if !c.believe(t.Context(), agent.URL, told(1, now), fromEvents) {
		t.Error("after nothing was heard for long the lower term was not believed")
	}
	if n, _ := c.Topology().Primary(); n.Address != now.address() {
		t.Errorf("the primary is %q", n.Address)
	}
}

func TestAnAgentThatStaysBehindIsLeftForTheNext(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes as long as agents may be silent")
	}
	agent, old := newFakeAgent(t, 0), newFakeServer(t, false)
	agent.lead(1, 0, old)
	c := newCluster(dsn{agents: []string{agent.URL}, before: "postgres://", after: simple})
	t.Cleanup(c.Close)
	c.believe(t.Context(), agent.URL, &report{term: 2, leader: old.address(), members: []member{{name: "s", address: old.address()}}}, fromEvents)
	beats, stop := time.NewTicker(100*time.Millisecond), make(chan struct{})
	defer beats.Stop()
	defer close(stop)
	go func() {
		for {
			select {
			case <-beats.C:
				agent.mu.Lock()
				agent.send("snapshot", wireSnapshot{Leader: &wireLeader{Name: "s0", Term: 1, Host: "127.0.0.1", Port: 1}})
				agent.mu.Unlock()
			case <-stop:
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*agentLimit)
	defer cancel()
	if err := c.listen(ctx, agent.URL); ctx.Err() != nil {
		t.Errorf("it was listened to for %v: %v", 2*agentLimit, err)
	}
}

func TestAgentsOverTLS(t *testing.T) {
	agent, primary := newFakeAgent(t, 0), newFakeServer(t, false)
	agent.lead(1, 0, primary)
	secure := httptest.NewTLSServer(agent)
	t.Cleanup(func() {
		secure.CloseClientConnections()
		secure.Close()
	})
	dsn := "pgkeeper+https://" + secure.Listener.Addr().String() + simple
	open(t, dsn, WithHTTPClient(secure.Client()))
	if _, err := Open(t.Context(), dsn, WithMaxWait(50*time.Millisecond)); !errors.Is(err, ErrNoPrimary) {
		t.Errorf("an agent whose certificate nobody vouches for was believed: %v", err)
	}
}

func TestTheNextAgentTakesOver(t *testing.T) {
	first, second := newFakeAgent(t, 0), newFakeAgent(t, 0)
	primary, standby := newFakeServer(t, false), newFakeServer(t, true)
	first.lead(1, 0, primary, standby)
	second.lead(1, 0, primary, standby)
	c := open(t, "pgkeeper://"+first.host()+","+second.host()+simple)
	first.CloseClientConnections()
	first.Listener.Close()
	standby.set(func() { standby.recovery, standby.timeline = false, 2 })
	second.lead(2, 1, primary, standby)
	await(t, "the second agent's primary", func() bool { n, _ := c.Topology().Primary(); return n.Address == standby.address() })
}

func TestWithoutAnyAgentTheServersAreAsked(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes as long as agents may be silent")
	}
	s := newScene(t)
	s.agent.CloseClientConnections()
	s.agent.Listener.Close()
	s.agent.CloseClientConnections()
	if _, err := s.Primary().Exec(t.Context(), "put"); err != nil {
		t.Errorf("a write right after the agents were lost: %v", err)
	}
	await(t, "the servers to be believed", func() bool { return s.Topology().Source == fromServers })
	if _, err := s.Primary().Exec(t.Context(), "put"); err != nil {
		t.Errorf("a write without agents: %v", err)
	}
	s.servers[0].close()
	s.servers[1].set(func() { s.servers[1].recovery, s.servers[1].timeline = false, 2 })
	if _, err := s.Primary().Exec(t.Context(), "put"); err != nil || s.servers[1].count("put") != 1 {
		t.Errorf("a write after a failover without agents: %v", err)
	}
}

func TestServersWithoutAgents(t *testing.T) {
	a, b := newFakeServer(t, true), newFakeServer(t, false)
	heard := &events{}
	c := open(t, "postgres://"+a.address()+","+b.address()+simple, WithProbeInterval(5*time.Millisecond), WithObserver(heard.observe))
	if n, _ := c.Topology().Primary(); n.Address != b.address() {
		t.Fatalf("the primary is %q", n.Address)
	}
	if _, err := c.Primary().Exec(t.Context(), "put"); err != nil {
		t.Fatal(err)
	}
	// a is promoted while b still runs as a primary: the higher timeline is right.
	a.set(func() { a.recovery, a.timeline = false, 2 })
	await(t, "the primary of the higher timeline", func() bool { n, _ := c.Topology().Primary(); return n.Address == a.address() })
	if _, err := c.Primary().Exec(t.Context(), "put"); err != nil || a.count("put") != 1 {
		t.Errorf("error %v", err)
	}
	if heard.count(EventDropped, "") == 0 {
		t.Error("the connection to b was kept")
	}
	b.restart(func() { b.recovery, b.timeline = true, 2 })
	await(t, "b as a replica", func() bool { return len(c.Topology().Replicas()) == 1 })
}

func TestOpenSaysWhomItAskedInVain(t *testing.T) {
	if _, err := Open(t.Context(), "postgres://127.0.0.1:1"+simple, WithMaxWait(20*time.Millisecond)); !errors.Is(err, ErrNoPrimary) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, "pgkeeper://127.0.0.1:1"+simple); !errors.Is(err, ErrNoPrimary) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestOpenSaysWhyNobodyAnswered(t *testing.T) {
	server, agent := newFakeServer(t, false), newFakeAgent(t, http.StatusServiceUnavailable)
	server.set(func() { server.password = "secret" })
	_, err := Open(t.Context(), "postgres://127.0.0.1:1,"+server.address()+simple+"&password=wrong", WithMaxWait(500*time.Millisecond))
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" || !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, ErrNoPrimary) {
		t.Errorf("servers: %v", err)
	}
	if strings.Contains(err.Error(), "wrong") {
		t.Errorf("it tells the password: %v", err)
	}
	_, err = Open(t.Context(), "pgkeeper://127.0.0.1:1,"+agent.host()+simple, WithMaxWait(500*time.Millisecond))
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "503") {
		t.Errorf("agents: %v", err)
	}
}

func TestAgentsAreAskedWithoutTheProxyOfTheEnvironment(t *testing.T) {
	transport, _ := defaults().http.Transport.(*http.Transport)
	if transport == nil || transport.Proxy != nil {
		t.Error("the default client goes by HTTP_PROXY")
	}
}

func TestOpenIsContentWithReplicas(t *testing.T) {
	a := newFakeServer(t, true)
	c := open(t, "postgres://"+a.address()+simple)
	if _, err := c.Replica().Exec(t.Context(), "select"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.WaitPrimary(ctx); !errors.Is(err, ErrNoPrimary) {
		t.Errorf("error %v", err)
	}
}

func TestResolve(t *testing.T) {
	replica, dead := &member{role: "replica", state: "streaming"}, &member{role: "replica", state: "stopped"}
	yes := func(recovery bool, timeline uint32, lsn LSN) probed {
		return probed{at: time.Now(), ok: true, recovery: recovery, timeline: timeline, lsn: lsn}
	}
	for name, c := range map[string]struct {
		told   bool
		leader string
		seats  []seat
		want   string
	}{
		"an agent's word counts":                {true, "a", []seat{{address: "a", probe: yes(true, 1, 1)}, {address: "b", member: replica, probe: yes(false, 2, 1)}}, "PR"},
		"no leader is no primary":               {true, "", []seat{{address: "a", probe: yes(false, 1, 1)}, {address: "b", member: replica}}, "?R"},
		"a stopped member is no replica":        {true, "a", []seat{{address: "a"}, {address: "b", member: dead}}, "P?"},
		"a server that nobody tells of is none": {true, "a", []seat{{address: "a"}, {address: "b", probe: yes(true, 1, 1)}}, "P?"},
		"servers: the higher timeline":          {false, "a", []seat{{address: "a", probe: yes(false, 1, 9)}, {address: "b", probe: yes(false, 2, 1)}}, "?P"},
		"servers: the later position":           {false, "", []seat{{address: "a", probe: yes(false, 1, 9)}, {address: "b", probe: yes(false, 1, 1)}}, "P?"},
		"servers: one that does not answer":     {false, "a", []seat{{address: "a"}, {address: "b", probe: yes(true, 1, 1)}}, "?R"},
	} {
		got := ""
		for _, r := range resolve(c.told, c.leader, c.seats) {
			got += map[Role]string{RolePrimary: "P", RoleReplica: "R", RoleUnknown: "?"}[r.role]
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
