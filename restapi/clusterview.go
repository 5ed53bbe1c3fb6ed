package restapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// clusterJSON is Patroni's answer to GET /cluster.
type clusterJSON struct {
	Members   []memberJSON   `json:"members"`
	Pause     bool           `json:"pause,omitempty"`
	Scheduled *scheduledJSON `json:"scheduled_switchover,omitempty"`
	Scope     string         `json:"scope"`
	Keeper    viewJSON       `json:"pgkeeper"`
}

type scheduledJSON struct {
	At   string `json:"at"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// viewJSON says how old the answer is and whether the store is in reach.
type viewJSON struct {
	AgeMS      int64    `json:"view_age_ms"`
	StoreError string   `json:"store_error,omitempty"`
	Problems   []string `json:"problems,omitempty"`
}

type memberJSON struct {
	Name             string                           `json:"name"`
	Role             string                           `json:"role"`
	State            string                           `json:"state"`
	APIURL           string                           `json:"api_url"`
	Host             string                           `json:"host,omitempty"`
	Port             int                              `json:"port,omitempty"`
	Timeline         cluster.Timeline                 `json:"timeline,omitempty"`
	PendingRestart   bool                             `json:"pending_restart,omitempty"`
	PendingReason    map[string]cluster.PendingReason `json:"pending_restart_reason,omitempty"`
	ScheduledRestart map[string]any                   `json:"scheduled_restart,omitempty"`
	Tags             cluster.Tags                     `json:"tags,omitempty"`
	ReceiveLSN       any                              `json:"receive_lsn,omitempty"`
	ReceiveLag       any                              `json:"receive_lag,omitempty"`
	ReplayLSN        any                              `json:"replay_lsn,omitempty"`
	ReplayLag        any                              `json:"replay_lag,omitempty"`
	LSN              any                              `json:"lsn,omitempty"`
	Lag              any                              `json:"lag,omitempty"`
	Keeper           *cluster.MemberKeeper            `json:"pgkeeper,omitempty"`
}

// cluster answers what the store says about all members.
func (s *Server) cluster(w http.ResponseWriter, _ *http.Request) {
	f := s.facts()
	if f.View.At.Never() {
		writeText(w, http.StatusServiceUnavailable, "the cluster's state is not known yet: the store has not answered"+because(f.View.Err))
		return
	}
	writeJSON(w, http.StatusOK, newClusterJSON(f))
}

func newClusterJSON(f facts) clusterJSON {
	view := f.View.Value
	out := clusterJSON{
		Members: []memberJSON{}, Pause: f.Settings.Pause, Scope: f.Scope,
		Keeper: viewJSON{max(0, milliseconds(f.now.Sub(f.View.At))), f.View.Err, view.Problems},
	}
	if wish := view.Failover; wish != nil && wish.ScheduledAt != "" {
		out.Scheduled = &scheduledJSON{wish.ScheduledAt, wish.Leader, wish.Member}
	}
	end := walEnd(view)
	for _, name := range slices.Sorted(maps.Keys(view.Members)) {
		out.Members = append(out.Members, newMemberJSON(f, view.Members[name], end))
	}
	return out
}

// walEnd is the newest end of the cluster's WAL that was published.
func walEnd(view cluster.View) cluster.LSN {
	var end cluster.LSN
	if view.Status != nil {
		end = view.Status.Optime
	}
	if leader, found := view.LeaderMember(); found {
		end = max(end, leader.XlogLocation)
	}
	return end
}

func newMemberJSON(f facts, m cluster.Member, end cluster.LSN) memberJSON {
	out := memberJSON{
		Name: m.Name, Role: f.listRole(m), State: string(m.State), APIURL: m.APIURL, Timeline: m.Timeline,
		PendingRestart: m.PendingRestart, PendingReason: m.PendingReason,
		ScheduledRestart: m.ScheduledRestart, Tags: m.Tags, Keeper: m.Keeper,
	}
	if host, port, ok := m.Address(); ok {
		out.Host = host
		out.Port, _ = strconv.Atoi(port) // a port that is no number is left out
	}
	if f.View.Value.HolderIs(m.Name) {
		return out
	}
	if m.State == cluster.StateRunning && m.ReplicationState != "" {
		out.State = m.ReplicationState
	}
	receive, replay := f.View.Value.Reached(&m)
	out.ReceiveLSN, out.ReceiveLag = position(receive, end)
	out.ReplayLSN, out.ReplayLag = position(replay, end)
	out.LSN, out.Lag = position(max(m.XlogLocation, receive, replay), end)
	return out
}

// listRole is the role a member has in the eyes of the cluster.
func (f facts) listRole(m cluster.Member) string {
	switch {
	case f.View.Value.HolderIs(m.Name) && m.Role == cluster.RoleStandbyLeader:
		return "standby_leader"
	case f.View.Value.HolderIs(m.Name):
		return "leader"
	case f.synchronous(m.Name) && f.quorumMode():
		return "quorum_standby"
	case f.synchronous(m.Name):
		return "sync_standby"
	}
	return "replica"
}

// position gives an LSN in text and its lag in bytes, each "unknown" when it is.
func position(at, end cluster.LSN) (lsn, lag any) {
	const unknown = "unknown"
	switch {
	case !at.Known():
		return unknown, unknown
	case !end.Known():
		return at.String(), unknown
	}
	return at.String(), at.Behind(end)
}
