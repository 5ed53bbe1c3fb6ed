package ctl

import (
	"strings"
	"testing"
)

// TestListSaysThatAPrimaryGoesOnWithoutEtcd: nothing else in it would show that.
func TestListSaysThatAPrimaryGoesOnWithoutEtcd(t *testing.T) {
	r := newAPIRig(t, healthy())
	for _, failsafe := range []bool{false, true} {
		r.failsafe = failsafe
		o, err := r.api.Overview(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(o.Notes, "\n"), "goes on in failsafe"); got != failsafe {
			t.Errorf("in failsafe: %t, noted: %t in %q", failsafe, got, o.Notes)
		}
	}
}
