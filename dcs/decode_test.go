package dcs

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// viewOf folds pairs given as key, value, key, value, ... with mod_revision 7
// and lease 9.
func viewOf(pairs ...string) cluster.View {
	s := NewStore(nil, "service", "batman")
	e := WatchEvent{Revision: 7}
	for i := 0; i < len(pairs); i += 2 {
		p := Pair{Key: s.key(pairs[i]), Value: []byte(pairs[i+1]), ModRevision: 7, Lease: 9}
		e.Changes = append(e.Changes, Change{Pair: p})
	}
	return s.Fold(cluster.View{}, e)
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestTheBaseIsSqueezedAsPatroniDoes(t *testing.T) {
	for _, c := range [][3]string{
		{"service", "batman", "/service/batman"}, {"/service/", "batman", "/service/batman"},
		{"//a//b/", "/c", "/a/b/c"}, {"", "batman", "/batman"},
	} {
		if got := NewStore(nil, c[0], c[1]).Base(); got != c[2] {
			t.Errorf("namespace %q, scope %q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestAMemberKeyOfPatroniIsRead(t *testing.T) {
	v := viewOf("members/pg-2", `{"conn_url":"postgres://10.0.0.2:5432/postgres","api_url":"http://10.0.0.2:8008/patroni","state":"running","role":"master","version":"3.0.2","xlog_location":67395656,"timeline":3,"tags":{"clonefrom":true,"failover_priority":2},"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"200"}},"unknown":[1]}`)
	m := v.Members["pg-2"]
	want := cluster.Member{Name: "pg-2", ConnURL: "postgres://10.0.0.2:5432/postgres", APIURL: "http://10.0.0.2:8008/patroni",
		State: "running", Role: cluster.RolePrimary, Version: "3.0.2", XlogLocation: 67395656, Timeline: 3,
		Tags: cluster.Tags{"clonefrom": true, "failover_priority": 2.0}, PendingRestart: true,
		PendingReason: map[string]cluster.PendingReason{"max_connections": {Old: "100", New: "200"}}, LeaseID: 9, ModRevision: 7}
	same(t, want, m)
	same(t, []string(nil), v.Problems)
}

func TestAMemberKeyInTheOldURLFormIsRead(t *testing.T) {
	v := viewOf("members/a", "postgres://u:p@127.0.0.1:5432/postgres?application_name=http://127.0.0.1:8008/patroni&sslmode=require")
	same(t, cluster.Member{Name: "a", ConnURL: "postgres://u:p@127.0.0.1:5432/postgres?sslmode=require",
		APIURL: "http://127.0.0.1:8008/patroni", LeaseID: 9, ModRevision: 7}, v.Members["a"])
	bad := viewOf("members/a", "postgres://u:secret@%zz/")
	if len(bad.Problems) != 1 || strings.Contains(bad.Problems[0], "secret") {
		t.Errorf("problems are %q, want one line without the password", bad.Problems)
	}
}

func TestOneBadFieldOfAMemberKeepsTheOthers(t *testing.T) {
	v := viewOf("members/a", `{"state":"running","timeline":"three","xlog_location":5}`)
	m := v.Members["a"]
	if m.State != "running" || m.XlogLocation != 5 || m.Timeline != 0 {
		t.Errorf("member is %+v", m)
	}
	if len(v.Problems) != 1 || !strings.Contains(v.Problems[0], `"members/a"`) || !strings.Contains(v.Problems[0], "timeline") {
		t.Errorf("problems are %q, want one that names key and field", v.Problems)
	}
}

func TestFailoverWishes(t *testing.T) {
	for _, c := range []struct {
		value           string
		leader, member  string
		problem, absent bool
	}{
		{value: `{}`},
		{value: ``},
		{value: `{"leader":"a","member":"b","scheduled_at":null}`, leader: "a", member: "b"},
		{value: `{"member":"b"}`, member: "b"},
		{value: `a:b`, leader: "a", member: "b"},
		{value: `a:`, leader: "a"},
		{value: ` : b `, member: "b"},
		{value: `nonsense`, problem: true},
		{value: `a:b:c`, problem: true},
		{value: `{"leader":`, problem: true},
		{value: `["a","b"]`, problem: true},
	} {
		v := viewOf("failover", c.value)
		if f := v.Failover; f.Leader != c.leader || f.Member != c.member || f.ModRevision != 7 || v.FailoverRev != 7 || (len(v.Problems) > 0) != c.problem {
			t.Errorf("%q: %+v, problems %q", c.value, f, v.Problems)
		}
	}
}

func TestUnreadableValuesDegradeToTheSafeSide(t *testing.T) {
	v := viewOf("initialize", "", "pgkeeper/beat", "x", "pgkeeper/release", "{}", "pgkeeper/handover", "1",
		"pgkeeper/paused_primary", "x", "pgkeeper/timelines", "[]", "config", `"text"`, "history", "{}", "sync", "-",
		"status", "{", "failsafe", "[]", "pgkeeper/holder", "", "pgkeeper/switchover", "null",
		"pgkeeper/requests/a/1", "x", "pgkeeper/results/1", "x", "pgkeeper/requests/broken", "x")
	if v.Beat == nil || v.Beat.ModRevision != 7 {
		t.Error("an unreadable beat still beats")
	}
	if v.Release != nil || v.Handover != nil {
		t.Error("an unreadable release or hand-over lets nobody skip the wait")
	}
	if v.PausedAt == nil || v.PausedAt.Name != "" || v.PausedAt.ModRevision != 7 {
		t.Error("an unreadable paused_primary names another node to everybody")
	}
	if v.Config == nil || v.Config.Raw != nil || v.Config.ModRevision != 7 {
		t.Errorf("config is %+v", v.Config)
	}
	if v.Initialize == nil || v.Initialize.SystemID != "" {
		t.Errorf("initialize is %+v", v.Initialize)
	}
	if _, err := NextTimelines(v.Timelines, 1, 2); err == nil {
		t.Error("numbers are handed out although nobody knows which are used")
	}
	if len(v.Requests) != 1 || v.Requests[0].ID != "1" || v.Requests[0].Member != "a" || v.Results["1"].ID != "1" {
		t.Errorf("requests %+v, results %+v", v.Requests, v.Results)
	}
	if len(v.Problems) != 14 {
		t.Errorf("%d problems, want one for each bad value:\n%s", len(v.Problems), strings.Join(v.Problems, "\n"))
	}
	if bad := viewOf("initialize", "no number"); bad.Initialize.SystemID != "no number" || len(bad.Problems) != 1 {
		t.Errorf("initialize is %+v: a bad identifier must not read as a bootstrap", bad.Initialize)
	}
}

func TestAProblemGoesWhenItsValueIsRepaired(t *testing.T) {
	s := NewStore(nil, "service", "batman")
	v := viewOf("sync", "x", "members/a", "x", `members/a": b`, "x")
	if len(v.Problems) != 3 {
		t.Fatalf("problems are %q", v.Problems)
	}
	fixed := s.Fold(v, WatchEvent{Revision: 8, Changes: []Change{{Pair: Pair{Key: s.key("members/a"), Value: []byte("{}"), ModRevision: 8}}}})
	if len(fixed.Problems) != 2 || len(v.Problems) != 3 {
		t.Errorf("before %q, after %q", v.Problems, fixed.Problems)
	}
}

func TestPositionsAreReadFromBothKeys(t *testing.T) {
	slots := map[string]cluster.LSN{"a": 5}
	same(t, &cluster.Positions{Optime: 7, Slots: slots, Retain: []string{"a"}}, viewOf("status", `{"optime":7,"slots":{"a":5},"retain_slots":["a"]}`).Status)
	same(t, &cluster.Positions{Optime: 7}, viewOf("status", `7`).Status)
	same(t, &cluster.Positions{Optime: 7}, viewOf("optime/leader", `7`).Status)
	same(t, &cluster.Positions{Optime: 8, Slots: slots}, viewOf("status", `{"optime":8,"slots":{"a":5}}`, "optime/leader", `7`).Status)
	if v := viewOf("optime/leader", "x"); v.Status != nil || len(v.Problems) != 1 {
		t.Errorf("status %+v, problems %q", v.Status, v.Problems)
	}
}

func TestABeatOfANewTermIsNamedByItsRevision(t *testing.T) {
	same(t, &cluster.Beat{TTL: 5000, Term: 7, ModRevision: 7}, viewOf("pgkeeper/beat", `{"ttl_ms":5000,"term":0}`).Beat)
	same(t, &cluster.Beat{TTL: 5000, Term: 3, ModRevision: 7}, viewOf("pgkeeper/beat", `{"ttl_ms":5000,"term":3}`).Beat)
}

func TestValuesAreWrittenInPatronisForm(t *testing.T) {
	show := func(value []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(value)
	}
	for _, c := range [][2]string{
		{show(encodeSync(cluster.Sync{})), `{"leader":null,"quorum":0,"sync_standby":null}`},
		{show(encodeSync(cluster.Sync{Leader: "a", Quorum: 1, SyncStandby: "b,c"})), `{"leader":"a","quorum":1,"sync_standby":"b,c"}`},
		{show(encodeFailover(cluster.Failover{})), `{}`},
		{show(encodeFailover(cluster.Failover{Leader: "a", Member: "b"})), `{"leader":"a","member":"b"}`},
		{show(encodeHistory(nil)), `[]`},
		{show(encodeHistory(cluster.History{{Timeline: 1, Switch: 67395656, Reason: "no recovery target specified", Time: "t", NewLeader: "b"}})), `[[1,67395656,"no recovery target specified","t","b"]]`},
		{show(compact(cluster.Positions{Optime: 5, Slots: map[string]cluster.LSN{"a": 1}})), `{"optime":5,"slots":{"a":1}}`},
		{show(compact(cluster.Member{ConnURL: "postgres://h/p?a&b", State: "running", Role: "replica", Version: "4.1.4"})),
			`{"conn_url":"postgres://h/p?a&b","api_url":"","state":"running","role":"replica","version":"4.1.4"}`},
		{show(compactObject([]byte("{ \"ttl\" : 10,\n \"a\": \"<b>\" }"))), `{"ttl":10,"a":"<b>"}`},
	} {
		if c[0] != c[1] {
			t.Errorf("wrote %s, want %s", c[0], c[1])
		}
	}
}

func TestFoldingLeavesTheOlderViewAlone(t *testing.T) {
	s := NewStore(nil, "service", "batman")
	old := viewOf("members/a", `{"state":"running"}`, "pgkeeper/requests/a/1", `{"kind":"reload"}`, "pgkeeper/results/1", `{}`, "sync", "x")
	keep := viewOf("members/a", `{"state":"running"}`, "pgkeeper/requests/a/1", `{"kind":"reload"}`, "pgkeeper/results/1", `{}`, "sync", "x")
	var gone []Change
	for _, key := range []string{"members/a", "pgkeeper/requests/a/1", "pgkeeper/results/1", "sync", "leader"} {
		gone = append(gone, Change{Pair: Pair{Key: s.key(key), ModRevision: 8}, Deleted: true})
	}
	next := s.Fold(old, WatchEvent{Revision: 8, Changes: gone})
	same(t, keep, old)
	if len(next.Members)+len(next.Requests)+len(next.Results)+len(next.Problems) != 0 || next.Revision != 8 {
		t.Errorf("view is %+v", next)
	}
}

func TestKeysOfOthersAreLeftAlone(t *testing.T) {
	v := viewOf("0/leader", "x", "members/a/b", "x", "pgkeeper/new", "x", "leader2", "x")
	if v.Leader != nil || len(v.Members) != 0 || len(v.Problems) != 0 {
		t.Errorf("view is %+v", v)
	}
}

// scripted is a KV whose watch delivers what the test gives it.
type scripted struct {
	KV
	events chan WatchEvent
}

func (s scripted) Watch(context.Context, string, int64) <-chan WatchEvent { return s.events }

func TestAWatchEndsWithTheReasonAndLetsASlowReaderCatchUp(t *testing.T) {
	kv := scripted{events: make(chan WatchEvent)}
	s := NewStore(kv, "service", "batman")
	updates := s.Watch(t.Context(), cluster.View{})
	for rev := int64(1); rev <= 3; rev++ { // the reader does not read meanwhile
		kv.events <- WatchEvent{Revision: rev, Changes: []Change{{Pair: Pair{Key: s.key("leader"), Value: []byte("a"), ModRevision: rev}}}}
	}
	if u := <-updates; u.Err != nil || u.View.Revision != 3 || u.View.Leader.Term != 3 {
		t.Errorf("update is %+v, want the newest view", u)
	}
	kv.events <- WatchEvent{Err: ErrCompacted}
	if u := <-updates; u.Err == nil {
		t.Errorf("update is %+v, want the reason", u)
	}
	if _, open := <-updates; open {
		t.Error("the channel stays open")
	}
}

func TestTimelineNumbersAreNeverReused(t *testing.T) {
	var current *cluster.Timelines
	for i := range 250 {
		next, err := NextTimelines(current, cluster.Term(i), 2)
		if err != nil {
			t.Fatal(err)
		}
		if want := cluster.Timeline(i + 2); next.Highest() != want || len(next.Reserved) > mostReservations {
			t.Fatalf("step %d: highest %d of %d, want %d", i, next.Highest(), len(next.Reserved), want)
		}
		current = &next
	}
	last := &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 1<<32 - 1}}}
	if _, err := NextTimelines(last, 1, 1); err == nil {
		t.Error("the number after the last one is 0")
	}
	low := &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 9, Term: 1}, {Timeline: 3, Term: 2}}}
	if next, _ := NextTimelines(low, 3, 4); next.Highest() != 10 {
		t.Errorf("got %+v, want 10", next)
	}
}

// No key at all is revision 0 and an empty list, which is readable.
func TestTheFirstTimelineNumberIsReservedFromAnEmptyList(t *testing.T) {
	if next, err := NextTimelines(&cluster.Timelines{}, 7, 2); err != nil || next.Of(7) != 2 {
		t.Errorf("reserved %+v, %v, want number 2 for term 7", next, err)
	}
}

// TestAWishWhoseAnswerNoKeyCouldHoldAsksForNone: somebody wrote the key by hand; a holder
// that could not answer would refuse the wish again and again, and do nothing else.
func TestAWishWhoseAnswerNoKeyCouldHoldAsksForNone(t *testing.T) {
	for value, want := range map[string]string{`{"member":"b","id":"x-1"}`: "x-1", `{"member":"b","id":"a/b"}`: "", `{"member":"b"}`: ""} {
		if f := viewOf("failover", value).Failover; f.ID != want || f.Member != "b" {
			t.Errorf("%s: %+v", value, f)
		}
	}
}
