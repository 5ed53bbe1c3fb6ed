package sim

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// stage is where a trap is shown: servers of pgfake, a clock, and a hand that does
// what an agent or an operator would, one thing after the other.
type stage struct {
	t *testing.T
	*pgfake.Site
	now  cluster.Instant
	cuts map[[2]string]bool
	text []byte
}

func newStage(t *testing.T, traps pgfake.Traps) *stage {
	t.Helper()
	g := &stage{t: t, Site: pgfake.NewSite(traps), now: cluster.Instant(time.Second), cuts: map[[2]string]bool{}}
	g.Reach = func(a, b *pgfake.Server) bool {
		return !g.cuts[[2]string{a.Name(), b.Name()}] && !g.cuts[[2]string{b.Name(), a.Name()}]
	}
	g.Notify = func(h pgfake.Happening) {
		switch h.Kind {
		case pgfake.Exited:
			g.told(h.At, h.Server.Name(), "the server has ended")
		case pgfake.Opened, pgfake.Promoted:
			g.told(h.At, h.Server.Name(), "accepts writes")
		case pgfake.Settled:
			g.told(h.At, h.Server.Name(), "commit %d: %s", h.Commit, h.Outcome)
		}
	}
	return g
}

func (g *stage) told(at cluster.Instant, who, format string, args ...any) {
	g.text = fmt.Appendf(g.text, "%8.3f  %-4s %s\n", float64(at)/float64(time.Second), who, fmt.Sprintf(format, args...))
}

func (g *stage) say(s *pgfake.Server, format string, args ...any) {
	g.told(g.now, s.Name(), format, args...)
}

func (g *stage) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatalf("%v\n%s", err, g.text)
	}
}

func (g *stage) wait(d time.Duration) {
	g.now = g.now.Add(d)
	g.Advance(g.now)
}

// until waits for at most patience and tells when that was not enough.
func (g *stage) until(patience time.Duration, done func() bool) bool {
	for end := g.now.Add(patience); g.now < end; g.wait(time.Millisecond) {
		if done() {
			return true
		}
	}
	return false
}

func (g *stage) mode(s *pgfake.Server) cluster.Mode { n, _ := s.Look(g.now); return n.Mode }

// work waits for a clone, a rewind or a checkpoint.
func (g *stage) work(s *pgfake.Server, what string, w *pgfake.Work, err error) bool {
	if err == nil {
		g.until(time.Minute, func() bool { return w.Done })
		err = w.Err
	}
	if err != nil {
		g.say(s, "%s: %v", what, err)
		return false
	}
	g.say(s, "%s: done", what)
	return true
}

// start starts the server as a primary or standby and tells what became of it.
func (g *stage) start(s *pgfake.Server, standby bool) {
	g.t.Helper()
	s.SetStandbySignal(standby)
	s.DropOrphans()
	_, err := s.Spawn(g.now)
	g.must(err)
	g.until(10*time.Second, func() bool { return g.mode(s).Running() || len(s.Scan()) == 0 })
	if !g.mode(s).Running() {
		g.say(s, "does not start: %s", s.StartFailure())
		return
	}
	g.say(s, "runs as %s", g.mode(s))
}

// primary makes the cluster.
func (g *stage) primary(name string) *pgfake.Server {
	g.t.Helper()
	s := g.Server(name)
	w, err := s.InitDB(g.now)
	g.work(s, "initdb", w, err)
	g.start(s, false)
	return s
}

// standby clones name from up and has it stream, through its slot.
func (g *stage) standby(name string, up *pgfake.Server) *pgfake.Server {
	g.t.Helper()
	s := g.Server(name)
	w, err := s.Clone(g.now, up.Name(), name, "pgkeeper_clone_"+name)
	g.work(s, "clone of "+up.Name(), w, err)
	s.WriteUpstream(pgfake.Upstream{Host: up.Name(), Port: "5432", Slot: name})
	g.start(s, true)
	g.streams(s)
	return s
}

// pair is pg1 with its standby pg2, trio another standby pg3.
func (g *stage) pair() (one, two *pgfake.Server) {
	one = g.primary("pg1")
	return one, g.standby("pg2", one)
}

func (g *stage) trio() (one, two, three *pgfake.Server) {
	one, two = g.pair()
	return one, two, g.standby("pg3", one)
}

