package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Options describe one local server. DataDir, BinDir, Listen, Name and Now are
// required.
type Options struct {
	DataDir string
	// ConfigDir holds postgresql.conf, pg_hba.conf and pg_ident.conf; empty means
	// the data directory.
	ConfigDir string
	BinDir    string
	// BinName has the file names of programs that are not called by their own.
	BinName map[string]string
	// OSUser runs the server and owns its files. Empty means the user we are, or
	// postgres when we are root, because PostgreSQL refuses root.
	OSUser string
	// Listen is Patroni's "addr,addr:port"; ConnectAddress the host:port others use.
	Listen         string
	ConnectAddress string
	// Database is where looks connect; postgres when empty.
	Database    string
	Superuser   Credentials
	Replication Credentials
	Rewind      Credentials
	// SocketDir is where the server's unix socket lies; /var/run/postgresql when
	// empty and present, else /tmp. Relative to the data directory, as to PostgreSQL.
	SocketDir string
	Scope     string
	Name      string
	// PgPass is the password file of the WAL receiver; <StateDir>/pgpass when empty.
	PgPass string
	// StateDir holds tombstones and the job lock; <DataDir>.pgkeeper when empty.
	StateDir string
	// LogPath is where the guard appends what the server prints.
	LogPath string
	// BasebackupArgs are added to pg_basebackup's own.
	BasebackupArgs []string
	// RewindArgs are added to those of pg_rewind.
	RewindArgs []string
	// CustomConf is included instead of postgresql.base.conf.
	CustomConf string
	// Now reads CLOCK_BOOTTIME.
	Now func() cluster.Instant
	// Wall gives the time of day for names and stamps that people read; never
	// compared. Without it names carry numbers only.
	Wall func() time.Time
	Log  *slog.Logger
}

// Credentials are one role's login, as in Patroni's `authentication`.
type Credentials struct {
	Username, Password                         string
	SSLMode, SSLCert, SSLKey, SSLPassword      string
	SSLRootCert, SSLCRL, SSLCRLDir             string
	GSSEncMode, ChannelBinding, SSLNegotiation string
	// Configured names where the credentials come from, for messages; such as
	// postgresql.authentication.replication.
	Configured string
}

// Server is one local server. Its methods may be called from several goroutines.
type Server struct {
	o       Options
	owner   owner
	number  int // of the binaries, as in server_version_num
	version version
	hosts   []string
	port    string

	watch *session // looks
	act   *session // everything that changes something
	// progress has the quick looks at positions, which nobody else must wait for.
	progress *session

	// commits watches who waits for nobody; syncCommit is what it found last, and
	// confLoaded when the server read its configuration, by the last look.
	commits    commitWatch
	syncCommit atomic.Pointer[cluster.SyncCommit]
	syncLevel  atomic.Value
	confLoaded atomic.Value
	// filled: the last clone found a full disk, whatever was known of its size.
	filled atomic.Bool
	// untold: the file with whom commits wait for may say what the server was not proved to
	// go by.
	untold atomic.Bool
	// flag is what is known of whether commits wait at all.
	flag syncFlag
	// learning: an attempt to learn of it is under way; none is made while paused.
	learning, paused atomic.Bool

	// askLimit bounds one question to another server.
	askLimit time.Duration

	// confMu is held while configuration files are changed.
	confMu sync.Mutex

	mu       sync.Mutex
	forced   map[string]string // command line parameters as configured last
	pending  pendingCache
	received receivedTimeline
}

// programs are those that must be in BinDir.
var programs = []string{"postgres", "initdb", "pg_basebackup", "pg_rewind"}

// New checks options and binaries. It touches no file.
func New(o Options) (*Server, error) {
	s := &Server{o: o}
	if err := s.defaults(); err != nil {
		return nil, err
	}
	for _, program := range programs {
		if err := s.checkProgram(program); err != nil {
			return nil, err
		}
	}
	out, err := s.run(context.Background(), job{program: "postgres", args: []string{"--version"}})
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", s.bin("postgres"), err)
	}
	if s.number, err = parseVersion(out); err != nil {
		return nil, err
	}
	if s.version, err = versionOf(s.number / 10000); err != nil {
		return nil, fmt.Errorf("%s: %w", s.bin("postgres"), err)
	}
	s.watch, s.act, s.progress = newSession(s.connectLocal), newSession(s.connectLocal), newSession(s.connectLocal)
	return s, nil
}

