package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// Waits of a rewind.
const (
	// checkpointEvery is between two questions whether the source has written its
	// checkpoint, checkpointPatience how long one job waits for it. A primary writes
	// one right after its promotion; a large one takes its time. The next job goes on
	// waiting: in between the node may see that somebody else leads by now.
	checkpointEvery    = 250 * time.Millisecond
	checkpointPatience = 30 * time.Second
	// askLimit bounds one question to another server.
	askLimit = 10 * time.Second
	// rewindTries is how often a rewind may fail, for reasons that are no answer,
	// before the node is cloned: it would be away for ever otherwise.
	rewindTries = 3
)

// rewind brings diverged data back onto the source's history, or clones when that
// is switched off or does not work. The server is stopped only when the source is
// ready.
func (n *Node) rewind(ctx context.Context, do OnJob, up election.Upstream, src postgres.Source, info postgres.SourceInfo) error {
	if !n.local.Load().Effective(do.Settings).UsePgRewind {
		if n.followsAfterAll(ctx, do, info) {
			return nil
		}
		return n.clone(ctx, do, up)
	}
	info, err := n.awaitSource(ctx, do, up, src, info)
	if err != nil {
		return err
	}
	if n.followsAfterAll(ctx, do, info) {
		return nil
	}
	if do.Node.Mode.Running() {
		// Its shutdown would recycle WAL that the rewind has to read.
		if err := n.pg.KeepWAL(ctx); err != nil {
			n.log.Debug("wal not kept for the rewind", "error", err.Error())
		}
	}
	if err := n.stop(ctx, guard.Fast); err != nil {
		return err
	}
	n.configured.Store(false) // the rewind leaves its marks in the server's files, done or not
	lost, err := n.keepLost(ctx, do, up, info, "rewind")
	if err != nil {
		return err
	}
	copying := &copyProgress{doing: "rewinding from " + up.Member, now: n.clock.Now}
	n.post(JobProgress{Text: copying.doing})
	_, err = n.pg.Rewind(ctx, src, postgres.Rewinding{
		Share: n.local.Load().Keeper.KeepBeforeRewind == "auto", Retain: n.keepAside(),
		RestoreCommand: n.local.Load().Effective(do.Settings).RecoveryConf["restore_command"],
		Lost:           lost,
		Progress:       func(done, total int64) { n.post(JobProgress{Text: copying.say(done, total)}) },
	})
	n.loadLost() // tables have got their names
	if n.hopeless(ctx, err) {
		n.log.Info("rewind not possible, cloning", "member", n.name(), "error", err.Error())
		return n.clone(ctx, do, up)
	}
	if err != nil {
		return err
	}
	n.rewindFailures = 0
	return n.start(ctx, do, false, &up)
}

// followsAfterAll looks at a running standby once more before it is stopped: what it had yet
// to replay past the switch may have been a torn record, which is no history.
func (n *Node) followsAfterAll(ctx context.Context, do OnJob, info postgres.SourceInfo) bool {
	if do.Node.Mode != cluster.ModeStandby {
		return false
	}
	node, err := n.pg.Look(ctx, true, n.link.PID())
	if err != nil || election.Relate(node, sourceOf(info)) != election.RelationFollows { // guard: rewind_looks_again — L1: no work for nothing
		return false
	}
	n.log.Info("not rewound: it has replayed what it has, and follows", "member", n.name(), "lsn", node.Replayed().String())
	return true
}

// awaitSource waits until the source has written a checkpoint on its timeline. If
// that took time, it compares once more: the source may have been deposed meanwhile.
func (n *Node) awaitSource(ctx context.Context, do OnJob, up election.Upstream, src postgres.Source, info postgres.SourceInfo) (postgres.SourceInfo, error) {
	waited, err := n.awaitCheckpoint(ctx, up, src)
	if err != nil || !waited {
		return info, err
	}
	ctx, cancel := n.clock.WithTimeout(ctx, askLimit)
	defer cancel()
	if info, err = n.pg.SourceInfo(ctx, src); err != nil {
		return info, err
	}
	if relation := election.Relate(do.Node, sourceOf(info)); relation != election.RelationDiverged { // guard: rewind_compares_again — S5
		return info, fmt.Errorf("%s is another source than it was before its checkpoint (%s): it is compared anew", up.Member, relation)
	}
	return info, nil
}

func (n *Node) awaitCheckpoint(ctx context.Context, up election.Upstream, src postgres.Source) (waited bool, err error) {
	for until := n.clock.Now().Add(checkpointPatience); ; waited = true {
		err := n.sourceReady(ctx, src)
		switch {
		case !errors.Is(err, postgres.ErrSourceNotReady):
			return waited, err
		case n.clock.Now() >= until:
			return true, fmt.Errorf("the rewind waits for a checkpoint of %s: %w", up.Member, err)
		case !waited:
			n.post(JobProgress{Text: "waiting for " + up.Member + " to checkpoint on its timeline before the rewind"})
		}
		if !n.clock.Sleep(ctx.Done(), checkpointEvery) {
			return true, ctx.Err()
		}
	}
}

func (n *Node) sourceReady(ctx context.Context, src postgres.Source) error {
	ctx, cancel := n.clock.WithTimeout(ctx, askLimit)
	defer cancel()
	return n.pg.SourceReady(ctx, src)
}

// hopeless: no further rewind is worth trying. What a source says that is away, or
// not ready, or refuses us, is no verdict on our data.
func (n *Node) hopeless(ctx context.Context, err error) bool {
	switch {
	case err == nil, ctx.Err() != nil:
		return false
	case errors.Is(err, postgres.ErrNeedClone):
		n.rewindFailures = 0
		return true
	case errors.Is(err, postgres.ErrDamaged), errors.Is(err, postgres.ErrSourceNotReady), errors.Is(err, postgres.ErrBusy),
		errors.Is(err, postgres.ErrUnreachable), errors.Is(err, postgres.ErrAuthentication):
		return false
	}
	if n.rewindFailures++; n.rewindFailures < rewindTries {
		return false
	}
	n.rewindFailures = 0
	return true
}
