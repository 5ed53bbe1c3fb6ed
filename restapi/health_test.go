package restapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The paths that are 200 together.
const (
	primaryPaths = "/ /primary /read-write /master "
	leaderPaths  = primaryPaths + "/leader "
	readPaths    = "/read-only /read-only-sync /read-only-synchronous /read-only-quorum "
	replicaPaths = "/replica /read-only "
	asyncPaths   = "/asynchronous /async "
	probes       = "/health /liveness /readiness "
)

// TestEveryHealthPathInEverySituation asks every path in every situation with
// GET, HEAD and OPTIONS; passing lists what answers 200, all else is 503.
func TestEveryHealthPathInEverySituation(t *testing.T) {
	type change = func(*cluster.Status)
	node := func(f func(*cluster.NodeState)) change {
		return func(s *cluster.Status) { f(&s.Node.Value) }
	}
	sync := func(mode string) change {
		return func(s *cluster.Status) {
			s.Settings.SynchronousMode = mode
			s.View.Value.Sync = &cluster.Sync{Leader: "pg-1", SyncStandby: "PG-2,pg-9"}
		}
	}
	cases := []struct {
		name    string
		status  *cluster.Status
		passing string
	}{
		{"nothing is known yet", nil, "/liveness"},
		{"a primary with a valid lease", primary(), leaderPaths + readPaths + probes},
		{"a primary whose lease expired", primary(func(s *cluster.Status) { s.LeaseUntil = present }), "/health /liveness"},
		{"a primary without a term", primary(func(s *cluster.Status) { s.Term = 0 }), "/health /liveness"},
		{"a primary that could not be looked at", primary(func(s *cluster.Status) { s.Node = s.Node.Failed("timeout", present) }), "/leader /liveness"},
		{"a leader not yet promoted", standby(func(s *cluster.Status) {
			s.Term, s.LeaseUntil, s.Node.Value.Receiver = 43, present.Add(time.Second), nil
		}), "/leader " + replicaPaths + asyncPaths + "/health /liveness"},
		{"a leader whose crashed server restarts", primary(node(func(n *cluster.NodeState) { n.Mode = cluster.ModeStarting })), "/leader /liveness"},
		{"a streaming replica", standby(), replicaPaths + asyncPaths + probes},
		{"a replica that lags more than maximum_lag_on_failover", standby(node(func(n *cluster.NodeState) { n.ReplayLSN = 0x1000000 })), replicaPaths + asyncPaths + "/health /liveness"},
		{"a replica without a receiver", standby(node(func(n *cluster.NodeState) { n.Receiver = nil })), replicaPaths + asyncPaths + "/health /liveness"},
		{"a replica tagged noloadbalance", standby(func(s *cluster.Status) { s.Tags = cluster.Tags{"noloadbalance": true} }), probes},
		{"a synchronous standby", standby(sync("on")), replicaPaths + "/synchronous /sync /read-only-sync /read-only-synchronous " + probes},
		{"a voter of a quorum", standby(sync("quorum")), replicaPaths + "/quorum /read-only-quorum " + probes},
		{"a synchronous standby that has not seen the store for ttl", standby(sync("on"), func(s *cluster.Status) { s.View.At = instant(11 * time.Second) }), replicaPaths + "/health /liveness"},
		{"a replica that cannot see the store", standby(func(s *cluster.Status) { s.View = s.View.Failed("no etcd", present) }), replicaPaths + "/health /liveness"},
		{"a replica that never saw the store", standby(func(s *cluster.Status) { s.View = cluster.Observed[cluster.View]{} }), replicaPaths + "/health /liveness"},
		{"a primary without a view", primary(func(s *cluster.Status) { s.View = cluster.Observed[cluster.View]{} }), leaderPaths + readPaths + probes},
		{"a server that is down", standby(node(func(n *cluster.NodeState) { n.Mode = cluster.ModeStopped }), func(s *cluster.Status) { s.State = cluster.StateStopped }), "/liveness"},
		{"a replica whose loop hangs", standby(func(s *cluster.Status) { s.LoopAt = instant(time.Minute) }), ""},
		{"a primary whose loop hangs within its lease", primary(func(s *cluster.Status) { s.LoopAt = instant(13 * time.Second) }), leaderPaths + readPaths + "/health /readiness"},
		{"a paused primary with its lease", primary(func(s *cluster.Status) { s.Settings.Pause = true }), leaderPaths + readPaths + probes},
		{"a paused primary without its lease", primary(func(s *cluster.Status) { s.Settings.Pause, s.Term = true, 0 }), "/health /liveness"},
		{"a paused node whose loop hangs", standby(func(s *cluster.Status) { s.Settings.Pause, s.LoopAt = true, instant(time.Hour) }), "/liveness"},
		{"a leader of a standby cluster", standby(func(s *cluster.Status) {
			s.Role, s.Term, s.LeaseUntil = cluster.RoleStandbyLeader, 43, present.Add(time.Second)
		}), "/leader /standby-leader /standby_leader /read-only " + probes},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, c.status)
			paths := append(slices.Sorted(maps.Keys(n.health)), "/liveness")
			passing := []string{}
			for _, path := range paths {
				code := n.ask(http.MethodGet, path, "").Code
				for _, method := range readMethods {
					if w := n.ask(method, path, ""); w.Code != code {
						t.Errorf("%s %s: %d, but GET %d", method, path, w.Code, code)
					}
				}
				switch code {
				case http.StatusOK:
					passing = append(passing, path)
				case http.StatusServiceUnavailable:
				default:
					t.Errorf("GET %s: %d", path, code)
				}
			}
			want := strings.Fields(c.passing)
			slices.Sort(want)
			slices.Sort(passing)
			if diff := cmp.Diff(want, passing); diff != "" {
				t.Errorf("paths with 200 (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnExpiredLeaseTurnsPrimaryOffWithoutANewStatus(t *testing.T) {
	n := newNode(t, primary())
	steps := []struct {
		advance time.Duration
		code    int
		left    float64
	}{
		{0, http.StatusOK, 5000},
		{5*time.Second - time.Millisecond, http.StatusOK, 1},
		{time.Millisecond, http.StatusServiceUnavailable, 0},
		{time.Hour, http.StatusServiceUnavailable, 0},
	}
	for _, step := range steps {
		n.advance(step.advance)
		w := n.ask(http.MethodGet, "/primary", "")
		if w.Code != step.code {
			t.Errorf("after %s more: %d, want %d", step.advance, w.Code, step.code)
		}
		if left := keeper(t, w.Body.Bytes())["lease_ms_left"]; left != step.left {
			t.Errorf("after %s more: lease_ms_left %v, want %v", step.advance, left, step.left)
		}
	}
}

func TestANewStatusIsAnsweredAtOnce(t *testing.T) {
	n := newNode(t, primary())
	n.ask(http.MethodGet, "/primary", "")
	n.status.Store(standby())
	w := n.ask(http.MethodGet, "/primary", "")
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"role":"replica"`) {
		t.Errorf("after the status changed: %d %s", w.Code, w.Body)
	}
}

func TestQueriesNarrowAHealthCheck(t *testing.T) {
	unknown := func(s *cluster.Status) {
		s.View.Value.Status, s.Node.Value.Receiver = nil, nil
	}
	pooler := func(state cluster.PoolerState) func(*cluster.Status) {
		return func(s *cluster.Status) { s.Pooler = state }
	}
	cases := []struct {
		name   string
		status *cluster.Status
		target string
		code   int
	}{
		{"a lag as large as allowed passes", standby(), "/replica?lag=256", 200},
		{"a lag one byte larger fails", standby(), "/replica?lag=255", 503},
		{"a lag in kB", standby(), "/replica?lag=1kB", 200},
		{"a lag in MB with a space", standby(), "/replica?lag=16%20MB", 200},
		{"no lag at all is too little", standby(), "/replica?lag=0", 503},
		{"a lag that is no size is refused", standby(), "/replica?lag=16XB", 400},
		{"a negative lag is refused", standby(), "/replica?lag=-1", 400},
		{"an empty lag is refused", standby(), "/replica?lag=", 400},
		{"a lag nobody knows is too much", standby(unknown), "/replica?lag=1GB", 503},
		{"the published position counts where the receiver is behind", standby(func(s *cluster.Status) {
			s.View.Value.Status = &cluster.Positions{Optime: 0x5000000}
		}), "/replica?lag=1MB", 503},
		{"the receiver's news count where the published position is old", standby(func(s *cluster.Status) {
			s.Node.Value.Receiver = &cluster.Receiver{Status: "streaming", Latest: 0x5000000}
		}), "/replica?lag=1MB", 503},
		{"an old published position without a stream is no news", standby(func(s *cluster.Status) {
			s.Node.Value.Receiver, s.View.At = nil, instant(time.Minute)
		}), "/replica?lag=1GB", 503},
		{"lag does not matter to a primary's path", primary(), "/primary?lag=x&tag_a=b", 200},
		{"lag does not matter to a primary that is read from", primary(), "/read-only?lag=1", 200},
		{"a position that was replayed", standby(), "/replica?min_lsn=0/4000000", 200},
		{"a position that was not", standby(), "/replica?min_lsn=0/4000001", 503},
		{"a position for whoever can be read from", standby(), "/read-only?min_lsn=0/4000001", 503},
		{"a position does not matter to a primary", primary(), "/read-only?min_lsn=F/0", 200},
		{"a position that is none is refused", standby(), "/replica?min_lsn=4000000", 400},
		{"a lag in time that nobody has measured is too much", standby(), "/replica?lag_time=1h", 503},
		{"a lag in time that is no time is refused", standby(), "/replica?lag_time=soon", 400},
		{"a negative lag in time is refused", standby(), "/replica?lag_time=-1s", 400},
		{"a tag that matches", standby(), "/replica?tag_zone=eu&tag_clonefrom=true&tag_weight=100", 200},
		{"a tag with another value", standby(), "/replica?tag_zone=us", 503},
		{"a tag that is not set", standby(), "/replica?tag_rack=1", 503},
		{"a tag asked for twice with two values", standby(), "/replica?tag_zone=eu&tag_zone=us", 503},
		{"a tag narrows asynchronous", standby(), "/async?tag_zone=us", 503},
		{"a tag narrows health", standby(), "/health?tag_zone=us", 503},
		{"a tag narrows a primary that is read from", primary(), "/read-only?tag_zone=eu", 503},
		{"a replication state that matches", standby(), "/replica?replication_state=streaming", 200},
		{"a replication state that does not", standby(), "/replica?replication_state=in+archive+recovery", 503},
		{"archive recovery", standby(func(s *cluster.Status) {
			s.Node.Value.Receiver = nil
			s.Settings.PostgreSQL.RecoveryConf = map[string]string{"restore_command": "cp %f %p"}
		}), "/replica?replication_state=in+archive+recovery", 200},
		{"readiness by replay", standby(), "/readiness?lag=255", 503},
		{"readiness by what was written", standby(), "/readiness?lag=255&mode=write", 200},
		{"readiness in a mode there is not", standby(), "/readiness?mode=flush", 400},
		{"readiness of a pooler that serves", standby(pooler(cluster.PoolerServing)), "/readiness?pooler=serving", 200},
		{"of one that holds", standby(pooler(cluster.PoolerHolding)), "/readiness?pooler=serving", 503},
		{"of a primary beside one that is lost", primary(pooler(cluster.PoolerLost)), "/readiness?pooler=serving", 503},
		{"of none", primary(), "/readiness?pooler=serving", 503},
		{"a pooler that nobody asked about", primary(pooler(cluster.PoolerHolding)), "/readiness", 200},
		{"a state of the pooler there is not", primary(), "/readiness?pooler=paused", 400},
		{"readiness without a limit on lag", standby(func(s *cluster.Status) {
			s.Settings.MaximumLagOnFailover, s.Node.Value.ReplayLSN = -1, 1
		}), "/readiness", 200},
		{"a query that is none is refused", standby(), "/replica?%zz", 400},
		{"a trailing slash", standby(), "/replica/", 200},
		{"a path that only contains a known one", primary(), "/primary-node", 503},
		{"a path nobody knows", primary(), "/whatever/else", 503},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if w := newNode(t, c.status).ask(http.MethodGet, c.target, ""); w.Code != c.code {
				t.Errorf("GET %s: %d %s, want %d", c.target, w.Code, w.Body, c.code)
			}
		})
	}
}

func TestLivenessFollowsTheLoop(t *testing.T) {
	cases := []struct {
		name   string
		status *cluster.Status
		after  time.Duration
		code   int
	}{
		{"a primary just in time", primary(), 11 * time.Second, 200},
		{"a primary too late", primary(), 11*time.Second + time.Millisecond, 503},
		{"a standby just in time", standby(), 21 * time.Second, 200},
		{"a standby too late", standby(), 21*time.Second + time.Millisecond, 503},
		{"a start just in time", nil, 22 * time.Second, 200},
		{"a start that never gets anywhere", nil, 23 * time.Second, 503},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, c.status)
			n.advance(c.after)
			if w := n.ask(http.MethodGet, "/liveness", ""); w.Code != c.code {
				t.Errorf("after %s: %d, want %d", c.after, w.Code, c.code)
			}
		})
	}
}

func TestOnlyGetHasABody(t *testing.T) {
	n := newNode(t, primary())
	for _, method := range []string{http.MethodHead, http.MethodOptions} {
		if w := n.ask(method, "/primary", ""); w.Body.Len() != 0 || w.Code != http.StatusOK {
			t.Errorf("%s /primary: %d %q", method, w.Code, w.Body)
		}
	}
}

func TestSizes(t *testing.T) {
	good := map[string]uint64{
		"0": 0, "1048576": 1 << 20, "16kB": 16 << 10, "16KB": 16 << 10, "10MB": 10 << 20, "1GB": 1 << 30,
		" 1.5 MB ": 3 << 19, "2TB": 2 << 40, "8B": 8, "1e3": 1000, "99999PB": 1<<64 - 1,
	}
	for text, want := range good {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "1XB", "-1", "1 2", "NaN", "Inf", "0x10", "1MBs", "1..2"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d; want an error", text, got)
		}
	}
}

// keeper is pgkeeper's own part of a status JSON.
func keeper(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var out struct {
		Keeper map[string]any `json:"pgkeeper"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatalf("status %s: %v", body, err)
	}
	return out.Keeper
}
