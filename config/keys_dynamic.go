package config

// dynamicKeys are the keys of the store's configuration, which bootstrap.dcs
// and `pgkeeper edit-config` write.
func dynamicKeys() []Key {
	keys := append(timingKeys(), append(modeKeys(), slotAndServerKeys()...)...)
	for i := range keys {
		if keys[i].Status == "" {
			keys[i].Status = Supported
		}
	}
	return keys
}

func timingKeys() []Key {
	return []Key{
		{Path: "ttl", Type: Duration, Default: "10", Meaning: "Lease time: how long a silent primary keeps the cluster waiting. At least 2; 5 or more survives an election of etcd. Patroni: 30.", into: func(d *draft) any { return &d.settings.TTL }},
		{Path: "loop_wait", Type: Duration, Default: "2", Meaning: "Longest time between two looks of an idle agent. Patroni: 10.", into: func(d *draft) any { return &d.settings.LoopWait }},
		{Path: "retry_timeout", Type: Duration, Default: "3", Meaning: "Bound on one attempt on the store or the server. Patroni: 10.", into: func(d *draft) any { return &d.settings.RetryTimeout }},
		{Path: "maximum_lag_on_failover", Type: Size, Default: "1048576", Meaning: "Bytes a candidate may be behind the last position the primary published; negative means no limit.", into: func(d *draft) any { return &d.settings.MaximumLagOnFailover }},
		{Path: "check_timeline", Type: Boolean, Default: "false", Meaning: "Only members on the primary's last timeline may be elected.", into: func(d *draft) any { return &d.settings.CheckTimeline }},
		{Path: "max_timelines_history", Type: Whole, Default: "0", Meaning: "Entries kept in the cluster's history; 0 means all.", into: func(d *draft) any { return &d.settings.MaxTimelinesHistory }},
		{Path: "master_start_timeout", Type: Duration, Meaning: "Older name of `primary_start_timeout`.", into: func(d *draft) any { return &d.settings.PrimaryStartTimeout }},
		{Path: "primary_start_timeout", Type: Duration, Default: "300", Meaning: "Bound on crash recovery of the primary, as predicted and as it passes, before another member gets the lease; 0 means at once.", into: func(d *draft) any { return &d.settings.PrimaryStartTimeout }},
		{Path: "master_stop_timeout", Type: Duration, Meaning: "Older name of `primary_stop_timeout`.", into: func(d *draft) any { return &d.settings.PrimaryStopTimeout }},
		{Path: "primary_stop_timeout", Type: Duration, Default: "0", Meaning: "Bound on an orderly stop of the primary, in the synchronous modes, before it is killed; 0 means none but `pg_ctl_timeout`.", into: func(d *draft) any { return &d.settings.PrimaryStopTimeout }},
		{Path: "probe_timeout", Type: Duration, Default: "5", Meaning: "How long no new connection to the primary, no query there, or no write to its data or WAL volume or to that of a tablespace, has succeeded when a healthy standby takes over; 0 means never.", into: func(d *draft) any { return &d.settings.ProbeTimeout }},
		{Path: "primary_race_backoff", Type: Duration, Status: Idle, Quiet: []string{"0"}, Note: "a candidate waits a whole ttl after the last sign of the holder anyway", Meaning: "Patroni's wait before a former primary races."},
		{Path: "pause", Type: Boolean, Default: "false", Meaning: "Decide nothing that touches PostgreSQL: `pgkeeper pause`.", into: func(d *draft) any { return &d.settings.Pause }},
	}
}

// modeKeys are what is promised of acknowledged commits, and what is done without the store.
func modeKeys() []Key {
	return []Key{
		{Path: "synchronous_mode", Type: Text, Default: "off", Values: []string{"off", "on", "quorum"}, Meaning: "Whether commits wait for standbys that pgkeeper chooses: `on` for `synchronous_node_count` named ones, `quorum` for as many of all.", into: func(d *draft) any { return &d.settings.SynchronousMode }},
		{Path: "synchronous_mode_strict", Type: Boolean, Default: "false", Meaning: "Whether commits wait even when no standby is left.", into: func(d *draft) any { return &d.settings.SynchronousStrict }},
		{Path: "synchronous_node_count", Type: Whole, Default: "1", Meaning: "Standbys a commit waits for.", into: func(d *draft) any { return &d.settings.SynchronousNodes }},
		{Path: "maximum_lag_on_syncnode", Type: Size, Default: "-1", Meaning: "Bytes a synchronous standby may be behind the best one before another takes its place: in what it wrote, flushed or replayed, whichever the primary's own `synchronous_commit` waits for (`remote_write`, `on`, `remote_apply`).", into: func(d *draft) any { return &d.settings.MaximumLagOnSyncnode }},
		{Path: "commit_gate", Type: Boolean, Default: "off", Meaning: "Asynchronous clusters: whether a commit is acknowledged only while the lease of its node holds, by a process of the agent that confirms it. Sets `synchronous_standby_names`.", into: func(d *draft) any { return &d.settings.CommitGate }},
		{Path: "failsafe_mode", Type: Boolean, Default: "false", Meaning: "Whether a primary goes on without the store while the members promise not to replace it: all of them, in a synchronous mode as many as an election would need. Written as `true` into a cluster that pgkeeper creates, unless `bootstrap.dcs` says otherwise.", into: func(d *draft) any { return &d.settings.FailsafeMode }},
		{Path: "fast_failover", Type: Boolean, Default: "true", Meaning: "Strict synchronous modes: whether a primary whose node most members find gone is replaced at once, by the promises of those whom commits wait for, and not only when its lease has run out. Means nothing in other modes, in a pause, beside Patroni members, with fewer than three members, and while roles or databases are known to weaken `synchronous_commit`, or nobody knows.", into: func(d *draft) any { return &d.settings.FastFailover }},
		{Path: "standby_cluster", Type: Anything, Status: Refused, Note: "this cluster would be made writable: remove it, or stay with Patroni until it is built", Meaning: "Follow another cluster."},
	}
}

