package cluster_test

import (
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestWhatNobodyKnowsOfCommitsIsNeverZero(t *testing.T) {
	three := int64(3)
	none := []cluster.Weakening{}
	app := []cluster.Weakening{{Role: "app", Value: "off"}, {Database: "db", Value: "local"}, {Role: "x", Database: "db", Value: "off"}, {Value: "off"}}
	for _, c := range []struct {
		s                   cluster.SyncCommit
		weakened, cancelled string
	}{
		{cluster.SyncCommit{}, "unknown: nobody has looked yet", "unknown: nobody has looked yet"},
		{cluster.SyncCommit{WeakenedUnknown: "why", CancelledUnknown: "why not"}, "unknown: why", "unknown: why not"},
		{cluster.SyncCommit{Weakened: none, CancelledWaits: new(int64)}, "none", "0"},
		{cluster.SyncCommit{Weakened: none, WeakenedUnknown: "why", CancelledWaits: &three, CancelledUnknown: "why not"}, "unknown now: why", "3, and unknown now: why not"},
		{cluster.SyncCommit{Weakened: app, CancelledWaits: &three}, "role app (off), database db (local), role x in database db (off), the whole server (off)", "3"},
	} {
		if got := c.s.WeakenedWords(); got != c.weakened {
			t.Errorf("weakened: %q, want %q", got, c.weakened)
		}
		if got := c.s.CancelledWords(); got != c.cancelled {
			t.Errorf("cancelled: %q, want %q", got, c.cancelled)
		}
	}
}

func TestSyncCommitsAreEqualWhenAllIs(t *testing.T) {
	one, other, two := int64(1), int64(1), int64(2)
	a := &cluster.SyncCommit{Weakened: []cluster.Weakening{}, CancelledWaits: &one}
	for _, c := range []struct {
		b    *cluster.SyncCommit
		want bool
	}{
		{&cluster.SyncCommit{Weakened: []cluster.Weakening{}, CancelledWaits: &other}, true},
		{&cluster.SyncCommit{CancelledWaits: &one}, false}, // nobody looked is not none
		{&cluster.SyncCommit{Weakened: []cluster.Weakening{}, CancelledWaits: &two}, false},
		{&cluster.SyncCommit{Weakened: []cluster.Weakening{}}, false},
		{&cluster.SyncCommit{Weakened: []cluster.Weakening{}, CancelledWaits: &one, CancelledUnknown: "x"}, false},
		{&cluster.SyncCommit{Weakened: []cluster.Weakening{}, CancelledWaits: &one, WeakenedUnknown: "x"}, false},
		{nil, false},
	} {
		if got := a.Equal(c.b); got != c.want {
			t.Errorf("%+v: %v, want %v", c.b, got, c.want)
		}
	}
}

func TestACountThatGrewOnlyMovedAndAWeakenedRoleIsNews(t *testing.T) {
	member := func(count int64, weakened ...cluster.Weakening) *cluster.Member {
		return &cluster.Member{Keeper: &cluster.MemberKeeper{SyncCommit: &cluster.SyncCommit{Weakened: weakened, CancelledWaits: &count}}}
	}
	if !member(2).OnlyMoved(member(1)) {
		t.Error("a count that grew is news")
	}
	if member(2, cluster.Weakening{Role: "app", Value: "off"}).OnlyMoved(member(1)) {
		t.Error("a role that was weakened only moved")
	}
}

func TestTheSameTroubleIsNamedOnce(t *testing.T) {
	mine := []cluster.StoreTrouble{{Kind: cluster.StoreNoSpace, Endpoint: "http://127.0.0.1:2379", Member: "a1", Detail: "mine"}, {Kind: cluster.StoreSlowWrites, Endpoint: "a,b"}}
	theirs := []cluster.StoreTrouble{{Kind: cluster.StoreNoSpace, Endpoint: "http://10.0.0.1:2379", Member: "a1", Detail: "theirs"},
		{Kind: cluster.StoreNoSpace, Member: "a2"}, {Kind: cluster.StoreCertificate, Endpoint: "a,b"}, {Kind: cluster.StoreSlowWrites, Endpoint: "a,b"}}
	got := cluster.MergeTroubles(mine, theirs)
	if len(got) != 4 || got[0].Detail != "mine" || got[2].Member != "a2" || got[3].Kind != cluster.StoreCertificate {
		t.Errorf("got %v", got)
	}
	if len(mine) != 2 {
		t.Error("the first list was changed")
	}
}
