package gate

import "time"

// Warden is a gate's rule without its process: whether something may be confirmed now.
// It is what the simulator's gates ask.
type Warden struct{ w *warden }

// NewWarden takes what the guard publishes and the two clocks.
func NewWarden(lease func() (until, renewed time.Duration), boot, wall func() time.Duration) Warden {
	return Warden{newWarden(lease, boot, wall)}
}

// Open says whether the lease holds at this moment.
func (w Warden) Open() bool { return w.w.open() }
