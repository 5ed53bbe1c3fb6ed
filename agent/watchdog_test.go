package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// kennel is a guard that writes down which watchdog it was told of.
type kennel struct {
	gatehouse
	told []guard.Watchdog
	says string // what is wrong with the device
	deaf error
	// asked is how often its status was.
	asked int
}

func (k *kennel) Status(ctx context.Context) (guard.Status, error) {
	k.asked++
	return k.gatehouse.Status(ctx)
}

func (k *kennel) Watchdog(_ context.Context, w guard.Watchdog, dataDir string) error {
	if k.deaf != nil {
		return k.deaf
	}
	k.note("watchdog")
	k.told = append(k.told, w)
	k.status.Watchdog = &guard.WatchdogStatus{Mode: w.Mode, Device: w.Device, Error: k.says}
	if w.Mode == guard.WatchdogOff {
		k.status.Watchdog = nil
	}
	return nil
}

type kennelLink struct {
	gatehouseLink
	k *kennel
}

func (l kennelLink) Guard() Guard { return l.k }

func newKennel(t *testing.T, mode string, protocol int) (*kennel, *Node) {
	t.Helper()
	h, n := newGatehouse(t, guard.Status{Protocol: protocol, Server: &guard.Server{}})
	k := &kennel{gatehouse: gatehouse{status: h.status, promotee: promotee{lands: 7, exited: make(chan struct{})}}}
	n.link = kennelLink{gatehouseLink{h: &k.gatehouse}, k}
	n.pg = k
	n.local.Store(&config.Config{Name: "pg1", Watchdog: config.Watchdog{Mode: mode, Device: "/dev/null", SafetyMargin: 5 * time.Second}})
	return k, n
}

func (k *kennel) promote(t *testing.T, n *Node) string {
	t.Helper()
	done, _ := n.Run(t.Context(), OnJob{Action: election.Promote{Timeline: 7}, Settings: cluster.DefaultSettings(), Term: 5}).(JobDone)
	return done.Err
}

func TestTheGuardKnowsOfTheWatchdogBeforeAPromotion(t *testing.T) {
	k, n := newKennel(t, "required", watchdogProtocol)
	if err := k.promote(t, n); err != "" {
		t.Fatal(err)
	}
	s := cluster.DefaultSettings()
	want := guard.Watchdog{Mode: guard.WatchdogRequired, Device: "/dev/null", SafetyMargin: 5 * time.Second, TTL: s.TTL, Margin: s.Margin(0)}
	if len(k.told) != 1 || k.told[0] != want || !k.promoted {
		t.Errorf("the guard was told %+v, promoted %v", k.told, k.promoted)
	}
}

func TestNothingIsPromotedUnlessTheGuardKnowsOfARequiredWatchdog(t *testing.T) {
	for name, c := range map[string]struct {
		mode     string
		protocol int
		deaf     error
		refused  bool
	}{
		"an older guard, required":    {"required", watchdogProtocol - 1, nil, true},
		"an older guard, automatic":   {"automatic", watchdogProtocol - 1, nil, false},
		"an older guard, off":         {"off", watchdogProtocol - 1, nil, false},
		"a guard that does not hear":  {"required", watchdogProtocol, errors.New("no answer"), true},
		"one that hears":              {"required", watchdogProtocol, nil, false},
		"one that need not hear, off": {"off", watchdogProtocol, errors.New("no answer"), false},
	} {
		t.Run(name, func(t *testing.T) {
			k, n := newKennel(t, c.mode, c.protocol)
			k.deaf = c.deaf
			if err := k.promote(t, n); (err != "") != c.refused || k.promoted == c.refused {
				t.Errorf("gives %q, promoted %v", err, k.promoted)
			}
			if err := n.start(t.Context(), OnJob{Settings: cluster.DefaultSettings()}, true, nil); c.refused && (err == nil || !strings.Contains(err.Error(), "watchdog")) {
				t.Errorf("a start that may write gives %v", err)
			}
		})
	}
}

func TestTheWatchdogIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		mode     string
		protocol int
		says     string
		armed    bool
		want     cluster.Watchdog
	}{
		"off":                      {"off", watchdogProtocol, "", false, cluster.Watchdog{}},
		"ready":                    {"required", watchdogProtocol, "", false, cluster.Watchdog{State: cluster.WatchdogReady, Device: "/dev/null"}},
		"armed":                    {"automatic", watchdogProtocol, "", true, cluster.Watchdog{State: cluster.WatchdogArmed, Device: "/dev/null", Timeout: 29}},
		"broken":                   {"automatic", watchdogProtocol, "none", false, cluster.Watchdog{State: cluster.WatchdogUnusable, Device: "/dev/null", Error: "none"}},
		"broken and required":      {"required", watchdogProtocol, "none", false, cluster.Watchdog{State: cluster.WatchdogMissing, Device: "/dev/null", Error: "none"}},
		"required of an old guard": {"required", watchdogProtocol - 1, "", false, cluster.Watchdog{State: cluster.WatchdogMissing, Device: "/dev/null", Error: errOldGuard.Error()}},
	} {
		t.Run(name, func(t *testing.T) {
			k, n := newKennel(t, c.mode, c.protocol)
			k.says = c.says
			if _, err := n.lookAtWatchdog(t.Context(), 30*time.Second); err != nil {
				t.Fatal(err)
			}
			if c.armed {
				k.status.Watchdog.Armed, k.status.Watchdog.Timeout = true, 29*time.Second
			}
			told := len(k.told)
			got, err := n.lookAtWatchdog(t.Context(), 30*time.Second)
			if err != nil || got != c.want {
				t.Errorf("shows %+v, %v", got, err)
			}
			if again := len(k.told) > told; again != (c.says != "") {
				t.Errorf("the guard was told again: %v", again)
			}
		})
	}
}

// A device that goes away is noticed before an election needs it.
func TestAWatchdogThatGoesAwayIsNoticed(t *testing.T) {
	k, n := newKennel(t, "required", watchdogProtocol)
	device := filepath.Join(t.TempDir(), "dog")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := *n.local.Load()
	c.Watchdog.Device = device
	n.local.Store(&c)
	for range 2 {
		if _, err := n.lookAtWatchdog(t.Context(), 30*time.Second); err != nil || len(k.told) != 1 {
			t.Fatalf("told %d times, %v", len(k.told), err)
		}
	}
	if err := os.Remove(device); err != nil {
		t.Fatal(err)
	}
	k.says = "no such device"
	if w, err := n.lookAtWatchdog(t.Context(), 30*time.Second); err != nil || w.State != cluster.WatchdogMissing {
		t.Errorf("shows %+v, %v", w, err)
	}
}

// What changes is brought to a guard that is content with what it has.
func TestAChangedWatchdogIsBroughtToTheGuard(t *testing.T) {
	k, n := newKennel(t, "required", watchdogProtocol)
	look := func(ttl time.Duration) {
		t.Helper()
		if _, err := n.lookAtWatchdog(t.Context(), ttl); err != nil {
			t.Fatal(err)
		}
	}
	look(30 * time.Second)
	look(20 * time.Second)
	c := *n.local.Load()
	c.Watchdog.Mode = "off"
	n.local.Store(&c)
	look(20 * time.Second)
	look(20 * time.Second)
	if len(k.told) != 3 || k.told[1].TTL != 20*time.Second || k.told[2].Mode != guard.WatchdogOff {
		t.Errorf("told %+v", k.told)
	}
}

// A guard that needs no watchdog is asked once, and again after whatever may change that.
func TestAGuardWithoutWatchdogIsNotAskedAgain(t *testing.T) {
	k, n := newKennel(t, "off", watchdogProtocol)
	asked := func(want int) {
		t.Helper()
		k.asked = 0
		for range 3 {
			if w, err := n.lookAtWatchdog(t.Context(), 30*time.Second); err != nil || w != (cluster.Watchdog{}) {
				t.Fatalf("shows %+v, %v", w, err)
			}
		}
		if k.asked != want {
			t.Errorf("the guard was asked %d times, want %d", k.asked, want)
		}
	}
	asked(1)
	asked(0)
	other, _ := newKennel(t, "off", watchdogProtocol)
	k, n.link = other, kennelLink{gatehouseLink{h: &other.gatehouse}, other}
	asked(1)
	on := *n.local.Load()
	off := on
	on.Watchdog.Mode = "automatic"
	n.local.Store(&on)
	if w, err := n.lookAtWatchdog(t.Context(), 30*time.Second); err != nil || w.State != cluster.WatchdogReady {
		t.Fatalf("switched on it shows %+v, %v", w, err)
	}
	n.local.Store(&off)
	asked(3) // what it has, what came of its being told, and once more
	asked(0)
}

func TestAMissingWatchdogIsPartOfTheObservation(t *testing.T) {
	var l Loop
	l.foldWatchdog(cluster.Watchdog{State: cluster.WatchdogMissing, Error: "none"})
	if l.obs.Self.NoWatchdog != "none" {
		t.Error("a missing watchdog is not noticed")
	}
	l.foldWatchdog(cluster.Watchdog{State: cluster.WatchdogUnusable, Error: "none"})
	if l.obs.Self.NoWatchdog != "" {
		t.Error("one that is not required counts")
	}
}
