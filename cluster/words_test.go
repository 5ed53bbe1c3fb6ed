package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSlotName: slots are named as Patroni names them, so that a cluster changes
// hands without a slot made anew.
func TestSlotName(t *testing.T) {
	for member, want := range map[string]string{
		"pg-1":                   "pg_1",
		"pg_1":                   "pg_1",
		"PG.Node-1":              "pg_node_1",
		"a b":                    "au0032b",
		"käse":                   "ku0228se",
		"":                       "",
		strings.Repeat("a", 70):  strings.Repeat("a", 63),
		strings.Repeat("a-", 40): strings.Repeat("a_", 31) + "a",
	} {
		if got := SlotName(member); got != want {
			t.Errorf("SlotName(%q) = %q, want %q", member, got, want)
		}
	}
}

// TestStateIndex: the numbers are those of Patroni's metric.
func TestStateIndex(t *testing.T) {
	for state, want := range map[State]int{
		StateInitializing: 0, StateInitFailed: 1, StateCreating: 4, StateRunning: 5, StateStarting: 6, StateStartFailed: 8,
		StateRestarting: 9, StateStopping: 11, StateStopped: 12, StateStopFailed: 13, StateCrashed: 14, "dancing": -1,
	} {
		if got := StateIndex(state); got != want {
			t.Errorf("%q is %d, want %d", state, got, want)
		}
	}
}

// TestUnknownIsNotNone: a failed look keeps what was seen, and is not good.
func TestUnknownIsNotNone(t *testing.T) {
	var never Observed[int]
	seen := Seen(7, 100)
	failed := seen.Failed("timeout", 200)
	still := never.Failed("timeout", 5)
	if never.Good() || !seen.Good() || failed.Good() || still.Good() {
		t.Error("good is a look that succeeded last")
	}
	if diff := cmp.Diff(Observed[int]{Value: 7, At: 100, Err: "timeout", ErrAt: 200}, failed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := Seen(8, 300); again.Err != "" || !again.Good() {
		t.Error("a good look ends the failure")
	}
}

// TestPositionOfAServer: what counts is the newest WAL it has durably.
func TestPositionOfAServer(t *testing.T) {
	n := NodeState{Timeline: 3, WriteLSN: 50, ReceiveLSN: 0, ReplayLSN: 40, Control: ControlData{Checkpoint: 30, MinRecovery: 35}}
	for mode, want := range map[Mode]LSN{ModePrimary: 50, ModeStandby: 40, ModeStarting: 40, ModeStopped: 35, ModeUnknown: 35} {
		n.Mode = mode
		if got := n.Position(); got != (Position{3, want}) {
			t.Errorf("%s: %s, want 3@%s", mode, got, want)
		}
	}
	n.Mode, n.ReceiveLSN = ModeStandby, 45 // received, not replayed yet
	if got := n.Position().LSN; got != 45 {
		t.Errorf("a standby counts what it received: %s", got)
	}
}

// TestOnlyAProvablePrimaryIsWritable (S3).
func TestOnlyAProvablePrimaryIsWritable(t *testing.T) {
	good := Status{Term: 5, LeaseUntil: 100, Node: Seen(NodeState{Mode: ModePrimary}, 50)}
	change := func(f func(*Status)) *Status { s := good; f(&s); return &s }
	cases := []struct {
		name string
		s    *Status
		at   Instant
		want bool
	}{
		{"within its lease", &good, 99, true},
		{"at the end of its lease", &good, 100, false},
		{"without a term", change(func(s *Status) { s.Term = 0 }), 60, false},
		{"without a deadline", change(func(s *Status) { s.LeaseUntil = 0 }), 60, false},
		{"as a standby", change(func(s *Status) { s.Node.Value.Mode = ModeStandby }), 60, false},
		{"as nobody knows what", change(func(s *Status) { s.Node.Value.Mode = ModeUnknown }), 60, false},
		{"when the last look failed", change(func(s *Status) { s.Node = s.Node.Failed("timeout", 55) }), 60, false},
		{"before its standbys have what recovery made visible", change(func(s *Status) { s.Unconfirmed = true }), 60, false},
		{"while it is stopped", change(func(s *Status) { s.State = StateStopping }), 60, false},
		{"before the first step", nil, 60, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.s.Writable(c.at); got != c.want {
				t.Errorf("writable: %t", got)
			}
		})
	}
}

func TestTimelinesAreGivenToOneTermEach(t *testing.T) {
	var none *Timelines
	some := &Timelines{Reserved: []Reservation{{2, 10}, {5, 20}, {4, 30}}}
	if none.Highest() != 0 || none.Of(10) != 0 || some.Highest() != 5 || some.Of(30) != 4 || some.Of(40) != 0 {
		t.Errorf("highest %d, of 30 %d", some.Highest(), some.Of(30))
	}
}

func TestAWishCanBeEmpty(t *testing.T) {
	var none *Failover
	for f, want := range map[*Failover]bool{none: true, {ScheduledAt: "2026-01-01T10:00:00Z", ID: "x"}: true, {Leader: "a"}: false, {Member: "b"}: false} {
		if f.Empty() != want {
			t.Errorf("%+v: %t", f, f.Empty())
		}
	}
}

func TestLeaderMember(t *testing.T) {
	v := View{Members: map[string]Member{"a": {Name: "a"}}}
	if _, ok := v.LeaderMember(); ok || v.HolderIs("a") || v.HolderIs("") {
		t.Error("without a leader there is no leader's key")
	}
	v.Leader = &Leader{Name: "a"}
	if m, ok := v.LeaderMember(); !ok || m.Name != "a" || !v.HolderIs("a") {
		t.Error("the leader's key was not found")
	}
	v.Leader = &Leader{Name: "b"}
	if _, ok := v.LeaderMember(); ok {
		t.Error("a leader may have no member key")
	}
}

// TestEveryNumberHasAWord: what logs print never panics, not even for numbers that
// pg_control may hold in a future version.
func TestEveryNumberHasAWord(t *testing.T) {
	for m := ModeUnknown; m <= ModeStopping; m++ {
		if m.String() == "" || m.Running() != (m == ModePrimary || m == ModeStandby) {
			t.Errorf("mode %d: %q", m, m)
		}
	}
	for d := DataUnknown; d <= DataDamaged; d++ {
		if d.String() == "" {
			t.Errorf("data directory state %d has no word", d)
		}
	}
	for s := ControlState(-1); s <= ControlInProduction+1; s++ {
		if s.String() == "" || s.Clean() != (s == ControlShutdown || s == ControlShutdownInRecovery) {
			t.Errorf("control state %d: %q", s, s)
		}
	}
}
