package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mistaken = "../../routing/doctor/testdata/"

func TestDoctorsExitCodeTellsTheTruth(t *testing.T) {
	shipped := "../../deploy/"
	included := filepath.Join(t.TempDir(), "databases.ini")
	if err := os.WriteFile(included, []byte("app = host=lb\napp_ro = host=lb port=5001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	noted := filepath.Join(t.TempDir(), "docker-compose.yml")
	if err := os.WriteFile(noted, []byte("version: '3'\nservices: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"what is shipped is well":     {[]string{"--offline", "--haproxy", shipped + "haproxy/haproxy.cfg", "--pgpool", shipped + "pgpool/pgpool.conf", "--pgbouncer", shipped + "compose/pgbouncer/pgbouncer.ini"}, 0, "0 errors, 0 warnings, 0 notes"},
		"a note alone is no failure":  {[]string{"--offline", "--file", noted}, 0, "compose_version"},
		"HAProxy's traps":             {[]string{"--offline", "--haproxy", mistaken + "haproxy-sample.cfg"}, 1, "haproxy_trusts_at_start"},
		"PgBouncer's defaults":        {[]string{"--offline", "--pgbouncer", mistaken + "pgbouncer-defaults.ini"}, 1, "server_login_retry = 0.5"},
		"Pgpool-II with two brains":   {[]string{"--offline", "--pgpool", mistaken + "pgpool-direct.conf"}, 1, "pgpool_two_brains"},
		"a compose file":              {[]string{"--offline", "--file", mistaken + "writeup-compose.yml"}, 1, "healthcheck_is_no_command"},
		"pools against other limits":  {[]string{"--offline", "--max-connections", "30", "--pgpool", shipped + "pgpool/pgpool.conf"}, 1, "pgpool_pools_too_large"},
		"one pooler of each member's": {[]string{"--offline", "--poolers", "3", "--pgbouncer", shipped + "compose/pgbouncer/pgbouncer.ini"}, 1, "in 3 poolers may open 270"},
		"several poolers' files":      {[]string{"--offline", "--pgbouncer", shipped + "compose/pgbouncer/pgbouncer.ini", "--pgbouncer", shipped + "compose/pgbouncer/pgbouncer.ini"}, 1, "in 2 poolers may open 180"},
		"no pooler at all":            {[]string{"--offline", "--poolers", "0", "--pgbouncer", shipped + "compose/pgbouncer/pgbouncer.ini"}, 2, "at least one"},
		"a file that is not there":    {[]string{"--offline", "--haproxy", "/nonexistent"}, 1, "no such file"},
		"nothing to look at":          {[]string{"--offline"}, 2, "name some"},
		"a cluster nobody can reach":  {[]string{"-d", "etcd3://127.0.0.1:2379"}, 1, "server_unreachable"},
		"and no cluster of that name": {[]string{"-d", "etcd3://127.0.0.1:2379", "robin"}, 1, "cluster_unreachable"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := try{args: append([]string{"doctor"}, c.args...), keys: batman(), env: []string{"PGCONNECT_TIMEOUT=1"}}.run(t)
			if said := got.out + got.errOut; got.code != c.code || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d; want %d and %q in:\n%s", got.code, c.code, c.want, said)
			}
		})
	}
}

func TestDoctorAsJSON(t *testing.T) {
	got := try{args: []string{"doctor", "--offline", "-o", "json", "--haproxy", mistaken + "haproxy-blind.cfg"}}.run(t)
	var rows []struct{ Severity, Check, Where, What, Fix string }
	if err := json.Unmarshal([]byte(got.out), &rows); err != nil {
		t.Fatalf("%v\n%s", err, got.out)
	}
	if got.code != 1 || len(rows) < 10 || rows[0].Severity != "error" || rows[0].Check != "haproxy_pgsql_check" || rows[0].Fix == "" || !strings.HasSuffix(rows[0].Where, ":8") {
		t.Errorf("exit code %d, rows %+v", got.code, rows)
	}
}

func TestDoctorReadsTheConfigurationToo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pgkeeper.yml")
	if err := os.WriteFile(file, []byte("scope: demo\nname: pg1\nrestapi: {listen: '0.0.0.0:8008'}\npostgresql: {listen: '0.0.0.0:5432', data_dir: /tmp/x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := try{args: []string{"doctor", "--offline", "-c", file}}.run(t)
	if got.code != 1 || !strings.Contains(got.out, "restapi.connect_address") {
		t.Errorf("exit code %d:\n%s%s", got.code, got.out, got.errOut)
	}
}

func TestValidateAndDoctorFindThePoolersDirectory(t *testing.T) {
	path := write(t, file+"\npoolers: {pgbouncer: {admin: host=x user=keeper, databases_file: /nonexistent/databases.ini, databases: [app]}}\n")
	for _, args := range [][]string{{"validate", path}, {"doctor", "--offline", "-c", path}} {
		got := try{args: args}.run(t)
		if said := got.out + got.errOut; got.code != 1 || !strings.Contains(said, "in the place of /nonexistent/databases.ini") {
			t.Errorf("%v: exit code %d\n%s", args, got.code, said)
		}
	}
}
