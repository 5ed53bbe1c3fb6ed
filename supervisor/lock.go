package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Names of the locks in the runtime directory. The guard's is taken by the guard.
const (
	supervisorLock = "supervisor.lock"
	workerLock     = "worker.lock"
	guardLock      = "guard.lock"
)

// killWait bounds how long a worker that was sent SIGKILL may take to end.
const killWait = 5000 // milliseconds

// Lock is a POSIX record lock, held until Close or the end of the process. The
// kernel knows its holder's pid, and it does not pass to children. It is a bare
// descriptor: a file that the collector may close would lose the lock.
type Lock struct {
	fd   int
	path string
}

// Close gives the lock up.
func (l *Lock) Close() error { return unix.Close(l.fd) }

func open(path string) (*Lock, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Lock{fd, path}, nil
}

// try takes the lock if it is free.
func (l *Lock) try() (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(uintptr(l.fd), unix.F_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", l.path, err)
	}
	if err := unix.Ftruncate(l.fd, 0); err == nil { // the pid is for people only; nothing reads it
		_, _ = unix.Pwrite(l.fd, []byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return true, nil
}

// heldBy returns the pid of the holder, 0 when the lock is free (or ours).
func (l *Lock) heldBy() (int, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(uintptr(l.fd), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("ask for the holder of %s: %w", l.path, err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, nil
	}
	return int(lock.Pid), nil
}

// holder is heldBy for a lock that this process never holds: closing a file drops
// every lock the process has on it.
func holder(path string) (int, error) {
	f, err := open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.heldBy()
}

// lockAgent makes this the one agent of the runtime directory.
func lockAgent(dir string) (*Lock, error) {
	f, err := open(filepath.Join(dir, supervisorLock))
	if err != nil {
		return nil, fmt.Errorf("open the agent's lock: %w", err)
	}
	ok, err := f.try()
	if err == nil && !ok {
		pid, _ := f.heldBy()
		err = fmt.Errorf("%w: pid %d holds %s: stop it first, or give this member a name of its own", ErrRunning, pid, f.path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// TakeWorkerLock makes the caller the one worker of the runtime directory. A
// worker left behind by a supervisor that died is killed first. A worker that
// another live supervisor looks after is left alone, and the error wraps
// ErrRunning.
func TakeWorkerLock(runtimeDir string) (*Lock, error) {
	if fd, ok := notifyFD(); ok {
		unix.CloseOnExec(fd) // not for the processes this worker starts
	}
	boss, err := holder(filepath.Join(runtimeDir, supervisorLock))
	if err != nil {
		return nil, fmt.Errorf("take the worker's lock: %w", err)
	}
	if boss > 0 && boss != os.Getppid() {
		return nil, fmt.Errorf("%w: pid %d looks after the worker in %s", ErrRunning, boss, runtimeDir)
	}
	f, err := open(filepath.Join(runtimeDir, workerLock))
	if err != nil {
		return nil, fmt.Errorf("take the worker's lock: %w", err)
	}
	if err := seize(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("take the worker's lock: %w", err)
	}
	return f, nil
}

// seize takes a lock, from an orphan if need be.
func seize(f *Lock) error {
	for range 10 {
		ok, err := f.try()
		if ok || err != nil {
			return err
		}
		pid, err := f.heldBy()
		if err != nil {
			return err
		}
		if pid <= 0 { // given up in between, or held where we cannot see it
			continue
		}
		if err := killHolder(f, pid); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s is held by a process that cannot be replaced", ErrRunning, f.path)
}

// killHolder kills a holder by pidfd. The lock is asked once more after the pidfd
// was opened: only then the pid is known to be the holder's and not a later one.
func killHolder(f *Lock, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the pidfd of pid %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if again, err := f.heldBy(); err != nil || again != pid {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill the orphan worker, pid %d: %w", pid, err)
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, killWait)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for the orphan worker, pid %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("%w: orphan worker, pid %d, survives SIGKILL for %d ms", ErrRunning, pid, killWait)
		}
		return nil
	}
}
