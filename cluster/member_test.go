package cluster

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Member keys as Patroni 4.1.4 writes them.
const (
	patroniPrimary = `{"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running",` +
		`"role":"primary","version":"4.1.4","xlog_location":67395656,"timeline":3}`
	patroniReplica = `{"conn_url":"postgres://10.0.0.2:5432/postgres","api_url":"http://10.0.0.2:8008/patroni","state":"running",` +
		`"role":"replica","version":"4.1.4","tags":{"clonefrom":true},"xlog_location":67395656,"receive_lsn":67395656,"replay_lsn":67395656,` +
		`"replication_state":"streaming","timeline":3}`
)

func TestMemberKeysArePatronis(t *testing.T) {
	cases := []struct {
		name, key string
		want      Member
	}{
		{"a primary", patroniPrimary, Member{ConnURL: "postgres://10.0.0.1:5432/postgres", APIURL: "http://10.0.0.1:8008/patroni",
			State: StateRunning, Role: RolePrimary, Version: PatroniVersion, XlogLocation: 67395656, Timeline: 3}},
		{"a replica", patroniReplica, Member{ConnURL: "postgres://10.0.0.2:5432/postgres", APIURL: "http://10.0.0.2:8008/patroni",
			State: StateRunning, Role: RoleReplica, Version: PatroniVersion, XlogLocation: 67395656, Timeline: 3, ReceiveLSN: 67395656,
			ReplayLSN: 67395656, ReplicationState: "streaming", Tags: Tags{"clonefrom": true}}},
		{"a primary before its checkpoint, with changes that wait for a restart",
			`{"conn_url":"","api_url":"","state":"running","role":"primary","version":"4.1.4","checkpoint_after_promote":false,` +
				`"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"200"}},"pause":true}`,
			Member{State: StateRunning, Role: RolePrimary, Version: PatroniVersion, CheckpointAfterPromote: new(bool), PendingRestart: true,
				PendingReason: map[string]PendingReason{"max_connections": {Old: "100", New: "200"}}, Pause: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var m Member
			if err := json.Unmarshal([]byte(c.key), &m); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, m); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
			written, err := json.Marshal(m)
			if err != nil || string(written) != c.key {
				t.Errorf("written as %s (%v)\nwant       %s", written, err, c.key)
			}
			if m.IsKeeper() {
				t.Error("Patroni's member counts as pgkeeper's")
			}
		})
	}
}

// TestMemberKeeper: what pgkeeper adds comes back, and Patroni's fields stay.
func TestMemberKeeper(t *testing.T) {
	m := Member{State: StateRunning, Role: RoleReplica, Keeper: &MemberKeeper{Version: "1", Node: "n", Vacancy: 7, Switchover: "s",
		Position: &Position{3, 67395656}, Reason: "following", Progress: "clone 43%"}}
	written, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back Member
	if err := json.Unmarshal(written, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back); diff != "" || !back.IsKeeper() {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMemberAddress(t *testing.T) {
	cases := []struct{ url, host, port, hostPort string }{
		{"postgres://10.0.0.1:5433/postgres", "10.0.0.1", "5433", "10.0.0.1:5433"},
		{"postgres://db.example.org/postgres", "db.example.org", "5432", "db.example.org:5432"},
		{"postgres://user@[fd00::1]:5432/postgres", "fd00::1", "5432", "[fd00::1]:5432"},
		{"", "", "", ""},
		{"postgres:///postgres", "", "", ""},
		{"postgres://%zz", "", "", ""},
	}
	for _, c := range cases {
		m := Member{ConnURL: c.url}
		host, port, ok := m.Address()
		if host != c.host || port != c.port || ok != (c.host != "") || m.HostPort() != c.hostPort {
			t.Errorf("%q: host %q, port %q, %t, %q", c.url, host, port, ok, m.HostPort())
		}
	}
}

func TestTags(t *testing.T) {
	read := func(text string) Tags {
		var tags Tags
		if err := json.Unmarshal([]byte(text), &tags); err != nil {
			t.Fatal(err)
		}
		return tags
	}
	cases := []struct {
		tags       Tags
		noFailover bool
		priority   int
	}{
		{nil, false, 1},
		{read(`{"nofailover":true}`), true, 1},
		{read(`{"nofailover":"true"}`), true, 1},
		{read(`{"nofailover":"Yes"}`), true, 1},
		{read(`{"nofailover":"no"}`), false, 1},
		{read(`{"failover_priority":0}`), true, 0},
		{read(`{"failover_priority":-1}`), true, -1},
		{read(`{"failover_priority":5}`), false, 5},
		{read(`{"nofailover":false,"failover_priority":0}`), false, 0},
		{read(`{"nofailover":true,"failover_priority":5}`), true, 5},
		{Tags{"failover_priority": 3}, false, 3},
		{Tags{"failover_priority": int64(3)}, false, 3},
		{Tags{"failover_priority": uint64(3)}, false, 3},
		{Tags{"failover_priority": "3"}, false, 1},
	}
	for _, c := range cases {
		if c.tags.NoFailover() != c.noFailover || c.tags.FailoverPriority() != c.priority {
			t.Errorf("%v: nofailover %t, priority %d", c.tags, c.tags.NoFailover(), c.tags.FailoverPriority())
		}
	}
	tags := Tags{"a": true}
	tags.Clone()["a"] = false
	if !tags.Bool("a") {
		t.Error("a clone shares its map")
	}
}
