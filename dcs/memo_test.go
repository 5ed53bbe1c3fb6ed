package dcs

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestAMemoGivesWhatDecodingWouldGive: with and without it the view is the same.
func TestAMemoGivesWhatDecodingWouldGive(t *testing.T) {
	full := cluster.Member{
		Name: "pg1", ConnURL: "postgres://pg1:5432/postgres", APIURL: "http://pg1:8008/patroni", State: cluster.StateRunning, Role: cluster.RolePrimary,
		Version: "4", CheckpointAfterPromote: new(bool), PendingRestart: true, XlogLocation: 7, ReceiveLSN: 8, ReplayLSN: 9,
		ReplicationState: "streaming", Timeline: 3, Pause: true,
		Keeper: &cluster.MemberKeeper{Version: "v", Node: "n", Promised: 3, Vacancy: 4, Position: &cluster.Position{Timeline: 3, LSN: 9}, Switchover: "s", Gone: 5, Reason: "leading", Progress: "43%"},
	}
	tagged := full
	tagged.Tags = cluster.Tags{"failover_priority": 2}
	for _, m := range []cluster.Member{{Name: "pg1"}, full, tagged} {
		value, err := compact(m)
		if err != nil {
			t.Fatal(err)
		}
		memo := &Memo{}
		memo.learn(value, &m)
		if _, known := recall[cluster.Member](memo, value); known != (m.Tags == nil) {
			t.Errorf("known %t: %s", known, value)
		}
		put := Change{Pair: Pair{Key: "/service/x/members/pg1", Value: value, Lease: 5, ModRevision: 6}}
		with, without := folder{prefix: "/service/x/", memo: memo}, folder{prefix: "/service/x/"}
		with.fold(put)
		without.fold(put)
		if diff := cmp.Diff(without.view, with.view); diff != "" {
			t.Errorf("without the memo, with it:\n%s", diff)
		}
	}
}

func TestAMemoIsBounded(t *testing.T) {
	memo := &Memo{}
	for lsn := range cluster.LSN(2 * mostRemembered) {
		m := cluster.Member{XlogLocation: lsn}
		value, err := compact(m)
		if err != nil {
			t.Fatal(err)
		}
		memo.learn(value, &m)
	}
	if got := len(memo.means); got > mostRemembered {
		t.Errorf("%d values are remembered", got)
	}
}
