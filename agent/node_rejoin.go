package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// initDB makes a new cluster's data directory. Remains of an interrupted one are
// put aside, never built upon.
func (n *Node) initDB(ctx context.Context) error {
	node, err := n.pg.Disk(ctx)
	if err != nil {
		return err
	}
	if node.Data != cluster.DataEmpty {
		if _, err := n.pg.MoveAside(ctx, keepAside); err != nil {
			return err
		}
	}
	local := n.local.Load()
	_, err = n.pg.InitDB(ctx, postgres.InitSpec{Args: local.Bootstrap.InitDB, PgHBA: local.Bootstrap.PgHBA})
	n.configured.Store(false)
	return err
}

// source is where to copy from, through this member's own slot.
func (n *Node) source(up election.Upstream, s cluster.Settings) postgres.Source {
	to := n.upstream(up, s)
	return postgres.Source{Host: to.Host, Port: to.Port, SlotName: to.SlotName}
}

// rejoin asks the source who it is, compares, and does the least that brings this
// node's data onto the source's history.
func (n *Node) rejoin(ctx context.Context, do OnJob, up election.Upstream) error {
	src := n.source(up, do.Settings)
	info, err := n.pg.SourceInfo(ctx, src)
	if err != nil {
		return err
	}
	relation := election.Relate(do.Node, sourceOf(info))
	n.log.Info("compared with source", "member", up.Member, "relation", relation.String(),
		"lsn", do.Node.Position().String(), "source_timeline", uint32(info.Timeline))
	switch relation {
	case election.RelationFollows:
		return n.followOrStart(ctx, do, up, info.Timeline)
	case election.RelationDiverged:
		return n.rewind(ctx, do, up)
	case election.RelationUnrelated:
		return n.clone(ctx, do, up)
	case election.RelationForeign:
		return fmt.Errorf("%s belongs to system %s, this data to %s: nothing was touched", up.Member, info.SystemID, do.Node.SystemID)
	}
	return fmt.Errorf("%s is no source yet (in recovery %t, timeline %d)", up.Member, info.InRecovery, info.Timeline)
}

func sourceOf(info postgres.SourceInfo) election.Source {
	return election.Source{SystemID: info.SystemID, Timeline: info.Timeline, LSN: info.LSN, InRecovery: info.InRecovery, History: info.History}
}

// followOrStart points a running standby at the source, or starts one there. One
// that has not reached the source's timeline by itself is started anew: it may
// have taken a timeline for its goal that died before it began, and would follow
// none that is not its child.
func (n *Node) followOrStart(ctx context.Context, do OnJob, up election.Upstream, timeline cluster.Timeline) error {
	if do.Node.Mode == cluster.ModeStandby {
		if timeline <= do.Node.Timeline {
			return n.pg.Follow(ctx, n.upstream(up, do.Settings))
		}
		if err := n.stop(ctx, guard.Fast); err != nil {
			return err
		}
	}
	return n.start(ctx, do, false, &up)
}

// rewind brings diverged data back onto the source's history, or clones when that
// is switched off or does not work.
func (n *Node) rewind(ctx context.Context, do OnJob, up election.Upstream) error {
	if !n.local.Load().Effective(do.Settings).UsePgRewind {
		return n.clone(ctx, do, up)
	}
	if err := n.stop(ctx, guard.Fast); err != nil {
		return err
	}
	n.post(JobProgress{"rewinding from " + up.Member})
	_, err := n.pg.Rewind(ctx, n.source(up, do.Settings))
	if errors.Is(err, postgres.ErrNeedClone) {
		n.log.Info("rewind not possible, cloning", "error", err.Error())
		return n.clone(ctx, do, up)
	}
	if err != nil {
		return err
	}
	n.configured.Store(false)
	return n.start(ctx, do, false, &up)
}

// clone builds the data directory anew. What was there is put aside first and
// dropped only with the next one (S5).
func (n *Node) clone(ctx context.Context, do OnJob, up election.Upstream) error {
	src := n.source(up, do.Settings)
	if err := n.mayReplace(ctx, do, up, src); err != nil {
		return err
	}
	if err := n.stop(ctx, guard.Fast); err != nil {
		return err
	}
	// The stop may have taken long, and the source may not be what it was.
	if err := n.mayReplace(ctx, do, up, src); err != nil {
		return err
	}
	if do.Node.Data != cluster.DataEmpty {
		if _, err := n.pg.MoveAside(ctx, keepAside); err != nil {
			return err
		}
	}
	err := n.pg.Clone(ctx, src, func(done, total int64) { n.post(JobProgress{cloneProgress(up.Member, done, total)}) })
	if err != nil {
		return err
	}
	n.configured.Store(false)
	return n.start(ctx, do, false, &up)
}

// mayReplace asks the source for the proof that S5 wants before a clone.
func (n *Node) mayReplace(ctx context.Context, do OnJob, up election.Upstream, src postgres.Source) error {
	info, err := n.pg.SourceInfo(ctx, src)
	if err != nil {
		return err
	}
	if why := election.MayReplace(do.Node, sourceOf(info)); why != "" {
		return fmt.Errorf("not cloned from %s: %s; nothing was touched", up.Member, why)
	}
	return nil
}

func cloneProgress(from string, done, total int64) string {
	const mebi = 1 << 20
	if total <= 0 {
		return fmt.Sprintf("cloning from %s, %d MB", from, done/mebi)
	}
	return fmt.Sprintf("cloning from %s, %d of %d MB (%d%%)", from, done/mebi, total/mebi, 100*done/total)
}
