package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/routing/render"
)

func TestRenderWithoutFlagsShowsTheShippedFile(t *testing.T) {
	for _, k := range renderKinds() {
		t.Run(k.Name, func(t *testing.T) {
			got := try{args: []string{"render", k.Name}}.run(t)
			want, err := os.ReadFile(filepath.Join("../../deploy", k.Name, k.Main))
			if err != nil {
				t.Fatal(err)
			}
			if got.code != 0 || got.out != string(want) {
				t.Errorf("exit code %d, %s; the output is not deploy/%s/%s", got.code, got.errOut, k.Name, k.Main)
			}
		})
	}
}

func TestRenderWritesAllFilesIntoAFolder(t *testing.T) {
	dir := t.TempDir()
	got := try{args: []string{"render", "haproxy", "--replicas", "4", "--dir", dir}}.run(t)
	if got.code != 0 {
		t.Fatal(got.errOut)
	}
	for name, want := range map[string]string{"haproxy.cfg": "server pg5 192.0.2.15:5432 check port 8008", "haproxy.state": "0 replicas 0 pg5"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %q", name, want)
		}
	}
}

func TestHAProxyTakesWhatRenderWrites(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed: script/install-deps test installs it")
	}
	dir := t.TempDir()
	if got := (try{args: []string{"render", "haproxy", "--proxy", "lb:15000:15001", "--dir", dir}}).run(t); got.code != 0 {
		t.Fatal(got.errOut)
	}
	name := filepath.Join(dir, "haproxy.cfg")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, bind := range []string{"bind *:15000\n", "bind *:15001\n"} {
		if !strings.Contains(string(text), bind) {
			t.Errorf("haproxy.cfg lacks %q", bind)
		}
	}
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(text), "/etc/haproxy/", dir+"/")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), haproxy, "-c", "-f", name).CombinedOutput(); err != nil {
		t.Errorf("haproxy -c: %v\n%s", err, out)
	}
}

func TestRenderTakesTheMembersOfTheRunningCluster(t *testing.T) {
	got := try{args: []string{"-d", "etcd3://127.0.0.1:2379", "render", "haproxy", "--live"}, keys: batman()}.run(t)
	if got.code != 0 || !strings.Contains(got.out, "server pg2 10.0.0.1:5432 check port 1") {
		t.Errorf("exit code %d, %s\n%s", got.code, got.errOut, got.out)
	}
}

// TestAMemberThatIsDownIsNotLeftOutInSilence: of its address nothing is left in etcd.
func TestAMemberThatIsDownIsNotLeftOutInSilence(t *testing.T) {
	keys := batman()
	keys["/service/batman/status"] = `{"optime":1,"retain_slots":["pg_3"],"slots":{"pg_3":1}}`
	keys["/service/batman/members/pg2"] = strings.Replace(keys["/service/batman/members/pg2"], "http://", "https://", 1)
	got := try{args: []string{"-d", "etcd3://127.0.0.1:2379", "render", "haproxy", "--live"}, keys: keys}.run(t)
	if got.code != 0 || !strings.Contains(got.errOut, "warning: the member of slot pg_3 is left out") || !strings.Contains(got.errOut, "pgkeeper remove batman pg_3") {
		t.Errorf("exit code %d, %s", got.code, got.errOut)
	}
	if !strings.Contains(got.out, "server pg1 10.0.0.1:5432 check port 1\n") || !strings.Contains(got.out, "server pg2 10.0.0.1:5432 check port 1 check-ssl verify none\n") {
		t.Errorf("an agent with a certificate is checked by TLS, and no other:\n%s", got.out)
	}
}

func TestAgentsWithCertificatesAreScrapedByTLS(t *testing.T) {
	for args, want := range map[string]bool{"render prometheus --agents-tls": true, "render prometheus": false, "render prometheus --member pg1=a --agents-tls": true} {
		got := try{args: strings.Fields(args)}.run(t)
		if got.code != 0 || strings.Contains(got.out, "scheme: https") != want {
			t.Errorf("%s: exit code %d, %s\n%s", args, got.code, got.errOut, got.out)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"an unknown kind":           {[]string{"render", "nginx"}, 2, "choose from compose"},
		"two ways to name members":  {[]string{"render", "pgdog", "--live", "--member", "a=b"}, 2, "give one of them"},
		"a member without a host":   {[]string{"render", "pgdog", "--member", "pg1"}, 2, "NAME=HOST"},
		"a port that is none":       {[]string{"render", "pgdog", "--member", "pg1=h:x"}, 2, "is no number"},
		"a port out of range":       {[]string{"render", "haproxy", "--proxy", "h:0"}, 2, "from 1 to 65535"},
		"a bare IPv6 address":       {[]string{"render", "pgdog", "--member", "pg1=2001:db8::1"}, 2, "brackets"},
		"an unknown file":           {[]string{"render", "pgdog", "--file", "x"}, 2, "there is pgdog.toml, users.toml"},
		"one file and all of them":  {[]string{"render", "pgdog", "--file", "x", "--dir", "y"}, 2, "give one of them"},
		"a negative number":         {[]string{"render", "pgdog", "--replicas", "-1"}, 2, "choose 0 to 200"},
		"a name nothing could read": {[]string{"render", "pgdog", "--member", "pg 1=h"}, 1, "cannot be written"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := try{args: c.args}.run(t)
			if got.code != c.code || !strings.Contains(got.errOut, c.want) {
				t.Errorf("exit code %d, %q; want %d and %q", got.code, got.errOut, c.code, c.want)
			}
		})
	}
}

func TestAMemberIsReadWithItsPorts(t *testing.T) {
	for text, want := range map[string]render.Member{
		"a=h":                    {Name: "a", Host: "h", Port: 5432, RESTPort: 8008},
		"a=h:6000":               {Name: "a", Host: "h", Port: 6000, RESTPort: 8008},
		"a=h:6000:9000":          {Name: "a", Host: "h", Port: 6000, RESTPort: 9000},
		"a=[2001:db8::1]:6000":   {Name: "a", Host: "2001:db8::1", Port: 6000, RESTPort: 8008},
		"a=[2001:db8::1]":        {Name: "a", Host: "2001:db8::1", Port: 5432, RESTPort: 8008},
		"pg-1=db.example:1:2":    {Name: "pg-1", Host: "db.example", Port: 1, RESTPort: 2},
		"a=10.0.0.1:65535:65535": {Name: "a", Host: "10.0.0.1", Port: 65535, RESTPort: 65535},
	} {
		if got, err := parseMember(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
	}
}
