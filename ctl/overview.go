package ctl

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// FromView makes the overview of a view of the store.
func FromView(scope string, v cluster.View, settings cluster.Settings) Overview {
	o := Overview{
		Scope: scope, Paused: settings.Pause, TTL: settings.TTL, LoopWait: settings.LoopWait,
		Notes: slices.Clone(v.Problems), Left: leftSlots(v), SlotsTTL: settings.MemberSlotsTTL,
	}
	if v.Initialize != nil {
		o.SystemID = v.Initialize.SystemID
	}
	if v.Leader != nil {
		o.Leader = v.Leader.Name
	} else {
		o.NoLeader = noLeader(v, settings)
	}
	head := headOf(v)
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		o.Members = append(o.Members, memberOf(v, v.Members[name], settings, head))
	}
	if !v.Failover.Empty() && v.Failover.ScheduledAt != "" {
		o.Scheduled = &Scheduled{At: v.Failover.ScheduledAt, From: v.Failover.Leader, To: v.Failover.Member}
	}
	o.Switchover = switchoverWords(v)
	o.Notes = slices.Concat(o.Notes, o.leaderNote(), promotionNote(v), quorumNote(v, settings))
	state := cluster.GateOff
	if m, ok := v.LeaderMember(); ok && m.Keeper != nil {
		state = m.Keeper.Gate
	}
	o.Gate = gateWords(settings, state)
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		o.hear(name, v.Members[name].Keeper)
	}
	return o
}

// quorumNote warns of members that take a quorum for no synchronous mode at all: as a leader one would have commits wait for
// nobody, and it elects without a look at who has confirmed what.
func quorumNote(v cluster.View, settings cluster.Settings) []string {
	if settings.SynchronousMode != cluster.SyncQuorum {
		return nil
	}
	var notes []string
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		m := v.Members[name]
		major, _, _ := strings.Cut(m.Version, ".")
		if n, err := strconv.Atoi(major); err == nil && n < 4 && !m.IsKeeper() {
			notes = append(notes, fmt.Sprintf("%s runs Patroni %s, which takes synchronous_mode: quorum for off: with it as the leader commits wait for nobody. Set synchronous_mode to on until it is gone", name, m.Version))
		}
	}
	return notes
}

// hear takes what a member tells of its commits, if it leads, and of the store.
func (o *Overview) hear(name string, k *cluster.MemberKeeper) {
	if k == nil {
		return
	}
	if name == o.Leader {
		o.SyncCommit = k.SyncCommit
	}
	o.StoreTroubles = cluster.MergeTroubles(o.StoreTroubles, k.StoreTroubles)
}

// leftSlots are the slots that the primary retains and no member has: Patroni retains
// those of members too.
func leftSlots(v cluster.View) []string {
	if v.Status == nil {
		return nil
	}
	left := slices.Clone(v.Status.Retain)
	for name := range v.Members {
		left = slices.DeleteFunc(left, func(slot string) bool { return slot == cluster.SlotName(name) })
	}
	return left
}

// headOf is the newest position the primary is known to have written.
func headOf(v cluster.View) cluster.LSN {
	var head cluster.LSN
	if v.Status != nil {
		head = v.Status.Optime
	}
	if m, ok := v.LeaderMember(); ok {
		head = max(head, m.XlogLocation)
	}
	return head
}

func memberOf(v cluster.View, m cluster.Member, settings cluster.Settings, head cluster.LSN) Member {
	row := Member{
		Name: m.Name, Host: m.HostPort(), ConnURL: m.ConnURL, APIURL: m.APIURL,
		Role: roleOf(v, m, settings), State: string(m.State), Timeline: m.Timeline,
		Tags: m.Tags, PendingRestart: m.PendingRestart, PendingReason: m.PendingReason,
		Paused: m.Pause, Keeper: m.IsKeeper(),
	}
	if at, ok := m.ScheduledRestart["schedule"].(string); ok {
		row.ScheduledRestart = at
	}
	if m.Keeper != nil {
		row.Reason, row.Progress, row.Watchdog, row.Pooler = m.Keeper.Reason, m.Keeper.Progress, m.Keeper.Watchdog, m.Keeper.Pooler
	}
	if row.Leads() || row.Role == RolePrimary {
		return row
	}
	if m.ReplicationState != "" {
		row.State = m.ReplicationState
	}
	// A Patroni before 4.1 writes only the greater of the two.
	receive, replay := v.Reached(&m)
	row.ReceiveLSN = cmp.Or(receive, m.XlogLocation)
	row.ReplayLSN = cmp.Or(replay, m.XlogLocation)
	row.ReceiveLag, row.ReplayLag = lagOf(row.ReceiveLSN, head), lagOf(row.ReplayLSN, head)
	return row.received()
}

