package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// promotee is a standby whose promotion ends on a timeline of its own choice, and
// the guard and link around it; what is not needed is not there.
type promotee struct {
	Server
	Guard
	lands    cluster.Timeline
	names    string
	deaf     error // of setting the synchronous standbys
	hangs    bool  // while they are set
	instance string
	promoted bool
	ended    []int64
	exited   chan struct{}
}

func (p *promotee) HistoryFiles(_, _ cluster.Timeline) (map[string]string, error) { return nil, nil }

func (p *promotee) LookFast(context.Context) (postgres.Fast, error) {
	if !p.promoted {
		return postgres.Fast{InRecovery: true, Timeline: 1}, nil
	}
	return postgres.Fast{Timeline: p.lands}, nil
}

func (p *promotee) Promote(context.Context, int64, string, map[string]string) error {
	p.promoted = true
	return nil
}

func (p *promotee) Status(context.Context) (guard.Status, error) {
	return guard.Status{Server: &guard.Server{Instance: p.instance}}, nil
}

func (p *promotee) SetSync(ctx context.Context, names string) (cluster.LSN, error) {
	if p.hangs {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if !p.promoted {
		p.names = names
	}
	return 0, p.deaf
}

func (p *promotee) EndTerm(_ context.Context, term int64) error {
	p.ended = append(p.ended, term)
	return nil
}

// promoteeLink is the session with that guard.
type promoteeLink struct {
	Link
	p *promotee
}

func (l promoteeLink) Guard() Guard { return l.p }

func (l promoteeLink) Exited(string) <-chan struct{} { return l.p.exited }

// TestAServerPromotedOntoAnotherTimelineIsStopped: a number is used by one term
// only (S8), so a server that writes on any but the reserved one must not go on.
func TestAServerPromotedOntoAnotherTimelineIsStopped(t *testing.T) {
	for _, c := range []struct {
		name  string
		lands cluster.Timeline
		want  error
		ended []int64
	}{
		{"the reserved one", 7, nil, nil},
		{"one that was reserved before it in this tenure", 6, nil, nil},
		{"the old one", 1, errTimeline, []int64{61}},
		{"a lower one", 2, errTimeline, []int64{61}},
		{"a higher one", 8, errTimeline, []int64{61}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &promotee{lands: c.lands, exited: make(chan struct{})}
			n := NewNode(Parts{Server: p, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
			done, _ := n.onJob(t.Context(), OnJob{Action: election.Promote{Timeline: 7, Or: []cluster.Timeline{6}}, Term: 61, Instance: "i1", Node: cluster.NodeState{Timeline: 1}}).(JobDone)
			if (c.want == nil) != (done.Err == "") || !slices.Equal(p.ended, c.ended) {
				t.Errorf("%+v, terms ended %v; want %v and %v", done, p.ended, c.want, c.ended)
			}
			if saw := done.Saw; (saw != nil) != (c.want == nil) || saw != nil && (saw.Instance != "i1" || !saw.Fast || saw.Node.Mode != cluster.ModePrimary || saw.Node.Timeline != c.lands) {
				t.Errorf("saw %+v", saw)
			}
		})
	}
}

// takenPromotee has the history file of the number that was reserved for it.
type takenPromotee struct{ *promotee }

func (takenPromotee) HistoryFiles(_, _ cluster.Timeline) (map[string]string, error) {
	return nil, fmt.Errorf("%w: it exists", postgres.ErrTimelineTaken)
}

func TestAPromotionOntoANumberThatIsTakenAsksForAnother(t *testing.T) {
	p := &promotee{exited: make(chan struct{})}
	n := NewNode(Parts{Server: takenPromotee{p}, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
	done, _ := n.onJob(t.Context(), OnJob{Action: election.Promote{Timeline: 7}, Term: 61, Instance: "i1"}).(JobDone)
	if done.Err == "" || done.Taken != 7 || p.promoted {
		t.Errorf("%+v, promoted %t", done, p.promoted)
	}
	r := newRig(t)
	r.primary()
	r.seesStandby()
	r.loop.busy[LaneLease] = false
	r.loop.obs.Lease.Busy = ""
	r.view.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 7, Term: 61}}, ModRevision: 70}
	r.see()
	r.step(JobDone{Kind: election.JobPromote, Err: done.Err, Taken: 7})
	r.pass(10 * time.Millisecond)
	if effects := r.seesStandby(); len(leaseActions(effects)) != 1 || len(find[OnJob](effects)) != 0 {
		t.Errorf("after it %v and %+v, want another reservation", leaseActions(effects), find[OnJob](effects))
	}
}

// crashedPromotee is a standby a process of which crashed in the middle of its promotion.
type crashedPromotee struct {
	*promotee
	asked int
}

func (c *crashedPromotee) LookFast(context.Context) (postgres.Fast, error) {
	if c.asked++; c.asked == 2 {
		return postgres.Fast{}, errors.New("the database system is in recovery mode")
	}
	return postgres.Fast{InRecovery: true, Timeline: 1}, nil
}

// TestAPromotionThatACrashHasEndedIsNotWaitedFor: the server forgets it, and is a standby as
// before.
func TestAPromotionThatACrashHasEndedIsNotWaitedFor(t *testing.T) {
	p := &promotee{exited: make(chan struct{})}
	n := NewNode(Parts{Server: &crashedPromotee{promotee: p}, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
	done, _ := n.onJob(t.Context(), OnJob{Action: election.Promote{Timeline: 7}, Term: 61, Instance: "i1"}).(JobDone)
	if done.Err == "" || len(p.ended) != 0 {
		t.Errorf("%+v, terms ended %v", done, p.ended)
	}
}

// TestDataThatStrayedIsRememberedUntilThereIsOther: numbers do not show what a server wrote
// on a timeline of another.
func TestDataThatStrayedIsRememberedUntilThereIsOther(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 7, Term: 61}}, ModRevision: 70}
	effects := r.see()
	if len(find[OnJob](effects)) != 1 {
		t.Fatalf("a primary on another number than was reserved: %+v", effects)
	}
	for _, first := range find[Persist](effects) { // of the view
		effects = r.step(persisted{Memory: Memory(first)})
	}
	kept := find[Persist](effects)
	if len(kept) != 1 || !kept[0].Strayed {
		t.Fatalf("a primary on another number than was reserved: %+v", effects)
	}
	if s := r.loop.Status(0); s.Writable(r.now) {
		t.Error("/primary answers 200")
	}
	memory := r.loop.seen
	if l := NewLoop(r.loop.id, nil, memory, nil, r.loop.parse, r.loop.log, r.now); !l.obs.Self.Strayed {
		t.Error("the next worker does not know of it")
	}
	r.step(persisted{Memory: Memory(kept[0])})
	if r.step(JobDone{Kind: election.JobStop}); !r.loop.obs.Self.Strayed {
		t.Error("forgotten when the server had stopped")
	}
	effects = r.step(JobDone{Kind: election.JobClone})
	if kept := find[Persist](effects); r.loop.obs.Self.Strayed || len(kept) != 1 || kept[0].Strayed {
		t.Errorf("after a clone: %+v", effects)
	}
}

