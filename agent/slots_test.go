package agent

import (
	"slices"
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
