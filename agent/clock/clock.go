// Package clock is the only home of time in pgkeeper's product code.
//
// It promises readings of CLOCK_BOOTTIME, which no administrator sets and which
// goes on while the machine sleeps. It does not promise that timers fire while
// the machine sleeps: whoever's safety depends on that waits on a timerfd (guard).
package clock

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Reading is one look at the clocks. Wall is for people and for schedules that
// people gave; it is never compared with another machine's.
type Reading struct {
	Boot cluster.Instant
	Wall time.Time
}

// Now reads CLOCK_BOOTTIME. The call fails only before Linux 2.6.39; then it
// reads 0, and a clock that stands still lets no lease be renewed.
func Now() cluster.Instant {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return cluster.Instant(ts.Nano())
}

// Read reads both clocks.
func Read() Reading { return Reading{Boot: Now(), Wall: time.Now()} }

// Wall reads the time of day, for stamps that people read.
func Wall() time.Time { return time.Now() }

// Timer fires once after d on a channel; Stop and Reset as in package time.
func Timer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// Sleep waits for d or until done is closed, and reports whether it slept through.
func Sleep(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}