func slotAndServerKeys() []Key {
	const ours = "write it in each member's file, under postgresql"
	keys := []Key{
		{Path: "member_slots_ttl", Type: Duration, Default: "30min", Meaning: "How long the slot of a member that went away is kept.", into: func(d *draft) any { return &d.settings.MemberSlotsTTL }},
		{Path: "permanent_replication_slots", Type: Sections, Status: Pending, Note: "create permanent slots by hand", Meaning: "Another name of `slots`.", into: func(d *draft) any { return &d.settings.Slots }},
		{Path: "permanent_slots", Type: Sections, Status: Pending, Note: "create permanent slots by hand", Meaning: "Another name of `slots`.", into: func(d *draft) any { return &d.settings.Slots }},
		{Path: "slots", Type: Sections, Status: Pending, Note: "create permanent slots by hand", Meaning: "Permanent slots by name: `type`, `database`, `plugin`, `cluster_type`.", into: func(d *draft) any { return &d.settings.Slots }},
		{Path: "ignore_slots", Type: Matchers, Meaning: "Slots pgkeeper leaves alone, by any of `name`, `type`, `database`, `plugin`. It drops none but those of members that are gone in any case.", into: func(d *draft) any { return &d.settings.IgnoreSlots }},

		{Path: "postgresql.use_pg_rewind", Type: Boolean, Default: "true", Meaning: "Bring an old primary back with pg_rewind. Patroni: false.", into: func(d *draft) any { return &d.settings.PostgreSQL.UsePgRewind }},
		{Path: "postgresql.use_slots", Type: Boolean, Default: "true", Meaning: "Use replication slots.", into: func(d *draft) any { return &d.settings.PostgreSQL.UseSlots }},
		{Path: "postgresql.parameters", Type: Server, Meaning: "Server parameters of all members.", into: func(d *draft) any { return &d.settings.PostgreSQL.Parameters }},
		{Path: "postgresql.pg_hba", Type: Texts, Meaning: "Lines of pg_hba.conf; replaces the file.", into: func(d *draft) any { return &d.settings.PostgreSQL.PgHBA }},
		{Path: "postgresql.pg_ident", Type: Texts, Meaning: "Lines of pg_ident.conf; replaces the file.", into: func(d *draft) any { return &d.settings.PostgreSQL.PgIdent }},
		{Path: "postgresql.recovery_conf", Type: Server, Meaning: "Recovery settings: `restore_command`, `recovery_min_apply_delay`, ...", into: func(d *draft) any { return &d.settings.PostgreSQL.RecoveryConf }},
	}
	for _, role := range []string{"primary", "replica", "standby_leader"} {
		keys = append(keys,
			Key{Path: "postgresql.parameters_" + role, Type: Anything, Status: Pending, Note: "use postgresql.parameters", Meaning: "Server parameters of one role."},
			Key{Path: "postgresql.pg_hba_" + role, Type: Anything, Status: Pending, Note: "use postgresql.pg_hba", Meaning: "pg_hba.conf of one role."},
			Key{Path: "postgresql.pg_ident_" + role, Type: Anything, Status: Pending, Note: "use postgresql.pg_ident", Meaning: "pg_ident.conf of one role."})
	}
	for _, name := range memberOnly {
		keys = append(keys, Key{Path: "postgresql." + name, Type: Anything, Status: Idle, Note: ours, Meaning: "A setting of one member."})
	}
	for _, name := range pendingShared {
		keys = append(keys, Key{Path: "postgresql." + name, Type: Anything, Status: Pending, Note: ours, Meaning: "Patroni also takes it from here."})
	}
	return append(keys, Key{Path: "postgresql.pre_promote", Type: Anything, Status: Refused, Note: "a promotion would not ask it: remove it", Meaning: "Command that must succeed before a promotion."})
}

// memberOnly are ignored in the store's configuration by Patroni as well;
// pendingShared are not.
var (
	memberOnly    = []string{"connect_address", "proxy_address", "listen", "config_dir", "data_dir", "pgpass", "authentication"}
	pendingShared = []string{
		"bin_dir", "bin_name", "callbacks", "before_stop", "create_replica_methods", "create_replica_method", "basebackup", "rewind",
		"custom_conf", "config_base_name", "krbsrvname", "pg_ctl_timeout", "database", "use_unix_socket", "use_unix_socket_repl",
		"remove_data_directory_on_rewind_failure", "remove_data_directory_on_diverged_timelines",
	}
)
