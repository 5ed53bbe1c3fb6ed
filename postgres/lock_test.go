package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLockFilesOfAServerThatIsGoneAreRemovedAndNoOthers(t *testing.T) {
	process := func(t *testing.T, dir string) int {
		cmd := exec.CommandContext(t.Context(), "sleep", "60")
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	cases := []struct {
		name string
		// lock is the process and the directory a lock file names.
		lock func(t *testing.T, s *Server) (pid int, dir string)
		// postmaster.pid always belongs to this directory.
		pidFileStays, socketLockStays bool
	}{
		{name: "nobody has the number", lock: func(_ *testing.T, s *Server) (int, string) { return 1 << 30, s.o.DataDir }},
		{name: "another program has it", lock: func(t *testing.T, s *Server) (int, string) { return process(t, "/"), s.o.DataDir }},
		{name: "a process of this server has it", pidFileStays: true, socketLockStays: true,
			lock: func(t *testing.T, s *Server) (int, string) { return process(t, s.o.DataDir), s.o.DataDir }},
		{name: "a stand-alone server of this directory has it", pidFileStays: true, socketLockStays: true,
			lock: func(t *testing.T, s *Server) (int, string) { return -process(t, s.o.DataDir), s.o.DataDir }},
		{name: "a dead server of another directory left it", socketLockStays: true,
			lock: func(*testing.T, *Server) (int, string) { return 1 << 30, "/elsewhere" }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := bare(t)
			s.o.SocketDir = t.TempDir()
			s.put(t, "PG_VERSION", "15\n")
			pid, dir := c.lock(t, s)
			content := fmt.Sprintf("%d\n%s\n1700000000\n5432\n%s\n", pid, dir, s.o.SocketDir)
			s.put(t, "postmaster.pid", content)
			socketLock := s.socketPath() + ".lock"
			if err := os.WriteFile(socketLock, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.dropStaleLocks(); err != nil {
				t.Fatal(err)
			}
			for path, want := range map[string]bool{s.data("postmaster.pid"): c.pidFileStays, socketLock: c.socketLockStays} {
				if there, err := exists(path); err != nil || there != want {
					t.Errorf("%s is there: %t (%v), want %t", path, there, err, want)
				}
			}
		})
	}
}

func TestALockFileThatNamesNobodyIsRemoved(t *testing.T) {
	for _, content := range []string{"", "\x00\x00\x00\x00"} {
		s := bare(t)
		s.o.SocketDir = t.TempDir()
		s.put(t, "postmaster.pid", content)
		if err := s.dropStaleLocks(); err != nil {
			t.Error(err)
		}
		if there, err := exists(s.data("postmaster.pid")); err != nil || there {
			t.Errorf("%q is there: %t (%v)", content, there, err)
		}
	}
}

func TestALockFileThatIsBeingWrittenStays(t *testing.T) {
	s := bare(t)
	s.o.SocketDir = t.TempDir()
	s.put(t, "postmaster.pid", "")
	t.Chdir(s.o.DataDir) // which makes this process one of the server's
	written := make(chan error, 1)
	go func() {
		<-time.After(lockUnnamed / 4)
		written <- writeFile(s.data("postmaster.pid"), fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), s.o.DataDir), 0o600)
	}()
	if err := s.dropStaleLocks(); err != nil {
		t.Error(err)
	}
	if there, err := exists(s.data("postmaster.pid")); err != nil || !there {
		t.Errorf("it is there: %t (%v)", there, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// withoutPtrace runs the test in a process without CAP_SYS_PTRACE, as root has it in most
// containers, and reports whether this is that process.
func withoutPtrace(t *testing.T) bool {
	t.Helper()
	const mark = "PGKEEPER_TEST_WITHOUT_PTRACE"
	if os.Getenv(mark) != "" {
		return true
	}
	setpriv, err := exec.LookPath("setpriv")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("needs root and setpriv")
	}
	cmd := exec.CommandContext(t.Context(), setpriv, "--bounding-set=-sys_ptrace,-sys_admin", "--", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return false
}

// TestProcessesOfTheServerAreSeenWithoutPtrace: a lock file that names one keeps its server
// from starting, and what hangs can be signalled.
func TestProcessesOfTheServerAreSeenWithoutPtrace(t *testing.T) {
	if !withoutPtrace(t) {
		return
	}
	s := bare(t)
	s.owner = owner{name: "nobody", uid: 65534, gid: 65534}
	s.put(t, "PG_VERSION", "15\n")
	for _, dir := range []string{filepath.Dir(filepath.Dir(s.o.DataDir)), filepath.Dir(s.o.DataDir), s.o.DataDir} {
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the server's user must pass
			t.Fatal(err)
		}
	}
	sleep := func(dir string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "sleep", "60")
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: s.owner.credential()}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	ours, other := sleep(s.o.DataDir), sleep("/")
	for cmd, want := range map[*exec.Cmd]bool{ours: true, other: false} {
		if got, err := s.isServerProcess(cmd.Process.Pid); got != want || err != nil {
			t.Errorf("a process in %s is one of the server: %t, %v", cmd.Dir, got, err)
		}
		if err := s.signal(cmd.Process.Pid, "sleep", syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	if err := ours.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("a process of the server was not signalled: %v", err)
	}
	if err := s.signal(ours.Process.Pid, "sleep", syscall.SIGTERM); err != nil {
		t.Errorf("one that is gone needs no signal: %v", err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("another's process was ended: %v", err)
	}
}