// streams tells whether a standby streams within a second.
func (g *stage) streams(s *pgfake.Server) {
	ok := g.until(time.Second, func() bool { n, _ := s.Look(g.now); return n.Receiver != nil })
	g.wait(50 * time.Millisecond)
	n, err := s.Look(g.now)
	switch {
	case err != nil:
		g.say(s, "cannot be asked: %v", err)
	case ok && n.Receiver != nil:
		g.say(s, "streams from %s, at %s", n.Receiver.Host, n.Position())
	default:
		g.say(s, "does not stream, at %s: %s", n.Position(), s.Complaint())
	}
}

func (g *stage) follow(s, up *pgfake.Server) {
	g.t.Helper()
	g.say(s, "told to follow %s", up.Name())
	until, err := s.Follow(g.now, pgfake.Upstream{Host: up.Name(), Port: "5432"})
	g.must(err)
	g.wait(until.Sub(g.now))
	g.streams(s)
}

// stop is a fast stop.
func (g *stage) stop(s *pgfake.Server) {
	g.t.Helper()
	g.say(s, "fast stop")
	for _, pid := range s.Scan() {
		g.must(s.Signal(g.now, pid, syscall.SIGINT))
	}
	if !g.until(10*time.Second, func() bool { return len(s.Scan()) == 0 }) {
		g.say(s, "has not stopped after 10 s")
	}
}

// kill sends SIGKILL to all of the server.
func (g *stage) kill(s *pgfake.Server) {
	g.say(s, "SIGKILL")
	s.KillAll(g.now)
}

func (g *stage) powerOff(s *pgfake.Server) {
	g.say(s, "power off")
	s.PowerOff(g.now)
}

func (g *stage) cut(a, b *pgfake.Server, on bool) {
	g.wait(10 * time.Millisecond)
	g.say(a, map[bool]string{true: "cut off from %s", false: "reaches %s again"}[on], b.Name())
	g.cuts[[2]string{a.Name(), b.Name()}] = on
}

// promote promotes s onto the reserved number, or without a reservation (0).
func (g *stage) promote(s *pgfake.Server, reserved cluster.Timeline) {
	g.t.Helper()
	n, err := s.Look(g.now)
	g.must(err)
	var files map[string]string
	if reserved != 0 {
		files, err = s.HistoryFiles(n.Timeline, reserved)
		g.must(err)
	}
	s.PlacePromote(files)
	from := g.now
	g.must(s.Signal(g.now, n.PostmasterPID, syscall.SIGUSR1))
	if !g.until(10*time.Second, func() bool { return g.mode(s) == cluster.ModePrimary }) {
		g.say(s, "is not promoted after 10 s: %s", s.Complaint())
		return
	}
	n, err = s.Look(g.now)
	g.must(err)
	g.say(s, "promoted to timeline %d in %s", n.Timeline, g.now.Sub(from))
}

func (g *stage) write(s *pgfake.Server, size int, weak bool) pgfake.Commit {
	c, o := s.Write(g.now, size, weak)
	g.say(s, "commit %d: %s", c, o)
	return c
}

// where tells who has a commit, and who shows it.
func (g *stage) where(c pgfake.Commit, servers ...*pgfake.Server) {
	g.wait(10 * time.Millisecond)
	for _, s := range servers {
		g.say(s, "commit %d (%s): has it %t, shows it %t", c, g.Outcome(c), s.Has(c), s.Shows(c))
	}
}

func (g *stage) checkpoint(s *pgfake.Server) {
	w, err := s.Checkpoint(g.now)
	g.work(s, "checkpoint", w, err)
}

// relate tells what pgkeeper makes of a server's relation to its source.
func (g *stage) relate(s, up *pgfake.Server) election.Relation {
	g.t.Helper()
	n := s.Disk()
	if len(s.Scan()) > 0 {
		var err error
		n, err = s.Look(g.now)
		g.must(err)
	}
	info, err := s.SourceInfo(g.now, up.Name())
	g.must(err)
	r := election.Relate(n, election.Source{SystemID: info.SystemID, Timeline: info.Timeline, LSN: info.LSN, InRecovery: info.InRecovery, History: info.History})
	g.say(s, "pgkeeper compares %s with %s: %s", n.Position(), up.Name(), r)
	return r
}

// rejoin does the rewind, and tells how it went.
func (g *stage) rewind(s, up *pgfake.Server) {
	w, err := s.Rewind(g.now, up.Name())
	if g.work(s, "rewind from "+up.Name(), w, err) && !w.Rewound {
		g.say(s, "no rewind required")
	}
}
