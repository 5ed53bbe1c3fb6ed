package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fakeAgent answers as an agent whose member is name in a cluster of two.
func fakeAgent(t *testing.T, name string, more http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/patroni", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"patroni":{"name":%q}}`, name) })
	mux.HandleFunc("/", more)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

const twoMembers = `{"scope":"batman","members":[{"name":"pg1","role":"leader","state":"running","host":"10.0.0.1","port":5432},
 {"name":"pg2","role":"replica","state":"streaming","host":"10.0.0.2","port":5432}]}`

func TestHealthcheckAsksTheAgentHereForWhatIsWanted(t *testing.T) {
	var asked string
	status := http.StatusOK
	api := fakeAgent(t, "pg1", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		args   []string
		path   string
		status int
		code   int
	}{
		{nil, "/liveness", 200, 0},
		{[]string{"--role", "primary"}, "/primary", 200, 0},
		{[]string{"--role", "replica", "--max-lag", "16MB"}, "/replica?lag=16MB", 200, 0},
		{[]string{"--role", "any"}, "/read-only", 503, 1},
		{[]string{"--role", "replica"}, "/replica", 503, 1},
	} {
		status = c.status
		got := try{args: append([]string{"healthcheck", "--api", api}, c.args...)}.run(t)
		if got.code != c.code || asked != c.path {
			t.Errorf("healthcheck %v asked %s, exit code %d (%s); want %s and %d", c.args, asked, got.code, got.errOut, c.path, c.code)
		}
	}
	for _, args := range [][]string{{"--role", "leader"}, {"--role", "primary", "--max-lag", "1MB"}} {
		if got := (try{args: append([]string{"healthcheck", "--api", api}, args...)}).run(t); got.code != 2 {
			t.Errorf("healthcheck %v: exit code %d, want 2", args, got.code)
		}
	}
	if got := (try{args: []string{"healthcheck", "--api", "http://127.0.0.1:1"}}).run(t); got.code != 1 {
		t.Errorf("an agent that does not answer is exit code %d, want 1", got.code)
	}
}

func TestHealthcheckNeedsNoMoreThanTheEnvironmentOfAContainer(t *testing.T) {
	api := fakeAgent(t, "pg1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	_, port, _ := strings.Cut(strings.TrimPrefix(api, "http://"), ":")
	got := try{args: []string{"healthcheck"}, env: []string{"PGKEEPER_SCOPE=demo", "PGKEEPER_RESTAPI_LISTEN=0.0.0.0:" + port}}.run(t)
	if got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.errOut)
	}
}

func TestPrestopGivesThePrimaryAwayAndLeavesAStandbyAlone(t *testing.T) {
	var asked []string
	answer := `Successfully switched over to "pg2"`
	status := http.StatusOK
	more := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			var body map[string]string
			_ = json.NewDecoder(r.Body).Decode(&body)
			asked = append(asked, r.URL.Path+" from "+body["leader"])
			w.WriteHeader(status)
			fmt.Fprint(w, answer)
		case r.URL.Path == "/cluster":
			fmt.Fprint(w, twoMembers)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	primary, standby := fakeAgent(t, "pg1", more), fakeAgent(t, "pg2", more)

	if got := (try{args: []string{"prestop", "--api", standby}}).run(t); got.code != 0 || len(asked) != 0 {
		t.Errorf("on a standby: exit code %d, %s, asked %v", got.code, got.errOut, asked)
	}
	if got := (try{args: []string{"prestop", "--api", primary}}).run(t); got.code != 0 || !strings.Contains(got.out, "pg2 is the primary now") {
		t.Errorf("on the primary: exit code %d, %q %s", got.code, got.out, got.errOut)
	}
	if len(asked) != 1 || asked[0] != "/switchover from pg1" {
		t.Errorf("asked %v, want one switchover from pg1", asked)
	}
	answer, status = "Switchover failed", http.StatusServiceUnavailable
	if got := (try{args: []string{"prestop", "--api", primary}}).run(t); got.code != 1 || !strings.Contains(got.errOut, "Switchover failed") {
		t.Errorf("a switchover that failed: exit code %d, %s", got.code, got.errOut)
	}
}

func TestPrestopMovesNothingInAPausedCluster(t *testing.T) {
	api := fakeAgent(t, "pg1", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			t.Errorf("asked for %s", r.URL.Path)
		}
		fmt.Fprint(w, strings.Replace(twoMembers, `{"scope"`, `{"pause":true,"scope"`, 1))
	})
	if got := (try{args: []string{"prestop", "--api", api}}).run(t); got.code != 0 || !strings.Contains(got.out, "paused") {
		t.Errorf("exit code %d, %q %s", got.code, got.out, got.errOut)
	}
}

func TestLabelSaysWhereItIsMeantToRun(t *testing.T) {
	if got := (try{args: []string{"label"}, env: []string{"PGKEEPER_SCOPE=demo"}}).run(t); got.code != 1 || !strings.Contains(got.errOut, "no pod of Kubernetes") {
		t.Errorf("exit code %d, %s", got.code, got.errOut)
	}
}
