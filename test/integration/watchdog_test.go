//go:build integration

package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// kennel is a watchdog of the testing driver per node: a file that gets what a device
// would be told.
type kennel struct {
	t   *testing.T
	dir string
}

func newKennel(t *testing.T, names ...string) kennel {
	t.Helper()
	k := kennel{t, t.TempDir()}
	top := os.TempDir() //nolint:usetesting // that of all, which every user may walk already
	for dir := k.dir; dir != top && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		k.put(name)
	}
	return k
}

func (k kennel) path(name string) string { return filepath.Join(k.dir, name) }

func (k kennel) put(name string) {
	k.t.Helper()
	if err := os.WriteFile(k.path(name), nil, 0o600); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Chmod(k.path(name), 0o666); err != nil {
		k.t.Fatal(err)
	}
}

func (k kennel) told(name string) string {
	k.t.Helper()
	b, err := os.ReadFile(k.path(name))
	if err != nil {
		k.t.Fatal(err)
	}
	return string(b)
}

func awaitWatchdog(b *bedtest.Bed, n *testbed.Node, state string) {
	b.T().Helper()
	b.WaitStatus(n, 10*time.Second, "watchdog "+state, func(s testbed.Status) bool { return s.Keeper.Watchdog.State == state })
}

// With ttl 20 the margin is 2 s and the safety margin in force 0.67 s: the watchdog is
// set to 19 s, fed by every renewal, and disarmed when nothing is left to guard.
func TestTheWatchdogOfAClusterIsFedAndDisarmed(t *testing.T) {
	t.Parallel()
	k := newKennel(t, "a", "b", "c")
	b := bedtest.New(t, testbed.Options{TTL: 20 * time.Second, Configure: func(name string, config map[string]any) {
		if _, err := os.Stat(k.path(name)); err != nil {
			k.put(name)
		}
		config["watchdog"] = map[string]any{"mode": "required", "driver": "testing", "device": k.path(name)}
	}})
	old := b.Healthy(20 * time.Second)
	awaitWatchdog(b, old, "armed")
	if s := status(b, old); s.Keeper.Watchdog.Timeout != 19 {
		t.Errorf("its timeout is %d s, want 19", s.Keeper.Watchdog.Timeout)
	}
	if told := k.told(old.Name); !strings.Contains(told, "Ctimeout=19\n1") || strings.HasSuffix(told, "V") {
		t.Errorf("the device of the primary was told %q", told)
	}
	fed := len(k.told(old.Name))
	b.Wait(15*time.Second, "two renewals that feed it", func(context.Context) string {
		if now := k.told(old.Name); len(now) < fed+2 || strings.Trim(now[fed:], "1") != "" {
			return "told " + now[fed:]
		}
		return ""
	})
	standby := b.Standby(old)
	awaitWatchdog(b, standby, "ready")
	if told := k.told(standby.Name); !strings.HasSuffix(told, "V") {
		t.Errorf("the device of a standby was told %q", told)
	}
	awaitListed(b, 10*time.Second, old.Name+": armed")

	b.Ctl("pause", "--wait")
	awaitWatchdog(b, old, "ready")
	if told := k.told(old.Name); !strings.HasSuffix(told, "V") {
		t.Errorf("in a pause the device was told %q", told[len(told)-5:])
	}
	b.Ctl("resume", "--wait")
	awaitWatchdog(b, old, "armed")

	if err := os.Remove(k.path(standby.Name)); err != nil {
		t.Fatal(err)
	}
	k.missing(b, standby)
	b.Refused("lacks the watchdog", "switchover", "--candidate", standby.Name, "--force")
	k.put(standby.Name)
	awaitWatchdog(b, standby, "ready")

	b.Ctl("switchover", "--candidate", standby.Name, "--force")
	awaitWatchdog(b, standby, "armed")
	awaitWatchdog(b, old, "ready")
	if told := k.told(old.Name); !strings.HasSuffix(told, "V") {
		t.Errorf("after its server has stopped the device was told %q", told[len(told)-5:])
	}
}

// missing waits until the member says so, and the primary has heard of it.
func (k kennel) missing(b *bedtest.Bed, n *testbed.Node) {
	k.t.Helper()
	awaitWatchdog(b, n, "required, missing")
	awaitListed(b, 10*time.Second, n.Name+": required, missing")
}
