package restapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/peer"
)

// promising answers every question the same, and keeps the last.
func promising(a cluster.FailsafeAnswer, asked *cluster.FailsafeAsk) func(*Options) {
	return func(o *Options) {
		o.Access = Access{Username: "u", Password: "p"} // Patroni asks without them
		o.Failsafe = func(_ context.Context, ask cluster.FailsafeAsk) cluster.FailsafeAnswer { *asked = ask; return a }
	}
}

func TestPatroniIsAnsweredAsPatroniAnswers(t *testing.T) {
	yes := cluster.FailsafeAnswer{Verdict: cluster.FailsafeAccepted, LSN: 67109184}
	no := func(v cluster.FailsafeVerdict) cluster.FailsafeAnswer {
		return cluster.FailsafeAnswer{Verdict: v, Why: "because"}
	}
	const body = `{"name":"pg-2","conn_url":"postgres://10.0.0.2/postgres","api_url":"http://10.0.0.2:8008/patroni","slots":{"pg_1":67109184}}`
	for name, c := range map[string]struct {
		answer cluster.FailsafeAnswer
		body   string
		code   int
		says   string
		lsn    string
	}{
		"accepted":         {yes, body, 200, "Accepted", "67109184"},
		"mode off":         {no(cluster.FailsafeOff), body, 502, "because", ""},
		"a primary itself": {no(cluster.FailsafePrimary), body, 500, "because", ""},
		"a stranger":       {no(cluster.FailsafeForeign), body, 403, "because", ""},
		"another leads":    {no(cluster.FailsafeConflict), body, 409, "because", ""},
		"the disk is full": {no(cluster.FailsafeUnkept), body, 503, "because", ""},
		"nobody answers":   {cluster.FailsafeAnswer{Why: "late"}, body, 503, "late", ""},
		"nobody asks":      {yes, `{}`, 400, "want a JSON object with name", ""},
		"no JSON":          {yes, `name`, 400, "want a JSON object with name", ""},
	} {
		var asked cluster.FailsafeAsk
		w := newNode(t, standby(), promising(c.answer, &asked)).ask(http.MethodPost, "/failsafe", c.body)
		if w.Code != c.code || w.Body.String() != c.says || w.Header().Get("lsn") != c.lsn {
			t.Errorf("%s: %d %q lsn %q, want %d %q %q", name, w.Code, w.Body, w.Header().Get("lsn"), c.code, c.says, c.lsn)
		}
		if want := (cluster.FailsafeAsk{Name: "pg-2", TTL: standby().Settings.TTL}); c.code == 200 && asked != want {
			t.Errorf("%s: %s", name, cmp.Diff(want, asked))
		}
	}
	if w := newNode(t, standby()).ask(http.MethodPost, "/failsafe", body); w.Code != 503 {
		t.Errorf("nobody to ask: %d", w.Code)
	}
}

// TestAnAgentAsksUnderTheNameItSignsWith: whatever its body says.
func TestAnAgentAsksUnderTheNameItSignsWith(t *testing.T) {
	var asked cluster.FailsafeAsk
	answer := cluster.FailsafeAnswer{Verdict: cluster.FailsafeAccepted}
	n := newNode(t, standby(), onSockets, promising(answer, &asked), func(o *Options) { o.Peers = peer.NewVerifier(peerSelf(standby().Name, 1)) })
	server := httptest.NewServer(n)
	defer server.Close()
	client := peer.NewClient(peerSelf("other", 1), http.DefaultTransport)
	a, err := client.Post(t.Context(), standby().Name, server.URL, "/pgkeeper/failsafe", []byte(`{"name":"liar","term":7,"ttl_ms":5000}`))
	want := cluster.FailsafeAsk{Name: "other", Term: 7, TTL: 5 * time.Second}
	if err != nil || a.Code != 200 || string(a.Body) != cluster.FailsafeText || asked != want {
		t.Fatalf("%d %s, %v, asked %+v, want %+v", a.Code, a.Body, err, asked, want)
	}
	asked = cluster.FailsafeAsk{}
	for _, body := range []string{"", "[]", `{"ttl_ms":5000}`} { // without a term it would be Patroni's question
		if a, err := client.Post(t.Context(), standby().Name, server.URL, "/pgkeeper/failsafe", []byte(body)); err != nil || a.Code != 400 || asked.Name != "" {
			t.Errorf("%q: %d %s, %v, asked %+v", body, a.Code, a.Body, err, asked)
		}
	}
}

// TestAQuestionHasABound: a loop that hangs does not hold the asker past all deadlines.
func TestAQuestionHasABound(t *testing.T) {
	n := newNode(t, standby(), func(o *Options) {
		o.Failsafe = func(ctx context.Context, _ cluster.FailsafeAsk) cluster.FailsafeAnswer {
			if until, ok := ctx.Deadline(); !ok || time.Until(until) > failsafeWait {
				t.Error("the question has no bound")
			}
			return cluster.FailsafeAnswer{}
		}
	})
	n.ask(http.MethodPost, "/failsafe", `{"name":"pg-2"}`)
}
