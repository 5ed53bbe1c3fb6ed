package doctor

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// backendKey is a setting of one backend of Pgpool-II.
var backendKey = regexp.MustCompile(`^backend_([a-z_]+?)(\d+)$`)

// pgpoolBackend is one of them.
type pgpoolBackend struct {
	host, port, flag string
	line, flagLine   int
}

// Pgpool reads a pgpool.conf.
func Pgpool(file, text string, l Limits) []Finding {
	f := &findings{file: file}
	all := settings(text)
	f.pgpoolBackends(all)
	f.pgpoolFailover(all)
	f.pgpoolRoles(all)
	f.pgpoolPools(all, l)
	return f.sorted()
}

func pgpoolValue(all []setting, name, standard string) (string, int) {
	s, written := last(all, "", name)
	if !written {
		return standard, 0
	}
	return s.value, s.line
}

func backendsOf(all []setting) map[int]*pgpoolBackend {
	found := map[int]*pgpoolBackend{}
	for _, s := range all {
		m := backendKey.FindStringSubmatch(s.name)
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		if found[n] == nil {
			found[n] = &pgpoolBackend{flag: "ALLOW_TO_FAILOVER"} // its default
		}
		switch m[1] {
		case "hostname":
			found[n].host, found[n].line = s.value, s.line
		case "port":
			found[n].port = s.value
		case "flag":
			found[n].flag, found[n].flagLine = s.value, s.line
		}
	}
	return found
}

// pgpoolBackends finds backends over which Pgpool-II decides itself, or whose primary it never notices.
func (f *findings) pgpoolBackends(all []setting) {
	backends := backendsOf(all)
	always := false
	for n := range len(backends) {
		b := backends[n]
		if b == nil {
			continue
		}
		flags := strings.Split(b.flag, "|")
		always = always || slices.Contains(flags, "ALWAYS_PRIMARY")
		if !slices.Contains(flags, "DISALLOW_TO_FAILOVER") {
			f.add(Error, "pgpool_two_brains", max(b.flagLine, b.line), "backend_flag"+strconv.Itoa(n)+" = 'DISALLOW_TO_FAILOVER'",
				"Pgpool-II may fail backend %d (%s) over itself: it and pgkeeper then disagree about who is primary", n, b.host)
		}
	}
	if len(backends) > 0 && !always {
		f.add(Error, "pgpool_misses_promotions", 0, "two backends only: HAProxy's port for writes with 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER' and its port for reads (pgkeeper render pgpool)",
			"a promotion by anybody else is never noticed: writes go on to the old primary and fail with SQLSTATE 25006, until somebody runs pcp_promote_node")
	}
}

func (f *findings) pgpoolFailover(all []setting) {
	if value, line := pgpoolValue(all, "failover_command", ""); value != "" {
		f.add(Error, "pgpool_failover_command", line, "failover_command = ''", "Pgpool-II promotes by its own command, without the lease: two servers can be written at once")
	}
	for _, s := range []struct{ name, standard, bad, why string }{
		{"failover_on_backend_error", "on", "on", "one broken connection detaches a backend until somebody attaches it again"},
		{"detach_false_primary", "off", "on", "Pgpool-II guesses which primary is false and takes it away"},
		{"auto_failback", "off", "on", "it attaches by names in pg_stat_replication, and detaches nothing that should be gone"},
		{"failover_on_backend_shutdown", "off", "on", "a clean restart of a server detaches it"},
	} {
		if value, line := pgpoolValue(all, s.name, s.standard); value == s.bad {
			f.add(Warning, "pgpool_"+s.name, line, s.name+" = off", "%s is %s: %s", s.name, s.bad, s.why)
		}
	}
	if value, line := pgpoolValue(all, "health_check_period", "0"); value != "0" {
		f.add(Warning, "pgpool_health_check", line, "health_check_period = 0: HAProxy checks, by role", "Pgpool-II's own health check detaches backends and attaches none again by itself")
	}
	if value, line := pgpoolValue(all, "use_watchdog", "off"); value == "on" {
		f.add(Note, "pgpool_watchdog", line, "use_watchdog only for a virtual address of Pgpool-II itself", "its watchdog elects a Pgpool-II, not a PostgreSQL: it must not decide over backends")
	}
}

func (f *findings) pgpoolRoles(all []setting) {
	if value, line := pgpoolValue(all, "backend_clustering_mode", "streaming_replication"); value != "streaming_replication" {
		f.add(Error, "pgpool_mode", line, "backend_clustering_mode = 'streaming_replication'", "in mode %s Pgpool-II writes to all backends itself", value)
	}
	if value, line := pgpoolValue(all, "sr_check_user", ""); value == "" || value == "nobody" {
		f.add(Error, "pgpool_sr_check_user", line, "sr_check_user = 'pgkeeper_pgpool', a role that may log in, with its password in pool_passwd", "without a user that can log in Pgpool-II finds no primary")
	}
	if value, line := pgpoolValue(all, "load_balance_mode", "on"); value != "on" {
		f.add(Note, "pgpool_no_balance", line, "load_balance_mode = on", "reads are not balanced: all of them go to the primary")
	}
	if value, line := pgpoolValue(all, "write_function_list", ""); value != "" {
		f.add(Warning, "pgpool_function_list", line, "write_function_list = '' and read_only_function_list = '': what is volatile goes to the primary",
			"a function that writes and is not on the list goes to a standby, and fails with SQLSTATE 25006")
	}
	if value, line := pgpoolValue(all, "delay_threshold", "0"); value != "0" {
		f.add(Note, "pgpool_delay_threshold", line, "delay_threshold = 0, and /replica?lag=16MB in HAProxy", "behind one port for reads stand many standbys: the delay that is measured is that of any of them")
	}
}

func (f *findings) pgpoolPools(all []setting, l Limits) {
	children, line := pgpoolValue(all, "num_init_children", "32")
	pools, poolLine := pgpoolValue(all, "max_pool", "4")
	c, errC := strconv.Atoi(children)
	p, errP := strconv.Atoi(pools)
	if errC != nil || errP != nil {
		return
	}
	// Both backends may be one server: when no replica is left, HAProxy's port for reads leads to the primary.
	if most := 2 * c * p * l.poolers(); most > l.Usable() {
		poolers := ""
		if n := l.poolers(); n > 1 {
			poolers = " x " + strconv.Itoa(n) + " poolers"
		}
		f.add(Error, "pgpool_pools_too_large", max(line, poolLine), "num_init_children = "+strconv.Itoa(max(l.Usable()/2/max(p, 1)/l.poolers(), 1))+" with max_pool = "+strconv.Itoa(p),
			"%d children x %d pools x 2 backends%s are %d connections, and max_connections %d leaves %d: when no replica is left both backends are one server", c, p, poolers, most, l.MaxConnections, l.Usable())
	}
}
