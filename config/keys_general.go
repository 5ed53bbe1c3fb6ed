package config

// generalKeys are the keys at the top, log, tags and watchdog.
func generalKeys() []Key {
	return []Key{
		{Path: "scope", Type: Text, Meaning: "Name of the cluster. Required.", into: func(d *draft) any { return &d.Scope }},
		{Path: "namespace", Type: Text, Default: "service", Meaning: "Folder of the store the cluster lives in.", into: func(d *draft) any { return &d.Namespace }},
		{Path: "name", Type: Text, Meaning: "Name of this member, unique in the cluster without regard to case. Required.", into: func(d *draft) any { return &d.Name }},
		{Path: "thread_pool_size", Type: Whole, Status: Idle, Note: "pgkeeper has no pool of threads", Meaning: "Patroni's thread pool."},
		{Path: "thread_stack_size", Type: Size, Status: Idle, Note: "pgkeeper has no pool of threads", Meaning: "Patroni's thread stacks."},

		{Path: "log.type", Type: Text, Default: "plain", Values: []string{"plain", "json"}, Meaning: "Form of a log line.", into: func(d *draft) any { return &d.Log.Type }},
		{Path: "log.level", Type: Text, Default: "INFO", Values: []string{"DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL"}, Meaning: "Least severe line that is written.", into: func(d *draft) any { return &d.Log.Level }},
		{Path: "log.static_fields", Type: Mapping, Status: Pending, Meaning: "Fields added to every line.", into: func(d *draft) any { return &d.Log.StaticFields }},
		{Path: "log.loggers", Type: Mapping, Status: Idle, Note: "pgkeeper has one logger: set log.level", Meaning: "Levels of Patroni's Python modules.", into: func(d *draft) any { return &d.Log.Loggers }},
		{Path: "log.dir", Type: Text, Status: Pending, Note: "lines go to standard error, where the service manager keeps them", Meaning: "Folder for log files.", into: func(d *draft) any { return &d.Log.Dir }},
		{Path: "log.mode", Type: Octal, Status: Pending, Note: "lines go to standard error", Meaning: "Permissions of log files.", into: func(d *draft) any { return &d.Log.Mode }},
		{Path: "log.file_num", Type: Whole, Default: "4", Status: Pending, Note: "lines go to standard error", Meaning: "Log files kept.", into: func(d *draft) any { return &d.Log.FileNum }},
		{Path: "log.file_size", Type: Size, Default: "25MB", Status: Pending, Note: "lines go to standard error", Meaning: "Size at which a new log file begins.", into: func(d *draft) any { return &d.Log.FileSize }},
		{Path: "log.format", Type: Anything, Env: "LOG_FORMAT", Status: Idle, Note: "use log.type", Meaning: "Python's format of a line."},
		{Path: "log.dateformat", Type: Text, Status: Idle, Note: "use log.type", Meaning: "Python's format of the time."},
		{Path: "log.traceback_level", Type: Text, Status: Idle, Note: "pgkeeper logs no stack traces", Meaning: "Level from which Patroni logs tracebacks."},
		{Path: "log.max_queue_size", Type: Whole, Status: Idle, Note: "pgkeeper writes lines at once", Meaning: "Lines Patroni queues."},
		{Path: "log.deduplicate_heartbeat_logs", Type: Boolean, Status: Idle, Note: "pgkeeper logs only changes", Meaning: "Whether Patroni repeats unchanged lines."},

		{Path: "tags", Type: TagSet, Meaning: "What this member may be: `nofailover`, `failover_priority`, `noloadbalance`, `clonefrom`, `nosync`, `sync_priority`, `replicatefrom`, and any of your own. `nostream` is not built. One of these that is false is as good as absent.", into: func(d *draft) any { return &d.Tags }},

		{Path: "watchdog.mode", Type: Text, Default: "off", Values: []string{"off", "automatic", "required"}, Meaning: "Whether a kernel watchdog resets the machine when the whole agent hangs while the server runs: `automatic` uses it where it works, with `required` nothing is promoted without it.", into: func(d *draft) any { return &d.Watchdog.Mode }},
		{Path: "watchdog.device", Type: Text, Default: "/dev/watchdog", Meaning: "Device of the watchdog; the agent's user must be able to write to it.", into: func(d *draft) any { return &d.Watchdog.Device }},
		{Path: "watchdog.safety_margin", Type: Duration, Default: "5", Meaning: "Time before the lease can pass on at which the watchdog resets the machine; at most a third of the guard's margin (a thirtieth of `ttl`), which is also what -1 means.", into: func(d *draft) any { return minusOne{&d.Watchdog.SafetyMargin} }},
		{Path: "watchdog.driver", Type: Text, Default: "default", Values: []string{"default", "testing"}, Meaning: "`testing` writes to a plain file or a FIFO what a device would be told.", into: func(d *draft) any { return &d.Watchdog.Driver }},
	}
}

