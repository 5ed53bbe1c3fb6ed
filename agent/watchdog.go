package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/guard"
)

// watchdogProtocol is the guard's first protocol with watchdogs.
const watchdogProtocol = 3

// watchdogEvery is between two looks at the watchdog. A device that cannot be used is
// tried again with each: it may have been loaded meanwhile.
const watchdogEvery = time.Second

var errOldGuard = errors.New("this guard is older than its worker and knows no watchdogs: stop the agent and its server in a quiet moment and start them again")

// WatchdogSeen is how the watchdog does.
type WatchdogSeen struct{ Watchdog cluster.Watchdog }

func (WatchdogSeen) event() {}

// watchdogOf is what the guard is told of the configured watchdog.
func watchdogOf(c config.Watchdog, ttl, margin time.Duration) guard.Watchdog {
	return guard.Watchdog{Mode: guard.WatchdogMode(c.Mode), Device: c.Device, Driver: c.Driver, SafetyMargin: c.SafetyMargin, TTL: ttl, Margin: margin}
}

// watchdogBeforeWriting has the guard know of the watchdog before it is asked for what
// may write: it then refuses without one that is required. A guard that is too old to
// know of any is not asked at all where one is required.
func (n *Node) watchdogBeforeWriting(ctx context.Context, s cluster.Settings) error {
	c := n.local.Load().Watchdog
	if c.Mode == "" || c.Mode == string(guard.WatchdogOff) {
		return nil // what the guard has of an earlier configuration is taken off beside the loop
	}
	g, status, err := n.askGuard(ctx)
	if err != nil {
		return fmt.Errorf("ask the guard for its watchdog: %w", err)
	}
	if status.Protocol < watchdogProtocol {
		if c.Mode == string(guard.WatchdogRequired) { // guard: no_old_guard_for_required — S1, watchdog: an older guard has none
			return fmt.Errorf("the watchdog is required: %w", errOldGuard)
		}
		return nil
	}
	w := watchdogOf(c, s.TTL, s.Margin(status.LastKill))
	if err := n.brief(ctx, func(ctx context.Context) error { return g.Watchdog(ctx, w, n.dataDir) }); err != nil {
		return fmt.Errorf("tell the guard of its watchdog: %w", err)
	}
	return nil
}

// lookAtWatchdog brings the configured watchdog to the guard where it has another, or
// where it cannot be used, and says how it does.
func (n *Node) lookAtWatchdog(ctx context.Context, ttl time.Duration) (cluster.Watchdog, error) {
	c := n.local.Load().Watchdog
	off := c.Mode == "" || c.Mode == string(guard.WatchdogOff)
	if off && n.without != nil && n.without == n.link.Guard() {
		return cluster.Watchdog{}, nil
	}
	n.without = nil
	g, status, err := n.askGuard(ctx)
	if err != nil {
		return cluster.Watchdog{}, err
	}
	if off && status.Watchdog == nil {
		n.without = g // nobody but this session gives it one
	}
	if status.Protocol < watchdogProtocol {
		return watchdogSeen(c, nil, errOldGuard.Error()), nil
	}
	lease := cluster.Settings{TTL: ttl}
	w := watchdogOf(c, ttl, lease.Margin(status.LastKill))
	// One that a new guard has not heard of, one that changed, one to be tried again, one
	// that has gone since it was tried.
	gone := n.device(c.Device)
	if has := status.Watchdog; off != (has == nil) || n.watchdog != w && !off || has != nil && (has.Error != "" || !has.Armed && gone != nil) {
		if err := n.brief(ctx, func(ctx context.Context) error { return g.Watchdog(ctx, w, n.dataDir) }); err != nil {
			return watchdogSeen(c, nil, err.Error()), nil
		}
		n.watchdog = w
		if err := n.brief(ctx, func(ctx context.Context) (err error) { status, err = g.Status(ctx); return err }); err != nil {
			return cluster.Watchdog{}, err
		}
	}
	return watchdogSeen(c, status.Watchdog, ""), nil
}

// watchdogSeen is what others are shown of it.
func watchdogSeen(c config.Watchdog, st *guard.WatchdogStatus, why string) cluster.Watchdog {
	if c.Mode == "" || c.Mode == string(guard.WatchdogOff) {
		return cluster.Watchdog{}
	}
	w := cluster.Watchdog{State: cluster.WatchdogReady, Device: c.Device, Error: why}
	if st != nil {
		w.Error, w.Timeout = st.Error, int(st.Timeout/time.Second)
	}
	switch {
	case st != nil && st.Armed:
		w.State = cluster.WatchdogArmed
	case w.Error != "" && c.Mode == string(guard.WatchdogRequired):
		w.State = cluster.WatchdogMissing
	case w.Error != "":
		w.State = cluster.WatchdogUnusable
	}
	return w
}

// KeepWatchdog tells the loop how the watchdog does, until ctx ends; ttl is T in force.
func (n *Node) KeepWatchdog(ctx context.Context, ttl func() time.Duration) {
	var last cluster.Watchdog
	for n.clock.Sleep(ctx.Done(), watchdogEvery) {
		now, err := n.lookAtWatchdog(ctx, ttl())
		if err != nil || now == last {
			continue // a guard that does not answer is the loop's to notice
		}
		n.log.Info("watchdog", "state", now.State, "device", now.Device, "timeout", now.Timeout, "error", now.Error)
		last = now
		n.post(WatchdogSeen{now})
	}
}

// foldWatchdog takes what the guard says of its watchdog.
func (l *Loop) foldWatchdog(w cluster.Watchdog) {
	l.watchdog, l.obs.Self.NoWatchdog = w, ""
	if w.State == cluster.WatchdogMissing {
		l.obs.Self.NoWatchdog = w.Error
	}
}

// LeftToWatchdog: the guard has sent SIGKILL to all of a server whose term has ended, has not
// seen its end, and has a watchdog armed, which ends what the kernel holds before the lease
// can pass on. To kill that guard would have the kernel, which closes the device, feed it
// once more: the machine would be reset a whole timeout later.
//
// Nor is there anything to fear of it: it starts no other server before it has proved that
// nothing is left of this one, and, its term having ended, none that may write and no
// promotion then.
func LeftToWatchdog(st guard.Status) bool {
	return st.Server != nil && st.Server.State == guard.Killing && st.EndedTerm >= st.Term && st.Watchdog != nil && st.Watchdog.Armed
}

// watchdogPatience is how long a guard may take to say so: what is left of the margin is
// what is left to kill it in.
const watchdogPatience = 100 * time.Millisecond

// leftToWatchdog asks the guard, which is as good as frozen if it does not answer at once.
func (g *guardLink) leftToWatchdog(client *guard.Client) bool {
	if stoppedByKernel(client.PeerPID()) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), watchdogPatience)
	defer cancel()
	status, err := client.Status(ctx)
	return err == nil && LeftToWatchdog(status)
}
