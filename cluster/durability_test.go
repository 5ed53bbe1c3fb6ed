package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRule: who has what, and how many must be asked.
func TestRule(t *testing.T) {
	for _, c := range []struct {
		rule    Rule
		reports int
		on, any string
	}{
		{Rule{Primary: "a"}, 1, "", ""},
		{Rule{Primary: "a", Voters: []string{"c", "b"}, Need: 1}, 2, `FIRST 1 ("b","c")`, `ANY 1 ("b","c")`},
		{Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 2}, 1, `FIRST 2 ("b","c")`, `ANY 2 ("b","c")`},
		{Rule{Primary: "a", Voters: []string{"b", "c", "d", "e"}, Need: 2}, 3, `FIRST 2 ("b","c","d","e")`, `ANY 2 ("b","c","d","e")`},
		{Rule{Primary: "a", Need: 1}, 0, `FIRST 1 ("__pgkeeper_no_standby__")`, `ANY 1 ("__pgkeeper_no_standby__")`},
		{Rule{Primary: "a", Voters: []string{`we"ird`}, Need: 1}, 1, `FIRST 1 ("we""ird")`, `ANY 1 ("we""ird")`},
	} {
		if got := c.rule.Reports(); c.rule.Asks() && got != c.reports {
			t.Errorf("%+v: %d reports, want %d", c.rule, got, c.reports)
		}
		if on, quorum := c.rule.Names(false), c.rule.Names(true); on != c.on || quorum != c.any {
			t.Errorf("%+v: %s and %s, want %s and %s", c.rule, on, quorum, c.on, c.any)
		}
	}
	r := Rule{Primary: "A", Voters: []string{"b", "C"}, Need: 1}
	if !r.Equal(Rule{Primary: "a", Voters: []string{"c", "B"}, Need: 1}) || r.Equal(Rule{Primary: "a", Voters: []string{"c", "d"}, Need: 1}) || r.Equal(Rule{Primary: "a", Voters: []string{"c", "b"}, Need: 2}) {
		t.Error("rules are equal without regard to case and order, and to nothing else")
	}
	if diff := cmp.Diff([]string{"b", "C", "A"}, r.Copies()); diff != "" {
		t.Error(diff)
	}
}

// TestAnyNMinusKPlus1CopiesHaveEveryCommit is the arithmetic that elections rest on,
// for every cluster of up to six and every set of voters that may have confirmed.
func TestAnyNMinusKPlus1CopiesHaveEveryCommit(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for k := 1; k <= n; k++ {
			r := Rule{Primary: "p", Voters: []string{"v1", "v2", "v3", "v4", "v5"}[:n], Need: k}
			for confirmed := range 1 << n { // bit n is the primary, which always has it
				if ones(confirmed) < k {
					continue
				}
				has := confirmed | 1<<n
				for asked := range 1 << (n + 1) {
					if ones(asked) >= r.Reports() && asked&has == 0 {
						t.Fatalf("n %d, k %d: on %b, not seen by %b", n, k, has, asked)
					}
				}
			}
			fewer, missed := r.Reports()-1, false
			for asked := range 1 << (n + 1) {
				missed = missed || ones(asked) == fewer && asked&(1<<n|(1<<k-1)) == 0
			}
			if !missed {
				t.Errorf("n %d, k %d: %d reports would do", n, k, fewer)
			}
		}
	}
}

func ones(x int) (n int) {
	for ; x != 0; x &= x - 1 {
		n++
	}
	return n
}

// TestSyncShowsNothingLessStrict: whoever elects by Patroni's key satisfies every rule.
func TestSyncShowsNothingLessStrict(t *testing.T) {
	two := Rule{Primary: "a", Voters: []string{"b", "c"}, Need: 1}
	for _, c := range []struct {
		name   string
		record Durability
		want   Sync
	}{
		{"nobody", Durability{Mode: SyncOn, Rules: []Rule{{Primary: "a"}}}, Sync{Leader: "a"}},
		{"one named standby", Durability{Mode: SyncOn, Rules: []Rule{{Primary: "a", Voters: []string{"b"}, Need: 1}}}, Sync{Leader: "a", SyncStandby: "b"}},
		{"while one replaces another, only who is in both", Durability{Mode: SyncOn, Rules: []Rule{{Primary: "a", Voters: []string{"b", "c"}, Need: 2}, {Primary: "a", Voters: []string{"c"}, Need: 1}}}, Sync{Leader: "a", SyncStandby: "c"}},
		{"from a quorum no single one has everything", Durability{Mode: SyncOn, Rules: []Rule{two, {Primary: "a", Voters: []string{"b"}, Need: 1}}}, Sync{Leader: "a"}},
		{"a quorum", Durability{Mode: SyncQuorum, Rules: []Rule{two}}, Sync{Leader: "a", SyncStandby: "b,c", Quorum: 1}},
		{"a quorum that grows", Durability{Mode: SyncQuorum, Rules: []Rule{two, {Primary: "a", Voters: []string{"b", "c", "d"}, Need: 2}}}, Sync{Leader: "a", SyncStandby: "b,c,d", Quorum: 2}},
		{"after a failover the old primary is a copy", Durability{Mode: SyncQuorum, Rules: []Rule{{Primary: "x", Voters: []string{"a", "b"}, Need: 1}, {Primary: "a", Voters: []string{"b"}, Need: 1}}}, Sync{Leader: "a", SyncStandby: "b,x", Quorum: 1}},
	} {
		if diff := cmp.Diff(c.want, c.record.Sync("a")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestARecordThatCannotBeReadIsNotNone(t *testing.T) {
	d := &Durability{Unreadable: true}
	if asking := d.Asking(); len(asking) != 1 || asking[0].Reports() != 1 || asking[0].Lists("a") {
		t.Errorf("%+v: somebody could be elected", asking)
	}
	if (*Durability)(nil).Asking() != nil || (*Durability)(nil).Last().Asks() {
		t.Error("no record asks for somebody")
	}
}
