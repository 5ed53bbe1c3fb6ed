package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres"
)

var errTimeline = errors.New("promoted onto another timeline than the reserved one")

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
