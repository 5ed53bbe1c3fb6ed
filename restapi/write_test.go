package restapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// write test cases share this shape: a node, a request, the answer.
type writeCase struct {
	name     string
	status   *cluster.Status
	method   string
	path     string
	body     string
	operator operator
	code     int
	// says is the whole text, or with a leading ~ a part of it.
	says string
	// detail is a part of the detail header.
	detail string
}

func (c writeCase) run(t *testing.T) *operator {
	t.Helper()
	o := c.operator
	status := c.status
	if status == nil {
		status = primary()
	}
	wait := time.Minute
	if o.silent { // nothing else ends it
		wait = 20 * time.Millisecond
	}
	n := newNode(t, status, operated(&o), func(options *Options) { options.WaitLimit = wait })
	w := n.ask(c.method, c.path, c.body)
	got, detail := w.Body.String(), w.Header().Get(HeaderDetail)
	part, partly := strings.CutPrefix(c.says, "~")
	if w.Code != c.code || (partly && !strings.Contains(got, part)) || (!partly && got != c.says) || !strings.Contains(detail, c.detail) {
		t.Errorf("%s %s %s: %d %q (detail %q)\nwant %d %q (detail %q)", c.method, c.path, c.body, w.Code, got, detail, c.code, c.says, c.detail)
	}
	return &o
}

func paused(s *cluster.Status) { s.Settings.Pause = true }

func synchronousMode(standbys string) func(*cluster.Status) {
	return func(s *cluster.Status) {
		s.Settings.SynchronousMode = "on"
		s.View.Value.Sync = &cluster.Sync{Leader: "pg-1", SyncStandby: standbys}
	}
}

