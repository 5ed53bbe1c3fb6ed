package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// quiet is how fresh the last acknowledgement must be for a fault to be measured.
const quiet = 200 * time.Millisecond

// play runs a schedule's faults one after the other. All are mended when it returns,
// also when ctx ends it.
func (w *world) play(ctx context.Context, s schedule) error {
	for i, e := range s.Events {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := w.break1(ctx, e, fmt.Sprintf("%d/%d", i+1, len(s.Events)), false); err != nil {
			return err
		}
		sleep(ctx, e.Calm)
	}
	return nil
}

// break1 breaks one thing, lets time pass and mends it. A second fault begins in the
// middle of the first and may outlast it.
func (w *world) break1(ctx context.Context, e event, number string, beside bool) error {
	f, err := faultNamed(e.Fault)
	if err != nil {
		return err
	}
	var n *testbed.Node
	k := strike{fault: f, disturbed: beside || e.Second != nil || !w.whole(ctx)}
	if e.On != onEtcd {
		n = w.target(e.On, e.Pick)
		k.node, k.part = n.Name, e.On
	}
	k.during.from = w.h.now()
	w.say("%8v  %s %s on %s %s for %v", k.during.from.Round(time.Millisecond), number, e.Fault, e.On, k.node, e.For.Round(time.Millisecond))
	heal, err := f.strike(ctx, w, n)
	if err != nil {
		if heal != nil {
			err = errors.Join(err, heal())
		}
		return fmt.Errorf("%s on %s: %w", e.Fault, k.node, err)
	}
	second := make(chan error, 1)
	if e.Second != nil {
		sleep(ctx, e.For/2)
		go func() { second <- w.break1(ctx, *e.Second, number+" beside", true) }()
		sleep(ctx, e.For/2)
	} else {
		sleep(ctx, e.For)
		second <- nil
	}
	err = heal()
	k.during.to = w.h.now()
	w.mu.Lock()
	w.struck = append(w.struck, k)
	w.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("mend %s on %s: %w", e.Fault, k.node, err)
	}
	return errors.Join(err, <-second)
}

// whole reports whether writes flow and all nodes are in their places.
func (w *world) whole(ctx context.Context) bool {
	if _, at := w.h.holder(); w.h.now()-at > quiet {
		return false
	}
	if _, err := w.c.Healthy(ctx, time.Second); err != nil {
		return false
	}
	return !w.settings.Failsafe || w.listed(ctx) == ""
}

// measure gives each strike the longest silence from its beginning to the next one's.
func (w *world) measure(end instant) []strike {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.struck {
		until := end
		for _, other := range w.struck {
			if other.during.from > w.struck[i].during.from {
				until = min(until, other.during.from)
			}
		}
		w.struck[i].gap = w.h.gap(span{w.struck[i].during.from, until})
	}
	return w.struck
}

// sleep passes time between faults, which is what a schedule is made of.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
