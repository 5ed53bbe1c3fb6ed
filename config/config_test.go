package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// minimal is the least a member must say.
const minimal = "scope: orders\nname: a\npostgresql: {data_dir: /data}\n"

// file writes a configuration and gives its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loaded loads a text and fails on any error problem.
func loaded(t *testing.T, text string, env ...string) (*Config, Problems) {
	t.Helper()
	c, problems, err := Load(file(t, "pgkeeper.yml", text), env)
	if err != nil {
		t.Fatal(err)
	}
	if bad := problems.Errors(); len(bad) > 0 {
		t.Fatalf("unexpected errors:\n%s", bad)
	}
	return c, problems
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestFalseTagsOfPatronisSampleSayNothing(t *testing.T) {
	for text, want := range map[string]cluster.Tags{
		"{noloadbalance: false, clonefrom: false, nostream: false, nosync: no, nofailover: off}": {},
		"{nofailover: false, failover_priority: 0, nosync: false, sync_priority: 0}":             {"nofailover": false, "failover_priority": 0, "nosync": false, "sync_priority": 0},
		"{nosync: false, failover_priority: 2, mine: false}":                                     {"failover_priority": 2, "mine": false},
		"{noloadbalance: true, clonefrom: false}":                                                {"noloadbalance": true},
	} {
		got, _ := loaded(t, minimal, "PGKEEPER_TAGS="+text)
		equal(t, text, got.Tags, want)
	}
}

func TestARealPatroniFileLoadsWithoutAnError(t *testing.T) {
	c, problems, err := Load("testdata/patroni.yml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(problems.Errors()) > 0 {
		t.Fatalf("errors:\n%s", problems)
	}
	golden(t, "testdata/patroni.golden", problems.String())
	if !problems.Valid() {
		t.Error("validate would fail")
	}
	p := c.PostgreSQL
	equal(t, "namespace", c.Namespace, "service")
	equal(t, "level", c.Log.Level, "INFO")
	equal(t, "etcd", c.Etcd.Endpoints(), []string{"https://10.0.0.21:2379", "https://10.0.0.22:2379", "https://10.0.0.23:2379"})
	equal(t, "initdb", c.Bootstrap.InitDB, []string{"--encoding=UTF8", "--data-checksums", "--locale=C.UTF-8"})
	equal(t, "basebackup", p.BasebackupArgs, []string{"--max-rate=100M", "--checkpoint=fast"})
	equal(t, "listen", p.ListenHosts(), []string{"10.0.0.11", "127.0.0.1"})
	equal(t, "local host", p.LocalHost(), "127.0.0.1")
	equal(t, "port", p.Port(), 5432)
	equal(t, "parameters", p.Parameters, map[string]string{"unix_socket_directories": "/run/postgresql", "shared_buffers": "4GB", "log_connections": "on"})
	equal(t, "pg_ctl_timeout", p.PgCtlTimeout, 90*time.Second)
	equal(t, "replication", p.Authentication.Replication, Role{Username: "replicator", Password: "rep-pass", SSLMode: "verify-ca", SSLRootCert: "/etc/ssl/ca.pem"})
	equal(t, "tags", c.Tags, cluster.Tags{"nofailover": false, "failover_priority": 2, "datacenter": "north"})
	equal(t, "state", c.Keeper.StateDir, "/var/lib/postgresql/15/orders.pgkeeper")
	equal(t, "ctl uses the API's credentials", c.Ctl.Authentication, Credentials{"operator", "quiet:please"})

	s, problems := Dynamic(c.Bootstrap.DCS)
	equal(t, "dynamic problems", problems.String(), "")
	equal(t, "ttl", s.TTL, 30*time.Second)
	equal(t, "lag", s.MaximumLagOnFailover, int64(16<<20))
	equal(t, "archive_mode", s.PostgreSQL.Parameters["archive_mode"], "on")
	equal(t, "digits are kept", s.PostgreSQL.Parameters["checkpoint_completion_target"], "0.9")
}

func TestTheTablesDefaultsAreTheClustersDefaults(t *testing.T) {
	var d draft
	for i := range dynamic().keys {
		k := &dynamic().keys[i]
		if k.Default == "" {
			continue
		}
		n, _ := parseYAML([]byte(k.Default), "default")
		if faults := k.decode(n, k.into(&d)); len(faults) > 0 {
			t.Errorf("%s: default %q: %+v", k.Path, k.Default, faults[0].rule)
		}
	}
	equal(t, "defaults", d.settings, cluster.DefaultSettings())
}

func TestEveryKeyOfTheTableIsWhole(t *testing.T) {
	seen := map[string]string{}
	for _, k := range append(Keys(), DynamicKeys()...) {
		if k.Meaning == "" || k.Type == "" || k.Status == "" {
			t.Errorf("%s lacks meaning, type or status", k.Path)
		}
		if k.Env != "" && seen[k.Env] != "" {
			t.Errorf("%s and %s share the variable %s", k.Path, seen[k.Env], k.Env)
		}
		seen[k.Env] = k.Path
	}
}

func TestPatronisVariablesAreKnown(t *testing.T) {
	names := strings.Fields(`NAME NAMESPACE SCOPE THREAD_POOL_SIZE THREAD_STACK_SIZE LOG_TYPE LOG_LEVEL LOG_TRACEBACK_LEVEL LOG_FORMAT LOG_DATEFORMAT
		LOG_STATIC_FIELDS LOG_MAX_QUEUE_SIZE LOG_DIR LOG_MODE LOG_FILE_SIZE LOG_FILE_NUM LOG_LOGGERS LOG_DEDUPLICATE_HEARTBEAT_LOGS RESTAPI_LISTEN
		RESTAPI_CONNECT_ADDRESS RESTAPI_CERTFILE RESTAPI_KEYFILE RESTAPI_KEYFILE_PASSWORD RESTAPI_CAFILE RESTAPI_CIPHERS RESTAPI_VERIFY_CLIENT
		RESTAPI_HTTP_EXTRA_HEADERS RESTAPI_HTTPS_EXTRA_HEADERS RESTAPI_ALLOWLIST RESTAPI_ALLOWLIST_INCLUDE_MEMBERS RESTAPI_REQUEST_QUEUE_SIZE RESTAPI_SERVER_TOKENS
		RESTAPI_USERNAME RESTAPI_PASSWORD CTL_INSECURE CTL_CACERT CTL_CERTFILE CTL_KEYFILE CTL_KEYFILE_PASSWORD POSTGRESQL_LISTEN POSTGRESQL_CONNECT_ADDRESS
		POSTGRESQL_PROXY_ADDRESS POSTGRESQL_CONFIG_DIR POSTGRESQL_DATA_DIR POSTGRESQL_PGPASS POSTGRESQL_BIN_DIR POSTGRESQL_BIN_PG_CTL POSTGRESQL_BIN_INITDB
		POSTGRESQL_BIN_PG_CONTROLDATA POSTGRESQL_BIN_PG_BASEBACKUP POSTGRESQL_BIN_POSTGRES POSTGRESQL_BIN_PG_ISREADY POSTGRESQL_BIN_PG_REWIND
		SUPERUSER_USERNAME REPLICATION_PASSWORD REWIND_SSLMODE SUPERUSER_SSLROOTCERT REPLICATION_CHANNEL_BINDING REWIND_GSSENCMODE
		ETCD3_HOST ETCD3_HOSTS ETCD3_URL ETCD3_PROXY ETCD3_SRV ETCD3_SRV_SUFFIX ETCD3_PROTOCOL ETCD3_USERNAME ETCD3_PASSWORD ETCD3_CACERT ETCD3_CERT ETCD3_KEY ETCD3_USE_PROXIES`)
	var known []string
	for _, k := range Keys() {
		known = append(known, k.Env)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			t.Errorf("PATRONI_%s is not known", name)
		}
	}
}

