package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// gatehouse is a server and its guard that write down what concerns the gate.
type gatehouse struct {
	promotee
	status guard.Status
	did    []string
	refuse error  // of a new configuration
	name   string // that the server's file has
	gate   *guard.Gate
	deaf   bool // the server does not let the gate in
	waits  bool // its commits wait for a gate
	// idle is why the checkpointer has not read the name; nil once it has.
	idle error
	// begins and streams are how long after it was asked for a deaf one's gate shows its
	// first sign of life, and streams after all; 0 for never.
	begins, streams time.Duration
	asked           time.Time
}

func newGatehouse(t *testing.T, status guard.Status) (*gatehouse, *Node) {
	t.Helper()
	h := &gatehouse{status: status, promotee: promotee{lands: 7, exited: make(chan struct{})}}
	n := NewNode(Parts{Server: h, Link: gatehouseLink{h: h}, Clock: realClock{}, Config: &config.Config{Name: "pg1"},
		Log: slog.New(slog.DiscardHandler), Post: func(Event) {}})
	return h, n
}

func (h *gatehouse) note(what string) { h.did = append(h.did, what) }

func (h *gatehouse) Status(context.Context) (guard.Status, error) {
	st := h.status
	if age := time.Since(h.asked); h.deaf && h.gate != nil {
		st.Gate = &guard.GateStatus{Name: h.gate.Name, Report: guard.GateReport{Beat: st.Now - 1, Streaming: h.streams != 0 && age >= h.streams}}
		if h.begins != 0 && age >= h.begins {
			st.Gate.Report.Beat = st.Now + age
		}
	}
	return st, nil
}

func (h *gatehouse) Gate(_ context.Context, g *guard.Gate) error {
	h.gate, h.asked = g, time.Now() //nolint:forbidigo // the bubble's clock
	if g != nil && !h.deaf {
		h.status.Gate = &guard.GateStatus{Name: g.Name, Report: guard.GateReport{Streaming: true}}
	}
	if g == nil {
		h.note("no gate")
	} else {
		h.note("gate")
	}
	return nil
}

func (h *gatehouse) GateLogin() postgres.Login {
	return postgres.Login{SocketDir: "/run/x", Port: "5432", Username: "postgres", Password: "secret", UID: 7}
}

func (h *gatehouse) WriteConfig(_ context.Context, spec postgres.ConfigSpec) (postgres.Change, error) {
	if h.refuse != nil {
		return postgres.Change{}, h.refuse
	}
	h.name = spec.Gate
	h.note("names")
	return postgres.Change{Reload: true}, nil
}

func (h *gatehouse) WriteGate(name string) error {
	h.name = name
	h.note("names")
	return nil
}

func (h *gatehouse) GateTaken(context.Context) error { return h.idle }

func (h *gatehouse) Reload(context.Context) error { h.note("reload"); return nil }

func (h *gatehouse) Promote(ctx context.Context, term int64, dir string, files map[string]string) error {
	h.note("promote")
	return h.promotee.Promote(ctx, term, dir, files)
}

func (h *gatehouse) SetStandbySignal(bool) error { return nil }

func (h *gatehouse) WriteUpstream(postgres.Upstream) error { return nil }

func (h *gatehouse) RecoversByItself(context.Context) error { return nil }

func (h *gatehouse) StartSpec(bool, cluster.Settings) (postgres.Start, error) {
	return postgres.Start{Argv: []string{"postgres"}}, nil
}

func (h *gatehouse) Start(_ context.Context, o guard.StartOptions) (guard.Started, error) {
	h.gate = o.Gate
	h.note("start")
	h.promoted = true // it answers
	return guard.Started{Instance: "i2"}, nil
}

type gatehouseLink struct {
	Link
	h *gatehouse
}

func (l gatehouseLink) Guard() Guard                  { return l.h }
func (l gatehouseLink) Exited(string) <-chan struct{} { return l.h.exited }
func (l gatehouseLink) Started(guard.Server)          {}
func (h *gatehouse) expect(t *testing.T, want ...string) { //nolint:unparam // reads as a sentence
	t.Helper()
	if !slices.Equal(h.did, want) {
		t.Errorf("did %q, want %q", h.did, want)
	}
}

func gatedSettings(on bool) cluster.Settings {
	s := cluster.DefaultSettings()
	s.CommitGate = on
	return s
}

