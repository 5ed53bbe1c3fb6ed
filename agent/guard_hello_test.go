package agent

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/guard"
)

// TestAGuardThatWasFrozenBeforeItsWorkerCameIsMissed: it accepts the connection, which
// the kernel does, and never answers. What runs under it is nobody's until then.
func TestAGuardThatWasFrozenBeforeItsWorkerCameIsMissed(t *testing.T) {
	dir, err := os.MkdirTemp("", "pgk") //nolint:usetesting // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listener, err := net.Listen("unix", filepath.Join(dir, guard.SocketName)) //nolint:noctx // a socket of a test
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	said := make(chan Event, 8)
	link := newGuardLink(dir, filepath.Join(dir, "data"), "test", func(e Event) { said <- e }, func() time.Duration { return 2 * time.Second }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- link.hold(ctx) }()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	select {
	case e := <-said:
		if (e != GuardFrozen{}) {
			t.Errorf("said %#v, want that the guard is frozen", e)
		}
	case err := <-ended:
		t.Errorf("given up before it was missed: %v", err)
	case <-deadline.C:
		t.Error("nobody missed it")
	}
	link.mu.Lock()
	known := link.dialed != nil && link.dialed.PeerPID() == os.Getpid()
	link.mu.Unlock()
	if !known {
		t.Error("the process to kill is not known")
	}
}
