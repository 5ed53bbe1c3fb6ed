package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests start this binary again as "supervisor DIR", "worker DIR" or "guard
// DIR". What the fakes see goes to DIR/diary; a file in DIR changes how they act.
const roleEnv = "TEST_SUPERVISOR"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "" {
		os.Exit(m.Run())
	}
	dir := os.Args[2]
	switch os.Args[1] {
	case "heir":
		os.Exit(becomeHeir(os.Args[3], os.Args[4:]))
	case "supervisor":
		os.Exit(runSupervisor(dir))
	case "worker":
		os.Exit(runWorker(dir))
	case "guard":
		os.Exit(runGuard(dir))
	}
	os.Exit(64)
}

// becomeHeir has a child and becomes the supervisor: exec keeps the children.
func becomeHeir(child string, args []string) int {
	argv := []string{"sleep", "1"}
	if child == "ended" {
		argv[1] = "0"
	}
	sleep, err := exec.LookPath(argv[0])
	if err == nil {
		var pid int
		if pid, err = syscall.ForkExec(sleep, argv, &syscall.ProcAttr{}); err == nil && child == "ended" {
			err = unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) // it is not reaped
		}
	}
	if err == nil {
		err = syscall.Exec(os.Args[0], append([]string{os.Args[0]}, args...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func runSupervisor(dir string) int {
	o := Options{
		RuntimeDir: dir, Worker: []string{os.Args[0], "worker", dir}, Guard: []string{os.Args[0], "guard", dir},
		StopTimeout: 10 * time.Second, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if len(os.Args) > 3 {
		o.ParentPipe, _ = strconv.Atoi(os.Args[3])
	}
	if has(dir, "impatient") {
		o.StopTimeout = 100 * time.Millisecond
	}
	code, err := Run(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// runWorker plays a worker that is well behaved unless a file says otherwise.
func runWorker(dir string) int {
	c := make(chan os.Signal, 16)
	signal.Notify(c, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR2)
	switch {
	case has(dir, "refuse"):
		return ExitRefused
	case has(dir, "crash"):
		note(dir, "crash")
		return 1
	}
	if _, err := TakeWorkerLock(dir); err != nil {
		note(dir, "no lock: "+err.Error())
		return 1
	}
	note(dir, fmt.Sprintf("worker %d notify=%q", os.Getpid(), os.Getenv("NOTIFY_SOCKET")))
	_ = NotifyStatus("running")
	_ = NotifyReady()
	for s := range c {
		note(dir, fmt.Sprintf("worker %d %v", os.Getpid(), s))
		switch {
		case s == unix.SIGHUP:
			_ = NotifyReady()
		case has(dir, "stubborn") && s == unix.SIGTERM:
		default:
			return 0
		}
	}
	return 0
}

// runGuard holds the lock until it is told to go.
func runGuard(dir string) int {
	l, err := open(filepath.Join(dir, guardLock))
	if err != nil {
		return 1
	}
	if ok, err := l.try(); !ok || err != nil {
		note(dir, "guard refused")
		return 1
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM) // before anybody is told of this process, and may signal it
	sid, _ := unix.Getsid(0)
	note(dir, fmt.Sprintf("guard %d sid %d", os.Getpid(), sid))
	<-c
	return 0
}

func has(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func note(dir, text string) {
	f, err := os.OpenFile(filepath.Join(dir, "diary"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		os.Exit(71)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, text); err != nil {
		os.Exit(72)
	}
}
