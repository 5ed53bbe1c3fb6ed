package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// The kernel watchdog is the fourth line of defence: it resets the machine when
// every process of the agent is frozen while the server runs on. The guard opens
// and feeds it, not the worker: the guard holds the deadline and outlives the
// worker, and a frozen worker is fenced by that deadline already.
//
// It is aimed, not kept alive: each renewal sets it to bite before s + T, which is
// the deadline plus its margin, less a safety margin. Nothing else feeds it, no timer
// and no turn of the loop, so a guard that is frozen or stuck lets it bite. The calls
// are made by the loop itself for the same reason: whoever fed it beside the loop
// would vouch for a loop that hangs.

// WatchdogMode says how much a node relies on its watchdog.
type WatchdogMode string

// The modes, as in Patroni; empty is off.
const (
	WatchdogOff       WatchdogMode = "off"
	WatchdogAutomatic WatchdogMode = "automatic" // used where it works, with a warning where not
	WatchdogRequired  WatchdogMode = "required"  // nothing becomes writable without it
)

// TestingDriver writes to a plain file or a FIFO what a device would be told.
const TestingDriver = "testing"

// watchdogTick is the resolution of a watchdog's timeout, stopRoom how long after the
// deadline it bites at the earliest: a server that can be stopped at all is by then, and
// the watchdog disarmed.
const (
	watchdogTick = time.Second
	stopRoom     = 100 * time.Millisecond
)

// Watchdog is which watchdog guards the node, and how.
type Watchdog struct {
	Mode   WatchdogMode `json:"mode"`
	Device string       `json:"device,omitempty"`
	Driver string       `json:"driver,omitempty"` // default or testing
	// SafetyMargin is how long before the lease can pass on it bites. It is at most a
	// third of the deadline's margin, which is also what a negative one means: a
	// watchdog that bit before the guard stopped the server would reset the machine
	// whenever a lease is lost.
	SafetyMargin time.Duration `json:"safety_margin_ns,omitempty"`
	// TTL and Margin are those in force, to try the device with.
	TTL    time.Duration `json:"ttl_ns,omitempty"`
	Margin time.Duration `json:"margin_ns,omitempty"`
}

func (w Watchdog) on() bool { return w.Mode == WatchdogAutomatic || w.Mode == WatchdogRequired }

// sameDevice: what is armed under one is armed under the other.
func (w Watchdog) sameDevice(o Watchdog) bool {
	return w.on() == o.on() && w.Device == o.Device && w.Driver == o.Driver
}

// safety is the safety margin in force under a deadline with this margin.
func (w Watchdog) safety(margin time.Duration) time.Duration {
	if w.SafetyMargin < 0 {
		return margin / 3
	}
	return min(w.SafetyMargin, margin/3)
}

// WatchdogStatus is what the guard knows of its watchdog.
type WatchdogStatus struct {
	Mode    WatchdogMode  `json:"mode"`
	Device  string        `json:"device"`
	Armed   bool          `json:"armed"`
	Timeout time.Duration `json:"timeout_ns,omitempty"`        // what the device has said, while it is armed
	Bites   time.Duration `json:"bites_boottime_ns,omitempty"` // when it resets the machine if nothing feeds it
	Error   string        `json:"error,omitempty"`             // why it cannot be used
}

// WatchdogDevice is an open watchdog, which is running since it was opened.
type WatchdogDevice interface {
	// SetTimeout asks for a timeout of whole seconds and returns the one in force.
	SetTimeout(seconds int) (int, error)
	Feed() error
	// Disarm stops it for good and closes it.
	Disarm() error
}

// openWatchdog opens a device that can be told a timeout and can be disarmed; one that
// cannot is refused before it runs, where that can be known, and is disarmed at once.
type openWatchdog func(w Watchdog) (WatchdogDevice, error)

// watching is the watchdog as the keeper knows it.
type watching struct {
	open    openWatchdog // nil: there are none here
	want    Watchdog
	device  WatchdogDevice // nil while it is not armed
	timeout int            // seconds, as the device has said
	bites   time.Duration
	err     error // why it cannot be used
}

