package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// What an operator's wish can meet beside a store that does not answer.
var (
	// ErrConflict: somebody else changed the same thing meanwhile.
	ErrConflict = errors.New("changed meanwhile")
	// ErrAbsent: what should be changed or deleted does not exist.
	ErrAbsent = errors.New("does not exist")
	// ErrInvalid: the wish itself is wrong.
	ErrInvalid = errors.New("invalid request")
)

// Operator writes what an operator asked for over REST as keys in the store, and
// waits for the answering key: one path for etcd and for the API.
type Operator struct {
	store *dcs.Store
}

// Submit hands one member a request and waits for its result.
func (p *Operator) Submit(ctx context.Context, r cluster.Request) (cluster.Result, error) {
	if err := p.store.PutRequest(ctx, r); err != nil {
		return cluster.Result{}, err
	}
	return p.store.WaitResult(ctx, r.ID)
}

// Failover writes the key failover, unless another wish stands there.
func (p *Operator) Failover(ctx context.Context, wish cluster.Failover) (cluster.Result, error) {
	v, err := p.store.Load(ctx)
	if err != nil {
		return cluster.Result{}, err
	}
	if !v.Failover.Empty() {
		return cluster.Result{}, fmt.Errorf("%w: a switchover or failover is under way already", ErrConflict)
	}
	if err := p.store.PutFailover(ctx, wish, v.FailoverRev); err != nil {
		return cluster.Result{}, conflict(err)
	}
	if wish.ScheduledAt != "" {
		return cluster.Result{ID: wish.ID, Accepted: true, Message: "Switchover scheduled"}, nil
	}
	return p.store.WaitFailover(ctx, wish.ID, v)
}

// CancelFailover clears a scheduled wish.
func (p *Operator) CancelFailover(ctx context.Context) error {
	v, err := p.store.Load(ctx)
	switch {
	case err != nil:
		return err
	case v.Failover.Empty() || v.Failover.ScheduledAt == "":
		return ErrAbsent
	}
	return conflict(p.store.PutFailover(ctx, cluster.Failover{}, v.FailoverRev))
}

// PatchConfig changes the stored dynamic configuration; settings that would break
// the cluster are refused here, before they are stored.
func (p *Operator) PatchConfig(ctx context.Context, patch json.RawMessage, replace bool) (json.RawMessage, error) {
	v, err := p.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if v.Config == nil && !replace {
		return nil, ErrAbsent
	}
	next, revision := patch, int64(0)
	if v.Config != nil {
		revision = v.Config.ModRevision
	}
	if !replace {
		merged, changed, err := config.Merge(v.Config.Raw, patch)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if !changed {
			return merged, nil
		}
		next = merged
	}
	if err := checkDynamic(next); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return next, conflict(p.store.PutConfig(ctx, next, revision))
}

// checkDynamic refuses a dynamic configuration no agent would take over.
func checkDynamic(raw json.RawMessage) error {
	_, problems := config.Dynamic(raw)
	if bad := problems.Errors(); len(bad) > 0 {
		return errors.New(bad.String())
	}
	return nil
}

func conflict(err error) error {
	if errors.Is(err, dcs.ErrCompared) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}
