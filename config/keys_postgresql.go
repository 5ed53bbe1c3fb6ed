package config

import (
	"slices"
	"strings"
)

// Options that would break what pgkeeper relies on, by tool.
var (
	forbiddenInitDB     = []string{"pgdata", "nosync", "no-sync", "pwfile", "pwprompt", "sync-only", "version", "username"}
	forbiddenBasebackup = []string{"pgdata", "format", "wal-method", "gzip", "dbname", "host", "port", "username", "password", "version", "label", "l"}
	forbiddenRewind     = []string{"target-pgdata", "source-pgdata", "source-server", "write-recovery-conf", "dry-run", "restore-target-wal", "config-file", "no-ensure-shutdown", "version"}
)

// bootstrapKeys are what the first member of a new cluster does.
func bootstrapKeys() []Key {
	return []Key{
		{Path: "bootstrap.dcs", Type: Settings, Meaning: "Dynamic configuration of a new cluster; see below. It has no effect once the cluster exists: use `pgkeeper edit-config`.", into: func(d *draft) any { return &d.Bootstrap.DCS }},
		{Path: "bootstrap.initdb", Type: Options, Forbidden: forbiddenInitDB, Meaning: "Options of initdb: `- encoding: UTF8`, `- data-checksums`.", into: func(d *draft) any { return &d.Bootstrap.InitDB }},
		{Path: "bootstrap.pg_hba", Type: Texts, Meaning: "Lines appended once to the pg_hba.conf of initdb; `postgresql.pg_hba` stands above it.", into: func(d *draft) any { return &d.Bootstrap.PgHBA }},
		{Path: "bootstrap.post_init", Type: Command, Meaning: "Another name of `post_bootstrap`.", into: func(d *draft) any { return &d.Bootstrap.PostBootstrap }},
		{Path: "bootstrap.post_bootstrap", Type: Command, Meaning: "Command run once against the new cluster, before it counts as initialised: its last argument is a connection string, `PGPASSFILE` has the password. When it fails, nothing is initialised and the bootstrap is begun anew.", into: func(d *draft) any { return &d.Bootstrap.PostBootstrap }},
		{Path: "bootstrap.method", Type: Text, Default: "initdb", Status: Refused, Quiet: []string{"initdb"}, Note: "restore by hand and start pgkeeper on the result: it adopts an existing data directory", Meaning: "How a new cluster is made.", into: func(d *draft) any { return &d.Bootstrap.Method }},
		{Path: "bootstrap.users", Type: Anything, Status: Idle, Note: "Patroni 4 dropped it: create users in the new cluster yourself", Meaning: "Users created in a new cluster."},
	}
}

func postgresqlKeys() []Key {
	return slices.Concat(serverKeys(), serverSettingKeys(), replicaKeys(),
		roleKeys("superuser", "postgres", func(d *draft) *Role { return &d.PostgreSQL.Authentication.Superuser }),
		roleKeys("replication", "replicator", func(d *draft) *Role { return &d.PostgreSQL.Authentication.Replication }),
		roleKeys("rewind", "", func(d *draft) *Role { return &d.PostgreSQL.Authentication.Rewind }))
}

