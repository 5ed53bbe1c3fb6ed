package report

// Unit is how a value is shown.
type Unit string

// The units of the rows. Seconds hold seconds as a float, the others what they say.
const (
	Seconds   Unit = "s"
	PerSecond Unit = "/s"
	PerMinute Unit = "/min"
	MiB       Unit = "MiB"
	Count     Unit = ""
	// Micros are microseconds, Reads counts reads.
	Micros Unit = "µs"
	Reads  Unit = "reads"
)

// Row is one line of the table of numbers.
type Row struct {
	// ID is the row's name on the command line and in the file of results.
	ID string
	// Title is the line's text.
	Title string
	Unit  Unit
	// Must and Aim are the limits, in Unit. Where Relative is set they are factors of the peer's median.
	Must, Aim float64
	// More says that larger is better; otherwise smaller is.
	More bool
	// Relative limits are multiples of what the peer needs in the same run.
	Relative bool
	// Every trial must hold the limit, not only the median: a safety row, or a row whose limit is "0".
	Every bool
	// Limits says Must and Aim in words, for the table, where the plain numbers would say too little.
	MustText, AimText string
	// Single trials take minutes, so that this many are enough; 0 is as many as asked for.
	Trials int
	// Slow rows run only when they are named.
	Slow bool
}

// TTL3 is the lease of the rows about a killed node, in seconds.
const TTL3 = 3

// Patience is that of the client of the rows about a node that is cut off, in milliseconds:
// how long it waits for an answer.
const Patience = 500