// TestATenureGoesOnUnderAnotherTerm: what was reserved under the one it began with counts.
func TestATenureGoesOnUnderAnotherTerm(t *testing.T) {
	r := newRig(t)
	r.primary() // inherits term 60, and holds 61
	if got := r.loop.obs.Lease.Began; got != 60 {
		t.Errorf("it began with term %d, want 60", got)
	}
	if h := r.loop.holder(); h.Since != 60 {
		t.Errorf("its record says %d, want 60", h.Since)
	}
	for _, c := range []struct {
		name   string
		action election.Action
		change func()
		want   cluster.Term
	}{
		{"a lease of another length", election.Inherit{Term: 61}, func() {}, 60},
		{"a new worker of a tenure that had one before", election.Inherit{Term: 61}, func() {
			r.loop.obs.Lease.Began, r.loop.obs.View.Value.Holder = 0, &cluster.Holder{Name: "pg1", Node: r.loop.id.Node, Since: 55}
		}, 55},
		{"a record of another machine", election.Inherit{Term: 61}, func() {
			r.loop.obs.Lease.Began, r.loop.obs.View.Value.Holder = 0, &cluster.Holder{Name: "pg1", Node: "another", Since: 55}
		}, 61},
		{"a key that Patroni took under this name, beside an old record", election.Inherit{Term: 65}, func() {
			r.loop.obs.View.Value.Holder = &cluster.Holder{Name: "pg1", Node: r.loop.id.Node, Since: 55}
		}, 65},
		{"a key that is taken anew", election.Acquire{}, func() {}, 0},
		{"a hand-over that is taken up", election.Accept{Term: 70}, func() {}, 0},
	} {
		if c.change(); r.loop.began(c.action) != c.want {
			t.Errorf("%s: began with %d, want %d", c.name, r.loop.began(c.action), c.want)
		}
	}
}

