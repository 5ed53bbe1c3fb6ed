package agent

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// watchRig is a standby in a strict quorum led by pg2, which streams WAL to it.
func watchRig(t *testing.T) *rig {
	r := newRig(t)
	r.loop.parse = func(raw json.RawMessage) (cluster.Settings, string) {
		s, why := parseTest(raw)
		s.SynchronousMode, s.SynchronousStrict = cluster.SyncQuorum, true
		return s, why
	}
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", PID: 9}}})
	r.view.Leader = &cluster.Leader{Name: "pg2", LeaseID: 12, Term: 60}
	r.view.Beat = &cluster.Beat{TTL: 5000, Term: 60, ModRevision: 60}
	r.view.Durability = &cluster.Durability{Mode: cluster.SyncQuorum, Rules: []cluster.Rule{{Primary: "pg2", Voters: []string{"pg1", "pg3"}, Need: 1}}}
	r.view.Members["pg1"] = cluster.Member{Name: "pg1", Keeper: &cluster.MemberKeeper{}}
	r.view.Members["pg3"] = cluster.Member{Name: "pg3", Keeper: &cluster.MemberKeeper{}}
	r.view.Members["pg2"] = cluster.Member{Name: "pg2", ConnURL: "postgres://h2:5432/postgres", APIURL: "http://h2:8008/patroni",
		Keeper: &cluster.MemberKeeper{SyncCommit: &cluster.SyncCommit{Weakened: []cluster.Weakening{}}}}
	r.see()
	r.step(SessionOpened{LeaseID: 11, TTL: 5 * time.Second})
	r.receives(1000)
	r.settle()
	return r
}

// receives ends the look under way, or one of its own: WAL has come up to a position.
func (r *rig) receives(at cluster.LSN) []Effect {
	return r.looked(cluster.NodeState{ReceiveLSN: at, Receiver: &cluster.Receiver{Status: "streaming"}})
}

func (r *rig) looked(node cluster.NodeState) []Effect {
	node.Mode, node.Data, node.SystemID, node.Timeline, node.ServerVersion = cluster.ModeStandby, cluster.DataValid, "sys", 1, 150018
	node.PrimaryConninfo, node.PrimarySlotName = "host=h2 port=5432", "pg1"
	r.loop.busy[LaneLook] = true
	return r.step(Looked{At: r.now, Node: node, Instance: r.loop.instance()})
}

// knocks ends the try under way: it has taken d, and somebody answered or not.
func (r *rig) knocks(d time.Duration, answered string) []Effect {
	began := r.now
	r.pass(d)
	return r.step(Knocked{Leader: "pg2", Began: began, Ended: r.now, Answered: answered})
}

// TestAStandbyOfAStrictClusterLooksOften: cheaply, and as a whole as seldom as others.
func TestAStandbyOfAStrictClusterLooksOften(t *testing.T) {
	r := watchRig(t)
	var kinds []bool
	for range 12 {
		r.now = r.loop.NextWake()
		for _, look := range find[Look](r.step(Tick{})) {
			kinds = append(kinds, look.Fast)
			r.receives(1000 + cluster.LSN(r.now))
		}
	}
	whole := 0
	for _, fast := range kinds {
		if !fast {
			whole++
		}
	}
	if d := r.now.Sub(100 * second); len(kinds) < 10 || whole < 2 || whole > 3 || d > 12*watchLook+10*time.Millisecond {
		t.Errorf("in %s these looks were cheap: %v; want about one in five not to be", d, kinds)
	}
}

// TestAQuietClusterIsLookedAtLessOften: while no WAL comes and the leader's node answers.
func TestAQuietClusterIsLookedAtLessOften(t *testing.T) {
	r := watchRig(t)
	looks := func(d time.Duration, answered string) (n int) {
		effects := r.receives(1000)
		for end := r.now.Add(d); r.now < end || len(effects) > 0; {
			if len(effects) == 0 {
				r.now = r.loop.NextWake()
				effects = r.step(Tick{})
				continue
			}
			e := effects[0].Do
			effects = effects[1:]
			switch e.(type) {
			case Look:
				n++
				effects = append(effects, r.receives(1000)...)
			case Knock:
				effects = append(effects, r.knocks(time.Millisecond, answered)...)
			}
		}
		return n
	}
	looks(time.Second, "agent")
	if n := looks(5*time.Second, "agent"); n < 8 || n > 16 {
		t.Errorf("%d looks in 5 s while the leader's node answers, want about 10", n)
	}
	if n := looks(5*time.Second, ""); n < 20 {
		t.Errorf("%d looks in 5 s while it does not, want about 25", n)
	}
}