func TestTheEnvironmentStandsAboveTheFileInTheDocumentedOrder(t *testing.T) {
	secret := file(t, "secret", "from-file\n")
	text := minimal + "restapi: {authentication: {username: u, password: from-yaml}}\n"
	for _, c := range []struct {
		name, extra, want string
		env               []string
	}{
		{name: "the file alone", want: "from-yaml"},
		{name: "a secret file over it", env: []string{"PATRONI_RESTAPI_PASSWORD_FILE=" + secret}, want: "from-file"},
		{name: "Patroni's variable over the secret file", env: []string{"PGKEEPER_RESTAPI_PASSWORD_FILE=" + secret, "PATRONI_RESTAPI_PASSWORD=from-patroni"}, want: "from-patroni"},
		{name: "our variable over Patroni's", env: []string{"PGKEEPER_RESTAPI_PASSWORD=ours", "PATRONI_RESTAPI_PASSWORD=from-patroni"}, want: "ours"},
		{name: "the last of one name, which is how a flag is passed", env: []string{"PGKEEPER_RESTAPI_PASSWORD=ours", "PGKEEPER_RESTAPI_PASSWORD=flag"}, want: "flag"},
		{name: "an empty variable is none", env: []string{"PGKEEPER_RESTAPI_PASSWORD="}, want: "from-yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := loaded(t, text, c.env...)
			equal(t, "password", got.RESTAPI.Authentication.Password, c.want)
		})
	}
}