// defaults fills in what was left empty and refuses what cannot work.
func (s *Server) defaults() (err error) {
	o := &s.o
	s.askLimit = askLimit
	switch {
	case o.DataDir == "" || !filepath.IsAbs(o.DataDir):
		return fmt.Errorf("%w: data_dir is %q; give an absolute path", ErrOptions, o.DataDir)
	case o.Name == "":
		return fmt.Errorf("%w: the member has no name", ErrOptions)
	case o.Now == nil:
		return fmt.Errorf("%w: no clock was given", ErrOptions)
	}
	o.DataDir = filepath.Clean(o.DataDir)
	o.ConfigDir = cmp.Or(o.ConfigDir, o.DataDir)
	o.Database = cmp.Or(o.Database, "postgres")
	o.Superuser.Username = cmp.Or(o.Superuser.Username, "postgres")
	o.Replication.Username = cmp.Or(o.Replication.Username, "replicator")
	if o.Rewind.Username == "" {
		o.Rewind = o.Superuser // as Patroni does
	}
	o.Superuser.Configured = cmp.Or(o.Superuser.Configured, "postgresql.authentication.superuser")
	o.Replication.Configured = cmp.Or(o.Replication.Configured, "postgresql.authentication.replication")
	o.Rewind.Configured = cmp.Or(o.Rewind.Configured, "postgresql.authentication.rewind")
	o.StateDir = cmp.Or(o.StateDir, o.DataDir+".pgkeeper")
	o.PgPass = cmp.Or(o.PgPass, filepath.Join(o.StateDir, "pgpass"))
	o.SocketDir = cmp.Or(o.SocketDir, defaultSocketDir())
	if !filepath.IsAbs(o.SocketDir) {
		o.SocketDir = filepath.Join(o.DataDir, o.SocketDir) // a server's working directory is its data directory
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if s.hosts, s.port, err = parseListen(o.Listen); err != nil {
		return err
	}
	if err := socketFits(s.socketPath(), "socket directory"); err != nil {
		return err
	}
	s.owner, err = lookupOwner(o.OSUser)
	return err
}

// longestSocket is how many bytes the kernel allows the path of a socket.
const longestSocket = 107

// socketFits refuses a path of a socket that is too long, which is of the setting named.
func socketFits(socket, setting string) error {
	if len(socket) <= longestSocket {
		return nil
	}
	return fmt.Errorf("%w: the socket path %s has %d bytes, but the kernel allows %d: choose a shorter %s",
		ErrOptions, socket, len(socket), longestSocket, setting)
}

// defaultSocketDir is Debian's directory where there is one, else PostgreSQL's
// built-in default.
func defaultSocketDir() string {
	const debian = "/var/run/postgresql"
	if info, err := os.Stat(debian); err == nil && info.IsDir() {
		return debian
	}
	return "/tmp"
}

// parseListen reads "addr,addr:port". IPv6 addresses may stand in brackets.
func parseListen(listen string) (hosts []string, port string, err error) {
	cut := strings.LastIndexByte(listen, ':')
	if cut < 0 || strings.HasSuffix(listen, "]") {
		hosts, port = strings.Split(listen, ","), "5432"
	} else {
		hosts, port = strings.Split(listen[:cut], ","), listen[cut+1:]
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return nil, "", fmt.Errorf("%w: postgresql.listen is %q; write address:port, such as 0.0.0.0:5432", ErrOptions, listen)
	}
	for i, host := range hosts {
		hosts[i] = strings.Trim(strings.TrimSpace(host), "[]")
		if hosts[i] == "" {
			return nil, "", fmt.Errorf("%w: postgresql.listen is %q; write address:port, such as 0.0.0.0:5432", ErrOptions, listen)
		}
	}
	return hosts, port, nil
}

func (s *Server) checkProgram(program string) error {
	path := s.bin(program)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s: install PostgreSQL or set postgresql.bin_dir to the directory of its programs (on Debian /usr/lib/postgresql/<version>/bin)",
			ErrMissingBinary, path)
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrMissingBinary, path, err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%w: %s is not executable: check postgresql.bin_dir", ErrMissingBinary, path)
	}
	return nil
}

// bin is the path of one program.
func (s *Server) bin(program string) string {
	return filepath.Join(s.o.BinDir, cmp.Or(s.o.BinName[program], program))
}

// data is a path inside the data directory.
func (s *Server) data(parts ...string) string {
	return filepath.Join(append([]string{s.o.DataDir}, parts...)...)
}

// conf is a path inside the configuration directory.
func (s *Server) conf(name string) string { return filepath.Join(s.o.ConfigDir, name) }

func (s *Server) socketPath() string { return filepath.Join(s.o.SocketDir, ".s.PGSQL."+s.port) }

// Version is the binaries' version as in server_version_num (150004 for 15.4).
func (s *Server) Version() int { return s.number }

// Port is the port the server is configured to listen on.
func (s *Server) Port() string { return s.port }

// SocketDir is where the server's unix socket lies.
func (s *Server) SocketDir() string { return s.o.SocketDir }

// DataDir is the data directory.
func (s *Server) DataDir() string { return s.o.DataDir }

// Close ends the kept connections.
func (s *Server) Close() {
	s.watch.close()
	s.act.close()
	s.progress.close()
}
