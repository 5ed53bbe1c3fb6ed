package agent

import (
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// TestATimelineThatTwoHaveBegunIsTakenForTwo: a Patroni member promotes onto a number that
// an agent has used before, if it has not heard of it.
func TestATimelineThatTwoHaveBegunIsTakenForTwo(t *testing.T) {
	leads := func(name string, patroni bool, timeline cluster.Timeline) cluster.Member {
		m := cluster.Member{Name: name, ConnURL: "postgres://" + name + ":5432/postgres", State: cluster.StateRunning, Role: cluster.RolePrimary, Timeline: timeline}
		if !patroni {
			m.Keeper = &cluster.MemberKeeper{}
		}
		return m
	}
	upstream := &cluster.Receiver{Status: "streaming", Host: "pg2", Port: "5432", Timeline: 1}
	for name, c := range map[string]struct {
		first    cluster.Member
		receiver *cluster.Receiver
		next     cluster.Member
		whose    Whose
		strayed  bool
	}{
		"the leader goes on":                                  {leads("pg2", true, 1), nil, leads("pg2", true, 1), Whose{1, "pg2"}, false},
		"a Patroni member leads on the same number":           {leads("pg2", false, 1), nil, leads("pg3", true, 1), Whose{1, "pg2"}, true},
		"after another of Patroni too":                        {leads("pg2", true, 1), nil, leads("pg3", true, 1), Whose{1, "pg2"}, true},
		"the first had not told of it, and was streamed from": {leads("pg2", true, 0), upstream, leads("pg3", true, 1), Whose{1, "pg2"}, true},
		"nor was it: nothing is known":                        {leads("pg2", true, 0), nil, leads("pg3", true, 1), Whose{1, "pg3"}, false},
		"a Patroni member leads on another":                   {leads("pg2", false, 1), nil, leads("pg3", true, 2), Whose{1, "pg2"}, false},
		"one whose server is no primary yet":                  {leads("pg2", false, 1), nil, cluster.Member{Name: "pg3", State: cluster.StateRunning, Role: cluster.RoleReplica, Timeline: 1}, Whose{1, "pg2"}, false},
		"an agent reserves its numbers: its key is of before": {leads("pg2", false, 1), nil, leads("pg3", false, 1), Whose{1, "pg3"}, false},
	} {
		r := newRig(t)
		led := func(m cluster.Member) []Effect {
			r.view.Leader = &cluster.Leader{Name: m.Name, LeaseID: 21, Term: cluster.Term(60 + r.view.Revision)}
			r.view.Members = map[string]cluster.Member{"pg9": {Name: "pg9"}, m.Name: m} // Patroni runs pg9
			effects := r.see()
			r.settle()
			return effects
		}
		r.seesStandby()
		led(c.first)
		if c.receiver != nil {
			r.loop.busy[LaneLook] = true
			r.step(Looked{At: r.now, Node: cluster.NodeState{Mode: cluster.ModeStandby, Data: cluster.DataValid, Timeline: 1, Receiver: c.receiver}, Instance: r.loop.instance()})
			r.settle()
		}
		led(c.next)
		if r.loop.seen.Whose != c.whose || r.loop.obs.Self.Strayed != c.strayed {
			t.Errorf("%s: timeline of %+v, strayed %t; want %+v, %t", name, r.loop.seen.Whose, r.loop.obs.Self.Strayed, c.whose, c.strayed)
		}
		r.step(JobDone{Kind: election.JobClone})
		if r.loop.obs.Self.Strayed || r.loop.seen.Whose == c.whose && c.strayed {
			t.Errorf("%s: after a clone its data is of %+v, strayed %t", name, r.loop.seen.Whose, r.loop.obs.Self.Strayed)
		}
	}
}

// TestWhoseATimelineIsMattersToPatroniOnly: agents reserve their numbers.
func TestWhoseATimelineIsMattersToPatroniOnly(t *testing.T) {
	r := newRig(t)
	r.primary()
	if r.loop.seen.Whose != (Whose{}) {
		t.Errorf("%+v is kept where no member runs Patroni", r.loop.seen.Whose)
	}
}

// TestThatAPatroniMemberHasLedIsRemembered: it may have left nothing in the store.
func TestThatAPatroniMemberHasLedIsRemembered(t *testing.T) {
	r := newRig(t)
	r.view.Members = map[string]cluster.Member{"pg2": {Name: "pg2"}, "pg3": {Name: "pg3", Keeper: &cluster.MemberKeeper{}}}
	for _, c := range []struct {
		leader string
		want   bool
	}{{"pg3", false}, {"pg2", true}, {"", true}, {"pg9", true}, {"pg3", false}} {
		r.view.Leader = nil
		if c.leader != "" {
			r.view.Leader = &cluster.Leader{Name: c.leader, LeaseID: 21, Term: cluster.Term(60 + r.view.Revision)}
		}
		r.see()
		next := NewLoop(r.loop.id, nil, r.loop.seen, nil, r.loop.parse, r.loop.log, r.now)
		if r.loop.obs.Self.PatroniLed != c.want || next.obs.Self.PatroniLed != c.want {
			t.Errorf("after %q led: %t, and for the next worker %t; want %t", c.leader, r.loop.obs.Self.PatroniLed, next.obs.Self.PatroniLed, c.want)
		}
		r.settle()
	}
}