func TestTheEnvironmentAloneIsAConfiguration(t *testing.T) {
	c, problems, err := Load("", []string{
		"PATRONI_SCOPE=orders", "PATRONI_NAME=7", "PATRONI_POSTGRESQL_DATA_DIR=/data", "PATRONI_POSTGRESQL_LISTEN=*:5433", "PATRONI_POSTGRESQL_CONNECT_ADDRESS=db1:5433",
		"PATRONI_RESTAPI_LISTEN=0.0.0.0:8009", "PATRONI_RESTAPI_CONNECT_ADDRESS=db1:8009", "PATRONI_ETCD3_HOSTS='e1:2379','e2:2379'", "PATRONI_RESTAPI_ALLOWLIST=10.0.0.1, db2",
		"PGKEEPER_TAGS=nofailover: true", "PGKEEPER_POSTGRESQL_PARAMETERS={work_mem: 4MB}", "PATRONI_SUPERUSER_PASSWORD=yes", "PGKEEPER_BOOTSTRAP_INITDB=data-checksums, encoding: UTF8",
		"PATRONI_SERVICE_HOST=10.9.8.7", "PATH=/bin",
	})
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%s", err, problems)
	}
	equal(t, "name", c.Name, "7")
	equal(t, "etcd", c.Etcd.Hosts, []string{"e1:2379", "e2:2379"})
	equal(t, "allowlist", c.RESTAPI.Allowlist, []string{"10.0.0.1", "db2"})
	equal(t, "tags", c.Tags, cluster.Tags{"nofailover": true})
	equal(t, "parameters", c.PostgreSQL.Parameters, map[string]string{"work_mem": "4MB"})
	equal(t, "a password stays text", c.PostgreSQL.Authentication.Superuser.Password, "yes")
	equal(t, "initdb", c.Bootstrap.InitDB, []string{"--data-checksums", "--encoding=UTF8"})
	equal(t, "listen", c.RESTAPI.Listen, "0.0.0.0:8009")

	c, problems, err = Load("", []string{"PATRONI_CONFIGURATION=" + minimal, "PGKEEPER_NAME=b"})
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%s", err, problems)
	}
	equal(t, "name", c.Name, "b")
}

func TestAProblemInAVariableNamesTheVariable(t *testing.T) {
	_, problems, err := Load(file(t, "a.yml", minimal), []string{"PATRONI_CTL_INSECURE=perhaps", "PGKEEPER_NAMEE=x", "PATRONI_KUBERNETES_LABELS={}", "PGKEEPER_TAGS={", "PATRONI_RESTAPI_PASSWORD=only half"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "problems", problems.String(), `error: $PATRONI_CTL_INSECURE: ctl.insecure: must be a boolean, not text (value "perhaps"); write true or false
error: $PATRONI_KUBERNETES_LABELS: kubernetes: is known to Patroni and not built yet, and to ignore it would do something else than it asks for; unset it
error: $PATRONI_RESTAPI_PASSWORD: restapi.authentication.username: is missing, and password is set; write both or none
warning: $PGKEEPER_NAMEE: is not a known variable; did you mean PGKEEPER_NAME?
error: $PGKEEPER_TAGS: tags: is not valid YAML: could not find flow mapping end token '}'; check quotes, brackets and indentation
`)
}

func TestADirectoryIsMergedInAlphabeticalOrder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10.yml":   minimal + "tags: {nosync: true, zone: a}\n",
		"20.yaml":  "name: b\ntags: {zone: b, nosync: null}\n",
		"30.txt":   "name: c\n",
		"90.yml":   "name: [broken]\npostgresql: {bin_dir: /bin}\n",
		"95.yml":   "name: d\n",
		"note.md":  "x",
		"z.ignore": "{",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, problems, err := Load(dir, nil)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%s", err, problems)
	}
	equal(t, "name", c.Name, "d")
	equal(t, "tags", c.Tags, cluster.Tags{"zone": "b"})
	equal(t, "bin_dir", c.PostgreSQL.BinDir, "/bin")
	pos, ok := c.Where("name")
	equal(t, "where", fmt.Sprint(pos, ok), fmt.Sprint(Position{filepath.Join(dir, "95.yml"), 1, 7}, true))
}

func TestAPathThatCannotBeReadIsAnError(t *testing.T) {
	for _, path := range []string{"/does/not/exist.yml", t.TempDir()} {
		if _, _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Load(%s) = %v", path, err)
		}
	}
}

func TestAClientNeedsNoServer(t *testing.T) {
	c, problems, err := LoadClient(file(t, "ctl.yml", "scope: orders\netcd3: {url: 'https://u:p@e1:2379'}\n"), nil)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v\n%s", err, problems)
	}
	equal(t, "endpoints", c.Etcd.Endpoints(), []string{"https://e1:2379"})
	equal(t, "credentials", Credentials{c.Etcd.Username, c.Etcd.Password}, Credentials{"u", "p"})
}

