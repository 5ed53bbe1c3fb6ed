package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
)

// try runs the program with a store in memory that holds one cluster, batman.
type try struct {
	args  []string
	stdin string
	env   []string
	keys  map[string]string
	// open replaces the store.
	open func(config.Etcd) (dcs.KV, error)
}

type outcome struct {
	code        int
	out, errOut string
}

func (c try) run(t *testing.T) outcome {
	t.Helper()
	kv := memory.NewServer(func() cluster.Instant { return 1 }).Client("test")
	for key, value := range c.keys {
		if _, err := kv.Txn(t.Context(), nil, []dcs.Op{dcs.Put(key, []byte(value), 0)}); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(c.stdin), out: &out, err: &errOut, env: append([]string{"HOME=/nonexistent"}, c.env...),
		openKV: func(config.Etcd) (dcs.KV, error) { return kv, nil }}
	if c.open != nil {
		a.openKV = c.open
	}
	code := a.run(t.Context(), c.args)
	return outcome{code, out.String(), errOut.String()}
}

func batman() map[string]string {
	member := func(role, more string) string {
		return `{"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"http://127.0.0.1:1/patroni","state":"running","role":"` + role + `","version":"4.1.4","timeline":1` + more + `,"pgkeeper":{"version":"1","node":"x"}}`
	}
	return map[string]string{
		"/service/batman/initialize":  "7268616322854375442",
		"/service/batman/leader":      "pg1",
		"/service/batman/config":      `{"ttl":10,"loop_wait":2}`,
		"/service/batman/members/pg1": member("primary", `,"xlog_location":100`),
		"/service/batman/members/pg2": member("replica", `,"replication_state":"streaming","xlog_location":100,"receive_lsn":100,"replay_lsn":100`),
	}
}

func TestVersionsForAProgramAreNothingElse(t *testing.T) {
	got := try{args: []string{"-d", "etcd3://127.0.0.1:2379", "version", "-o", "json"}, keys: batman()}.run(t)
	var members []map[string]any
	if err := json.Unmarshal([]byte(got.out), &members); err != nil || len(members) != 2 || !strings.HasPrefix(got.errOut, "pgkeeper ") {
		t.Errorf("%v: %+v", err, got)
	}
}

