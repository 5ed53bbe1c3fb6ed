package guard

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// harden makes this process hard to kill by accident. What the system does not
// allow to an ordinary user is skipped and said once, at debug level; only the
// subreaper is a must. It says whether children must have their oom score reset.
func harden(log *slog.Logger) (resetOOM bool, err error) {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(16 << 20)
	// One loop decides, and its other goroutines move lines: with a second processor each of
	// them would wake a thread that finds nothing left to do. A thread that hangs in the
	// kernel gives the processor up, as with two.
	runtime.GOMAXPROCS(1)
	ignoreSignals()
	// A guard that sits in the data directory would count as a process of the server.
	if err := os.Chdir("/"); err != nil {
		return false, fmt.Errorf("leave the working directory: %w", err)
	}
	// guard: subreaper — SAFETY 2: backends that outlive their postmaster become our children, and their zombies ours to reap.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return false, fmt.Errorf("become subreaper: %w", err)
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err != nil {
		log.Debug("guard is not protected from the oom killer", "error", err)
	} else {
		resetOOM = true
	}
	if err := lockMemory(); err != nil {
		log.Debug("guard memory is not locked", "error", err)
	}
	return resetOOM, nil
}

// ignoreSignals catches what terminals and service managers send to a group.
// Caught, not ignored: an ignored signal would stay ignored in the server. A pipe
// that nobody reads must not end the guard either.
func ignoreSignals() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE, unix.SIGTTOU, unix.SIGTTIN, unix.SIGTSTP, unix.SIGUSR1, unix.SIGUSR2)
	go func() {
		for range c {
		}
	}()
}

// lockMemory keeps touched pages in memory, so that the deadline does not wait for
// a swap device. Under a limit a later mapping would fail and take the guard down,
// so it is all or nothing.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Cur != unix.RLIM_INFINITY && !capable(unix.CAP_IPC_LOCK) {
		return fmt.Errorf("RLIMIT_MEMLOCK is %d bytes: %w", limit.Cur, unix.EPERM)
	}
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
}

// capable says whether this process has a capability in effect (of the first 32).
func capable(which uint) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<which) != 0
}
