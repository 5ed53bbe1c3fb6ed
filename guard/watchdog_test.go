package guard

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dog is a watchdog with behaviour: it bites when nothing feeds it in time.
type dog struct {
	clock *bubbleClock

	mu      sync.Mutex
	opened  int
	armed   bool
	timeout int
	fed     time.Duration // the last time
	feeds   int
	least   int // what a device rounds its timeout up to
	unit    int // and what to a multiple of
	most    int // and what it cuts it to
	gone    error
	events  []string
}

func (d *dog) open(Watchdog) (WatchdogDevice, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone != nil {
		return nil, d.gone
	}
	d.opened++
	d.armed, d.timeout, d.fed = true, 60, d.clock.Now()
	d.events = append(d.events, "armed")
	return d, nil
}

func (d *dog) SetTimeout(seconds int) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeout = max(seconds, d.least)
	if d.unit > 0 {
		d.timeout = (d.timeout + d.unit - 1) / d.unit * d.unit
	}
	d.fed = d.clock.Now() // as the kernel does, to have what runs know of it
	if d.most > 0 {
		d.timeout = min(d.timeout, d.most)
	}
	return d.timeout, nil
}

func (d *dog) Feed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fed, d.feeds = d.clock.Now(), d.feeds+1
	return nil
}

func (d *dog) Disarm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = false
	d.events = append(d.events, "disarmed")
	return nil
}

// now says whether it runs, when it bites if nothing happens, and how often it was fed.
func (d *dog) now() (armed bool, bites time.Duration, feeds int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.armed, d.fed + time.Duration(d.timeout)*time.Second, d.feeds
}

func (d *dog) set(f func(*dog)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

func (d *dog) note(s string) { d.set(func(d *dog) { d.events = append(d.events, s) }) }

func (d *dog) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.events)
}

// dogged is a worker whose guard has a watchdog, and a standby that runs.
func (w *world) dogged(mode WatchdogMode) (*Client, *dog) {
	w.t.Helper()
	d := &dog{clock: w.clock}
	c := w.worker(1)
	w.k.watch.open = d.open // the loop waits for messages
	noErr(w.t, c.Watchdog(w.t.Context(), Watchdog{Mode: mode, Device: "/dev/dog", SafetyMargin: 5 * time.Second,
		TTL: 30 * time.Second, Margin: 3 * time.Second}, dataDir))
	w.procs.onSignal = func(s syscall.Signal) { d.note(s.String()) }
	d.set(func(d *dog) { d.events, d.feeds = nil, 0 })
	return c, d
}

// renewed is a renewal that was sent just now.
func (w *world) renewed(c *Client, term int64, ttl time.Duration) (until time.Duration) {
	w.t.Helper()
	s := w.clock.Now()
	noErr(w.t, c.Renewed(w.t.Context(), term, s, s+ttl-3*time.Second, 3*time.Second))
	return s + ttl
}

func TestTheWatchdogIsArmedBeforeAServerMayWrite(t *testing.T) {
	for _, how := range []string{"promotion", "start"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				c, d := w.dogged(WatchdogRequired)
				passes := w.renewed(c, 5, 30*time.Second)
				if how == "start" {
					w.mustStart(c, true, 5)
				} else {
					w.mustStart(c, false, 0)
					if armed, _, _ := d.now(); armed {
						t.Fatal("a standby has an armed watchdog")
					}
					noErr(t, c.Promote(t.Context(), 5, dataDir, nil))
				}
				armed, bites, _ := d.now()
				if !armed || bites > passes || bites < passes-3*time.Second {
					t.Errorf("armed %v, bites %v before the lease can pass on", armed, passes-bites)
				}
				if told := d.told(); told[0] != "armed" {
					t.Errorf("it was armed after %v", told)
				}
				st := w.status(c).Watchdog
				if st == nil || !st.Armed || st.Bites != bites || st.Timeout != 29*time.Second || st.Device != "/dev/dog" || st.Error != "" {
					t.Errorf("status says %+v", st)
				}
			})
		})
	}
}

// A guard that is frozen does nothing more: the watchdog bites after the guard's own
// deadline and before s + T of the last renewal, however long that renewal took.
func TestAWatchdogThatIsNotFedBitesBeforeTheLeasePassesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogAutomatic)
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, true, 5)
		for _, took := range []time.Duration{0, time.Millisecond, 1100 * time.Millisecond, 7 * time.Second, 0} {
			w.pass(6 * time.Second)
			s := w.clock.Now()
			w.pass(took)
			noErr(t, c.Renewed(t.Context(), 5, s, s+27*time.Second, 3*time.Second))
			_, bites, _ := d.now()
			if bites > s+29*time.Second || bites < s+27*time.Second {
				t.Errorf("after a renewal that took %v it bites %v after it was sent", took, bites-s)
			}
		}
		_, _, before := d.now()
		w.pass(20 * time.Second)
		if _, _, feeds := d.now(); feeds != before {
			t.Error("something other than a renewal feeds it")
		}
	})
}

