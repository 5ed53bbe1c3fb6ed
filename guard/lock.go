package guard

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// lockFile takes a POSIX record lock on path and keeps it until the process ends.
// The kernel knows the holder's pid, so others find it without trusting a file.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = ErrGuardRunning
		held := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
		if unix.FcntlFlock(f.Fd(), unix.F_GETLK, &held) == nil && held.Type != unix.F_UNLCK {
			err = fmt.Errorf("%w: pid %d holds %s", ErrGuardRunning, held.Pid, path)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	// For people only; nothing reads it.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	return f, nil
}
