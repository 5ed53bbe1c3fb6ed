package cluster

import (
	"fmt"
	"slices"
	"time"
)

// StoreHealth is how the store itself does, as far as one client can tell.
type StoreHealth struct {
	// Troubles are what is wrong, sorted; none means that nothing was found.
	Troubles []StoreTrouble
	// LeaderHere tells that the store's own leader runs on this machine.
	LeaderHere bool
	// Elections counts the elections of the store's leader that were noticed.
	Elections int64
	// WriteMedian is what the client's last writes took; 0 when there were too few.
	WriteMedian time.Duration
	// DBSize is the greatest database of a member that was asked, in bytes.
	DBSize int64
	// CertificateEnds is when the first of the certificates ends, the client's or a
	// server's, in seconds of Unix time; 0 without certificates.
	CertificateEnds int64
}

// StoreTrouble is one thing that is wrong with the store itself: what, where, and what
// to do about it. Its words stay the same as long as it lasts.
type StoreTrouble struct {
	Kind StoreTroubleKind `json:"kind"`
	// Endpoint is where it was noticed, or empty when it is no single member's.
	Endpoint string `json:"endpoint,omitempty"`
	// Member is the id of the store's member, as etcdctl prints it; empty when unknown.
	Member string `json:"member,omitempty"`
	Detail string `json:"detail"`
	Advice string `json:"advice"`
}

// StoreTroubleKind names a trouble in metrics, logs and JSON.
type StoreTroubleKind string

// The kinds of trouble.
const (
	StoreNoSpace     StoreTroubleKind = "no_space"
	StoreCorrupt     StoreTroubleKind = "corrupt"
	StoreAlarm       StoreTroubleKind = "alarm"
	StoreNearlyFull  StoreTroubleKind = "nearly_full"
	StoreNoLeader    StoreTroubleKind = "no_leader"
	StoreFlapping    StoreTroubleKind = "leader_flapping"
	StoreSlowWrites  StoreTroubleKind = "slow_writes"
	StoreUnreachable StoreTroubleKind = "unreachable"
	StoreDenied      StoreTroubleKind = "denied"
	StoreCertificate StoreTroubleKind = "certificate"
)

// StoreTroubleKinds are all kinds, for metrics that say 0 as well.
func StoreTroubleKinds() []StoreTroubleKind {
	return []StoreTroubleKind{StoreNoSpace, StoreCorrupt, StoreAlarm, StoreNearlyFull, StoreNoLeader, StoreFlapping,
		StoreSlowWrites, StoreUnreachable, StoreDenied, StoreCertificate}
}

// Same reports whether both are the same trouble, in whatever words.
func (t StoreTrouble) Same(other StoreTrouble) bool {
	if t.Kind != other.Kind {
		return false
	}
	if t.Member != "" && other.Member != "" {
		return t.Member == other.Member
	}
	return t.Endpoint == other.Endpoint
}

// String is the trouble in one line: what, where, what to do.
func (t StoreTrouble) String() string {
	where := t.Endpoint
	switch {
	case t.Endpoint != "" && t.Member != "":
		where = fmt.Sprintf("%s (member %s)", t.Endpoint, t.Member)
	case t.Member != "":
		where = "member " + t.Member
	}
	if where != "" {
		where = " at " + where
	}
	return fmt.Sprintf("%s%s: %s: %s", t.Kind, where, t.Detail, t.Advice)
}

// MergeTroubles is both lists, each trouble once, in the words of the first.
func MergeTroubles(first, second []StoreTrouble) []StoreTrouble {
	all := slices.Clone(first)
	for _, t := range second {
		if !slices.ContainsFunc(all, t.Same) {
			all = append(all, t)
		}
	}
	return all
}
