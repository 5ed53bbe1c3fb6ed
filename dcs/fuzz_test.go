package dcs

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

var fuzzKeys = []string{
	keyInitialize, keyLeader, keyMembers + "a", keyConfig, keyFailover, keySync, keyHistory, keyStatus, keyOptime,
	keyFailsafe, keyBeat, keyHolder, keyHandover, keyRelease, keyTimelines, keySwitchover, keyPausedPrimary,
	keyRequests + "a/1", keyResults + "1", "citus/0/leader",
}

// FuzzView: no value of any key stops a view, and a deleted key leaves nothing.
func FuzzView(f *testing.F) {
	for i, key := range fuzzKeys {
		for _, value := range []string{"", "{}", "null", "[]", "7", `"x"`, "postgres://a/b?application_name=http://c", "a:b",
			`{"term":1,"by":"a","reserved":[{"timeline":1,"term":2}]}`, `{"optime":-1}`, `[[1,2,"r"],[3]]`, "\xff", `{"tags":{"a":[1]}}`} {
			f.Add(key, []byte(value), int64(i))
		}
	}
	f.Fuzz(func(t *testing.T, key string, value []byte, rev int64) {
		s := NewStore(nil, "service", "x")
		given := bytes.Clone(value)
		change := Change{Pair: Pair{Key: s.key(key), Value: value, ModRevision: rev, Lease: 3}}
		v := s.Fold(cluster.View{}, WatchEvent{Revision: rev, Changes: []Change{change}})
		again := s.Fold(v, WatchEvent{Revision: rev, Changes: []Change{change}})
		if !reflect.DeepEqual(v, again) {
			t.Errorf("folding the same change twice gives\n%+v, then\n%+v", v, again)
		}
		if !bytes.Equal(given, value) {
			t.Error("the value was changed")
		}
		change.Deleted = true
		gone := s.Fold(v, WatchEvent{Revision: rev, Changes: []Change{change}})
		if len(gone.Members)+len(gone.Requests)+len(gone.Results)+len(gone.Problems) != 0 ||
			gone.Leader != nil || gone.Beat != nil || gone.Release != nil || gone.Config != nil || gone.History != nil {
			t.Errorf("the deleted key left %+v", gone)
		}
	})
}

// FuzzFailover: a wish that is read is the wish that is written back.
func FuzzFailover(f *testing.F) {
	for _, value := range []string{"", "{}", "a:b", ":b", "a:", "a:b:c", `{"leader":"a"}`, `{"member":1}`, " a : b ", "{:}", ":\x80"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		wish, err := decodeFailover(Pair{Value: []byte(value), ModRevision: 7})
		if wish == nil || wish.ModRevision != 7 {
			t.Fatalf("wish is %+v", wish)
		}
		if err != nil && !wish.Empty() {
			t.Errorf("%q was refused (%v) and read as %+v", value, err, wish)
		}
		written, err := encodeFailover(*wish)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeFailover(Pair{Value: written})
		if err != nil || again.Leader != wish.Leader || again.Member != wish.Member {
			t.Errorf("%q read as %+v, written as %s, read as %+v (%v)", value, wish, written, again, err)
		}
	})
}

// FuzzMember: the key names the member, whatever the value says, and a password
// in an unreadable URL stays out of the problems.
func FuzzMember(f *testing.F) {
	for _, value := range []string{"{}", `{"name":"b","role":"master"}`, "postgres://u:p@h/d?application_name=x", "postgresql://%zz", `{"timeline":-1}`} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var fold folder
		err := fold.setMember("a", Change{Pair: Pair{Value: value, Lease: 3, ModRevision: 7}})
		m := fold.view.Members["a"]
		if m.Name != "a" || m.LeaseID != 3 || m.ModRevision != 7 || m.Role == "master" {
			t.Errorf("member is %+v", m)
		}
		if err != nil && strings.HasPrefix(string(value), "postgres") && strings.Contains(err.Error(), string(value)) {
			t.Errorf("the URL is in the error: %v", err)
		}
	})
}

// FuzzEncode: what is written by hand is what encoding/json writes.
func FuzzEncode(f *testing.F) {
	f.Add("postgres://a:5432/b", "running", "", "leading", uint64(7), int64(-3), uint32(2), uint8(0xff))
	f.Add("<&>", "a\"b", "\\", "ä\x00\u2028", uint64(0), int64(0), uint32(0), uint8(0))
	f.Add("\xff", "\n", "\x7f", "a/b", ^uint64(0), int64(1), uint32(1), uint8(0x55))
	f.Add("a", "b", "c", "d", uint64(1), int64(2), uint32(3), uint8(0x84))
	f.Fuzz(func(t *testing.T, a, b, c, d string, n uint64, i int64, u uint32, bits uint8) {
		has := func(bit int) bool { return bits>>bit&1 == 1 }
		m := cluster.Member{ConnURL: a, APIURL: b, State: cluster.State(c), Role: cluster.Role(d), Version: a, ProxyURL: c, PendingRestart: has(0),
			XlogLocation: cluster.LSN(n), ReceiveLSN: cluster.LSN(n >> 1), ReplayLSN: cluster.LSN(n >> 2), ReplicationState: d, Timeline: cluster.Timeline(u), Pause: has(1)}
		p := cluster.Positions{Optime: cluster.LSN(n), Timeline: cluster.Timeline(u)}
		if has(2) {
			m.Keeper = &cluster.MemberKeeper{Version: a, Node: b, Promised: cluster.Term(i), Vacancy: i, Switchover: c, Gone: i, Reason: cluster.Reason(d), Progress: a, Gate: cluster.GateState(b)}
			p.Slots = map[string]cluster.LSN{a: 1, b: cluster.LSN(n), c: 3}
			p.Replayed = map[string]cluster.LSN{d: 4, a: cluster.LSN(n)}
		}
		if has(3) {
			m.CheckpointAfterPromote = new(has(4))
		}
		if has(5) && m.Keeper != nil {
			m.Keeper.Position = &cluster.Position{Timeline: cluster.Timeline(u), LSN: cluster.LSN(n)}
		}
		if has(6) {
			m.Tags, p.Retain = cluster.Tags{a: b}, []string{a}
		}
		if has(7) && m.Keeper != nil {
			m.Keeper.SyncCommit = &cluster.SyncCommit{Weakened: []cluster.Weakening{{Role: a, Value: b}}, CancelledWaits: &i}
			m.Keeper.StoreTroubles = []cluster.StoreTrouble{{Kind: cluster.StoreTroubleKind(c), Endpoint: d}}
		}
		beat := cluster.Beat{TTL: i, Term: cluster.Term(n)}
		same := func(by []byte, err error, v any) {
			t.Helper()
			want, wantErr := compact(v)
			if !bytes.Equal(by, want) || (err == nil) != (wantErr == nil) {
				t.Errorf("by hand %s (%v), by encoding/json %s (%v)", by, err, want, wantErr)
			}
		}
		byHand, err := encodeMember(&m)
		same(byHand, err, m)
		byHand, err = encodeStatus(&p)
		same(byHand, err, p)
		same(encodeBeat(&beat), nil, beat)
	})
}
