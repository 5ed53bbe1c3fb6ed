package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// stop stops the server for nobody in particular.
func (n *Node) stop(ctx context.Context, mode guard.Mode) error {
	return n.stopFor(ctx, cluster.Settings{}, election.StopServer{Mode: election.StopMode(mode)})
}

// stopFor stops the server, harder when it takes too long, and returns when the
// guard has proved that none of it is left. An immediate stop has a lease behind it
// that ends: a server that is frozen does not hear SIGQUIT and would write on when
// it thaws, so SIGKILL follows as soon as it would at the guard's own deadline.
func (n *Node) stopFor(ctx context.Context, settings cluster.Settings, a election.StopServer) error {
	mode, patience := guard.Mode(a.Mode), n.local.Load().PostgreSQL.PgCtlTimeout
	orderly := patience
	if limit := settings.PrimaryStopTimeout; limit > 0 && settings.Synchronous() { // as in Patroni: only where others have every commit
		orderly = min(orderly, limit)
	}
	if a.Patience > 0 {
		orderly = min(orderly, a.Patience)
	}
	type step struct {
		mode guard.Mode
		wait time.Duration
	}
	steps := []step{{mode, orderly}, {guard.Immediate, killPatience}, {guard.Kill, patience}}
	if mode == guard.Immediate {
		grace := settings.Margin(0) / 3
		if a.Patience > 0 {
			grace = min(grace, a.Patience)
		}
		steps = []step{{mode, grace}, {guard.Kill, patience}}
	}
	g := n.link.Guard()
	if g == nil {
		return errNoGuard
	}
	var status guard.Status
	if err := n.brief(ctx, func(ctx context.Context) (err error) { status, err = g.Status(ctx); return err }); err != nil {
		return fmt.Errorf("ask the guard what runs: %w", err)
	}
	if status.Server == nil {
		return nil
	}
	if mode == guard.Fast {
		n.endStuckSenders(ctx, a.Successor)
	}
	for _, step := range steps {
		began := n.clock.Now()
		if err := n.brief(ctx, func(ctx context.Context) error { return g.Stop(ctx, step.mode) }); err != nil {
			return fmt.Errorf("have the guard stop the server: %w", err)
		}
		if n.awaitExit(ctx, status.Server.Instance, a.Successor, step.mode, step.wait) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.log.Warn("server does not stop", "mode", string(step.mode), "duration", n.clock.Now().Sub(began).Round(time.Millisecond))
	}
	return errors.New("a process of the server survives SIGKILL: it hangs in the kernel; look at its storage")
}

// awaitExit waits for the server's end for as long as a step of its stop may take. A fast
// stop that has written its shutdown checkpoint, which the loop is told of, waits for
// nothing but its standbys and the archiver (trap 9): they get afterCheckpoint, and what
// is cut short then is no crash.
func (n *Node) awaitExit(ctx context.Context, instance, successor string, mode guard.Mode, limit time.Duration) bool {
	exited, every := n.link.Exited(instance), controlEvery
	if successor != "" {
		every = writtenEvery
	}
	if mode != guard.Fast {
		return n.clock.Wait(ctx, exited, limit)
	}
	bounded, cancel := n.clock.WithTimeout(ctx, limit)
	defer cancel()
	for !n.clock.Wait(bounded, exited, every) {
		if bounded.Err() != nil {
			return false
		}
		look, cancel := n.clock.WithTimeout(bounded, controlEvery)
		disk, err := n.pg.Disk(look)
		cancel()
		if err != nil || !disk.Control.State.Clean() {
			continue
		}
		if end, ok := lastWritten(disk); ok {
			n.post(ShutDown{Instance: instance, Position: end})
		}
		return n.clock.Wait(bounded, exited, afterCheckpoint)
	}
	return true
}

// lastWritten is where the shutdown checkpoint of a primary ends, when that is the last
// thing in its log.
func lastWritten(disk cluster.NodeState) (end cluster.Position, ok bool) {
	end = cluster.Position{Timeline: disk.Timeline, LSN: disk.Control.CheckpointEnd}
	if disk.Data != cluster.DataValid || disk.Control.State != cluster.ControlShutdown || !end.LSN.Known() { // guard: shutdown_state_read — SAFETY 2, Release
		return end, false
	}
	return end, true
}

// endStuckSenders ends walsenders whose standby confirms nothing; a failure only
// makes the stop slower.
func (n *Node) endStuckSenders(ctx context.Context, successor string) {
	ctx, cancel := n.clock.WithTimeout(ctx, 2*stuckSuccessor)
	defer cancel()
	patience := func(member string) time.Duration {
		if strings.EqualFold(member, successor) {
			return stuckSuccessor
		}
		return stuckSender
	}
	if _, err := n.pg.TerminateStuckWalsenders(ctx, patience); err != nil {
		n.log.Debug("walsenders not looked at", "error", err.Error())
	}
}

// fence stops the server without the guard, which hangs: SIGKILL reaches even a
// stopped guard, its death takes the postmaster with it, and whatever is left in
// the data directory is killed from here and proved gone. A guard that turns out to
// have done it is left alone.
func (n *Node) fence() error {
	killed, err := n.link.Kill()
	if errors.Is(err, errNothingLeft) {
		n.log.Info("nothing left to fence: the guard has stopped the server")
		return nil
	}
	n.log.Warn("server fenced without its guard", "killed", killed)
	return err
}