func (h *gatehouse) reload(t *testing.T, n *Node, on bool) string {
	t.Helper()
	do := OnServer{Action: election.Reload{}, Settings: gatedSettings(on), Upstream: &election.Upstream{}, Gated: true, Waits: h.waits}
	done, _ := n.Run(t.Context(), do).(ServerDone)
	return done.Err
}

func TestAGateIsThereBeforeAnythingWaitsForIt(t *testing.T) {
	h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{Writable: true}})
	if err := h.reload(t, n, true); err != "" {
		t.Fatal(err)
	}
	h.expect(t, "gate", "names", "reload")
	if !cluster.IsGate(h.name) || h.gate.Name != h.name {
		t.Errorf("commits wait for %q, the gate is %+v", h.name, h.gate)
	}
	if g := h.gate; g.SocketDir != "/run/x" || g.Port != "5432" || g.User != "postgres" || g.Password != "secret" || g.Owner == nil || g.Owner.UID != 7 {
		t.Errorf("the gate is to get in by %+v", h.gate)
	}
}

// A parameter that PostgreSQL does not know keeps no server down that ran without it: it is
// started with the configuration it had, but for whom it follows and its gate.
func TestARefusedParameterKeepsNoServerDown(t *testing.T) {
	for name, c := range map[string]struct {
		refuse error
		starts bool
	}{
		"a parameter":   {fmt.Errorf("%w: unrecognized configuration parameter", postgres.ErrParameter), true},
		"anything else": {errors.New("no space left on device"), false},
	} {
		h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol})
		h.refuse = c.refuse
		done, _ := n.onJob(t.Context(), OnJob{Action: election.StartServer{Upstream: &election.Upstream{}}, Settings: gatedSettings(true)}).(JobDone)
		if started := slices.Contains(h.did, "start"); started != c.starts || (done.Err == "") != c.starts {
			t.Errorf("%s: did %q, %q", name, h.did, done.Err)
		}
		if c.starts && (!cluster.IsGate(h.name) || h.gate == nil || h.gate.Name != h.name) {
			t.Errorf("its commits wait for %q, and the guard runs %+v", h.name, h.gate)
		}
	}
}

// Commits that wait for a gate which the server does not let in would wait for ever.
func TestNothingWaitsForAGateThatCannotStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{Writable: true}})
		h.deaf, n.clock = true, bubble{}
		err := h.reload(t, n, true)
		if !strings.Contains(err, "pg_hba.conf") || h.name != "" {
			t.Errorf("%q: commits wait for %q", err, h.name)
		}
		h.expect(t, "gate", "names", "reload", "no gate")
	})
}

// A gate that the server does not let in keeps everything else about the server waiting:
// not for long. One that has not begun yet is another matter.
func TestAGateThatIsNewToARunningPrimaryIsWaitedForAsLongAsItNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		begins, streams, within time.Duration
		inForce                 bool
	}{
		"at once":                    {begins: gateEvery, streams: gateEvery, within: 5 * gateEvery, inForce: true},
		"a slow beginning":           {begins: guard.GateBegins - time.Second, streams: guard.GateBegins + time.Second, within: guard.GateBegins + 2*time.Second, inForce: true},
		"begun, but never let in":    {begins: time.Second, within: time.Second + gateArrives + 5*gateEvery},
		"a gate that does not begin": {within: guard.GateBegins + 5*gateEvery},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Now: time.Hour, Server: &guard.Server{Writable: true}})
				h.deaf, h.begins, h.streams, n.clock = true, c.begins, c.streams, bubble{}
				began := time.Now()
				err := h.reload(t, n, true)
				if took := time.Since(began); took > c.within || (h.name != "") != c.inForce {
					t.Errorf("after %v commits wait for %q (%v), want an end within %v, in force %v", took, h.name, err, c.within, c.inForce)
				}
			})
		})
	}
}

// A guard that adopted a server knows of no gate, and its commits wait for one all the
// same: to empty the name would release them.
func TestANameInForceIsNotEmptiedBecauseTheNextGateCannotStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{Writable: true}})
		h.deaf, h.waits, n.clock = true, true, bubble{}
		if err := h.reload(t, n, true); err != "" || !cluster.IsGate(h.name) || h.gate == nil || h.gate.Name != h.name {
			t.Errorf("%q: commits wait for %q, the gate is %+v", err, h.name, h.gate)
		}
		h.expect(t, "gate", "names", "reload")
	})
}

