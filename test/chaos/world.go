package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// world is the cluster of one schedule with its clients.
type world struct {
	c        *testbed.Cluster
	h        *history
	clients  *clients
	disks    *disks
	settings settings
	// dice are for choices that cannot be drawn beforehand, such as one of the
	// backends that run.
	dice *rand.Rand
	say  func(format string, args ...any)

	mu        sync.Mutex
	struck    []strike
	switching sync.WaitGroup
	switched  int // switchovers that were done
}

// settings are what a schedule draws of the cluster's configuration.
type settings struct {
	TTL    time.Duration `json:"ttl"`
	MaxLag int64         `json:"maximum_lag_on_failover"`
	Mode   mode          `json:"mode"`
	Strict bool          `json:"strict"` // of a synchronous mode
	// Failsafe is failsafe_mode, which clusters that pgkeeper creates have on.
	Failsafe bool `json:"failsafe_mode"`
}

// startLimit bounds the way to a healthy cluster.
const startLimit = 60 * time.Second

// newWorld brings a cluster up. What was made is in the result even after an error:
// close it.
func newWorld(ctx context.Context, s settings, dice *rand.Rand, say func(string, ...any)) (*world, error) {
	w := &world{h: newHistory(), disks: &disks{}, settings: s, dice: dice, say: say}
	var err error
	w.c, err = testbed.Start(ctx, testbed.Options{
		Nodes: 3, EtcdMembers: 3, EtcdBinary: true, Host: lan.Host, Fsync: true,
		Folder: w.disks.mount, Release: w.disks.Unmount,
		TTL: s.TTL, LoopWait: time.Second, RetryTimeout: time.Second,
		Dynamic: s.dynamic(),
		// Disks here are memory; what a power cut does to unsynced data is not tested.
		Parameters: map[string]any{"fsync": "off"},
	})
	if err != nil {
		return w, err
	}
	primary, err := w.c.Healthy(ctx, startLimit)
	if err != nil {
		return w, err
	}
	// What is acknowledged before the mode is in force is not what it promises.
	if err := testbed.Wait(ctx, startLimit, s.name()+" commits", func(ctx context.Context) string {
		names, err := primary.Text(ctx, "select current_setting('synchronous_standby_names')")
		if err != nil {
			return err.Error()
		}
		return s.inForce(primary, names)
	}); err != nil {
		return w, err
	}
	if s.Failsafe {
		if err := testbed.Wait(ctx, startLimit, "all members in the key failsafe", w.listed); err != nil {
			return w, err
		}
	}
	if w.clients, err = startClients(ctx, w.c, w.h); err != nil {
		return w, fmt.Errorf("start the clients: %w", err)
	}
	return w, testbed.Wait(ctx, startLimit, "the first writes", func(context.Context) string {
		if len(w.h.acks()) < 50 {
			return "fewer than 50"
		}
		return ""
	})
}

// stopClients ends the writing and may be repeated.
func (w *world) stopClients() {
	if w.clients != nil {
		w.clients.stop()
	}
	w.switching.Wait()
}

// close ends everything; what is to be looked at later is kept beside the disks.
func (w *world) close(keep bool) error {
	w.stopClients()
	if w.c == nil {
		return nil
	}
	w.c.Keep = keep
	if keep {
		for _, n := range w.c.Nodes {
			if err := os.CopyFS(filepath.Join(w.c.Dir(), n.Name+".state"), os.DirFS(n.StateDir())); err != nil {
				w.say("keep the state of %s: %v", n.Name, err)
			}
		}
	}
	return w.c.Close()
}

// primary is who acknowledged the last write, or any node while nobody has.
func (w *world) primary() *testbed.Node {
	name, _ := w.h.holder()
	if n := w.c.Node(name); n != nil {
		return n
	}
	return w.c.Nodes[0]
}

// target is a node by its part at this moment.
func (w *world) target(part string, pick int) *testbed.Node {
	primary := w.primary()
	if part == onPrimary {
		return primary
	}
	others := w.c.Others(primary)
	return others[pick%len(others)]
}

// settle repairs what faults left and waits until the cluster is whole.
func (w *world) settle(ctx context.Context, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	for _, m := range w.c.Etcd.Members {
		if err := restart(ctx, m); err != nil {
			return 0, err
		}
	}
	err := testbed.Wait(ctx, limit, "a whole cluster (L1)", func(ctx context.Context) string {
		for _, n := range w.c.Nodes {
			if !n.Running() { // as an init system would
				if err := n.Start(); err != nil {
					return err.Error()
				}
			}
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if _, err := w.c.Healthy(short, 8*time.Second); err != nil { // one look takes nine requests
			return err.Error()
		}
		return ""
	})
	return time.Since(began), err
}
