package ctl

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// situations an operator meets, by the name of their golden files.
func situations() map[string]map[string]string {
	return map[string]map[string]string{
		"healthy": healthy(),
		"everything": with(healthy(),
			"sync", `{"leader":"pg1","quorum":0,"sync_standby":"pg2"}`,
			"config", `{"ttl":10,"pause":true,"synchronous_mode":true}`,
			"failover", `{"leader":"pg1","member":"pg2","scheduled_at":"2026-12-31T23:00:00+01:00"}`,
			"members/pg1", member("pg1", `"role":"primary","pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"200"}}`),
			"members/pg3", member("pg3", `"role":"replica","state":"creating replica","tags":{"nofailover":true,"replicatefrom":"pg2"},"timeline":0,"pgkeeper":{"version":"0.1.0","node":"x","progress":"clone 43%, 12s left"}`),
			"members/pg4", member("pg4", `"role":"replica","replication_state":"in archive recovery","replay_lsn":67395656,"receive_lsn":67395000,"scheduled_restart":{"schedule":"2026-12-31T22:00:00+01:00"}`),
		),
		"switching": with(healthy(),
			"pgkeeper/switchover", `{"id":"x","from":"pg1","to":"pg2","phase":"stopping","term":7}`),
		"crashed primary": with(healthy(),
			"members/pg1", member("pg1", `"role":"primary","state":"crashed","pgkeeper":{"version":"0.1.0","node":"x","reason":"restarting_after_crash"}`)),
		"lease ran out": with(healthy(), "leader", "",
			"pgkeeper/holder", `{"name":"pg1","node":"x"}`, "members/pg1", "",
			"members/pg2", member("pg2", `"role":"replica","pgkeeper":{"version":"0.1.0","node":"x","reason":"waiting_for_vacancy"}`)),
		"paused without primary": with(healthy(), "leader", "", "config", `{"pause":true}`, "pgkeeper/paused_primary", `{"name":"pg1"}`),
		"paused primary is dead": with(healthy(), "leader", "", "config", `{"pause":true}`, "pgkeeper/paused_primary", `{"name":"pg1"}`,
			"members/pg1", member("pg1", `"role":"replica","state":"stopped"`)),
		"paused primary is away":   with(healthy(), "leader", "", "members/pg1", "", "pgkeeper/paused_primary", `{"name":"pg1"}`),
		"paused primary is coming": with(healthy(), "leader", "", "pgkeeper/paused_primary", `{"name":"pg1"}`),
		"released":                 with(healthy(), "leader", "", "pgkeeper/release", `{"by":"pg1","term":7,"beat_revision":9000}`),
		"initialising":             {"initialize": "", "members/pg1": member("pg1", `"role":"uninitialized","state":"initializing new cluster"`)},
		"foreign primary": with(healthy(), "leader", "pg2",
			"members/pg2", member("pg2", `"role":"primary"`)),
		"from Patroni before 4.1": with(healthy(),
			"members/pg1", `{"conn_url":"postgres://10.0.0.1/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running","role":"master","version":"3.0.2","xlog_location":67395656,"timeline":3}`,
			"members/pg2", `{"conn_url":"postgres://10.0.0.2/postgres","api_url":"http://10.0.0.2:8008/patroni","state":"running","role":"replica","version":"3.0.2","xlog_location":67395000,"timeline":3}`,
			"members/pg3", ""),
		"only garbage": {"initialize": "7268616322854375442", "leader": "pg1", "members/pg1": "{", "config": "[]"},
	}
}

func TestListShowsEachSituation(t *testing.T) {
	for name, keys := range situations() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, keys)
			if err := r.List(t.Context(), ListOptions{}); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.ReplaceAll(name, " ", "_")+".list.txt", r.out.String())
		})
	}
}

