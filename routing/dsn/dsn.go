package dsn

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Driver is a client library, by the word on the command line.
type Driver string

// The drivers.
const (
	Libpq      Driver = "libpq"
	Pgx        Driver = "pgx"
	JDBC       Driver = "jdbc"
	Npgsql     Driver = "npgsql"
	Asyncpg    Driver = "asyncpg"
	SQLAlchemy Driver = "sqlalchemy"
)

// Via is what stands between the driver and the members.
type Via string

// The ways.
const (
	// Direct: the driver itself finds the right one of several hosts.
	Direct Via = ""
	// HAProxy: one host, a port for writes and one for reads.
	HAProxy Via = "haproxy"
	// PgBouncer in transaction mode: one port, a database for writes and one for reads (its name and _ro).
	PgBouncer Via = "pgbouncer"
)

// Host is one address to connect to.
type Host struct {
	Name string
	Port int
}

func (h Host) String() string { return net.JoinHostPort(h.Name, strconv.Itoa(h.Port)) }

// Options say to what, as whom, and what for.
type Options struct {
	Driver Driver
	Via    Via
	// Hosts are all members for Direct, else the one of HAProxy or PgBouncer.
	Hosts []Host
	// Database is the application's; with PgBouncer reads go to Database_ro.
	Database, User string
	// Read asks for a standby; the primary serves when there is none.
	Read bool
}

// Drivers are the known ones, in the order of help.
func Drivers() []Driver { return []Driver{Libpq, Pgx, JDBC, Npgsql, Asyncpg, SQLAlchemy} }

// ConnectTimeout bounds the wait for one host, in seconds: a machine that is gone answers nothing at all. HoldTimeout is
// for what stands in front: it answers nothing for up to 30 s while it holds a connection until there is a primary.
const (
	ConnectTimeout = 3
	HoldTimeout    = 35
)

// writers make the string of one driver. direct tells whether the driver chooses between several hosts itself.
var writers = map[Driver]func(o Options, direct bool) string{
	Libpq: libpq, Pgx: pgx, JDBC: jdbc, Npgsql: npgsql, Asyncpg: asyncpg, SQLAlchemy: sqlalchemy,
}

// word is what needs no quoting in any of the drivers' strings.
var word = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// String is the connection string, and notes on what it cannot say.
func String(o Options) (text string, notes []string, err error) {
	write, known := writers[o.Driver]
	switch {
	case !known:
		return "", nil, fmt.Errorf("unknown driver %q: choose from %v", o.Driver, Drivers())
	case !slices.Contains([]Via{Direct, HAProxy, PgBouncer}, o.Via):
		return "", nil, fmt.Errorf("unknown way %q: choose haproxy or pgbouncer, or none for the members themselves", o.Via)
	case len(o.Hosts) == 0:
		return "", nil, fmt.Errorf("no hosts to connect to")
	case !word.MatchString(o.Database) || !word.MatchString(o.User):
		return "", nil, fmt.Errorf("database %q and user %q must be of letters, digits and _ . -", o.Database, o.User)
	}
	if o.Via == PgBouncer && o.Read {
		o.Database += "_ro"
	}
	return write(o, o.Via == Direct), o.notes(), nil
}

func (o Options) timeout() int {
	if o.Via == Direct {
		return ConnectTimeout
	}
	return HoldTimeout
}

func (o Options) notes() []string {
	notes := []string{"no password is in it: use " + passwords[o.Driver]}
	if why := held[o.Via]; why != "" {
		waits := fmt.Sprintf("a connection is waited for %d s", HoldTimeout)
		if o.Driver == Asyncpg {
			waits = "keep connect(timeout=60), asyncpg's default"
		}
		notes = append(notes, waits+": "+why)
	}
	if o.Via == PgBouncer {
		if note := behindPgBouncer[o.Driver]; note != "" {
			notes = append(notes, note)
		}
	}
	if o.Via == Direct {
		if note := direct[o.Driver]; note != "" {
			notes = append(notes, note)
		}
		if o.Read {
			notes = append(notes, "a connection stays where it was made: standbys that come later get none of the old ones, and a standby that is promoted keeps its readers")
		}
	}
	return notes
}

var passwords = map[Driver]string{
	Libpq: "PGPASSFILE or ~/.pgpass", Pgx: "PGPASSFILE or ~/.pgpass", JDBC: "the property password", Npgsql: "Passfile=...",
	Asyncpg: "connect(password=...) or ~/.pgpass", SQLAlchemy: "~/.pgpass, or create_engine(connect_args={\"password\": ...})",
}

var held = map[Via]string{
	HAProxy:   "HAProxy holds new connections for up to 30 s while there is no primary, and one that leaves before has failed",
	PgBouncer: "while PgBouncer holds (max_hold, query_wait_timeout: 30 s) a new client may have to wait for its login, too",
}

// Before 1.21 PgBouncer knows nothing of prepared statements in transaction mode.
var behindPgBouncer = map[Driver]string{
	Libpq:      "prepared statements need PgBouncer 1.21 or newer; session state (SET, LISTEN, advisory locks) does not survive a transaction",
	Pgx:        "default_query_exec_mode=exec is for PgBouncer before 1.21; from 1.21 on it can be left out",
	JDBC:       "prepareThreshold=0 is for PgBouncer before 1.21; from 1.21 on it can be left out",
	Npgsql:     "leave Max Auto Prepare at 0 for PgBouncer before 1.21",
	Asyncpg:    "for PgBouncer before 1.21: connect(..., statement_cache_size=0), which no DSN can say",
	SQLAlchemy: "use poolclass=NullPool, or a small pool: PgBouncer is the pool",
}