func TestANameInForceThatTheGuardKnowsNothingOfIsTakenOffOnlyUnderALease(t *testing.T) {
	now := time.Hour
	for name, c := range map[string]struct {
		protocol int
		deadline time.Duration
		on       bool
		taken    bool
	}{
		"turned off, no lease":          {gateProtocol, 0, false, false},
		"turned off, a lease":           {gateProtocol, now + time.Minute, false, true},
		"a guard without gates":         {gateProtocol - 1, 0, true, false},
		"a guard without gates, leased": {gateProtocol - 1, now + time.Minute, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			h, n := newGatehouse(t, guard.Status{Protocol: c.protocol, Now: now, Server: &guard.Server{Writable: true}, Term: 5, EndedTerm: 4, Deadline: c.deadline})
			h.waits = true
			err := h.reload(t, n, c.on)
			if c.taken {
				h.expect(t, "names", "reload")
				return
			}
			if !strings.Contains(err, errGateStays.Error()) {
				t.Errorf("error %q", err)
			}
			h.expect(t)
		})
	}
}

// bubble is the time of a test's bubble.
type bubble struct{ realClock }

func (bubble) Now() cluster.Instant { return cluster.Instant(time.Now().UnixNano()) } //nolint:forbidigo // the bubble's clock

func TestAWorkerKeepsTheGateThatItFinds(t *testing.T) {
	h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{}, Gate: &guard.GateStatus{Name: "pgkeeper_gate_1"}})
	if err := h.reload(t, n, true); err != "" || h.name != "pgkeeper_gate_1" || h.gate.Name != h.name {
		t.Errorf("%q: commits wait for %q, the gate is %+v", err, h.name, h.gate)
	}
}

func TestNothingWaitsForAGateThatAnOlderGuardCannotStart(t *testing.T) {
	h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol - 1, Server: &guard.Server{Writable: true}})
	if err := h.reload(t, n, true); err != "" {
		t.Fatal(err)
	}
	h.expect(t, "names", "reload")
	n.configured.Store(true)
	_ = n.onJob(t.Context(), OnJob{Action: election.StartServer{}, Settings: gatedSettings(true)})
	if h.name != "" || h.gate != nil {
		t.Errorf("commits wait for %q, gate %+v", h.name, h.gate)
	}
}

func TestTheGateIsTakenOffOnlyUnderALeaseThatHolds(t *testing.T) {
	now := time.Hour
	writable := guard.Status{Protocol: gateProtocol, Now: now, Server: &guard.Server{Writable: true}, Gate: &guard.GateStatus{Name: "pgkeeper_gate_1"},
		Term: 5, EndedTerm: 4, Deadline: now + time.Minute}
	for _, c := range []struct {
		name  string
		set   func(*guard.Status)
		taken bool
	}{
		{"the lease holds", func(*guard.Status) {}, true},
		{"the deadline has passed", func(s *guard.Status) { s.Deadline = now }, false},
		{"the deadline is near", func(s *guard.Status) { s.Deadline = now + gateReserve }, false},
		{"the term has ended", func(s *guard.Status) { s.EndedTerm = 5 }, false},
		{"there never was a lease", func(s *guard.Status) { s.Term, s.EndedTerm, s.Deadline = 0, 0, 0 }, false},
		{"a standby commits nothing", func(s *guard.Status) { s.Server.Writable, s.Deadline = false, 0 }, true},
		{"a pause has no deadline", func(s *guard.Status) { s.Paused, s.Deadline = true, 0 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, server := writable, *writable.Server
			status.Server = &server
			c.set(&status)
			h, n := newGatehouse(t, status)
			err := h.reload(t, n, false)
			if !c.taken {
				if !strings.Contains(err, errGateStays.Error()) {
					t.Errorf("error %q", err)
				}
				h.expect(t)
				return
			}
			if err != "" || h.name != "" {
				t.Errorf("%q: commits wait for %q", err, h.name)
			}
			h.expect(t, "names", "reload", "no gate")
		})
	}
}

func TestEachStartHasAGateOfItsOwn(t *testing.T) {
	h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol})
	seen := map[string]bool{}
	for range 3 {
		done, _ := n.onJob(t.Context(), OnJob{Action: election.StartServer{Upstream: &election.Upstream{}}, Settings: gatedSettings(true)}).(JobDone)
		if done.Err != "" || h.gate == nil || h.gate.Name != h.name || !cluster.IsGate(h.name) || seen[h.name] {
			t.Fatalf("%q: commits wait for %q, gate %+v, before %v", done.Err, h.name, h.gate, seen)
		}
		seen[h.name] = true
	}
	h.expect(t, "names", "start", "names", "start", "names", "start")
	done, _ := n.onJob(t.Context(), OnJob{Action: election.StartServer{Upstream: &election.Upstream{}}, Settings: gatedSettings(false)}).(JobDone)
	if done.Err != "" || h.name != "" || h.gate != nil {
		t.Errorf("%q: without commit_gate commits wait for %q, gate %+v", done.Err, h.name, h.gate)
	}
}