func TestTopologyHangsACascadingStandbyUnderItsSource(t *testing.T) {
	r := newRig(t, situations()["everything"])
	if err := r.List(t.Context(), ListOptions{Tree: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "everything.topology.txt", r.out.String())
}

func TestTopologyShowsMembersThatFollowEachOtherInARing(t *testing.T) {
	r := newRig(t, with(healthy(),
		"members/pg2", member("pg2", `"role":"replica","tags":{"replicatefrom":"pg3"}`),
		"members/pg3", member("pg3", `"role":"replica","tags":{"replicatefrom":"pg2"}`)))
	o, err := r.store.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	order, _ := tree(o)
	if diff := cmp.Diff([]string{"pg1", "pg2", "pg3"}, namesOf(order)); diff != "" {
		t.Errorf("every member stands once (-want +got):\n%s", diff)
	}
}

func TestListInEveryFormat(t *testing.T) {
	for _, format := range []Format{FormatJSON, FormatYAML, FormatTSV} {
		t.Run(string(format), func(t *testing.T) {
			r := newRig(t, situations()["everything"])
			r.Console.Format = format
			if err := r.List(t.Context(), ListOptions{}); err != nil {
				t.Fatal(err)
			}
			golden(t, "everything.list."+string(format), r.out.String())
			if !strings.Contains(r.err.String(), "Maintenance mode: on") {
				t.Errorf("what the format cannot carry is missing from standard error: %q", r.err.String())
			}
		})
	}
}

func TestListWithUnicodeLines(t *testing.T) {
	r := newRig(t, healthy())
	r.Console.Style.Unicode = true
	if err := r.List(t.Context(), ListOptions{Timestamp: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "healthy.unicode.txt", r.out.String())
}

func TestHistoryAndConfigAreShown(t *testing.T) {
	r := newRig(t, healthy())
	if err := r.History(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.ShowConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	golden(t, "history_and_config.txt", r.out.String())
}

func TestBytesReadLikePostgreSQLsUnits(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 10239: "10239", 10240: "10 kB", 16 << 20: "16 MB", 1<<30 + 1<<29: "1.5 GB", 5 << 40: "5.0 TB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDSNPicksByRoleOrName(t *testing.T) {
	cases := map[string]struct {
		target Target
		want   string
	}{
		"the primary by default":  {Target{}, "host=10.0.0.1 port=5432\n"},
		"a replica":               {Target{Role: "replica"}, "host=10.0.0.2 port=5432\n"},
		"a member":                {Target{Member: "pg3"}, "host=10.0.0.3 port=5432\n"},
		"a member with that role": {Target{Member: "pg3", Role: "standby"}, "host=10.0.0.3 port=5432\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, healthy())
			if err := r.DSN(t.Context(), c.target); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, r.out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDSNSaysWhyThereIsNone(t *testing.T) {
	cases := map[string]struct {
		keys   map[string]string
		target Target
		want   string
	}{
		"no leader":         {situations()["released"], Target{}, "has no leader: pg1 gave the lease up"},
		"no such member":    {healthy(), Target{Member: "pg9"}, "there is pg1, pg2 and pg3"},
		"another role":      {healthy(), Target{Member: "pg1", Role: "replica"}, "pg1 is no replica but Leader"},
		"no standby leader": {healthy(), Target{Role: "standby-leader"}, "no member with role standby-leader"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := newRig(t, c.keys).DSN(t.Context(), c.target)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ...%s...", err, c.want)
			}
		})
	}
}

// TestListSaysWhatOfTheConfigurationIsNotInForce: nobody looks into each agent's log after an edit in etcd.
func TestListSaysWhatOfTheConfigurationIsNotInForce(t *testing.T) {
	patroni := `"role":"replica","replication_state":"streaming","version":"3.0.2","pgkeeper":null`
	for _, c := range []struct {
		name string
		keys map[string]string
		want string
	}{
		{"a bad value", with(healthy(), "config", `{"ttl":"soon","loop_wait":2}`), "Configuration: not in force as it is stored: ttl "},
		{"a quorum beside an old Patroni", with(healthy(), "config", `{"synchronous_mode":"quorum"}`, "members/pg2", member("pg2", patroni)),
			"Note: pg2 runs Patroni 3.0.2, which takes synchronous_mode: quorum for off"},
		{"a quorum beside agents", with(healthy(), "config", `{"synchronous_mode":"quorum"}`), ""},
		{"another mode beside it", with(healthy(), "config", `{"synchronous_mode":"on"}`, "members/pg2", member("pg2", patroni)), ""},
	} {
		r := newRig(t, c.keys)
		if err := r.List(t.Context(), ListOptions{}); err != nil {
			t.Fatal(err)
		}
		said := r.out.String()
		if c.want != "" && !strings.Contains(said, c.want) || c.want == "" && (strings.Contains(said, "Configuration:") || strings.Contains(said, "runs Patroni")) {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, said)
		}
	}
}

func TestListShowsHowCommitsWaitForTheGate(t *testing.T) {
	for _, c := range []struct{ config, gate, want string }{
		{`"commit_gate":"on"`, `"commit_gate":"connected"`, "Commit gate: on, connected"},
		{`"commit_gate":"on"`, `"commit_gate":"not connected"`, "Commit gate: not connected, commits wait for it"},
		{`"commit_gate":"on"`, `"reason":"leading"`, "Commit gate: on, not in force on the primary"},
		{`"ttl":20`, `"reason":"leading"`, ""},
	} {
		r := newRig(t, with(healthy(), "config", "{"+c.config+"}",
			"members/pg1", member("pg1", `"role":"primary","pgkeeper":{"version":"1","node":"n",`+c.gate+`}`)))
		if err := r.List(t.Context(), ListOptions{}); err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(r.out.String(), "Commit gate")
		got, _, _ = strings.Cut(got, "\n")
		if _, want, _ := strings.Cut(c.want, "Commit gate"); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s with %s: %q, want %q in\n%s", c.config, c.gate, got, c.want, r.out.String())
		}
	}
}

// doctored is a store that is asked how it does.
func doctored(r *rig, troubles ...cluster.StoreTrouble) {
	r.store.options.Troubles = func(context.Context) []cluster.StoreTrouble { return troubles }
}

func TestListNamesWhatIsWrongWithEtcdItself(t *testing.T) {
	full := cluster.StoreTrouble{Kind: cluster.StoreNoSpace, Endpoint: "http://a:2379", Member: "a1", Detail: "the database is full", Advice: "etcdctl defrag"}
	r := newRig(t, with(healthy(), "members/pg2", member("pg2", `"role":"replica","pgkeeper":{"version":"1","node":"n","etcd_troubles":[
		{"kind":"no_space","endpoint":"http://other-name:2379","member":"a1","detail":"x","advice":"y"},
		{"kind":"slow_writes","endpoint":"a, b","detail":"the median was 1s","advice":"a disk of its own"}]}`)))
	doctored(r, full)
	if err := r.List(t.Context(), ListOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"etcd: no_space at http://a:2379 (member a1): the database is full: etcdctl defrag\n", "etcd: slow_writes at a, b: the median was 1s: a disk of its own\n"} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("list lacks %q:\n%s", want, r.out.String())
		}
	}
	if got := strings.Count(r.out.String(), "etcd: "); got != 2 {
		t.Errorf("%d troubles, want each once:\n%s", got, r.out.String())
	}
	for _, format := range []Format{FormatJSON, FormatYAML, FormatTSV} {
		r.out.Reset()
		r.Console.Format = format
		if err := r.List(t.Context(), ListOptions{}); err != nil || !strings.Contains(r.out.String(), "etcd troubles") || !strings.Contains(r.out.String(), "slow_writes") {
			t.Errorf("%s has no field of it (%v):\n%s", format, err, r.out.String())
		}
	}
}

