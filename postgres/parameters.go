package postgres

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// forcedParameter goes to the command line and comes from the dynamic
// configuration only: all members must agree on it, or a standby cannot follow.
type forcedParameter struct {
	name, fallback string
	// least is the smallest value that works in a cluster; 0 when the value is no
	// number.
	least int
	// standby is pg_control's value, below which a standby does not start.
	standby func(cluster.ControlData) int
}

var forcedParameters = []forcedParameter{
	{name: "wal_level", fallback: "replica"},
	{name: "hot_standby", fallback: "on"},
	{name: "wal_log_hints", fallback: "on"},
	{name: "track_commit_timestamp", fallback: "off"},
	{name: "max_connections", fallback: "100", least: 25,
		standby: func(c cluster.ControlData) int { return c.MaxConnections }},
	{name: "max_worker_processes", fallback: "8", least: 2,
		standby: func(c cluster.ControlData) int { return c.MaxWorkers }},
	{name: "max_wal_senders", fallback: "10", least: 10,
		standby: func(c cluster.ControlData) int { return c.MaxWalSenders }},
	{name: "max_replication_slots", fallback: "10", least: 10},
	{name: "max_prepared_transactions", fallback: "0",
		standby: func(c cluster.ControlData) int { return c.MaxPrepared }},
	{name: "max_locks_per_transaction", fallback: "64", least: 32,
		standby: func(c cluster.ControlData) int { return c.MaxLocks }},
}

// ours are forced too, but say what only this member knows.
var ours = []string{"listen_addresses", "port", "cluster_name", "unix_socket_directories"}

// fileDefaults stand in the generated file unless the user says otherwise. The
// intervals are short because a failover waits for them: a re-pointed standby
// retries every wal_retrieve_retry_interval, and a dead peer is given up after
// the two timeouts.
var fileDefaults = map[string]string{
	"wal_keep_size":               "128MB",
	"wal_retrieve_retry_interval": "100ms",
	"wal_receiver_timeout":        "5s",
	"wal_sender_timeout":          "5s",
	"password_encryption":         "scram-sha-256", // md5 before 14
}

// recoveryParameters belong to the recovery section; they are taken out of
// postgresql.auto.conf, where ALTER SYSTEM or a backup tool may have put them.
var recoveryParameters = []string{
	"archive_cleanup_command", "primary_conninfo", "primary_slot_name", "promote_trigger_file",
	"recovery_end_command", "recovery_min_apply_delay", "recovery_target", "recovery_target_action",
	"recovery_target_inclusive", "recovery_target_lsn", "recovery_target_name", "recovery_target_time",
	"recovery_target_timeline", "recovery_target_xid", "restore_command",
}

// forcedFrom is the command line's part of the configuration.
func (s *Server) forcedFrom(settings cluster.Settings) map[string]string {
	configured := lowerKeys(settings.PostgreSQL.Parameters)
	forced := map[string]string{
		"listen_addresses":        strings.Join(s.hosts, ","),
		"port":                    s.port,
		"cluster_name":            cmp.Or(s.o.Scope, s.o.Name),
		"unix_socket_directories": s.o.SocketDir,
	}
	for _, p := range forcedParameters {
		forced[p.name] = p.value(configured[p.name])
	}
	if n, err := strconv.Atoi(forced["max_wal_senders"]); err == nil && settings.CommitGate {
		forced["max_wal_senders"] = strconv.Itoa(n + 1) // the gate takes none that is meant for others
	}
	if name := configured["cluster_name"]; name != "" {
		forced["cluster_name"] = name
	}
	forced["cluster_name"] = strings.Map(plainASCII, forced["cluster_name"])
	return forced
}

// plainASCII: a server shows other letters of its cluster_name in another way, each release
// its own, and would seem to wait for a restart for ever.
func plainASCII(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// value is what a forced parameter gets for a configured one: the default when
// nothing or nonsense is configured, never less than works.
func (p forcedParameter) value(configured string) string {
	switch {
	case p.name == "hot_standby" || p.name == "wal_log_hints":
		return p.fallback // off would break looks and rewinds
	case p.name == "wal_level" && configured != "logical":
		return p.fallback // minimal cannot replicate; hot_standby and archive are old names
	case configured == "":
		return p.fallback
	case p.standby == nil && p.least == 0:
		return configured
	}
	n, err := strconv.Atoi(strings.TrimSpace(configured))
	if err != nil {
		return p.fallback
	}
	return strconv.Itoa(max(n, p.least))
}

// raised lifts forced parameters to what pg_control says the primary had: a
// standby below that refuses to start, or pauses replay (SAFETY trap 19).
func raised(forced map[string]string, control cluster.ControlData) map[string]string {
	forced = maps.Clone(forced)
	for _, p := range forcedParameters {
		if p.standby == nil {
			continue
		}
		if n, err := strconv.Atoi(forced[p.name]); err == nil && n < p.standby(control) {
			forced[p.name] = strconv.Itoa(p.standby(control))
		}
	}
	return forced
}

// fileParameters is the generated file's part: defaults, then the dynamic
// configuration, then the local one, without what the command line forces or the
// recovery section holds, and without names that would be more than a name there,
// which config refuses to begin with.
func (s *Server) fileParameters(spec ConfigSpec) map[string]string {
	parameters := maps.Clone(fileDefaults)
	if s.version.initSync {
		parameters["recovery_init_sync_method"] = "syncfs"
	}
	maps.Copy(parameters, lowerKeys(spec.Settings.PostgreSQL.Parameters))
	maps.Copy(parameters, lowerKeys(spec.Local))
	if segments, err := strconv.Atoi(parameters["wal_keep_segments"]); err == nil {
		// Gone since 13; its segments have 16 MB.
		parameters["wal_keep_size"] = strconv.Itoa(segments*16) + "MB"
	}
	delete(parameters, "wal_keep_segments")
	maps.DeleteFunc(parameters, func(name, _ string) bool {
		return !cluster.ServerParameter(name) || isForced(name) || slices.Contains(recoveryParameters, name) || name == "hba_file" || name == "ident_file"
	})
	return parameters
}

func isForced(name string) bool {
	return slices.Contains(ours, name) ||
		slices.ContainsFunc(forcedParameters, func(p forcedParameter) bool { return p.name == name })
}

// lowerKeys: parameter names do not depend on case, map keys do.
func lowerKeys(m map[string]string) map[string]string {
	lower := make(map[string]string, len(m))
	for _, name := range sortedKeys(m) {
		lower[strings.ToLower(name)] = m[name]
	}
	return lower
}