func TestAServerIsPromotedWithItsGateInForce(t *testing.T) {
	promote := func(n *Node) JobDone {
		do := OnJob{Action: election.Promote{Timeline: 7}, Settings: gatedSettings(true), Term: 61, Instance: "i1", Node: cluster.NodeState{Timeline: 1}}
		done, _ := n.onJob(t.Context(), do).(JobDone)
		return done
	}
	h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{}})
	if done := promote(n); done.Err != "" {
		t.Error(done.Err)
	}
	h.expect(t, "gate", "names", "reload", "promote")
	h, n = newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{}, Gate: &guard.GateStatus{Name: "pgkeeper_gate_1"}})
	n.told.Store(true)
	if done := promote(n); done.Err != "" {
		t.Error(done.Err)
	}
	h.expect(t, "promote")
}

// TestAServerThatWasNotToldOfItsGateIsToldBeforeItsPromotion: the guard runs the gate and
// the files name it, but the server could not reload them, so its commits would wait for
// nobody.
func TestAServerThatWasNotToldOfItsGateIsToldBeforeItsPromotion(t *testing.T) {
	h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{}, Gate: &guard.GateStatus{Name: "pgkeeper_gate_1"}})
	do := OnJob{Action: election.Promote{Timeline: 7}, Settings: gatedSettings(true), Term: 61, Instance: "i1", Node: cluster.NodeState{Timeline: 1}}
	if done, _ := n.onJob(t.Context(), do).(JobDone); done.Err != "" || h.name != "pgkeeper_gate_1" {
		t.Errorf("%s, commits wait for %q", done.Err, h.name)
	}
	h.expect(t, "gate", "names", "reload", "promote")
}

// The files name the gate, and every new connection shows it: until the checkpointer has
// read it too, commits wait for nobody.
func TestAServerIsPromotedOnceItsCheckpointerHasReadTheGate(t *testing.T) {
	h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{}, Gate: &guard.GateStatus{Name: "pgkeeper_gate_1"}})
	h.idle = errors.New("a checkpoint is under way")
	n.told.Store(true)
	do := OnJob{Action: election.Promote{Timeline: 7}, Settings: gatedSettings(true), Term: 61, Instance: "i1", Node: cluster.NodeState{Timeline: 1}}
	if done, _ := n.onJob(t.Context(), do).(JobDone); done.Err != h.idle.Error() {
		t.Errorf("promoted: %q", done.Err)
	}
	h.expect(t)
	h.idle = nil
	if done, _ := n.onJob(t.Context(), do).(JobDone); done.Err != "" {
		t.Error(done.Err)
	}
	h.expect(t, "promote")
}

func TestAGateIsInForceOnceTheCheckpointerHasReadIt(t *testing.T) {
	for _, c := range []struct{ writable, waits bool }{{true, false}, {true, true}, {false, false}} {
		h, n := newGatehouse(t, guard.Status{Protocol: gateProtocol, Server: &guard.Server{Writable: c.writable}})
		h.idle, h.waits = errors.New("a checkpoint is under way"), c.waits
		// A standby's commits wait for nobody anyway; it is asked before its promotion.
		if err := h.reload(t, n, true); strings.Contains(err, h.idle.Error()) != c.writable {
			t.Errorf("%+v: %q", c, err)
		}
		h.idle = nil
		if err := h.reload(t, n, true); err != "" {
			t.Errorf("%+v, once it has read it: %q", c, err)
		}
	}
}

// statusless is a guard that does not answer.
type statusless struct{ *gatehouse }

func (statusless) Status(context.Context) (guard.Status, error) {
	return guard.Status{}, errors.New("no answer")
}

type statuslessLink struct{ gatehouseLink }

func (l statuslessLink) Guard() Guard { return statusless{l.h} }

func TestAServerWhoseGateIsNotKnownIsNotPromoted(t *testing.T) {
	h, n := newGatehouse(t, guard.Status{})
	n.link = statuslessLink{gatehouseLink{h: h}}
	done, _ := n.onJob(t.Context(), OnJob{Action: election.Promote{Timeline: 7}, Settings: gatedSettings(true)}).(JobDone)
	if done.Err == "" {
		t.Error("promoted without knowing of a gate")
	}
	h.expect(t)
}

