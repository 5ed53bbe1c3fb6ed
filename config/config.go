package config

import (
	"encoding/json"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Config is the local configuration of one member: the file, the environment
// over it, defaults filled in. It is never changed after Load returned it.
type Config struct {
	// Path is the file or directory it was read from; empty when the
	// environment alone was.
	Path string
	// Scope names the cluster, Namespace the folder of the store that holds it
	// (without slashes at its ends), Name this member.
	Scope     string
	Namespace string
	Name      string

	Log        Log
	RESTAPI    RESTAPI
	Ctl        Ctl
	Etcd       Etcd
	Bootstrap  Bootstrap
	PostgreSQL PostgreSQL
	Watchdog   Watchdog
	Tags       cluster.Tags
	Keeper     Keeper
	PgBouncer  PgBouncer

	// origins says where each value came from, for problems found later.
	origins map[string]Position
}

// Log is how the agent logs.
type Log struct {
	// Type is plain or json.
	Type string
	// Level is DEBUG, INFO, WARNING, ERROR or CRITICAL; Slog gives slog's.
	Level        string
	Format       string
	DateFormat   string
	StaticFields map[string]string
	Loggers      map[string]string
	// Dir is where log files go; empty means standard error.
	Dir     string
	Mode    int
	FileNum int
	// FileSize is in bytes.
	FileSize int64
}

// RESTAPI is the HTTP listener and who may use it.
type RESTAPI struct {
	// Listen is host:port. ConnectAddress is where others reach it, host:port.
	Listen         string
	ConnectAddress string

	CertFile        string
	KeyFile         string
	KeyFilePassword string
	CAFile          string
	Ciphers         string
	// VerifyClient is none, optional or required.
	VerifyClient string

	Authentication Credentials

	// Allowlist holds addresses, networks and host names; empty means none.
	Allowlist               []string
	AllowlistIncludeMembers bool

	HTTPExtraHeaders  map[string]string
	HTTPSExtraHeaders map[string]string
	// ServerTokens is original, minimal or productonly.
	ServerTokens string
}

// Credentials are a user name and a password.
type Credentials struct {
	Username string
	Password string
}

// Ctl is how the command line talks to members' REST API.
type Ctl struct {
	Authentication  Credentials
	Insecure        bool
	CACert          string
	CertFile        string
	KeyFile         string
	KeyFilePassword string
}

// Etcd is how to reach the store.
type Etcd struct {
	// Hosts are host:port; Endpoints gives them as URLs.
	Hosts []string
	// Protocol is http or https.
	Protocol string
	Username string
	Password string
	CACert   string
	Cert     string
	Key      string
	// UseProxies: the hosts are proxies, so do not ask them for the members.
	UseProxies bool
}

// Bootstrap is what the first member of a new cluster does.
type Bootstrap struct {
	// DCS is the dynamic configuration written to the store, as JSON; empty
	// means {}.
	DCS json.RawMessage
	// InitDB holds arguments of initdb, "--encoding=UTF8".
	InitDB []string
	// PgHBA lines are appended once to the pg_hba.conf that initdb wrote, when
	// postgresql.pg_hba says nothing.
	PgHBA []string
	// PostBootstrap is the command, with its arguments, that is run once against the
	// new cluster.
	PostBootstrap []string
	// Method is initdb, the only one built.
	Method string
}

// PostgreSQL is the local server.
type PostgreSQL struct {
	// Listen is "host,host:port"; ListenHosts and Port take it apart.
	Listen string
	// ConnectAddress is host:port where others reach the server; ProxyAddress
	// that of a pooler in front of it, or empty.
	ConnectAddress string
	ProxyAddress   string

	// DataDir is absolute. ConfigDir is where postgresql.conf lives, DataDir
	// unless set. BinDir is empty when the binaries are to be searched for.
	DataDir   string
	ConfigDir string
	BinDir    string
	// BinName renames tools: postgres, initdb, pg_basebackup, ...
	BinName map[string]string
	// PgPass is the password file written for the server and its tools.
	PgPass string
	// User is the operating system user the server runs as; empty means the
	// one the agent runs as.
	User string

	// Database is the one the agent connects to.
	Database       string
	Authentication Authentication
	Connection

	// Parameters, PgHBA, PgIdent, RecoveryConf and Rewind are this member's
	// own; Effective merges them with what the store says.
	Parameters   map[string]string
	PgHBA        []string
	PgIdent      []string
	RecoveryConf map[string]string
	// UsePgRewind overrides the store's setting; nil means it says nothing.
	UsePgRewind *bool
	// CustomConf replaces postgresql.base.conf as the included file.
	CustomConf     string
	ConfigBaseName string

	// PgCtlTimeout bounds stopping the server.
	PgCtlTimeout time.Duration
	Replica
	// Callbacks by on_start, on_stop, on_restart, on_reload, on_role_change.
	Callbacks  map[string]string
	PrePromote string
	BeforeStop string
}

// Connection is how the agent reaches its own server.
type Connection struct {
	UseUnixSocketRepl bool
	KrbSrvName        string
}

// Authentication holds the roles pgkeeper creates and uses.
type Authentication struct {
	Superuser   Role
	Replication Role
	// Rewind may be empty: RewindRole then gives the superuser.
	Rewind Role
}

// Role is a role of the server and how to connect as it; the fields are libpq's.
type Role struct {
	Username       string
	Password       string
	SSLMode        string
	SSLCert        string
	SSLKey         string
	SSLPassword    string
	SSLRootCert    string
	SSLCRL         string
	SSLCRLDir      string
	GSSEncMode     string
	ChannelBinding string
	SSLNegotiation string
}

// Replica is how a standby is made and brought back.
type Replica struct {
	// CreateReplicaMethods are tried in order; basebackup is built in.
	CreateReplicaMethods []string
	// ReplicaMethods holds the settings of custom methods, by name.
	ReplicaMethods map[string]map[string]string
	// BasebackupArgs and RewindArgs are further arguments of pg_basebackup and
	// pg_rewind, "--max-rate=100M".
	BasebackupArgs []string
	RewindArgs     []string
}

// Watchdog is the kernel watchdog.
type Watchdog struct {
	// Mode is off, automatic or required.
	Mode         string
	Device       string
	SafetyMargin time.Duration // negative for -1
	Driver       string
}

// PgBouncer is the connection pooler beside this member, section `poolers.pgbouncer`.
type PgBouncer struct {
	// Admin is a DSN of its console; empty when there is no pooler to drive.
	Admin string
	// DatabasesFile is what pgbouncer.ini includes.
	DatabasesFile string
	// Databases are served by the primary, and with ReadSuffix by the replicas.
	Databases  []string
	ReadSuffix string
	// MaxLag is how many bytes behind a replica may be to be read from; 0 for no limit.
	MaxLag int64
	// Parameters end every line of the file.
	Parameters string
	// PauseTimeout is how long transactions may go on when a switchover begins, MaxHold
	// how long clients wait for a primary.
	PauseTimeout, MaxHold time.Duration
}

// Keeper is pgkeeper's own section, `pgkeeper`.
type Keeper struct {
	// RuntimeDir holds sockets and is lost on reboot; StateDir is kept. Both
	// are absolute.
	RuntimeDir string
	StateDir   string
	// KeepAside is how many old data directories are kept beside the new one.
	KeepAside int
	// MoveEtcdLeader: etcd's leader is moved off the primary's machine.
	MoveEtcdLeader bool
	// KeepBeforeRewind is auto or off: whether the directory is kept as it is before a
	// rewind, where that costs next to nothing.
	KeepBeforeRewind string
	// LostWALSize bounds the abandoned WAL that is kept, in bytes.
	LostWALSize int64
	// RESTConnections bounds the open connections of the REST API.
	RESTConnections int
	// UntilParentExits stops the server when whoever started the agent is gone
	// (demo, tests).
	UntilParentExits bool
}
