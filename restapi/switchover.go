package restapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// wish is a switchover or failover being validated.
type wish struct {
	cluster.Failover
	// action is "switchover" or "failover", as the answers name it.
	action string
}

// title is the action at the beginning of a sentence.
func (w wish) title() string { return strings.ToUpper(w.action[:1]) + w.action[1:] }

func (s *Server) switchover(ctx context.Context, body []byte, f facts) answer {
	return s.move(ctx, body, f, "switchover")
}

// failover moves the leadership without its holder's help. Naming the leader
// makes it a switchover, as in Patroni.
func (s *Server) failover(ctx context.Context, body []byte, f facts) answer {
	return s.move(ctx, body, f, "failover")
}

func (s *Server) move(ctx context.Context, body []byte, f facts, action string) answer {
	w, refused := s.readWish(body, action, f.Settings.Pause)
	if refused != nil {
		return *refused
	}
	if refused := s.ready(f); refused != nil {
		return *refused
	}
	if !f.View.Good() {
		return refuse(http.StatusServiceUnavailable, "%s is not possible: the store cannot be read%s", action, because(f.View.Err))
	}
	if w.ScheduledAt == "" {
		if refused := possible(w, f); refused != nil {
			return *refused
		}
	}
	w.ID = s.options.NewID()
	limit := s.bound(f, 0)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	result, err := s.options.Operator.Failover(ctx, w.Failover)
	if err != nil {
		return s.moveFailed(ctx, err, w, s.failed(ctx, err, w.title(), w.ID, limit))
	}
	return moved(w, result)
}

// readWish reads the body and refuses what is wrong in any cluster.
func (s *Server) readWish(body []byte, action string, paused bool) (wish, *answer) {
	in := parseFields(body)
	w := wish{action: action}
	w.Leader, w.Member, w.Force = in.text("leader"), in.text("candidate"), in.truth("force")
	if w.Member == "" {
		w.Member = in.text("member")
	}
	at := in.text("scheduled_at")
	if in.bad != nil {
		return w, in.bad
	}
	if w.Leader != "" {
		w.action = "switchover"
	}
	if refused := s.schedule(&w, at, paused); refused != nil {
		return w, refused
	}
	var text string
	switch {
	case w.action == "failover" && w.Member == "":
		text = "Failover could be performed only to a specific candidate"
	case w.action == "switchover" && w.Leader == "":
		text = "Switchover could be performed only from a specific leader"
	case paused && w.Member == "":
		text = "Switchover is possible only to a specific candidate in a paused state"
	case w.Leader == w.Member:
		text = "Switchover target and source are the same"
	default:
		return w, nil
	}
	return w, &answer{code: http.StatusBadRequest, text: text}
}

// schedule sets the time of a scheduled wish.
func (s *Server) schedule(w *wish, at string, paused bool) *answer {
	if at == "" || (w.action == "switchover" && w.Leader == "") {
		return nil
	}
	switch {
	case w.action == "failover":
		return &answer{code: http.StatusBadRequest, text: "Failover can't be scheduled"}
	case paused:
		return &answer{code: http.StatusBadRequest, text: "Can't schedule switchover in the paused state"}
	}
	normal, refused := s.parseSchedule("scheduled_at", at)
	w.ScheduledAt = normal
	return refused
}