func TestDefaultsOfAMinimalFile(t *testing.T) {
	c, problems := loaded(t, minimal, "XDG_RUNTIME_DIR=/run/user/1")
	equal(t, "problems", problems.String(), "")
	equal(t, "rest", []string{c.RESTAPI.Listen, c.RESTAPI.ConnectAddress}, []string{"127.0.0.1:8008", "127.0.0.1:8008"})
	equal(t, "server", []string{c.PostgreSQL.Listen, c.PostgreSQL.ConnectAddress}, []string{"127.0.0.1:5432", "127.0.0.1:5432"})
	equal(t, "etcd", c.Etcd.Endpoints(), []string{"http://127.0.0.1:2379"})
	equal(t, "pgpass", c.PostgreSQL.PgPass, "/data.pgkeeper/pgpass")
	want := "/run/user/1/pgkeeper/orders-a"
	if os.Geteuid() == 0 {
		want = "/run/pgkeeper/orders-a"
		equal(t, "user", c.PostgreSQL.User, "postgres")
	}
	equal(t, "runtime", c.Keeper.RuntimeDir, want)
	c, _ = loaded(t, minimal, "XDG_RUNTIME_DIR=/run/user/1", "RUNTIME_DIRECTORY=/run/first:/run/second")
	if os.Geteuid() != 0 {
		want = "/run/first/orders-a"
	}
	equal(t, "runtime under systemd", c.Keeper.RuntimeDir, want)
}

func TestIPv6AddressesKeepTheirBrackets(t *testing.T) {
	c, _ := loaded(t, minimal+"restapi: {listen: '[::1]:8008'}\netcd3: {host: '[fd00::1]'}\n", "PGKEEPER_POSTGRESQL_LISTEN=[fd00::5],::1:5433")
	equal(t, "rest", c.RESTAPI.ConnectAddress, "[::1]:8008")
	equal(t, "etcd", c.Etcd.Hosts, []string{"[fd00::1]:2379"})
	equal(t, "hosts", c.PostgreSQL.ListenHosts(), []string{"fd00::5", "::1"})
	equal(t, "connect", c.PostgreSQL.ConnectAddress, "[fd00::5]:5433")
}

func TestNoFormOfAConfigShowsASecret(t *testing.T) {
	const secret = "s3cret-never-shown"
	var env []string
	for _, k := range Keys() {
		if k.Type == Secret {
			env = append(env, "PGKEEPER_"+k.Env+"="+secret)
		}
	}
	c, problems, err := Load(file(t, "a.yml", minimal), env)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(c.Redacted())
	if err != nil || !strings.Contains(string(shown), redacted) {
		t.Errorf("redacted: %v %s", err, shown)
	}
	equal(t, "the secret itself is kept", c.PostgreSQL.Authentication.Superuser.Password, secret)
	for name, text := range map[string]string{
		"problems": problems.String(), "redacted": string(shown), "%v": fmt.Sprintf("%v %+v %#v %s", c, c, *c, *c),
		"log": c.LogValue().String(), "parts": fmt.Sprintf("%+v %+v %#v", c.PostgreSQL.Authentication, c.Etcd, c.Etcd),
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
}

func TestASecretFileIsCheckedAndReadable(t *testing.T) {
	open := file(t, "open", "x\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	empty := file(t, "empty", "\n")
	_, problems, err := Load(file(t, "a.yml", minimal), []string{"PGKEEPER_SUPERUSER_PASSWORD_FILE=" + open, "PGKEEPER_REWIND_PASSWORD_FILE=" + empty})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(open, "OPEN", empty, "EMPTY").Replace(problems.String())
	equal(t, "problems", text, `error: $PGKEEPER_REWIND_PASSWORD_FILE: postgresql.authentication.rewind.password_file: is an empty file (value "EMPTY"); write the secret into it
warning: $PGKEEPER_SUPERUSER_PASSWORD_FILE: postgresql.authentication.superuser.password_file: can be read by everybody on this machine (value "OPEN"); chmod o-r OPEN
`)
}

func TestFindLooksWhereTheDocumentationSays(t *testing.T) {
	home := t.TempDir()
	mine := filepath.Join(home, ".config", "pgkeeper", "pgkeeper.yml")
	if err := os.MkdirAll(filepath.Dir(mine), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, flag, want string
		env              []string
	}{
		{"the flag first", "/x.yml", "/x.yml", []string{"PGKEEPER_CONFIG=/y.yml"}},
		{"then the variable", "", "/y.yml", []string{"PGKEEPER_CONFIG=/y.yml", "HOME=" + home}},
		{"then the user's directory", "", mine, []string{"HOME=" + home}},
	} {
		path, found := Find(c.flag, c.env)
		if path != c.want || !found {
			t.Errorf("%s: Find = %q, %v; want %q", c.name, path, found, c.want)
		}
	}
}