func TestExitCodes(t *testing.T) {
	etcd := []string{"-d", "etcd3://127.0.0.1:2379"}
	cases := map[string]struct {
		args  []string
		stdin string
		code  int
		want  string // in standard output, or in standard error when code is not 0
	}{
		"list":                            {append(etcd, "list"), "", 0, "Cluster: batman"},
		"flags after the verb":            {[]string{"list", "-d", "127.0.0.1:2379", "-o", "json"}, "", 0, `"Member": "pg1"`},
		"patronictl's -f":                 {append(etcd, "list", "-f", "tsv"), "", 0, "batman\tpg1"},
		"topology":                        {append(etcd, "topology"), "", 0, "+ pg2"},
		"dsn of a replica":                {append(etcd, "dsn", "-r", "replica"), "", 0, "host=10.0.0.1 port=5432"},
		"show-config":                     {append(etcd, "show-config"), "", 0, "ttl: 10"},
		"history":                         {append(etcd, "history", "-o", "tsv"), "", 0, "TL\tLSN"},
		"edit-config -s":                  {append(etcd, "edit-config", "-s", "ttl=20", "--force"), "", 0, "+ttl: 20\nConfiguration changed"},
		"edit-config from standard input": {append(etcd, "edit-config", "--apply", "-", "--force", "-q"), "ttl: 21\n", 0, "Configuration changed"},
		"pause":                           {append(etcd, "pause", "batman"), "", 0, "paused"},
		"version":                         {[]string{"version"}, "", 0, "pgkeeper dev (speaks Patroni 4.1.4"},
		"--version":                       {[]string{"--version"}, "", 0, "pgkeeper dev"},
		"help":                            {[]string{"--help"}, "", 0, "Run it:"},
		"no arguments":                    {nil, "", 0, "Run it:"},

		"resume of a running cluster":  {append(etcd, "resume"), "", 1, "Error: refused: cluster management is already resumed"},
		"another cluster":              {append(etcd, "list", "joker"), "", 1, "Error: no such cluster: joker; there is batman"},
		"a switchover nobody confirms": {append(etcd, "switchover", "--candidate", "pg2"), "pg1\n", 1, "Error: aborted"},
		"a switchover answered no":     {append(etcd, "switchover", "--candidate", "pg2"), "pg1\nno\n", 1, "Error: aborted"},
		"switchover to the leader":     {append(etcd, "switchover", "--candidate", "pg1", "--force"), "", 1, "pg1 is the leader already"},
		"restart of nobody":            {append(etcd, "restart", "batman", "pg9", "--force"), "", 1, "no member pg9"},
		"history of silent members":    {append(etcd, "history", "--lost"), "", 1, "pg1 has not said what it lost: reach the agent at http://127.0.0.1:1"},
		"query without a server":       {append(etcd, "query", "-c", "select 1", "-m", "pg9"), "", 1, "no member pg9"},
		"an agent that is not there":   {[]string{"--api", "http://127.0.0.1:1", "list"}, "", 1, "reach the agent at http://127.0.0.1:1: connection refused"},
		"nothing configured":           {[]string{"list"}, "", 1, "http://127.0.0.1:8008"},

		"an unknown command":         {[]string{"lst"}, "", 2, `unknown command "lst"`},
		"a command cut short":        {[]string{"switch"}, "", 2, `did you mean "switchover"?`},
		"an unknown flag":            {append(etcd, "list", "--nope"), "", 2, "unknown flag: --nope"},
		"an unknown flag before":     {[]string{"--nope", "list"}, "", 2, "unknown flag: --nope"},
		"an unknown format":          {append(etcd, "list", "-o", "xml"), "", 2, `unknown format "xml"`},
		"an unknown role":            {append(etcd, "dsn", "-r", "boss"), "", 2, `unknown role "boss"`},
		"too many arguments":         {append(etcd, "pause", "a", "b"), "", 2, "accepts at most 1 arg"},
		"two ways at once":           {append(etcd, "--api", "http://x:1", "list"), "", 2, "give one"},
		"a store that is none":       {[]string{"-d", "zk://x", "list"}, "", 2, "want etcd3://host:port"},
		"a store without a host":     {[]string{"-d", "etcd3://,", "list"}, "", 2, "a host is missing"},
		"nothing to edit":            {append(etcd, "edit-config"), "", 2, "nothing to change"},
		"query without SQL":          {append(etcd, "query"), "", 2, "give either SQL"},
		"a timeout that is no time":  {append(etcd, "restart", "batman", "--timeout", "soon"), "", 2, "--timeout"},
		"flush of neither":           {append(etcd, "flush", "batman"), "", 2, "restart or switchover"},
		"an address that is no host": {[]string{"--api", "127.0.0.1:8008", "list"}, "", 2, "want http://host:port"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := try{args: c.args, stdin: c.stdin, keys: batman()}.run(t)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d; standard error: %s", got.code, c.code, got.errOut)
			}
			text := got.out
			if c.code != 0 {
				text = got.errOut
			}
			if !strings.Contains(text, c.want) {
				t.Errorf("got %q, want ...%s...", text, c.want)
			}
			if c.code == 1 && strings.Count(got.errOut, "Error: ") != 1 {
				t.Errorf("want one line that says why: %q", got.errOut)
			}
		})
	}
}

func TestMembersMayBeNamedWithoutTheClusterWhereItIsKnown(t *testing.T) {
	for _, args := range [][]string{{"reinit", "pg1"}, {"reinit", "batman", "pg1"}, {"--scope", "batman", "reinit", "pg1"}} {
		got := try{args: append([]string{"-d", "x:1", "--force"}, args...), keys: batman()}.run(t)
		if got.code != 1 || !strings.Contains(got.errOut, "pg1 is the leader") {
			t.Errorf("%v: %d %s", args, got.code, got.errOut)
		}
	}
}

func TestSeveralClustersWantAName(t *testing.T) {
	keys := batman()
	keys["/service/joker/initialize"] = "1"
	got := try{args: []string{"-d", "x:1", "list"}, keys: keys}.run(t)
	if got.code != 2 || !strings.Contains(got.errOut, "there is batman, joker") {
		t.Errorf("%d %s", got.code, got.errOut)
	}
}

