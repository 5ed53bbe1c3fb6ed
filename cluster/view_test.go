package cluster

import "testing"

// TestAMemberHasReachedWhatItsPrimaryKnows: a member's own key and the primary's are written at different moments.
func TestAMemberHasReachedWhatItsPrimaryKnows(t *testing.T) {
	streams := Member{Name: "Pg-2", State: StateRunning, ReplicationState: "streaming", Timeline: 3, ReceiveLSN: 100, ReplayLSN: 90}
	status := Positions{Optime: 200, Timeline: 3, Slots: map[string]LSN{"pg_2": 180}, Replayed: map[string]LSN{"Pg-2": 170}}
	for name, c := range map[string]struct {
		change          func(m *Member, s *Positions)
		receive, replay LSN
	}{
		"the primary knows more":                  {func(*Member, *Positions) {}, 180, 170},
		"its own key is newer":                    {func(m *Member, _ *Positions) { m.ReceiveLSN, m.ReplayLSN = 190, 185 }, 190, 185},
		"without slots":                           {func(_ *Member, s *Positions) { s.Slots = nil }, 170, 170},
		"a Patroni primary tells of slots alone":  {func(_ *Member, s *Positions) { s.Timeline, s.Replayed = 0, nil }, 100, 90},
		"the position is of another timeline":     {func(_ *Member, s *Positions) { s.Timeline = 2 }, 100, 90},
		"one that does not stream may be another": {func(m *Member, _ *Positions) { m.ReplicationState = "" }, 100, 90},
		"or is being made anew":                   {func(m *Member, _ *Positions) { m.State = StateCreating }, 100, 90},
	} {
		m, s := streams, status
		c.change(&m, &s)
		v := View{Status: &s}
		if receive, replay := v.Reached(&m); receive != c.receive || replay != c.replay {
			t.Errorf("%s: %s and %s, want %s and %s", name, receive, replay, c.receive, c.replay)
		}
	}
	if receive, replay := (&View{}).Reached(&streams); receive != 100 || replay != 90 {
		t.Errorf("without a status: %s and %s", receive, replay)
	}
}