// keeperKeys are pgkeeper's own additions.
func keeperKeys() []Key {
	return []Key{
		{Path: "pgkeeper.runtime_dir", Type: Text, Meaning: "Folder for sockets, lost on reboot. Default: `/run/pgkeeper/<scope>-<name>` as root, else `$RUNTIME_DIRECTORY/<scope>-<name>` (systemd sets it for `RuntimeDirectory=`, as in the shipped unit), else `$XDG_RUNTIME_DIR/pgkeeper/<scope>-<name>`, else a folder under the temporary directory.", into: func(d *draft) any { return &d.Keeper.RuntimeDir }},
		{Path: "pgkeeper.state_dir", Type: Text, Meaning: "Folder for what must survive a reboot. Default: `<data_dir>.pgkeeper`, beside the data directory.", into: func(d *draft) any { return &d.Keeper.StateDir }},
		{Path: "pgkeeper.os_user", Type: Text, Meaning: "Operating system user PostgreSQL runs as when the agent runs as root. Default: `postgres` as root, else whoever runs the agent.", into: func(d *draft) any { return &d.PostgreSQL.User }},
		{Path: "pgkeeper.keep_aside", Type: Whole, Default: "1", Meaning: "How many old data directories are kept, as `<data_dir>.old-<number>-<time>`, when a clone replaces them or a rewind has changed them; at least 1. Damaged ones, left by an interrupted rewind, count apart. Where the disk has no room for two, the older ones go first.", into: func(d *draft) any { return &d.Keeper.KeepAside }},
		{Path: "pgkeeper.keep_before_rewind", Type: Text, Default: "auto", Values: []string{"auto", "off"}, Meaning: "Whether the data directory is kept as it is before pg_rewind changes it: `auto` where the file system lets files share their blocks (XFS, Btrfs), so that it costs seconds and hardly any space; elsewhere it is not copied. The abandoned WAL is kept in any case.", into: func(d *draft) any { return &d.Keeper.KeepBeforeRewind }},
		{Path: "pgkeeper.lost_wal_size", Type: Size, Default: "1GB", Meaning: "How much abandoned WAL is kept in `lost/` of the state directory, in all. Past it the oldest goes; its summary stays (`pgkeeper history --lost`). 0 keeps summaries only.", into: func(d *draft) any { return &d.Keeper.LostWALSize }},
		{Path: "pgkeeper.move_etcd_leader", Type: Boolean, Default: "false", Meaning: "Whether this agent, when its server has been the primary beside etcd's leader on the same machine for a minute, moves that leadership to a member on another machine, at most every 10 minutes, and not while etcd is in trouble. For an etcd that shares machines with PostgreSQL and that pgkeeper may steer; where etcd asks for a login the user needs the role `root` (not in etcd 3.4).", into: func(d *draft) any { return &d.Keeper.MoveEtcdLeader }},
		{Path: "pgkeeper.rest_connections", Type: Whole, Default: "16384", Meaning: "Connections to the REST API that may be open at once. Past it the one that has been idle longest is closed. Never more than the limit of open files allows.", into: func(d *draft) any { return &d.Keeper.RESTConnections }},
		{Path: "pgkeeper.until_parent_exits", Type: Boolean, Default: "false", Meaning: "Stop the server when the process that started the agent is gone. For demos and tests.", into: func(d *draft) any { return &d.Keeper.UntilParentExits }},
	}
}

