package routing

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// socket is HAProxy's runtime socket as far as a Router uses it: a process id, a backend
// with some servers, and what was asked of their health.
type socket struct {
	path string

	mu      sync.Mutex
	pid     int
	servers []string
	heard   chan string
}

func newSocket(t *testing.T, servers ...string) *socket {
	t.Helper()
	dir, err := os.MkdirTemp("", "rt") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &socket{path: filepath.Join(dir, "s"), pid: 100, servers: servers, heard: make(chan string, 100)}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.answer(conn)
		}
	}()
	return s
}

func (s *socket) answer(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range strings.SplitSeq(strings.TrimSpace(line), "; ") {
		_, _ = io.WriteString(conn, s.do(command)+"\n")
	}
	if strings.HasPrefix(line, "set ") {
		s.heard <- strings.TrimSpace(line)
	}
}

func (s *socket) do(command string) string {
	words := strings.Fields(command)
	switch {
	case command == "show info":
		return fmt.Sprintf("Name: HAProxy\nPid: %d\nUptime_sec: 1\n", s.pid)
	case strings.HasPrefix(command, "show stat primary"):
		rows := "# pxname,svname,status,check_status\n"
		for _, name := range s.servers {
			rows += "primary," + name + ",DOWN,* L7STS\n"
		}
		return rows
	case len(words) == 5 && words[0] == "set":
		name := strings.TrimPrefix(words[2], "primary/")
		if slices.Contains(s.servers, name) {
			return ""
		}
		return "No such server.\n"
	}
	return "Unknown command\n"
}

// next is the next line that set something.
func (s *socket) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-s.heard:
		return line
	case <-time.After(time.Minute):
		t.Fatal("HAProxy was told nothing")
		return ""
	}
}

func (s *socket) silent(t *testing.T) {
	t.Helper()
	select {
	case line := <-s.heard:
		t.Errorf("HAProxy was told %q", line)
	default:
	}
}

func newRouter(s *socket, log io.Writer) *Router {
	return &Router{HAProxy: HAProxy{Socket: s.path, Backend: "primary", Reads: "replicas"}, Now: func() cluster.Instant { return present },
		Log: slog.New(slog.NewTextHandler(log, nil)), said: map[string]string{}}
}

