package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// ForcedParameters are the server parameters given on the server's command
// line. They must be equal on all members, so they come from the dynamic
// configuration alone; the first three come from listen and scope.
var ForcedParameters = []string{
	"listen_addresses", "port", "cluster_name", "wal_level", "hot_standby",
	"max_connections", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction",
	"track_commit_timestamp", "max_replication_slots", "max_worker_processes", "wal_log_hints",
}

// floors are the defaults and least values of the forced numbers.
var floors = map[string]struct{ fallback, least int }{
	"max_connections": {100, 25}, "max_wal_senders": {10, 3}, "max_prepared_transactions": {0, 0},
	"max_locks_per_transaction": {64, 32}, "max_replication_slots": {10, 4}, "max_worker_processes": {8, 2},
}

// ServerSettings is what one member's server is to be configured with: the
// dynamic configuration with the member's own over it.
type ServerSettings struct {
	// Forced go on the command line, Parameters into the file. No name is in both.
	Forced       map[string]string
	Parameters   map[string]string
	PgHBA        []string
	PgIdent      []string
	RecoveryConf map[string]string
	UsePgRewind  bool
	UseSlots     bool
}

// Effective merges the dynamic configuration with this member's own: of
// parameters and recovery settings name by name, of pg_hba and pg_ident the
// member's lines as a whole. use_slots is the cluster's alone.
func (c *Config) Effective(s cluster.Settings) ServerSettings {
	p := &c.PostgreSQL
	out := ServerSettings{
		Forced:       c.forced(s.PostgreSQL.Parameters),
		Parameters:   over(map[string]string{"wal_keep_size": "128MB"}, s.PostgreSQL.Parameters, p.Parameters),
		RecoveryConf: over(s.PostgreSQL.RecoveryConf, p.RecoveryConf),
		PgHBA:        s.PostgreSQL.PgHBA,
		PgIdent:      s.PostgreSQL.PgIdent,
		UsePgRewind:  s.PostgreSQL.UsePgRewind,
		UseSlots:     s.PostgreSQL.UseSlots,
	}
	for _, name := range ForcedParameters {
		delete(out.Parameters, name)
	}
	if p.PgHBA != nil {
		out.PgHBA = p.PgHBA
	}
	if p.PgIdent != nil {
		out.PgIdent = p.PgIdent
	}
	if p.UsePgRewind != nil {
		out.UsePgRewind = *p.UsePgRewind
	}
	return out
}

// over merges maps of parameters, later ones winning; names are lower case as
// the server takes them without regard to it.
func over(layers ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, layer := range layers {
		for _, name := range slices.Sorted(maps.Keys(layer)) {
			key := name
			if !strings.Contains(name, ".") {
				key = strings.ToLower(name)
			}
			out[key] = layer[name]
		}
	}
	return out
}

// forced are the 13, a bad value replaced by its default (parameters reports it).
func (c *Config) forced(shared map[string]string) map[string]string {
	shared = over(shared)
	out := map[string]string{
		"listen_addresses": strings.Join(c.PostgreSQL.ListenHosts(), ","), "port": strconv.Itoa(c.PostgreSQL.Port()), "cluster_name": c.Scope,
		"wal_level": "replica", "hot_standby": "on", "wal_log_hints": "on", "track_commit_timestamp": "off",
	}
	if strings.EqualFold(shared["wal_level"], "logical") {
		out["wal_level"] = "logical"
	}
	if v, faults := truth(quoted(shared["track_commit_timestamp"], Position{})); len(faults) == 0 {
		out["track_commit_timestamp"] = onOff(v)
	}
	for name, floor := range floors {
		out[name] = strconv.Itoa(floor.fallback)
		if v, err := strconv.Atoi(shared[name]); err == nil && v >= floor.least {
			out[name] = shared[name]
		}
	}
	return out
}

// parameters names values of forced parameters that cannot be used.
func (r *report) parameters(n *node, key string) {
	if n == nil || n.shape != shapeDict {
		return
	}
	for _, e := range n.entries {
		if rule := badForced(strings.ToLower(e.key), e.value); rule != "" {
			r.add(Warning, e.value.pos, join(key, e.key), e.value.show(), rule, "")
		}
	}
}

func badForced(name string, value *node) string {
	switch name {
	case "listen_addresses", "port", "cluster_name":
		return "has no effect: pgkeeper sets it from each member's file"
	case "hot_standby", "wal_log_hints":
		if v, faults := truth(value); len(faults) > 0 || !v {
			return "must be on, so on is used"
		}
	case "wal_level":
		if !slices.Contains([]string{"replica", "logical", "hot_standby"}, strings.ToLower(value.text)) {
			return "must be replica or logical, so replica is used"
		}
	case "track_commit_timestamp":
		if _, faults := truth(value); len(faults) > 0 {
			return "must be on or off, so off is used"
		}
	}
	if floor, ok := floors[name]; ok {
		if v, err := strconv.Atoi(value.text); err != nil || v < floor.least {
			return "must be a whole number of at least " + strconv.Itoa(floor.least) + ", so " + strconv.Itoa(floor.fallback) + " is used"
		}
	}
	return ""
}
