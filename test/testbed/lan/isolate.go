package lan

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageVariable tells a process of the test which of the three it is. Agents take no
// notice of its name, which is none of theirs.
const stageVariable = "TESTBED_LAN_STAGE"

// Stage is one of the three lives of a test's program: the one that was called has new
// namespaces made, the first process inside reaps orphans as an init does, and the third
// runs the tests.
type Stage string

// The stages; each begins the next by Call and Reap.
const (
	Called Stage = ""
	Init   Stage = "init"
	Inside Stage = "inside"
)

// At is the stage of this process.
func At() Stage { return Stage(os.Getenv(stageVariable)) }

// Call runs this program again as the first process of new namespaces, with more in its
// environment, and returns its exit code. They end with that process, and it ends with
// this one.
func Call(environment ...string) (int, error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:noctx // ends by the signals that are passed on
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(withStage(Init), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL, Setpgid: true,
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	runtime.LockOSThread() // the parent-death signal follows the thread that forked
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("make namespaces for the test: %w", err)
	}
	go func() {
		for s := range interrupts {
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	err := cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// withStage is the environment with the stage in it once: of two, the first would count.
func withStage(stage Stage) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, stageVariable+"=") {
			env = append(env, entry)
		}
	}
	return append(env, stageVariable+"="+string(stage))
}

// Reap is the life of the first process: it starts the tests, passes interrupts on,
// and buries every orphan, since a zombie postmaster would pass for a running one.
func Reap() (int, error) {
	if err := furnish(); err != nil {
		return 1, err
	}
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env: withStage(Inside), Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return 1, fmt.Errorf("start the tests: %w", err)
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for range interrupts {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}()
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait for the tests: %w", err)
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case ended == pid:
			return status.ExitStatus(), nil
		}
	}
}

// furnish makes the new namespaces usable: mounts that nobody else sees, processes
// of this namespace in /proc, a folder for names of network namespaces, loopback.
func furnish() error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"run", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
		}
	}
	return Command("ip", "link", "set", "lo", "up")
}

// Command runs a program of the system and says what it said when it fails.
func Command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:noctx // ends by itself
	if err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return nil
}
