package sim

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/guard"
)

// watchdogDevice is where every machine's watchdog is.
const watchdogDevice = "/dev/watchdog"

// As in guard: the resolution of a watchdog's timeout; and how long a machine is away that was reset.
const (
	watchdogTick = time.Second
	rebooting    = 4 * time.Second
)

// watchdog is a machine's watchdog and the kernel's part in it, as drivers/watchdog has it.
// It is nobody's process: whoever has it open may be frozen or dead. When nothing feeds it
// in time the machine is reset.
type watchdog struct {
	n *Node
	// local is how the member's file says it is used, changed when its worker read that.
	local   config.Watchdog
	changed time.Duration
	// unit is what it rounds timeouts up to, in seconds.
	unit int
	// broken: it cannot be opened, set, fed or stopped. It counts on all the same.
	broken bool

	running bool
	// by has it open; nil when nobody has, although it runs.
	by      *guardProcess
	timeout time.Duration
	// at is when it bites, or what is left until then while the machine stands still.
	at   time.Duration
	wake wakeup
	// asleep is how many faults keep the machine so, of the present power on; stood: it did
	// stand still since it was fed last.
	asleep, powers int
	stood          bool
	// failed: since it was fed last it could not be.
	failed bool
	// refused is when it could not be opened last; agents try once a second.
	refused time.Duration
	said    bool // that it is armed, as the transcript has it
	resets  int
	// tame: it never bites; deaf: it is not fed by who feeds it. Both are mistakes that
	// tests make, to see that they are found.
	tame, deaf bool
}

var errBroken = &os.PathError{Op: "open", Path: watchdogDevice, Err: syscall.ENODEV}

// watched gives the node a watchdog, and has its agent use it. Before its first power on.
func (n *Node) watched(mode string, margin time.Duration) *watchdog {
	n.dog = &watchdog{n: n, unit: 1, local: config.Watchdog{Mode: mode, Device: watchdogDevice, SafetyMargin: margin}}
	return n.dog
}

// keepWatchdog has a worker look after the watchdog, as RunWorker does. Where there is none
// the real one would say so once, and is not run.
func (k *worker) keepWatchdog() {
	if k.n.dog != nil {
		k.start(func(ctx *bound) { k.node.KeepWatchdog(ctx, k.link.ttl) })
	}
}

// present is agent.Parts.Device.
func (n *Node) present(string) error {
	if n.dog == nil || n.dog.broken {
		return errBroken
	}
	return nil
}

// openBy gives the guard's process a way to the device.
func (d *watchdog) openBy(g *guardProcess) func(guard.Watchdog) (guard.WatchdogDevice, error) {
	return func(guard.Watchdog) (guard.WatchdogDevice, error) {
		switch {
		case d.broken:
			d.refused = d.n.w.now
			return nil, errBroken
		case d.by != nil:
			return nil, &os.PathError{Op: "open", Path: watchdogDevice, Err: syscall.EBUSY}
		}
		d.by = g
		if !d.running { // the kernel feeds one that was left running when it is closed, not when it is opened
			d.running, d.timeout = true, time.Minute
			d.feed()
		}
		return openDog{d, g}, nil
	}
}

// feed begins the countdown anew.
func (d *watchdog) feed() {
	d.failed, d.stood = false, d.asleep > 0
	if d.stood {
		d.at = d.timeout
		return
	}
	d.at = d.n.w.now + d.timeout
	d.wake.set(d.n.w, d.at, (*biting)(d))
}

func (d *watchdog) stop() { d.running, d.by, d.stood, d.failed = false, nil, false, false }

// closed is the end of a process: what it has open the kernel closes, and since nobody has
// said that it may stop it is fed once more, and runs on.
func (d *watchdog) closed(g *guardProcess) {
	if d == nil || d.by != g {
		return
	}
	d.by, d.said = nil, false
	if !d.broken {
		d.feed()
	}
	d.n.w.tell(d.n, "the watchdog runs on: whoever had it open has ended")
}

// openDog is a device that a guard has open.
type openDog struct {
	d *watchdog
	g *guardProcess
}

var errFails = errors.New("input/output error")

func (o openDog) works() error {
	if o.d.broken || o.d.by != o.g {
		o.d.failed = true
		return errFails
	}
	return nil
}

// SetTimeout implements guard.WatchdogDevice. The kernel feeds what runs, to have it know.
func (o openDog) SetTimeout(seconds int) (int, error) {
	if err := o.works(); err != nil {
		return 0, err
	}
	d := o.d
	got := (seconds + d.unit - 1) / d.unit * d.unit
	d.timeout = time.Duration(got) * watchdogTick
	if !d.deaf || !d.said {
		d.feed()
	}
	return got, nil
}

// Feed implements guard.WatchdogDevice.
func (o openDog) Feed() error {
	err := o.works()
	if err == nil && (!o.d.deaf || !o.d.said) {
		o.d.feed()
	}
	return err
}

// Disarm implements guard.WatchdogDevice. One that is not heard runs on.
func (o openDog) Disarm() error {
	err := o.works()
	switch {
	case o.d.by != o.g:
	case err != nil:
		o.d.closed(o.g)
	default:
		o.d.stop()
	}
	return err
}

// biting is the moment at which nothing has fed it.
type biting watchdog

func (b *biting) do() {
	d := (*watchdog)(b)
	if d.wake.rings(d.n.w, b) && d.running && d.asleep == 0 && d.n.w.now >= d.at {
		d.bite()
	}
}

// bite resets the machine: as when its power fails, and it comes back by itself.
func (d *watchdog) bite() {
	if d.tame {
		return
	}
	n, w := d.n, d.n.w
	d.judge()
	d.resets++
	w.site.Advance(w.serverNow())
	w.tell(n, "the watchdog RESETS the machine")
	n.crash()
	back, before := n.counted("power off", n.power), w.healed
	w.after(rebooting+w.jitter(2*rebooting), doing(func() {
		if w.healed == before { // else its power is back already
			w.tell(n, "the machine is up again")
			back()
		}
	}))
}

// off is the end of the machine.
func (d *watchdog) off() {
	if d != nil {
		d.stop()
		d.asleep, d.said = 0, false
		d.powers++
	}
}

// standsStill: the machine does, and its kernel with it: nothing counts.
func (d *watchdog) standsStill() (goOn func()) {
	if d == nil || !d.n.up {
		return nil
	}
	if d.asleep++; d.asleep == 1 {
		d.at -= d.n.w.now
	}
	d.stood = d.running
	power := d.powers
	return func() {
		if d.powers != power {
			return
		}
		if d.asleep--; d.asleep == 0 {
			d.goesOn()
		}
	}
}

func (d *watchdog) goesOn() {
	d.at += d.n.w.now
	d.wake.set(d.n.w, d.at, (*biting)(d))
}

// say tells what a turn of the guard has changed.
func (d *watchdog) say() {
	armed := d != nil && d.running && d.by != nil
	if d == nil || armed == d.said {
		return
	}
	d.said = armed
	if armed {
		d.n.w.tell(d.n, "the watchdog is armed: it resets the machine in %s if nothing feeds it", d.at-d.n.w.now)
		return
	}
	d.n.w.tell(d.n, "the watchdog is disarmed")
}
