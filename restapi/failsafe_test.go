package restapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/peer"
)

// promising answers every question the same, and keeps the last.
func promising(a cluster.FailsafeAnswer, asked *cluster.FailsafeAsk) func(*Options) {
	return func(o *Options) {
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
		"a list asks":      {yes, `{"name":["pg-2"]}`, 400, `field "name" is ["pg-2"]: want a text`, ""},
		"no JSON":          {yes, `name`, 400, "the request body is not JSON: invalid character 'a' in literal null (expecting 'u')", ""},
		"nested for ever":  {yes, `{"name":"pg-2","slots":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, 400, "the request body nests deeper than 32 levels", ""},
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

// TestPatroniAsksByTheRulesThatPatroniHas: what is configured holds for it, and nothing
// else, so that a Patroni primary is not stopped for want of a rule.
func TestPatroniAsksByTheRulesThatPatroniHas(t *testing.T) {
	password := Access{Username: "u", Password: "p"}
	list := Access{Allowlist: []string{"10.0.1.0/24"}}
	for name, c := range map[string]struct {
		access Access
		asks   []func(*http.Request)
		code   int
		says   string
	}{
		"nothing configured, from elsewhere":        {Access{}, []func(*http.Request){from("10.9.9.9:1")}, 200, "Accepted"},
		"members included, from a stranger":         {Access{AllowlistIncludeMembers: true}, []func(*http.Request){from("10.9.9.9:1")}, 200, "Accepted"},
		"password right":                            {password, []func(*http.Request){from("10.9.9.9:1"), basic("u", "p")}, 200, "Accepted"},
		"password missing":                          {password, nil, 401, "restapi.authentication"},
		"password wrong":                            {password, []func(*http.Request){basic("u", "q")}, 401, "restapi.authentication"},
		"on the list":                               {list, []func(*http.Request){from("10.0.1.9:1")}, 200, "Accepted"},
		"outside the list":                          {list, []func(*http.Request){from("10.9.9.9:1")}, 403, "restapi.allowlist"},
		"a member beside the list":                  {Access{Allowlist: list.Allowlist, AllowlistIncludeMembers: true}, []func(*http.Request){from("10.0.0.2:1")}, 200, "Accepted"},
		"without the certificate that is asked for": {Access{VerifyClient: "optional"}, []func(*http.Request){overTLS(false)}, 403, "client certificate"},
		"with it":             {Access{VerifyClient: "optional"}, []func(*http.Request){overTLS(true)}, 200, "Accepted"},
		"another site's page": {Access{}, []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}, 403, "page of another site"},
	} {
		var asked cluster.FailsafeAsk
		n := newNode(t, standby(), promising(cluster.FailsafeAnswer{Verdict: cluster.FailsafeAccepted}, &asked), func(o *Options) { o.Access = c.access })
		w := n.ask(http.MethodPost, "/failsafe", `{"name":"pg-2"}`, c.asks...)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.says) || (asked.Name != "") != (c.code == 200) {
			t.Errorf("%s: %d %q, asked %+v, want %d with %q", name, w.Code, w.Body, asked, c.code, c.says)
		}
		if (c.code == 401) != strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: WWW-Authenticate is %q", name, w.Header().Get("WWW-Authenticate"))
		}
	}
}

// TestAnAgentAsksUnderTheNameItSignsWith: whatever its body says.
func TestAnAgentAsksUnderTheNameItSignsWith(t *testing.T) {
	var asked cluster.FailsafeAsk
	answer := cluster.FailsafeAnswer{Verdict: cluster.FailsafeAccepted}
	n := newNode(t, standby(), onSockets, promising(answer, &asked), func(o *Options) {
		o.Peers, o.Access = peer.NewVerifier(peerSelf(standby().Name, 1)), Access{Username: "u", Password: "p"} // its signature is enough
	})
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
