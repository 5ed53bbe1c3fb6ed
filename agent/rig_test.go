package agent

import (
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

const second = cluster.Instant(time.Second)

// rig drives a Loop by hand: no goroutine, no clock but the one it turns.
type rig struct {
	*testing.T
	loop *Loop
	now  cluster.Instant
	wall time.Time
	view cluster.View
}

// parseTest reads ttl in seconds and pause; "bad" is refused.
func parseTest(raw json.RawMessage) (cluster.Settings, string) {
	s := cluster.DefaultSettings()
	s.TTL, s.LoopWait, s.RetryTimeout = 5*time.Second, time.Second, time.Second
	var c struct {
		TTL   int  `json:"ttl"`
		Pause bool `json:"pause"`
		Bad   bool `json:"bad"`
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &c); err != nil || c.Bad {
			return s, "not a good configuration"
		}
	}
	if c.TTL != 0 {
		s.TTL = time.Duration(c.TTL) * time.Second
	}
	s.Pause = c.Pause
	return s, ""
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, now: 100 * second, wall: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	r.loop = NewLoop(Identity{Scope: "s", Name: "pg1", Node: "node1", BootID: "boot", ConnURL: "postgres://h1:5432/postgres", APIURL: "http://h1:8008/patroni", Version: "1"},
		nil, Memory{}, nil, parseTest, slog.New(slog.DiscardHandler), r.now)
	r.view = cluster.View{ClusterID: 7, Revision: 50, Initialize: &cluster.Initialize{SystemID: "sys"},
		Members: map[string]cluster.Member{}, Config: &cluster.Config{Raw: json.RawMessage(`{}`), ModRevision: 3}}
	return r
}

func (r *rig) step(e Event) []Effect {
	return r.loop.Step(clock.Reading{Boot: r.now, Wall: r.wall}, e)
}

func (r *rig) pass(d time.Duration) { r.now = r.now.Add(d); r.wall = r.wall.Add(d) }

// see gives the loop the rig's view at a new revision.
func (r *rig) see() []Effect {
	r.view.Revision++
	return r.step(ViewSeen{View: r.view})
}

// primary brings the loop to hold term 60 with a running primary.
func (r *rig) primary() {
	r.Helper()
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", Writable: true, PID: 9}}})
	r.view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 11, Term: 60}
	r.view.Holder = &cluster.Holder{Name: "pg1", Node: "node1", Instance: "i1", BootID: "boot"}
	r.view.Beat = &cluster.Beat{TTL: 5000, Term: 60, ModRevision: 60}
	r.view.Revision = 59
	r.see()
	r.step(SessionOpened{LeaseID: 11, TTL: 5 * time.Second})
	r.look(cluster.ModePrimary)
	r.loop.busy[LaneLease] = true
	r.step(LeaseDone{Action: election.Inherit{Term: 60}, At: r.now, Term: 61, Outcome: Succeeded})
	r.view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 11, Term: 61}
	r.view.Beat = &cluster.Beat{TTL: 5000, ModRevision: 61}
	r.view.Revision = 60
	r.view.Status = &cluster.Positions{Optime: 1000, Timeline: 1}
	r.see()
	r.pass(10 * time.Millisecond)
	r.look(cluster.ModePrimary)
	r.settle()
	r.loop.busy[LaneLook] = false
	if r.loop.obs.Lease.Term != 61 || r.loop.decision.Reason != election.ReasonLeading {
		r.Fatalf("setup: term %d, reason %s, want term 61 leading", r.loop.obs.Lease.Term, r.loop.decision.Reason)
	}
}

// seesStandby has a look end that shows the server as a standby, with WAL up to 1000 on
// timeline 1.
func (r *rig) seesStandby() []Effect {
	r.loop.busy[LaneLook] = true
	return r.step(Looked{At: r.now, Instance: r.loop.instance(), Node: cluster.NodeState{Mode: cluster.ModeStandby, Data: cluster.DataValid, SystemID: "sys", Timeline: 1, ReceiveLSN: 1000, ReplayLSN: 1000, ServerVersion: 150018}})
}

// settle ends every effect under way, well.
func (r *rig) settle() {
	ends := map[Lane]Event{LaneMember: MemberPut{Lease: 11}, LaneKeys: KeysDone{}, LaneServer: ServerDone{Action: election.Reload{}}, LanePersist: persisted{}}
	for range 5 {
		for lane, e := range ends {
			if r.loop.busy[lane] {
				r.step(e)
			}
		}
	}
}

// look ends the look under way, or one of its own, with the mode.
func (r *rig) look(mode cluster.Mode) []Effect {
	node := cluster.NodeState{Mode: mode, Data: cluster.DataValid, SystemID: "sys", Timeline: 1, WriteLSN: 1000, ServerVersion: 150018}
	r.loop.busy[LaneLook] = true
	return r.step(Looked{At: r.now, Node: node, Instance: r.loop.instance()})
}

// find returns the effects that do something of type D.
func find[D Do](effects []Effect) []D {
	var found []D
	for _, e := range effects {
		if d, ok := e.Do.(D); ok {
			found = append(found, d)
		}
	}
	return found
}

// onLease returns the actions on the leader key among effects.
func leaseActions(effects []Effect) []election.Action {
	var actions []election.Action
	for _, d := range find[OnLease](effects) {
		actions = append(actions, d.Action)
	}
	return actions
}

func renews(effects []Effect) bool {
	return slices.ContainsFunc(leaseActions(effects), func(a election.Action) bool { _, ok := a.(election.Renew); return ok })
}