// TestWhileWALComesNobodyIsKnockedAt: nor while it is away for a moment only.
func TestWhileWALComesNobodyIsKnockedAt(t *testing.T) {
	r := watchRig(t)
	for i := range 20 {
		r.pass(watchLook)
		if e := r.receives(1100 + 100*cluster.LSN(i)); len(find[Knock](e)) != 0 {
			t.Fatalf("WAL comes, and the leader's node is tried: %+v", e)
		}
	}
	r.pass(200 * time.Millisecond)
	if e := r.receives(3000); len(find[Knock](e)) != 0 {
		t.Errorf("after 200 ms: %+v", e)
	}
	r.pass(200 * time.Millisecond)
	want := []Knock{{Leader: "pg2", APIURL: "http://h2:8008/patroni", Host: "h2", Port: "5432"}}
	if d := cmp.Diff(want, find[Knock](r.receives(3000))); d != "" {
		t.Errorf("after 400 ms (-want +got):\n%s", d)
	}
}

// TestWALThatGoesOnComingIsNoReasonToDecide: a decision is made, and recorded, at each
// whole look, and as soon as something else has changed.
func TestWALThatGoesOnComingIsNoReasonToDecide(t *testing.T) {
	r := watchRig(t)
	decided := 0
	r.loop.OnDecision(func(clock.Reading, *election.Observation, election.Decision) { decided++ })
	at := cluster.LSN(1000)
	cheap := func(by cluster.LSN, timeline cluster.Timeline, receiver *cluster.Receiver) int {
		decided, at = 0, at+by
		r.pass(watchLook)
		r.loop.busy[LaneLook] = true
		r.step(Looked{At: r.now, Fast: true, Instance: r.loop.instance(), Node: cluster.NodeState{Mode: cluster.ModeStandby, Timeline: timeline, ReceiveLSN: at, Receiver: receiver}})
		return decided
	}
	streams := &cluster.Receiver{Status: "streaming"}
	cheap(1, 1, streams)
	for _, c := range []struct {
		name string
		got  int
		want int
	}{
		{"WAL has come", cheap(8, 1, streams), 0},
		{"and again", cheap(8, 1, streams), 0},
		{"none has", cheap(0, 1, streams), 1},
		{"it is of another timeline", cheap(8, 2, streams), 1},
		{"the receiver has ended", cheap(8, 2, nil), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d decisions, want %d", c.name, c.got, c.want)
		}
	}
}

// gone is what the member key is about to say, or says.
func (r *rig) gone(effects []Effect) int64 {
	if put := find[PutMember](effects); len(put) > 0 {
		return put[0].Member.Keeper.Gone
	}
	return r.loop.memberNow().Keeper.Gone
}

// TestALeaderThatIsGoneIsToldOfInTheMemberKey: when its receiver has ended and nothing of
// the leader's node answers for a while, and no longer once anything does.
func TestALeaderThatIsGoneIsToldOfInTheMemberKey(t *testing.T) {
	r := watchRig(t)
	r.pass(watchLook)
	if e := r.looked(cluster.NodeState{ReceiveLSN: 1000}); len(find[Knock](e)) != 1 {
		t.Fatalf("the receiver has ended, and the leader's node is not tried: %+v", e)
	}
	if e := r.knocks(time.Millisecond, ""); r.gone(e) != 0 || !r.loop.obs.Suspicion.Since.Never() && len(find[Knock](e)) != 0 {
		t.Fatalf("after one try: %+v", e)
	}
	var last []Effect
	for range 3 {
		r.pass(100 * time.Millisecond)
		if e := r.step(Tick{}); len(find[Knock](e)) != 1 {
			t.Fatalf("no further try: %+v", e)
		}
		last = r.knocks(time.Millisecond, "")
		r.loop.busy[LaneMember] = false
	}
	if gone := r.gone(last); gone != 60 {
		t.Errorf("after 300 ms without an answer the member key says %d, want the last beat", gone)
	}
	r.pass(100 * time.Millisecond)
	r.step(Tick{})
	if gone := r.gone(r.knocks(time.Millisecond, "server")); gone != 0 {
		t.Errorf("its server has answered, and the member key says %d", gone)
	}
}