// Why one cannot be used is said in the same words as long as it is so: what changes is
// logged, and the seconds that are asked for change with every renewal.
var (
	errNoWatchdogs = errors.New("this guard has no watchdogs")
	errTooLate     = errors.New("less is left until the lease can pass on than a watchdog can be set to")
	errTooEarly    = errors.New("the watchdog would reset the machine before the guard stops the server: raise ttl (17 s is enough, 11 s with safety_margin: 0), or take a device with a longer timeout")
)

// setWatchdog takes what the worker wants. Nothing that may write is disturbed by it:
// where a device cannot be used the status says so, and the next thing that would make
// a server writable is refused.
func (k *keeper) setWatchdog(r request) error {
	w := r.Watchdog
	if w == nil {
		return fmt.Errorf("%w: watchdog without settings", ErrBadRequest)
	}
	switch {
	case w.Mode != "" && w.Mode != WatchdogOff && !w.on():
		return fmt.Errorf("%w: watchdog mode %q is not off, automatic or required", ErrBadRequest, w.Mode)
	case w.on() && w.Device == "":
		return fmt.Errorf("%w: a watchdog without device", ErrBadRequest)
	}
	if !k.watch.want.sameDevice(*w) {
		k.disarmWatchdog()
	}
	k.watch.want = *w
	switch {
	case !w.on():
		k.watchdogSays(nil)
	case k.watch.device != nil:
	case k.inst != nil && k.inst.writable && !k.paused:
		if k.lease.live() {
			_ = k.armWatchdog() // said in the status
		}
	default:
		k.tryWatchdog(r.DataDir)
	}
	return nil
}

// tryWatchdog opens the device and disarms it again, so that a node learns before an
// election whether it has one; a watchdog that a guard has left running which was
// killed stops with it. Only while nothing runs that it should reset, or in a pause.
func (k *keeper) tryWatchdog(dataDir string) {
	if k.inst == nil && !k.paused && !k.nothingIn(dataDir) {
		return
	}
	d, err := k.openDevice()
	if err == nil {
		if ttl, margin := k.watch.want.TTL, k.watch.want.Margin; ttl > 0 && margin > 0 {
			limit := ttl - k.watch.want.safety(margin)
			_, _, err = aimDevice(d, 0, 0, limit, ttl-margin+stopRoom)
		}
		err = errors.Join(err, d.Disarm())
	}
	k.watchdogSays(err)
}