func TestWrongEtcdCredentialsAreNamed(t *testing.T) {
	got := try{args: []string{"-d", "etcd3://ann:secret@h1:2379,h2:2379/ns", "list"},
		open: func(c config.Etcd) (dcs.KV, error) {
			want := config.Etcd{Protocol: "http", Hosts: []string{"h1:2379", "h2:2379"}, Username: "ann", Password: "secret"}
			if diff := cmp.Diff(want, c); diff != "" {
				t.Error(diff)
			}
			return nil, dcs.ErrDenied
		}}.run(t)
	if got.code != 1 || !strings.Contains(got.errOut, "etcd at h1:2379 and h2:2379 refused the user or password") || strings.Contains(got.errOut, "secret") {
		t.Errorf("%d %s", got.code, got.errOut)
	}
}

func TestAFailureToConnectIsAFailure(t *testing.T) {
	got := try{args: []string{"-d", "x:1", "list"}, open: func(config.Etcd) (dcs.KV, error) { return nil, errors.New("no route") }}.run(t)
	if got.code != 1 || !strings.Contains(got.errOut, "no route") {
		t.Errorf("%d %s", got.code, got.errOut)
	}
}

const file = `scope: batman
name: pg1
restapi: {listen: "127.0.0.1:8008", connect_address: "127.0.0.1:8008"}
etcd3: {hosts: ["127.0.0.1:2379"]}
postgresql:
  listen: 127.0.0.1:5432
  connect_address: 127.0.0.1:5432
  data_dir: DIR/data
  authentication:
    superuser: {username: postgres, password: x}
    replication: {username: rep, password: x}
`

func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "pgkeeper.yml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheConfigurationFileIsFound(t *testing.T) {
	path := write(t, file)
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".config/pgkeeper"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(write(t, file), filepath.Join(home, ".config/pgkeeper/pgkeeper.yml")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]try{
		"by flag":               {args: []string{"-c", path, "list"}},
		"by environment":        {args: []string{"list"}, env: []string{"PGKEEPER_CONFIG=" + path}},
		"in the user's folder":  {args: []string{"list"}, env: []string{"HOME=" + home}},
		"by patronictl's names": {args: []string{"--config-file", path, "list"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.keys = batman()
			if got := c.run(t); got.code != 0 || !strings.Contains(got.out, "Cluster: batman") {
				t.Errorf("%d %s", got.code, got.errOut)
			}
		})
	}
}

