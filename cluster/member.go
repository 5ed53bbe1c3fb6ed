package cluster

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// PatroniVersion is what a member key says in `version`, so that Patroni's
// version switches treat pgkeeper as a member of that release.
const PatroniVersion = "4.1.4"

// Member is the value of members/<name>: Patroni's fields, and under pgkeeper
// what only pgkeeper members read.
type Member struct {
	Name                   string                   `json:"-"`
	ConnURL                string                   `json:"conn_url"`
	APIURL                 string                   `json:"api_url"`
	State                  State                    `json:"state"`
	Role                   Role                     `json:"role"`
	Version                string                   `json:"version"`
	ProxyURL               string                   `json:"proxy_url,omitempty"`
	CheckpointAfterPromote *bool                    `json:"checkpoint_after_promote,omitempty"`
	Tags                   Tags                     `json:"tags,omitempty"`
	PendingRestart         bool                     `json:"pending_restart,omitempty"`
	PendingReason          map[string]PendingReason `json:"pending_restart_reason,omitempty"`
	XlogLocation           LSN                      `json:"xlog_location,omitempty"`
	ReceiveLSN             LSN                      `json:"receive_lsn,omitempty"`
	ReplayLSN              LSN                      `json:"replay_lsn,omitempty"`
	ReplicationState       string                   `json:"replication_state,omitempty"`
	Timeline               Timeline                 `json:"timeline,omitempty"`
	ScheduledRestart       map[string]any           `json:"scheduled_restart,omitempty"`
	Pause                  bool                     `json:"pause,omitempty"`
	Keeper                 *MemberKeeper            `json:"pgkeeper,omitempty"`

	// LeaseID is the lease the key is bound to, ModRevision its last write.
	// Both come from the store, not from the value.
	LeaseID     int64 `json:"-"`
	ModRevision int64 `json:"-"`
}

// PendingReason says which value of a server parameter runs and which waits for
// a restart.
type PendingReason struct {
	Old string `json:"old_value"`
	New string `json:"new_value"`
}

// MemberKeeper is what pgkeeper members tell each other in the member key.
type MemberKeeper struct {
	// Version is pgkeeper's own version.
	Version string `json:"version"`
	// Node is the random id of this node's state directory: two machines with
	// one name show different ones.
	Node string `json:"node"`
	// Promised is the newest term this member will never again take WAL from, nor
	// any before it (SAFETY 3, revoke before elect).
	Promised Term `json:"promised,omitempty"`
	// Vacancy is the mod_revision of the beat for which this member reports
	// Position in a race; a report for another vacancy does not count.
	Vacancy int64 `json:"vacancy,omitempty"`
	// Position is the final position reported for Vacancy or for Switchover.
	Position *Position `json:"position,omitempty"`
	// Switchover is the id of the switchover this member, as its candidate,
	// prepared for (Position nil) or confirms Position for.
	Switchover string `json:"switchover,omitempty"`
	// Gone is the mod_revision of the last beat of a holder whose node this member finds
	// gone, by what it measures itself; 0 while it does not.
	Gone int64 `json:"holder_gone,omitempty"`
	// Reason is the member's last decision, for explain and list.
	Reason Reason `json:"reason,omitempty"`
	// Progress of a running job in words ("clone 43%, 12s left").
	Progress string `json:"progress,omitempty"`
	// Gate is how a primary's commits wait for its gate.
	Gate GateState `json:"commit_gate,omitempty"`
	// SyncCommit is who commits on a primary without waiting for whom they should.
	SyncCommit *SyncCommit `json:"sync_commit,omitempty"`
	// StoreTroubles are what this member finds wrong with the store itself.
	StoreTroubles []StoreTrouble `json:"etcd_troubles,omitempty"`
	// Sick is what keeps this member from serving, or did a moment ago: while others
	// could, it is no candidate.
	Sick Ailment `json:"sick,omitempty"`
	// Watchdog is how the member's kernel watchdog does; empty when it uses none.
	Watchdog WatchdogState `json:"watchdog,omitempty"`
	// Pooler is what the connection pooler does that this member drives; empty when it
	// drives none.
	Pooler PoolerState `json:"pooler,omitempty"`
	// Held is the switchover for which that pooler lets nothing through any more.
	Held string `json:"held,omitempty"`
}

// PoolerState is what a driven connection pooler does with new work.
type PoolerState string

// The states of a pooler.
const (
	// PoolerServing: it passes work on to the primary.
	PoolerServing PoolerState = "serving"
	// PoolerHolding: new work waits in it for a primary.
	PoolerHolding PoolerState = "holding"
	// PoolerLost: its console does not answer, and nobody waits for it.
	PoolerLost PoolerState = "lost"
)

// Tags are a member's tags as configured; values are bool, number or string.
type Tags map[string]any

// Bool reads a boolean tag; anything but true, or a text meaning true, is false.
func (t Tags) Bool(key string) bool {
	switch v := t[key].(type) {
	case bool:
		return v
	case string:
		return strings.EqualFold(v, "true") || strings.EqualFold(v, "on") || strings.EqualFold(v, "yes")
	}
	return false
}

// Number reads a numeric tag; fallback when it is absent or no number.
func (t Tags) Number(key string, fallback int) int {
	switch v := t[key].(type) {
	case int:
		return v
	case int64:
		return int(v)
	case uint64:
		return int(v)
	case float64:
		return int(v)
	}
	return fallback
}

// NoFailover reports whether the member must never be promoted: the tag itself,
// or failover_priority 0 or less. A nofailover that is set wins over priority.
func (t Tags) NoFailover() bool {
	if _, set := t["nofailover"]; set {
		return t.Bool("nofailover")
	}
	return t.FailoverPriority() <= 0
}

