package guard

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Adopt holds a process that is not a child by its pidfd, after making sure that
// it sits in the data directory.
func (t *processTable) Adopt(pid int, dir directory) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open its pidfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	in, err := visible(pid, dir)
	if err == nil && !in {
		err = fmt.Errorf("%w: its working directory is not %s", ErrBadRequest, dir.path)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	t.mu.Lock()
	t.adopted[pid] = fd
	t.mu.Unlock()
	go t.watch(pid, f)
	return nil
}

// watch waits for the end of an adopted process.
func (t *processTable) watch(pid int, f *os.File) {
	for !exited(f) {
	}
	t.mu.Lock()
	delete(t.adopted, pid)
	t.gone = append(t.gone, ended{pid: pid, status: -1})
	t.mu.Unlock()
	_ = f.Close()
	notify(t.changed)
}

// exited waits until the process of a pidfd has ended. It returns false when the
// wait was cut short.
func exited(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return pollOnce(int(f.Fd()), -1)
	}
	done := false
	err = raw.Read(func(fd uintptr) bool {
		done = pollOnce(int(fd), 0)
		return done
	})
	if err != nil { // not pollable by the runtime
		return pollOnce(int(f.Fd()), -1)
	}
	return done
}

func pollOnce(fd, timeout int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, timeout)
	return err == nil && n > 0
}