func TestSwitchoverAndFailover(t *testing.T) {
	alone := func(s *cluster.Status) { s.View.Value.Members = map[string]cluster.Member{"pg-1": members()["pg-1"]} }
	tagged := func(s *cluster.Status) {
		all := maps.Clone(s.View.Value.Members)
		m := all["pg-2"]
		m.Tags = cluster.Tags{"nofailover": true}
		all["pg-2"] = m
		s.View.Value.Members = all
	}
	leaderless := func(s *cluster.Status) { s.View.Value.Leader = nil }
	ledByAgent := func(s *cluster.Status) {
		m := s.View.Value.Members["pg-1"]
		m.Keeper = &cluster.MemberKeeper{}
		s.View.Value.Members["pg-1"] = m
	}
	blind := func(s *cluster.Status) { s.View = s.View.Failed("etcd: no leader", present) }
	done := func(leader string) operator { return operator{result: cluster.Result{Done: true, NewLeader: leader}} }
	const (
		move = "/switchover"
		fail = "/failover"
	)
	cases := []writeCase{
		{"to the candidate asked for", nil, "POST", move, `{"leader":"pg-1","candidate":"pg-2"}`, done("pg-2"), 200, `Successfully switched over to "pg-2"`, ""},
		{"to whoever is best", nil, "POST", move, `{"leader":"pg-1"}`, done("pg-2"), 200, `Successfully switched over to "pg-2"`, ""},
		{"to another one than asked for", nil, "POST", move, `{"leader":"pg-1","member":"pg-2"}`, done("pg-4"), 200, `Switched over to "pg-4" instead of "pg-2"`, ""},
		{"failover to a candidate", nil, "POST", fail, `{"candidate":"pg-2"}`, done("pg-2"), 200, `Successfully failed over to "pg-2"`, ""},
		{"failover that ended elsewhere", nil, "POST", fail, `{"candidate":"pg-2"}`, done("pg-4"), 200, `Failed over to "pg-4" instead of "pg-2"`, ""},
		{"failover with a leader named is a switchover", nil, "POST", fail, `{"leader":"pg-1","candidate":"pg-2"}`, done("pg-2"), 200, `Successfully switched over to "pg-2"`, ""},
		{"failover without a leader in the cluster", primary(leaderless), "POST", fail, `{"candidate":"pg-2"}`, done("pg-2"), 200, `Successfully failed over to "pg-2"`, ""},
		{"scheduled", nil, "POST", move, `{"leader":"pg-1","scheduled_at":"2026-01-01T13:00:00+00:00"}`, operator{result: cluster.Result{Accepted: true}}, 202, "Switchover scheduled", ""},
		{"unknown fields are ignored", nil, "POST", move, `{"leader":"pg-1","note":[1]}`, done("pg-2"), 200, `Successfully switched over to "pg-2"`, ""},

		{"failover to nobody", nil, "POST", fail, `{}`, operator{}, 400, "Failover could be performed only to a specific candidate", ""},
		{"switchover from nobody", nil, "POST", move, `{"candidate":"pg-2"}`, operator{}, 400, "Switchover could be performed only from a specific leader", ""},
		{"null is nobody", nil, "POST", move, `{"leader":null}`, operator{}, 400, "Switchover could be performed only from a specific leader", ""},
		{"scheduled in pause", primary(paused), "POST", move, `{"leader":"pg-1","candidate":"pg-2","scheduled_at":"2026-01-01T13:00:00+00:00"}`, operator{}, 400, "Can't schedule switchover in the paused state", ""},
		{"without a candidate in pause", primary(paused), "POST", move, `{"leader":"pg-1"}`, operator{}, 400, "Switchover is possible only to a specific candidate in a paused state", ""},
		{"to a candidate in pause", primary(paused, ledByAgent), "POST", move, `{"leader":"pg-1","candidate":"pg-2"}`, operator{}, 412, "switchover is not possible: the cluster is paused", "resume"},
		{"to a candidate in pause where Patroni leads", primary(paused), "POST", move, `{"leader":"pg-1","candidate":"pg-2"}`, done("pg-2"), 200, `Successfully switched over to "pg-2"`, ""},
		{"without a leader in pause", primary(paused, leaderless), "POST", fail, `{"candidate":"pg-2"}`, operator{}, 412, "failover is not possible: the cluster is paused", "resume"},
		{"to itself", nil, "POST", move, `{"leader":"pg-1","candidate":"pg-1"}`, operator{}, 400, "Switchover target and source are the same", ""},
		{"failover at a time", nil, "POST", fail, `{"candidate":"pg-2","scheduled_at":"2026-01-01T13:00:00Z"}`, operator{}, 400, "Failover can't be scheduled", ""},
		{"time without a zone", nil, "POST", move, `{"leader":"pg-1","scheduled_at":"2026-01-01T13:00:00"}`, operator{}, 400, "~time zone is mandatory", ""},
		{"time that is past", nil, "POST", move, `{"leader":"pg-1","scheduled_at":"2026-01-01T12:00:00+00:00"}`, operator{}, 422, "~is past", ""},
		{"time that is past in its zone", nil, "POST", move, `{"leader":"pg-1","scheduled_at":"2026-01-01T13:00:00+02:00"}`, operator{}, 422, "~is past", ""},
		{"time that is none", nil, "POST", move, `{"leader":"pg-1","scheduled_at":"tomorrow"}`, operator{}, 422, "~ISO 8601", ""},

		{"another leader", nil, "POST", move, `{"leader":"pg-2"}`, operator{}, 412, "leader name does not match", "the leader is pg-1"},
		{"no leader at all", primary(leaderless), "POST", move, `{"leader":"pg-1"}`, operator{}, 412, "leader name does not match", "nobody holds"},
		{"a candidate there is not", nil, "POST", move, `{"leader":"pg-1","candidate":"pg-9"}`, operator{}, 412, "candidate does not exists", ""},
		{"a failover candidate there is not", nil, "POST", fail, `{"candidate":"pg-9"}`, operator{}, 412, "candidate does not exists", ""},
		{"a candidate that does not run", nil, "POST", move, `{"leader":"pg-1","candidate":"pg-3"}`, operator{}, 412, "switchover is not possible: no good candidates have been found", "pg-3 is tagged"},
		{"nobody is good", primary(tagged), "POST", move, `{"leader":"pg-1"}`, operator{}, 412, "switchover is not possible: no good candidates have been found", "pg-2 is tagged nofailover"},
		{"nobody else is there", primary(alone), "POST", move, `{"leader":"pg-1"}`, operator{}, 412, "switchover is not possible: cluster does not have members except leader", ""},
		{"an asynchronous candidate in synchronous mode", primary(synchronousMode("pg-3")), "POST", move, `{"leader":"pg-1","candidate":"pg-2"}`, operator{}, 412, "candidate name does not match with sync_standby", ""},
		{"failover to an asynchronous candidate", primary(synchronousMode("pg-3")), "POST", fail, `{"candidate":"pg-2"}`, done("pg-2"), 200, `Successfully failed over to "pg-2"`, ""},
		{"no synchronous standby", primary(synchronousMode("")), "POST", move, `{"leader":"pg-1"}`, operator{}, 412, "switchover is not possible: can not find sync_standby", ""},
		{"a synchronous standby", primary(synchronousMode("pg-2")), "POST", move, `{"leader":"pg-1"}`, done("pg-2"), 200, `Successfully switched over to "pg-2"`, ""},

		{"refused by the holder", nil, "POST", move, `{"leader":"pg-1"}`, operator{result: cluster.Result{Refused: true, Message: "pg-2 lags 3 GB"}}, 412, "pg-2 lags 3 GB", ""},
		{"failed", nil, "POST", move, `{"leader":"pg-1"}`, operator{result: cluster.Result{Message: "the candidate died"}}, 503, "Switchover failed: the candidate died", ""},
		{"not written", nil, "POST", move, `{"leader":"pg-1"}`, operator{err: errors.New("etcd: no leader")}, 503, "~failed to write switchover key into DCS", "request id-1"},
		{"changed meanwhile", nil, "POST", move, `{"leader":"pg-1"}`, operator{err: fmt.Errorf("put failover: %w", ErrConflict)}, 409, "~changed meanwhile", ""},
		{"no answer within the bound", nil, "POST", move, `{"leader":"pg-1"}`, operator{silent: true}, 503, "Switchover status unknown after 0.02 seconds; operation may still be in progress (request id-1)", ""},
		{"the store out of reach", primary(blind), "POST", move, `{"leader":"pg-1"}`, operator{}, 503, "~etcd: no leader", ""},
		{"an agent that is starting", &unborn, "POST", move, `{"leader":"pg-1"}`, operator{}, 503, "~starting", ""},

		{"leader of a wrong type", nil, "POST", move, `{"leader":5}`, operator{}, 400, `field "leader" is 5: want a text`, ""},
		{"force of a wrong type", nil, "POST", fail, `{"candidate":"pg-2","force":"yes"}`, operator{}, 400, `field "force" is "yes": want true or false`, ""},
		{"not JSON", nil, "POST", move, `leader=pg-1`, operator{}, 400, "~is not JSON", ""},
		{"a list", nil, "POST", move, `["pg-1"]`, operator{}, 400, `the request body is ["pg-1"]: want a JSON object`, ""},
		{"blank", nil, "POST", move, "  ", operator{}, 400, "~is empty", ""},
		{"huge", nil, "POST", move, `{"leader":"` + strings.Repeat("x", bodyLimit) + `"}`, operator{}, 413, "~larger than 65536", ""},
		{"without a body", nil, "POST", move, "", operator{}, 411, "~Content-Length", ""},

		{"withdrawn", primary(scheduledMove), "DELETE", move, "", operator{}, 200, "scheduled switchover deleted", ""},
		{"withdrawn by the other path", primary(scheduledMove), "DELETE", fail, "", operator{}, 200, "scheduled switchover deleted", ""},
		{"nothing to withdraw", nil, "DELETE", move, "", operator{}, 404, "no switchover is scheduled", ""},
		{"withdrawn by somebody else first", primary(scheduledMove), "DELETE", move, "", operator{err: ErrAbsent}, 404, "no switchover is scheduled", ""},
		{"changed while withdrawing", primary(scheduledMove), "DELETE", move, "", operator{err: ErrConflict}, 409, "~changed meanwhile", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := c.run(t)
			if c.code == 400 || c.code == 412 && !o.result.Refused {
				if len(o.wishes) != 0 {
					t.Errorf("a refused wish reached the operator: %+v", o.wishes)
				}
			}
		})
	}
}

