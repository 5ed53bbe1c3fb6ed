package supervisor

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// upgradeEnv carries what the image before an upgrade leaves to its successor.
const upgradeEnv = "PGKEEPER_UPGRADE"

// legacy is what the old image leaves behind.
type legacy struct {
	lock   *Lock
	worker int
	guard  int
}

// upgrade executes the binary on disk in this process. It returns only on failure,
// and then nothing has changed: the worker is replaced by the new image.
func (s *supervisor) upgrade() error {
	s.Log.Info("upgrade", "program", s.Executable)
	lock := s.lock.fd
	kept := []uintptr{uintptr(lock)}
	if s.ParentPipe > 2 {
		kept = append(kept, uintptr(s.ParentPipe))
	}
	for _, fd := range kept {
		keep(fd, true)
	}
	env := append(os.Environ(), fmt.Sprintf("%s=%d %d %d", upgradeEnv, lock, s.worker.pid, s.guard.pid))
	err := syscall.Exec(s.Executable, s.Args, env)
	for _, fd := range kept {
		keep(fd, false)
	}
	return fmt.Errorf("execute %s: %w", s.Executable, err)
}

// keep says whether a descriptor survives exec. A POSIX lock does, if its
// descriptor does.
func keep(fd uintptr, on bool) {
	flags := unix.FD_CLOEXEC
	if on {
		flags = 0
	}
	_, _ = unix.FcntlInt(fd, unix.F_SETFD, flags) // cannot fail on an open descriptor
}

// inherited reads what the image before an upgrade left, once.
func inherited() (legacy, bool) {
	var fd int
	var l legacy
	_, err := fmt.Sscanf(os.Getenv(upgradeEnv), "%d %d %d", &fd, &l.worker, &l.guard)
	_ = os.Unsetenv(upgradeEnv) // cannot fail
	if err != nil {
		return legacy{}, false
	}
	keep(uintptr(fd), false)
	l.lock = &Lock{fd, supervisorLock}
	if ok, err := l.lock.try(); !ok || err != nil { // not the lock after all
		return legacy{}, false
	}
	return l, true
}

// replace tells the old image's worker to leave, server untouched; its end starts
// the new one.
func (s *supervisor) replace(pid int) {
	s.worker.pid, s.worker.since = pid, now()
	s.replacing = true
	s.killAt = now() + quietExit
	s.kill(unix.SIGUSR2)
}
