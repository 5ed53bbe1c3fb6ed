package postgres

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The cluster's max_connections was lowered, this standby was started anew, and then one took over that had not been.
func TestAStandbyBelowItsPrimaryWaitsForARestart(t *testing.T) {
	s := bare(t)
	if err := os.MkdirAll(s.o.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	running := "70"
	s.answering(t, func(sql string) []string {
		if sql == pendingSQL {
			return []string{"max_connections", running, "f", "70"}
		}
		return []string{s.o.DataDir}
	})
	settings := cluster.DefaultSettings()
	settings.PostgreSQL.Parameters = map[string]string{"max_connections": "70"}
	s.forced = s.forcedFrom(settings)
	text := func(v string) *string { return &v }
	row := make(lookRow, colWaits+1)
	row[colRecovery] = text("t")
	for _, c := range []struct {
		name, recovery, running string
		primary                 int
		want                    map[string]cluster.PendingReason
	}{
		{"as configured", "t", "70", 70, map[string]cluster.PendingReason{}},
		{"the primary allows more", "t", "70", 100, map[string]cluster.PendingReason{"max_connections": {Old: "70", New: "100"}}},
		{"it has what the primary has, which has yet to be restarted", "t", "100", 100, map[string]cluster.PendingReason{}},
		{"the primary has been", "t", "100", 70, map[string]cluster.PendingReason{"max_connections": {Old: "100", New: "70"}}},
		{"it is promoted without a restart", "f", "100", 100, map[string]cluster.PendingReason{"max_connections": {Old: "100", New: "70"}}},
		{"a primary needs nothing of its own pg_control", "f", "70", 100, map[string]cluster.PendingReason{}},
	} {
		running, row[colRecovery], row[colStarted] = c.running, text(c.recovery), text(c.running+c.recovery)
		got, err := s.pendingRestart(t.Context(), row, cluster.ControlData{MaxConnections: c.primary})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestWhatStopsReplayIsASettingBelowThePrimarys(t *testing.T) {
	for name, c := range map[string]struct {
		paused  bool
		running string
		want    string
	}{
		"below":                             {true, "70", "max_connections is 70 here and 100 on the primary"},
		"below, and still replaying":        {false, "70", ""},
		"paused by somebody, and as much":   {true, "100", ""},
		"paused by somebody, and with more": {true, "120", ""},
	} {
		n := cluster.NodeState{ReplayPaused: c.paused, Control: cluster.ControlData{MaxConnections: 100},
			PendingRestart: map[string]cluster.PendingReason{"max_connections": {Old: c.running, New: "200"}, "max_worker_processes": {Old: "8", New: "9"}}}
		if got := stoppedBy(&n); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