func scheduledMove(s *cluster.Status) {
	s.View.Value.Failover = &cluster.Failover{Leader: "pg-1", ScheduledAt: "2026-01-02T03:00:00+00:00"}
}

func TestTheWishReachesTheOperatorWhole(t *testing.T) {
	o := writeCase{
		method: "POST", path: "/switchover",
		body: `{"leader":"pg-1","candidate":"pg-2","scheduled_at":"2026-01-01 15:00+02:00"}`,
		code: 202, says: "Switchover scheduled", operator: operator{result: cluster.Result{Accepted: true}},
	}.run(t)
	want := []cluster.Failover{{Leader: "pg-1", Member: "pg-2", ScheduledAt: "2026-01-01T15:00:00+02:00", ID: "id-1"}}
	if diff := cmp.Diff(want, o.wishes); diff != "" {
		t.Errorf("wishes (-want +got):\n%s", diff)
	}
}

func TestRestartReloadReinitialize(t *testing.T) {
	scheduled := func(s *cluster.Status) {
		s.ScheduledRestart = &cluster.RestartArgs{Schedule: "2026-01-02T03:00:00+00:00"}
	}
	busy := func(s *cluster.Status) { s.Job = "rewind" }
	done := operator{result: cluster.Result{Done: true}}
	accepted := operator{result: cluster.Result{Accepted: true}}
	refused := operator{result: cluster.Result{Refused: true, Message: "role is replica, not primary"}}
	cases := []writeCase{
		{"restart", nil, "POST", "/restart", "", done, 200, "restarted successfully", ""},
		{"restart with an empty object", nil, "POST", "/restart", "{}", done, 200, "restarted successfully", ""},
		{"restart that goes on", nil, "POST", "/restart", "", accepted, 202, "restart started", ""},
		{"restart refused", nil, "POST", "/restart", `{"role":"primary"}`, refused, 503, "role is replica, not primary", ""},
		{"restart without an answer", nil, "POST", "/restart", "", operator{silent: true}, 503, "~Restart status unknown after 0.02 seconds", ""},
		{"restart that could not be asked for", nil, "POST", "/restart", "", operator{err: errors.New("etcd: no leader")}, 503, "Restart failed: etcd: no leader", "request id-1"},
		{"restart at a time", nil, "POST", "/restart", `{"schedule":"2026-01-02T03:00:00+00:00"}`, accepted, 202, "Restart scheduled", ""},
		{"restart at a time, another scheduled", primary(scheduled), "POST", "/restart", `{"schedule":"2026-01-02T03:00:00+00:00"}`, accepted, 409, "Another restart is already scheduled", "2026-01-02"},
		{"restart at a time in pause", primary(paused), "POST", "/restart", `{"schedule":"2026-01-02T03:00:00+00:00"}`, accepted, 500, "Can't schedule restart in the paused state", ""},
		{"restart at a time without a zone", nil, "POST", "/restart", `{"schedule":"2026-01-02 03:00"}`, accepted, 400, "~time zone is mandatory", ""},
		{"restart at a time that is past", nil, "POST", "/restart", `{"schedule":"2025-01-02T03:00Z"}`, accepted, 422, "~is past", ""},
		{"restart for a role there is not", nil, "POST", "/restart", `{"role":"boss"}`, done, 400, "~want primary, standby_leader or replica", ""},
		{"restart for a version that is none", nil, "POST", "/restart", `{"postgres_version":"15beta"}`, done, 400, "~want a version", ""},
		{"restart with a timeout in words", nil, "POST", "/restart", `{"timeout":"2min"}`, done, 200, "restarted successfully", ""},
		{"restart with a timeout of nothing", nil, "POST", "/restart", `{"timeout":0}`, done, 400, "~positive number of seconds", ""},
		{"restart with an endless timeout", nil, "POST", "/restart", `{"timeout":1e300}`, done, 400, "~positive number of seconds", ""},
		{"restart with a filter nobody knows", nil, "POST", "/restart", `{"rol":"primary"}`, done, 400, `~field "rol" is not known`, ""},
		{"restart with a list", nil, "POST", "/restart", `[]`, done, 400, "~want a JSON object", ""},
		{"restart withdrawn", primary(scheduled), "DELETE", "/restart", "", done, 200, "scheduled restart deleted", ""},
		{"no restart to withdraw", nil, "DELETE", "/restart", "", done, 404, "no restarts are scheduled", ""},

		{"reload", nil, "POST", "/reload", "", done, 202, "reload scheduled", ""},
		{"reload failed", nil, "POST", "/reload", "", operator{result: cluster.Result{Message: "line 3: not a map"}}, 503, "line 3: not a map", ""},

		{"reinitialize", standby(), "POST", "/reinitialize", `{"force":true,"from_leader":true}`, accepted, 200, "reinitialize started", ""},
		{"reinitialize the leader", nil, "POST", "/reinitialize", "", done, 503, "I am the leader, can not reinitialize", ""},
		{"reinitialize without a leader", standby(func(s *cluster.Status) { s.View.Value.Leader = nil }), "POST", "/reinitialize", "", done, 503, "Cluster has no leader, can not reinitialize", ""},
		{"reinitialize while a job runs", standby(busy), "POST", "/reinitialize", "", done, 503, "rewind already in progress", ""},
		{"reinitialize by force while a job runs", standby(busy), "POST", "/reinitialize", `{"force":true}`, done, 200, "reinitialize started", ""},
		{"reinitialize with a wrong type", standby(), "POST", "/reinitialize", `{"force":1}`, done, 400, `field "force" is 1: want true or false`, ""},
		{"remove", nil, "POST", "/pgkeeper/remove", `{"member":"pg9"}`, operator{result: cluster.Result{Done: true, Message: "the slot pg9 is dropped"}}, 200, "the slot pg9 is dropped", ""},
		{"remove refused", nil, "POST", "/pgkeeper/remove", `{"member":"pg2"}`, operator{result: cluster.Result{Refused: true, Message: "pg2 is a member still"}}, 412, "pg2 is a member still", ""},
		{"remove nobody", nil, "POST", "/pgkeeper/remove", `{}`, done, 400, "member is missing", ""},
		{"remove with a wrong type", nil, "POST", "/pgkeeper/remove", `{"member":1}`, done, 400, `field "member" is 1: want a text`, ""},
		{"reinitialize refused", standby(), "POST", "/reinitialize", "", operator{result: cluster.Result{Refused: true, Message: "no other copy"}}, 503, "no other copy", ""},

		{"a method a path does not have", nil, "POST", "/primary", "{}", done, 501, `POST is not supported on "/primary"`, ""},
		{"a path there is not", nil, "POST", "/sigterm", "{}", done, 501, `POST is not supported on "/sigterm"`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t) })
	}
}