// TestAServerThatDiesDuringItsPromotionIsNotWaitedFor.
func TestAServerThatDiesDuringItsPromotionIsNotWaitedFor(t *testing.T) {
	p := &promotee{exited: make(chan struct{})}
	close(p.exited)
	n := NewNode(Parts{Server: stuckPromotee{p}, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
	done, _ := n.onJob(t.Context(), OnJob{Action: election.Promote{Timeline: 7}, Term: 61, Instance: "i1"}).(JobDone)
	if done.Err == "" || len(p.ended) != 0 {
		t.Errorf("%+v, terms ended %v", done, p.ended)
	}
}

// stuckPromotee answers nothing any more.
type stuckPromotee struct{ *promotee }

func (stuckPromotee) LookFast(context.Context) (postgres.Fast, error) {
	return postgres.Fast{}, errors.New("connection refused")
}

// late is a guard that does not answer a promotion, which it may be about to carry out.
type late struct {
	*promotee
	server *guard.Server // as it says then
	silent error
}

func (l late) Promote(context.Context, int64, string, map[string]string) error {
	return context.DeadlineExceeded
}

func (l late) Status(context.Context) (guard.Status, error) {
	return guard.Status{Server: l.server}, l.silent
}

type lateLink struct {
	promoteeLink
	g late
}

func (l lateLink) Guard() Guard { return l.g }

// TestAPromotionWithoutAnswerMayComeLate: unless the guard says that it does not.
func TestAPromotionWithoutAnswerMayComeLate(t *testing.T) {
	for name, c := range map[string]struct {
		late late
		want bool
	}{
		"it is carried out":        {late{server: &guard.Server{Instance: "i1", Writable: true}}, true},
		"it never came":            {late{server: &guard.Server{Instance: "i1"}}, false},
		"the guard does not speak": {late{silent: errors.New("no answer")}, true},
		"the server is gone":       {late{}, false},
		"another has come":         {late{server: &guard.Server{Instance: "i2", Writable: true}}, false},
	} {
		p := &promotee{instance: "i1", exited: make(chan struct{})}
		c.late.promotee = p
		n := NewNode(Parts{Server: p, Link: lateLink{promoteeLink{p: p}, c.late}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // by whoever gave it up
		done, _ := n.onJob(ctx, OnJob{Action: election.Promote{Timeline: 7}, Term: 61, Instance: "i1"}).(JobDone)
		if done.Err == "" || done.MayWrite != c.want {
			t.Errorf("%s: %+v, want that it may write: %t", name, done, c.want)
		}
	}
}

// TestAPromotionThatIsNotWaitedForMayWrite: the server has been told.
func TestAPromotionThatIsNotWaitedForMayWrite(t *testing.T) {
	p := &promotee{instance: "i1", exited: make(chan struct{})}
	n := NewNode(Parts{Server: stuckPromotee{p}, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done, _ := n.onJob(ctx, OnJob{Action: election.Promote{Timeline: 7}, Term: 61, Instance: "i1"}).(JobDone)
	if done.Err == "" || !p.promoted || !done.MayWrite {
		t.Errorf("%+v, promoted: %t", done, p.promoted)
	}
}

// TestNothingIsPromotedWithoutItsSynchronousStandbys: they are in force before the
// server may acknowledge anything.
func TestNothingIsPromotedWithoutItsSynchronousStandbys(t *testing.T) {
	for name, deaf := range map[string]error{"in force": nil, "refused": errors.New("it broke")} {
		p := &promotee{lands: 7, deaf: deaf, exited: make(chan struct{})}
		n := NewNode(Parts{Server: p, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
		done, _ := n.onJob(t.Context(), OnJob{Action: election.Promote{Timeline: 7, Names: "ANY 1 (b)"}, Term: 61, Instance: "i1", Node: cluster.NodeState{Timeline: 1}}).(JobDone)
		if p.names != "ANY 1 (b)" || p.promoted != (deaf == nil) || (done.Err == "") != (deaf == nil) {
			t.Errorf("%s: names %q before the promotion, promoted %t, %q", name, p.names, p.promoted, done.Err)
		}
	}
}

// TestWhatIsToldAheadDoesNotArriveAfterAPromotion: a switchover's candidate is told whom
// commits will wait for while it writes its checkpoint. When the primary dies meanwhile it
// may be promoted under other rules, which what was told ahead must not undo.
func TestWhatIsToldAheadDoesNotArriveAfterAPromotion(t *testing.T) {
	p := &promotee{lands: 7, instance: "i1", exited: make(chan struct{})}
	n := NewNode(Parts{Server: p, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
	ahead := func(instance string) {
		e, _ := n.Run(t.Context(), OnServer{Action: election.Checkpoint{For: "op", Names: "ANY 1 (c)"}, Instance: instance}).(ServerDone)
		if e.Err != "" {
			t.Error(e.Err)
		}
	}
	if ahead("i1"); p.names != "ANY 1 (c)" {
		t.Fatalf("told %q ahead", p.names)
	}
	if err := n.namePromoted(t.Context(), "i1", "ANY 1 (b)"); err != nil {
		t.Fatal(err)
	}
	if ahead("i1"); p.names != "ANY 1 (b)" {
		t.Errorf("told %q by what came late", p.names)
	}
	p.instance = "i2"
	if ahead("i2"); p.names != "ANY 1 (c)" {
		t.Errorf("the next server is told %q ahead", p.names)
	}

	release, _ := n.holdNaming(t.Context()) // somebody is telling it
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.namePromoted(ctx, "i2", "ANY 1 (b)") }()
	cancel()
	if err := <-ended; err == nil || p.names != "ANY 1 (c)" {
		t.Errorf("%v, and %q: two told it at once", err, p.names)
	}
	release()
}

// TestANameIsToldOnlyToTheServerItWasMeantFor: a rule of an earlier tenure that was held up,
// by a disk or by whoever else writes, may not be in the record any more when it comes to
// the server that was promoted meanwhile.
func TestANameIsToldOnlyToTheServerItWasMeantFor(t *testing.T) {
	for name, late := range map[string]OnServer{
		"a rule":     {Action: election.SetSync{Names: "ANY 1 (old)"}, Instance: "i1"},
		"told ahead": {Action: election.Checkpoint{For: "op", Names: "ANY 1 (old)"}, Instance: "i1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &promotee{lands: 7, instance: "i1", exited: make(chan struct{})}
			n := NewNode(Parts{Server: p, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
			release, _ := n.holdNaming(t.Context())
			ended := make(chan Event)
			go func() { ended <- n.Run(t.Context(), late) }()
			synctest.Wait()
			p.instance = "i2" // its server dies while it waits, and the next is promoted
			release()
			if err := n.namePromoted(t.Context(), "i2", "ANY 1 (new)"); err != nil {
				t.Error(err)
			}
			<-ended
			if p.names != "ANY 1 (new)" {
				t.Errorf("%s: the next server goes by %q", name, p.names)
			}
			p.instance = "i1"
			if n.Run(t.Context(), OnServer{Action: election.SetSync{Names: "ANY 1 (own)"}, Instance: "i1"}); p.names != "ANY 1 (own)" {
				t.Errorf("a server goes by %q, and not by what was meant for it", p.names)
			}
		})
	}
}

// TestAPromotionDoesNotWaitForNamesForEver: a server that applies no configuration any more,
// since a file that it includes is broken, would keep a lease that is renewed and serves
// nobody. What is told ahead holds up no promotion either, however long its checkpoint may
// take.
func TestAPromotionDoesNotWaitForNamesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &promotee{lands: 7, instance: "i1", hangs: true, exited: make(chan struct{})}
		n := NewNode(Parts{Server: p, Link: promoteeLink{p: p}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
		for name, do := range map[string]Do{
			"a promotion": OnJob{Action: election.Promote{Timeline: 7, Names: "ANY 1 (b)"}, Term: 61, Instance: "i1"},
			"told ahead":  OnServer{Action: election.Checkpoint{For: "op", Names: "ANY 1 (b)"}, Instance: "i1"},
		} {
			began, ctx := time.Now(), t.Context()
			n.promoting = ""
			e := n.Run(ctx, do)
			if took := time.Since(began); took > serverLimit {
				t.Errorf("%s: took %v", name, took)
			}
			if job, is := e.(JobDone); is && (job.Err == "" || p.promoted) {
				t.Errorf("%+v: promoted without its names", job)
			}
		}
	})
}

// Checkpoint implements Server.
func (p *promotee) Checkpoint(context.Context) error { return nil }

// TestAJobThatHasTheServerWriteIsKnownAsOne: its guard may be frozen before it says what came
// of it.
func TestAJobThatHasTheServerWriteIsKnownAsOne(t *testing.T) {
	for _, c := range []struct {
		action election.Action
		writes bool
	}{
		{election.Promote{Timeline: 2}, true}, {election.StartServer{Writable: true}, true}, {election.Restart{Writable: true}, true},
		{election.StartServer{}, false}, {election.Restart{}, false}, {election.Clone{}, false},
	} {
		r := newRig(t)
		r.primary()
		if r.loop.onJob(c.action); r.loop.obs.Job.Writes != c.writes {
			t.Errorf("%T: may write is %t, want %t", c.action, r.loop.obs.Job.Writes, c.writes)
		}
		if r.step(JobDone{Kind: election.KindOf(c.action), Err: "failed"}); r.loop.obs.Job.Writes && r.loop.obs.Job.Kind == election.JobNone {
			t.Errorf("%T: it still may when it has ended", c.action)
		}
	}
}
