package agent

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// program is a Runner with behaviour: a server that is primary, a store that
// answers, each of which can be made to hang.
type program struct {
	mu      sync.Mutex
	start   time.Time
	ran     []Do
	running map[string]int
	most    map[string]int
	hang    map[string]bool
}

func newProgram() *program {
	return &program{start: clock.Wall(), running: map[string]int{}, most: map[string]int{}, hang: map[string]bool{}}
}

func (p *program) boot() cluster.Instant {
	return cluster.Instant(clock.Wall().Sub(p.start)) + 100*second
}

func kindOf(do Do) string {
	switch do.(type) {
	case Look:
		return "look"
	case OnLease:
		return "lease"
	case OnJob:
		return "job"
	case GuardEnd, GuardPause:
		return "guard"
	}
	return "other"
}

func (p *program) Run(ctx context.Context, do Do) Event {
	kind := kindOf(do)
	p.mu.Lock()
	p.ran = append(p.ran, do)
	p.running[kind]++
	p.most[kind] = max(p.most[kind], p.running[kind])
	hang := p.hang[kind]
	p.mu.Unlock()
	defer func() { p.mu.Lock(); p.running[kind]--; p.mu.Unlock() }()
	at := p.boot()
	if hang {
		<-ctx.Done()
	} else {
		clock.Sleep(nil, time.Millisecond)
	}
	return p.answer(do, at, ctx.Err())
}

func (p *program) answer(do Do, at cluster.Instant, err error) Event {
	switch do := do.(type) {
	case Look:
		if err != nil {
			return Looked{At: at, Instance: do.Instance, Fast: do.Fast, Err: err.Error()}
		}
		return Looked{At: at, Instance: do.Instance, Fast: do.Fast, Node: cluster.NodeState{Mode: cluster.ModePrimary, Data: cluster.DataValid, SystemID: "sys", Timeline: 1, WriteLSN: 5}}
	case OpenSession:
		return SessionOpened{LeaseID: 11, TTL: do.TTL}
	case PutMember:
		return MemberPut{Lease: 11}
	case OnLease:
		e := LeaseDone{Action: do.Action, At: at, Term: do.Term, Outcome: Succeeded}
		if err != nil {
			e.Outcome, e.Err = Unknown, err.Error()
		}
		if _, ok := do.Action.(election.Inherit); ok {
			e.Term = 61
		}
		return e
	case OnKeys:
		return KeysDone{Action: do.Action}
	case OnServer:
		return ServerDone{Action: do.Action, Instance: do.Instance}
	case OnJob:
		return JobDone{Kind: election.KindOf(do.Action), Err: errText(err)}
	case Persist:
		return persisted{}
	}
	return nil
}

// leadingDriver runs a driver whose loop leads, in a bubble of virtual time.
func leadingDriver(t *testing.T, p *program) (*Driver, context.CancelFunc) {
	t.Helper()
	r := newRig(t)
	loop := NewLoop(r.loop.id, nil, Memory{}, nil, parseTest, slog.New(slog.DiscardHandler), p.boot())
	d := NewDriver(loop, p, nil, slog.New(slog.DiscardHandler))
	d.read = func() clock.Reading { return clock.Reading{Boot: p.boot(), Wall: clock.Wall()} }
	ctx, cancel := context.WithCancel(t.Context())
	go d.Run(ctx)
	d.Post(ctx, GuardUp{guard.Status{Server: &guard.Server{Instance: "i1", Writable: true}}})
	view := r.view
	view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 11, Term: 60}
	view.Holder = &cluster.Holder{Name: "pg1", Node: "node1", Instance: "i1", BootID: "boot"}
	view.Beat = &cluster.Beat{TTL: 5000, Term: 60, ModRevision: 60}
	view.Revision = 60
	view.Status = &cluster.Positions{Optime: 5, Timeline: 1}
	d.Post(ctx, ViewSeen{View: view})
	clock.Sleep(nil, 200*time.Millisecond)
	synctest.Wait()
	if s := d.Status(); s == nil || s.Term != 61 {
		t.Fatalf("setup: status %+v, want term 61", s)
	}
	return d, cancel
}