// possible refuses with 412 what the last view of the store already rules out.
func possible(w wish, f facts) *answer {
	view := f.View.Value
	if w.Leader != "" && !view.HolderIs(w.Leader) {
		return &answer{code: http.StatusPreconditionFailed, text: "leader name does not match", detail: whoLeads(view)}
	}
	if m, known := view.LeaderMember(); f.Settings.Pause && (!known || m.IsKeeper()) { // Patroni's leaders do it
		return &answer{code: http.StatusPreconditionFailed, text: w.action + " is not possible: the cluster is paused", detail: "no agent is promoted in a pause: pgkeeper resume, and then ask again"}
	}
	synchronous := f.Settings.SynchronousMode != "" && f.Settings.SynchronousMode != "off"
	var candidates []cluster.Member
	for _, m := range view.Members {
		switch {
		case w.Member != "" && m.Name != w.Member, view.HolderIs(m.Name) && w.Member == "":
		case synchronous && w.Member == "" && !f.synchronous(m.Name):
		default:
			candidates = append(candidates, m)
		}
	}
	refused := answer{code: http.StatusPreconditionFailed}
	switch {
	case w.Member != "" && synchronous && w.action == "switchover" && !f.synchronous(w.Member):
		refused.text = "candidate name does not match with sync_standby"
	case w.Member != "" && len(candidates) == 0:
		refused.text = "candidate does not exists"
	case len(candidates) == 0 && synchronous:
		refused.text = w.action + " is not possible: can not find sync_standby"
	case len(candidates) == 0:
		refused.text = w.action + " is not possible: cluster does not have members except leader"
	default:
		why := unfit(candidates)
		if len(why) < len(candidates) {
			return nil
		}
		refused.text = w.action + " is not possible: no good candidates have been found"
		refused.detail = strings.Join(why, "; ")
	}
	return &refused
}

// unfit says of every member that cannot be promoted why not.
func unfit(members []cluster.Member) []string {
	var why []string
	for _, m := range members {
		switch {
		case m.Tags.NoFailover():
			why = append(why, m.Name+" is tagged nofailover or has failover_priority 0")
		case m.State != cluster.StateRunning:
			why = append(why, fmt.Sprintf("%s is %q, not running", m.Name, m.State))
		}
	}
	return why
}

func whoLeads(view cluster.View) string {
	if view.Leader == nil {
		return "nobody holds the leader key"
	}
	return "the leader is " + view.Leader.Name
}

// moved turns a result into Patroni's words.
func moved(w wish, result cluster.Result) answer {
	past := map[string]string{"switchover": "switched", "failover": "failed"}[w.action]
	switch {
	case result.Done && (w.Member == "" || result.NewLeader == "" || result.NewLeader == w.Member):
		return answer{code: http.StatusOK, text: fmt.Sprintf("Successfully %s over to %q", past, cmp.Or(result.NewLeader, w.Member)), detail: result.Message}
	case result.Done:
		past = strings.ToUpper(past[:1]) + past[1:]
		return answer{code: http.StatusOK, text: fmt.Sprintf("%s over to %q instead of %q", past, result.NewLeader, w.Member), detail: result.Message}
	case result.Accepted:
		return answer{code: http.StatusAccepted, text: w.title() + " scheduled", detail: result.Message}
	case result.Refused:
		return answer{code: http.StatusPreconditionFailed, text: cmp.Or(result.Message, w.action+" is not possible")}
	}
	return answer{code: http.StatusServiceUnavailable, text: w.title() + " failed" + because(result.Message)}
}

// moveFailed keeps Patroni's words for a wish that could not be written.
func (s *Server) moveFailed(ctx context.Context, err error, w wish, general answer) answer {
	if ctx.Err() != nil || general.code != http.StatusServiceUnavailable {
		return general
	}
	return answer{code: http.StatusServiceUnavailable, text: "failed to write " + w.action + " key into DCS: " + err.Error(), detail: general.detail}
}

// cancelSwitchover withdraws a scheduled switchover.
func (s *Server) cancelSwitchover(ctx context.Context, _ []byte, f facts) answer {
	if refused := s.ready(f); refused != nil {
		return *refused
	}
	if scheduled := f.View.Value.Failover; f.View.Good() && (scheduled == nil || scheduled.ScheduledAt == "") {
		return answer{code: http.StatusNotFound, text: "no switchover is scheduled"}
	}
	limit := s.bound(f, 0)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.options.Operator.CancelFailover(ctx)
	switch {
	case err == nil:
		return answer{code: http.StatusOK, text: "scheduled switchover deleted"}
	case errors.Is(err, ErrAbsent):
		return answer{code: http.StatusNotFound, text: "no switchover is scheduled"}
	}
	return s.failed(ctx, err, "Deleting the scheduled switchover", "", limit)
}