// A shorter lease is followed at once.
func TestTheWatchdogFollowsAShorterLease(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogAutomatic)
		w.renewed(c, 5, 60*time.Second)
		w.mustStart(c, true, 5)
		passes := w.renewed(c, 5, 20*time.Second)
		if _, bites, _ := d.now(); bites > passes {
			t.Errorf("it bites %v after the lease has passed on", bites-passes)
		}
	})
}

func TestAWatchdogIsNotFedPastTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogAutomatic)
		w.procs.set(func(p *table) { p.stuck, p.stubborn = true, true })
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, true, 5)
		_, bites, feeds := d.now()
		_ = c.Deadline(t.Context(), 5, w.in(-time.Second), 5*time.Second)
		if _, _, now := d.now(); now != feeds {
			t.Error("a deadline in the past feeds the watchdog")
		}
		w.pass(2 * time.Second)
		if err := c.Deadline(t.Context(), 5, w.in(27*time.Second), 3*time.Second); err == nil {
			t.Fatal("a term that has ended is extended")
		}
		armed, still, _ := d.now()
		if !armed || still != bites {
			t.Errorf("with a process left that may write: armed %v, moved by %v", armed, still-bites)
		}
	})
}

func TestTheWatchdogIsDisarmedOnlyWhenNothingIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogRequired)
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, true, 5)
		w.procs.set(func(p *table) { p.stuck, p.stubborn = true, true })
		noErr(t, c.Stop(t.Context(), Kill))
		w.pass(time.Second)
		if armed, _, _ := d.now(); !armed {
			t.Fatal("it is disarmed while a backend is left")
		}
		w.procs.set(func(p *table) { p.stuck = false })
		w.event(c, Exited)
		if armed, _, _ := d.now(); armed {
			t.Error("it is armed with nothing left to guard")
		}
	})
}

func TestARequiredWatchdogThatFailsLetsNothingWrite(t *testing.T) {
	for name, broken := range map[string]func(*dog){
		"no device":              func(d *dog) { d.gone = errors.New("no such device") },
		"rounds its timeout up":  func(d *dog) { d.least = 60 },
		"bites before the fence": func(d *dog) { d.most = 10 },
	} {
		for _, mode := range []WatchdogMode{WatchdogRequired, WatchdogAutomatic} {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					c, d := w.dogged(mode)
					d.set(broken)
					noErr(t, c.Watchdog(t.Context(), w.k.watch.want, dataDir))
					if st := w.status(c).Watchdog; st.Error == "" || st.Armed {
						t.Errorf("before an election status says %+v", st)
					}
					w.renewed(c, 5, 30*time.Second)
					w.primaryDisk()
					_, started := w.start(c, true, 5)
					if started == nil {
						noErr(t, c.Stop(t.Context(), Fast))
						w.event(c, Exited)
					}
					w.disk.set(true)
					w.mustStart(c, false, 0)
					promoted := c.Promote(t.Context(), 5, dataDir, nil)
					for what, err := range map[string]error{"start": started, "promotion": promoted} {
						if mode == WatchdogRequired && !errors.Is(err, ErrNoWatchdog) {
							t.Errorf("%s gives %v", what, err)
						}
						if mode == WatchdogAutomatic && err != nil {
							t.Errorf("%s gives %v", what, err)
						}
					}
					if armed, _, _ := d.now(); armed {
						t.Error("a watchdog that cannot be used is left running")
					}
					if st := w.status(c).Watchdog; st.Error == "" || st.Armed {
						t.Errorf("status says %+v", st)
					}
				})
			})
		}
	}
}

// One that comes back is armed by the next renewal.
func TestAWatchdogThatComesBackIsArmed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogAutomatic)
		d.set(func(d *dog) { d.gone = errors.New("no such device") })
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, true, 5)
		d.set(func(d *dog) { d.gone = nil })
		w.renewed(c, 5, 30*time.Second)
		if armed, _, _ := d.now(); !armed {
			t.Error("it is not armed")
		}
		if st := w.status(c).Watchdog; st.Error != "" {
			t.Errorf("status says %q", st.Error)
		}
	})
}

func TestAPauseDisarmsTheWatchdog(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogRequired)
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, true, 5)
		noErr(t, c.SetPause(t.Context(), true))
		if armed, _, _ := d.now(); armed {
			t.Fatal("a paused node would be reset")
		}
		w.renewed(c, 5, 30*time.Second)
		if armed, _, _ := d.now(); armed {
			t.Fatal("a renewal arms it in a pause")
		}
		noErr(t, c.SetPause(t.Context(), false))
		if armed, _, _ := d.now(); !armed {
			t.Error("a resumed primary has no watchdog")
		}
	})
}