var direct = map[Driver]string{
	Libpq:      "hosts are tried in order; from libpq 16 on load_balance_hosts=random shuffles them",
	Pgx:        "hosts are tried in order, by each connection of a pool anew; pgrw balances and follows the roles",
	JDBC:       "a wrong guess about a host is kept for hostRecheckSeconds",
	Npgsql:     "build it with NpgsqlDataSourceBuilder.BuildMultiHost (Npgsql 7 or newer)",
	Asyncpg:    "asyncpg 0.27 (Debian 12) and older refuse target_session_attrs: use --via haproxy or --via pgbouncer there",
	SQLAlchemy: "SQLAlchemy does not split reads from writes: one engine for each, chosen in Session.get_bind",
}

func joined(hosts []Host, separator string) string {
	parts := make([]string, 0, len(hosts))
	for _, h := range hosts {
		parts = append(parts, h.String())
	}
	return strings.Join(parts, separator)
}

func pick(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func libpq(o Options, direct bool) string {
	var names, ports []string
	for _, h := range o.Hosts {
		names, ports = append(names, h.Name), append(ports, strconv.Itoa(h.Port))
	}
	text := fmt.Sprintf("host=%s port=%s dbname=%s user=%s", strings.Join(names, ","), strings.Join(ports, ","), o.Database, o.User)
	if direct {
		text += " target_session_attrs=" + pick(o.Read, "prefer-standby", "read-write")
	}
	return text + fmt.Sprintf(" connect_timeout=%d tcp_user_timeout=3000 keepalives_idle=5 keepalives_interval=2 keepalives_count=2", o.timeout())
}

func pgx(o Options, direct bool) string {
	query := map[string]string{"connect_timeout": strconv.Itoa(o.timeout())}
	if direct {
		query["target_session_attrs"] = pick(o.Read, "prefer-standby", "read-write")
	}
	if o.Via == PgBouncer {
		query["default_query_exec_mode"] = "exec"
	}
	return fmt.Sprintf("postgres://%s@%s/%s?%s", o.User, joined(o.Hosts, ","), o.Database, encode(query))
}

func jdbc(o Options, direct bool) string {
	query := map[string]string{"user": o.User, "connectTimeout": strconv.Itoa(o.timeout()), "tcpKeepAlive": "true"}
	if direct {
		query["targetServerType"], query["hostRecheckSeconds"] = pick(o.Read, "preferSecondary", "primary"), "2"
		if o.Read {
			query["loadBalanceHosts"] = "true"
		}
	}
	switch o.Via {
	case HAProxy:
		// The first answer it waits for is that to its request for TLS, in milliseconds.
		query["sslResponseTimeout"] = strconv.Itoa(1000 * HoldTimeout)
	case PgBouncer:
		query["prepareThreshold"] = "0"
	}
	return fmt.Sprintf("jdbc:postgresql://%s/%s?%s", joined(o.Hosts, ","), o.Database, encode(query))
}

func npgsql(o Options, direct bool) string {
	text := fmt.Sprintf("Host=%s;Database=%s;Username=%s;Timeout=%d;Keepalive=5", joined(o.Hosts, ","), o.Database, o.User, o.timeout())
	if direct {
		text += ";Target Session Attributes=" + pick(o.Read, "prefer-standby", "read-write") + ";Host Recheck Seconds=2" + pick(o.Read, ";Load Balance Hosts=true", "")
	}
	if o.Via == PgBouncer {
		text += ";No Reset On Close=true"
	}
	return text
}

func asyncpg(o Options, direct bool) string {
	text := fmt.Sprintf("postgresql://%s@%s/%s", o.User, joined(o.Hosts, ","), o.Database)
	if direct {
		text += "?target_session_attrs=" + pick(o.Read, "prefer-standby", "read-write")
	}
	return text
}

// sqlalchemy names several hosts as so many parameters: its URLs have room for one.
func sqlalchemy(o Options, direct bool) string {
	query := map[string]string{"connect_timeout": strconv.Itoa(o.timeout())}
	if !direct {
		return fmt.Sprintf("postgresql+psycopg2://%s@%s/%s?%s", o.User, joined(o.Hosts, ","), o.Database, encode(query))
	}
	query["target_session_attrs"] = pick(o.Read, "prefer-standby", "read-write")
	hosts := make([]string, 0, len(o.Hosts))
	for _, h := range o.Hosts {
		hosts = append(hosts, "host="+h.String())
	}
	return fmt.Sprintf("postgresql+psycopg2://%s@/%s?%s&%s", o.User, o.Database, strings.Join(hosts, "&"), encode(query))
}

// encode writes parameters in the order of their names.
func encode(query map[string]string) string {
	parts := make([]string, 0, len(query))
	for _, key := range slices.Sorted(maps.Keys(query)) {
		parts = append(parts, key+"="+url.QueryEscape(query[key]))
	}
	return strings.Join(parts, "&")
}
