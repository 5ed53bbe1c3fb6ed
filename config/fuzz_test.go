package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/broken/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/patroni.yml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "")
	}
	f.Add("a: &a [*a, *a]\nb: {<<: *a}\n? [x]\n: y\n", "{a: b")
	f.Add(strings.Repeat("[", 5000), "x")
	f.Add(strings.Repeat("- ", 5000), "- x")
	f.Add("a: !!binary x\n!!str b: !t\n&: *\n", "[a, b")
	f.Fuzz(func(t *testing.T, text, value string) {
		env := []string{"PGKEEPER_CONFIGURATION=" + text, "PGKEEPER_TAGS=" + value, "PATRONI_ETCD3_HOSTS=" + value, "PATRONI_POSTGRESQL_LISTEN=" + value}
		if strings.Contains(text, "password_file") || strings.Contains(text, "_file") {
			return // would read whatever file the text names
		}
		c, problems, err := Load("", env)
		if err != nil || c == nil {
			t.Fatalf("Load = %v, %v", c, err)
		}
		for _, p := range problems {
			if p.Rule == "" || strings.Contains(p.String(), "\n") {
				t.Errorf("problem without rule or on two lines: %q", p)
			}
		}
		if len(problems.Errors()) > 0 {
			return
		}
		if c.Scope == "" || c.Name == "" || c.PostgreSQL.DataDir == "" || c.PostgreSQL.Port() == 0 || len(c.Etcd.Hosts) == 0 {
			t.Errorf("no error, and yet incomplete: %+v", c.Redacted())
		}
		if len(c.Bootstrap.DCS) > 0 && !json.Valid(c.Bootstrap.DCS) {
			t.Errorf("bootstrap.dcs is no JSON: %s", c.Bootstrap.DCS)
		}
	})
}

func FuzzDynamic(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"ttl":20,"loop_wait":1,"retry_timeout":3}`, `{"ttl":"1e308"}`, `{"ttl":-1}`, `{"ttl":1e999}`, `{"slots":{"a":null}}`, `{"postgresql":{"parameters":{"max_connections":null,"a":[]}}}`, `[`, `{"ttl":2,"ttl":3}`, `{"maximum_lag_on_failover":"9e18TB"}`, `{"postgresql":{"parameters":{"a\nport":1,"include":"x"},"recovery_conf":{"a=b":1}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, problems := Dynamic(raw)
		if err := s.CheckTiming(); err != nil {
			t.Errorf("settings that cannot hold: %v\n%s", err, problems)
		}
		if m := s.SynchronousMode; m != cluster.SyncOff && m != cluster.SyncOn && m != cluster.SyncQuorum {
			t.Errorf("a mode that does not exist is in force: %s", m)
		}
		for _, p := range problems {
			if p.Rule == "" || strings.Contains(p.String(), "\n") {
				t.Errorf("problem without rule or on two lines: %q", p)
			}
		}
		for _, names := range []map[string]string{s.PostgreSQL.Parameters, s.PostgreSQL.RecoveryConf} {
			for name := range names {
				if !cluster.ServerParameter(name) {
					t.Errorf("%q is taken for a server parameter", name)
				}
			}
		}
	})
}

func FuzzMerge(f *testing.F) {
	for _, seed := range [][2]string{{`{"a":1}`, `{"a":null}`}, {`{"a":{"b":1}}`, `{"a":{"b":{"c":null}}}`}, {``, `{}`}, {`{"a":1}`, `{"a":"1"}`}, {`{"a":01}`, `{}`}, {`{"a":"\ud800"}`, `{"b":1e5}`}} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, base, patch []byte) {
		merged, _, err := Merge(base, patch)
		if err != nil {
			return
		}
		if !json.Valid(merged) {
			t.Fatalf("Merge(%s, %s) = %s, which is no JSON", base, patch, merged)
		}
		again, changed, err := Merge(merged, patch)
		if err != nil || changed {
			t.Errorf("the same patch changes %s again into %s: %v", merged, again, err)
		}
	})
}
