package guard

import (
	"context"
	"fmt"
	"time"
)

// StartOptions describes a server to start. Writable says that it may come up out
// of recovery: then there must be no standby.signal, and Term must be the term of
// a deadline in the future. Otherwise standby.signal must exist.
type StartOptions struct {
	Argv     []string // program (absolute path) and its arguments
	Env      []string // its whole environment
	DataDir  string   // absolute; also its working directory
	Owner    *Owner   // nil: the guard's own user
	LogPath  string   // stdout and stderr are appended to it; empty: the guard's stderr
	Writable bool
	Term     int64
	Gate     *Gate // who confirms its commits while it may write; nil: nobody
}

// Started names a server the guard now holds.
type Started struct {
	Instance string
	PID      int
}

// Start spawns a server. It returns when its program runs; the guard does not look
// further. Refusals: ErrServerRunning, ErrLeftovers, ErrStandbySignal,
// ErrNoDeadline, ErrStaleTerm, ErrTermEnded, ErrBusy.
func (c *Client) Start(ctx context.Context, o StartOptions) (Started, error) {
	r, err := c.call(ctx, request{
		Op: "start", Argv: o.Argv, Env: o.Env, DataDir: o.DataDir, Owner: o.Owner,
		LogPath: o.LogPath, Writable: o.Writable, Term: o.Term, Gate: o.Gate,
	})
	return Started{r.Instance, r.PID}, err
}

// Adopt takes over a running postmaster that the guard did not spawn. For a server
// the guard holds already it can only add that it may write. A server that may
// write is bound to the deadline from the first Deadline on.
func (c *Client) Adopt(ctx context.Context, pid int, dataDir string, writable bool) (Started, error) {
	r, err := c.call(ctx, request{Op: "adopt", PID: pid, DataDir: dataDir, Writable: writable})
	return Started{r.Instance, r.PID}, err
}

// Deadline sets the instant (on CLOCK_BOOTTIME) at which a server that may write
// is stopped, and the margin in which that must be done. Renewing is refused for
// an older term, for one that ended, and beyond ten minutes; an earlier instant
// for the same term is taken. A deadline that passes ends its term, whether or not
// there was something to stop.
func (c *Client) Deadline(ctx context.Context, term int64, at, margin time.Duration) error {
	_, err := c.call(ctx, request{Op: "deadline", Term: term, At: at, Margin: margin})
	return err
}

// Renewed is Deadline that also says when the renewal it comes from was sent: after a
// jump of the clocks the gate confirms nothing until a renewal that began later.
func (c *Client) Renewed(ctx context.Context, term int64, renewed, at, margin time.Duration) error {
	_, err := c.call(ctx, request{Op: "deadline", Term: term, Renewed: renewed, At: at, Margin: margin})
	return err
}

// Gate says which gate the running server wants from now on; nil for none. A guard
// that is older than gates answers ErrUnknownRequest.
func (c *Client) Gate(ctx context.Context, g *Gate) error {
	_, err := c.call(ctx, request{Op: "gate", Gate: g})
	return err
}

// Watchdog says which watchdog is to reset the machine when this guard hangs. It
// never fails because of the device: Status says whether it can be used. A guard that
// is older than watchdogs answers ErrUnknownRequest.
func (c *Client) Watchdog(ctx context.Context, w Watchdog, dataDir string) error {
	_, err := c.call(ctx, request{Op: "watchdog", Watchdog: &w, DataDir: dataDir})
	return err
}

// EndTerm closes a term (and every lower one) for good: the lease is known to be
// lost. A server that may write is stopped now, as at its deadline. For a planned
// end call Stop and wait for the Exited event instead.
func (c *Client) EndTerm(ctx context.Context, term int64) error {
	_, err := c.call(ctx, request{Op: "end_term", Term: term})
	return err
}

// Promote makes the server leave recovery: the history files are placed in pg_wal
// and synced (they make PostgreSQL skip those timelines), the promote file is
// written and the postmaster is told. It returns after the signal; the server is
// bound to the deadline from before it. On an error the promotion may still
// happen, and the deadline stays in force, unless Status says it is not writable.
func (c *Client) Promote(ctx context.Context, term int64, dataDir string, history map[string]string) error {
	_, err := c.call(ctx, request{Op: "promote", Term: term, DataDir: dataDir, History: history})
	return err
}

// Stop sends the signal of the mode and returns; the end is an Exited event. A
// deadline stays in force until then.
func (c *Client) Stop(ctx context.Context, mode Mode) error {
	_, err := c.call(ctx, request{Op: "stop", Mode: mode})
	return err
}

// Reload sends SIGHUP to the postmaster.
func (c *Client) Reload(ctx context.Context) error {
	_, err := c.call(ctx, request{Op: "reload"})
	return err
}

// SetPause switches the enforcement of the deadline. Resuming with a server that
// may write needs a deadline in the future, else it is refused with ErrNoDeadline
// or ErrTermEnded and the pause stays.
func (c *Client) SetPause(ctx context.Context, on bool) error {
	_, err := c.call(ctx, request{Op: "pause", On: on})
	return err
}

// KillLeftovers sends SIGKILL to every process in a data directory that has no
// server of this guard, and returns how many there were when none is left.
func (c *Client) KillLeftovers(ctx context.Context, dataDir string) (int, error) {
	r, err := c.call(ctx, request{Op: "kill_leftovers", DataDir: dataDir})
	return r.Killed, err
}

// Ping returns when the guard's loop has turned once.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.call(ctx, request{Op: "ping"})
	return err
}

// Status asks what the guard knows.
func (c *Client) Status(ctx context.Context) (Status, error) {
	r, err := c.call(ctx, request{Op: "status"})
	if err == nil && r.Status == nil {
		err = fmt.Errorf("%w: status was answered without one", ErrFailed)
	}
	if err != nil {
		return Status{}, err
	}
	return *r.Status, nil
}

// Shutdown ends the guard. With a server running it is refused, or with force the
// server is stopped at once (SIGQUIT, after two seconds SIGKILL) and the guard
// ends when that is proved.
func (c *Client) Shutdown(ctx context.Context, force bool) error {
	_, err := c.call(ctx, request{Op: "shutdown", Force: force})
	return err
}
