package agent

import (
	"context"
	"fmt"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// initDB makes a new cluster's data directory. Remains of an interrupted one are
// put aside, never built upon.
func (n *Node) initDB(ctx context.Context, s cluster.Settings) error {
	node, err := n.pg.Disk(ctx)
	if err != nil {
		return err
	}
	if node.Data != cluster.DataEmpty {
		if _, err := n.pg.MoveAside(ctx); err != nil {
			return err
		}
	}
	local := n.local.Load()
	_, err = n.pg.InitDB(ctx, postgres.InitSpec{
		Args: local.Bootstrap.InitDB, PgHBA: local.Bootstrap.PgHBA,
		PostBootstrap: local.Bootstrap.PostBootstrap, Config: n.configSpec(s, nil, ""),
	})
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
	ask := src
	if do.Node.Mode == cluster.ModeStandby { // it runs, and nothing comes: is that because there is nothing?
		ask.Needs = cluster.Position{Timeline: do.Node.Timeline, LSN: do.Node.Replayed()}
	}
	info, err := n.pg.SourceInfo(ctx, ask)
	if err != nil {
		return err
	}
	relation := election.Relate(do.Node, sourceOf(info))
	n.log.Info("compared with source", "member", up.Member, "relation", relation.String(),
		"lsn", do.Node.Position().String(), "source_timeline", uint32(info.Timeline))
	switch relation {
	case election.RelationFollows:
		if info.Removed != "" { // guard: wal_gone_is_cloned — L1: nothing else brings it back
			n.log.Info("wal that is needed is removed, cloning", "member", n.name(), "source", up.Member, "error", info.Removed)
			return n.clone(ctx, do, up)
		}
		return n.followOrStart(ctx, do, up, info.Timeline)
	case election.RelationDiverged:
		return n.rewind(ctx, do, up, src, info)
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
	if err := n.start(ctx, do, false, &up); err != nil {
		return err
	}
	return n.fillHistory(do, timeline)
}

// fillHistory has a standby that comes from several timelines before ask a primary that
// Patroni has promoted for no history file which that one may lack.
func (n *Node) fillHistory(do OnJob, timeline cluster.Timeline) error {
	if r, ok := do.Action.(election.Rejoin); ok && r.Patroni { // guard: history_filled — L1: it would be refused for ever
		return n.pg.FillHistory(do.Node.Timeline, timeline)
	}
	return nil
}
