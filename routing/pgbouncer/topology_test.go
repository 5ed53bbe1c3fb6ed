package pgbouncer

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func member(name, address string, role cluster.Role, changes ...func(*cluster.Member)) cluster.Member {
	m := cluster.Member{Name: name, ConnURL: "postgres://" + address + "/postgres", State: cluster.StateRunning, Role: role, Timeline: 3}
	if role == cluster.RoleReplica {
		m.ReplicationState = "streaming"
	}
	for _, change := range changes {
		change(&m)
	}
	return m
}

func view(leader string, members ...cluster.Member) cluster.View {
	v := cluster.View{Members: map[string]cluster.Member{}}
	for _, m := range members {
		v.Members[m.Name] = m
	}
	if leader != "" {
		v.Leader = &cluster.Leader{Name: leader}
	}
	return v
}

func TestWhatThePoolerShouldDo(t *testing.T) {
	a := member("a", "10.0.0.1:5432", cluster.RolePrimary)
	b, c := member("b", "10.0.0.2:5432", cluster.RoleReplica), member("c", "10.0.0.3:5433", cluster.RoleReplica)
	at := func(host, port string) server { return server{host, port} }
	healthy := want{primary: at("10.0.0.1", "5432"), replicas: []server{at("10.0.0.2", "5432"), at("10.0.0.3", "5433")}}
	with := func(w want, change func(*want)) want { change(&w); return w }
	phase := func(p cluster.SwitchoverPhase) cluster.View {
		v := view("a", a, b, c)
		v.Switchover = &cluster.Switchover{ID: "op", From: "a", To: "b", Phase: p}
		return v
	}
	held := with(healthy, func(w *want) { w.hold, w.held = true, "op" })
	for name, x := range map[string]struct {
		view  cluster.View
		want  want
		known bool
	}{
		"work goes to the primary, readers to who streams":             {view("a", a, b, c), healthy, true},
		"without a leader it waits":                                    {view("", b), want{replicas: nil, hold: true}, false},
		"it waits while the leader's server does not run":              {view("a", member("a", "10.0.0.1:5432", cluster.RolePrimary, func(m *cluster.Member) { m.State = cluster.StateCrashed }), b, c), with(healthy, func(w *want) { w.hold = true }), true},
		"it waits while the leader is being promoted":                  {view("b", member("b", "10.0.0.2:5432", cluster.RolePromoted)), want{primary: at("10.0.0.2", "5432"), hold: true}, true},
		"a leader that Patroni runs may call itself master":            {view("a", member("a", "10.0.0.1:5432", "master")), want{primary: at("10.0.0.1", "5432")}, true},
		"a switchover that prepares costs nobody anything":             {phase(cluster.SwitchoverPreparing), healthy, true},
		"it waits from when the switchover says so":                    {phase(cluster.SwitchoverHolding), held, true},
		"and while the primary stops":                                  {phase(cluster.SwitchoverStopping), held, true},
		"a switchover that was rolled back is over":                    {phase(cluster.SwitchoverAborted), healthy, true},
		"an address that could write another line is nobody's":         {view("a", a, member("x", "h%0Aapp = host=evil:1", cluster.RoleReplica)), want{primary: at("10.0.0.1", "5432")}, true},
		"a member that must not be read from is left out":              {view("a", a, member("b", "10.0.0.2:5432", cluster.RoleReplica, func(m *cluster.Member) { m.Tags = cluster.Tags{"noloadbalance": true} })), want{primary: at("10.0.0.1", "5432")}, true},
		"so is one that does not stream, or on another timeline":       {view("a", a, member("b", "10.0.0.2:5432", cluster.RoleReplica, func(m *cluster.Member) { m.ReplicationState = "in archive recovery" }), member("c", "10.0.0.3:5432", cluster.RoleReplica, func(m *cluster.Member) { m.Timeline = 2 })), want{primary: at("10.0.0.1", "5432")}, true},
		"a leader that has not yet said where it is, is waited for":    {view("z", b), want{replicas: nil, hold: true}, false},
		"a leader without a usable address is waited for, and no host": {view("a", member("a", "a b:5432", cluster.RolePrimary)), want{hold: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, known := wanted(&x.view, (&Driver{}).late)
			if !known { // who reads follows the primary
				w.replicas = nil
			}
			if diff := cmp.Diff(x.want, w, cmp.AllowUnexported(want{}, server{})); diff != "" || known != x.known {
				t.Errorf("known %t, want %t; (-want +got)\n%s", known, x.known, diff)
			}
		})
	}
}

func TestAReplicaFarBehindIsNotReadFromUntilItHasCaughtUpToHalfTheLimit(t *testing.T) {
	d := &Driver{Settings: Settings{Options: Options{MaxLag: 1000}}}
	for i, x := range []struct {
		replayed cluster.LSN
		reads    bool
	}{
		{9_500, true}, {9_000, true}, {8_999, false}, {9_400, false}, {9_500, true}, {9_000, true}, {0, false}, {10_200, true},
	} {
		v := view("a", member("a", "10.0.0.1:5432", cluster.RolePrimary, func(m *cluster.Member) { m.XlogLocation = 8_000 }),
			member("b", "10.0.0.2:5432", cluster.RoleReplica, func(m *cluster.Member) { m.ReplayLSN = x.replayed }))
		v.Status = &cluster.Positions{Optime: 10_000}
		d.see(&cluster.Status{View: cluster.Seen(v, 1)})
		if reads := slices.Contains(d.want.replicas, server{"10.0.0.2", "5432"}); reads != x.reads {
			t.Errorf("%d: at %d of 10000 it is read from: %t, want %t", i, x.replayed, reads, x.reads)
		}
	}
}

func TestAPoolerThatKnowsOfNoPrimaryDoesNotSayThatItServes(t *testing.T) {
	d, said := &Driver{}, []cluster.PoolerState{}
	say := func(s cluster.PoolerState, _ string) { said = append(said, s) }
	d.tell(say, nil)
	d.see(&cluster.Status{View: cluster.Seen(view("", member("b", "10.0.0.2:5432", cluster.RoleReplica)), 1)})
	d.tell(say, nil)
	d.see(&cluster.Status{View: cluster.Seen(view("a", member("a", "10.0.0.1:5432", cluster.RolePrimary)), 2)})
	d.tell(say, nil)
	if diff := cmp.Diff([]cluster.PoolerState{cluster.PoolerServing}, said); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
