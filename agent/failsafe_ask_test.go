package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/peer"
)

// TestPatroniMembersAreAskedInPatronisWay: by their own path and body, and whatever is
// not their whole answer is no promise.
func TestPatroniMembersAreAskedInPatronisWay(t *testing.T) {
	var mu sync.Mutex
	var body map[string]any
	server := func(code int, text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var sent map[string]any
			if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if r.URL.Path != "/failsafe" || r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&sent) != nil {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			mu.Lock()
			body = sent
			mu.Unlock()
			w.WriteHeader(code)
			fmt.Fprint(w, text)
		}))
		t.Cleanup(s.Close)
		return s.URL + "/patroni"
	}
	p := newPeers("pg1", nil, nil, http.DefaultTransport, nil)
	own := &config.Config{}
	own.Ctl.Authentication = config.Credentials{Username: "u", Password: "p"}
	p.login = func() peer.Login { return login(own) }
	p.seen.Store(&cluster.Member{Name: "pg1", ConnURL: "postgres://h1:5432/postgres", APIURL: "http://h1:8008/patroni"})
	got := map[string]cluster.FailsafeVerdict{}
	p.Ask(t.Context(), cluster.FailsafeAsk{Name: "pg1", Term: 7, TTL: time.Second}, []election.FailsafePeer{
		{Name: "yes", URL: server(200, "Accepted")}, {Name: "a page", URL: server(200, "<html>")}, {Name: "no", URL: server(500, "Running as a leader")},
		{Name: "nowhere", URL: "ftp://x/y"},
	}, func(name string, a cluster.FailsafeAnswer, err error) bool {
		if got[name] = a.Verdict; err != nil {
			got[name] = "error"
		}
		return false
	})
	want := map[string]cluster.FailsafeVerdict{"yes": cluster.FailsafeAccepted, "a page": cluster.FailsafeConflict, "no": cluster.FailsafeConflict, "nowhere": "error"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"name": "pg1", "conn_url": "postgres://h1:5432/postgres", "api_url": "http://h1:8008/patroni", "slots": map[string]any{}}, body); d != "" {
		t.Error(d)
	}
}

// TestEnoughAnswersAreNotHeldUpByASilentMember: a dead replica costs a quorum no time.
func TestEnoughAnswersAreNotHeldUpByASilentMember(t *testing.T) {
	hang := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(hang)
	quick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, cluster.FailsafeText) }))
	defer quick.Close()
	p := newPeers("pg1", nil, nil, http.DefaultTransport, nil)
	var heard []string
	p.Ask(t.Context(), cluster.FailsafeAsk{Name: "pg1"}, []election.FailsafePeer{{Name: "dead", URL: silent.URL}, {Name: "quick", URL: quick.URL}},
		func(name string, _ cluster.FailsafeAnswer, _ error) bool {
			heard = append(heard, name)
			return name == "quick"
		})
	if d := cmp.Diff([]string{"quick"}, heard); d != "" {
		t.Error(d)
	}
}

// TestAgentsAreAskedSigned: an agent that has another key hears nothing, and what it
// says counts for nothing.
func TestAgentsAreAskedSigned(t *testing.T) {
	secret := make([]byte, 32)
	self := func(name string) peer.Self {
		return peer.Self{Name: name, Secret: func() []byte { return secret }, Term: func() cluster.Term { return 7 }}
	}
	verifier := peer.NewVerifier(self("pg2"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := []byte(`{"term":7,"ttl_ms":5000}`)
		from, refusal := verifier.Verify(r, body)
		if refusal != nil {
			refusal.Challenge(w.Header())
			w.WriteHeader(refusal.Code)
			return
		}
		verifier.SignAnswer(w.Header(), from, http.StatusOK, []byte(cluster.FailsafeText))
		fmt.Fprint(w, cluster.FailsafeText)
	}))
	defer server.Close()
	p := newPeers("pg1", nil, nil, http.DefaultTransport, nil)
	p.client = peer.NewClient(self("pg1"), http.DefaultTransport)
	to := election.FailsafePeer{Name: "pg2", URL: server.URL + "/patroni", Keeper: true}
	ask := cluster.FailsafeAsk{Name: "pg1", Term: 7, TTL: 5 * time.Second}
	if a, err := p.askKeeper(t.Context(), ask, to); err != nil || a.Verdict != cluster.FailsafeAccepted {
		t.Errorf("%+v, %v", a, err)
	}
	other := make([]byte, 32)
	other[0] = 1
	p.client = peer.NewClient(peer.Self{Name: "pg1", Secret: func() []byte { return other }, Term: func() cluster.Term { return 7 }}, http.DefaultTransport)
	if a, err := p.askKeeper(t.Context(), ask, to); err == nil || a.Verdict == cluster.FailsafeAccepted {
		t.Errorf("with another key: %+v, %v", a, err)
	}
}

func TestAQuestionIsAnsweredByTheLoopOrNotAtAll(t *testing.T) {
	q := &questions{}
	got := q.put(t.Context(), func(_ context.Context, e Event) {
		asked, _ := e.(FailsafeAsked)
		q.answer(asked.ID+1, cluster.FailsafeAnswer{Verdict: cluster.FailsafeOff}) // of another
		q.answer(asked.ID, cluster.FailsafeAnswer{Verdict: cluster.FailsafeAccepted})
		q.answer(asked.ID, cluster.FailsafeAnswer{Verdict: cluster.FailsafeOff}) // too late
	}, cluster.FailsafeAsk{Name: "pg2"})
	if got.Verdict != cluster.FailsafeAccepted {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := q.put(ctx, func(context.Context, Event) {}, cluster.FailsafeAsk{}); got.Verdict != cluster.FailsafeNone || len(q.waiting) != 0 {
		t.Errorf("%+v, %d still wait", got, len(q.waiting))
	}
}
