package gate

import (
	"time"

	"github.com/pgkeeper/pgkeeper/guard"
)

// jump is how far CLOCK_REALTIME may move against CLOCK_BOOTTIME between two looks
// before both are distrusted. Clocks that stood still (a snapshot, a migration) are set
// by the wall clock first; slewing moves them by half a millisecond a second, and what a
// stand-still shorter than this costs is less than half of any margin.
const jump = 200 * time.Millisecond

// warden says whether something may be confirmed now. It is asked for every confirmation.
type warden struct {
	lease func() (until, renewed time.Duration)
	boot  func() time.Duration
	wall  func() time.Duration

	offset time.Duration // wall - boot at the last look
	seen   time.Duration // the wall clock at the last look
	since  time.Duration // renewals sent before this do not count: the clocks jumped then
}

func newWarden(lease func() (until, renewed time.Duration), boot, wall func() time.Duration) *warden {
	return &warden{lease: lease, boot: boot, wall: wall, offset: wall() - boot()}
}

// open says whether the lease holds, reading the clock last of all.
func (w *warden) open() bool {
	until, renewed := w.lease()
	wall := w.wall()
	now := w.boot()
	if moved := wall - now - w.offset; moved > jump || moved < -jump {
		w.since = now
	}
	w.offset, w.seen = wall-now, wall
	if until == guard.Lifted {
		return true
	}
	// guard: gate-fresh-after-jump — SAFETY 4 "after a clock jump the gate needs a fresh renewal first"
	if renewed < w.since {
		return false
	}
	return now < until // guard: gate-before-deadline — SAFETY 4 "but only while now < deadline"
}
