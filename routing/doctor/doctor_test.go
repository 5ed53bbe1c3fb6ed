package doctor

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// included is what the files in testdata include.
var included = map[string]string{"/etc/pgbouncer/more.ini": "shop = host=10.0.0.9 dbname=shop pool_size=95\n"}

func pgbouncer(name, text string, included map[string]string, l Limits) []Finding {
	return PgBouncers([]PgBouncerFile{{name, text, included}}, l)
}

func limits() Limits {
	l := DefaultLimits()
	l.Members = []Member{{"pg1", "10.0.0.1"}, {"pg2", "10.0.0.2"}}
	return l
}

// read has the file looked at by who reads such files.
func read(t *testing.T, path string) []Finding {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(path)
	switch filepath.Ext(path) {
	case ".cfg":
		return HAProxy(name, string(text), limits())
	case ".ini":
		return pgbouncer(name, string(text), included, limits())
	case ".conf":
		return Pgpool(name, string(text), limits())
	}
	return Text(name, string(text))
}

func TestFilesWithMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, ".findings") {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			var b strings.Builder
			for _, f := range read(t, path) {
				fmt.Fprintf(&b, "%s: %s: %s\n  %s\n  fix: %s\n", f.Where, f.Severity, f.Check, f.What, f.Fix)
			}
			golden := path + ".findings"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("run go test ./routing/doctor -update (-golden +got):\n%s", diff)
			}
		})
	}
}

// What this project ships, and renders for others, must be well by its own word.
func TestShippedAndRenderedFilesHaveNoFinding(t *testing.T) {
	for _, place := range []string{"../../deploy", "../render/testdata"} {
		for _, name := range []string{"haproxy/haproxy.cfg", "compose/haproxy.cfg", "pgbouncer/pgbouncer.ini", "compose/pgbouncer/pgbouncer.ini", "pgpool/pgpool.conf", "compose/docker-compose.yml", "compose/setup.sh", "swarm/stack.yml", "pgbouncer/auth.sql"} {
			path := filepath.Join(place, name)
			text, err := os.ReadFile(path)
			if err != nil {
				if place == "../../deploy" || name != "haproxy/haproxy.cfg" {
					t.Error(err)
				}
				continue
			}
			l := limits()
			var found []Finding
			switch filepath.Ext(name) {
			case ".cfg":
				found = HAProxy(name, string(text), l)
			case ".ini":
				if place != "../../deploy" {
					l.MaxConnections = 300 // as it was rendered for
				}
				found = pgbouncer(name, string(text), map[string]string{"/etc/pgbouncer/pgkeeper.databases.ini": databases(t, place)}, l)
			case ".conf":
				if place != "../../deploy" {
					l.MaxConnections = 300
				}
				found = Pgpool(name, string(text), l)
			default:
				found = Text(name, string(text))
			}
			for _, f := range found {
				if f.Check == "compose_version" && name == "swarm/stack.yml" {
					continue // docker stack wants it
				}
				t.Errorf("%s: %s %s: %s; %s", f.Where, f.Severity, f.Check, f.What, f.Fix)
			}
		}
	}
}

func databases(t *testing.T, place string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(place, "pgbouncer/pgkeeper.databases.ini"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A check that no file in testdata provokes is one nobody has seen work.
func TestEveryCheckIsProvokedByAFile(t *testing.T) {
	files, err := filepath.Glob("testdata/*.findings")
	if err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(text)
	}
	for _, check := range checks(t) {
		if !strings.Contains(seen.String(), ": "+check+"\n") {
			t.Errorf("no file in testdata provokes %s", check)
		}
	}
}

func TestEveryCheckStandsOnThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range checks(t) {
		if !strings.Contains(string(page), "`"+check+"`") {
			t.Errorf("docs/deploy.md does not explain %s", check)
		}
	}
}

var (
	named = regexp.MustCompile(`(?:f\.add\([A-Za-z]+, |\{(?:Error|Warning|Note), )"([a-z0-9_]+)"`)
	// dynamic names end in a setting of Pgpool-II.
	switches = regexp.MustCompile(`\{"([a-z_]+)", "(?:on|off)", "on",`)
)

// checks are the names in the source.
func checks(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			if m[1] != "pgpool_" {
				all = append(all, m[1])
			}
		}
		for _, m := range switches.FindAllStringSubmatch(string(text), -1) {
			all = append(all, "pgpool_"+m[1])
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d checks were recognised in the source", len(all))
	}
	return all
}

