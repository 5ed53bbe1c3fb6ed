package agent

import (
	"context"
	"fmt"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// clone builds the data directory anew. What was there is put aside first and
// dropped only with the next one (S5), and what of it the source does not have is
// counted.
func (n *Node) clone(ctx context.Context, do OnJob, up election.Upstream) error {
	src, empty := n.source(up, do.Settings), do.Node.Data == cluster.DataEmpty
	info, err := n.mayReplace(ctx, do, up, src)
	if err != nil {
		return err
	}
	if err := n.stop(ctx, guard.Fast); err != nil {
		return err
	}
	removed := ""
	if empty { // what was moved aside before may leave the clone no room
		if removed, err = n.makeRoom(ctx, do, up, info); err != nil {
			return err
		}
	}
	// All that may have taken long, and the source may not be what it was.
	if info, err = n.mayReplace(ctx, do, up, src); err != nil {
		return err
	}
	if !empty {
		if removed, err = n.makeRoom(ctx, do, up, info); err != nil {
			return err
		}
		// So may that: WAL is kept and counted, and a disk may stall.
		if err := n.stillPrimary(ctx, up, src); err != nil {
			return err
		}
	}
	n.configured.Store(false)
	if err := n.copyFrom(ctx, do, up, src, removed); err != nil {
		return err
	}
	return n.start(ctx, do, false, &up)
}

// makeRoom frees the place of the data directory, and says what of the old data is gone.
func (n *Node) makeRoom(ctx context.Context, do OnJob, up election.Upstream, info postgres.SourceInfo) (removed string, err error) {
	id := ""
	if relation := election.Relate(do.Node, sourceOf(info)); do.Node.Data == cluster.DataValid &&
		(relation == election.RelationDiverged || relation == election.RelationUnrelated) {
		if id, err = n.keepLost(ctx, do, up, info, "clone"); err != nil {
			return "", err
		}
	}
	room, err := n.pg.MakeRoom(ctx, postgres.Making{Source: n.source(up, do.Settings), Keep: n.keepAside(), Lost: id})
	if room.Removed != "" {
		n.log.Warn("old data removed, not moved aside", "member", n.name(), "source", up.Member, "detail", room.Removed)
	}
	n.loadLost()
	return room.Removed, err
}

// copyFrom copies a standby that its operator lends for it, or the leader, which is
// also what remains when the standby fails. removed is told beside its progress.
func (n *Node) copyFrom(ctx context.Context, do OnJob, up election.Upstream, primary postgres.Source, removed string) error {
	source, member := n.copySource(ctx, do, up, primary)
	if do.CloneFrom != nil && source.Keeper == nil { // to find that it will not do took its time
		if err := n.stillPrimary(ctx, up, primary); err != nil {
			return err
		}
	}
	err := n.copyOne(ctx, source, member, removed)
	if err == nil || ctx.Err() != nil || source.Keeper == nil {
		return err
	}
	n.log.Warn("clone from a standby failed, cloning from the leader", "member", member, "error", err.Error())
	if err := n.stillPrimary(ctx, up, primary); err != nil { // it took its time
		return err
	}
	return n.copyOne(ctx, primary, up.Member, removed)
}

func (n *Node) copyOne(ctx context.Context, source postgres.Source, member, removed string) error {
	copying := &copyProgress{doing: "cloning from " + member, now: n.clock.Now}
	if removed != "" {
		copying.doing += " (removed: " + removed + ")"
	}
	lent := source.Keeper != nil
	n.post(JobProgress{copying.doing, lent}) // at once: the first figures may never come
	return n.pg.Clone(ctx, source, func(done, total int64) { n.post(JobProgress{copying.say(done, total), lent}) })
}

// mayReplace asks the source for the proof that S5 wants before a clone.
func (n *Node) mayReplace(ctx context.Context, do OnJob, up election.Upstream, src postgres.Source) (postgres.SourceInfo, error) {
	info, err := n.pg.SourceInfo(ctx, src)
	if err != nil {
		return info, err
	}
	if why := election.MayReplace(do.Node, sourceOf(info)); why != "" {
		return info, fmt.Errorf("not cloned from %s: %s; nothing was touched", up.Member, why)
	}
	return info, nil
}

// stillPrimary asks the source before the copy: one that was deposed meanwhile would
// give a copy that streams from nobody, or has what nobody else has.
func (n *Node) stillPrimary(ctx context.Context, up election.Upstream, src postgres.Source) error {
	info, err := n.pg.SourceInfo(ctx, src)
	if err == nil && info.InRecovery {
		err = fmt.Errorf("not cloned from %s: it is a standby now", up.Member)
	}
	return err
}

// keepAside is how many old data directories are kept beside the new one.
func (n *Node) keepAside() int { return max(n.local.Load().Keeper.KeepAside, 1) }
