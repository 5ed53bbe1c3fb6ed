package agent

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/guard"
)

// answering is a guard that says its status, as long as it has one.
func answering(listener net.Listener, status *guard.Status) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(conn); lines.Scan() && status != nil; {
		var request struct {
			ID uint64 `json:"id"`
		}
		_ = json.Unmarshal(lines.Bytes(), &request)
		reply, _ := json.Marshal(map[string]any{"id": request.ID, "status": status})
		_, _ = conn.Write(append(reply, '\n'))
	}
}

// TestAFenceLeavesAGuardToItsWatchdog: to kill it would have the kernel feed that watchdog.
// Any other is killed, as one that does not answer.
func TestAFenceLeavesAGuardToItsWatchdog(t *testing.T) {
	killing := &guard.Server{State: guard.Killing, Writable: true}
	armed := &guard.WatchdogStatus{Mode: guard.WatchdogAutomatic, Armed: true}
	for name, c := range map[string]struct {
		status *guard.Status
		left   bool
	}{
		"it kills, and a watchdog is armed":     {&guard.Status{Server: killing, Term: 5, EndedTerm: 5, Watchdog: armed}, true},
		"none is armed":                         {&guard.Status{Server: killing, Term: 5, EndedTerm: 5, Watchdog: &guard.WatchdogStatus{Mode: guard.WatchdogAutomatic}}, false},
		"there is none":                         {&guard.Status{Server: killing, Term: 5, EndedTerm: 5}, false},
		"it has not killed yet":                 {&guard.Status{Server: &guard.Server{State: guard.Stopping}, Term: 5, EndedTerm: 5, Watchdog: armed}, false},
		"it has a term that may write":          {&guard.Status{Server: killing, Term: 6, EndedTerm: 5, Watchdog: armed}, false},
		"it has no server":                      {&guard.Status{Term: 5, EndedTerm: 5, Watchdog: armed}, false},
		"it does not answer, whatever it would": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, listener := guardSocket(t)
			defer listener.Close()
			go answering(listener, c.status)
			client, err := guard.Connect(t.Context(), filepath.Join(dir, guard.SocketName))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			link := newGuardLink(dir, dir, "test", func(Event) {}, func() time.Duration { return 20 * time.Second }, slog.New(slog.DiscardHandler))
			began := clock.Now()
			if left := link.leftToWatchdog(client); left != c.left {
				t.Errorf("left to its watchdog: %t", left)
			}
			if took := clock.Now().Sub(began); took > busyPatience {
				t.Errorf("it took %s", took)
			}
		})
	}
}
