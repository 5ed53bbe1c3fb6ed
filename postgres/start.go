package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Start is what the guard needs to run the server.
type Start struct {
	Argv []string
	Env  []string
	// DataDir is the server's working directory, by which the guard finds its
	// processes.
	DataDir  string
	LogPath  string
	UID, GID uint32
	Groups   []uint32
	// LogOffset is the log's size now: what this start says comes after it.
	LogOffset int64
}

// StartSpec says how to start the server, and prepares its directory: history
// files of numbers that nobody took are removed, and of timelines that a standby has
// nothing of, lock files that name a process
// that is certainly not a postmaster of this directory, and WAL of a timeline that
// ends before the timeline begins. That no process
// of the server is left is for the guard to prove, before.
//
// writable asks for a start without standby.signal; the file must agree
// (ErrStandbySignal), so that neither a primary is started by accident nor a
// standby where a primary was meant. What interrupted work has left is not started
// (ErrUnfinished).
func (s *Server) StartSpec(writable bool, settings cluster.Settings) (Start, error) {
	grave, _, err := s.settled()
	if err != nil {
		return Start{}, fmt.Errorf("prepare a start: %w", err)
	}
	if grave != nil { // guard: unfinished_is_not_started — S5
		return Start{}, fmt.Errorf("%w: an interrupted %s left %s so; its mark is %s", ErrUnfinished, grave.Kind, s.o.DataDir, s.tombstonePath())
	}
	return s.startSpec(writable, settings)
}

// startSpec is StartSpec for whoever works under a tombstone.
func (s *Server) startSpec(writable bool, settings cluster.Settings) (Start, error) {
	var forced map[string]string
	err := s.owner.do(func() error {
		if err := s.checkMajor(); err != nil {
			return err
		}
		signal, err := exists(s.data("standby.signal"))
		if err != nil {
			return err
		}
		if signal == writable {
			return fmt.Errorf("%w: %s exists: %t, start as primary: %t", ErrStandbySignal, s.data("standby.signal"), signal, writable)
		}
		if forced, err = s.forcedNow(settings); err != nil {
			return err
		}
		return nil
	})
	if err == nil && !writable {
		err = s.dropShortWAL() // before the history files: those that it leaves without WAL go too
	}
	if err == nil {
		err = s.owner.do(func() error { return s.dropOrphans(!writable) })
	}
	if err == nil {
		err = s.dropStaleLocks()
	}
	if err == nil {
		err = s.beginNames(!writable, &settings) // no lock file of a server that is gone is left now
	}
	if err != nil {
		return Start{}, fmt.Errorf("prepare a start: %w", err)
	}
	if err := s.owner.ensureDir(s.o.SocketDir, 0o755); err != nil {
		return Start{}, fmt.Errorf("prepare a start: make the socket directory: %w", err)
	}
	start := Start{
		Argv: s.argv(forced), Env: s.serverEnv(), DataDir: s.o.DataDir, LogPath: s.o.LogPath,
		UID: s.owner.uid, GID: s.owner.gid, Groups: slices.Clone(s.owner.groups),
	}
	if info, err := os.Stat(s.o.LogPath); err == nil {
		start.LogOffset = info.Size()
	}
	return start, nil
}

// forcedNow is what a start would force on the command line now; what is configured is kept
// for telling what waits for a restart. It must run with the owner's rights.
func (s *Server) forcedNow(settings cluster.Settings) (map[string]string, error) {
	forced := s.forcedFrom(settings)
	s.mu.Lock()
	s.forced = forced
	s.mu.Unlock()
	standby, err := exists(s.data("standby.signal"))
	if err != nil {
		return nil, err
	}
	if standby {
		control, err := s.readControl()
		if err != nil {
			return nil, err
		}
		forced = raised(forced, control.ControlData)
	}
	return forced, nil
}