// of is news of a leader among members a, b and c.
// Terms are revisions.
func of(leader string, revision int64) News {
	t := &cluster.Topology{Revision: revision, Members: []cluster.TopologyMember{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	if leader != "" {
		t.Leader = &cluster.TopologyLeader{Name: leader, Term: cluster.Term(revision)}
	}
	return News{Topology: t, Revision: revision, At: present}
}

// by is news of another source.
func by(source string, n News) News {
	n.source = source
	return n
}

func TestASourceThatHasNotHeardOfALeaderDoesNotEndIt(t *testing.T) {
	s := newSocket(t, "a", "b", "c")
	r := newRouter(s, io.Discard)
	r.hear(t.Context(), by("its agent", of("a", 5)))
	s.next(t)
	r.hear(t.Context(), by("etcd", of("", 6))) // the member key is still on its way
	s.silent(t)
	r.hear(t.Context(), by("its agent", of("", 7)))
	if line := s.next(t); strings.Contains(line, "up") {
		t.Errorf("its own agent says that it is gone, and HAProxy was told %q", line)
	}
	r.hear(t.Context(), by("its agent", of("b", 8)))
	s.next(t)
	now := present.Add(catchUp)
	r.Now = func() cluster.Instant { return now }
	lost := by("etcd", of("", 9)) // and its agent is not heard of any more
	lost.At = now
	r.hear(t.Context(), lost)
	if line := s.next(t); strings.Contains(line, "up") {
		t.Errorf("after a second it is gone, and HAProxy was told %q", line)
	}
}

func TestALeaderOfAnOlderTermIsNotActedUpon(t *testing.T) {
	s := newSocket(t, "a", "b", "c")
	r := newRouter(s, io.Discard)
	r.hear(t.Context(), of("b", 10))
	s.next(t)
	old := of("a", 9)
	old.Revision = 11
	r.hear(t.Context(), old)
	s.silent(t)
}

func TestTheOldPrimaryGoesBeforeTheNewOneComes(t *testing.T) {
	s := newSocket(t, "a", "b", "c")
	r := newRouter(s, io.Discard)
	r.hear(t.Context(), of("a", 1))
	r.hear(t.Context(), of("", 2))
	r.hear(t.Context(), of("b", 3))
	want := []string{
		"set server primary/b health down; set server primary/c health down; set server primary/a health up; set server replicas/a health down",
		"set server primary/a health down; set server primary/b health down; set server primary/c health down",
		"set server primary/a health down; set server primary/c health down; set server primary/b health up; set server replicas/b health down",
	}
	if diff := cmp.Diff(want, []string{s.next(t), s.next(t), s.next(t)}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.hear(t.Context(), of("b", 4)) // no change
	s.silent(t)
}

func TestNewsOfASourceThatIsBehindAreNotActedUpon(t *testing.T) {
	s := newSocket(t, "a", "b", "c")
	r := newRouter(s, io.Discard)
	r.hear(t.Context(), of("b", 10))
	s.next(t)
	r.hear(t.Context(), of("a", 9))
	s.silent(t)
	now := present.Add(forgetAfter)
	r.Now = func() cluster.Instant { return now }
	anew := of("c", 1) // a store that was made anew
	anew.At = now
	r.hear(t.Context(), anew)
	s.next(t)
}

func TestOldNewsAreRememberedAndNotActedUpon(t *testing.T) {
	s := newSocket(t, "a", "b", "c")
	r := newRouter(s, io.Discard)
	r.look(t.Context())
	r.hear(t.Context(), of("a", 1))
	s.next(t)
	now := present.Add(staleAfter + 1)
	r.Now = func() cluster.Instant { return now }
	r.hear(t.Context(), of("b", 2)) // told while this process stood still
	r.look(t.Context())
	s.silent(t)
	r.hear(t.Context(), News{Revision: 2, At: now}) // and still so
	r.look(t.Context())
	if line := s.next(t); !strings.Contains(line, "primary/b health up") {
		t.Errorf("then HAProxy was told %q", line)
	}
}

func TestAnotherHAProxyProcessIsToldOnce(t *testing.T) {
	s := newSocket(t, "a", "b", "c")
	r := newRouter(s, io.Discard)
	r.look(t.Context())
	r.hear(t.Context(), of("a", 1))
	s.next(t)
	r.look(t.Context())
	s.silent(t)
	s.mu.Lock()
	s.pid++
	s.mu.Unlock()
	r.look(t.Context())
	s.next(t)
	r.look(t.Context())
	s.silent(t)
}

func TestMembersThatHAProxyDoesNotHaveAreNamedOnce(t *testing.T) {
	var log strings.Builder
	r := newRouter(newSocket(t, "b"), &log)
	for i := range 3 {
		r.hear(t.Context(), of([]string{"a", "b"}[i%2], int64(i+1)))
	}
	for _, name := range []string{"a", "c"} {
		if n := strings.Count(log.String(), "member="+name+` state="member without a server`); n != 1 {
			t.Errorf("%s is named %d times:\n%s", name, n, log.String())
		}
	}
	if strings.Contains(log.String(), "member=b state=") {
		t.Errorf("b is there:\n%s", log.String())
	}
}

// TestWhatIsNotRoutedIsNotSaidToBe: nobody is asked to read between the lines whether writes arrive.
func TestWhatIsNotRoutedIsNotSaidToBe(t *testing.T) {
	nobody := News{Topology: &cluster.Topology{Revision: 1}, Revision: 1, At: present}
	for _, c := range []struct {
		name string
		news []News
		want string
	}{
		{"a primary with a server", []News{of("b", 1)}, `level=INFO msg="writes routed" member=b`},
		{"a primary without one", []News{of("a", 1)}, `level=WARN msg="writes not routed" member=a`},
		{"no primary any more", []News{of("b", 1), of("", 2)}, `level=WARN msg="writes routed nowhere" before=b`},
		{"a name under which nobody is", []News{nobody}, `level=WARN msg="no member in the cluster"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log strings.Builder
			r := newRouter(newSocket(t, "b"), &log)
			r.look(t.Context())
			for _, n := range c.news {
				r.hear(t.Context(), n)
			}
			r.look(t.Context())
			if said := log.String(); !strings.Contains(said, c.want) || strings.Count(said, "msg=\"writes") > len(c.news) {
				t.Errorf("it says\n%swant %s", said, c.want)
			}
		})
	}
}

func TestNamesThatMeanSomethingToHAProxyAreNotSent(t *testing.T) {
	s := newSocket(t, "a")
	unknown, err := HAProxy{Socket: s.path, Backend: "primary"}.Flip(t.Context(), "a; disable server primary/a", []string{"a", "x\ny"})
	if err != nil || len(unknown) != 2 {
		t.Errorf("unknown %q, %v", unknown, err)
	}
	if line := s.next(t); line != "set server primary/a health down" {
		t.Errorf("HAProxy was told %q", line)
	}
}

func TestServersAreListed(t *testing.T) {
	s := newSocket(t, "a", "b")
	servers, err := HAProxy{Socket: s.path, Backend: "primary"}.Servers(t.Context())
	if diff := cmp.Diff(map[string]ServerState{"a": {false, "L7STS"}, "b": {false, "L7STS"}}, servers); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := (HAProxy{Socket: s.path, Backend: "writes"}).Servers(t.Context()); err == nil || !strings.Contains(err.Error(), "no backend writes") {
		t.Errorf("of a backend that is not there: %v", err)
	}
}

func TestARouterWaitsForItsSourcesAndForHAProxy(t *testing.T) {
	s := newSocket(t, "a", "b", "c")
	r := newRouter(s, io.Discard)
	began := time.Now()
	r.Now = func() cluster.Instant { return present.Add(time.Since(began)) }
	tries := 0
	r.Sources = []Source{{Name: "test", Run: func(ctx context.Context, tell func(News)) error {
		if tries++; tries == 1 {
			return ErrNoAgent
		}
		tell(of("a", 1))
		<-ctx.Done()
		return ctx.Err()
	}}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	first := s.next(t)
	for range settle { // a check that was under way may have taken it back
		if again := s.next(t); again != first {
			t.Errorf("told again was %q, want %q", again, first)
		}
	}
	cancel()
	<-done
}

func TestAgentsTakeTurns(t *testing.T) {
	a := NewAgents("http://seed:8008")
	if a.next() != "http://seed:8008" {
		t.Error("the agent that was given is not asked")
	}
	a.Know(cluster.Topology{Members: []cluster.TopologyMember{{APIURL: "http://x:8008/patroni"}, {APIURL: "http://seed:8008/patroni"}, {}}})
	seen := map[string]int{}
	for range 4 {
		seen[a.next()]++
	}
	if diff := cmp.Diff(map[string]int{"http://x:8008": 2, "http://seed:8008": 2}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if NewAgents().next() != "" {
		t.Error("an agent comes from nowhere")
	}
}
