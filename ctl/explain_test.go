package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// candidate is an explanation with everything in it.
func candidate() cluster.Explanation {
	return cluster.Explanation{
		Scope: "batman", Member: "pg2", Verdict: "not a candidate: 48 MB behind, limit 1 MB", Reason: "not_a_candidate_behind", SinceMS: 3200,
		Why: "Nobody leads, but this member is further behind than allowed.", Next: "Bring a member that has more.", Detail: "50331648 bytes behind",
		Observed:  []cluster.Fact{{What: "lease", Value: "held by pg1"}, {What: "etcd", Value: "seen 0.3 s ago at revision 500"}, {What: "server", Value: "standby on timeline 3 at 0/5000000"}},
		ToPromote: []string{"48 MB behind, limit 1 MB"}, ToFollow: []string{"somebody must lead, and nobody holds the lease"},
	}
}

func TestAnExplanationIsReadAsAPage(t *testing.T) {
	old := candidate()
	old.AgeMS = 65_000
	down := candidate()
	down.Source, down.Decided, down.ToFollow = "the recording in /x", []string{"Renew", "PutStatus"}, nil
	for name, e := range map[string]cluster.Explanation{"explain": candidate(), "explain hung": old, "explain down": down} {
		r := newRig(t, nil)
		if err := r.Console.Explain(e); err != nil {
			t.Fatal(err)
		}
		golden(t, strings.ReplaceAll(name, " ", "_")+".txt", r.out.String())
	}
}

func TestAnExplanationForPrograms(t *testing.T) {
	for format, want := range map[Format]string{FormatJSON: `"reason": "not_a_candidate_behind"`, FormatYAML: "reason: not_a_candidate_behind", FormatTSV: "pg2\tnot_a_candidate_behind\t"} {
		r := newRig(t, nil)
		r.Console.Format = format
		if err := r.Console.Explain(candidate()); err != nil || !strings.Contains(r.out.String(), want) {
			t.Errorf("%s: %v: %s", format, err, r.out.String())
		}
	}
}

// explainers answers for the members of the fixture, but for those that are down.
func explainers(down ...string) ExplainOptions {
	return ExplainOptions{
		Words: func(r cluster.Reason) string { return "The reason is " + string(r) + "." },
		Ask: func(_ context.Context, apiURL string) (cluster.Explanation, error) {
			for _, d := range down {
				if strings.Contains(apiURL, d) {
					return cluster.Explanation{}, errors.New("connection refused")
				}
			}
			e := candidate()
			e.Member = strings.TrimSuffix(strings.TrimPrefix(apiURL, "http://"), ":8008/patroni")
			if e.Member == "pg1" {
				e.Verdict, e.Reason = "primary: it holds the lease under term 5", "leading"
			}
			return e, nil
		},
	}
}

func explainable(leader string) map[string]string {
	member := func(name, more string) string {
		return `{"conn_url":"postgres://` + name + `:5432/postgres","api_url":"http://` + name + `:8008/patroni","state":"running","role":"replica","version":"4.1.4"` + more + `}`
	}
	keys := map[string]string{"initialize": "7268616322854375442", "members/pg1": member("pg1", `,"pgkeeper":{"version":"1","node":"n","reason":"leading"}`), "members/pg2": member("pg2", "")}
	if leader != "" {
		keys["leader"] = leader
	}
	return keys
}

func TestAClusterIsExplainedInOneLineEach(t *testing.T) {
	cases := []struct {
		name, leader, want string
		down               []string
	}{
		{"a primary", "pg1", "batman: pg1 is the primary\n" +
			"  pg1  primary: it holds the lease under term 5  [leading, for 3.2 s]\n" +
			"  pg2  not a candidate: 48 MB behind, limit 1 MB  [not_a_candidate_behind, for 3.2 s]\n", nil},
		{"its agent does not answer", "pg1", "batman: pg1 holds the lease, and its agent does not answer: if it died, the lease runs out within ttl; pg2 sees it held by pg1\n" +
			"  pg1  its agent does not answer; it said last: The reason is leading  [leading]\n", []string{"pg1"}},
		{"it is not primary yet", "pg2", "batman: no primary (the leader key names pg2): not a candidate", nil},
		{"it has no key", "pg9", "batman: pg9 holds the lease, but its agent has no key in the store", nil},
		{"nobody", "", "batman: no primary: the lease has run out", nil},
	}
	for _, c := range cases {
		r := newRig(t, explainable(c.leader))
		if err := r.ExplainCluster(t.Context(), explainers(c.down...)); err != nil {
			t.Fatal(err)
		}
		if got := r.out.String(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s", c.name, cmp.Diff(c.want, got))
		}
	}
	r := newRig(t, explainable("pg1"))
	r.Console.Format = FormatJSON
	if err := r.ExplainCluster(t.Context(), explainers()); err != nil || !json.Valid(r.out.Bytes()) {
		t.Errorf("%v: %s", err, r.out.String())
	}
}

func TestAMemberIsExplainedByItselfOrByItsKey(t *testing.T) {
	r := newRig(t, explainable("pg1"))
	if err := r.ExplainMember(t.Context(), "pg1", explainers("pg1")); err != nil || !strings.Contains(r.out.String(), "its agent does not answer; it said last: The reason is leading") {
		t.Errorf("%v: %s", err, r.out.String())
	}
	if err := r.ExplainMember(t.Context(), "pg7", explainers()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "there is pg1 and pg2") {
		t.Errorf("an unknown member: %v", err)
	}
}

func TestAnAgentIsAskedToExplainItself(t *testing.T) {
	code, body := 200, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != explainPath {
			t.Errorf("%s was asked for", r.URL.Path)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	api, err := NewAPI(server.URL, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(candidate())
	body = string(raw)
	for _, of := range []string{"", server.URL + "/patroni"} {
		if e, err := api.Explanation(t.Context(), of); err != nil || cmp.Diff(candidate(), e) != "" {
			t.Errorf("%q: %v %+v", of, err, e)
		}
	}
	for c, want := range map[int]string{501: "older pgkeeper", 503: "503", 200: "cannot be read"} {
		code, body = c, "nothing"
		if _, err := api.Explanation(t.Context(), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %s", c, err, want)
		}
	}
}
