package agent

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestTheServerOfAJobIsNotAdopted: a guard that comes in the middle of a post_bootstrap
// script finds its server in the data directory, and no cluster knows that server.
func TestTheServerOfAJobIsNotAdopted(t *testing.T) {
	t.Parallel()
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	dir := t.TempDir()
	link := newGuardLink(dir, dir, "test", func(Event) {}, func() time.Duration { return time.Second }, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		name      string
		pid, want int
	}{
		{"a child of this worker", child.Process.Pid, 0},
		{"a server somebody else started", os.Getppid(), os.Getppid()},
	} {
		if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), fmt.Appendf(nil, "%d\n%s\n", c.pid, dir), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := link.postmaster([]int{c.pid}); got != c.want {
			t.Errorf("%s: the server to adopt is process %d, want %d", c.name, got, c.want)
		}
	}
}