func TestAStoreThatCannotBeReadIsStillNamed(t *testing.T) {
	r := newRig(t, nil) // an error of Overview: there is no cluster
	doctored(r, cluster.StoreTrouble{Kind: cluster.StoreNoLeader, Endpoint: "http://a:2379", Detail: "no leader", Advice: "start the others"})
	if err := r.List(t.Context(), ListOptions{}); err == nil {
		t.Error("an empty store was listed")
	}
	if !strings.Contains(r.err.String(), "etcd: no_leader at http://a:2379: no leader: start the others") {
		t.Errorf("stderr lacks it: %s", r.err.String())
	}
}

func TestVerboseListSaysWhoWeakensCommits(t *testing.T) {
	for _, c := range []struct{ keeper, weakened, cancelled string }{
		{`"sync_commit":{"weakened":[{"role":"app","value":"off"}],"cancelled_waits":2}`, "role app (off)", "2"},
		{`"sync_commit":{"weakened":[],"cancelled_waits":null,"cancelled_waits_unknown":"no log"}`, "none", "unknown: no log"},
		{`"reason":"leading"`, "unknown: no primary says", "unknown: no primary says"},
	} {
		r := newRig(t, with(healthy(), "members/pg1", member("pg1", `"role":"primary","pgkeeper":{"version":"1","node":"n",`+c.keeper+`}`)))
		if err := r.List(t.Context(), ListOptions{}); err != nil || strings.Contains(r.out.String(), "weakened") {
			t.Errorf("a plain list (%v):\n%s", err, r.out.String())
		}
		r.out.Reset()
		if err := r.List(t.Context(), ListOptions{Verbose: true}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"synchronous_commit weakened for: " + c.weakened + "\n", "Synchronous waits cancelled: " + c.cancelled + "\n"} {
			if !strings.Contains(r.out.String(), want) {
				t.Errorf("list -v lacks %q:\n%s", want, r.out.String())
			}
		}
	}
}
