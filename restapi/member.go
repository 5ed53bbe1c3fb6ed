package restapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// restartKnown are the fields a restart understands. Any other is refused, as in
// Patroni: a filter that is ignored restarts what it should have spared.
var restartKnown = map[string]bool{"schedule": true, "role": true, "postgres_version": true, "timeout": true, "restart_pending": true}

// restartRoles are the roles a restart can be limited to; master is what
// Patroni 3 calls a primary.
var restartRoles = map[string]cluster.Role{
	"": "", "primary": cluster.RolePrimary, "master": cluster.RolePrimary,
	"standby_leader": cluster.RoleStandbyLeader, "replica": cluster.RoleReplica,
}

var versionForm = regexp.MustCompile(`^\d{1,2}(\.\d{1,3}){0,2}$`)

// restartLeast is how long a restart without a timeout of its own is waited for.
const restartLeast = time.Minute

// restart restarts this member's server, now or at a time.
func (s *Server) restart(ctx context.Context, body []byte, f facts) answer {
	args, refused := s.readRestart(body, f)
	if refused != nil {
		return *refused
	}
	least := restartLeast
	if args.Timeout > 0 {
		least = time.Duration(args.Timeout*float64(time.Second)) + 10*time.Second
	}
	if args.Schedule != "" {
		least = 0
	}
	result, refused := s.submit(ctx, f, cluster.RequestRestart, args, "Restart", least)
	switch {
	case refused != nil:
		return *refused
	case result.Done:
		return answer{code: http.StatusOK, text: "restarted successfully", detail: result.Message}
	case result.Accepted && args.Schedule != "":
		return answer{code: http.StatusAccepted, text: "Restart scheduled", detail: result.Message}
	case result.Accepted:
		return answer{code: http.StatusAccepted, text: "restart started", detail: result.Message}
	}
	return answer{code: http.StatusServiceUnavailable, text: cmp.Or(result.Message, "restart failed")}
}

func (s *Server) readRestart(body []byte, f facts) (cluster.RestartArgs, *answer) {
	in := parseFields(body)
	args := cluster.RestartArgs{
		PostgresVersion: in.text("postgres_version"),
		Timeout:         in.seconds("timeout"),
		RestartPending:  in.truth("restart_pending"),
	}
	role, at := in.text("role"), in.text("schedule")
	known := false
	if args.Role, known = restartRoles[role]; !known {
		in.fail("field \"role\" is %q: want primary, standby_leader or replica", role)
	}
	if args.PostgresVersion != "" && !versionForm.MatchString(args.PostgresVersion) {
		in.fail("field \"postgres_version\" is %q: want a version such as 15 or 15.8", args.PostgresVersion)
	}
	for name := range in.values {
		if !restartKnown[name] {
			in.fail("field %q is not known to a restart: it takes schedule, role, postgres_version, timeout and restart_pending", name)
		}
	}
	if in.bad != nil || at == "" {
		return args, in.bad
	}
	if f.Settings.Pause {
		return args, &answer{code: http.StatusInternalServerError, text: "Can't schedule restart in the paused state"}
	}
	if f.ScheduledRestart != nil {
		return args, &answer{
			code: http.StatusConflict, text: "Another restart is already scheduled",
			detail: "at " + f.ScheduledRestart.Schedule + "; DELETE /restart withdraws it",
		}
	}
	var refused *answer
	args.Schedule, refused = s.parseSchedule("schedule", at)
	return args, refused
}

// cancelRestart withdraws a scheduled restart.
func (s *Server) cancelRestart(ctx context.Context, _ []byte, f facts) answer {
	if refused := s.ready(f); refused != nil {
		return *refused
	}
	if f.ScheduledRestart == nil {
		return answer{code: http.StatusNotFound, text: "no restarts are scheduled"}
	}
	result, refused := s.submit(ctx, f, cluster.RequestCancelRestart, nil, "Deleting the scheduled restart", 0)
	switch {
	case refused != nil:
		return *refused
	case result.Done:
		return answer{code: http.StatusOK, text: "scheduled restart deleted", detail: result.Message}
	case result.Refused:
		return answer{code: http.StatusNotFound, text: cmp.Or(result.Message, "no restarts are scheduled")}
	}
	return answer{code: http.StatusServiceUnavailable, text: cmp.Or(result.Message, "deleting the scheduled restart failed")}
}

