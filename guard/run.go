package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// File names in the runtime and the state directory.
const (
	SocketName   = "guard.sock"
	LockName     = "guard.lock"
	lastKillName = "guard.last_kill"
)

// maxSocketPath is below the 108 bytes of sockaddr_un, with room for a suffix.
const maxSocketPath = 100

// Options is what a guard is started with.
type Options struct {
	RuntimeDir string // holds the socket and the lock; made with mode 0700
	StateDir   string // keeps the duration of the last kill over a restart; may be empty
	// UntilParentExits ends the server and the guard at end of file on ParentPipe.
	UntilParentExits bool
	ParentPipe       int // inherited file descriptor, read end
	// Gate are the arguments (the name first) with which this program, run again, is a
	// gate; empty: there are none.
	Gate    []string
	Log     *slog.Logger
	Version string
}

// Run is the body of the guard process. It returns nil when nothing is left to
// guard, and an error when it could not begin; never while a server runs. It
// changes the whole process (subreaper, signals, memory, working directory) and
// waits for every child, so nothing else may run in it. The starter gives it a
// session of its own.
func Run(ctx context.Context, o Options) error {
	socket := filepath.Join(o.RuntimeDir, SocketName)
	if len(socket) >= maxSocketPath {
		return fmt.Errorf("socket path %s has %d bytes, the limit is %d: choose a shorter runtime directory",
			socket, len(socket), maxSocketPath-1)
	}
	if err := makeRuntimeDir(o.RuntimeDir); err != nil {
		return err
	}
	lock, err := lockFile(filepath.Join(o.RuntimeDir, LockName))
	if err != nil {
		return fmt.Errorf("lock the runtime directory: %w", err)
	}
	defer lock.Close()
	log, flush := asyncLog(o.Log)
	resetOOM, err := harden(log)
	if err != nil {
		return err
	}
	clock, err := newBootClock()
	if err != nil {
		return err
	}
	defer clock.close()
	listener, err := listen(socket)
	if err != nil {
		return fmt.Errorf("open the guard's socket: %w", err)
	}
	defer listener.Close()
	table := newProcessTable(resetOOM)
	k := newKeeper(clock, table, dataFiles{}, log,
		Status{Protocol: ProtocolVersion, Version: o.Version, PID: os.Getpid()})
	k.watch.open = openRealWatchdog
	if len(o.Gate) > 0 {
		page, err := NewPage()
		if err != nil {
			return err
		}
		defer page.close()
		k.gates = &gateProcesses{table, page, o.Gate}
	}
	if err := k.remember(o.StateDir); err != nil {
		return err
	}
	if o.UntilParentExits {
		k.quit = endOfFile(o.ParentPipe)
	}
	done := make(chan struct{})
	go acceptLoop(listener, k, done)
	log.Info("guard ready", "pid", os.Getpid(), "version", o.Version)
	k.run(ctx)
	close(done)
	log.Info("guard ended")
	waitFor(clock, flush(), lastWords)
	return nil
}

// makeRuntimeDir refuses a directory that others could put a socket into.
func makeRuntimeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the runtime directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at the runtime directory: %w", &os.PathError{Op: "lstat", Path: dir, Err: err})
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("runtime directory %s is not a directory owned by uid %d: remove it or choose another", dir, os.Geteuid())
	}
	if st.Mode&0o077 == 0 {
		return nil
	}
	return os.Chmod(dir, 0o700)
}

// listen replaces the socket of a guard that is gone: the lock is ours.
func listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// Its directory is 0700 already, and who connects is asked for his user.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// acceptLoop ends when the listener is closed.
func acceptLoop(l *net.UnixListener, k *keeper, done <-chan struct{}) {
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors: the runtime's poller paces the retry
			k.log.Error("cannot accept a connection", "error", err)
			_, _ = unix.Poll(nil, 100)
			continue
		}
		cred, err := peer(c)
		// guard: peer-is-us — SAFETY 2: only the agent's own user, and root, may move the deadline.
		if err != nil || !trusted(cred.Uid) {
			k.log.Warn("connection of another user refused", "error", err)
			_ = c.Close()
			continue
		}
		go k.serve(c, int(cred.Pid), done)
	}
}

func trusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// peer asks the kernel who is at the other end.
func peer(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, failed
}

// endOfFile closes its result when the pipe's writer is gone.
func endOfFile(fd int) <-chan struct{} {
	unix.CloseOnExec(fd) // the server must not hold it
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pipe := os.NewFile(uintptr(fd), "parent")
		var b [16]byte
		for {
			if _, err := pipe.Read(b[:]); err != nil {
				return
			}
		}
	}()
	return ended
}

// remember loads the last kill's duration and keeps it up to date. It is written
// beside the loop and not synced: a number that is lost costs a safety margin its
// memory, a stalled disk would cost the deadline.
func (k *keeper) remember(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	path := filepath.Join(dir, lastKillName)
	if b, err := os.ReadFile(path); err == nil {
		if ns, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && ns > 0 {
			k.lastKill = time.Duration(ns)
		}
	}
	log := k.log
	k.killTook = func(took time.Duration) {
		go func() {
			if err := os.WriteFile(path, strconv.AppendInt(nil, int64(took), 10), 0o600); err != nil {
				log.Warn("cannot keep the duration of the last kill", "error", err)
			}
		}()
	}
	return nil
}