// A promotion that comes to nothing leaves nothing armed, nor does a guard that ends.
func TestAWatchdogIsNotLeftBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogRequired)
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, false, 0)
		w.disk.mu.Lock()
		w.disk.stall = 28 * time.Second
		w.disk.mu.Unlock()
		if err := c.Promote(t.Context(), 5, dataDir, nil); err == nil {
			t.Fatal("promoted after its deadline")
		}
		if armed, _, _ := d.now(); armed {
			t.Error("a standby is left with an armed watchdog")
		}
	})
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogRequired)
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, true, 5)
		noErr(t, c.Shutdown(t.Context(), true))
		<-w.ended
		if armed, _, _ := d.now(); armed {
			t.Error("a guard that ended in good order leaves it running")
		}
	})
}

func TestAWatchdogSwitchedOffIsDisarmed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, d := w.dogged(WatchdogRequired)
		w.renewed(c, 5, 30*time.Second)
		w.mustStart(c, true, 5)
		noErr(t, c.Watchdog(t.Context(), Watchdog{Mode: WatchdogOff}, dataDir))
		if armed, _, _ := d.now(); armed {
			t.Error("it stays armed")
		}
		if st := w.status(c).Watchdog; st != nil {
			t.Errorf("status says %+v", st)
		}
	})
}

// What a killed guard left running stops with the next one's first look, unless
// something may be left that it should reset.
func TestANewGuardStopsTheWatchdogOfOneThatWasKilled(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		d := &dog{clock: w.clock, armed: true}
		c := w.worker(1)
		w.k.watch.open = d.open
		w.procs.set(func(p *table) { p.live[7] = &process{dataDir} })
		ask := func() {
			t.Helper()
			noErr(t, c.Watchdog(t.Context(), Watchdog{Mode: WatchdogAutomatic, Device: "/dev/dog"}, dataDir))
		}
		ask()
		if armed, _, _ := d.now(); !armed {
			t.Fatal("it is disarmed with a process in the data directory")
		}
		w.procs.set(func(p *table) { delete(p.live, 7) })
		ask()
		if armed, _, _ := d.now(); armed {
			t.Error("it is left running")
		}
	})
}

// Nor does it go on in a pause, although something runs that writes, or the kernel holds
// something of a server that is no more: whichever the new guard hears of first.
func TestAPauseStopsTheWatchdogOfAGuardThatWasKilled(t *testing.T) {
	for i := range 4 {
		pauseFirst, adopted := i%2 == 0, i < 2
		inBubble(t, func(t *testing.T, w *world) {
			d := &dog{clock: w.clock, armed: true}
			c := w.worker(1)
			w.k.watch.open = d.open
			w.procs.set(func(p *table) { p.live[7] = &process{dataDir} })
			if adopted {
				if _, err := c.Adopt(t.Context(), 7, dataDir, true); err != nil {
					t.Fatal(err)
				}
			}
			if pauseFirst {
				noErr(t, c.SetPause(t.Context(), true))
			}
			noErr(t, c.Watchdog(t.Context(), Watchdog{Mode: WatchdogAutomatic, Device: "/dev/dog"}, dataDir))
			if !pauseFirst {
				if armed, _, _ := d.now(); !armed {
					t.Fatal("it is disarmed with something in the data directory that has no deadline yet")
				}
				noErr(t, c.SetPause(t.Context(), true))
			}
			if armed, _, _ := d.now(); armed {
				t.Errorf("pause first %v, adopted %v: it would reset the machine in a pause", pauseFirst, adopted)
			}
		})
	}
}

func TestWatchdogSettingsThatMakeNoSense(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := w.worker(1)
		for _, bad := range []Watchdog{{Mode: "perhaps", Device: "/dev/dog"}, {Mode: WatchdogRequired}} {
			if err := c.Watchdog(t.Context(), bad, dataDir); !errors.Is(err, ErrBadRequest) {
				t.Errorf("%+v gives %v", bad, err)
			}
		}
	})
}

func TestTheTestingDriverWritesWhatADeviceIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog")
	if _, err := openRealWatchdog(Watchdog{Device: path, Driver: TestingDriver}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	noErr(t, unix.Mkfifo(path, 0o600))
	if _, err := openRealWatchdog(Watchdog{Device: path, Driver: TestingDriver}); !errors.Is(err, unix.ENXIO) {
		t.Errorf("a fifo that nobody reads: %v", err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	noErr(t, err)
	defer reader.Close()
	d, err := openRealWatchdog(Watchdog{Device: path, Driver: TestingDriver})
	noErr(t, err)
	got, err := d.SetTimeout(29)
	noErr(t, err)
	noErr(t, d.Feed())
	noErr(t, d.Disarm())
	b := make([]byte, 64)
	n, err := reader.Read(b)
	noErr(t, err)
	if s := string(b[:n]); s != "Ctimeout=29\n1V" || got != 29 {
		t.Errorf("wrote %q, timeout %d", s, got)
	}
}

func TestWhatIsNoWatchdogIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plain")
	noErr(t, os.WriteFile(path, nil, 0o600))
	for driver, want := range map[string]string{"default": "is no watchdog", "": "is no watchdog", "magic": "not default or testing"} {
		_, err := openRealWatchdog(Watchdog{Device: path, Driver: driver})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("driver %q: %v", driver, err)
		}
	}
}

func (d *disk) set(standby bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.standby = standby
}
