package agent

import (
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/probe"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// heir gives the rig a standby that could take over.
func (r *rig) heir() {
	r.view.Members = map[string]cluster.Member{"pg2": {Name: "pg2", ConnURL: "postgres://h2:5432/postgres", State: cluster.StateRunning,
		Role: cluster.RoleReplica, Timeline: 1, XlogLocation: 1000, Keeper: &cluster.MemberKeeper{}}}
	r.see()
}

// fails has a check fail for d, until now.
func (r *rig) fails(check cluster.CheckName, a cluster.Ailment, d time.Duration) []Effect {
	since := r.now.Add(-d)
	r.step(Probed{Check: check, Began: since, At: since.Add(d / 2), Ailment: a})
	return r.step(Probed{Check: check, Began: since, At: r.now, Ailment: a})
}

func jobs(effects []Effect) (found []election.Action) {
	for _, j := range find[OnJob](effects) {
		found = append(found, j.Action)
	}
	return found
}

func TestAPrimaryThatHangsIsKilledAndNotRenewedAndItsLeaseReleased(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.heir()
	r.pass(6 * time.Second / 10)
	effects := r.fails(cluster.CheckAccept, cluster.AilmentHung, 6*time.Second)
	if got := jobs(effects); !slices.Contains(got, election.Action(election.StopServer{Mode: election.StopImmediate, Patience: 100 * time.Millisecond})) || renews(effects) {
		t.Fatalf("jobs %v, renewed: %t", got, renews(effects))
	}
	if r.loop.obs.Lease.Condemned != cluster.AilmentHung || r.loop.memberNow().Keeper.Sick != cluster.AilmentHung {
		t.Fatalf("condemned for %q, member key %q", r.loop.obs.Lease.Condemned, r.loop.memberNow().Keeper.Sick)
	}
	r.pass(time.Second)
	if effects := append(r.look(cluster.ModePrimary), r.step(Tick{})...); renews(effects) {
		t.Error("a condemned primary renews")
	}
	r.step(GuardSaid{guard.Event{Kind: guard.Exited, Instance: "i1"}})
	effects = r.step(JobDone{Kind: election.JobStop})
	r.pass(time.Second) // its directory is not looked at in time
	effects = append(effects, r.step(Tick{})...)
	if !slices.ContainsFunc(leaseActions(effects), func(a election.Action) bool { _, ok := a.(election.Release); return ok }) {
		t.Fatalf("not released: %v, %s", leaseActions(effects), r.loop.decision.Reason)
	}
	r.step(LeaseDone{Action: election.Release{}, Outcome: Succeeded})
	if o := &r.loop.obs; o.Lease.Condemned != "" || o.Lease.Term != 0 || election.Sickness(o) != cluster.AilmentHung {
		t.Errorf("afterwards: %+v, sick: %q", o.Lease, election.Sickness(o))
	}
}

// TestALeaseThatEndedWhileItWasGivenUpHoldsNothingUp: the guard says so, and what the
// node does next, to rejoin the primary after it, is no work under that lease.
func TestALeaseThatEndedWhileItWasGivenUpHoldsNothingUp(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.heir()
	r.fails(cluster.CheckAccept, cluster.AilmentHung, 6*time.Second)
	r.step(GuardSaid{guard.Event{Kind: guard.DeadlineFired, Term: 61}})
	r.step(JobDone{Kind: election.JobStop})
	r.loop.obs.Job.Kind = election.JobRejoin
	if ended := find[Cancel](r.loop.keepJob()); len(ended) > 0 || r.loop.obs.Lease.Condemned != "" {
		t.Errorf("condemned for %q, %d jobs ended", r.loop.obs.Lease.Condemned, len(ended))
	}
}

// TestACondemnedLeaseIsNotRegranted: that would be a renewal.
func TestACondemnedLeaseIsNotRegranted(t *testing.T) {
	for _, condemned := range []cluster.Ailment{"", cluster.AilmentStalled} {
		r := newRig(t)
		r.primary()
		r.loop.obs.Lease.Condemned = condemned
		r.loop.config.settings.TTL = 20 * time.Second
		if began := len(r.loop.keepSession()) > 0; began != (condemned == "") {
			t.Errorf("condemned for %q: regranted %t", condemned, began)
		}
	}
}

// TestAStartThatTakesTooLongIsEndedWithTheLease: the job slot must be free for the stop.
func TestAStartThatTakesTooLongIsEndedWithTheLease(t *testing.T) {
	r := newRig(t)
	r.primary()
	for kind, ends := range map[election.JobKind]bool{election.JobStart: true, election.JobPromote: true, election.JobStop: false, election.JobNone: false} {
		r.loop.obs.Lease.Condemned, r.loop.obs.Job.Kind = cluster.AilmentStart, kind
		if got := len(find[Cancel](r.loop.keepJob())) > 0; got != ends {
			t.Errorf("%q is ended: %t, want %t", kind, got, ends)
		}
	}
	r.loop.obs.Lease.Condemned, r.loop.obs.Job.Kind = "", election.JobStart
	if len(r.loop.keepJob()) > 0 {
		t.Error("a start under a good lease is ended")
	}
}

// TestPausedMeansPausedForTheSickToo: a pause pardons.
func TestPausedMeansPausedForTheSickToo(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.heir()
	r.fails(cluster.CheckAccept, cluster.AilmentHung, 6*time.Second)
	r.view.Config = &cluster.Config{Raw: []byte(`{"pause":true}`), ModRevision: 70}
	r.see()
	if r.loop.obs.Lease.Condemned != "" {
		t.Error("the lease is still condemned in a pause")
	}
}

func TestWhatALostProbeSaidCountsNoMore(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.fails(cluster.CheckData, cluster.AilmentFull, time.Second)
	r.step(ProbeLost{})
	if r.loop.obs.Health != (cluster.Health{}) {
		t.Errorf("health %+v", r.loop.obs.Health)
	}
	r.step(Probed{Check: "of_a_newer_version", At: r.now, Ailment: cluster.AilmentFull})
	if r.loop.obs.Health != (cluster.Health{}) {
		t.Errorf("a check nobody knows: %+v", r.loop.obs.Health)
	}
}

// TestARecoveryTeachesTheRateOfReplay, when it was long enough, and no other start does.
func TestARecoveryTeachesTheRateOfReplay(t *testing.T) {
	crash := cluster.ControlData{State: cluster.ControlInProduction, Redo: 0x1000000}
	for name, c := range map[string]struct {
		control cluster.ControlData
		end     cluster.LSN
		took    time.Duration
		err     string
		want    int64
	}{
		"a long recovery": {crash, 0x1000000 + 400<<20, 4 * time.Second, "", 100 << 20},
		"a short one":     {crash, 0x1000000 + 1<<20, 4 * time.Second, "", 0},
		"one that failed": {crash, 0x1000000 + 400<<20, 4 * time.Second, "it broke", 0},
		"a clean start":   {cluster.ControlData{State: cluster.ControlShutdown, Redo: 0x1000000}, 0x1000000 + 400<<20, 4 * time.Second, "", 0},
	} {
		r := newRig(t)
		r.primary()
		r.loop.obs.Recovery.End, r.loop.server.recovers = c.end, c.control
		r.loop.obs.Job = election.Job{Kind: election.JobStart, Since: r.now}
		r.pass(c.took)
		r.loop.obs.Now = r.now
		r.loop.measureRecovery(JobDone{Kind: election.JobStart, Err: c.err})
		if got := r.loop.obs.Recovery.Rate; got != c.want || r.loop.seen.ReplayRate != c.want {
			t.Errorf("%s: %d, remembered %d, want %d", name, got, r.loop.seen.ReplayRate, c.want)
		}
	}
}

// TestOnlyAServerOfOursIsProbed: a probe writes, and a directory without a server may hold
// another cluster's data, which nothing touches (S7).
func TestOnlyAServerOfOursIsProbed(t *testing.T) {
	for mode, want := range map[cluster.Mode]bool{cluster.ModeUnknown: false, cluster.ModeStopped: false, cluster.ModeStarting: true,
		cluster.ModeStandby: true, cluster.ModePrimary: true, cluster.ModeStopping: true} {
		s := &cluster.Status{Node: cluster.Seen(cluster.NodeState{Mode: mode}, 1), Settings: cluster.DefaultSettings()}
		if got := probed(s); got != want {
			t.Errorf("a server that is %s is probed: %t, want %t", mode, got, want)
		}
		s.Node = s.Node.Failed("it hangs", 2)
		if got := probed(s); got != want {
			t.Errorf("one that was %s and hangs: %t, want %t", mode, got, want)
		}
		if s.Settings.ProbeTimeout = 0; probed(s) {
			t.Error("probe_timeout 0 probes all the same")
		}
	}
}

// TestAProbeIsKeptAndHeard with a program of a few lines in its place.
func TestAProbeIsKeptAndHeard(t *testing.T) {
	events := make(chan Event, 16)
	spec := probe.Spec{DataDir: "/data", Patience: time.Second}
	p := &prober{program: "/bin/sh", argv: []string{"sh", "-c",
		`read spec; case "$spec" in *'"data_dir":"/data"'*) echo '{"check":"data","began":1,"at":2,"ailment":"disk_full","detail":"x"}';; esac`},
		spec: func() (probe.Spec, postgres.Login, bool) { return spec, postgres.Login{}, true },
		post: func(e Event) { events <- e }, log: slog.New(slog.DiscardHandler)}
	if err := p.once(t.Context(), spec, postgres.Login{}); err == nil {
		t.Error("a probe that ends by itself is no error")
	}
	want := Probed{Check: cluster.CheckData, Began: 1, At: 2, Ailment: cluster.AilmentFull, Detail: "x"}
	if e := <-events; e != Event(want) {
		t.Errorf("heard %v, want %v", e, want)
	}
	p.argv = []string{"sh", "-c", "read spec; read forever"}
	p.spec = func() (probe.Spec, postgres.Login, bool) { return spec, postgres.Login{}, false }
	if err := p.once(t.Context(), spec, postgres.Login{}); err != nil {
		t.Errorf("a probe that is not wanted any more: %v", err)
	}
	var wanted atomic.Value
	wanted.Store(spec)
	changed := make(chan struct{}, 1)
	p.changed, p.spec = changed, func() (probe.Spec, postgres.Login, bool) { return wanted.Load().(probe.Spec), postgres.Login{}, true }
	ended := make(chan error)
	go func() { ended <- p.once(t.Context(), spec, postgres.Login{}) }()
	notify(changed) // of nothing new
	other := spec
	other.Patience *= 2
	wanted.Store(other)
	notify(changed)
	if err := <-ended; err != nil {
		t.Errorf("a probe that is to probe something else: %v", err)
	}
}

// What is to be probed is looked at anew when it changes, and only then.
func TestTheProberIsToldOfWhatChanges(t *testing.T) {
	w := &worker{node: &Node{}, reprobe: make(chan struct{}, 1)}
	w.node.local.Store(&config.Config{})
	told := func(s cluster.Status) bool {
		w.tellProber(&s)
		select {
		case <-w.reprobe:
			return true
		default:
			return false
		}
	}
	s := cluster.Status{Node: cluster.Seen(cluster.NodeState{Mode: cluster.ModeStandby}, 1), Settings: cluster.DefaultSettings()}
	if !told(s) || told(s) {
		t.Error("a server that came is told of once")
	}
	if s.LoopAt++; told(s) {
		t.Error("a step is no news")
	}
	if s.Settings.ProbeTimeout++; !told(s) {
		t.Error("another probe_timeout is none")
	}
	if w.node.local.Store(&config.Config{}); !told(s) {
		t.Error("another configuration is none")
	}
	if s.Node.Value.Mode = cluster.ModeStopped; !told(s) {
		t.Error("a server that went is none")
	}
}
