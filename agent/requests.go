package agent

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// foldRequests takes up the oldest request addressed to this member that was not
// answered yet.
func (l *Loop) foldRequests(v *cluster.View) {
	l.obs.Wish.Request = nil
	if len(v.Requests) == 0 { // as in nearly every view
		clear(l.keys.screened)
		return
	}
	present := map[string]bool{}
	for i := range v.Requests {
		r := v.Requests[i]
		present[r.ID] = true
		if strings.EqualFold(r.Member, l.id.Name) && !l.keys.screened[r.ID] && l.obs.Wish.Request == nil {
			l.obs.Wish.Request = &r
		}
	}
	for id := range l.keys.screened {
		if !present[id] {
			delete(l.keys.screened, id)
		}
	}
}

// screen answers, before they are decided on, requests whose conditions do not
// hold or that are for later: conditions need the wall clock and the server's
// version, which decisions have no business with.
func (l *Loop) screen(r clock.Reading) {
	req := l.obs.Wish.Request
	if req == nil || l.keys.screened[req.ID] {
		return
	}
	switch req.Kind {
	case cluster.RequestRestart:
		if result, ended := l.screenRestart(*req, r.Wall); ended {
			l.answer(election.Answer{Request: *req, Result: result})
		}
	case cluster.RequestCancelRestart:
		result := cluster.Result{ID: req.ID, Member: l.id.Name, Done: true, Message: "scheduled restart deleted"}
		if l.server.scheduled == nil {
			result = cluster.Result{ID: req.ID, Member: l.id.Name, Refused: true, Message: "no restarts are scheduled"}
		}
		l.server.scheduled = nil
		l.answer(election.Answer{Request: *req, Result: result})
	case cluster.RequestRemove:
		l.answer(election.Answer{Request: *req, Result: l.remove(*req)})
	}
}

func (l *Loop) screenRestart(req cluster.Request, wall time.Time) (result cluster.Result, ended bool) {
	refuse := func(why string) (cluster.Result, bool) {
		return cluster.Result{ID: req.ID, Member: l.id.Name, Refused: true, Message: why}, true
	}
	var args cluster.RestartArgs
	if len(req.Args) > 0 {
		if err := json.Unmarshal(req.Args, &args); err != nil {
			return refuse("the request cannot be read: " + err.Error())
		}
	}
	if args.Schedule != "" {
		at, err := time.Parse(time.RFC3339, args.Schedule)
		switch {
		case err != nil:
			return refuse("schedule " + strconv.Quote(args.Schedule) + " is no ISO 8601 time with a zone")
		case l.server.scheduled != nil:
			return refuse(fmt.Sprintf("Another restart is already scheduled: at %s; pgkeeper flush %s %s restart withdraws it", l.server.scheduled.Schedule, l.id.Scope, l.id.Name))
		case at.Before(wall):
			return refuse("Cannot schedule restart in the past")
		}
		l.server.scheduled, l.server.scheduleAt = &args, at
		return cluster.Result{ID: req.ID, Member: l.id.Name, Accepted: true, Message: "Restart scheduled"}, true
	}
	if why := l.unmet(args); why != "" {
		return refuse(why)
	}
	return cluster.Result{}, false
}

// unmet says which condition of a restart does not hold; empty when all do.
func (l *Loop) unmet(args cluster.RestartArgs) string {
	node := l.obs.Node.Value
	switch {
	case args.Role != "" && args.Role != l.role():
		return fmt.Sprintf("host role mismatch: the member is %s, not %s", l.role(), args.Role)
	case args.RestartPending && len(node.PendingRestart) == 0:
		return "pending restart flag is not set"
	case args.PostgresVersion != "" && !olderThan(node.ServerVersion, args.PostgresVersion):
		return "postgres version mismatch: the server is not older than " + args.PostgresVersion
	}
	return ""
}

// olderThan compares server_version_num with "15.4" or "15".
func olderThan(number int, version string) bool {
	major, minor, _ := strings.Cut(version, ".")
	m, err := strconv.Atoi(major)
	if err != nil {
		return false
	}
	n, _ := strconv.Atoi(minor)
	return number < m*10000+n
}

// rereadLimit bounds reading the local configuration.
const rereadLimit = 10 * time.Second

// answerReload has the local configuration read again; the answer waits for how
// that ends: a file that was refused must not be answered as if it were in force.
func (l *Loop) answerReload(a election.Answer) []Effect {
	if l.busy[LaneReread] {
		return l.answer(election.Answer{Request: a.Request, Result: cluster.Result{ID: a.Request.ID, Member: l.id.Name, Refused: true,
			Message: "another reload is under way"}})
	}
	l.keys.screened[a.Request.ID] = true
	l.obs.Wish.Request = nil
	l.busy[LaneReread], l.server.reloading = true, &a
	return []Effect{{Lane: LaneReread, Limit: rereadLimit, Do: Reread{}}}
}

// foldReread answers the reload that has ended. The server is configured next, as
// after every change of the configuration.
func (l *Loop) foldReread(e RereadDone) {
	l.busy[LaneReread] = false
	a := l.server.reloading
	if a == nil {
		return
	}
	l.server.reloading = nil
	if e.Err != "" {
		l.log.Warn("configuration not reloaded", "member", l.id.Name, "error", e.Err)
		a.Result = cluster.Result{ID: a.Request.ID, Member: l.id.Name, Refused: true, Message: e.Err}
	}
	l.keys.answers = append(l.keys.answers, *a)
}