func FuzzReaders(f *testing.F) {
	files, _ := filepath.Glob("testdata/*")
	for _, path := range files {
		if text, err := os.ReadFile(path); err == nil {
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, read := range []func() []Finding{
			func() []Finding { return HAProxy("a.cfg", text, limits()) },
			func() []Finding { return pgbouncer("a.ini", text, included, limits()) },
			func() []Finding { return Pgpool("a.conf", text, limits()) },
			func() []Finding { return Text("a.yml", text) },
		} {
			for _, found := range read() {
				if found.Check == "" || found.What == "" || found.Fix == "" || found.Where == "" {
					t.Errorf("a finding lacks a part: %+v", found)
				}
			}
		}
	})
}

func TestHostsThatAnAgentWritesAreNoFixedOnes(t *testing.T) {
	const ini = "[pgbouncer]\npool_mode = transaction\nserver_login_retry = 0.2\nserver_connect_timeout = 2\nauth_type = scram-sha-256\n%include f\n"
	databases := "[databases]\napp = host=10.0.0.1\napp_ro = host=10.0.0.2\n"
	if got := pgbouncer("a.ini", ini, map[string]string{"f": databases}, limits()); len(got) != 1 || got[0].Check != "pgbouncer_fixed_host" {
		t.Errorf("by hand: %+v", got)
	}
	if got := pgbouncer("a.ini", ini, map[string]string{"f": "; Written by the pgkeeper agent of pg1\n" + databases}, limits()); len(got) != 0 {
		t.Errorf("by an agent: %+v", got)
	}
}

func TestPoolsOfAllPoolersAreCountedTogether(t *testing.T) {
	shipped, err := os.ReadFile("../../deploy/pgbouncer/pgbouncer.ini")
	if err != nil {
		t.Fatal(err)
	}
	one := PgBouncerFile{"a.ini", string(shipped), map[string]string{"/etc/pgbouncer/pgkeeper.databases.ini": databases(t, "../../deploy")}}
	pgpool, err := os.ReadFile("../../deploy/pgpool/pgpool.conf")
	if err != nil {
		t.Fatal(err)
	}
	three := limits()
	three.Poolers = 3
	for name, c := range map[string]struct {
		found []Finding
		says  []string
	}{
		"one":                   {PgBouncers([]PgBouncerFile{one}, limits()), nil},
		"two files":             {PgBouncers([]PgBouncerFile{one, one}, limits()), []string{"4 databases in 2 poolers may open 180", "4 databases in 2 poolers may open 180"}},
		"three of one file":     {PgBouncers([]PgBouncerFile{one}, three), []string{"2 databases in 3 poolers may open 270"}},
		"three of Pgpool's":     {Pgpool("pgpool.conf", string(pgpool), three), []string{"x 3 poolers are 270"}},
		"one of Pgpool's alone": {Pgpool("pgpool.conf", string(pgpool), limits()), nil},
	} {
		if len(c.found) != len(c.says) {
			t.Errorf("%s: found %+v", name, c.found)
			continue
		}
		for i, says := range c.says {
			if !strings.Contains(c.found[i].What, says) {
				t.Errorf("%s: %q lacks %q", name, c.found[i].What, says)
			}
		}
	}
	if fix := PgBouncers([]PgBouncerFile{one}, three)[0].Fix; fix != "default_pool_size = 15" {
		t.Errorf("fix: %s, want 90 connections for 2 databases in 3 poolers", fix)
	}
}

// TestAMemberThatHAProxyLacksIsNamed: by name or by address, in each backend of the cluster; a template takes all of a name.
func TestAMemberThatHAProxyLacksIsNamed(t *testing.T) {
	text, err := os.ReadFile("../../deploy/haproxy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile("../../deploy/compose/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text    []byte
		members []Member
		want    int
	}{
		"unknown":    {text, nil, 0},
		"all":        {text, []Member{{"pg1", "10.0.0.1"}, {"other", "192.0.2.12"}, {"pg3", ""}}, 0},
		"one lacks":  {text, []Member{{"pg1", "10.0.0.1"}, {"pg4", "10.0.0.4"}}, 2},
		"a template": {template, []Member{{"pg4", "10.0.0.4"}}, 0},
	} {
		l := DefaultLimits()
		l.Members = c.members
		var got []Finding
		for _, f := range HAProxy("haproxy.cfg", string(c.text), l) {
			if f.Check == "haproxy_member_missing" {
				got = append(got, f)
			}
		}
		if len(got) != c.want || c.want > 0 && !strings.Contains(got[0].What, "pg4") {
			t.Errorf("%s: %v, want %d", name, got, c.want)
		}
	}
}