// serverKeys say where the server is and how to reach it.
func serverKeys() []Key {
	tools := []Key{}
	for _, tool := range []string{"initdb", "pg_basebackup", "postgres", "pg_rewind"} {
		tools = append(tools, Key{Path: "postgresql.bin_name." + tool, Type: Text, Meaning: "File name of " + tool + ".", into: func(d *draft) any { return named{&d.PostgreSQL.BinName, tool} }})
	}
	for _, tool := range []string{"pg_ctl", "pg_controldata", "pg_isready"} {
		tools = append(tools, Key{Path: "postgresql.bin_name." + tool, Type: Text, Status: Idle, Note: "pgkeeper does not call it", Meaning: "File name of " + tool + "."})
	}
	return append([]Key{
		{Path: "postgresql.listen", Type: Address, Default: "127.0.0.1:5432", Meaning: "Addresses and port of the server, `a,b:port`. Patroni has no default.", into: func(d *draft) any { return &d.PostgreSQL.Listen }},
		{Path: "postgresql.connect_address", Type: Address, Meaning: "Address and port at which others reach the server. Default: the first address of `postgresql.listen`; required when that is a wildcard.", into: func(d *draft) any { return &d.PostgreSQL.ConnectAddress }},
		{Path: "postgresql.proxy_address", Type: Address, Meaning: "Address and port of a pooler in front of the server, shown to others.", into: func(d *draft) any { return &d.PostgreSQL.ProxyAddress }},
		{Path: "postgresql.data_dir", Type: Text, Meaning: "Data directory, absolute. Required.", into: func(d *draft) any { return &d.PostgreSQL.DataDir }},
		{Path: "postgresql.config_dir", Type: Text, Meaning: "Where postgresql.conf lives. Default: the data directory.", into: func(d *draft) any { return &d.PostgreSQL.ConfigDir }},
		{Path: "postgresql.bin_dir", Type: Text, Meaning: "Where PostgreSQL's programs are. Default: searched for.", into: func(d *draft) any { return &d.PostgreSQL.BinDir }},
		{Path: "postgresql.pgpass", Type: Text, Meaning: "Password file written for the server and its tools. Default: `pgpass` in the state directory (Patroni: `~/pgpass`).", into: func(d *draft) any { return &d.PostgreSQL.PgPass }},
		{Path: "postgresql.os_user", Type: Text, Meaning: "Another name of `pgkeeper.os_user`.", into: func(d *draft) any { return &d.PostgreSQL.User }},
		{Path: "postgresql.database", Type: Text, Default: "postgres", Meaning: "Database the agent connects to.", into: func(d *draft) any { return &d.PostgreSQL.Database }},
		{Path: "postgresql.use_unix_socket", Type: Boolean, Status: Idle, Quiet: []string{"true", "false"}, Note: "pgkeeper always does", Meaning: "Reach the own server by its socket."},
		{Path: "postgresql.use_unix_socket_repl", Type: Boolean, Default: "false", Status: Pending, Quiet: []string{"false"}, Meaning: "Likewise for replication connections.", into: func(d *draft) any { return &d.PostgreSQL.UseUnixSocketRepl }},
		{Path: "postgresql.krbsrvname", Type: Text, Status: Pending, Meaning: "Kerberos service name.", into: func(d *draft) any { return &d.PostgreSQL.KrbSrvName }},
	}, tools...)
}

// serverSettingKeys are what the server is configured with.
func serverSettingKeys() []Key {
	const script = "nothing calls it yet"
	var callbacks []Key
	for _, event := range []string{"on_start", "on_stop", "on_restart", "on_reload", "on_role_change"} {
		callbacks = append(callbacks, Key{Path: "postgresql.callbacks." + event, Type: Text, Status: Pending, Note: script, Meaning: "Command run " + strings.ReplaceAll(event, "_", " ") + ".", into: func(d *draft) any { return named{&d.PostgreSQL.Callbacks, event} }})
	}
	return append([]Key{
		{Path: "postgresql.parameters", Type: Server, Meaning: "Server parameters of this member, above the cluster's. The 13 that must be equal everywhere (see below) are taken from the cluster's alone.", into: func(d *draft) any { return &d.PostgreSQL.Parameters }},
		{Path: "postgresql.pg_hba", Type: Texts, Meaning: "Lines of pg_hba.conf; replaces the file.", into: func(d *draft) any { return &d.PostgreSQL.PgHBA }},
		{Path: "postgresql.pg_ident", Type: Texts, Meaning: "Lines of pg_ident.conf; replaces the file.", into: func(d *draft) any { return &d.PostgreSQL.PgIdent }},
		{Path: "postgresql.recovery_conf", Type: Server, Meaning: "Recovery settings (`restore_command`, ...) of this member, above the cluster's.", into: func(d *draft) any { return &d.PostgreSQL.RecoveryConf }},
		{Path: "postgresql.use_pg_rewind", Type: Boolean, Meaning: "Bring an old primary back with pg_rewind; above the cluster's setting.", into: func(d *draft) any { return &d.PostgreSQL.UsePgRewind }},
		{Path: "postgresql.use_slots", Type: Boolean, Status: Idle, Quiet: []string{"true"}, Note: "the cluster's setting holds: pgkeeper edit-config -s postgresql.use_slots=...", Meaning: "Use replication slots (a setting of the cluster)."},
		{Path: "postgresql.custom_conf", Type: Text, Meaning: "File included in place of postgresql.base.conf.", into: func(d *draft) any { return &d.PostgreSQL.CustomConf }},
		{Path: "postgresql.config_base_name", Type: Text, Default: "postgresql", Status: Pending, Quiet: []string{"postgresql"}, Meaning: "Name of the configuration file without .conf.", into: func(d *draft) any { return &d.PostgreSQL.ConfigBaseName }},
		{Path: "postgresql.pg_ctl_timeout", Type: Duration, Default: "60", Meaning: "Bound on an orderly stop of the server, after which it is stopped at once, and on a stop by SIGKILL. A start has none: its recovery takes as long as it takes, see `primary_start_timeout`.", into: func(d *draft) any { return &d.PostgreSQL.PgCtlTimeout }},
		{Path: "postgresql.pre_promote", Type: Text, Status: Refused, Note: "a promotion would not ask it: remove it, or stay with Patroni until it is built", Meaning: "Command that must succeed before a promotion.", into: func(d *draft) any { return &d.PostgreSQL.PrePromote }},
		{Path: "postgresql.before_stop", Type: Text, Status: Pending, Note: script, Meaning: "Command run before the server is stopped.", into: func(d *draft) any { return &d.PostgreSQL.BeforeStop }},
	}, callbacks...)
}