// FailoverPriority ranks candidates of equal position; 1 when not set.
func (t Tags) FailoverPriority() int { return t.Number("failover_priority", 1) }

// Clone copies the tags.
func (t Tags) Clone() Tags { return maps.Clone(t) }

// Address returns host and port of the member's PostgreSQL server from conn_url.
func (m *Member) Address() (host, port string, ok bool) {
	if host, port, ok = plainAddress(m.ConnURL); ok {
		return host, port, true
	}
	u, err := url.Parse(m.ConnURL)
	if err != nil || u.Host == "" {
		return "", "", false
	}
	host, port = u.Hostname(), u.Port()
	if port == "" {
		port = "5432"
	}
	return host, port, host != ""
}

// plainAddress reads the host and port of an ordinary URL, as url.Parse would; ok is
// false for everything else. Every decision of a standby asks for one.
func plainAddress(text string) (host, port string, ok bool) {
	scheme, rest, _ := strings.Cut(text, "://")
	if scheme != "postgres" && scheme != "postgresql" {
		return "", "", false
	}
	if end := strings.IndexByte(rest, '/'); end >= 0 {
		rest, text = rest[:end], rest[end:]
		if strings.IndexFunc(text, unusualInPath) >= 0 {
			return "", "", false
		}
	}
	host, port, _ = strings.Cut(rest, ":")
	if host == "" || port == "" || strings.IndexFunc(host, unusualInHost) >= 0 || strings.IndexFunc(port, notADigit) >= 0 {
		return "", "", false
	}
	return host, port, true
}

func notADigit(r rune) bool { return r < '0' || r > '9' }

func unusualInHost(r rune) bool {
	return r != '.' && r != '-' && notADigit(r) && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

func unusualInPath(r rune) bool { return r != '/' && r != '_' && unusualInHost(r) }

// HostPort is the member's server address as host:port; empty when unknown.
func (m *Member) HostPort() string {
	host, port, ok := m.Address()
	if !ok {
		return ""
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// Position is where the member said it was: its timeline and its newest WAL.
func (m *Member) Position() Position { return Position{Timeline: m.Timeline, LSN: m.XlogLocation} }

// Sick is what keeps the member from serving, as far as it says so.
func (m *Member) Sick() Ailment {
	if m.Keeper == nil {
		return ""
	}
	return m.Keeper.Sick
}

// RunsPrimary reports whether the member says that its server runs as the primary; an
// older Patroni calls that master.
func (m *Member) RunsPrimary() bool {
	return m.State == StateRunning && (m.Role == RolePrimary || m.Role == "master")
}

// IsKeeper reports whether a pgkeeper agent, not Patroni, writes this key.
func (m *Member) IsKeeper() bool { return m.Keeper != nil }

// Equal reports whether the keys of both would have the same value. What comes
// from the store, and the name, which is the key's, do not count.
func (m *Member) Equal(other *Member) bool { return m.OnlyMoved(other) && !m.Moved(other) }

// OnlyMoved reports whether m differs from older in nothing but what is for people to
// read, and for others to estimate by: positions, reason, progress and counts.
func (m *Member) OnlyMoved(older *Member) bool {
	return m.ConnURL == older.ConnURL && m.APIURL == older.APIURL && m.State == older.State && m.Role == older.Role &&
		m.Version == older.Version && m.ProxyURL == older.ProxyURL && same(m.CheckpointAfterPromote, older.CheckpointAfterPromote) &&
		sameMap(m.Tags, older.Tags) && m.PendingRestart == older.PendingRestart && maps.Equal(m.PendingReason, older.PendingReason) &&
		m.ReplicationState == older.ReplicationState && m.Timeline == older.Timeline &&
		sameMap(m.ScheduledRestart, older.ScheduledRestart) && m.Pause == older.Pause && m.Keeper.onlyMoved(older.Keeper)
}

// Moved reports whether what OnlyMoved leaves out of account differs.
func (m *Member) Moved(older *Member) bool {
	return m.XlogLocation != older.XlogLocation || m.ReceiveLSN != older.ReceiveLSN || m.ReplayLSN != older.ReplayLSN || m.Keeper.moved(older.Keeper)
}

func (k *MemberKeeper) onlyMoved(older *MemberKeeper) bool {
	if k == nil || older == nil {
		return k == older
	}
	return k.Version == older.Version && k.Node == older.Node && k.Promised == older.Promised && k.Vacancy == older.Vacancy && same(k.Position, older.Position) &&
		k.Switchover == older.Switchover && k.Gone == older.Gone && k.Gate == older.Gate && k.SyncCommit.countedAs(older.SyncCommit).Equal(older.SyncCommit) &&
		slices.Equal(k.StoreTroubles, older.StoreTroubles) && k.Sick == older.Sick && k.Watchdog == older.Watchdog &&
		k.Pooler == older.Pooler && k.Held == older.Held
}

func (k *MemberKeeper) moved(older *MemberKeeper) bool {
	return k != nil && older != nil && (k.Reason != older.Reason || k.Progress != older.Progress || !k.SyncCommit.Equal(older.SyncCommit))
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func sameMap(a, b map[string]any) bool { return maps.EqualFunc(a, b, sameValue) }

// sameValue compares values that came from YAML or JSON.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case []any:
		other, ok := b.([]any)
		return ok && slices.EqualFunc(a, other, sameValue)
	case map[string]any:
		other, ok := b.(map[string]any)
		return ok && sameMap(a, other)
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	return a == b
}