func TestAPatronictlFileIsEnough(t *testing.T) {
	path := write(t, "scope: batman\netcd3:\n  hosts: 127.0.0.1:2379\n")
	if got := (try{args: []string{"-c", path, "list"}, keys: batman()}).run(t); got.code != 0 {
		t.Errorf("%d %s", got.code, got.errOut)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	good := try{args: []string{"validate", "--ignore-machine", write(t, file)}}.run(t)
	if good.code != 0 || !strings.HasSuffix(good.out, "is valid\n") {
		t.Errorf("a good file: %d %s %s", good.code, good.out, good.errOut)
	}
	bad := try{args: []string{"validate", "--ignore-machine", write(t, strings.Replace(file, "listen: 127.0.0.1:5432", "listne: x", 1))}}.run(t)
	if bad.code != 1 || !strings.Contains(bad.errOut, "listne") || !strings.Contains(bad.errOut, ":6:") {
		t.Errorf("a bad file: %d %s", bad.code, bad.errOut)
	}
	gone := try{args: []string{"validate", "/nonexistent.yml"}}.run(t)
	if gone.code != 1 || !strings.Contains(gone.errOut, "/nonexistent.yml") {
		t.Errorf("a missing file: %d %s", gone.code, gone.errOut)
	}
}

// TestValidateRefusesWhatAnAgentWould: an allowlist or a certificate that keeps it from starting, a parameter that keeps its server.
func TestValidateRefusesWhatAnAgentWould(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Setenv("TMPDIR", "/tmp") // the server's user tries parameters there
	}
	for _, c := range []struct{ name, old, now, want string }{
		{"an allowlist", `{listen: "127.0.0.1:8008",`, `{allowlist: [10.0.0.0/99], listen: "127.0.0.1:8008",`, `error: restapi.allowlist: "10.0.0.0/99" is no address`},
		{"a certificate", `{listen: "127.0.0.1:8008",`, `{certfile: /nonexistent.pem, listen: "127.0.0.1:8008",`, "error: load restapi.certfile /nonexistent.pem"},
		{"etcd's authority", `["127.0.0.1:2379"]`, `["127.0.0.1:2379"], protocol: https, cacert: /nonexistent.ca`, "error: read etcd3.cacert"},
		{"a parameter", "  data_dir:", "  parameters: {shared_bufers: 1GB}\n  data_dir:", `parameter not accepted by PostgreSQL: PostgreSQL`},
		{"one of bootstrap.dcs", "scope:", "bootstrap: {dcs: {postgresql: {parameters: {work_mem: lots}}}}\nscope:", `parameter not accepted by PostgreSQL: PostgreSQL`},
		{"nothing", "scope:", "bootstrap: {dcs: {postgresql: {parameters: {work_mem: 8MB}}}}\nscope:", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := try{args: []string{"validate", write(t, strings.Replace(file, c.old, c.now, 1))}}.run(t)
			if strings.Contains(got.errOut, "not found on the PATH") {
				t.Skip("there is no PostgreSQL here, whose parameters they would be")
			}
			if c.want != "" && (got.code != 1 || !strings.Contains(got.errOut, c.want)) || c.want == "" && strings.Contains(got.errOut, "parameter") {
				t.Errorf("%d %s, want %q", got.code, got.errOut, c.want)
			}
			t.Log(got.errOut)
		})
	}
}

func TestValidateLooksAtTheMachine(t *testing.T) {
	path := write(t, strings.Replace(file, "  data_dir:", "  bin_dir: DIR\n  data_dir:", 1))
	got := try{args: []string{"validate", path}}.run(t)
	if got.code != 1 || !strings.Contains(got.errOut, "has no program postgres") {
		t.Errorf("%d %s", got.code, got.errOut)
	}
}

// TestADataDirectoryThatIsAMountPointIsAWarning: it works, and a clone cannot keep what
// is there. The link leads to a directory that is one wherever tests run.
func TestADataDirectoryThatIsAMountPointIsAWarning(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Symlink("/proc", filepath.Join(data, "pg_wal"))); err != nil {
		t.Fatal(err)
	}
	path := write(t, strings.Replace(file, "data_dir: DIR", "data_dir: "+data+" # DIR", 1))
	got := try{args: []string{"validate", path}}.run(t)
	if !strings.Contains(got.errOut, "warning: postgresql.data_dir: /proc is a mount point: so a clone removes what is there") {
		t.Errorf("%d %s", got.code, got.errOut)
	}
	got = try{args: []string{"doctor", "-c", path, "--offline", "--haproxy", "../../deploy/haproxy/haproxy.cfg"}}.run(t)
	if !strings.Contains(got.out, "data_dir_immovable") {
		t.Errorf("%d %s%s", got.code, got.out, got.errOut)
	}
}

func TestAnInterruptEndsAWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var errOut bytes.Buffer
	kv := memory.NewServer(func() cluster.Instant { return 1 }).Client("test")
	for key, value := range batman() {
		if _, err := kv.Txn(ctx, nil, []dcs.Op{dcs.Put(key, []byte(value), 0)}); err != nil {
			t.Fatal(err)
		}
	}
	a := &app{in: strings.NewReader(""), out: cancelAfter{cancel}, err: &errOut, openKV: func(config.Etcd) (dcs.KV, error) { return kv, nil }}
	if code := a.run(ctx, []string{"-d", "x:1", "list", "-W"}); code != 0 {
		t.Errorf("exit code %d: %s", code, errOut.String())
	}
}

// cancelAfter interrupts at the first word.
type cancelAfter struct{ cancel func() }

func (c cancelAfter) Write(p []byte) (int, error) { c.cancel(); return len(p), nil }
