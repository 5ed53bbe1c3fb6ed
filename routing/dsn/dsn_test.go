package dsn

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pgxv5 "github.com/jackc/pgx/v5"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var members = []Host{{"10.0.0.1", 5432}, {"10.0.0.2", 5433}, {"db3.example", 5432}}

func options(d Driver, via Via, read bool) Options {
	o := Options{Driver: d, Via: via, Hosts: members, Database: "app", User: "web", Read: read}
	switch via {
	case HAProxy:
		o.Hosts = []Host{{"lb.example", 5000}}
		if read {
			o.Hosts[0].Port = 5001
		}
	case PgBouncer:
		o.Hosts = []Host{{"pool.example", 6432}}
	}
	return o
}

func TestEveryDriverEveryWay(t *testing.T) {
	var b strings.Builder
	for _, d := range Drivers() {
		for _, via := range []Via{Direct, HAProxy, PgBouncer} {
			for _, read := range []bool{false, true} {
				text, notes, err := String(options(d, via, read))
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&b, "%s via %s, read %v\n  %s\n", d, pick(via == Direct, "nothing", string(via)), read, text)
				for _, n := range notes {
					fmt.Fprintf(&b, "  - %s\n", n)
				}
			}
		}
	}
	const file = "testdata/strings.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("run go test ./routing/dsn -update (-golden +got):\n%s", diff)
	}
}

func TestWhatStandsInFrontMayHold(t *testing.T) {
	for _, via := range []Via{Direct, HAProxy, PgBouncer} {
		text, notes, err := String(options(Pgx, via, false))
		if err != nil {
			t.Fatal(err)
		}
		c, err := pgxv5.ParseConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Contains(strings.Join(notes, "\n"), "waited for 35 s")
		if holds := via != Direct; (c.ConnectTimeout > 30*time.Second) != holds || said != holds {
			t.Errorf("%s: waits for %s, explained: %v; a hold is 30 s", text, c.ConnectTimeout, said)
		}
	}
}

func TestPgxReadsItsString(t *testing.T) {
	for _, via := range []Via{Direct, HAProxy, PgBouncer} {
		text, _, err := String(options(Pgx, via, false))
		if err != nil {
			t.Fatal(err)
		}
		c, err := pgxv5.ParseConfig(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(c.RuntimeParams) != 0 {
			t.Errorf("%s: the server would be sent %v, which is meant for the driver", text, c.RuntimeParams)
		}
		if via == Direct {
			// TLS and plain for each, the first of all being the configuration itself.
			hosts := map[string]bool{fmt.Sprintf("%s:%d", c.Host, c.Port): true}
			for _, f := range c.Fallbacks {
				hosts[fmt.Sprintf("%s:%d", f.Host, f.Port)] = true
			}
			if len(hosts) != 3 || !hosts["10.0.0.2:5433"] || c.ValidateConnect == nil {
				t.Errorf("%s: pgx would try %v, and choose by role: %v", text, hosts, c.ValidateConnect != nil)
			}
		}
		if via == PgBouncer && c.DefaultQueryExecMode != pgxv5.QueryExecModeExec {
			t.Errorf("%s: pgx would prepare statements", text)
		}
	}
}

func TestWhatWouldNeedQuotingIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"a database with a space": func(o *Options) { o.Database = "a b" },
		"a user with a semicolon": func(o *Options) { o.User = "a;b" },
		"no hosts":                func(o *Options) { o.Hosts = nil },
		"an unknown driver":       func(o *Options) { o.Driver = "odbc" },
		"an unknown way":          func(o *Options) { o.Via = "nginx" },
	} {
		o := options(Libpq, Direct, false)
		change(&o)
		if text, _, err := String(o); err == nil {
			t.Errorf("%s: got %s", name, text)
		}
	}
}