// poolerKeys are about the connection pooler beside the member.
func poolerKeys() []Key {
	return []Key{
		{Path: "poolers.pgbouncer.admin", Type: Secret, Meaning: "How the console of the PgBouncer is reached that this agent drives, `host=127.0.0.1 port=6432 user=pgkeeper`: a user of its `admin_users`. Empty: none is driven.", into: func(d *draft) any { return &d.PgBouncer.Admin }},
		{Path: "poolers.pgbouncer.databases_file", Type: Text, Meaning: "File of databases that the agent replaces, in a directory that its user may write to (docs/pgbouncer.md); the last line of pgbouncer.ini is `%include <file>`. A file that is there keeps its owner and permissions.", into: func(d *draft) any { return &d.PgBouncer.DatabasesFile }},
		{Path: "poolers.pgbouncer.databases", Type: Names, Meaning: "Databases that are served: each under its own name by the primary, and with `read_suffix` by the replicas.", into: func(d *draft) any { return &d.PgBouncer.Databases }},
		{Path: "poolers.pgbouncer.read_suffix", Type: Text, Default: "_ro", Meaning: "What follows a database's name where the replicas serve it: those that stream and have no tag `noloadbalance`, the primary when there are none.", into: func(d *draft) any { return &d.PgBouncer.ReadSuffix }},
		{Path: "poolers.pgbouncer.max_lag", Type: Size, Default: "0", Meaning: "Bytes that a replica may be behind what the primary last published to be read from; it comes back at half of that. Positions are published every `loop_wait`, so that what is written meanwhile counts as lag too. 0: no limit.", into: func(d *draft) any { return &d.PgBouncer.MaxLag }},
		{Path: "poolers.pgbouncer.parameters", Type: Text, Meaning: "What each line of the file ends with, `pool_size=20 auth_user=lookup`.", into: func(d *draft) any { return &d.PgBouncer.Parameters }},
		{Path: "poolers.pgbouncer.pause_timeout", Type: Duration, Default: "2", Meaning: "How long transactions may go on when a switchover begins, while new ones wait already; at most 4 s. What runs longer ends with the old primary.", into: func(d *draft) any { return &d.PgBouncer.PauseTimeout }},
		{Path: "poolers.pgbouncer.max_hold", Type: Duration, Default: "30", Meaning: "How long clients wait for a primary before they are told that there is none; also when the agent dies meanwhile.", into: func(d *draft) any { return &d.PgBouncer.MaxHold }},
	}
}

// foreignKeys are Patroni's sections for stores and extensions not built here.
func foreignKeys() []Key {
	const store = "name etcd's members in etcd3.hosts"
	return []Key{
		{Path: "consul", Type: Anything, Status: Refused, Note: store, Meaning: "Consul as the store."},
		{Path: "zookeeper", Type: Anything, Status: Refused, Note: store, Meaning: "ZooKeeper as the store."},
		{Path: "exhibitor", Type: Anything, Status: Refused, Note: store, Meaning: "Exhibitor as the store."},
		{Path: "raft", Type: Anything, Status: Refused, Note: store, Meaning: "Patroni's own store."},
		{Path: "kubernetes", Type: Anything, Status: Refused, Note: store, Meaning: "The Kubernetes API as the store."},
		{Path: "citus", Type: Anything, Status: Refused, Note: "remove the section: a Citus cluster needs Patroni", Meaning: "Citus."},
	}
}
