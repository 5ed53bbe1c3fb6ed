package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// Waits of the jobs.
const (
	// upEvery is between two questions whether a started server answers.
	upEvery = 5 * time.Millisecond
	// standbyUp is how long a job waits for a standby that lets nobody in yet. It may
	// need WAL that nobody has any more, or wait for a transaction to end, and other work
	// must be possible meanwhile; the loop sees when it is up.
	standbyUp = 30 * time.Second
	// promotedEvery is between two questions whether a promotion is over; it is
	// on the path of every failover.
	promotedEvery = 2 * time.Millisecond
	// stuckSender is how long a walsender may confirm nothing before a fast
	// shutdown does not wait for it (trap 9). Being ended costs its standby a
	// reconnection; the successor of a switchover would miss the shutdown record,
	// and with it the switchover, so it may be slow.
	stuckSender    = 50 * time.Millisecond
	stuckSuccessor = time.Second
	// killPatience is given to an immediate stop before SIGKILL.
	killPatience = 5 * time.Second
	// afterCheckpoint is how long a server may go on after its shutdown checkpoint;
	// controlEvery is between two looks whether it is written, writtenEvery when a
	// successor waits for that.
	afterCheckpoint = 3 * time.Second
	controlEvery    = 500 * time.Millisecond
	writtenEvery    = 5 * time.Millisecond
)

// onJob runs long work.
func (n *Node) onJob(ctx context.Context, do OnJob) Event {
	e := JobDone{Kind: election.KindOf(do.Action)}
	e.Err = errText(n.runJob(ctx, do, &e))
	return e
}

// runJob does the work; what it yields beside its end it puts into e.
func (n *Node) runJob(ctx context.Context, do OnJob, e *JobDone) error {
	switch a := do.Action.(type) {
	case election.InitDB:
		return n.initDB(ctx, do.Settings)
	case election.StartServer:
		return n.start(ctx, do, a.Writable, a.Upstream)
	case election.StopServer:
		return n.stopFor(ctx, do.Settings, a)
	case election.Promote:
		if err := n.namePromoted(ctx, do.Instance, a.Names); err != nil { // guard: names_before_promotion — SAFETY 3
			return err
		}
		return n.promote(ctx, do, a, e)
	case election.Restart:
		if err := n.stop(ctx, guard.Fast); err != nil {
			return err
		}
		n.configured.Store(false) // a restart is when changed parameters come in force
		return n.start(ctx, do, a.Writable, a.Upstream)
	case election.Rejoin:
		return n.rejoin(ctx, do, a.Source)
	case election.Clone:
		return n.clone(ctx, do, a.Source)
	case election.MoveAside:
		_, err := n.pg.MoveAside(ctx)
		return err
	}
	return fmt.Errorf("no such job: %s", actionName(do.Action))
}

// start starts the server and returns when it answers, or has exited.
func (n *Node) start(ctx context.Context, do OnJob, writable bool, up *election.Upstream) error {
	g := n.link.Guard()
	if g == nil {
		return errNoGuard
	}
	gate, err := n.gateForStart(ctx, do.Settings)
	if err != nil {
		return err
	}
	if writable {
		// guard: watchdog_told_before_start — S1, watchdog: a guard refuses only what it knows to need one
		if err := n.watchdogBeforeWriting(ctx, do.Settings); err != nil {
			return err
		}
	}
	if err := n.prepareStart(ctx, do, writable, up, gate); err != nil {
		return err
	}
	spec, err := n.pg.StartSpec(writable, do.Settings)
	if err != nil {
		return err
	}
	o := guard.StartOptions{
		Argv: spec.Argv, Env: spec.Env, DataDir: spec.DataDir, LogPath: spec.LogPath, Writable: writable, Term: int64(do.Term),
		Owner: &guard.Owner{UID: spec.UID, GID: spec.GID, Groups: spec.Groups},
	}
	if gate != "" {
		o.Gate = n.gateNamed(gate)
	}
	started, err := n.startByGuard(ctx, g, o)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, guard.ErrServerRunning) { // it may start all the same, or has
			_, _ = n.askServer(context.WithoutCancel(ctx)) // a guard that does not answer is asked before the lease is given away
		}
		return fmt.Errorf("have the guard start the server: %w", err)
	}
	server := guard.Server{Instance: started.Instance, PID: started.PID, DataDir: spec.DataDir, Writable: writable}
	n.told.Store(true) // it has just read them
	n.link.Started(server)
	n.post(ServerStarted{server})
	return n.awaitUp(ctx, started.Instance, spec, writable)
}

// startByGuard has the guard start the server, after killing what is left of an
// earlier one.
func (n *Node) startByGuard(ctx context.Context, g Guard, o guard.StartOptions) (guard.Started, error) {
	ctx, cancel := n.clock.WithTimeout(ctx, guardLimit)
	defer cancel()
	started, err := g.Start(ctx, o)
	if !errors.Is(err, guard.ErrLeftovers) {
		return started, err
	}
	if _, err := g.KillLeftovers(ctx, o.DataDir); err != nil {
		return started, err
	}
	return g.Start(ctx, o)
}

// brief bounds one call to the guard: a job must not wait for one that hangs.
func (n *Node) brief(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := n.clock.WithTimeout(ctx, guardLimit)
	defer cancel()
	return call(ctx)
}

// prepareStart has signal file and configuration say what the start means.
func (n *Node) prepareStart(ctx context.Context, do OnJob, writable bool, up *election.Upstream, gate string) error {
	if err := n.pg.SetStandbySignal(!writable); err != nil {
		return err
	}
	if !n.configured.Load() {
		_, err := n.configure(ctx, do.Settings, up, gate)
		if !errors.Is(err, postgres.ErrParameter) {
			return err
		}
		// A parameter that PostgreSQL does not know keeps no server down that ran without it.
		n.log.Error("server is started with the configuration it had, the new one is refused", "member", n.name(), "error", err.Error())
		if n.pg.WriteUpstream(n.upstream(*cmp.Or(up, &election.Upstream{}), do.Settings)) != nil {
			return err // it never had one
		}
		return n.pg.WriteGate(gate)
	}
	if up != nil {
		if err := n.pg.WriteUpstream(n.upstream(*up, do.Settings)); err != nil {
			return err
		}
	}
	return n.pg.WriteGate(gate)
}

// awaitUp waits until the server answers queries: a primary for as long as its recovery
// takes, a standby for standbyUp.
func (n *Node) awaitUp(ctx context.Context, instance string, spec postgres.Start, writable bool) error {
	exited, until := n.link.Exited(instance), n.clock.Now().Add(standbyUp)
	for {
		if _, err := n.pg.LookFast(ctx); err == nil {
			return nil
		}
		if !writable && n.clock.Now() >= until { // guard: standby_is_not_awaited — L1
			n.log.Warn("standby lets nobody in yet", "member", n.name(), "duration", standbyUp)
			return nil
		}
		select {
		case <-exited:
			if why := n.pg.StartFailure(spec); why != nil {
				return fmt.Errorf("the server did not start: %w", why)
			}
			if why := n.pg.CheckPort(ctx); why != nil {
				return fmt.Errorf("the server did not start: %w", why)
			}
			return errors.New("the server exited while starting; it has said why among the agent's lines")
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		n.clock.Sleep(ctx.Done(), upEvery)
	}
}
