package config

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestDynamicReadsWhatPatroniWrites(t *testing.T) {
	s, problems := Dynamic(json.RawMessage(`{"ttl":30,"loop_wait":"10","retry_timeout":10.0,"maximum_lag_on_failover":"1 MB","primary_start_timeout":"5min","master_stop_timeout":7,
		"pause":"on","member_slots_ttl":"30min","ignore_slots":[{"name":"a","type":"logical"}],"synchronous_mode":false,
		"postgresql":{"use_pg_rewind":0,"parameters":{"max_connections":200,"archive_mode":true,"random_page_cost":1.10},"pg_hba":["local all all peer"],"recovery_conf":{"restore_command":"x"}}}`))
	equal(t, "problems", problems.String(), "")
	want := cluster.DefaultSettings()
	want.TTL, want.LoopWait, want.RetryTimeout = 30*time.Second, 10*time.Second, 10*time.Second
	want.PrimaryStopTimeout, want.Pause = 7*time.Second, true
	want.IgnoreSlots = []map[string]any{{"name": "a", "type": "logical"}}
	want.PostgreSQL = cluster.PostgreSQLSettings{
		UseSlots: true, Parameters: map[string]string{"max_connections": "200", "archive_mode": "on", "random_page_cost": "1.10"},
		PgHBA: []string{"local all all peer"}, RecoveryConf: map[string]string{"restore_command": "x"},
	}
	equal(t, "settings", s, want)
}

func TestNothingIsTheDefault(t *testing.T) {
	for _, raw := range []string{"", "null", "{}", `{"ttl":null}`} {
		s, problems := Dynamic(json.RawMessage(raw))
		equal(t, "problems", problems.String(), "")
		equal(t, "settings", s, cluster.DefaultSettings())
	}
}

func TestABadDynamicValueKeepsItsFieldAndIsNamed(t *testing.T) {
	last := cluster.DefaultSettings()
	last.MaximumLagOnFailover, last.TTL = 77, 20*time.Second
	last.PostgreSQL.Parameters, last.PostgreSQL.RecoveryConf = map[string]string{"jit": "off"}, map[string]string{"restore_command": "x"}
	for _, c := range []struct {
		name, raw, want string
		check           func(cluster.Settings) bool
	}{
		{"not JSON", `{"ttl":`, "error: dynamic configuration: is not valid JSON at byte 7; write it again: pgkeeper edit-config --replace FILE\n", func(s cluster.Settings) bool { return s.TTL == 20*time.Second }},
		{"not an object", `[]`, "error: dynamic configuration: must be a mapping, not a list (value \"a list\"); write ttl: 10 and so on below it\n", func(s cluster.Settings) bool { return s.MaximumLagOnFailover == 77 }},
		{"a wrong type", `{"maximum_lag_on_failover":"far","pause":true}`, "error: dynamic configuration: maximum_lag_on_failover: must be bytes, or a number with kB, MB, GB or TB (value \"far\")\n", func(s cluster.Settings) bool { return s.MaximumLagOnFailover == 77 && s.Pause }},
		{"a timing that cannot hold", `{"ttl":1,"loop_wait":1}`, "error: dynamic configuration: ttl: ttl is 1s, but the least etcd can keep is 2s: raise ttl (value \"1\")\n", func(s cluster.Settings) bool { return s.TTL == 20*time.Second }},
		{"on means what it means to PyYAML", `{"synchronous_mode":true}`, "", func(s cluster.Settings) bool { return s.SynchronousMode == "on" }},
		{"a gate beside other names", `{"commit_gate":"on","postgresql":{"parameters":{"Synchronous_Standby_Names":"pg2"}}}`, "error: dynamic configuration: commit_gate: sets synchronous_standby_names, which postgresql.parameters sets too (value \"on\"); remove it there, or turn commit_gate off\n", func(s cluster.Settings) bool { return !s.CommitGate }},
		{"a name that is more than a name", `{"ttl":20,"postgresql":{"parameters":{"work_mem":"1MB","a\nport":1}}}`, "error: dynamic configuration: postgresql.parameters.\"a\\nport\": is no name of a server parameter (value \"1\"); write letters, digits, _ and dots alone\n", func(s cluster.Settings) bool {
			return cmp.Equal(s.PostgreSQL.Parameters, map[string]string{"jit": "off"})
		}},
		{"a directive in place of a recovery setting", `{"postgresql":{"recovery_conf":{"include_dir":"/tmp"}}}`, "error: dynamic configuration: postgresql.recovery_conf.\"include_dir\": is no name of a server parameter (value \"/tmp\"); write it into postgresql.base.conf, which is included, or name the file in postgresql.custom_conf\n", func(s cluster.Settings) bool {
			return cmp.Equal(s.PostgreSQL.RecoveryConf, map[string]string{"restore_command": "x"})
		}},
		{"an unknown key", `{"tttl":20}`, "warning: dynamic configuration: tttl: is not a known key; did you mean ttl?\n", func(s cluster.Settings) bool { return s.TTL == cluster.DefaultTTL }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, problems := DynamicOver(last, json.RawMessage(c.raw))
			equal(t, "problems", problems.String(), c.want)
			if !c.check(s) {
				t.Errorf("settings %+v", s)
			}
		})
	}
}