// lastForced are the forced parameters that the server ran with last, which stand in none
// of its files. Without them a recovery stops at what they allow, such as a prepared
// transaction or a logical slot, and pg_control says afterwards that hint bits were not
// logged. It must run with the owner's rights.
func (s *Server) lastForced() (map[string]string, error) {
	control, err := s.readControl()
	if err != nil {
		return nil, err
	}
	content, _, err := readOptional(s.data("postmaster.opts"))
	if err != nil {
		return nil, err
	}
	forced := parseOpts(string(content))
	maps.DeleteFunc(forced, func(name, _ string) bool { return !isForced(name) || slices.Contains(ours, name) })
	if control.WalLogHints {
		forced["wal_log_hints"] = "on"
	}
	return raised(forced, control.ControlData), nil
}

// checkMajor: the binaries must be those of the data directory.
func (s *Server) checkMajor() error {
	major, err := s.directoryMajor()
	if err != nil {
		return err
	}
	if major != s.version.major {
		return fmt.Errorf("%w: %s was made by PostgreSQL %d, but %s is %d: set postgresql.bin_dir to the programs of %d, or upgrade the directory with pg_upgrade",
			ErrVersion, s.o.DataDir, major, s.bin("postgres"), s.version.major, major)
	}
	return nil
}

// argv is the command line, in a fixed order. A data_directory in a configuration that is
// included, as Debian's have, would win over -D: the server of another directory would run,
// as the primary that the files there say it is.
func (s *Server) argv(forced map[string]string) []string {
	argv := []string{s.bin("postgres"), "-D", s.o.DataDir, "--config-file=" + s.conf(confName), "--data_directory=" + s.o.DataDir}
	for _, name := range sortedKeys(forced) {
		argv = append(argv, "--"+name+"="+forced[name])
	}
	return argv
}

// serverEnv is our environment without what is meant for us or would steer a
// PostgreSQL client.
func (s *Server) serverEnv() []string {
	env := []string{"HOME=" + s.owner.home, "USER=" + s.owner.name, "LOGNAME=" + s.owner.name}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		private := slices.ContainsFunc([]string{"PGKEEPER_", "PATRONI_", "KUBERNETES_", "ETCD", "PG", "SUDO_"},
			func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if !private && !slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID",
			"HOME", "USER", "LOGNAME", "MAIL", "SHELL", "OLDPWD", "PWD", "INVOCATION_ID", "JOURNAL_STREAM"}, name) {
			env = append(env, entry)
		}
	}
	return env
}

// startedOtherwise compares the command line of the last start with the one that
// a start would use now. It must run with the owner's rights.
func (s *Server) startedOtherwise(forced map[string]string) (bool, error) {
	if running, err := exists(s.data("postmaster.pid")); err != nil || !running {
		return false, err
	}
	content, found, err := readOptional(s.data("postmaster.opts"))
	if err != nil || !found {
		return false, err
	}
	last := parseOpts(string(content))
	for name, value := range forced {
		if was, set := last[name]; !set || !sameValue(was, value) {
			return true, nil
		}
	}
	return false, nil
}

// optsArgument is one quoted "--name=value" of postmaster.opts.
var optsArgument = regexp.MustCompile(`"--([a-z_]+)=([^"]*)"`)

func parseOpts(content string) map[string]string {
	options := map[string]string{}
	for _, match := range optsArgument.FindAllStringSubmatch(content, -1) {
		options[match[1]] = match[2]
	}
	return options
}

// dropStaleLocks removes the lock files of a server that is gone, when the process
// they name is gone too, or is another program's that got the number since:
// PostgreSQL would refuse to start if that one happens to be of its own user, or
// while a killed postmaster waits for init to take notice. So it does with a file that
// names nobody, which is what a power failure, or SIGKILL, leaves of one that was just made.
// Anything else that is unclear stays.
func (s *Server) dropStaleLocks() error {
	for _, path := range []string{s.data("postmaster.pid"), s.socketPath() + ".lock"} {
		stale, err := s.isStaleLock(path)
		if err != nil {
			return err
		}
		if !stale {
			continue
		}
		if err := s.owner.do(func() error { return os.Remove(path) }); err != nil {
			return fmt.Errorf("remove the lock file of a server that is gone: %w", err)
		}
	}
	return nil
}

