package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// state is a cheap look as the loop folds it.
func fastState(f postgres.Fast) cluster.NodeState {
	node := cluster.NodeState{Mode: cluster.ModePrimary, Timeline: f.Timeline, WriteLSN: f.Flush, ReceiveLSN: f.Receive, ReplayLSN: f.Replay}
	if f.InRecovery {
		node.Mode, node.EndKnown = cluster.ModeStandby, f.EndKnown
		if f.Receiver {
			node.Receiver = &cluster.Receiver{Status: "streaming", Timeline: f.Timeline}
		}
	}
	return node
}

// onServer runs quick SQL.
func (n *Node) onServer(ctx context.Context, do OnServer) (from cluster.LSN, err error) {
	switch a := do.Action.(type) {
	case election.Follow:
		to := n.upstream(a.Upstream, do.Settings)
		if a.NoSlot {
			to.SlotName = ""
		}
		err = n.pg.Follow(ctx, to)
	case election.Promise: // the receiver first; that it stays away is kept by the loop
		err = n.pg.Follow(ctx, postgres.Upstream{})
	case election.EnsureSlots:
		_, err = n.pg.EnsureSlots(ctx, a.Want, postgres.SlotPolicy{
			Drop: func(slot cluster.Slot) bool { return slices.Contains(a.Drop, slot.Name) }})
	case election.Checkpoint:
		err = n.checkpoint(ctx, do.Instance, a)
	case election.SetSync:
		return n.nameServer(ctx, do.Instance, a.Names, false)
	case election.Reload:
		err = n.reconfigure(ctx, do.Settings, do.Upstream, do.Gated, do.Waits)
	default:
		err = fmt.Errorf("no such server action: %s", actionName(do.Action))
	}
	return from, err
}

// checkpoint also has, after a promotion, the archive learn of the history files
// that skip timelines: a recovery from the archive alone stops at a missing one; and the
// server do without its agent what only the promotion needed one for.
func (n *Node) checkpoint(ctx context.Context, instance string, a election.Checkpoint) error {
	if a.For == "" {
		if err := n.pg.RecoversByItself(ctx); err != nil {
			n.log.Warn("a crash of one of the server's processes ends the server, until its configuration is written", "error", err.Error())
		}
		if err := n.pg.ArchiveHistory(ctx); err != nil {
			n.log.Warn("history files not handed to the archiver", "error", err.Error())
		}
	}
	if a.Names != "" { // a promotion makes sure of them in any case
		if err := n.nameAhead(ctx, instance, a.Names); err != nil {
			n.log.Debug("synchronous standbys not set ahead of the promotion", "error", err.Error())
		}
	}
	return n.pg.Checkpoint(ctx)
}

// nameAhead tells a switchover's candidate whom commits will wait for.
func (n *Node) nameAhead(ctx context.Context, instance, names string) error {
	ctx, cancel := n.clock.WithTimeout(ctx, serverLimit) // a promotion waits for it, and a checkpoint may take long
	defer cancel()
	_, err := n.nameServer(ctx, instance, names, true)
	return err
}

// errOtherServer: what was meant for one server finds another, or none.
var errOtherServer = errors.New("the server that this was meant for is gone")

// nameServer tells a server whom commits wait for, if it is still the one that this was
// decided for: what has waited, for a disk or for whoever else writes, must not bring a rule
// of an earlier tenure to a server that was promoted since. So it looks and writes in one
// hold, which a promotion waits for. ahead: a promotion that has begun knows better.
func (n *Node) nameServer(ctx context.Context, instance, names string, ahead bool) (from cluster.LSN, err error) {
	release, err := n.holdNaming(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if ahead && n.promoting == instance { // guard: promotion_names_last — SAFETY 3 "a new primary has its names in force before it is promoted"
		return 0, nil
	}
	s, err := n.serverOfGuard(ctx)
	if err != nil {
		return 0, err
	}
	if s == nil || s.Instance != instance { // guard: names_of_this_server — SAFETY 3: the record may not have its rule any more
		return 0, errOtherServer
	}
	return n.pg.SetSync(ctx, names)
}

// namePromoted tells the server that is about to be promoted. Without a limit one that
// cannot be told would be the primary of a lease that is renewed for ever.
func (n *Node) namePromoted(ctx context.Context, instance, names string) error {
	ctx, cancel := n.clock.WithTimeout(ctx, serverLimit)
	defer cancel()
	release, err := n.holdNaming(ctx)
	if err != nil {
		return err
	}
	defer release()
	n.promoting = instance
	_, err = n.pg.SetSync(ctx, names)
	return err
}

// holdNaming waits until nobody else tells the server whom commits wait for.
func (n *Node) holdNaming(ctx context.Context) (release func(), err error) {
	for !n.naming.CompareAndSwap(false, true) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n.clock.Sleep(ctx.Done(), promotedEvery)
	}
	return func() { n.naming.Store(false) }, nil
}

// upstream is where to stream from, through this member's own slot.
func (n *Node) upstream(up election.Upstream, s cluster.Settings) postgres.Upstream {
	to := postgres.Upstream{Host: up.Host, Port: up.Port}
	if s.PostgreSQL.UseSlots && up.Host != "" {
		to.SlotName = cluster.SlotName(n.name())
	}
	return to
}

// reconfigure brings a configuration to the running server, which reads its files when
// they changed. gated: it has a gate, or should have one; waits: commits wait for one.
func (n *Node) reconfigure(ctx context.Context, s cluster.Settings, up *election.Upstream, gated, waits bool) error {
	gate, then, err := "", func() error { return nil }, error(nil)
	if gated {
		gate, then, err = n.gateOfRunning(ctx, s, waits)
	}
	if err != nil {
		return err
	}
	change, err := n.configure(ctx, s, up, gate)
	if err != nil {
		return err
	}
	if change.Reload || !n.told.Load() { // the files may say so since a reload that failed
		n.told.Store(false)
		if err := n.pg.Reload(ctx); err != nil {
			return err
		}
		n.told.Store(true)
	}
	return then()
}

// configure writes the server's configuration files.
func (n *Node) configure(ctx context.Context, s cluster.Settings, up *election.Upstream, gate string) (postgres.Change, error) {
	change, err := n.pg.WriteConfig(ctx, n.configSpec(s, up, gate))
	if err == nil {
		n.configured.Store(true)
	}
	return change, err
}

// configSpec is what they say.
func (n *Node) configSpec(s cluster.Settings, up *election.Upstream, gate string) postgres.ConfigSpec {
	local := n.local.Load()
	spec := postgres.ConfigSpec{
		Gate:     gate,
		Settings: s, Local: local.PostgreSQL.Parameters, PgHBA: local.PostgreSQL.PgHBA, PgIdent: local.PostgreSQL.PgIdent,
		RecoveryConf: local.PostgreSQL.RecoveryConf,
	}
	if up != nil && up.Host != "" {
		to := n.upstream(*up, s)
		spec.Upstream = &to
	}
	return spec
}