// nothingIn: no process uses the data directory; one that does not exist has none.
func (k *keeper) nothingIn(dataDir string) bool {
	if k.sweep != nil {
		return false
	}
	dir, err := k.files.Open(dataDir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer dir.close()
	pids, err := k.procs.Scan(dir)
	return err == nil && len(pids) == 0
}

func (k *keeper) openDevice() (WatchdogDevice, error) {
	if k.watch.open == nil {
		return nil, errNoWatchdogs
	}
	return k.watch.open(k.watch.want)
}

// armWatchdog is asked before anything may write. It refuses only where a watchdog is
// required.
func (k *keeper) armWatchdog() error {
	w := &k.watch
	if !w.want.on() || k.paused {
		return nil
	}
	err := k.takeAim()
	k.watchdogSays(err)
	if err != nil && w.want.Mode == WatchdogRequired { // guard: watchdog-required-refuses — S1, watchdog: required means never without
		return fmt.Errorf("%w: %w", ErrNoWatchdog, err)
	}
	return nil
}

// takeAim opens the device, if need be, and sets it for the deadline in force.
func (k *keeper) takeAim() error {
	w := &k.watch
	now := k.clock.Now()
	if now >= k.lease.at { // guard: watchdog-not-fed-late — S1, watchdog: fed only while now < deadline
		return ErrNoDeadline
	}
	d, fresh := w.device, w.device == nil
	if fresh {
		var err error
		if d, err = k.openDevice(); err != nil {
			return err
		}
	}
	atLeast := k.lease.at + stopRoom
	if !fresh {
		atLeast = 0 // it has vouched for a server: a shorter one is better than none
	}
	// It bites before s + T, which is the deadline and its margin.
	limit := k.lease.at + k.lease.margin - w.want.safety(k.lease.margin)
	seconds, bites, err := aimDevice(d, w.timeout, now, limit, atLeast)
	if !fresh {
		w.timeout = seconds // also where it is not what was asked for
	}
	switch {
	case err == nil:
		if fresh {
			k.log.Info("watchdog armed", "device", w.want.Device, "timeout", time.Duration(seconds)*watchdogTick)
		}
		w.device, w.timeout, w.bites = d, seconds, bites
	case fresh:
		err = errors.Join(err, d.Disarm())
	}
	return err
}

// aimDevice feeds an open device so that it bites in the last whole second before limit, or
// earlier where it rounds, and not before atLeast. has is the timeout it has; 0 for not known.
func aimDevice(d WatchdogDevice, has int, now, limit, atLeast time.Duration) (seconds int, bites time.Duration, err error) {
	// The last second before limit has to be late enough as a whole: where in it the bite
	// falls is a matter of how long the renewal took, and changes with each.
	if limit-watchdogTick < atLeast {
		return has, 0, errTooEarly
	}
	seconds = int((limit - now) / watchdogTick)
	if seconds < 1 {
		return has, 0, errTooLate
	}
	if seconds != has {
		got, err := setTimeout(d, seconds)
		if err != nil {
			return got, 0, err
		}
		seconds = got
	}
	if bites = now + time.Duration(seconds)*watchdogTick; bites < atLeast {
		return seconds, 0, errTooEarly
	}
	if err := d.Feed(); err != nil {
		return seconds, 0, fmt.Errorf("feed the watchdog: %w", err)
	}
	return seconds, bites, nil
}

// setTimeout sets a timeout of so many seconds, or of the most below that the device has,
// and returns the one it has then; 0 for not known. To be set feeds a device that runs: one
// that rounds up was fed for too long then, so it is asked for less at once, and not left.
func setTimeout(d WatchdogDevice, seconds int) (got int, err error) {
	for ask := seconds; ask > 0; ask-- {
		if got, err = d.SetTimeout(ask); err != nil {
			return 0, fmt.Errorf("set the watchdog to %d s: %w", ask, err)
		}
		if got > seconds || got < 1 { // guard: watchdog-timeout-read-back — S1, watchdog: a device rounds as it likes
			continue
		}
		return got, nil
	}
	return got, fmt.Errorf("the watchdog takes %d s at least: it would reset the machine after the lease has passed on", got)
}

// watchdogFollows moves the bite with the deadline; a device that could not be armed is
// tried again.
func (k *keeper) watchdogFollows() {
	if k.inst == nil || !k.inst.writable || !k.watch.want.on() || k.paused {
		return
	}
	if k.watch.device == nil {
		_ = k.armWatchdog() // it is no moment to refuse: the server writes already
		return
	}
	k.watchdogSays(k.takeAim())
}

// disarmWatchdog ends it: nothing is left that it should reset.
func (k *keeper) disarmWatchdog() {
	w := &k.watch
	if w.device == nil {
		return
	}
	if err := w.device.Disarm(); err != nil {
		k.log.Error("watchdog not disarmed, it resets this machine", "device", w.want.Device, "within", time.Duration(w.timeout)*watchdogTick, "error", err)
	} else {
		k.log.Info("watchdog disarmed", "device", w.want.Device)
	}
	w.device, w.timeout, w.bites = nil, 0, 0
}

// spareWatchdog disarms one that was armed for something that never came.
func (k *keeper) spareWatchdog() {
	if k.inst == nil || !k.inst.writable {
		k.disarmWatchdog()
	}
}

// watchdogSays notes whether the device can be used, and logs what has changed.
func (k *keeper) watchdogSays(err error) {
	old := k.watch.err
	k.watch.err = err
	if err != nil && (old == nil || old.Error() != err.Error()) {
		k.log.Warn("watchdog cannot be used", "mode", string(k.watch.want.Mode), "device", k.watch.want.Device, "error", err)
	}
}

func (k *keeper) watchdogStatus() *WatchdogStatus {
	w := &k.watch
	if !w.want.on() {
		return nil
	}
	s := &WatchdogStatus{Mode: w.want.Mode, Device: w.want.Device, Armed: w.device != nil,
		Timeout: time.Duration(w.timeout) * watchdogTick, Bites: w.bites}
	if w.err != nil {
		s.Error = w.err.Error()
	}
	return s
}
