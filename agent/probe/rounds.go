package probe

import (
	"context"
	"fmt"
	"slices"
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
	at cluster.Instant
}

// rounds is the course of one check.
type rounds struct {
	check
	spec  Spec
	say   func(Line)
	ended chan ended
	// origin is what the rounds of all checks count from, so that they wake the process
	// up together.
	origin cluster.Instant
	under  []*try          // way, oldest first
	next   cluster.Instant // when the next one begins
	// good is until when nothing is known to have been wrong: the end of the last
	// success, or of the last time when there was nothing to try.
	good cluster.Instant
	// spoken: something was said; failed: that was a failure, since since, and the last
	// was told at told.
	spoken, failed bool
	since, told    cluster.Instant
}

func (r *rounds) run(ctx context.Context) {
	timer := clock.Timer(0)
	defer timer.Stop()
	planned := clock.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.ended:
			r.end(e)
		case <-timer.C:
		}
		now := clock.Now()
		if slept := now.Sub(planned); slept > r.spec.failing() {
			r.forgive(slept)
		}
		r.overdue(now)
		if now >= r.next && len(r.under) < r.most {
			r.start(ctx, now)
		}
		planned = r.wake(now)
		timer.Reset(planned.Sub(now))
	}
}

// wake is when there is something to do next, if nothing ends before.
func (r *rounds) wake(now cluster.Instant) cluster.Instant {
	at := now.Add(r.spec.every())
	if len(r.under) < r.most {
		at = min(at, r.next)
	}
	if t := r.oldest(); t != nil {
		at = min(at, r.late(t))
	}
	return max(at, now)
}

// late is when a try that has not ended is told of: past its limit, and once failures
// have lasted for as long as somebody has patience after a shorter while, since nothing
// succeeded in all that time.
func (r *rounds) late(t *try) cluster.Instant {
	at := max(t.began.Add(r.spec.limit())+1, r.again())
	if enough := r.since.Add(r.spec.Patience); r.failed && enough > r.told {
		at = min(at, max(t.began.Add(r.spec.failing()), enough))
	}
	return at
}

// again is when a failure that goes on is told once more: after a while, and at the
// moment when it has lasted for as long as somebody has patience.
func (r *rounds) again() cluster.Instant {
	if !r.failed {
		return 0
	}
	at := r.told.Add(r.spec.failing())
	if enough := r.since.Add(r.spec.Patience); enough > r.told {
		at = min(at, enough)
	}
	return at
}

// oldest is the one under way for the longest time; what began before the last success
// has been overtaken by it, and says nothing.
func (r *rounds) oldest() *try {
	for _, t := range r.under {
		if t.began >= r.good {
			return t
		}
	}
	return nil
}

func (r *rounds) start(ctx context.Context, now cluster.Instant) {
	every := r.spec.every()
	r.next = now.Add(every - now.Sub(r.origin)%every)
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
		case r.ended <- ended{t, f, clock.Now()}:
		case <-ctx.Done():
		}
	}()
}

// end takes the end of a try.
func (r *rounds) end(e ended) {
	r.under = slices.DeleteFunc(r.under, func(t *try) bool { return t == e.try })
	switch {
	case e.idle:
		r.good = max(r.good, e.at)
	case e.ailment == "":
		r.good = max(r.good, e.at)
		if r.failed || !r.spoken {
			r.tell(e.began, e.at, e.finding)
		}
	case !e.slept && e.began >= r.good:
		r.tell(e.began, e.at, e.finding)
	}
}

// overdue says of a try that hangs that it does.
func (r *rounds) overdue(now cluster.Instant) {
	if t := r.oldest(); t != nil && now >= r.late(t) {
		r.tell(t.began, now, finding{ailment: r.hangs, detail: fmt.Sprintf("no end after %s", now.Sub(t.began).Round(100*time.Millisecond))})
	}
}

// forgive takes the time in which this process did not run off what is under way, and
// off what has failed so far.
func (r *rounds) forgive(slept time.Duration) {
	for _, t := range r.under {
		t.began, t.slept = t.began.Add(slept), true
	}
	if !r.good.Never() {
		r.good = r.good.Add(slept)
	}
}

// tell says how a try ended. What fails has failed since the last success, one round of
// tries before this one at most: nobody knows of a moment after it when all was well.
func (r *rounds) tell(began, at cluster.Instant, f finding) {
	r.spoken = true
	if f.ailment == "" {
		r.failed = false
		r.say(Line{Check: r.name, Began: began, At: at})
		return
	}
	if !r.failed {
		r.failed, r.since = true, began
		if !r.good.Never() {
			r.since = max(r.good, began.Add(-r.spec.every()))
		}
	}
	r.told = at
	r.next = min(r.next, r.again())
	r.say(Line{Check: r.name, Began: r.since, At: at, Ailment: f.ailment, Detail: f.detail})
}
