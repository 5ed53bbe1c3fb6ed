package pgfake

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

const gateName = cluster.GatePrefix + "1"

// door is a gate that lets everything through until a moment.
type door struct{ until, last cluster.Instant }

// Confirms implements Gate.
func (d *door) Confirms(now cluster.Instant) cluster.Instant {
	d.last = max(d.last, min(now, d.until))
	return d.last
}

const open = cluster.Instant(1 << 62)

// gatedServer is a primary that clients write to and whose commits wait for a gate, which
// is connected.
func gatedServer(t *testing.T) (r *rig, s *Server, d *door) {
	t.Helper()
	r = newRig(t, Traps{})
	s, d = r.primary("a"), &door{until: open}
	s.WriteGate(gateName)
	r.must(s.Reload(r.now))
	r.must(s.ConnectGate(r.now, gateName, d))
	r.Traffic = Traffic{Size: 100, Every: tick}
	r.wait(10 * tick)
	return r, s, d
}

// silence is how long no commit has been acknowledged.
func (r *rig) silence(s *Server) time.Duration { return r.now.Sub(s.Acked(r.now).At) }

func TestCommitsWaitForTheGate(t *testing.T) {
	r, s, d := gatedServer(t)
	if a := s.Acked(r.now); !a.Gated || a.Synchronous || r.silence(s) > tick || a.Decided > a.At {
		t.Fatalf("%+v at %v, want one that the gate has confirmed", a, r.now)
	}
	d.until = r.now.Add(50 * time.Millisecond)
	r.wait(time.Second)
	if a := s.Acked(r.now); a.Decided > d.until || s.dir.end == a.LSN {
		t.Errorf("%+v, decided after %v", a, d.until)
	}
	if got := r.look(s).Gate; got != cluster.GateConnected {
		t.Errorf("gate: %s", got)
	}
	d.until = open
	r.wait(tick)
	if r.silence(s) > tick {
		t.Errorf("silent for %v with an open gate", r.silence(s))
	}
}

func TestTheNameOutlivesTheGate(t *testing.T) {
	r, s, d := gatedServer(t)
	s.DropGate(r.now, d)
	r.wait(time.Second)
	if got := r.look(s).Gate; got != cluster.GateMissing || r.silence(s) < time.Second {
		t.Errorf("gate: %s, silent for %v", got, r.silence(s))
	}
	other := &door{until: open}
	r.must(s.ConnectGate(r.now, cluster.GatePrefix+"2", other)) // nobody waits for that one
	r.wait(time.Second)
	if r.silence(s) < 2*time.Second {
		t.Errorf("a gate of another name confirms: silent for %v", r.silence(s))
	}
	r.must(s.ConnectGate(r.now, gateName, &door{until: open}))
	r.wait(tick)
	if a := s.Acked(r.now); r.silence(s) > tick || a.LSN+100 < s.dir.end {
		t.Errorf("silent for %v with the gate back, %s of %s", r.silence(s), a.LSN, s.dir.end)
	}
}

func TestAnEmptiedNameReleasesWhatWaits(t *testing.T) {
	r, s, d := gatedServer(t)
	d.until = r.now
	r.wait(time.Second)
	s.WriteGate("")
	c, outcome := s.Write(r.now, 10, false)
	if outcome != Waiting || r.silence(s) < time.Second {
		t.Errorf("%s, silent for %v: the file alone changes nothing", outcome, r.silence(s))
	}
	r.must(s.Reload(r.now))
	if a := s.Acked(r.now); a.Gated || a.LSN != s.dir.end || r.Outcome(c) != Acknowledged {
		t.Errorf("%+v of %s, %s", a, s.dir.end, r.Outcome(c))
	}
}

func TestStandbysOfASynchronousModeWinOverTheGate(t *testing.T) {
	r, s, two := pair(t, Traps{})
	d := &door{until: open}
	s.WriteGate(gateName)
	s.SetSync(r.now, 1, two.Name())
	r.Traffic = Traffic{Size: 100, Every: tick}
	r.wait(10 * tick)
	if a := s.Acked(r.now); s.Gated() || !a.Synchronous || r.silence(s) > 2*tick || r.look(s).Gate != cluster.GateOff {
		t.Errorf("%+v: gated %t", a, s.Gated())
	}
	s.SetSync(r.now, 0) // the gate takes their place, and is not there yet
	c, outcome := s.Write(r.now, 10, false)
	r.wait(time.Second)
	if !s.Gated() || outcome != Waiting || r.Outcome(c) != Waiting || r.silence(s) < time.Second {
		t.Errorf("gated %t, %s, silent for %v", s.Gated(), r.Outcome(c), r.silence(s))
	}
	r.must(s.ConnectGate(r.now, gateName, d))
	r.wait(tick)
	if r.Outcome(c) != Acknowledged || !s.Acked(r.now).Gated {
		t.Errorf("%s, %+v", r.Outcome(c), s.Acked(r.now))
	}
}

func TestWhatTheGateConfirmedIsDeliveredWhenTheServerThaws(t *testing.T) {
	r, s, d := gatedServer(t)
	frozen := r.now
	s.Freeze(r.now, true)
	d.until = r.now
	r.wait(time.Minute)
	before := s.Acked(r.now)
	s.Freeze(r.now, false)
	r.wait(10 * tick)
	a := s.Acked(r.now)
	if a.LSN < before.LSN || a.Decided > frozen || r.silence(s) > time.Minute+20*tick || a.LSN == s.dir.end {
		t.Errorf("%+v after %+v, frozen at %v: want only what was confirmed before", a, before, frozen)
	}
}

func TestAServerGivesASilentGateUp(t *testing.T) {
	r, s, d := gatedServer(t)
	d.until = r.now
	r.wait(r.Tuning.SenderTimeout - 2*tick)
	if slices.Contains(r.events, "a gate lost") {
		t.Error("given up early")
	}
	r.wait(3 * tick)
	if !slices.Contains(r.events, "a gate lost") || r.look(s).Gate != cluster.GateMissing {
		t.Errorf("%q, gate: %s", r.events, r.look(s).Gate)
	}
}

func TestAFastStopWaitsForTheGate(t *testing.T) {
	for name, c := range map[string]struct {
		until time.Duration
		most  time.Duration
	}{"open": {time.Hour, 200 * time.Millisecond}, "shut": {0, 6 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			r, s, d := gatedServer(t)
			d.until = r.now.Add(c.until)
			r.wait(tick)
			r.must(s.Signal(r.now, s.Postmaster(), syscall.SIGINT))
			if took := r.until("it has stopped", func() bool { return len(s.Scan()) == 0 }); took > c.most || name == "shut" && took < time.Second {
				t.Errorf("a fast stop took %v", took)
			}
		})
	}
}

func TestAStandbysConfigurationComesFromItsSource(t *testing.T) {
	r, s, _ := gatedServer(t)
	two := r.standby("b", s)
	if two.gate != gateName {
		t.Errorf("the clone starts with gate %q", two.gate)
	}
	two.WriteGate("")
	r.must(two.Reload(r.now))
	if two.Gated() {
		t.Error("its own configuration does not count")
	}
}
