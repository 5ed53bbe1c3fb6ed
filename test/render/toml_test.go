package render

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"
)

// pgcat is the part of PgCat's configuration that is rendered, by the names of its example; what is not here is refused.
type pgcat struct {
	General struct {
		Host                     string
		Port                     int
		AdminUsername            string `toml:"admin_username"`
		AdminPassword            string `toml:"admin_password"`
		ConnectTimeout           int    `toml:"connect_timeout"`
		HealthcheckTimeout       int    `toml:"healthcheck_timeout"`
		HealthcheckDelay         int    `toml:"healthcheck_delay"`
		ShutdownTimeout          int    `toml:"shutdown_timeout"`
		BanTime                  int    `toml:"ban_time"`
		EnablePrometheusExporter bool   `toml:"enable_prometheus_exporter"`
		PrometheusExporterPort   int    `toml:"prometheus_exporter_port"`
	}
	Pools map[string]struct {
		PoolMode            string `toml:"pool_mode"`
		DefaultRole         string `toml:"default_role"`
		QueryParserEnabled  bool   `toml:"query_parser_enabled"`
		PrimaryReadsEnabled bool   `toml:"primary_reads_enabled"`
		Users               map[string]struct {
			Username, Password string
			PoolSize           int `toml:"pool_size"`
		}
		Shards map[string]struct {
			Database string
			// Each is host, port, role.
			Servers [][]any
		}
	}
}

func TestPgCatHasOnePrimaryInEachShardAndNoUnknownName(t *testing.T) {
	for _, place := range places {
		var c pgcat
		strictTOML(t, filepath.Join(place, "pgcat/pgcat.toml"), &c)
		if len(c.Pools) != 2 {
			t.Errorf("%d pools, want one for writes and one for reads", len(c.Pools))
		}
		connections := 0
		for name, pool := range c.Pools {
			for _, user := range pool.Users {
				for _, shard := range pool.Shards {
					connections += user.PoolSize * len(shard.Servers)
				}
			}
			for _, shard := range pool.Shards {
				primaries := 0
				for _, server := range shard.Servers {
					if len(server) != 3 {
						t.Fatalf("pool %s: a server is %v, want host, port and role", name, server)
					}
					if _, ok := server[1].(int64); !ok {
						t.Errorf("pool %s: port %v is no number", name, server[1])
					}
					if server[2] == "primary" {
						primaries++
					}
				}
				if want := map[bool]int{true: 1, false: 0}[pool.DefaultRole == "primary"]; primaries != want {
					t.Errorf("pool %s with default role %s has %d primaries, want %d", name, pool.DefaultRole, primaries, want)
				}
			}
		}
		// Ten of max_connections are PostgreSQL's and the agent's own.
		if usable := map[string]int{"../../deploy": 90, "../../routing/render/testdata": 290}[place]; connections > usable {
			t.Errorf("%s: when no replica is left PgCat may open %d connections to the primary, which has %d for it", place, connections, usable)
		}
	}
}

// pgdog likewise, by the names of PgDog's published schema.
type pgdog struct {
	General struct {
		Host                    string
		Port                    int
		PoolerMode              string `toml:"pooler_mode"`
		DefaultPoolSize         int    `toml:"default_pool_size"`
		LSNCheckDelay           *int   `toml:"lsn_check_delay"`
		LSNCheckInterval        int    `toml:"lsn_check_interval"`
		LSNCheckTimeout         int    `toml:"lsn_check_timeout"`
		IdleHealthcheckInterval int    `toml:"idle_healthcheck_interval"`
		HealthcheckTimeout      int    `toml:"healthcheck_timeout"`
		BanTimeout              int    `toml:"ban_timeout"`
		ConnectTimeout          int    `toml:"connect_timeout"`
		CheckoutTimeout         int    `toml:"checkout_timeout"`
		BanReplicaLagBytes      int    `toml:"ban_replica_lag_bytes"`
		LoadBalancingStrategy   string `toml:"load_balancing_strategy"`
		ReadWriteSplit          string `toml:"read_write_split"`
		ReadWriteStrategy       string `toml:"read_write_strategy"`
	}
	Databases []struct {
		Name, Host, Role string
		Port             int
	}
}

func TestPgDogDetectsRolesOfAllMembers(t *testing.T) {
	for _, place := range places {
		var c pgdog
		strictTOML(t, filepath.Join(place, "pgdog/pgdog.toml"), &c)
		g := c.General
		if g.LSNCheckDelay == nil || *g.LSNCheckDelay != 0 {
			t.Error("without lsn_check_delay = 0 PgDog never looks for the primary")
		}
		if g.IdleHealthcheckInterval >= g.BanTimeout {
			t.Error("a ban ends before the next check: a dead server comes back")
		}
		for what, value := range map[string][]string{
			g.LoadBalancingStrategy: {"random", "round_robin", "least_active_connections"},
			g.ReadWriteSplit:        {"include_primary", "exclude_primary", "include_primary_if_replica_banned", "prefer_primary"},
			g.ReadWriteStrategy:     {"conservative", "aggressive"},
			g.PoolerMode:            {"transaction", "session", "statement"},
		} {
			if !slices.Contains(value, what) {
				t.Errorf("%q is none of %v", what, value)
			}
		}
		if len(c.Databases) < 3 {
			t.Errorf("%d servers", len(c.Databases))
		}
		for _, d := range c.Databases {
			if d.Role != "auto" {
				t.Errorf("%s has the role %q: one that is not auto switches detection off for all", d.Host, d.Role)
			}
		}
		var users struct {
			Users []struct{ Name, Database, Password string }
		}
		strictTOML(t, filepath.Join(place, "pgdog/users.toml"), &users)
		if len(users.Users) != 1 || users.Users[0].Database != c.Databases[0].Name {
			t.Errorf("users %+v do not belong to database %s", users.Users, c.Databases[0].Name)
		}
	}
}

func strictTOML(t *testing.T, path string, into any) {
	t.Helper()
	meta, err := toml.DecodeFile(path, into)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range meta.Undecoded() {
		t.Errorf("%s: %s is no name that is known there", path, key)
	}
}
