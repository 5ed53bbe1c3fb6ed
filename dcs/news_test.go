package dcs

import (
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestOnlyPositionsAreNoNews: what decisions rest on moves View.News; a position does
// not, nor does one more beat.
func TestOnlyPositionsAreNoNews(t *testing.T) {
	const base = "/service/x"
	value := func(v any) []byte {
		text, err := compact(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	member := cluster.Member{State: cluster.StateRunning, Role: cluster.RoleReplica, Timeline: 2, XlogLocation: 100, Keeper: &cluster.MemberKeeper{Node: "n", Reason: "following"}}
	status := cluster.Positions{Optime: 100, Timeline: 2, Retain: []string{"gone"}}
	s := &Store{base: base}
	put := func(v cluster.View, rev int64, key string, text []byte, lease int64) cluster.View {
		return s.Fold(v, WatchEvent{Revision: rev, Changes: []Change{{Pair: Pair{Key: base + "/" + key, Value: text, Lease: lease, ModRevision: rev}}}})
	}
	first := put(put(cluster.View{}, 1, "members/a", value(member), 7), 2, "status", value(status), 0)
	first = put(put(first, 3, "leader", []byte("a"), 7), 4, "pgkeeper/beat", []byte(`{"ttl_ms":10000,"term":0}`), 0)
	if first.Beat.Term = first.Leader.Term; first.News != 4 { // one transaction has made both
		t.Fatalf("the first values are at %d, want them to be news", first.News)
	}
	change := func(f func(*cluster.Member)) []byte {
		m := member
		keeper := *member.Keeper
		m.Keeper = &keeper
		f(&m)
		return value(m)
	}
	moved := status
	moved.Optime, moved.Slots = 300, map[string]cluster.LSN{"a": 200}
	forgotten := status
	forgotten.Retain = nil
	for _, c := range []struct {
		name  string
		key   string
		value []byte
		lease int64
		news  bool
	}{
		{"a member's position", "members/a", change(func(m *cluster.Member) { m.XlogLocation, m.ReplayLSN = 200, 200 }), 7, false},
		{"its reason and progress", "members/a", change(func(m *cluster.Member) { m.Keeper.Reason, m.Keeper.Progress = "cloning", "43%" }), 7, false},
		{"its state", "members/a", change(func(m *cluster.Member) { m.State = cluster.StateStarting }), 7, true},
		{"that it finds the holder gone", "members/a", change(func(m *cluster.Member) { m.Keeper.Gone = 5 }), 7, true},
		{"its report in a race", "members/a", change(func(m *cluster.Member) { m.Keeper.Vacancy = 5 }), 7, true},
		{"its lease", "members/a", value(member), 8, true},
		{"another member", "members/b", value(member), 9, true},
		{"a key that cannot be read", "members/a", []byte("{"), 7, true},
		{"the primary's position", "status", value(moved), 0, false},
		{"whose slots it retains", "status", value(forgotten), 0, true},
		{"the leader key", "leader", []byte("a"), 7, true},
		{"another beat of the holder", "pgkeeper/beat", []byte(`{"ttl_ms":10000,"term":3}`), 0, false},
		{"a beat of another term", "pgkeeper/beat", []byte(`{"ttl_ms":10000,"term":7}`), 0, true},
		{"a beat that begins a term", "pgkeeper/beat", []byte(`{"ttl_ms":10000,"term":0}`), 0, true},
		{"a beat of another ttl", "pgkeeper/beat", []byte(`{"ttl_ms":1,"term":3}`), 0, true},
	} {
		if v := put(first, 5, c.key, c.value, c.lease); v.Revision != 5 || (v.News == 5) != c.news {
			t.Errorf("%s: news at %d of %d, want news %t", c.name, v.News, v.Revision, c.news)
		}
	}
	gone := s.Fold(first, WatchEvent{Revision: 5, Changes: []Change{{Pair: Pair{Key: base + "/members/a"}, Deleted: true}}})
	if gone.News != 5 {
		t.Error("a member that is gone is no news")
	}
	both := s.Fold(first, WatchEvent{Revision: 5, Changes: []Change{
		{Pair: Pair{Key: base + "/members/a", Value: change(func(m *cluster.Member) { m.State = cluster.StateStarting }), Lease: 7, ModRevision: 5}},
		{Pair: Pair{Key: base + "/members/a", Value: change(func(m *cluster.Member) { m.State, m.XlogLocation = cluster.StateStarting, 300 }), Lease: 7, ModRevision: 5}}}})
	if both.News != 5 {
		t.Error("a move hides the news before it")
	}
}
