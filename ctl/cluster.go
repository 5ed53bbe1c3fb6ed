package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Sentinels a caller may want to tell apart. Their texts complete a sentence.
var (
	// ErrAborted: the operator answered no.
	ErrAborted = errors.New("aborted, nothing was changed")
	// ErrNoCluster: the store holds nothing under this scope.
	ErrNoCluster = errors.New("no such cluster")
	// ErrChanged: the configuration was changed by somebody else in between.
	ErrChanged = errors.New("the configuration was changed by somebody else meanwhile: look again and repeat")
	// ErrRefused: the cluster said no, and nothing was tried.
	ErrRefused = errors.New("refused")
	// ErrNoAnswer: the wish was recorded, and nobody answered in time. It may
	// still be carried out.
	ErrNoAnswer = errors.New("no answer")
)

// Cluster is one cluster as the verbs see it. Store and API implement it, with
// the same results.
type Cluster interface {
	// Overview is a fresh look at all members.
	Overview(ctx context.Context) (Overview, error)
	// History is the promotions so far, oldest first.
	History(ctx context.Context) (cluster.History, error)
	// Config is the dynamic configuration.
	Config(ctx context.Context) (Config, error)
	// SetConfig replaces the configuration that was read as from; ErrChanged
	// when it is no longer that one.
	SetConfig(ctx context.Context, from Config, to json.RawMessage) error
	// Failover asks for a switchover (Leader set) or failover and waits for
	// its result, bounded by ctx.
	Failover(ctx context.Context, wish cluster.Failover) (cluster.Result, error)
	// CancelFailover withdraws a scheduled switchover.
	CancelFailover(ctx context.Context) error
	// Submit asks one member for something and waits for its result, bounded
	// by ctx.
	Submit(ctx context.Context, request cluster.Request) (cluster.Result, error)
}

// Config is the dynamic configuration as stored; Revision is the store's, 0
// when it is not known (through the API).
type Config struct {
	Raw      json.RawMessage
	Revision int64
}

// Overview is one look at a cluster, ready to be shown.
type Overview struct {
	Scope    string
	SystemID string
	// Leader holds the leader key; empty when nobody does, and then NoLeader
	// says in words why.
	Leader   string
	NoLeader string
	// Members are sorted by name.
	Members []Member
	Paused  bool
	// Scheduled is a switchover planned for later; nil when there is none.
	Scheduled *Scheduled
	// Switchover says in words how far a switchover under way has come.
	Switchover string
	// Left are the slots of former members for which the primary keeps WAL, SlotsTTL at
	// most. Only the store tells of them.
	Left     []string
	SlotsTTL time.Duration
	// TTL and LoopWait are the settings in force; they bound how long a verb
	// waits.
	TTL      time.Duration
	LoopWait time.Duration
	// Gate says in words how the primary's commits wait for its gate; empty when they
	// do not, and should not.
	Gate string
	// SyncCommit is who commits on the primary without waiting for whom they should;
	// nil when it does not say.
	SyncCommit *cluster.SyncCommit
	// StoreTroubles are what is wrong with etcd itself.
	StoreTroubles []cluster.StoreTrouble
	// Config says in words what of the stored configuration is wrong, so that the members go on with what they had of it.
	Config string
	// Notes are other things an operator should know, one line each.
	Notes []string
}

// Scheduled is a switchover planned for later.
type Scheduled struct {
	At   string `json:"at"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Member is one row of an overview.
type Member struct {
	Name string
	// Host is where its server listens, host:port; empty when unknown.
	Host string
	// ConnURL and APIURL are where clients and peers reach it.
	ConnURL string
	APIURL  string
	Role    MemberRole
	// State is the server's state; for a standby that replicates, how.
	State      string
	Timeline   cluster.Timeline
	ReceiveLSN cluster.LSN
	ReplayLSN  cluster.LSN
	// ReceiveLag and ReplayLag are bytes behind the primary's last known
	// position; nil when unknown, and for the primary.
	ReceiveLag       *uint64
	ReplayLag        *uint64
	Tags             cluster.Tags
	PendingRestart   bool
	PendingReason    map[string]cluster.PendingReason
	ScheduledRestart string
	// Paused tells that the member itself has seen the pause.
	Paused bool
	// Keeper tells a pgkeeper agent from Patroni.
	Keeper bool
	// Reason is the member's last decision, Progress its running job.
	Reason   cluster.Reason
	Progress string
	// Watchdog is how its kernel watchdog does; empty when it uses none.
	Watchdog cluster.WatchdogState
	// Pooler is what the pooler does that it drives; empty without one.
	Pooler cluster.PoolerState
}

// MemberRole is a member's role in an overview, in the words of GET /cluster.
type MemberRole string

// The roles. Primary is a server out of recovery without the leader key.
const (
	RoleLeader        MemberRole = "leader"
	RoleStandbyLeader MemberRole = "standby_leader"
	RoleSyncStandby   MemberRole = "sync_standby"
	RoleQuorumStandby MemberRole = "quorum_standby"
	RoleReplica       MemberRole = "replica"
	RolePrimary       MemberRole = "primary"
)

// Title is the role as patronictl's users know it: "Sync Standby".
func (r MemberRole) Title() string {
	switch r {
	case RoleLeader:
		return "Leader"
	case RoleStandbyLeader:
		return "Standby Leader"
	case RoleSyncStandby:
		return "Sync Standby"
	case RoleQuorumStandby:
		return "Quorum Standby"
	case RolePrimary:
		return "Primary (no lease)"
	}
	return "Replica"
}

// Leads reports whether the member holds the leader key.
func (m Member) Leads() bool { return m.Role == RoleLeader || m.Role == RoleStandbyLeader }

// Member finds a member by name.
func (o Overview) Member(name string) (Member, bool) {
	for _, m := range o.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Names lists the members' names in order.
func (o Overview) Names() []string {
	names := make([]string, 0, len(o.Members))
	for _, m := range o.Members {
		names = append(names, m.Name)
	}
	return names
}
