package agent

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// TestAStandbyIsToldOnceWhomToFollow: until a look shows what it was told, a look from
// before has it told again, and each time its receiver may begin anew.
func TestAStandbyIsToldOnceWhomToFollow(t *testing.T) {
	r := newRig(t)
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", PID: 9}}})
	r.view.Leader = &cluster.Leader{Name: "pg2", LeaseID: 22, Term: 60}
	r.view.Members["pg2"] = cluster.Member{Name: "pg2", State: cluster.StateRunning, Role: cluster.RolePrimary, Timeline: 1, ConnURL: "postgres://h2:5432/postgres"}
	r.see()
	r.step(SessionOpened{LeaseID: 11, TTL: 5 * time.Second})
	look := func(host string) []Effect {
		r.pass(10 * time.Millisecond)
		r.loop.busy[LaneLook] = true
		return r.step(Looked{At: r.now, Instance: "i1", Node: cluster.NodeState{Mode: cluster.ModeStandby, Data: cluster.DataValid, SystemID: "sys", Timeline: 1,
			ReceiveLSN: 1000, ReplayLSN: 1000, ServerVersion: 150018, PrimaryConninfo: "host=" + host + " port=5432", PrimarySlotName: "pg1"}})
	}
	follows := func(effects []Effect) (told []election.Follow) {
		for _, d := range find[OnServer](effects) {
			if f, ok := d.Action.(election.Follow); ok {
				told = append(told, f)
			}
		}
		return told
	}
	configured := func(effects []Effect) []election.Follow { // which comes first
		for range 5 {
			if len(follows(effects)) == 0 && r.loop.busy[LaneServer] {
				effects = r.step(ServerDone{Action: election.Reload{}, Instance: "i1"})
			}
		}
		return follows(effects)
	}
	told := configured(look("h3"))
	if len(told) != 1 || told[0].Upstream.Host != "h2" {
		t.Fatalf("%v, reason %s; want pg2 followed", told, r.loop.decision.Reason)
	}
	r.pass(10 * time.Millisecond)
	again := configured(r.step(ServerDone{Action: told[0], Instance: "i1"}))
	r.pass(time.Millisecond)
	if again = append(again, configured(r.see())...); len(again) != 0 {
		t.Errorf("told again before anybody has looked: %v", again)
	}
	if again := configured(look("h3")); len(again) != 1 {
		t.Errorf("told %v after a look that shows it follows another, want once more", again)
	}
}
