package restapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The moments of the fixtures: the clock stands at present, and the wall clock
// at wall.
const present = cluster.Instant(1000 * time.Second)

var wall = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// node is a node under test: its status and its clocks can be moved.
type node struct {
	*Server
	status atomic.Pointer[cluster.Status]
	now    atomic.Int64
}

// newNode makes a server that tells about status.
func newNode(t testing.TB, status *cluster.Status, change ...func(*Options)) *node {
	t.Helper()
	n := &node{}
	n.status.Store(status)
	n.now.Store(int64(present))
	options := Options{
		Status:  n.status.Load,
		Now:     func() cluster.Instant { return cluster.Instant(n.now.Load()) },
		Wall:    func() time.Time { return wall },
		Version: "0.0.1",
		NewID:   func() string { return "id-1" },
	}
	for _, c := range change {
		c(&options)
	}
	server, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	n.Server = server
	return n
}

// onSockets is for a node that is asked over real connections: their deadlines count
// from its wall clock, and one that has passed cuts a request off, now and then.
func onSockets(o *Options) { o.Wall = time.Now } //nolint:forbidigo // a socket's deadline

// advance moves the clock.
func (n *node) advance(d time.Duration) { n.now.Add(int64(d)) }

// ask sends one request from this machine.
func (n *node) ask(method, target, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:40000"
	if body != "" {
		r.Header.Set("Content-Length", "1")
	}
	if r.URL.Path == "/events" { // which goes on until its asker goes: this one has gone when the first were told
		gone, cancel := context.WithCancel(r.Context())
		cancel()
		r = r.WithContext(gone)
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	n.ServeHTTP(w, r)
	return w
}

func instant(ago time.Duration) cluster.Instant { return present.Add(-ago) }

// members are three of a healthy cluster led by pg-1.
func members() map[string]cluster.Member {
	member := func(name, host string, role cluster.Role) cluster.Member {
		return cluster.Member{
			Name: name, ConnURL: "postgres://" + host + ":5432/postgres", APIURL: "http://" + host + ":8008/patroni",
			State: cluster.StateRunning, Role: role, Version: cluster.PatroniVersion, Timeline: 3,
			XlogLocation: 0x4000100,
		}
	}
	primary := member("pg-1", "10.0.0.1", cluster.RolePrimary)
	near := member("pg-2", "10.0.0.2", cluster.RoleReplica)
	near.ReceiveLSN, near.ReplayLSN, near.XlogLocation = 0x4000100, 0x4000000, 0x4000100
	near.ReplicationState = "streaming"
	far := member("pg-3", "10.0.0.3", cluster.RoleReplica)
	far.XlogLocation, far.State, far.Tags = 0, cluster.StateStarting, cluster.Tags{"nofailover": true}
	return map[string]cluster.Member{"pg-1": primary, "pg-2": near, "pg-3": far}
}

func view() cluster.View {
	return cluster.View{
		Revision: 77,
		Leader:   &cluster.Leader{Name: "pg-1", LeaseID: 5, Term: 42},
		Members:  members(),
		Config:   &cluster.Config{Raw: json.RawMessage(`{"ttl":10}`)},
		Status:   &cluster.Positions{Optime: 0x4000100},
		History:  cluster.History{{Timeline: 2, Switch: 0x3000000, Reason: "no recovery target specified", Time: "2026-01-01T11:00:00+00:00", NewLeader: "pg-1"}},
	}
}

// primary is pg-1 with five seconds of lease left.
func primary(change ...func(*cluster.Status)) *cluster.Status {
	s := &cluster.Status{
		Scope: "batman", Name: "pg-1", Version: "0.0.1",
		Role: cluster.RolePrimary, State: cluster.StateRunning,
		Reason: "holding", ReasonSince: instant(1500 * time.Millisecond), Detail: "lease renewed",
		Term: 42, LeaseUntil: present.Add(5 * time.Second),
		Settings: cluster.DefaultSettings(), LoopAt: instant(time.Second), DCSSeen: 1767268800,
		Node: cluster.Seen(cluster.NodeState{
			Mode: cluster.ModePrimary, SystemID: "7268616322854375442", Timeline: 3, ServerVersion: 150008,
			WriteLSN: 0x4000100, PostmasterTime: "2026-01-01 11:59:00+00",
			Walsenders: []cluster.Walsender{{Name: "pg-2", Addr: "10.0.0.2", State: "streaming", SyncState: "async"}},
		}, instant(time.Second)),
		View: cluster.Seen(view(), instant(time.Second)),
	}
	return altered(s, change)
}

// standby is pg-2, streaming, 256 bytes behind in replay.
func standby(change ...func(*cluster.Status)) *cluster.Status {
	s := primary()
	s.Name, s.Role, s.Term, s.LeaseUntil = "pg-2", cluster.RoleReplica, 0, 0
	s.Reason, s.Detail = "following", ""
	s.Tags = cluster.Tags{"zone": "eu", "clonefrom": true, "weight": 100.0}
	s.Node = cluster.Seen(cluster.NodeState{
		Mode: cluster.ModeStandby, SystemID: "7268616322854375442", Timeline: 3, ServerVersion: 150008,
		ReceiveLSN: 0x4000100, ReplayLSN: 0x4000000, EndKnown: true, ReplayedAt: "2026-01-01 11:59:59+00",
		PostmasterTime: "2026-01-01 11:59:00+00",
		Receiver:       &cluster.Receiver{Status: "streaming", Host: "10.0.0.1", Port: "5432", Latest: 0x4000100, Timeline: 3},
	}, instant(time.Second))
	return altered(s, change)
}

func altered(s *cluster.Status, change []func(*cluster.Status)) *cluster.Status {
	for _, c := range change {
		c(s)
	}
	return s
}

// operator is a program with behaviour in place of the agent: it keeps what it
// was asked and answers from a small model.
type operator struct {
	requests []cluster.Request
	wishes   []cluster.Failover
	patches  []string
	result   cluster.Result
	stored   json.RawMessage
	err      error
	// silent never answers: every call ends with its context.
	silent bool
}

func (o *operator) outcome(ctx context.Context) error {
	if o.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return o.err
}

func (o *operator) Submit(ctx context.Context, r cluster.Request) (cluster.Result, error) {
	o.requests = append(o.requests, r)
	return o.result, o.outcome(ctx)
}

func (o *operator) Failover(ctx context.Context, f cluster.Failover) (cluster.Result, error) {
	o.wishes = append(o.wishes, f)
	return o.result, o.outcome(ctx)
}

func (o *operator) PatchConfig(ctx context.Context, patch json.RawMessage, replace bool) (json.RawMessage, error) {
	kind := "patch "
	if replace {
		kind = "replace "
	}
	o.patches = append(o.patches, kind+string(patch))
	return o.stored, o.outcome(ctx)
}

func (o *operator) CancelFailover(ctx context.Context) error {
	o.wishes = append(o.wishes, cluster.Failover{})
	return o.outcome(ctx)
}

// operated gives a node an operator.
func operated(o *operator) func(*Options) {
	return func(options *Options) { options.Operator = o }
}