func TestTheLeaseIsRenewedWhileALongJobRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgram()
		d, cancel := leadingDriver(t, p)
		defer cancel()
		p.mu.Lock()
		p.hang["job"] = true
		p.mu.Unlock()
		view := d.Status().View.Value
		view.Revision = 62
		view.Leader = &cluster.Leader{Name: "pg1", LeaseID: 11, Term: 61}
		view.Requests = []cluster.Request{{ID: "r", Member: "pg1", Kind: cluster.RequestRestart}}
		d.Post(t.Context(), ViewSeen{View: view})
		clock.Sleep(nil, 30*time.Second)
		synctest.Wait()
		s := d.Status()
		if s.Job != "restart" || !s.Holds(p.boot()) {
			t.Errorf("after 30 s of a job: job %q, holds %t; want the lease renewed all along", s.Job, s.Holds(p.boot()))
		}
		if p.most["job"] != 1 {
			t.Errorf("%d jobs ran at once, want 1", p.most["job"])
		}
	})
}

func TestALeaseWhoseServerCannotBeSeenIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgram()
		d, cancel := leadingDriver(t, p)
		defer cancel()
		p.mu.Lock()
		p.hang["look"] = true
		p.mu.Unlock()
		clock.Sleep(nil, 10*time.Second)
		synctest.Wait()
		if s := d.Status(); s.Term != 0 {
			t.Errorf("term %d is held 10 s after the last good look at ttl 5", s.Term)
		}
		ended := false
		for _, do := range p.ran {
			_, ok := do.(GuardEnd)
			ended = ended || ok
		}
		if !ended {
			t.Error("the guard was not told to end the term")
		}
	})
}

func TestALeaseWhoseStoreDoesNotAnswerIsLostAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgram()
		d, cancel := leadingDriver(t, p)
		defer cancel()
		p.mu.Lock()
		p.hang["lease"] = true
		p.mu.Unlock()
		clock.Sleep(nil, 3*time.Second)
		synctest.Wait()
		if s := d.Status(); s.Term == 0 {
			t.Error("the term was given up before its deadline")
		}
		clock.Sleep(nil, 3*time.Second)
		synctest.Wait()
		if s := d.Status(); s.Term != 0 || s.Holds(p.boot()) {
			t.Errorf("term %d is held past s + T - margin", s.Term)
		}
	})
}

func TestOneEffectOfALaneRunsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgram()
		_, cancel := leadingDriver(t, p)
		defer cancel()
		clock.Sleep(nil, 20*time.Second)
		synctest.Wait()
		for kind, most := range p.most {
			if kind != "other" && most > 1 {
				t.Errorf("%d effects of %s ran at once", most, kind)
			}
		}
	})
}

func TestAnIdlePrimaryRenewsEveryFifthOfTheTTLAndDoesLittleElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgram()
		_, cancel := leadingDriver(t, p)
		defer cancel()
		clock.Sleep(nil, 10*time.Second)
		synctest.Wait()
		p.mu.Lock()
		p.ran = nil
		p.mu.Unlock()
		clock.Sleep(nil, 60*time.Second)
		synctest.Wait()
		counts := map[string]int{}
		for _, do := range p.ran {
			counts[kindOf(do)]++
		}
		if counts["lease"] < 55 || counts["lease"] > 62 || counts["look"] > 70 || counts["other"] > 2 {
			t.Errorf("in an idle minute at ttl 5: %v; want about 60 renewals, as many looks, nothing else", counts)
		}
	})
}

func TestTheDriverWaitsForItsEffectsWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgram()
		d, cancel := leadingDriver(t, p)
		p.mu.Lock()
		p.hang["look"] = true
		p.mu.Unlock()
		clock.Sleep(nil, 1500*time.Millisecond)
		cancel()
		synctest.Wait()
		d.effects.Wait()
		if p.running["look"] != 0 {
			t.Error("an effect outlived the driver")
		}
	})
}

// TestAnEffectIsEndedEarlyInItsLane: and nothing in another.
func TestAnEffectIsEndedEarlyInItsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan Lane, 2)
		d := NewDriver(nil, hanging(func(do Do) {
			lane := LaneJob
			if _, server := do.(OnServer); server {
				lane = LaneServer
			}
			ended <- lane
		}), nil, slog.New(slog.DiscardHandler))
		d.start(ctx, Effect{Lane: LaneJob, Do: OnJob{}})
		d.start(ctx, Effect{Lane: LaneServer, Limit: time.Hour, Do: OnServer{}})
		d.start(ctx, Effect{Lane: LaneCheckpoint, Do: Cancel{}}) // nothing runs there
		d.start(ctx, Effect{Lane: LaneServer, Do: Cancel{}})
		if first := <-ended; first != LaneServer {
			t.Errorf("lane %d was ended", first)
		}
		end()
		d.effects.Wait()
	})
}

// hanging runs every effect until it is ended.
type hanging func(Do)

func (f hanging) Run(ctx context.Context, do Do) Event {
	<-ctx.Done()
	f(do)
	return nil
}
