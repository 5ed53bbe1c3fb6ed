package render

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shipped is where a user copies the files from; they are the golden files of the defaults.
const shipped = "../../deploy"

func TestTheShippedFilesAreWhatIsRenderedByDefault(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(kind.Name, func(t *testing.T) { golden(t, kind.Name, DefaultParams(), filepath.Join(shipped, kind.Name)) })
	}
}

// Every value differs from its default, so that one which a template leaves out shows.
func TestParametersReachTheFiles(t *testing.T) {
	p := DefaultParams().WithMembers([]Member{
		{Name: "alpha", Host: "alpha.example", Port: 6001, RESTPort: 9001},
		{Name: "beta", Host: "2001:db8::2", Port: 6002, RESTPort: 9002},
		{Name: "gamma", Host: "198.51.100.3", Port: 6003, RESTPort: 9003},
		{Name: "delta", Host: "198.51.100.4", Port: 6004, RESTPort: 9004},
	})
	p.Scope, p.Etcd, p.Proxy, p.ProxyRW, p.ProxyRO = "orders", []string{"etcd.example:12379"}, "lb.example", 15000, 15001
	p.Database, p.User, p.MaxConnections, p.Image = "shop", "web", 300, "registry.example/pgkeeper:1.2"
	for _, kind := range Kinds() {
		if kind.Name == "grafana" || kind.Name == "systemd" {
			continue // have none
		}
		t.Run(kind.Name, func(t *testing.T) { golden(t, kind.Name, p, filepath.Join("testdata", kind.Name)) })
	}
}

func golden(t *testing.T, kind string, p Params, dir string) {
	t.Helper()
	files, err := Render(kind, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, f.Text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatalf("%v; run go test ./routing/render -update", err)
		}
		if diff := cmp.Diff(string(want), string(f.Text)); diff != "" {
			t.Errorf("%s: run go test ./routing/render -update (-golden +rendered):\n%s", name, diff)
		}
	}
}

func TestTheSameParametersGiveTheSameBytes(t *testing.T) {
	for _, kind := range Kinds() {
		first, err := Render(kind.Name, DefaultParams())
		if err != nil {
			t.Fatal(err)
		}
		again, err := Render(kind.Name, DefaultParams())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("%s: %s", kind.Name, diff)
		}
		if first[0].Name != kind.Main {
			t.Errorf("%s: the first file is %s, want %s", kind.Name, first[0].Name, kind.Main)
		}
		for _, f := range first {
			if !bytes.HasSuffix(f.Text, []byte("\n")) || bytes.Contains(f.Text, []byte("<no value>")) || bytes.Contains(f.Text, []byte("\t")) {
				t.Errorf("%s/%s: has a hole, a tab, or no newline at its end", kind.Name, f.Name)
			}
		}
	}
}

func TestKindsAreSortedAndComplete(t *testing.T) {
	var names []string
	for _, k := range Kinds() {
		names = append(names, k.Name)
	}
	entries, err := templates.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, e := range entries {
		folders = append(folders, e.Name())
	}
	if !slices.Equal(names, folders) {
		t.Errorf("kinds %v, folders of templates %v", names, folders)
	}
}

func TestTheNumberOfReplicasIsOneNumber(t *testing.T) {
	for kind, want := range map[string]string{
		"compose": "scale: 6", "swarm": "replicas: 6", "k8s": "replicas: 6", "terraform": "default     = 6", "pgdog": "192.0.2.16", "prometheus": "192.0.2.16:8008",
	} {
		files, err := Render(kind, DefaultParams().WithReplicas(5))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(files[0].Text), want) {
			t.Errorf("%s with 5 replicas lacks %q", kind, want)
		}
	}
}

func TestPoolsLeaveRoomOnEveryPossiblePrimary(t *testing.T) {
	for _, connections := range []int{20, 25, 100, 101, 500} {
		p := DefaultParams()
		p.MaxConnections = connections
		for _, pools := range []int{2, 3} {
			if all := pools * p.Share(pools); all > connections-reservedConnections-agentConnections {
				t.Errorf("max_connections %d: %d pools of %d leave no room for PostgreSQL's own", connections, pools, p.Share(pools))
			}
		}
	}
}

func TestRenderRefusesWhatAProgramWouldMisread(t *testing.T) {
	cases := map[string]struct {
		change func(*Params)
		want   string
	}{
		"a name with a space":       {func(p *Params) { p.Members[0].Name = "pg 1" }, "cannot be written"},
		"a name with a quote":       {func(p *Params) { p.Members[0].Name = `pg"1` }, "cannot be written"},
		"a name twice":              {func(p *Params) { p.Members[1].Name = "pg1" }, "two members"},
		"a host with a line":        {func(p *Params) { p.Members[0].Host = "h\nadmin_users = x" }, "no host"},
		"a host that is an option":  {func(p *Params) { p.Members[0].Host = "-h" }, "no host"},
		"a port out of range":       {func(p *Params) { p.Members[0].Port = 70000 }, "between 1 and 65535"},
		"no members":                {func(p *Params) { p.Members = nil }, "no members"},
		"a database with a bracket": {func(p *Params) { p.Database = "app]" }, "cannot be written"},
		"a database with a quote":   {func(p *Params) { p.Database = "a'b" }, "cannot be written"},
		"a user with YAML in it":    {func(p *Params) { p.User = "a: b" }, "cannot be written"},
		"a scope in capitals":       {func(p *Params) { p.Scope = "Demo" }, "everywhere"},
		"etcd without a port":       {func(p *Params) { p.Etcd = []string{"etcd"} }, "host:port"},
		"no room for a pool":        {func(p *Params) { p.MaxConnections = 10 }, "leaves nothing"},
		"a proxy that is none":      {func(p *Params) { p.Proxy = "a b" }, "no host"},
		"a proxy's port":            {func(p *Params) { p.ProxyRO = 0 }, "between 1 and 65535"},
		"an image with a quote":     {func(p *Params) { p.Image = `x" y` }, "no name of an image"},
		"too many replicas":         {func(p *Params) { p.Replicas = MaxReplicas + 1 }, "choose 0 to"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := DefaultParams()
			c.change(&p)
			if _, err := Render("pgbouncer", p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := Render("nothing", DefaultParams()); err == nil {
		t.Error("an unknown kind was rendered")
	}
}

func TestTheHoldOfComposeIsTheOneBesideHAProxy(t *testing.T) {
	shippedOne, err := os.ReadFile(filepath.Join(shipped, "haproxy", "hold.lua"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := fs.ReadFile(templates, "templates/compose/hold.lua")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(shippedOne), string(ours)); diff != "" {
		t.Errorf("copy deploy/haproxy/hold.lua to routing/render/templates/compose (-shipped +ours):\n%s", diff)
	}
}