func TestDefaultsYieldToAShortTTLInSilenceAndWrittenValuesWithAWarning(t *testing.T) {
	s, problems := Dynamic(json.RawMessage(`{"ttl":5}`))
	equal(t, "problems", problems.String(), "")
	equal(t, "timing", []time.Duration{s.LoopWait, s.RetryTimeout}, []time.Duration{time.Second, 2 * time.Second})

	s, problems = Dynamic(json.RawMessage(`{"ttl":20,"loop_wait":10,"retry_timeout":10}`))
	equal(t, "warnings", len(problems.Warnings()), 2)
	equal(t, "errors", len(problems.Errors()), 0)
	equal(t, "timing as Patroni corrects it", []time.Duration{s.LoopWait, s.RetryTimeout}, []time.Duration{time.Second, 9 * time.Second})
}

func TestTheCommitGateIsForAsynchronousClusters(t *testing.T) {
	for raw, want := range map[string]bool{`{"commit_gate":"on"}`: true, `{"commit_gate":true}`: true, `{"commit_gate":"off"}`: false, `{}`: false} {
		s, problems := Dynamic(json.RawMessage(raw))
		equal(t, raw, s.CommitGate, want)
		equal(t, "problems of "+raw, problems.String(), "")
	}
	var r report
	s := cluster.DefaultSettings()
	s.CommitGate, s.SynchronousMode = true, "quorum"
	n, err := parseJSON([]byte(`{"commit_gate":true}`), storeConfig)
	if err != nil {
		t.Fatal(err)
	}
	r.gate(n, "", &s)
	if len(r.problems) != 1 || s.CommitGate {
		t.Errorf("beside synchronous_mode: %v, gate %t", r.problems, s.CommitGate)
	}
}

func TestMergeIsPatronisPatch(t *testing.T) {
	for _, c := range []struct {
		name, base, patch, want string
		changed                 bool
	}{
		{"null removes", `{"ttl":20,"pause":true}`, `{"pause":null}`, `{"ttl":20}`, true},
		{"null of what is absent changes nothing", `{"ttl":20}`, `{"pause":null}`, `{"ttl":20}`, false},
		{"mappings merge", `{"postgresql":{"parameters":{"a":1,"b":2}}}`, `{"postgresql":{"parameters":{"b":3,"a":null,"c":4}}}`, `{"postgresql":{"parameters":{"b":3,"c":4}}}`, true},
		{"a scalar of the same text changes nothing", `{"ttl":20}`, `{"ttl":"20"}`, `{"ttl":20}`, false},
		{"a boolean is no text", `{"pause":true}`, `{"pause":"true"}`, `{"pause":"true"}`, true},
		{"a list is replaced whole", `{"a":[1,2]}`, `{"a":[2]}`, `{"a":[2]}`, true},
		{"a mapping replaces a scalar", `{"a":1}`, `{"a":{"b":2,"c":null}}`, `{"a":{"b":2}}`, true},
		{"a scalar replaces a mapping", `{"a":{"b":2}}`, `{"a":1}`, `{"a":1}`, true},
		{"nothing yet", ``, `{"ttl":20}`, `{"ttl":20}`, true},
		{"order and odd letters stay", `{"z":"<ä>","a":1.50}`, `{"m":"\u0000"}`, `{"z":"<ä>","a":1.50,"m":"\u0000"}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, changed, err := Merge(json.RawMessage(c.base), json.RawMessage(c.patch))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "merged", string(got), c.want)
			equal(t, "changed", changed, c.changed)
		})
	}
	for _, patch := range []string{``, `null`, `[]`, `1`, `{`, `{} {}`, `{"a":1}x`} {
		if _, _, err := Merge(json.RawMessage(`{}`), json.RawMessage(patch)); !errors.Is(err, ErrPatch) {
			t.Errorf("Merge(%q) = %v, want ErrPatch", patch, err)
		}
	}
}

func TestEffectiveTakesForcedParametersFromTheClusterAlone(t *testing.T) {
	c, _ := loaded(t, minimal+"", "PGKEEPER_POSTGRESQL_PARAMETERS={max_connections: 500, Work_Mem: 8MB, my.Ext: 1}", "PGKEEPER_POSTGRESQL_LISTEN=127.0.0.1,10.0.0.1:5433", "PGKEEPER_POSTGRESQL_USE_PG_REWIND=off")
	s, _ := Dynamic(json.RawMessage(`{"postgresql":{"parameters":{"max_connections":200,"max_wal_senders":1,"wal_level":"logical","hot_standby":"off","work_mem":"4MB","jit":"off"},"pg_hba":["local all all peer"]}}`))
	got := c.Effective(s)
	equal(t, "forced", got.Forced, map[string]string{
		"listen_addresses": "127.0.0.1,10.0.0.1", "port": "5433", "cluster_name": "orders", "wal_level": "logical", "hot_standby": "on", "wal_log_hints": "on",
		"max_connections": "200", "max_wal_senders": "10", "max_prepared_transactions": "0", "max_locks_per_transaction": "64", "track_commit_timestamp": "off",
		"max_replication_slots": "10", "max_worker_processes": "8",
	})
	equal(t, "13 of them", len(got.Forced), len(ForcedParameters))
	equal(t, "parameters", got.Parameters, map[string]string{"work_mem": "8MB", "my.Ext": "1", "jit": "off", "wal_keep_size": "128MB"})
	equal(t, "pg_hba", got.PgHBA, []string{"local all all peer"})
	equal(t, "rewind", got.UsePgRewind, false)
	equal(t, "slots", got.UseSlots, true)
}