func TestRequestsReachTheOperatorWhole(t *testing.T) {
	o := writeCase{
		status: standby(), method: "POST", path: "/restart",
		body: `{"role":"master","postgres_version":"15.8","timeout":"2min","restart_pending":true}`,
		code: 200, says: "restarted successfully", operator: operator{result: cluster.Result{Done: true}},
	}.run(t)
	if len(o.requests) != 1 {
		t.Fatalf("%d requests, want 1", len(o.requests))
	}
	var args cluster.RestartArgs
	if err := json.Unmarshal(o.requests[0].Args, &args); err != nil {
		t.Fatal(err)
	}
	o.requests[0].Args = nil
	if diff := cmp.Diff(cluster.Request{ID: "id-1", Member: "pg-2", Kind: cluster.RequestRestart}, o.requests[0]); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	want := cluster.RestartArgs{Role: cluster.RolePrimary, PostgresVersion: "15.8", Timeout: 120, RestartPending: true}
	if diff := cmp.Diff(want, args); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
}

func TestConfigIsPatchedAndReplaced(t *testing.T) {
	stored := operator{stored: json.RawMessage(`{"ttl":30}`)}
	cases := []writeCase{
		{"patched", nil, "PATCH", "/config", `{"ttl":30}`, stored, 200, `{"ttl":30}`, ""},
		{"replaced", nil, "PUT", "/config", `{"ttl":30}`, stored, 200, `{"ttl":30}`, ""},
		{"nothing to patch", nil, "PATCH", "/config", `{}`, operator{err: ErrAbsent}, 503, "~PUT /config", ""},
		{"patched by somebody else", nil, "PATCH", "/config", `{}`, operator{err: ErrConflict}, 409, "~changed meanwhile", ""},
		{"patched to what cannot work", nil, "PATCH", "/config", `{"ttl":1}`, operator{err: fmt.Errorf("ttl is 1s: %w", ErrInvalid)}, 400, "~ttl is 1s", ""},
		{"patch not written", nil, "PATCH", "/config", `{}`, operator{err: errors.New("etcd: no leader")}, 503, "~etcd: no leader", ""},
		{"replacement not written", nil, "PUT", "/config", `{}`, operator{err: errors.New("etcd: no leader")}, 502, "~etcd: no leader", ""},
		{"patched with a list", nil, "PATCH", "/config", `[1]`, stored, 400, "~want a JSON object", ""},
		{"patched with nothing", nil, "PATCH", "/config", "", stored, 411, "~Content-Length", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := c.run(t)
			if c.code == http.StatusOK {
				want := map[string]string{"PATCH": "patch ", "PUT": "replace "}[c.method] + c.body
				if diff := cmp.Diff([]string{want}, o.patches); diff != "" {
					t.Errorf("patches (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestWithoutAnOperatorWritesSaySo(t *testing.T) {
	n := newNode(t, primary())
	for _, op := range n.writes() {
		w := n.ask(op.method, op.path, `{"leader":"pg-1","candidate":"pg-2"}`)
		if w.Code < 400 {
			t.Errorf("%s %s: %d %s", op.method, op.path, w.Code, w.Body)
		}
	}
}

// FuzzBodies feeds every unsafe operation bodies of any kind: it must answer,
// with a code of the interface, and pass on only what is valid.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"leader":"pg-1","candidate":"pg-2"}`, `{"leader":"pg-1","scheduled_at":"2030-01-01T00:00:00Z"}`,
		`{"role":"replica","timeout":"5min","restart_pending":true}`, `{"timeout":1e309}`, `{"timeout":"."}`,
		`{"force":true,"from_leader":false}`, `{"ttl":null,"postgresql":{"parameters":{"a":1}}}`,
		`[]`, `null`, `"x"`, `{`, `{"leader":{}}`, "\x00", strings.Repeat("[", 20000), `{"schedule":" UTC"}`,
	} {
		f.Add(seed)
	}
	allowed := map[int]bool{200: true, 202: true, 400: true, 403: true, 404: true, 409: true, 411: true, 412: true, 413: true, 422: true, 500: true, 501: true, 503: true}
	f.Fuzz(func(t *testing.T, body string) {
		o := &operator{result: cluster.Result{Done: true, NewLeader: "pg-2"}, stored: json.RawMessage(`{}`)}
		n := newNode(t, primary(), operated(o))
		for _, op := range n.writes() {
			if w := n.ask(op.method, op.path, body); !allowed[w.Code] {
				t.Errorf("%s %s: %d", op.method, op.path, w.Code)
			}
		}
		for _, r := range o.requests {
			if len(r.Args) > 0 && !json.Valid(r.Args) {
				t.Errorf("args %q are not JSON", r.Args)
			}
		}
		for _, wish := range o.wishes {
			if wish.Empty() {
				t.Errorf("an empty wish was passed on for %q", body)
			}
		}
		for _, patch := range o.patches {
			if _, patched, _ := strings.Cut(patch, " "); !strings.HasPrefix(patched, "{") || !json.Valid([]byte(patched)) {
				t.Errorf("patch %q is no JSON object", patched)
			}
		}
	})
}

// FuzzQueries feeds the health checks queries of any kind: what is accepted only
// ever narrows. The standby of the fixture lags 256 bytes.
func FuzzQueries(f *testing.F) {
	for _, seed := range []string{"lag=16MB&tag_zone=eu", "lag=", "lag=255", "mode=write", "%zz", "lag=1e400", "a;b", "tag_=&tag_=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := parseQuestion(query)
		if err == nil && q.lagGiven && q.lag < 256 && isReplica(facts{Status: standby(), now: present}, q) {
			t.Errorf("query %q allows a lag of %d and passes one of 256", query, q.lag)
		}
	})
}