// reload makes the member read its configuration again.
func (s *Server) reload(ctx context.Context, _ []byte, f facts) answer {
	result, refused := s.submit(ctx, f, cluster.RequestReload, nil, "Reload", 0)
	switch {
	case refused != nil:
		return *refused
	case result.Done || result.Accepted:
		return answer{code: http.StatusAccepted, text: "reload scheduled", detail: result.Message}
	}
	return answer{code: http.StatusServiceUnavailable, text: cmp.Or(result.Message, "reload failed")}
}

// reinitialize rebuilds this member, a standby, from another.
func (s *Server) reinitialize(ctx context.Context, body []byte, f facts) answer {
	in := parseFields(body)
	args := cluster.ReinitArgs{Force: in.truth("force"), FromLeader: in.truth("from_leader")}
	if in.bad != nil {
		return *in.bad
	}
	if refused := s.ready(f); refused != nil {
		return *refused
	}
	var text string
	switch {
	case !f.View.Good():
		text = "the store cannot be read, can not reinitialize" + because(f.View.Err)
	case f.View.Value.Leader == nil:
		text = "Cluster has no leader, can not reinitialize"
	case f.View.Value.HolderIs(f.Name):
		text = "I am the leader, can not reinitialize"
	case f.Job != "" && !args.Force:
		text = f.Job + " already in progress"
	}
	if text != "" {
		return answer{code: http.StatusServiceUnavailable, text: text}
	}
	result, refused := s.submit(ctx, f, cluster.RequestReinitialize, args, "Reinitialize", 0)
	switch {
	case refused != nil:
		return *refused
	case result.Done || result.Accepted:
		return answer{code: http.StatusOK, text: "reinitialize started", detail: result.Message}
	}
	return answer{code: http.StatusServiceUnavailable, text: cmp.Or(result.Message, "reinitialize failed")}
}

// remove drops the slot of a former member, by the leader.
func (s *Server) remove(ctx context.Context, body []byte, f facts) answer {
	in := parseFields(body)
	args := cluster.RemoveArgs{Member: in.text("member")}
	if in.bad != nil {
		return *in.bad
	}
	if args.Member == "" {
		return answer{code: http.StatusBadRequest, text: "member is missing"}
	}
	if refused := s.ready(f); refused != nil {
		return *refused
	}
	result, refused := s.submit(ctx, f, cluster.RequestRemove, args, "Remove", 0)
	switch {
	case refused != nil:
		return *refused
	case result.Done:
		return answer{code: http.StatusOK, text: result.Message}
	}
	return answer{code: http.StatusPreconditionFailed, text: cmp.Or(result.Message, "remove failed")}
}

// patchConfig merges into the dynamic configuration.
func (s *Server) patchConfig(ctx context.Context, body []byte, f facts) answer {
	return s.changeConfig(ctx, body, f, false)
}

// putConfig replaces the dynamic configuration.
func (s *Server) putConfig(ctx context.Context, body []byte, f facts) answer {
	return s.changeConfig(ctx, body, f, true)
}

func (s *Server) changeConfig(ctx context.Context, body []byte, f facts, replace bool) answer {
	if in := parseFields(body); in.bad != nil {
		return *in.bad
	}
	if refused := s.ready(f); refused != nil {
		return *refused
	}
	limit := s.bound(f, 0)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stored, err := s.options.Operator.PatchConfig(ctx, body, replace)
	switch {
	case err == nil:
		return answer{code: http.StatusOK, json: stored}
	case errors.Is(err, ErrAbsent):
		return refuse(http.StatusServiceUnavailable, "there is no dynamic configuration to change: write a whole one with PUT /config")
	case errors.Is(err, ErrConflict), errors.Is(err, ErrInvalid):
		return s.failed(ctx, err, "Changing the configuration", "", limit)
	case replace:
		return refuse(http.StatusBadGateway, "writing the configuration failed: %v", err)
	}
	return refuse(http.StatusServiceUnavailable, "changing the configuration failed: %v", err)
}
