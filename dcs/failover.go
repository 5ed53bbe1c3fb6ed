package dcs

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// WaitFailover waits until ctx ends for what became of the wish of that id, which was
// written over the view before. It is WaitResult, but where a member runs Patroni: that
// answers nobody, neither as the leader nor as the successor of an agent that released
// the key. What such a member does is seen by the leader key, which no answer is waited
// for then. ErrUnavailable when neither comes.
func (s *Store) WaitFailover(ctx context.Context, id string, before cluster.View) (cluster.Result, error) {
	if !before.HasPatroni() {
		return s.WaitResult(ctx, id)
	}
	const mostWatches = 5 // as WaitResult
	var err error
	for range mostWatches {
		var r *cluster.Result
		if r, err = s.watchFailover(ctx, id, before); r != nil {
			return *r, err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return cluster.Result{}, fmt.Errorf("wait for result %s: %w", id, err)
}

// watchFailover is one watch; nil when it ended without an answer.
func (s *Store) watchFailover(ctx context.Context, id string, before cluster.View) (*cluster.Result, error) {
	v, err := s.Load(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates := s.Watch(ctx, v)
	for {
		if r, done := patroniMoved(before, v, id); done {
			return &r, nil
		}
		if r, answered := v.Results[id]; answered {
			return &r, s.TakeResult(ctx, id)
		}
		u, open := <-updates
		switch {
		case !open:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		case u.Err != nil:
			return nil, errors.Join(ErrUnavailable, u.Err)
		}
		v = u.View
	}
}

// patroniMoved is what became of a wish that a Patroni member has a part in: the key left
// a Patroni leader, or came to one, whose server runs as the primary by now; or a Patroni
// leader has emptied the wish and is the leader still.
func patroniMoved(before, now cluster.View, id string) (cluster.Result, bool) {
	if now.Leader == nil {
		return cluster.Result{}, false
	}
	old, known := before.LeaderMember()
	patroniLed := known && !old.IsKeeper()
	leader, known := now.LeaderMember()
	patroniLeads := known && !leader.IsKeeper()
	switch {
	case !before.HolderIs(now.Leader.Name):
		moved := (patroniLed || patroniLeads) && leader.RunsPrimary()
		return cluster.Result{ID: id, Member: leader.Name, Done: true, NewLeader: leader.Name}, moved
	case patroniLed && patroniLeads && now.Failover.Empty():
		return cluster.Result{ID: id, Member: leader.Name, Message: leader.Name + " withdrew the switchover and is still the leader: its log says why"}, true
	}
	return cluster.Result{}, false
}
