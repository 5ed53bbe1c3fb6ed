package cluster_test

import (
	"reflect"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// A field that Equal forgets would never be published when it alone changes.
func TestEqualComparesEveryFieldOfTheMemberKey(t *testing.T) {
	full := func() cluster.Member {
		return cluster.Member{
			ConnURL: "c", APIURL: "a", State: "s", Role: "r", Version: "v", ProxyURL: "p", CheckpointAfterPromote: new(bool),
			Tags: cluster.Tags{"x": []any{1}}, PendingRestart: true, PendingReason: map[string]cluster.PendingReason{"p": {Old: "1"}},
			XlogLocation: 1, ReceiveLSN: 2, ReplayLSN: 3, ReplicationState: "s", Timeline: 4,
			ScheduledRestart: map[string]any{"schedule": "x"}, Pause: true,
			Keeper: &cluster.MemberKeeper{Version: "v", Node: "n", Promised: 3, Vacancy: 1, Position: &cluster.Position{LSN: 1}, Switchover: "s", Gone: 1, Reason: "r", Progress: "p", Gate: "g", Watchdog: "w", Pooler: "p", Held: "h",
				SyncCommit: &cluster.SyncCommit{Weakened: []cluster.Weakening{{Role: "app", Value: "off"}}}, StoreTroubles: []cluster.StoreTrouble{{Kind: cluster.StoreNoSpace}}, Sick: "x"},
		}
	}
	a, same := full(), full()
	if !a.Equal(&same) {
		t.Error("equal members are not found equal")
	}
	check := func(what reflect.StructField, change func(*cluster.Member) reflect.Value) {
		b := full()
		if what.Tag.Get("json") == "-" {
			return
		}
		if field := change(&b); field.IsZero() {
			t.Errorf("the test's member leaves %s empty", what.Name)
		} else {
			field.SetZero()
		}
		if a.Equal(&b) || b.Equal(&a) {
			t.Errorf("a change of %s goes unnoticed", what.Name)
		}
	}
	for i := range reflect.TypeFor[cluster.Member]().NumField() {
		check(reflect.TypeFor[cluster.Member]().Field(i), func(m *cluster.Member) reflect.Value { return reflect.ValueOf(m).Elem().Field(i) })
	}
	for i := range reflect.TypeFor[cluster.MemberKeeper]().NumField() {
		check(reflect.TypeFor[cluster.MemberKeeper]().Field(i), func(m *cluster.Member) reflect.Value { return reflect.ValueOf(m.Keeper).Elem().Field(i) })
	}
}
