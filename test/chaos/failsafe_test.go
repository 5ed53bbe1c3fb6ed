//go:build chaos

package chaos

import (
	"testing"
	"time"
)

func TestALossOfEtcdAloneMayNotStopAPrimaryInFailsafe(t *testing.T) {
	from, to := instant(10*time.Second), instant(16*time.Second)
	for name, c := range map[string]struct {
		fault     string
		disturbed bool
		gap       time.Duration
		stall     span
		violated  bool
	}{
		"etcd's quorum killed, and nobody wrote until it was back":   {fault: "etcd_quorum_killed", gap: 4 * time.Second, violated: true},
		"etcd's quorum killed, and a statement ran out of time":      {fault: "etcd_quorum_killed", gap: outageMost},
		"a node cut off from etcd alone, and another had to lead":    {fault: "cut_etcd", gap: 5 * time.Second, violated: true},
		"in the middle of another fault":                             {fault: "etcd_quorum_killed", disturbed: true, gap: 4 * time.Second},
		"while this program did not run itself":                      {fault: "etcd_quorum_killed", gap: 4 * time.Second, stall: span{from, from + 3*time.Second}},
		"this program did not run itself, long before":               {fault: "etcd_quorum_killed", gap: 4 * time.Second, stall: span{0, 3 * time.Second}, violated: true},
		"a server that hangs is not what failsafe mode is there for": {fault: "freeze_server", gap: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := faultNamed(c.fault)
			if err != nil {
				t.Fatal(err)
			}
			h := &history{stalls: []span{c.stall}}
			found := judgeFailsafe(h, []strike{{fault: f, node: "pg1", part: onPrimary, disturbed: c.disturbed, during: span{from, to}, gap: c.gap}})
			if violated := len(found) > 0; violated != c.violated {
				t.Errorf("violations %q, want one: %t", found, c.violated)
			}
		})
	}
}

func TestSchedulesAreWithFailsafeModeAndWithout(t *testing.T) {
	with := map[mode]map[bool]int{}
	for seed := range uint64(200) {
		s, _ := draw(seed, catalog, modes)
		if with[s.Settings.Mode] == nil {
			with[s.Settings.Mode] = map[bool]int{}
		}
		with[s.Settings.Mode][s.Settings.Failsafe]++
		if set := s.Settings.dynamic()["failsafe_mode"]; set != s.Settings.Failsafe {
			t.Errorf("seed %d: failsafe_mode is %v, drawn was %t", seed, set, s.Settings.Failsafe)
		}
	}
	for m, count := range with {
		if count[false] < 15 || count[true] < 2*count[false]-2 {
			t.Errorf("%s: %v, want two of three with it", m, count)
		}
	}
}
