package supervisor

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	quickLife   = 2 * time.Second // a shorter life is a quick death
	quickDeaths = 5               // so many in a row are restarted at once
	firstWait   = 100 * time.Millisecond
	longestWait = 2 * time.Second
)

// child is a process that is kept alive.
type child struct {
	name    string
	argv    []string
	pid     int // 0 when it does not run
	since   time.Duration
	quick   int           // quick deaths in a row
	retryAt time.Duration // when to start it again; 0 when not waiting
}

// now is CLOCK_BOOTTIME; only differences are used.
func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail
	return time.Duration(ts.Nano())
}

// spawn starts the child with our output and, from descriptor 3 on, the given files.
func (c *child) spawn(env []string, sys *syscall.SysProcAttr, files ...uintptr) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(c.argv[0], c.argv, &syscall.ProcAttr{
		Env:   env,
		Files: append([]uintptr{null.Fd(), 1, 2}, files...),
		Sys:   sys,
	})
	if err != nil {
		return fmt.Errorf("start the %s: %w", c.name, &os.PathError{Op: "exec", Path: c.argv[0], Err: err})
	}
	c.pid, c.since, c.retryAt = pid, now(), 0
	return nil
}

// died notes the end of a child and when to start it again.
func (c *child) died(at time.Duration) {
	c.pid = 0
	if at-c.since >= quickLife {
		c.quick = 0
	}
	c.quick++
	c.retryAt = at + backoff(c.quick)
}

// backoff is 0 for the first quick deaths, then doubles up to a bound.
func backoff(quick int) time.Duration {
	if quick <= quickDeaths {
		return 0
	}
	wait := firstWait
	for range quick - quickDeaths - 1 {
		if wait *= 2; wait >= longestWait {
			return longestWait
		}
	}
	return wait
}

// due says whether a dead child is to be started.
func (c *child) due(at time.Duration) bool { return c.pid == 0 && c.retryAt > 0 && at >= c.retryAt }

// end is one process that was waited for.
type end struct {
	pid  int
	code int // exit status, 128 + signal for one that was killed
}

// reap waits for every process that has ended, orphans included: as PID 1 they are
// all ours.
func reap() []end {
	var all []end
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return all
		}
		code := ws.ExitStatus()
		if ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
		all = append(all, end{pid, code})
	}
}
