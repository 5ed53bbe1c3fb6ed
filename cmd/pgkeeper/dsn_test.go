package main

import (
	"strings"
	"testing"
)

func TestDSNOfADriver(t *testing.T) {
	etcd := []string{"-d", "etcd3://127.0.0.1:2379"}
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"to the members of the cluster":      {append(etcd, "dsn", "--driver", "pgx", "--database", "shop"), 0, "postgres://app@10.0.0.1:5432,10.0.0.1:5432/shop?connect_timeout=3&target_session_attrs=read-write"},
		"through HAProxy, no cluster asked":  {[]string{"dsn", "--driver", "libpq", "--via", "haproxy", "--at", "lb", "--read"}, 0, "host=lb port=5001 "},
		"through PgBouncer, for reads":       {[]string{"dsn", "--driver", "jdbc", "--via", "pgbouncer", "--at", "lb:7000", "--read"}, 0, "jdbc:postgresql://lb:7000/app_ro?"},
		"an unknown driver":                  {[]string{"dsn", "--driver", "odbc"}, 2, "choose from"},
		"an unknown way":                     {[]string{"dsn", "--driver", "pgx", "--via", "nginx"}, 2, "choose haproxy or pgbouncer"},
		"a way without a driver":             {[]string{"dsn", "--via", "haproxy"}, 2, "--driver"},
		"one member with a driver":           {[]string{"dsn", "--driver", "pgx", "-m", "pg1"}, 2, "to all members"},
		"a database that would need quoting": {[]string{"dsn", "--driver", "pgx", "--via", "haproxy", "--database", "a b"}, 2, "letters, digits"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := try{args: c.args, keys: batman()}.run(t)
			if said := got.out + got.errOut; got.code != c.code || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d, %q; want %d and %q", got.code, said, c.code, c.want)
			}
			if got.code == 0 && strings.Count(got.out, "\n") != 1 {
				t.Errorf("the output is not the string alone: %q", got.out)
			}
		})
	}
}
