package ctl

import (
	"context"
	"fmt"
	"net/http"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Check asks the agent one of its health checks, such as /replica?lag=16MB. It is
// nil when the answer is 200, and ErrRefused with what the agent says when it is not.
func (a *API) Check(ctx context.Context, path string) error {
	got, err := a.call(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return err
	}
	if got.code != http.StatusOK {
		return fmt.Errorf("%w: GET %s%s: %d %s", ErrRefused, a.base, path, got.code, got.text())
	}
	return nil
}

// Name is the member the agent runs beside.
func (a *API) Name(ctx context.Context) (string, error) {
	var status Status
	if err := a.read(ctx, "/patroni", &status); err != nil {
		return "", err
	}
	return status.Patroni.Name, nil
}

// Prestop gives the primary away when the agent's own member has it, so that what
// stops it next is seen as a switchover. There is nothing to do, which is no error,
// on a standby, in a paused cluster, and when nobody could take over.
func Prestop(ctx context.Context, here *API, console *Console) error {
	name, err := here.Name(ctx)
	if err != nil {
		return err
	}
	overview, err := here.Overview(ctx)
	switch {
	case err != nil:
		return err
	case overview.Leader != name:
		console.Say("%s is not the primary: nothing to give away", name)
		return nil
	case overview.Paused:
		console.Say("cluster %s is paused: nothing is moved", overview.Scope)
		return nil
	case len(candidatesOf(overview)) == 0:
		console.Say("cluster %s has no other member that may become primary: nothing to give it to", overview.Scope)
		return nil
	}
	result, err := here.Failover(ctx, cluster.Failover{ID: newID(), Leader: name})
	if err != nil {
		return err
	}
	if !result.Done {
		return fmt.Errorf("%w: %s keeps the primary: %s", ErrRefused, name, result.Message)
	}
	console.Say("%s is the primary now", result.NewLeader)
	return nil
}
