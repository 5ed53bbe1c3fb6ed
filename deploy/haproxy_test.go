package deploy

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestShippedHAProxyFilesAreTheTemplateWithItsDefaults(t *testing.T) {
	config, state, err := HAProxyConfig(DefaultHAProxyParams())
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"haproxy/haproxy.cfg": config, "haproxy/haproxy.state": state} {
		if *update {
			if err := os.WriteFile(name, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s differs from its template; run go test ./deploy -update (-shipped +template):\n%s", name, diff)
		}
	}
}

func TestHAProxyConfigLeavesOutWhatIsNotAskedFor(t *testing.T) {
	p := DefaultHAProxyParams()
	p.Stats, p.Socket, p.User, p.Group, p.Chroot, p.Hold = "", "", "", "", "", ""
	config, _, err := HAProxyConfig(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"frontend stats", "stats socket", "\n    user ", "\n    group ", "chroot", "lua"} {
		if strings.Contains(string(config), line) {
			t.Errorf("the configuration has %q:\n%s", line, config)
		}
	}
}

func TestAnAgentWithACertificateIsCheckedByTLS(t *testing.T) {
	p := DefaultHAProxyParams()
	p.Servers[1].CheckTLS = true
	config, _, err := HAProxyConfig(p)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]int{
		"server pg1 192.0.2.11:5432 check port 8008\n": 2, "server pg2 192.0.2.12:5432 check port 8008 check-ssl verify none\n": 2,
	} {
		if got := strings.Count(string(config), line); got != want {
			t.Errorf("%q stands there %d times, want %d:\n%s", line, got, want, config)
		}
	}
}

func TestHAProxyStateFileMarksEveryServerOfBothBackendsDown(t *testing.T) {
	p := DefaultHAProxyParams()
	_, state, err := HAProxyConfig(p)
	if err != nil {
		t.Fatal(err)
	}
	columns := strings.Fields(strings.TrimPrefix(strings.Split(string(state), "\n")[1], "#"))
	down := map[string]bool{}
	for line := range strings.Lines(string(state)) {
		values := strings.Fields(line)
		if len(values) != len(columns) || values[0] == "#" {
			continue
		}
		row := map[string]string{}
		for i, column := range columns {
			row[column] = values[i]
		}
		down[row["be_name"]+"/"+row["srv_name"]] = row["srv_op_state"] == "0" && row["srv_check_health"] == "0"
	}
	want := map[string]bool{
		"primary/pg1": true, "primary/pg2": true, "primary/pg3": true,
		"replicas/pg1": true, "replicas/pg2": true, "replicas/pg3": true,
	}
	if diff := cmp.Diff(want, down); diff != "" {
		t.Errorf("servers that start down (-want +got):\n%s", diff)
	}
}

func TestHAProxyConfigWritesIPv6InBrackets(t *testing.T) {
	s := Server{Name: "pg1", Addr: "2001:db8::1", Port: 5432, CheckPort: 8008}
	if got, want := s.Target(), "[2001:db8::1]:5432"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHAProxyConfigRefusesWhatWouldChangeItsMeaning(t *testing.T) {
	cases := []struct {
		name   string
		change func(*HAProxyParams)
		want   string
	}{
		{"no servers", func(p *HAProxyParams) { p.Servers = nil }, "no servers"},
		{"a name with a space", func(p *HAProxyParams) { p.Servers[0].Name = "pg 1" }, `"pg 1"`},
		{"an address with a line break", func(p *HAProxyParams) { p.Servers[0].Addr = "a\nserver b" }, "member pg1"},
		{"two servers with one name", func(p *HAProxyParams) { p.Servers[1].Name = "pg1" }, `two servers are named "pg1"`},
		{"a port out of range", func(p *HAProxyParams) { p.Servers[2].CheckPort = 70000 }, "member pg3"},
		{"no state file", func(p *HAProxyParams) { p.StateFile = "" }, "no state file"},
		{"a listen address of two words", func(p *HAProxyParams) { p.Primary = "*:5000 ssl" }, `"*:5000 ssl"`},
		{"a log target of two lines", func(p *HAProxyParams) { p.Log = "x\ny" }, "more than one line"},
		{"a hold of no time", func(p *HAProxyParams) { p.HoldSeconds = 0 }, "at least 1"},
		{"a hold file of two words", func(p *HAProxyParams) { p.Hold = "/a b" }, `"/a b"`},
		{"no connections", func(p *HAProxyParams) { p.ServerMaxConn = 0 }, "at least 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := DefaultHAProxyParams()
			c.change(&p)
			_, _, err := HAProxyConfig(p)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