// replicaKeys say how standbys are made and brought back.
func replicaKeys() []Key {
	return []Key{
		{Path: "postgresql.create_replica_method", Type: Names, Status: Pending, Quiet: []string{"basebackup"}, Note: "replicas are made with pg_basebackup", Meaning: "Another name of `create_replica_methods`.", into: func(d *draft) any { return &d.PostgreSQL.CreateReplicaMethods }},
		{Path: "postgresql.create_replica_methods", Type: Names, Default: "[basebackup]", Status: Pending, Quiet: []string{"basebackup"}, Note: "replicas are made with pg_basebackup", Meaning: "Ways to make a standby, tried in order.", into: func(d *draft) any { return &d.PostgreSQL.CreateReplicaMethods }},
		{Path: "postgresql.basebackup", Type: Options, Forbidden: forbiddenBasebackup, Meaning: "Options of pg_basebackup: `- max-rate: 100M`.", into: func(d *draft) any { return &d.PostgreSQL.BasebackupArgs }},
		{Path: "postgresql.rewind", Type: Options, Forbidden: forbiddenRewind, Meaning: "Options of pg_rewind.", into: func(d *draft) any { return &d.PostgreSQL.RewindArgs }},
		{Path: "postgresql.remove_data_directory_on_rewind_failure", Type: Boolean, Status: Idle, Quiet: []string{"true", "false"}, Note: "after three failures a new copy is always made, and the old directory moved aside", Meaning: "Make a new copy when pg_rewind failed."},
		{Path: "postgresql.remove_data_directory_on_diverged_timelines", Type: Boolean, Status: Idle, Quiet: []string{"true", "false"}, Note: "it is always made, and the old directory moved aside", Meaning: "Make a new copy when the timelines diverged and pg_rewind is not used."},
	}
}

// roleKeys are libpq's settings of one role.
func roleKeys(name, username string, role func(*draft) *Role) []Key {
	meaning := "Role `" + name + "`: "
	keys := []Key{
		{Path: "username", Type: Text, Default: username, Meaning: meaning + "its name.", into: func(d *draft) any { return &role(d).Username }},
		{Path: "password", Type: Secret, Meaning: meaning + "its password.", into: func(d *draft) any { return &role(d).Password }},
		{Path: "sslmode", Type: Text, Values: []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}, Meaning: meaning + "sslmode of libpq.", into: func(d *draft) any { return &role(d).SSLMode }},
		{Path: "sslcert", Type: Text, Meaning: meaning + "client certificate.", into: func(d *draft) any { return &role(d).SSLCert }},
		{Path: "sslkey", Type: Text, Meaning: meaning + "its key.", into: func(d *draft) any { return &role(d).SSLKey }},
		{Path: "sslpassword", Type: Secret, Meaning: meaning + "password of the key.", into: func(d *draft) any { return &role(d).SSLPassword }},
		{Path: "sslrootcert", Type: Text, Meaning: meaning + "certificates servers are checked against.", into: func(d *draft) any { return &role(d).SSLRootCert }},
		{Path: "sslcrl", Type: Text, Meaning: meaning + "revoked certificates.", into: func(d *draft) any { return &role(d).SSLCRL }},
		{Path: "sslcrldir", Type: Text, Meaning: meaning + "folder of revoked certificates.", into: func(d *draft) any { return &role(d).SSLCRLDir }},
		{Path: "gssencmode", Type: Text, Values: []string{"disable", "prefer", "require"}, Meaning: meaning + "gssencmode of libpq.", into: func(d *draft) any { return &role(d).GSSEncMode }},
		{Path: "channel_binding", Type: Text, Values: []string{"disable", "prefer", "require"}, Meaning: meaning + "channel_binding of libpq.", into: func(d *draft) any { return &role(d).ChannelBinding }},
		{Path: "sslnegotiation", Type: Text, Values: []string{"postgres", "direct"}, Meaning: meaning + "sslnegotiation of libpq.", into: func(d *draft) any { return &role(d).SSLNegotiation }},
	}
	for i := range keys {
		keys[i].Path = "postgresql.authentication." + name + "." + keys[i].Path
	}
	return keys
}