// TestATryThatWasHeldUpSaysNothing: this process was frozen, and not the leader's node
// silent.
func TestATryThatWasHeldUpSaysNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		e     Knocked
		since bool
	}{
		{"a limit of silence", Knocked{Leader: "pg2", Ended: cluster.Instant(election.KnockLimit)}, true},
		{"longer than it may take", Knocked{Leader: "pg2", Ended: cluster.Instant(election.KnockLimit + 2*knockSlack)}, false},
		{"an answer", Knocked{Leader: "pg2", Ended: 1, Answered: "agent"}, false},
	} {
		r := watchRig(t)
		c.e.Began, c.e.Ended = r.now, r.now+c.e.Ended
		r.now = c.e.Ended
		r.step(c.e)
		if since := r.loop.obs.Suspicion.Since; since.Never() == c.since {
			t.Errorf("%s: nobody answers since %d", c.name, since)
		}
	}
}

// TestAnotherLeaderIsMeasuredAnew: what was found of the last one does not count.
func TestAnotherLeaderIsMeasuredAnew(t *testing.T) {
	r := watchRig(t)
	r.knocks(election.KnockLimit, "")
	r.view.Leader = &cluster.Leader{Name: "pg3", LeaseID: 13, Term: 80}
	r.see()
	r.knocks(election.KnockLimit, "") // still of pg2
	if s := r.loop.obs.Suspicion; s.Leader != "pg3" || !s.Since.Never() || s.Heard.Never() {
		t.Errorf("%+v", s)
	}
}

// TestACheapLookKeepsWhatOnlyAWholeOneSays of the receiver, as long as that is the same;
// a new one is looked at as a whole.
func TestACheapLookKeepsWhatOnlyAWholeOneSays(t *testing.T) {
	r := watchRig(t)
	cheap := func(receiver *cluster.Receiver) []Effect {
		r.pass(watchLook)
		r.loop.busy[LaneLook] = true
		return r.step(Looked{At: r.now, Fast: true, Instance: r.loop.instance(), Node: cluster.NodeState{Mode: cluster.ModeStandby, Timeline: 1, ReceiveLSN: 1000, Receiver: receiver}})
	}
	r.looked(cluster.NodeState{ReceiveLSN: 1000, Receiver: &cluster.Receiver{Status: "streaming", Timeline: 1, Host: "h2", Latest: 2000}})
	cheap(&cluster.Receiver{Status: "streaming", Timeline: 1})
	if got := r.loop.obs.Node.Value.Receiver; got.Host != "h2" || got.Latest != 2000 {
		t.Errorf("of the same receiver %+v is known", got)
	}
	cheap(nil)
	if got := r.loop.obs.Node.Value.Receiver; got != nil {
		t.Errorf("of a receiver that has ended %+v is known", got)
	}
	if looks := find[Look](cheap(&cluster.Receiver{Status: "streaming", Timeline: 1})); len(looks) != 1 || looks[0].Fast {
		t.Errorf("of a new receiver: %+v, want a whole look", looks)
	}
}

// TestAStandbyIsGivenItsTimeFromWhenThereIsAPrimaryToStreamFrom: what the election took, and the promotion, does not count.
func TestAStandbyIsGivenItsTimeFromWhenThereIsAPrimaryToStreamFrom(t *testing.T) {
	r := watchRig(t)
	alone := cluster.NodeState{ReceiveLSN: 1000}
	lead := func(name, host string, primary bool) {
		m := cluster.Member{Name: name, ConnURL: "postgres://" + host + ":5432/postgres", APIURL: "http://" + host + ":8008/patroni", Timeline: 1}
		if primary {
			m.Role, m.State, m.Timeline = cluster.RolePrimary, cluster.StateRunning, 2
		}
		r.view.Members[name] = m
		r.view.Leader = &cluster.Leader{Name: name, LeaseID: 13, Term: 70}
		r.see()
	}
	since := func() cluster.Instant {
		r.looked(alone)
		return r.loop.obs.NotStreaming
	}
	began := since()
	r.pass(5 * time.Second)
	if got := since(); got != began {
		t.Errorf("nothing has changed, and the time without a stream began anew, after %s", got.Sub(began))
	}
	lead("pg3", "h3", false)
	elected := r.now
	r.pass(5 * time.Second)
	if got := since(); got != elected {
		t.Errorf("with another leader it begins at %d, not %d", got, elected)
	}
	lead("pg3", "h3", true)
	promoted := r.now
	r.pass(time.Second)
	if got := since(); got != promoted {
		t.Errorf("once that is a primary it begins at %d, not %d", got, promoted)
	}
	r.receives(2000)
	if got := r.loop.obs.NotStreaming; !got.Never() {
		t.Errorf("it streams, and is said not to since %d", got)
	}
}
