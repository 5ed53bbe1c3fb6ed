package cluster

import (
	"encoding/json"
	"strings"
)

// View is everything the store says about one cluster at one revision.
// Unparsable values degrade to their zero value and are named in Problems.
type View struct {
	// ClusterID names the etcd cluster, Revision its state. Revisions of two
	// etcd clusters cannot be compared (S4).
	ClusterID uint64
	Revision  int64
	// News is the newest revision that changed more than positions and the beat of the
	// holder: between two views of the same News there is nothing to be decided anew
	// while that holder leads; 0 is not known.
	News int64

	Initialize  *Initialize
	Leader      *Leader
	Members     map[string]Member
	Config      *Config
	Failover    *Failover
	Sync        *Sync
	Durability  *Durability
	History     History
	Status      *Positions
	Failsafe    map[string]string
	Beat        *Beat
	Holder      *Holder
	Handover    *Handover
	Release     *Release
	Timelines   *Timelines
	Switchover  *Switchover
	PausedAt    *PausedPrimary
	Requests    []Request
	Results     map[string]Result
	Problems    []string
	HistoryRev  int64
	FailoverRev int64
	// FailsafeRev is the mod_revision of Failsafe, 0 while there is none.
	FailsafeRev int64
	// PeerKeyRev is the mod_revision of the agents' common secret, 0 while there
	// is none. The secret itself is in no view.
	PeerKeyRev int64
}

// Initialize is the key `initialize`: empty while a member bootstraps, then the
// system identifier.
type Initialize struct {
	SystemID    string
	LeaseID     int64
	ModRevision int64
}

// Leader is the leader key.
type Leader struct {
	Name string
	// LeaseID is the lease the key lives on: the member's own.
	LeaseID int64
	// Term is the key's mod_revision.
	Term Term
}

// Config is the dynamic configuration as stored.
type Config struct {
	Raw         json.RawMessage
	ModRevision int64
}

// Failover is an operator's wish: a switchover when Leader is set, a manual
// failover when only Member is. Patroni clears it by writing {}.
type Failover struct {
	Leader      string `json:"leader,omitempty"`
	Member      string `json:"member,omitempty"`
	ScheduledAt string `json:"scheduled_at,omitempty"`
	// ID links the wish to the result key its asker waits for; empty when
	// Patroni's tools wrote it.
	ID string `json:"id,omitempty"`
	// Force says that the operator vouches for the old primary being dead.
	Force       bool  `json:"force,omitempty"`
	ModRevision int64 `json:"-"`
}

// Empty reports whether nothing is wished for.
func (f *Failover) Empty() bool { return f == nil || (f.Leader == "" && f.Member == "") }

// Sync is the key `sync` as Patroni writes it.
type Sync struct {
	Leader      string `json:"leader"`
	Quorum      int    `json:"quorum"`
	SyncStandby string `json:"sync_standby"`
	ModRevision int64  `json:"-"`
}

// Rule is what the key says of commits: with a quorum of q of its n names, n-q of them
// have each; without, all of them have. The leader has it anyway.
func (s *Sync) Rule() Rule {
	r := Rule{Primary: s.Leader}
	for name := range strings.SplitSeq(s.SyncStandby, ",") {
		if name = strings.TrimSpace(name); name != "" {
			r.Voters = append(r.Voters, name)
		}
	}
	r.Need = max(0, len(r.Voters)-s.Quorum)
	return r
}

// Positions is the key `status`: how far the primary has written.
type Positions struct {
	Optime LSN            `json:"optime"`
	Slots  map[string]LSN `json:"slots,omitempty"`
	Retain []string       `json:"retain_slots,omitempty"`
	// Timeline is pgkeeper's addition: the timeline Optime lies on.
	Timeline Timeline `json:"timeline,omitempty"`
	// Parent is the timeline that Timeline began on, Switch where. They say what the key
	// history cannot: of two timelines that left one at the same position, which it is.
	Parent Timeline `json:"parent,omitempty"`
	Switch LSN      `json:"switch,omitempty"`
	// Replayed is how far the members that stream from the primary had replayed, as it knew
	// when it was at Optime. Pgkeeper's addition too.
	Replayed map[string]LSN `json:"replayed,omitempty"`
}

// Reached is how far a member is known to be, by its own key or by what its primary has
// published, whichever is newer. Its own is written apart from the primary's: by that alone
// a standby that has everything would seem to be behind by all that was written in between.
func (v *View) Reached(m *Member) (receive, replay LSN) {
	receive, replay = m.ReceiveLSN, m.ReplayLSN
	s := v.Status
	if s == nil || s.Timeline == 0 || s.Timeline != m.Timeline || m.State != StateRunning || m.ReplicationState != "streaming" {
		return receive, replay
	}
	replay = max(replay, s.Replayed[m.Name])
	return max(receive, s.Slots[SlotName(m.Name)], replay), replay
}

