package ctl

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// History asks for /history.
func (a *API) History(ctx context.Context) (cluster.History, error) {
	var h cluster.History
	err := a.read(ctx, "/history", &h)
	return h, err
}

// Config asks for /config.
func (a *API) Config(ctx context.Context) (Config, error) {
	var raw json.RawMessage
	err := a.read(ctx, "/config", &raw)
	return Config{Raw: raw}, err
}

// SetConfig sends the difference between from and to as a PATCH, which the agent
// applies in one compare-and-swap: what others changed meanwhile stays.
func (a *API) SetConfig(ctx context.Context, from Config, to json.RawMessage) error {
	patch, err := difference(from.Raw, to)
	if err != nil {
		return err
	}
	got, err := a.call(ctx, http.MethodPatch, a.base+"/config", patch)
	if err != nil {
		return err
	}
	switch got.code {
	case http.StatusOK:
		return nil
	case http.StatusConflict:
		return ErrChanged
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s", ErrRefused, got.text())
	}
	return fmt.Errorf("change the configuration through %s: %d %s", a.base, got.code, got.text())
}

// Failover posts to /switchover, or to /failover when no leader is named.
func (a *API) Failover(ctx context.Context, wish cluster.Failover) (cluster.Result, error) {
	path, body := "/failover", map[string]any{"candidate": wish.Member}
	if wish.Leader != "" {
		path, body = "/switchover", map[string]any{"leader": wish.Leader}
		if wish.Member != "" {
			body["candidate"] = wish.Member
		}
		if wish.ScheduledAt != "" {
			body["scheduled_at"] = wish.ScheduledAt
		}
	}
	if wish.Force {
		body["force"] = true
	}
	got, err := a.call(ctx, http.MethodPost, a.base+path, body)
	if err != nil {
		return cluster.Result{}, err
	}
	r := got.result()
	if found := quoted.FindStringSubmatch(r.Message); r.Done && found != nil {
		r.NewLeader = found[1]
	}
	return r, nil
}

// quoted finds the new leader in `Successfully switched over to "x"`.
var quoted = regexp.MustCompile(`over to "([^"]*)"`)

// result reads the status codes of POST answers.
func (a answer) result() cluster.Result {
	r := cluster.Result{Message: a.text()}
	if a.detail != "" && a.code >= http.StatusBadRequest {
		r.Message += ": " + a.detail
	}
	switch a.code {
	case http.StatusOK:
		r.Done = true
	case http.StatusAccepted:
		r.Accepted = true
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed,
		http.StatusUnprocessableEntity, http.StatusNotImplemented:
		r.Refused = true
	}
	return r
}

// CancelFailover deletes the scheduled switchover.
func (a *API) CancelFailover(ctx context.Context) error {
	got, err := a.call(ctx, http.MethodDelete, a.base+"/switchover", nil)
	if err != nil {
		return err
	}
	if r := got.result(); !r.Done {
		return fmt.Errorf("%w: %s", ErrRefused, r.Message)
	}
	return nil
}

// Submit sends the request to the member's own API.
func (a *API) Submit(ctx context.Context, request cluster.Request) (cluster.Result, error) {
	got, err := a.cluster(ctx)
	if err != nil {
		return cluster.Result{}, err
	}
	for _, m := range got.Members {
		if m.Name == request.Member {
			return a.submit(ctx, strings.TrimSuffix(m.APIURL, "/patroni"), request)
		}
	}
	return cluster.Result{}, fmt.Errorf("%w: no member %s in cluster %s", ErrRefused, request.Member, got.Scope)
}

func (a *API) submit(ctx context.Context, base string, request cluster.Request) (cluster.Result, error) {
	method, path := http.MethodPost, ""
	switch request.Kind {
	case cluster.RequestRestart:
		path = "/restart"
	case cluster.RequestReload:
		path = "/reload"
	case cluster.RequestReinitialize:
		path = "/reinitialize"
	case cluster.RequestRemove:
		path = "/pgkeeper/remove"
	case cluster.RequestCancelRestart:
		method, path = http.MethodDelete, "/restart"
	default:
		return cluster.Result{}, fmt.Errorf("%w: the API knows no request %q", ErrRefused, request.Kind)
	}
	var body any
	if method == http.MethodPost {
		body = json.RawMessage(cmp.Or(string(request.Args), "{}"))
	}
	got, err := a.call(ctx, method, base+path, body)
	if err != nil {
		return cluster.Result{}, err
	}
	r := got.result()
	r.Member = request.Member
	return r, nil
}

// Scope is the name of the cluster the agent belongs to.
func (a *API) Scope(ctx context.Context) (string, error) {
	got, err := a.cluster(ctx)
	return got.Scope, err
}
