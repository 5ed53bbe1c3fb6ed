package restapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// statusJSON is Patroni's answer to GET /patroni and of the health checks.
type statusJSON struct {
	State            cluster.State                    `json:"state"`
	PostmasterStart  string                           `json:"postmaster_start_time,omitempty"`
	Role             cluster.Role                     `json:"role"`
	ServerVersion    int                              `json:"server_version,omitempty"`
	Xlog             any                              `json:"xlog,omitempty"`
	SyncStandby      bool                             `json:"sync_standby,omitempty"`
	QuorumStandby    bool                             `json:"quorum_standby,omitempty"`
	Timeline         cluster.Timeline                 `json:"timeline,omitempty"`
	ReplicationState string                           `json:"replication_state,omitempty"`
	Replication      []walsenderJSON                  `json:"replication,omitempty"`
	Pause            bool                             `json:"pause,omitempty"`
	ClusterUnlocked  bool                             `json:"cluster_unlocked,omitempty"`
	FailsafeActive   bool                             `json:"failsafe_mode_is_active,omitempty"`
	DCSLastSeen      int64                            `json:"dcs_last_seen"`
	Tags             cluster.Tags                     `json:"tags,omitempty"`
	SystemID         string                           `json:"database_system_identifier,omitempty"`
	PendingRestart   bool                             `json:"pending_restart,omitempty"`
	PendingReason    map[string]cluster.PendingReason `json:"pending_restart_reason,omitempty"`
	ScheduledRestart *cluster.RestartArgs             `json:"scheduled_restart,omitempty"`
	// WatchdogFailed is how a member tells Patroni's that it is no candidate.
	WatchdogFailed bool        `json:"watchdog_failed,omitempty"`
	Patroni        patroniJSON `json:"patroni"`
}

type patroniJSON struct {
	Version string `json:"version"`
	Scope   string `json:"scope"`
	Name    string `json:"name"`
}

// primaryXlog and standbyXlog are the two shapes of xlog. Peers tell a primary
// by the presence of location.
type primaryXlog struct {
	Location cluster.LSN `json:"location"`
}

type standbyXlog struct {
	Received   cluster.LSN `json:"received_location"`
	Replayed   cluster.LSN `json:"replayed_location"`
	ReplayedAt *string     `json:"replayed_timestamp"`
	Paused     bool        `json:"paused"`
}

type walsenderJSON struct {
	Name      string  `json:"application_name"`
	Addr      *string `json:"client_addr"`
	State     string  `json:"state"`
	SyncState string  `json:"sync_state"`
}

// keeperJSON is pgkeeper's own part of the status. Two more fields, which move
// with the clock, are appended when answering: see rendered.
type keeperJSON struct {
	Version     string         `json:"version"`
	Reason      cluster.Reason `json:"reason"`
	Detail      string         `json:"detail,omitempty"`
	Mode        string         `json:"mode"`
	Term        cluster.Term   `json:"term"`
	Job         string         `json:"job,omitempty"`
	Progress    string         `json:"progress,omitempty"`
	ConfigError string         `json:"config_error,omitempty"`
	ServerError string         `json:"server_error,omitempty"`
	StoreError  string         `json:"store_error,omitempty"`
	// CommitGate is how a primary's commits wait for its gate.
	CommitGate cluster.GateState `json:"commit_gate,omitempty"`
	// SyncCommit is who commits on a primary without waiting for whom they should.
	SyncCommit *cluster.SyncCommit `json:"sync_commit,omitempty"`
	// StoreTroubles are what is wrong with etcd itself, as this member sees it.
	StoreTroubles []cluster.StoreTrouble `json:"etcd_troubles,omitempty"`
	// Sick is what keeps the member from serving, or did a moment ago.
	Sick cluster.Ailment `json:"sick,omitempty"`
	// Watchdog is how the kernel watchdog does; nil without one.
	Watchdog *cluster.Watchdog `json:"watchdog,omitempty"`
	// Pooler is what the pooler does that this member drives.
	Pooler cluster.PoolerState `json:"pooler,omitempty"`
	// Failsafe: the primary goes on by its members' promises; FailsafePromised is whom
	// this member has promised.
	Failsafe         bool   `json:"failsafe,omitempty"`
	FailsafePromised string `json:"failsafe_promised,omitempty"`
}

// rendered is the status JSON of one Status, up to the fields that move with the
// clock. It holds on to the Status, so that its address cannot be used again.
type rendered struct {
	of   *cluster.Status
	head []byte
}

// buffers keeps the memory answers are put together in.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// writeStatus answers with the status JSON.
func (s *Server) writeStatus(w http.ResponseWriter, code int, f facts) {
	buffer, _ := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	buffer.Write(s.head(f))
	tail := append(buffer.AvailableBuffer(), `,"reason_since_ms":`...)
	tail = strconv.AppendInt(tail, f.reasonAge(), 10)
	tail = append(tail, `,"lease_ms_left":`...)
	tail = strconv.AppendInt(tail, f.leaseLeft(), 10)
	buffer.Write(append(tail, "}}"...))
	h := w.Header()
	h["Content-Type"] = contentJSON
	if buffer.Len() > autoLength {
		h["Content-Length"] = []string{strconv.Itoa(buffer.Len())}
	}
	w.WriteHeader(code)
	_, _ = w.Write(buffer.Bytes()) // the asker is gone: nobody is left to tell
}

