package ctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Remove has the cluster forget members that are gone for good: their slots, and the
// WAL those keep, go at once instead of after member_slots_ttl. A member whose agent
// has just been stopped is waited for until its key is gone, a ttl at most; one that
// stays is refused, for it runs.
func (o *Operator) Remove(ctx context.Context, names []string) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == overview.Leader {
			return fmt.Errorf("%w: %s is the leader: switch over and stop its agent first", ErrRefused, name)
		}
	}
	if err := o.Console.Confirm(fmt.Sprintf("Remove %s for good?", list(names))); err != nil {
		return err
	}
	for _, name := range names {
		if overview, err = o.waitGone(ctx, overview, name); err != nil {
			return err
		}
		leader, ok := overview.Member(overview.Leader)
		if !ok {
			return fmt.Errorf("%w: cluster %s has no leader, whose server has the slot: %s", ErrRefused, overview.Scope, overview.NoLeader)
		}
		r, err := o.submit(ctx, overview, leader, cluster.RequestRemove, cluster.RemoveArgs{Member: name}, 0)
		switch {
		case err != nil:
			return fmt.Errorf("remove %s: %w", name, err)
		case !r.Done:
			return fmt.Errorf("remove %s: %w: %s", name, ErrRefused, r.Message)
		}
		o.Console.Say("Success: %s is removed (%s)", name, r.Message)
	}
	return nil
}

// waitGone waits for the key of a member whose agent was stopped.
func (o *Operator) waitGone(ctx context.Context, v Overview, name string) (Overview, error) {
	if _, there := v.Member(name); !there {
		return v, nil
	}
	bounded, cancel := context.WithTimeout(ctx, v.TTL+2*time.Second)
	defer cancel()
	err := o.until(bounded, pollEvery, func(ctx context.Context) (done bool, progress string, err error) {
		if v, err = o.Cluster.Overview(ctx); err != nil {
			return false, "", err
		}
		_, there := v.Member(name)
		return !there, "waiting for the key of " + name + " to go", nil
	})
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return v, fmt.Errorf("%w: %s is a member still, its agent runs: stop it first", ErrRefused, name)
	}
	return v, err
}
