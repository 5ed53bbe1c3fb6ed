package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
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

var errTimeline = errors.New("promoted onto another timeline than the reserved one")

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

// promote has the guard promote the server onto the reserved timeline and returns
// when it accepts writes there. On a timeline that was not reserved in this tenure it must
// not write (S8): the term is ended, which stops it. What it saw of the server then it puts
// into e.
func (n *Node) promote(ctx context.Context, do OnJob, a election.Promote, e *JobDone) error {
	g := n.link.Guard()
	if g == nil {
		return errNoGuard
	}
	// guard: gate_before_promotion — SAFETY 3 "a new primary has its names in force before it is promoted"
	if err := n.gateBeforePromotion(ctx, do); err != nil {
		return err
	}
	// guard: watchdog_told_before_promotion — S1, watchdog: a guard refuses only what it knows to need one
	if err := n.watchdogBeforeWriting(ctx, do.Settings); err != nil {
		return err
	}
	files, err := n.pg.HistoryFiles(do.Node.Timeline, a.Timeline)
	if errors.Is(err, postgres.ErrTimelineTaken) { // by an earlier promotion of ours, that died or goes on
		e.Taken = a.Timeline
	}
	if err != nil {
		return err
	}
	if err := n.brief(ctx, func(ctx context.Context) error { return g.Promote(ctx, int64(do.Term), n.dataDir, files) }); err != nil {
		e.MayWrite = n.mayWrite(ctx, do.Instance)
		return fmt.Errorf("have the guard promote the server: %w", err)
	}
	e.MayWrite = true
	return n.awaitPromoted(ctx, do, a, e)
}

// awaitPromoted waits for the end of the promotion, or of the server. The crash of one of its
// processes ends a promotion too: the server recovers, by itself, and is a standby as before,
// or a primary on its old timeline.
func (n *Node) awaitPromoted(ctx context.Context, do OnJob, a election.Promote, e *JobDone) error {
	exited, lost := n.link.Exited(do.Instance), false
	for {
		at := n.clock.Now()
		fast, err := n.pg.LookFast(ctx)
		switch {
		case err == nil && !fast.InRecovery:
			return n.promotedOnto(ctx, do, a, e, Looked{At: at, Fast: true, Instance: do.Instance, Node: fastState(fast)})
		case err == nil && lost:
			return errors.New("the server is in recovery after it could not be asked during its promotion: a process of it may have crashed")
		}
		lost = lost || err != nil
		select {
		case <-exited:
			return errors.New("the server exited during its promotion")
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		n.clock.Sleep(ctx.Done(), promotedEvery)
	}
}

// promotedOnto has the server that has been promoted go on, unless it is on a timeline that
// is not this tenure's.
func (n *Node) promotedOnto(ctx context.Context, do OnJob, a election.Promote, e *JobDone, saw Looked) error {
	if got := saw.Node.Timeline; got != a.Timeline && !slices.Contains(a.Or, got) { // guard: promoted_timeline — SAFETY 5
		if g := n.link.Guard(); g != nil {
			_ = n.brief(ctx, func(ctx context.Context) error { return g.EndTerm(ctx, int64(do.Term)) })
		}
		return fmt.Errorf("%w: %d, reserved was %d", errTimeline, got, a.Timeline)
	}
	e.Saw = &saw
	return nil
}

// mayWrite asks the guard, which answers in the order in which it is asked, whether the
// server may write, or is about to. One that does not answer may have it do so.
func (n *Node) mayWrite(ctx context.Context, instance string) bool {
	s, err := n.serverOfGuard(context.WithoutCancel(ctx))
	return err != nil || s != nil && s.Instance == instance && s.Writable
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