// autoLength is the size up to which net/http finds the length by itself.
const autoLength = 2000

var contentJSON = []string{"application/json"}

// head returns the rendered part for the status, rendering it on its first use.
// Two requests may both render a new status; either result is right.
func (s *Server) head(f facts) []byte {
	if last := s.body.Load(); last != nil && last.of == f.Status {
		return last.head
	}
	fresh := &rendered{of: f.Status, head: s.render(f)}
	s.body.Store(fresh)
	return fresh.head
}

// render marshals everything that does not move with the clock, and leaves both
// objects open at the end.
func (s *Server) render(f facts) []byte {
	outer := openObject(newStatusJSON(f))
	outer = append(outer, `,"pgkeeper":`...)
	return append(outer, openObject(s.newKeeperJSON(f))...)
}

// openObject marshals a struct and takes its last brace off. Marshalling can fail
// only on a tag value that has no JSON; such an object stays empty but valid.
func openObject(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		data, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	return bytes.TrimSuffix(data, []byte("}"))
}

// newStatusJSON describes the node as Patroni does: what the server is comes from
// the server, not from the lease.
func newStatusJSON(f facts) statusJSON {
	out := statusJSON{
		State: f.State, Role: f.Role,
		Pause:           f.Settings.Pause,
		ClusterUnlocked: f.View.Value.Leader == nil,
		FailsafeActive:  f.Failsafe || f.PledgedTo != "",
		DCSLastSeen:     f.DCSSeen,
		Tags:            f.Tags, SystemID: f.Node.Value.SystemID,
		PendingRestart: len(f.PendingRestart) > 0, PendingReason: f.PendingRestart,
		ScheduledRestart: f.ScheduledRestart,
		WatchdogFailed:   f.NoCandidate,
		Patroni:          patroniJSON{Version: cluster.PatroniVersion, Scope: f.Scope, Name: f.Name},
	}
	if !f.Node.Good() {
		if out.State == cluster.StateRunning {
			out.State = "unknown"
		}
		return out
	}
	if !f.Node.Value.Mode.Running() {
		return out
	}
	out.server(f)
	return out
}

// server adds what only a running server has.
func (out *statusJSON) server(f facts) {
	node := f.Node.Value
	out.PostmasterStart, out.ServerVersion, out.Timeline = node.PostmasterTime, node.ServerVersion, node.Timeline
	out.Replication = walsenders(node.Walsenders)
	if node.Mode == cluster.ModePrimary {
		out.Role, out.Xlog = cluster.RolePrimary, primaryXlog{node.WriteLSN}
		return
	}
	if f.Role != cluster.RoleStandbyLeader {
		out.Role = cluster.RoleReplica
	}
	// A standby that was started again shows less than it has until it has read its own WAL.
	// A Patroni candidate counts it for a vote by what it shows; without any it counts as away.
	if node.EndKnown || !f.View.At.Never() && !f.View.Value.HasPatroni() { // guard: unknown_end_is_not_told — S2, trap 5
		out.Xlog = standbyXlog{node.ReceiveLSN, node.ReplayLSN, optional(node.ReplayedAt), node.ReplayPaused}
	}
	if f.synchronous(f.Name) {
		out.SyncStandby, out.QuorumStandby = !f.quorumMode(), f.quorumMode()
	}
	if r := node.Receiver; r != nil && r.Status == stateStreaming {
		out.ReplicationState = stateStreaming
	} else if r == nil && f.Settings.PostgreSQL.RecoveryConf["restore_command"] != "" {
		out.ReplicationState = stateArchive
	}
}

func walsenders(list []cluster.Walsender) []walsenderJSON {
	var out []walsenderJSON
	for _, sender := range list {
		out = append(out, walsenderJSON{sender.Name, optional(sender.Addr), sender.State, sender.SyncState})
	}
	return out
}

// optional is null for an empty text.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (s *Server) newKeeperJSON(f facts) keeperJSON {
	version := f.Version
	if version == "" {
		version = s.options.Version
	}
	out := keeperJSON{
		Version: version, Reason: f.Reason, Detail: f.Detail,
		Mode: f.Node.Value.Mode.String(), Term: f.Term, Job: f.Job, Progress: f.Progress,
		ConfigError: f.ConfigError, ServerError: f.Node.Err, StoreError: f.View.Err,
		CommitGate: f.Node.Value.Gate, SyncCommit: f.Node.Value.SyncCommit, Sick: f.Sick, Failsafe: f.Failsafe, FailsafePromised: f.PledgedTo, Pooler: f.Pooler,
	}
	if f.Watchdog.State != cluster.WatchdogOff {
		out.Watchdog = &f.Watchdog
	}
	if f.Store != nil {
		out.StoreTroubles = f.Store.Troubles
	}
	return out
}

// reasonAge is for how many milliseconds the reason has stood.
func (f facts) reasonAge() int64 {
	if f.ReasonSince.Never() {
		return 0
	}
	return max(0, milliseconds(f.now.Sub(f.ReasonSince)))
}

// leaseLeft is for how many milliseconds the lease is still provably valid.
func (f facts) leaseLeft() int64 {
	if !f.Holds(f.now) {
		return 0
	}
	return milliseconds(f.LeaseUntil.Sub(f.now))
}