// received mends a receive position behind the replayed one: a receiver that was
// just started tells the beginning of its segment, although the server has more.
func (m Member) received() Member {
	if m.ReceiveLSN < m.ReplayLSN {
		m.ReceiveLSN, m.ReceiveLag = m.ReplayLSN, m.ReplayLag
	}
	return m
}

func lagOf(at, head cluster.LSN) *uint64 {
	if !at.Known() || !head.Known() {
		return nil
	}
	lag := at.Behind(head)
	return &lag
}

func roleOf(v cluster.View, m cluster.Member, settings cluster.Settings) MemberRole {
	switch {
	case v.HolderIs(m.Name) && m.Role == cluster.RoleStandbyLeader:
		return RoleStandbyLeader
	case v.HolderIs(m.Name):
		return RoleLeader
	case m.Role == cluster.RolePrimary && m.State == cluster.StateRunning:
		return RolePrimary
	case v.Sync == nil || v.Leader == nil || v.Sync.Leader != v.Leader.Name || !listed(v.Sync.SyncStandby, m.Name):
		return RoleReplica
	case settings.SynchronousMode == "quorum":
		return RoleQuorumStandby
	}
	return RoleSyncStandby
}

// listed looks a name up in a comma list the way PostgreSQL does, regardless of
// case.
func listed(list, name string) bool {
	for entry := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(entry), name) {
			return true
		}
	}
	return false
}

// gateWords says how commits wait for the gate; empty when nobody asked for that.
func gateWords(settings cluster.Settings, state cluster.GateState) string {
	switch {
	case state == cluster.GateMissing:
		return "not connected, commits wait for it"
	case settings.CommitGate && state == cluster.GateOff:
		return "on, not in force on the primary"
	case state == cluster.GateConnected:
		return "on, connected"
	}
	return ""
}

// switchoverWords tells how far a switchover has come; empty when none is.
func switchoverWords(v cluster.View) string {
	s := v.Switchover
	if s == nil {
		if v.Failover.Empty() || v.Failover.ScheduledAt != "" {
			return ""
		}
		return fmt.Sprintf("asked for: from %s to %s", cmp.Or(v.Failover.Leader, "nobody"), cmp.Or(v.Failover.Member, "the best candidate"))
	}
	switch s.Phase {
	case cluster.SwitchoverPreparing:
		return fmt.Sprintf("from %s to %s: the candidate gets ready, no impact yet", s.From, s.To)
	case cluster.SwitchoverHolding:
		return fmt.Sprintf("from %s to %s: poolers let transactions end", s.From, s.To)
	case cluster.SwitchoverStopping:
		return fmt.Sprintf("from %s to %s: %s is shutting down", s.From, s.To, s.From)
	case cluster.SwitchoverAborted:
		return "" // the old primary carries on; the result told its asker why
	}
	return fmt.Sprintf("from %s to %s: %s", s.From, s.To, s.Phase)
}

// leaderNote says what is wrong with a holder that does not run.
func (o Overview) leaderNote() []string {
	if o.Leader == "" {
		return nil
	}
	m, ok := o.Member(o.Leader)
	switch {
	case !ok:
		return []string{fmt.Sprintf("%s holds the leader key but has no member key: its agent is starting or has just gone", o.Leader)}
	case m.State != string(cluster.StateRunning):
		return []string{fmt.Sprintf("%s holds the leader key, its server is %q: no writes until it runs%s", m.Name, m.State, why(m.Reason))}
	}
	return nil
}

// promotionNote tells of a holder whose server is not out of recovery yet; only
// the store shows it.
func promotionNote(v cluster.View) []string {
	m, ok := v.LeaderMember()
	switch {
	case !ok || m.State != cluster.StateRunning:
	case m.Role != cluster.RolePrimary && m.Role != "master" && m.Role != cluster.RoleStandbyLeader:
		var reason cluster.Reason
		if m.Keeper != nil {
			reason = m.Keeper.Reason
		}
		return []string{fmt.Sprintf("%s holds the leader key and is still %q: promotion is under way%s", m.Name, m.Role, why(reason))}
	}
	return nil
}

// why is a member's own reason in brackets, in words.
func why(reason cluster.Reason) string {
	if reason == "" {
		return ""
	}
	return fmt.Sprintf(" (it says: %s)", words(reason))
}

// words turns a reason code into words: not_a_candidate, not a candidate.
func words(r cluster.Reason) string { return strings.ReplaceAll(string(r), "_", " ") }
