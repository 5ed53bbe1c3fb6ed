package restapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

var update = flag.Bool("update", false, "write the golden files")

// TestAnswersOfGet holds the JSON of every read path; the files are what a
// Patroni tool reads.
func TestAnswersOfGet(t *testing.T) {
	busy := standby(func(s *cluster.Status) {
		s.Settings.Pause, s.Settings.SynchronousMode = true, "on"
		s.View.Value.Sync = &cluster.Sync{Leader: "pg-1", SyncStandby: "pg-2"}
		s.View.Value.Failover = &cluster.Failover{Leader: "pg-1", Member: "pg-2", ScheduledAt: "2026-01-02T03:00:00+00:00"}
		s.View.Value.Problems = []string{"key status: not JSON"}
		s.View = s.View.Failed("etcd: no leader", present)
		s.PendingRestart = map[string]cluster.PendingReason{"max_connections": {Old: "100", New: "200"}}
		s.ScheduledRestart = &cluster.RestartArgs{Schedule: "2026-01-02T04:00:00+00:00", RestartPending: true}
		s.Job, s.Progress, s.ConfigError = "rewind", "pg_rewind 43%, 12s left", "ttl: \"x\" is no number"
	})
	cases := []struct {
		name   string
		status *cluster.Status
		path   string
		code   int
	}{
		{"primary", primary(), "/patroni", 200},
		{"standby", standby(), "/patroni", 200},
		{"standby with much to say", busy, "/patroni", 200},
		{"server that could not be looked at", primary(func(s *cluster.Status) { s.Node = s.Node.Failed("probe timed out", present) }), "/patroni", 200},
		{"standby that is no candidate", standby(func(s *cluster.Status) { s.Reason, s.NoCandidate = "not_a_candidate_behind", true }), "/patroni", 200},
		{"standby that has yet to read its own wal where patroni runs members", standby(func(s *cluster.Status) { s.Node.Value.EndKnown = false }), "/patroni", 200},
		{"server down", standby(func(s *cluster.Status) { s.State, s.Node.Value.Mode = cluster.StateStopped, cluster.ModeStopped }), "/patroni", 200},
		{"nothing known", nil, "/patroni", 200},
		{"unknown path", primary(), "/no/such/path", 503},
		{"cluster", primary(), "/cluster", 200},
		{"cluster with much to say", busy, "/cluster", 200},
		{"cluster unknown", nil, "/cluster", 503},
		{"history", primary(), "/history", 200},
		{"history empty", nil, "/history", 200},
		{"config", primary(), "/config", 200},
		{"config unknown", nil, "/config", 502},
		{"failsafe off", primary(), "/failsafe", 502},
		{"failsafe", primary(func(s *cluster.Status) {
			s.View.Value.Failsafe = map[string]string{"pg-1": "http://10.0.0.1:8008/patroni"}
		}), "/failsafe", 200},
		{"metrics missing", primary(), "/metrics", 501},
		{"own paths", primary(), "/pgkeeper/other", 501},
		{"explain nothing yet", primary(), "/pgkeeper/explain", 503},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newNode(t, c.status).ask(http.MethodGet, c.path, "")
			if w.Code != c.code {
				t.Errorf("GET %s: %d, want %d", c.path, w.Code, c.code)
			}
			golden(t, strings.ReplaceAll(c.name, " ", "-"), w.Body.Bytes())
		})
	}
}

// golden compares an answer with its file, JSON indented for the reader.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	var pretty bytes.Buffer
	if json.Indent(&pretty, got, "", "  ") != nil {
		pretty.Reset()
		pretty.Write(got)
	}
	pretty.WriteByte('\n')
	if *update {
		if err := os.WriteFile(file, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestTheExplanationIsHandedOver(t *testing.T) {
	n := newNode(t, primary(), func(o *Options) {
		o.Explain = func() *cluster.Explanation {
			return &cluster.Explanation{Scope: "batman", Member: "pg-1", Verdict: "primary", Reason: "leading", Why: "It leads.", Next: "Nothing to do.",
				SinceMS: 1500, Observed: []cluster.Fact{{What: "server", Value: "primary on timeline 3"}}, ToFollow: []string{"it holds the lease itself"}}
		}
	})
	w := n.ask(http.MethodGet, "/pgkeeper/explain", "")
	if w.Code != 200 {
		t.Errorf("GET /pgkeeper/explain: %d", w.Code)
	}
	golden(t, "explain", w.Body.Bytes())
}

func TestMetricsAreHandedOver(t *testing.T) {
	n := newNode(t, primary(), func(o *Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeText(w, 200, "pgkeeper_term 42\n") })
	})
	if w := n.ask(http.MethodGet, "/metrics", ""); w.Code != 200 || w.Body.String() != "pgkeeper_term 42\n" {
		t.Errorf("GET /metrics: %d %q", w.Code, w.Body)
	}
}

func TestConfiguredHeadersAreOnEveryAnswer(t *testing.T) {
	n := newNode(t, primary(), func(o *Options) {
		o.ServerTokens = "minimal"
		o.ExtraHeaders = map[string]string{"x-frame-options": "DENY"}
		o.ExtraHeadersTLS = map[string]string{"Strict-Transport-Security": "max-age=1"}
	})
	for _, path := range []string{"/primary", "/cluster", "/nowhere"} {
		h := n.ask(http.MethodGet, path, "").Header()
		if h.Get("Server") != "pgkeeper/0.0.1" || h.Get("X-Frame-Options") != "DENY" || h.Get("Strict-Transport-Security") != "" {
			t.Errorf("GET %s: headers %v", path, h)
		}
		if h := n.ask(http.MethodGet, path, "", overTLS(false)).Header(); h.Get("Strict-Transport-Security") != "max-age=1" {
			t.Errorf("GET %s over TLS: headers %v", path, h)
		}
	}
}

func TestAReadNeverBlocksOnTheOperator(t *testing.T) {
	n := newNode(t, primary(), operated(&operator{silent: true}), func(o *Options) { o.WaitLimit = time.Hour })
	for path := range n.reads() {
		if path != "/metrics" {
			n.ask(http.MethodGet, path, "")
		}
	}
}
