package probe

import (
	"context"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// finding is what one try found; idle: there was nothing to try.
type finding struct {
	ailment cluster.Ailment
	detail  string
	idle    bool
}

// check is one thing that is tried over and over.
type check struct {
	name cluster.CheckName
	// hangs is what a try means that does not end.
	hangs cluster.Ailment
	// try ends soon after ctx does, unless it hangs in the kernel.
	try func(ctx context.Context) finding
	// most is how many tries may be under way at once: a write that hangs is not
	// helped by another, while a connection may just have had bad luck.
	most int
}

// try is one that is under way. One that this process slept through says nothing when
// it fails.
type try struct {
	began cluster.Instant
	slept bool
}

type ended struct {
	*try
	finding
}

// rounds is the course of one check.
type rounds struct {
	check
	spec  Spec
	say   func(Line)
	ended chan ended
	under []*try // way, oldest first
	next  cluster.Instant
	// spoken: something was said; failed: that was a failure.
	spoken, failed bool
}

func (r *rounds) run(ctx context.Context) {
	tick := r.spec.failing()
	timer := clock.Timer(0)
	defer timer.Stop()
	last := clock.Now()
	for {
		ticked := false
		select {
		case <-ctx.Done():
			return
		case e := <-r.ended:
			r.end(e)
		case <-timer.C:
			timer.Reset(tick)
			ticked = true
		}
		now := clock.Now()
		if slept := now.Sub(last); slept > 2*tick {
			r.forgive(slept)
		}
		last = now
		if ticked {
			r.overdue(now)
		}
		if now >= r.next && len(r.under) < r.most {
			r.start(ctx, now)
		}
	}
}

func (r *rounds) start(ctx context.Context, now cluster.Instant) {
	r.next = now.Add(r.spec.every())
	if r.failed {
		r.next = now.Add(r.spec.failing())
	}
	t := &try{began: now}
	r.under = append(r.under, t)
	go func() {
		bounded, cancel := context.WithTimeout(ctx, r.spec.limit())
		defer cancel()
		f := r.try(bounded)
		select {
		case r.ended <- ended{t, f}:
		case <-ctx.Done():
		}
	}()
}

// end takes the end of a try.
func (r *rounds) end(e ended) {
	for i, t := range r.under {
		if t == e.try {
			r.under = append(r.under[:i], r.under[i+1:]...)
			break
		}
	}
	switch {
	case e.idle, e.ailment != "" && e.slept:
	case e.ailment != "" || r.failed || !r.spoken:
		r.tell(e.began, clock.Now(), e.finding)
	}
}

// overdue says of a try that hangs that it does.
func (r *rounds) overdue(now cluster.Instant) {
	if len(r.under) == 0 {
		return
	}
	if t := r.under[0]; now.Sub(t.began) > r.spec.limit() {
		r.tell(t.began, now, finding{ailment: r.hangs, detail: fmt.Sprintf("no end after %s", now.Sub(t.began).Round(100*time.Millisecond))})
	}
}

// forgive takes the time in which this process did not run off what is under way.
func (r *rounds) forgive(slept time.Duration) {
	for _, t := range r.under {
		t.began, t.slept = t.began.Add(slept), true
	}
}

func (r *rounds) tell(began, at cluster.Instant, f finding) {
	r.spoken, r.failed = true, f.ailment != ""
	r.say(Line{Check: r.name, Began: began, At: at, Ailment: f.ailment, Detail: f.detail})
	if r.failed {
		r.next = min(r.next, at.Add(r.spec.failing()))
	}
}
