package ctl

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
)

// well are a cluster and its servers with nothing to find.
func well() (Overview, map[string]server) {
	v := Overview{Scope: "batman", SystemID: "1", Leader: "pg1", Members: []Member{
		{Name: "pg1", Host: "10.0.0.1:5432", APIURL: "http://10.0.0.1:8008/patroni", Role: RoleLeader, State: "running"},
		{Name: "pg2", Host: "10.0.0.2:5432", APIURL: "http://10.0.0.2:8008/patroni", Role: "replica", State: "streaming", Keeper: true},
	}}
	one := server{MaxConnections: 100, Reserved: 3, Used: 10, WALSenders: 10, Slots: 10, Fsync: "on", FullPages: "on", ArchiveMode: "off", Encryption: "scram-sha-256", error: time.Millisecond}
	two := one
	two.Recovery = true
	return v, map[string]server{"pg1": one, "pg2": two}
}

func slotNamed(s server, name string, active bool, status string, kept int64) server {
	s.SlotList = append(slices.Clone(s.SlotList), struct {
		Name   string `json:"name"`
		Active bool   `json:"active"`
		Status string `json:"status"`
		Kept   int64  `json:"kept"`
	}{name, active, status, kept})
	return s
}

func TestServersAreJudged(t *testing.T) {
	change := func(name string, f func(*server)) func(Overview, map[string]server) {
		return func(_ Overview, all map[string]server) {
			s := all[name]
			f(&s)
			all[name] = s
		}
	}
	cases := map[string]struct {
		change func(Overview, map[string]server)
		want   []string
	}{
		"all is well":                              {func(Overview, map[string]server) {}, nil},
		"two servers out of recovery":              {change("pg2", func(s *server) { s.Recovery = false }), []string{"two_primaries"}},
		"the wrong one is out of recovery":         {func(v Overview, all map[string]server) { all["pg1"], all["pg2"] = all["pg2"], all["pg1"] }, []string{"leader_is_no_primary"}},
		"connections nearly used":                  {change("pg1", func(s *server) { s.Used = 95 }), []string{"connections_nearly_used"}},
		"too few walsenders":                       {change("pg2", func(s *server) { s.WALSenders = 2 }), []string{"few_wal_senders"}},
		"too few slots":                            {change("pg2", func(s *server) { s.Slots = 1 }), []string{"few_replication_slots"}},
		"no fsync":                                 {change("pg1", func(s *server) { s.Fsync = "off" }), []string{"fsync_off"}},
		"a standby that recovers by itself":        {change("pg2", func(s *server) { s.CrashRestart = "on" }), []string{"standby_recovers_by_itself"}},
		"as a primary does":                        {change("pg1", func(s *server) { s.CrashRestart = "on" }), nil},
		"md5":                                      {change("pg1", func(s *server) { s.Encryption = "md5" }), []string{"passwords_md5"}},
		"archiving to nowhere":                     {change("pg1", func(s *server) { s.ArchiveMode, s.ArchiveCommand = "on", "(disabled)" }), []string{"archive_nowhere"}},
		"a standby need not archive":               {change("pg2", func(s *server) { s.ArchiveMode, s.ArchiveCommand = "on", "(disabled)" }), nil},
		"archiving by a library":                   {change("pg1", func(s *server) { s.ArchiveMode, s.ArchiveLibrary = "on", "basic_archive" }), nil},
		"archiving fails":                          {change("pg1", func(s *server) { s.ArchiveMode, s.ArchiveCommand, s.ArchiveFailed = "on", "cp", true }), []string{"archive_fails"}},
		"a slot that nobody reads":                 {change("pg1", func(s *server) { *s = slotNamed(*s, "old", false, "extended", 2<<30) }), []string{"slot_retains_wal"}},
		"a slot in use may keep much":              {change("pg1", func(s *server) { *s = slotNamed(*s, "pg2", true, "extended", 2<<30) }), nil},
		"a lost slot":                              {change("pg1", func(s *server) { *s = slotNamed(*s, "pg2", false, "lost", 0) }), []string{"slot_lost"}},
		"a standby below the primary":              {change("pg2", func(s *server) { s.MaxConnections = 50 }), []string{"standby_below_primary"}},
		"clocks apart":                             {change("pg2", func(s *server) { s.ahead = 5 * time.Second }), []string{"clocks_apart"}},
		"clocks that only seem apart":              {change("pg2", func(s *server) { s.ahead, s.error = 5*time.Second, 5*time.Second }), nil},
		"both clocks as far from the operator's":   {func(v Overview, all map[string]server) { shift(all, time.Hour) }, nil},
		"nothing is concluded from nobody's words": {func(v Overview, all map[string]server) { clear(all) }, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v, servers := well()
			c.change(v, servers)
			if got := named(serverFindings(v, servers)); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}

func shift(all map[string]server, by time.Duration) {
	for name, s := range all {
		s.ahead = by
		all[name] = s
	}
}

func named(findings []Finding) []string {
	var names []string
	for _, f := range findings {
		names = append(names, f.Check)
	}
	return names
}

func TestTheClusterAsItsKeysShowItIsJudged(t *testing.T) {
	lag := uint64(1 << 30)
	cases := map[string]struct {
		change func(*Overview)
		want   []string
	}{
		"all is well":                    {func(*Overview) {}, nil},
		"no leader":                      {func(v *Overview) { v.Leader = "" }, []string{"no_leader"}},
		"paused":                         {func(v *Overview) { v.Paused = true }, []string{"paused"}},
		"a standby that does not stream": {func(v *Overview) { v.Members[1].State = "running" }, []string{"not_streaming"}},
		"a standby that lags":            {func(v *Overview) { v.Members[1].ReplayLag = &lag }, []string{"lag"}},
		"nobody to take over":            {func(v *Overview) { v.Members = v.Members[:1] }, []string{"nobody_to_take_over"}},
		"nobody that may take over":      {func(v *Overview) { v.Members[1].Tags = cluster.Tags{"nofailover": true} }, []string{"nobody_to_take_over"}},
		"a restart is due":               {func(v *Overview) { v.Members[0].PendingRestart = true }, []string{"pending_restart"}},
		"a member that went away":        {func(v *Overview) { v.Left = []string{"pg3"} }, []string{"member_gone"}},
		"something noted":                {func(v *Overview) { v.Notes = []string{"x"} }, []string{"cluster_note"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v, _ := well()
			c.change(&v)
			if got := named(overviewFindings(v)); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}

func TestSlotsOfFormerMembersAreThoseNoMemberHas(t *testing.T) {
	for status, want := range map[string][]string{
		`{"optime":1}`: nil,
		`{"optime":1,"retain_slots":["pg2","pg_4"],"slots":{"pg_4":1,"mine":1}}`: {"pg_4"},
	} {
		o, err := newRig(t, with(healthy(), "status", status)).Cluster.Overview(t.Context())
		if err != nil || !slices.Equal(o.Left, want) || o.SlotsTTL != 30*time.Minute {
			t.Errorf("%s: %v, %v, want %v", status, o.Left, err, want)
		}
	}
}

func TestAgentsAreJudged(t *testing.T) {
	v, _ := well()
	statuses := map[string]Status{"pg1": {SystemIdentifier: "2"}}
	if got := named(agentFindings(v, statuses)); !slices.Equal(got, []string{"foreign_system_identifier", "agent_unreachable"}) {
		t.Errorf("found %v", got)
	}
}

func TestWhatCouldNotBeLookedAtIsAFinding(t *testing.T) {
	r := newRig(t, situations()["healthy"])
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	got := named(r.Examine(ctx, DoctorOptions{Statuses: func(context.Context, []Member) map[string]Status { return nil }}).Findings)
	for _, want := range []string{"agent_unreachable", "server_unreachable"} {
		if !slices.Contains(got, want) {
			t.Errorf("found %v, want %s among them", got, want)
		}
	}
	empty := newRig(t, nil)
	if got := named(empty.Examine(ctx, DoctorOptions{}).Findings); !slices.Equal(got, []string{"cluster_unreachable"}) {
		t.Errorf("without a cluster: found %v", got)
	}
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	api, err := NewAPI(page.URL, page.Client())
	if err != nil {
		t.Fatal(err)
	}
	empty.Cluster = api
	if got := empty.Examine(ctx, DoctorOptions{}).Findings; len(got) != 1 || got[0].Where != "the agent asked" {
		t.Errorf("of what is no agent: found %v", got)
	}
}

func TestProblemsOfAConfigurationBecomeFindings(t *testing.T) {
	_, problems := config.Dynamic([]byte(`{"ttl": "soon", "postgresql": {"parametres": {}}}`))
	found := ConfigFindings(problems, "dynamic_config")
	if len(found) != 2 || found[0].Severity != SeverityWarning || found[1].Severity != SeverityError || !strings.Contains(found[1].What, "ttl") || found[1].Fix == "" {
		t.Errorf("found %+v", found)
	}
}

func TestFindingsAreShownWorstFirst(t *testing.T) {
	table := FindingsTable([]Finding{{SeverityNote, "c", "w", "x", "f"}, {SeverityError, "a", "w", "x", "f"}, {SeverityWarning, "b", "w", "x", "f"}})
	var order []string
	for _, row := range table.Rows {
		order = append(order, row[1].Text)
	}
	if !slices.Equal(order, []string{"a", "b", "c"}) {
		t.Errorf("in the order %v", order)
	}
}

var checkName = regexp.MustCompile(`(?:add\(Severity[A-Z][a-z]+, |Finding\{\{?Severity[A-Z][a-z]+, )"([a-z0-9_]+)"`)

func TestEveryCheckOfTheClusterStandsOnThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range []string{"doctor.go", "doctorserver.go", "doctorjudge.go", "checkpooler.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range checkName.FindAllStringSubmatch(string(text), -1) {
			seen++
			if !strings.HasSuffix(m[1], "_") && !strings.Contains(string(page), "`"+m[1]+"`") {
				t.Errorf("docs/deploy.md does not explain %s", m[1])
			}
		}
	}
	if seen < 25 {
		t.Errorf("only %d checks were recognised in the source", seen)
	}
}
