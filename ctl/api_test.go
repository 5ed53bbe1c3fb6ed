package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/restapi"
)

// apiRig is the same hand-made cluster behind the product's own REST server;
// what operators ask for goes to the rig's store, as an agent does it.
type apiRig struct {
	*rig
	api *API
	// failsafe: pg1 goes on without etcd.
	failsafe bool
}

func newAPIRig(t *testing.T, keys map[string]string) *apiRig {
	t.Helper()
	r := &apiRig{rig: newRig(t, keys)}
	handler, err := restapi.New(restapi.Options{
		Status: func() *cluster.Status { return r.status(t) }, Now: func() cluster.Instant { return 1 }, Wall: testClock{}.Now,
		Operator: storeOperator{r.rig}, WaitLimit: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	if r.api, err = NewAPI(server.URL, server.Client()); err != nil {
		t.Fatal(err)
	}
	// All members answer at this server: the tests need no other machine.
	view, err := r.keys.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range view.Members {
		m.APIURL = server.URL + "/patroni"
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		r.put(t, "members/"+name, string(raw))
	}
	r.Cluster = r.api
	return r
}

// status is what the loop of pg1 would publish.
func (r *apiRig) status(t *testing.T) *cluster.Status {
	view, err := r.keys.Load(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Error(err)
	}
	settings, _ := settingsOf(view)
	s := &cluster.Status{
		Scope: "batman", Name: "pg1", Version: "0.1.0", View: cluster.Seen(view, 1), Settings: settings,
		Node: cluster.Seen(cluster.NodeState{Mode: cluster.ModePrimary, SystemID: view.Initialize.SystemID, Timeline: 3}, 1),
		Role: cluster.RolePrimary, State: cluster.StateRunning, Failsafe: r.failsafe,
	}
	if view.Config != nil {
		s.ConfigRaw = view.Config.Raw
	}
	return s
}

// storeOperator does what an agent's operator does.
type storeOperator struct{ *rig }

func (o storeOperator) Submit(ctx context.Context, q cluster.Request) (cluster.Result, error) {
	return o.store.Submit(ctx, q)
}

func (o storeOperator) Failover(ctx context.Context, f cluster.Failover) (cluster.Result, error) {
	return o.store.Failover(ctx, f)
}

func (o storeOperator) CancelFailover(ctx context.Context) error { return o.store.CancelFailover(ctx) }

func (o storeOperator) PatchConfig(ctx context.Context, patch json.RawMessage, _ bool) (json.RawMessage, error) {
	old, err := o.store.Config(ctx)
	if err != nil {
		return nil, err
	}
	doc, err := decode(old.Raw)
	if err != nil {
		return nil, err
	}
	change, err := decode(patch)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(merge(doc, change))
	if err != nil {
		return nil, err
	}
	return raw, o.store.SetConfig(ctx, old, raw)
}

func TestBothWaysShowTheSameCluster(t *testing.T) {
	for _, name := range []string{"healthy", "everything", "crashed primary"} {
		t.Run(name, func(t *testing.T) {
			r := newAPIRig(t, situations()[name])
			byStore, err := r.store.Overview(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			byAPI, err := r.api.Overview(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range byAPI.Members { // the one server answers for all, so the flag is pg1's
				byAPI.Members[i].Paused = byStore.Members[i].Paused
			}
			if diff := cmp.Diff(List(byStore, true).Pretty(Style{}), List(byAPI, true).Pretty(Style{})); diff != "" {
				t.Errorf("(-store +api):\n%s", diff)
			}
		})
	}
}

func TestVerbsThroughTheAPI(t *testing.T) {
	cases := map[string]struct {
		do   func(*apiRig) error
		want string
	}{
		"switchover": {func(r *apiRig) error {
			return r.Switchover(r.context(), SwitchoverOptions{Candidate: "pg2"})
		}, "Successfully switched over to \"pg2\"\n"},
		"failover": {func(r *apiRig) error {
			return r.Failover(r.context(), FailoverOptions{Candidate: "pg3"})
		}, "Successfully failed over to \"pg3\"\n"},
		"a scheduled switchover": {func(r *apiRig) error {
			return r.Switchover(r.context(), SwitchoverOptions{Candidate: "pg2", Scheduled: "2026-12-31T23:00:00+01:00"})
		}, "Switchover scheduled at 2026-12-31T23:00:00+01:00\n"},
		"restart": {func(r *apiRig) error {
			return r.Restart(r.context(), RestartOptions{Selection: Selection{Members: []string{"pg1"}}})
		}, "Success: restart for member pg1\n"},
		"edit-config": {func(r *apiRig) error {
			return r.EditConfig(r.context(), Edit{Set: []string{"ttl=20"}, Quiet: true})
		}, "Configuration changed\n"},
		"pause": {func(r *apiRig) error { return r.Pause(r.context(), true, false) }, "Success: cluster management is paused\n"},
		"dsn":   {func(r *apiRig) error { return r.DSN(r.context(), Target{}) }, "host=10.0.0.1 port=5432\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newAPIRig(t, healthy())
			r.Console.Force = true
			r.agents(t, succeed)
			if err := c.do(r); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, r.out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func (r *apiRig) context() context.Context { return context.Background() }

func TestARefusalThroughTheAPIKeepsItsReason(t *testing.T) {
	r := newAPIRig(t, healthy())
	r.Console.Force = true
	r.agents(t, func(cluster.View, cluster.Request, *cluster.Failover) *cluster.Result {
		return &cluster.Result{Refused: true, Message: "switchover is not possible: pg2 is 48 MB behind"}
	})
	err := r.Switchover(t.Context(), SwitchoverOptions{Candidate: "pg2"})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "pg2 is 48 MB behind") {
		t.Errorf("got %v", err)
	}
}

func TestEditConfigThroughTheAPISendsOnlyWhatChanged(t *testing.T) {
	r := newAPIRig(t, healthy())
	r.Console.Force = true
	err := r.EditConfig(t.Context(), Edit{Editor: func(text string) (string, error) {
		r.put(t, "config", `{"ttl":10,"loop_wait":1,"retry_timeout":3,"postgresql":{"parameters":{"max_connections":100}}}`)
		return strings.Replace(text, "ttl: 10", "ttl: 20", 1), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"loop_wait":1,"postgresql":{"parameters":{"max_connections":100}},"retry_timeout":3,"ttl":20}`
	if diff := cmp.Diff(want, r.get(t, "config")); diff != "" {
		t.Errorf("both writers' changes stand (-want +got):\n%s", diff)
	}
}

func TestTheAPIsTroublesAreOneSentence(t *testing.T) {
	cases := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"no agent but some web server": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "is this an agent's REST API?"},
		"an agent without its store": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the store has not answered", http.StatusServiceUnavailable)
		}, "503 the store has not answered"},
		"a password is wanted": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "wants a user and password"},
		"not on the allowlist": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "add 10.0.0.9 to restapi.allowlist", http.StatusForbidden)
		}, "add 10.0.0.9 to restapi.allowlist"},
		"its agent is frozen":   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "its agent hangs, or its machine is cut off: choose another"},
		"the connection is cut": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "reach the agent at http://"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			api, err := NewAPI(server.URL, server.Client())
			if err != nil {
				t.Fatal(err)
			}
			api.patience = 100 * time.Millisecond
			_, err = api.Overview(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want ...%s...", err, c.want)
			}
		})
	}
}

func TestARefusalComesWithWhatToDoAboutIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Pgkeeper-Detail", "at 2030-01-01T00:00:00Z; DELETE /restart withdraws it")
		http.Error(w, "Another restart is already scheduled", http.StatusConflict)
	}))
	defer server.Close()
	api, err := NewAPI(server.URL, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	result, err := api.Failover(t.Context(), cluster.Failover{Leader: "pg1"})
	if want := "Another restart is already scheduled: at 2030-01-01T00:00:00Z; DELETE /restart withdraws it"; err != nil || !result.Refused || result.Message != want {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAPasswordInTheAddressIsUsedAndNotShown(t *testing.T) {
	var user, password string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	api, err := NewAPI(strings.Replace(server.URL, "http://", "http://ann:hunter2@", 1), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.Config(t.Context())
	if user != "ann" || password != "hunter2" {
		t.Errorf("sent %q and %q", user, password)
	}
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error shows the password: %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), `user "ann" or its password is wrong`) || !errors.Is(err, ErrRefused) {
		t.Errorf("a password that was given is not wanted once more: %v", err)
	}
}

func TestAddressesThatAreNoAgentAreRefused(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:8008", "etcd3://x", "http://", "://"} {
		if _, err := NewAPI(address, http.DefaultClient); err == nil {
			t.Errorf("%q was accepted", address)
		}
	}
}
