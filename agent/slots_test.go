package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// ensured is what the server lane was asked to do about slots.
func ensured(effects []Effect) (want, drop []string) {
	for _, d := range find[OnServer](effects) {
		if a, ok := d.Action.(election.EnsureSlots); ok {
			return a.Want, a.Drop
		}
	}
	return nil, nil
}

func TestTheSlotOfAMemberThatLeftIsDroppedAfterItsTTLAndNoOtherSlotIs(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Members = map[string]cluster.Member{"pg2": {Name: "pg2", State: cluster.StateRunning}}
	r.see()
	r.view.Members = nil
	r.see()
	node := r.loop.obs.Node.Value
	node.Slots = []cluster.Slot{{Name: "pg2", Type: "physical"}, {Name: "archive", Type: "physical"}, {Name: "logical", Type: "logical"}}
	r.settle()
	r.loop.server.retryAt = 0
	r.loop.busy[LaneLook] = true
	if _, drop := ensured(r.step(Looked{At: r.now, Instance: "i1", Node: node})); len(drop) != 0 {
		t.Fatalf("dropped %v at once, want it kept for member_slots_ttl", drop)
	}
	if got := r.loop.obs.RetainedSlots; !slices.Equal(got, []string{"pg2"}) {
		t.Errorf("retained %v, want pg2 alone", got)
	}
	for range 31 * 60 / 2 { // renewals go on for 31 minutes
		r.pass(2 * time.Second)
		r.loop.counted(r.now)
		r.loop.obs.Node.At = r.now
	}
	r.loop.busy[LaneServer] = false
	_, drop := ensured(r.step(Tick{}))
	if !slices.Equal(drop, []string{"pg2"}) {
		t.Errorf("dropped %v, want pg2 alone", drop)
	}
}

func TestTheSlotsThePrimaryBeforeRetainedAreKnownToTheNext(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Status = &cluster.Positions{Optime: 1000, Timeline: 1, Retain: []string{"pg3"}}
	r.see()
	if _, noted := r.loop.left["pg3"]; !noted {
		t.Error("a slot retained by the last primary is forgotten, and would keep WAL for ever")
	}
}

func TestAFormerMembersSlotIsRemovedWhenAskedAndNothingElseIs(t *testing.T) {
	cases := map[string]struct {
		member  string
		change  func(r *rig)
		done    bool
		message string
		dropped bool
	}{
		"a member that left":               {"pg2", func(*rig) {}, true, "is dropped", true},
		"by its name in capitals":          {"PG2", func(*rig) {}, true, "is dropped", true},
		"one that is a member still":       {"pg3", func(*rig) {}, false, "is a member still", false},
		"the leader itself":                {"pg1", func(*rig) {}, false, "is a member still", false},
		"a slot that was never a member's": {"archive", func(*rig) {}, false, "no former member's", false},
		"a logical slot of that name":      {"logical", func(*rig) {}, true, "no slot of", false},
		"nobody's":                         {"pg9", func(*rig) {}, true, "no slot of", false},
		"a request without a member":       {"", func(*rig) {}, false, "names no member", false},
		"in pause":                         {"pg2", func(r *rig) { r.loop.config.settings.Pause = true }, false, "paused", false},
		"while another holds the lease":    {"pg2", func(r *rig) { r.loop.obs.View.Value.Leader.Name = "pg3" }, false, "not the leader", false},
		"a slot by which somebody streams": {"pg2", func(r *rig) { r.loop.obs.Node.Value.Slots[0].Active = true }, false, "streams by", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.primary()
			r.view.Members = map[string]cluster.Member{"pg2": {Name: "pg2", State: cluster.StateRunning}, "pg3": {Name: "pg3", State: cluster.StateRunning}}
			r.see()
			r.view.Members = map[string]cluster.Member{"pg3": r.view.Members["pg3"]}
			r.see()
			r.loop.obs.Node.Value.Slots = []cluster.Slot{{Name: "pg2", Type: "physical"}, {Name: "pg3", Type: "physical", Active: true}, {Name: "archive", Type: "physical"}, {Name: "logical", Type: "logical"}}
			c.change(r)
			result := r.loop.remove(cluster.Request{ID: "r1", Member: "pg1", Kind: cluster.RequestRemove, Args: []byte(`{"member":"` + c.member + `"}`)})
			if result.Done != c.done || result.Refused == c.done || !strings.Contains(result.Message, c.message) {
				t.Errorf("answered %+v, want done %v and %q", result, c.done, c.message)
			}
			_, expired := r.loop.leftSlots()
			if got := slices.Equal(expired, []string{"pg2"}); got != c.dropped || !got && len(expired) > 0 {
				t.Errorf("would drop %v, want pg2: %v", expired, c.dropped)
			}
		})
	}
}

func TestARequestToRemoveIsAnswered(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Requests = []cluster.Request{{ID: "r1", Member: "pg1", Kind: cluster.RequestRemove, Args: []byte(`{"member":"pg9"}`)}}
	r.see()
	if !r.loop.keys.screened["r1"] {
		t.Error("the request was not answered")
	}
}

func TestASlotThatIsToBeIgnoredIsNeverDropped(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.loop.obs.Node.Value.Slots = []cluster.Slot{{Name: "pg2", Type: "physical"}, {Name: "pg3", Type: "physical"}, {Name: "pg4", Type: "physical"}}
	r.loop.left = map[string]cluster.Instant{"pg2": 0, "pg3": 0, "pg4": 0}
	r.loop.config.settings.IgnoreSlots = []map[string]any{{}, {"name": "pg3", "type": "physical"}, {"name": "pg4", "type": "logical"}}
	r.loop.obs.Now = cluster.Instant(time.Hour)
	if retained, expired := r.loop.leftSlots(); !slices.Equal(retained, []string{"pg2", "pg4"}) || !slices.Equal(expired, retained) {
		t.Errorf("retained %v, to be dropped %v; want pg2 and pg4", retained, expired)
	}
}