// lockUnnamed is how long a lock file may name no process while its server begins to start.
const lockUnnamed = 200 * time.Millisecond

// isStaleLock tells whether a lock file is this directory's and its process is gone.
func (s *Server) isStaleLock(path string) (bool, error) {
	lock, err := s.readLockFile(path)
	if errors.Is(err, errPidFile) { // whoever begins to start names itself at once
		pause(context.Background(), lockUnnamed)
		if lock, err = s.readLockFile(path); errors.Is(err, errPidFile) {
			s.o.Log.Warn("lock file names no process, removed", "path", path)
			return true, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if path != s.data("postmaster.pid") {
		if mine, err := s.sameDirectory(lock.dir); err != nil || !mine {
			return false, err // the socket is another server's
		}
	}
	alive, err := s.isServerProcess(max(lock.pid, -lock.pid))
	return !alive && err == nil, err
}

// isServerProcess tells whether pid may be a process of this directory's server:
// all of them are of its user and have the data directory as working directory.
func (s *Server) isServerProcess(pid int) (bool, error) {
	proc := fmt.Sprintf("/proc/%d", pid)
	info, err := os.Stat(proc)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != s.owner.uid {
		return false, nil // PostgreSQL insists on owning its directory
	}
	var cwd string
	err = s.owner.do(func() error { // in most containers not even root may look, which has no CAP_SYS_PTRACE there
		cwd, err = os.Readlink(proc + "/cwd")
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false, nil // ended just now, or a zombie
	}
	if err != nil {
		return false, fmt.Errorf("the working directory of process %d cannot be seen, which may be one of the server: %w", pid, err)
	}
	return s.sameDirectory(cwd)
}

// SetStandbySignal makes or removes standby.signal, durably.
func (s *Server) SetStandbySignal(on bool) error {
	err := s.owner.do(func() error {
		path := s.data("standby.signal")
		if on {
			if has, err := exists(path); err != nil || has {
				return err
			}
			return writeFile(path, nil, 0o600)
		}
		// A recovery.signal would start an archive recovery instead.
		for _, name := range []string{path, s.data("recovery.signal")} {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return syncDir(s.o.DataDir)
	})
	if err != nil {
		return fmt.Errorf("set standby.signal: %w", err)
	}
	return nil
}

// CheckPort tries whether the server could listen now: ErrPortInUse when
// something else does. Meant for a stopped server, for its clear answer; the
// server itself has the last word.
func (s *Server) CheckPort(ctx context.Context) error {
	for _, host := range s.hosts {
		if host == "*" {
			host = ""
		}
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, s.port))
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%w: %s: stop what listens there or change postgresql.listen", ErrPortInUse, net.JoinHostPort(host, s.port))
		}
		if err == nil {
			_ = l.Close()
		}
	}
	return nil
}

// StartFailure reads why a server that was started with start ended: its own last
// words, and what to do where that is known. Nil when it said nothing.
func (s *Server) StartFailure(start Start) error {
	f, err := os.Open(start.LogPath)
	if err != nil {
		return nil //nolint:nilerr // no log, no words
	}
	defer f.Close()
	if _, err := f.Seek(start.LogOffset, io.SeekStart); err != nil {
		return nil //nolint:nilerr // no log, no words
	}
	var last []string
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		if text := scanner.Text(); serverComplaint().MatchString(text) {
			if last = append(last, strings.TrimSpace(text)); len(last) > 4 {
				last = last[1:]
			}
		}
	}
	if len(last) == 0 {
		return nil
	}
	said := strings.Join(last, "; ")
	if strings.Contains(said, "Address already in use") {
		return fmt.Errorf("%w: %s: stop what listens on port %s or change postgresql.listen", ErrPortInUse, said, s.port)
	}
	return fmt.Errorf("server said: %s", said)
}

var serverComplaint = whenUsed(`FATAL:|PANIC:|could not bind|HINT:|unrecognized configuration parameter|invalid value for parameter`)