// Beat proves that the holder's renewals commit. Its mod_revision changes with
// every renewal that counts.
type Beat struct {
	// TTL is the T in force, in milliseconds.
	TTL         int64 `json:"ttl_ms"`
	Term        Term  `json:"term"`
	ModRevision int64 `json:"-"`
}

// Holder says for which server the leader key was taken.
type Holder struct {
	Name string `json:"name"`
	// Node is the random id of the holder's state directory.
	Node string `json:"node"`
	// Instance is the guard's id of the running server; empty before a start.
	Instance string `json:"instance,omitempty"`
	// BootID is the holder's machine boot, from the kernel.
	BootID string `json:"boot_id,omitempty"`
	// Since is the term that this tenure began with, where it has another by now; what was
	// reserved under it is still this holder's.
	Since Term `json:"since,omitempty"`
}

// Handover records that From gave the leader key to To in one transaction, its
// server proved stopped at Position.
type Handover struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	ID       string   `json:"id,omitempty"`
	Position Position `json:"position"`
	// ModRevision equals the term the successor inherits.
	ModRevision int64 `json:"-"`
}

// Release is written by a holder under its term, after its server was proved
// stopped, in the transaction that deletes the leader key. While it is the
// newest word on the lease, candidates need not wait for T.
type Release struct {
	By       string   `json:"by"`
	Term     Term     `json:"term"`
	Position Position `json:"position"`
	// Clean: Position is where a clean shutdown ended; nothing was acknowledged
	// beyond. Otherwise it is where recovery would begin.
	Clean bool `json:"clean,omitempty"`
	// BeatRevision is the last beat of the released term: a newer beat makes
	// the release void.
	BeatRevision int64 `json:"beat_revision"`
	ModRevision  int64 `json:"-"`
}

// Reservation gives one timeline number to one term (S8).
type Reservation struct {
	Timeline Timeline `json:"timeline"`
	Term     Term     `json:"term"`
}

// Timelines lists the reserved timeline numbers, oldest first.
type Timelines struct {
	Reserved    []Reservation `json:"reserved"`
	ModRevision int64         `json:"-"`
}

// Highest is the greatest number ever reserved; zero when none was.
func (t *Timelines) Highest() Timeline {
	var highest Timeline
	if t != nil {
		for _, r := range t.Reserved {
			highest = max(highest, r.Timeline)
		}
	}
	return highest
}

// Of returns the number reserved for term; zero when there is none.
func (t *Timelines) Of(term Term) Timeline {
	if t != nil {
		for _, r := range t.Reserved {
			if r.Term == term {
				return r.Timeline
			}
		}
	}
	return 0
}

// SwitchoverPhase is how far a switchover has come; each is recorded before the
// step it names, so that a new worker resumes or rolls back (SAFETY 7).
type SwitchoverPhase string

// The phases of a switchover.
const (
	// SwitchoverPreparing: the candidate readies itself, nothing has an impact.
	SwitchoverPreparing SwitchoverPhase = "preparing"
	// SwitchoverHolding: both ends are ready, and poolers let transactions end and keep
	// new ones waiting: the gap has begun for them. Left out where nobody drives one.
	SwitchoverHolding SwitchoverPhase = "holding"
	// SwitchoverStopping: the primary shuts down; the gap has begun.
	SwitchoverStopping SwitchoverPhase = "stopping"
	// SwitchoverAborted: rolled back; the old primary carries on.
	SwitchoverAborted SwitchoverPhase = "aborted"
)

// Switchover is a switchover under way, written by the holder under its term.
type Switchover struct {
	ID    string          `json:"id"`
	From  string          `json:"from"`
	To    string          `json:"to"`
	Phase SwitchoverPhase `json:"phase"`
	Term  Term            `json:"term"`
	// Why says in words why an aborted one was rolled back.
	Why         string `json:"why,omitempty"`
	ModRevision int64  `json:"-"`
}

// PausedPrimary names the member that was primary while the cluster was paused.
// It has no lease; nobody else elects while it stands (SAFETY 2, Pause).
type PausedPrimary struct {
	Name        string `json:"name"`
	ModRevision int64  `json:"-"`
}

// HolderIs reports whether name holds the leader key.
func (v View) HolderIs(name string) bool { return v.Leader != nil && v.Leader.Name == name }

// HasPatroni reports whether a member runs Patroni.
func (v View) HasPatroni() bool {
	for _, m := range v.Members { // in any order
		if !m.IsKeeper() {
			return true
		}
	}
	return false
}

// LeaderMember returns the member key of the holder.
func (v *View) LeaderMember() (Member, bool) {
	if v.Leader == nil {
		return Member{}, false
	}
	m, ok := v.Members[v.Leader.Name]
	return m, ok
}