// A guard that adopted a server knows nothing of its gate, and commits wait for it.
func TestAGuardThatAdoptedAServerIsToldOfItsGate(t *testing.T) {
	r := newRig(t)
	r.loop.config.settings.CommitGate, r.loop.config.applied = true, r.loop.config.rev
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", Writable: true}, Gate: &guard.GateStatus{Name: "pgkeeper_gate_1"}}})
	if r.loop.config.applied != r.loop.config.rev {
		t.Error("a guard that has the gate is told again")
	}
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", Writable: true}}})
	if r.loop.config.applied == r.loop.config.rev {
		t.Error("a guard without the gate is not told")
	}
}

// Turning the gate off needs to know that there is one.
func TestAServerThatMayHaveAGateIsAskedForIt(t *testing.T) {
	reloads := func(r *rig) bool {
		effects := r.loop.onServer(election.Reload{}, &election.Upstream{})
		r.loop.busy[LaneServer] = false
		return find[OnServer](effects)[0].Gated
	}
	r := newRig(t)
	if reloads(r) {
		t.Error("asked for a gate that nobody ever wanted")
	}
	r.loop.config.settings.CommitGate = true
	on := reloads(r)
	r.loop.config.settings.CommitGate = false
	if off := reloads(r); !on || !off {
		t.Errorf("asked when turned on: %t, off: %t", on, off)
	}
	r = newRig(t)
	r.step(GuardUp{guard.Status{Server: &guard.Server{Instance: "i1"}, Gate: &guard.GateStatus{Name: "pgkeeper_gate_1"}}})
	if !reloads(r) {
		t.Error("not asked for the gate that the last worker left")
	}
	r = newRig(t)
	r.loop.obs.Node.Value.Gate = cluster.GateMissing
	if do := find[OnServer](r.loop.onServer(election.Reload{}, &election.Upstream{}))[0]; !do.Gated || !do.Waits {
		t.Errorf("%+v of a server whose commits wait for a gate", do)
	}
}

// TestNoServerIsStartedBesideAReload: one that turns the gate on waits for it to stream,
// and takes its name off again when it cannot. A server that started meanwhile would
// have its own name taken off, with all that waits for it.
func TestNoServerIsStartedBesideAReload(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Config = &cluster.Config{Raw: []byte(`{"ttl":6}`), ModRevision: 70}
	if begun := find[OnServer](r.see()); len(begun) != 1 || begun[0].Action != (election.Reload{}) {
		t.Fatalf("the configuration has changed, and %+v is done to the server", begun)
	}
	r.view.Requests = []cluster.Request{{ID: "x", Member: "pg1", Kind: cluster.RequestRestart}}
	if jobs := find[OnJob](r.see()); len(jobs) != 0 {
		t.Errorf("beside a reload: %+v", jobs)
	}
	for _, a := range []election.Action{election.Rejoin{}, election.Clone{}} { // which start one at their end
		if begun := r.loop.onJob(a); len(begun) != 0 {
			t.Errorf("beside a reload: %+v", begun)
		}
	}
	if begun := r.loop.onJob(election.StopServer{}); len(begun) != 1 {
		t.Error("a stop waits for a reload")
	}
	r.loop.busy[LaneJob], r.loop.obs.Job.Kind = false, election.JobNone
	if jobs := find[OnJob](r.step(ServerDone{Action: election.Reload{}})); len(jobs) != 1 {
		t.Errorf("after it: %+v, want the restart", jobs)
	}
}

func TestNoServerIsPromotedBesideAReload(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.seesStandby()
	r.loop.busy[LaneServer], r.loop.server.configuring = true, true
	reserved := &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 2, Term: 61}}, ModRevision: 70}
	if jobs := find[OnJob](r.step(LeaseDone{Action: election.Reserve{Above: 1}, At: r.now, Term: 61, Outcome: Succeeded, Timelines: reserved})); len(jobs) != 0 {
		t.Errorf("beside a reload: %+v", jobs)
	}
	if jobs := find[OnJob](r.step(ServerDone{Action: election.Reload{}})); len(jobs) != 1 || !reflect.DeepEqual(jobs[0].Action, election.Promote{Timeline: 2}) {
		t.Errorf("after it: %+v, want the promotion", jobs)
	}
}
