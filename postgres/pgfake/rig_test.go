package pgfake

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// rig is a world with a hand on its clock.
type rig struct {
	*testing.T
	*Site
	now cluster.Instant
	cut map[string]bool // "a-b", both ways
	// events are what Notify said, in words.
	events []string
}

func newRig(t *testing.T, traps Traps) *rig {
	t.Helper()
	r := &rig{T: t, Site: NewSite(traps), now: cluster.Instant(time.Hour), cut: map[string]bool{}}
	r.Reach = func(a, b *Server) bool { return !r.cut[a.name+"-"+b.name] && !r.cut[b.name+"-"+a.name] }
	r.Notify = func(h Happening) {
		what := [...]string{"exited", "opened", "promoted", "unlinked", "settled", "gate lost"}[h.Kind]
		if h.Kind == Settled {
			what = fmt.Sprintf("settled %d %s", h.Commit, h.Outcome)
		}
		r.events = append(r.events, h.Server.Name()+" "+what)
	}
	return r
}

// wait lets d pass.
func (r *rig) wait(d time.Duration) {
	r.now = r.now.Add(d)
	r.Advance(r.now)
}

// until lets time pass until done, in a bounded number of small steps.
func (r *rig) until(what string, done func() bool) time.Duration {
	r.Helper()
	from := r.now
	for range 20000 {
		if done() {
			return r.now.Sub(from)
		}
		r.wait(time.Millisecond)
	}
	r.Fatalf("not within 20 s: %s", what)
	return 0
}

// finish waits for work and returns its error.
func (r *rig) finish(w *Work, err error) error {
	r.Helper()
	if err != nil {
		return err
	}
	r.until("the work ends", func() bool { return w.Done })
	return w.Err
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) mode(s *Server) cluster.Mode {
	n, err := s.Look(r.now)
	if err != nil {
		return cluster.ModeUnknown
	}
	return n.Mode
}

func (r *rig) look(s *Server) cluster.NodeState {
	r.Helper()
	n, err := s.Look(r.now)
	r.must(err)
	return n
}

// start starts s and waits until it answers.
func (r *rig) start(s *Server, standby bool) {
	r.Helper()
	s.SetStandbySignal(standby)
	s.DropOrphans()
	_, err := s.Spawn(r.now)
	r.must(err)
	r.until(s.Name()+" is up", func() bool { return r.mode(s).Running() })
}

// primary makes a new cluster with its primary running.
func (r *rig) primary(name string) *Server {
	r.Helper()
	s := r.Server(name)
	w, err := s.InitDB(r.now)
	r.must(r.finish(w, err))
	r.start(s, false)
	return s
}

// standby clones name from up, starts it and waits until it streams.
func (r *rig) standby(name string, up *Server) *Server {
	r.Helper()
	s := r.Server(name)
	w, err := s.Clone(r.now, up.Name(), name, "pgkeeper_clone_"+name)
	r.must(r.finish(w, err))
	s.WriteUpstream(Upstream{up.Name(), "5432", name})
	r.start(s, true)
	r.streams(s)
	return s
}

func (r *rig) streams(s *Server) {
	r.Helper()
	r.until(s.Name()+" streams", func() bool { return r.look(s).Receiver != nil })
	r.wait(5 * time.Millisecond)
}

func (r *rig) stop(s *Server) time.Duration {
	r.Helper()
	r.must(s.Signal(r.now, s.proc.pid, syscall.SIGINT))
	return r.until(s.Name()+" stops", func() bool { return len(s.Scan()) == 0 })
}

// promote promotes s onto tl, with placeholders; 0 for whatever it takes.
func (r *rig) promote(s *Server, tl cluster.Timeline) {
	r.Helper()
	files := map[string]string{}
	if tl != 0 {
		var err error
		files, err = s.HistoryFiles(r.look(s).Timeline, tl)
		r.must(err)
	}
	s.PlacePromote(files)
	r.must(s.Signal(r.now, s.proc.pid, syscall.SIGUSR1))
	r.until(s.Name()+" is promoted", func() bool { return r.mode(s) == cluster.ModePrimary })
}

func (r *rig) write(s *Server) Commit {
	r.Helper()
	c, o := s.Write(r.now, 200, false)
	if o == Refused {
		r.Fatalf("%s refused a write", s.Name())
	}
	return c
}

func (r *rig) follow(s *Server, up *Server) {
	r.Helper()
	until, err := s.Follow(r.now, Upstream{up.Name(), "5432", ""})
	r.must(err)
	r.wait(until.Sub(r.now))
}

// pair is a primary with one standby, pg1 and pg2.
func pair(t *testing.T, traps Traps) (r *rig, one, two *Server) {
	t.Helper()
	r = newRig(t, traps)
	one = r.primary("pg1")
	return r, one, r.standby("pg2", one)
}

// trio is a primary with two standbys.
func trio(t *testing.T, traps Traps) (r *rig, one, two, three *Server) {
	t.Helper()
	r, one, two = pair(t, traps)
	return r, one, two, r.standby("pg3", one)
}

// both runs a case with a trap and without it.
func both(t *testing.T, without Traps, run func(t *testing.T, traps Traps, on bool)) {
	t.Helper()
	t.Run("with the trap", func(t *testing.T) { run(t, Traps{}, true) })
	t.Run("without it", func(t *testing.T) { run(t, without, false) })
}
