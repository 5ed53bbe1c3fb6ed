package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
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