// Rows are all rows, in the order of the table.
func Rows() []Row {
	return []Row{
		{ID: "switchover", Title: "switchover, idle database", Unit: Seconds, Must: 0.3, Aim: 0.15},
		{ID: "postmaster_killed", Title: "postmaster SIGKILLed", Unit: Seconds, Must: 0.7, Aim: 0.5},
		{ID: "agent_stopped", Title: "agent stopped with SIGTERM", Unit: Seconds, Must: 0.5, Aim: 0.2},
		{ID: "worker_killed", Title: "worker SIGKILLed", Unit: Seconds, Every: true},
		{ID: "etcd_leader_killed", Title: "etcd leader killed (one of three members, default election timeout)", Unit: Seconds, Every: true},
		{ID: "node_killed", Title: "node killed (all its processes), ttl 3", Unit: Seconds, Must: TTL3 + 0.8, Aim: TTL3 + 0.3,
			MustText: "ttl + 0.8 s", AimText: "ttl + 0.3 s"},
		{ID: "overlap", Title: "two writable servers at once: any one agent process frozen for 3 x ttl, any or all killed", Unit: Seconds, Every: true},
		{ID: "haproxy_switchover", Title: "through HAProxy, beyond direct: switchover", Unit: Seconds, Must: 0.5, Aim: 0.2,
			MustText: "direct + 0.5 s", AimText: "direct + 0.2 s"},
		{ID: "haproxy_postmaster_killed", Title: "through HAProxy, beyond direct: postmaster SIGKILLed", Unit: Seconds, Must: 0.5, Aim: 0.2,
			MustText: "direct + 0.5 s", AimText: "direct + 0.2 s"},
		{ID: "haproxy_node_killed", Title: "through HAProxy, beyond direct: node killed, ttl 3", Unit: Seconds, Must: 0.5, Aim: 0.2,
			MustText: "direct + 0.5 s", AimText: "direct + 0.2 s"},
		{ID: "pooled_switchovers", Title: "a minute of switchovers under `pgbench -c 16` through PgBouncer, 0 failed transactions: longest stall", Unit: Seconds,
			Must: 0.5, Aim: 0.3, Trials: 20, Slow: true},
		{ID: "pooled_node_killed", Title: "through PgBouncer, beyond direct: node killed, ttl 3", Unit: Seconds, Must: 0.3, Aim: 0.1,
			MustText: "direct + 0.3 s", AimText: "direct + 0.1 s", Trials: 20},
		{ID: "pgpool_switchovers", Title: "a minute of switchovers through Pgpool-II on HAProxy's two endpoints, 0 writes to a standby: longest gap, new connection included", Unit: Seconds,
			Must: 1, Aim: 0.5, Trials: 20, Slow: true},
		{ID: "route_flip", Title: "role flip in HAProxy, pushed by `pgkeeper route` (routing alone), until a connection reaches the new primary", Unit: Seconds,
			Must: 0.05, Aim: 0.01, MustText: "50 ms", AimText: "10 ms"},
		{ID: "route_gap", Title: "new connections that fail in a gap of 2 s, three clients, with hold (routing alone)", Unit: Count, Every: true},
		{ID: "start", Title: "three nodes from nothing to healthy", Unit: Seconds, Must: 4, Aim: 2.5},
		{ID: "replica_1gb", Title: "replica of a 1 GB database, from an empty directory to `/replica` 200", Unit: Seconds, Must: 5.5, Aim: 4},
		{ID: "replica_scaled", Title: "`docker-compose up --scale node=4` instead of 3, empty database, from the call until a client of HAProxy's port for reads is served by the new node", Unit: Seconds,
			Must: 5, Aim: 4, Trials: 20, Slow: true},
		{ID: "get_closed", Title: "GET /primary, 16 connections, loopback, closed loop", Unit: PerSecond, Must: 20000, Aim: 35000, More: true},
		{ID: "get_offered", Title: "GET /primary at an offered 5,000/s, p99", Unit: Seconds, Must: 0.002, Aim: 0.001},
		{ID: "idle_memory", Title: "idle agent, all its processes together: PSS", Unit: MiB, Must: 45, Aim: 32},
		{ID: "idle_cpu", Title: "idle agent, all its processes together: CPU a minute", Unit: Seconds, Must: 0.4, Aim: 0.15},
		{ID: "sync_standby_killed", Title: "`synchronous_mode: on`: node of the synchronous standby killed, until commits resume", Unit: Seconds, Must: 0.5, Aim: 0.3},
		{ID: "node_killed_fast", Title: "strict quorum mode, `fast_failover`: node killed (all its processes), ttl 5", Unit: Seconds, Must: 1.2, Aim: 0.8},
		{ID: "node_cut_off", Title: "strict quorum mode, `fast_failover`: node cut off by its link, ttl 5, a client that waits 0.5 s for an answer", Unit: Seconds,
			Must: 1.5, Aim: 1.2},
		{ID: "etcd_gone", Title: "60 s without any etcd, `failsafe_mode`", Unit: Seconds, Every: true},
		{ID: "server_hung", Title: "server hung (all its processes stopped), ttl 20, `probe_timeout` 5 s", Unit: Seconds, Must: 6, Aim: 5.5,
			MustText: "probe timeout + 1 s", AimText: "probe timeout + 0.5 s"},
		{ID: "disk_full", Title: "data and WAL volume of the primary full, ttl 20, `probe_timeout` 5 s", Unit: Seconds, Must: 6, Aim: 5.5,
			MustText: "probe timeout + 1 s", AimText: "probe timeout + 0.5 s"},
		{ID: "agent_frozen_quorum", Title: "quorum mode, every process of the primary's agent frozen for 3 x ttl: two servers that acknowledge at once", Unit: Seconds,
			Every: true},
		{ID: "agent_frozen_gate", Title: "asynchronous with `commit_gate`, likewise", Unit: Seconds, Every: true},
		{ID: "switchovers_quorum", Title: "100 switchovers in a row under `pgbench -c 8`, quorum mode: p99 of the gap", Unit: Seconds, Must: 0.5, Aim: 0.3,
			Trials: 10, Slow: true},
		{ID: "commit_gate", Title: "`commit_gate`: rise of the median latency of `pgbench -c 8` at half the ungated pace", Unit: Seconds,
			Must: 0.0002, Aim: 0.0001, Trials: 10, Slow: true},
		{ID: "pgrw_overhead", Title: "pgrw beyond a pgxpool on the same server, a query (median, the dearest of four kinds of handle)", Unit: Micros,
			Must: 20, Aim: 10, Trials: 20},
		{ID: "pgrw_stale", Title: "pgrw, 100,000 reads with a token while primaries are moved and killed: stale", Unit: Reads, Every: true, Trials: 3, Slow: true},
		{ID: "etcd_idle", Title: "etcd requests of an idle three-node cluster, ttl 20, loop_wait 1, retry_timeout 3", Unit: PerMinute,
			Must: 1, Aim: 0.5, Relative: true, MustText: "no more than Patroni", AimText: "half", Trials: 3, Slow: true},
	}
}

// Find is the row of that ID.
func Find(id string) (Row, bool) {
	for _, r := range Rows() {
		if r.ID == id {
			return r, true
		}
	}
	return Row{}, false
}
