package guard

import (
	"testing"
	"time"
)

// A device that rounds its timeout up has been fed for that long when it says so.
func TestAWatchdogThatRoundsItsTimeoutUpIsAskedForLess(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogAutomatic)
		d.set(func(d *dog) { d.unit = 2 })
		w.renewed(c, 5, 30*time.Second)
		w.pass(time.Millisecond)
		w.mustStart(c, true, 5)
		for _, took := range []time.Duration{0, time.Millisecond, 1100 * time.Millisecond, 3100 * time.Millisecond, 0, time.Millisecond} {
			w.pass(6 * time.Second)
			s := w.clock.Now()
			w.pass(took)
			noErr(t, c.Renewed(t.Context(), 5, s, s+27*time.Second, 3*time.Second))
			armed, bites, _ := d.now()
			if !armed || bites > s+29*time.Second || bites < s+26*time.Second {
				t.Errorf("armed %v, after a renewal that took %v it bites %v after it was sent", armed, took, bites-s)
			}
			if st := w.status(c).Watchdog; st.Bites != bites || st.Error != "" {
				t.Errorf("status says %+v, it bites at %v", st, bites)
			}
		}
	})
}

// Nor does it pass for what it had before, where it takes nothing short enough.
func TestAWatchdogThatTakesNothingShortEnoughIsKnownToHaveWhatItTook(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogAutomatic)
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, true, 5)
		d.set(func(d *dog) { d.least = 60 })
		w.renewed(c, 5, 20*time.Second)
		d.set(func(d *dog) { d.least = 0 })
		if st := w.status(c).Watchdog; st.Timeout != time.Minute || st.Error == "" {
			t.Errorf("status says %+v", st)
		}
		passes := w.renewed(c, 5, 30*time.Second)
		if _, bites, _ := d.now(); bites > passes {
			t.Errorf("it bites %v after the lease has passed on", bites-passes)
		}
	})
}

// Each change is logged, here and by the worker, which asks every second.
func TestWhyAWatchdogCannotBeUsedIsSaidInTheSameWords(t *testing.T) {
	for name, broken := range map[string]func(*dog){
		"rounds its timeout up": func(d *dog) { d.least = 60 }, "bites before the fence": func(d *dog) { d.unit = 9 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				c, d := w.dogged(WatchdogAutomatic)
				d.set(broken)
				w.renewed(c, 5, 26*time.Second)
				w.mustStart(c, true, 5)
				var said string
				for _, took := range []time.Duration{0, 500 * time.Millisecond, 1100 * time.Millisecond} {
					s := w.clock.Now()
					w.pass(took)
					noErr(t, c.Renewed(t.Context(), 5, s, s+24*time.Second, 2*time.Second))
					st := w.status(c).Watchdog
					if said == "" {
						said = st.Error
					}
					if st.Error != said || said == "" || st.Armed {
						t.Errorf("says %q, then %q, armed %v", said, st.Error, st.Armed)
					}
				}
			})
		})
	}
}

// A lease that is merely lost ends with a stopped server: there is time for that between
// the deadline and the bite, or nothing is armed, and a node knows that before an election.
func TestAWatchdogIsNotArmedWhereALostLeaseWouldResetTheMachine(t *testing.T) {
	for _, c := range []struct {
		ttl, safety time.Duration
		armed       bool
	}{
		{10 * time.Second, 5 * time.Second, false}, {15 * time.Second, 5 * time.Second, false}, {17 * time.Second, 5 * time.Second, true}, {30 * time.Second, -1, true},
		{10 * time.Second, 0, false}, {11 * time.Second, 0, true},
	} {
		for _, took := range []time.Duration{time.Millisecond, 700 * time.Millisecond} {
			inBubble(t, func(t *testing.T, w *world) {
				d := &dog{clock: w.clock}
				k := c.ttl / 10
				worker := w.worker(1)
				w.k.watch.open = d.open
				noErr(t, worker.Watchdog(t.Context(), Watchdog{Mode: WatchdogAutomatic, Device: "/dev/dog", SafetyMargin: c.safety, TTL: c.ttl, Margin: k}, dataDir))
				if ready := w.status(worker).Watchdog.Error == ""; ready != c.armed {
					t.Errorf("%v, %v: before an election it is ready %v", c.ttl, c.safety, ready)
				}
				s := w.clock.Now()
				w.pass(took)
				noErr(t, worker.Renewed(t.Context(), 5, s, s+c.ttl-k, k))
				w.mustStart(worker, true, 5)
				armed, bites, _ := d.now()
				if armed != c.armed {
					t.Fatalf("%v, %v, after %v: armed %v", c.ttl, c.safety, took, armed)
				}
				if armed && (bites < s+c.ttl-k+stopRoom || bites > s+c.ttl) {
					t.Errorf("%v, %v, after %v: it bites %v after the deadline", c.ttl, c.safety, took, bites-(s+c.ttl-k))
				}
			})
		}
	}
}
