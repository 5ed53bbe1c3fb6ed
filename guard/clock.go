package guard

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Now is CLOCK_BOOTTIME: time since boot, counting suspend. Every instant in this
// package is one of its values.
func Now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail: the clock exists since Linux 2.6.39
	return time.Duration(ts.Nano())
}

// bootClock waits on a timerfd, since Go's own timers stand still in suspend.
type bootClock struct {
	timer *os.File
	ticks chan struct{}
	mu    sync.Mutex
	at    time.Duration // what the timer is set to
}

func newBootClock() (*bootClock, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer on CLOCK_BOOTTIME: %w", err)
	}
	c := &bootClock{timer: os.NewFile(uintptr(fd), "timerfd"), ticks: make(chan struct{}, 1)}
	go c.watch()
	return c, nil
}

// watch ends when the timer is closed.
func (c *bootClock) watch() {
	var expirations [8]byte
	for {
		if _, err := c.timer.Read(expirations[:]); err != nil {
			return
		}
		c.mu.Lock()
		c.at = 0
		c.mu.Unlock()
		notify(c.ticks)
	}
}

func (c *bootClock) Now() time.Duration { return Now() }

func (c *bootClock) Ticks() <-chan struct{} { return c.ticks }

// Wake sets the timer. An instant in the past fires at once.
func (c *bootClock) Wake(at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at == c.at {
		return
	}
	c.at = at
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	err := c.set(&spec)
	if err != nil {
		notify(c.ticks) // not silently deaf: the loop turns, and tries again
		c.at = 0
	}
}

func (c *bootClock) set(spec *unix.ItimerSpec) error {
	raw, err := c.timer.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, spec, nil)
	})
	if err != nil {
		return err
	}
	return failed
}

func (c *bootClock) close() { _ = c.timer.Close() }

// notify sets a flag channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
