package agent

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// answers are the answers on their way to the store.
func answers(effects []Effect) []cluster.Result {
	var results []cluster.Result
	for _, do := range find[OnKeys](effects) {
		if a, ok := do.Action.(election.Answer); ok {
			results = append(results, a.Result)
		}
	}
	return results
}

// TestAReloadIsAnsweredByHowItEnds: a refused file is not answered as if it were
// in force.
func TestAReloadIsAnsweredByHowItEnds(t *testing.T) {
	for _, c := range []struct {
		name, failure string
		done          bool
		message       string
	}{
		{"a good file", "", true, "reload scheduled"},
		{"a bad file", "the old configuration stays in force: line 3: not a map", false, "the old configuration stays in force: line 3: not a map"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.primary()
			r.view.Requests = []cluster.Request{{ID: "r1", Member: "pg1", Kind: cluster.RequestReload}}
			effects := r.see()
			if n := len(find[Reread](effects)); n != 1 || len(answers(effects)) != 0 {
				t.Fatalf("the file is read %d times, and answered %v before it was read", n, answers(effects))
			}
			if effects := r.see(); len(find[Reread](effects)) != 0 || r.loop.decision.Reason != election.ReasonLeading {
				t.Errorf("while the file is read: %v, %s; want the loop to go on", effects, r.loop.decision.Reason)
			}
			r.settle()
			got := answers(r.step(RereadDone{Err: c.failure}))
			if len(got) != 1 || got[0].ID != "r1" || got[0].Done != c.done || got[0].Refused == c.done || got[0].Message != c.message {
				t.Errorf("%+v", got)
			}
			if got := answers(r.step(RereadDone{})); len(got) != 0 {
				t.Errorf("answered twice: %+v", got)
			}
		})
	}
}

// choosy is a surface that takes no new configuration.
type choosy struct {
	Surface
	err error
}

func (c choosy) Reload(*config.Config) error { return c.err }

// TestAReloadThatTheRESTAPIRefusesChangesNothing: what is not in force is not said to be.
func TestAReloadThatTheRESTAPIRefusesChangesNothing(t *testing.T) {
	old, changed := &config.Config{Name: "pg1"}, &config.Config{Name: "pg1", Tags: cluster.Tags{"nofailover": true}}
	for _, refusal := range []error{nil, errors.New("restapi.allowlist: no such thing")} {
		var posted []Event
		w := &worker{Options: Options{Log: slog.New(slog.DiscardHandler), Reload: func() (*config.Config, error) { return changed, nil }},
			node: &Node{post: func(e Event) { posted = append(posted, e) }}, surface: choosy{err: refusal}, reloaded: make(chan struct{}, 1)}
		w.node.local.Store(old)
		err := w.reload()
		if refused := refusal != nil; !errors.Is(err, refusal) || (w.node.local.Load() == old) != refused || (len(posted) == 0) != refused || (len(w.reloaded) == 0) != refused {
			t.Errorf("refused with %v: got %v, told %v, in force %+v", refusal, err, posted, w.node.local.Load())
		}
	}
}

// TestASecondReloadDoesNotWait: a file that cannot be read at all, on a dead file
// system, must not hold decisions up.
func TestASecondReloadDoesNotWait(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.view.Requests = []cluster.Request{{ID: "r1", Member: "pg1", Kind: cluster.RequestReload}, {ID: "r2", Member: "pg1", Kind: cluster.RequestReload}}
	got := answers(append(r.see(), r.see()...))
	if len(got) != 1 || got[0].ID != "r2" || !got[0].Refused {
		t.Errorf("%+v", got)
	}
}

// TestTagsThatWereTakenOutOfTheFileAreGone: a member whose last tag was removed is none
// that must not be primary any more.
func TestTagsThatWereTakenOutOfTheFileAreGone(t *testing.T) {
	r := newRig(t)
	r.primary()
	r.step(Reloaded{Tags: cluster.Tags{"nofailover": true}})
	if !r.loop.obs.Self.Tags.NoFailover() {
		t.Fatal("a tag that was written is not in force")
	}
	if r.step(Reloaded{}); r.loop.obs.Self.Tags.NoFailover() {
		t.Error("a tag that was taken out is still in force")
	}
}

// TestAConfigurationThatTheServerRefusesIsLeftAlone: it is tried again less and less often,
// and holds up neither another configuration nor anything else.
func TestAConfigurationThatTheServerRefusesIsLeftAlone(t *testing.T) {
	begun := func(effects []Effect) bool {
		for _, d := range find[OnServer](effects) {
			if _, reloads := d.Action.(election.Reload); reloads {
				return true
			}
		}
		return false
	}
	r := newRig(t)
	r.primary()
	r.view.Config = &cluster.Config{Raw: []byte(`{"ttl":5}`), ModRevision: 70}
	refused := func() []Effect {
		return r.step(ServerDone{Action: election.Reload{}, Instance: r.loop.instance(), Err: "unrecognized configuration parameter"})
	}
	if !begun(r.see()) {
		t.Fatal("not told of a new configuration")
	}
	for try, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if begun(refused()) || len(r.loop.onServer(election.Promise{Term: 60}, nil)) != 1 {
			t.Fatalf("try %d: told again at once, or a promise waits for it", try)
		}
		r.loop.busy[LaneServer] = false
		wake := r.loop.config.retryAt
		if want := r.now.Add(pause * time.Second); wake != want {
			t.Errorf("try %d: the next %v later, want %v", try, wake.Sub(r.now), pause*time.Second)
		}
		r.pass(pause*time.Second - time.Millisecond)
		if begun(r.loop.keepConfigured()) {
			t.Errorf("try %d: told again too early", try)
		}
		r.loop.obs.Now = r.now
		before := r.now
		r.pass(time.Millisecond)
		if r.loop.obs.Now = r.now; !r.loop.keepsSince(before) {
			t.Errorf("try %d: nobody looks for it", try)
		}
		if !begun(r.loop.keepConfigured()) {
			t.Errorf("try %d: not told again", try)
		}
	}
	r.loop.obs.Node.Value.Gate = cluster.GateMissing
	if refused(); r.loop.config.retryAt != r.now.Add(serverPause) {
		t.Error("commits that wait for a gate wait longer and longer for the next try")
	}
	r.pass(serverPause)
	r.loop.obs.Now = r.now
	if !begun(r.loop.keepConfigured()) {
		t.Error("not told again")
	}
	for name, news := range map[string]func(){
		"another configuration": func() {
			r.view.Config = &cluster.Config{Raw: []byte(`{"ttl":5}`), ModRevision: r.view.Config.ModRevision + 1}
			r.see()
		},
		"another file": func() {
			r.loop.busy[LaneServer] = true // with something else, until the next view
			r.step(Reloaded{})
			r.see()
			r.loop.busy[LaneServer] = false
		},
		"another server": func() {
			r.step(ServerStarted{Server: guard.Server{Instance: "i2", Writable: true, PID: 10}})
			r.look(cluster.ModePrimary)
		},
	} {
		refused()
		if news(); !r.loop.server.configuring && !begun(r.loop.keepConfigured()) {
			t.Errorf("%s waits", name)
		}
	}
}
