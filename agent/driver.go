package agent

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/recorder"
)

// Runner runs one effect to its end and says how it ended; nil for effects that
// have nothing to say. It must end soon after ctx does.
type Runner interface {
	Run(ctx context.Context, do Do) Event
}

// Driver runs a Loop for real: one goroutine steps, effects run beside it and
// come back as events.
type Driver struct {
	loop   *Loop
	runner Runner
	log    *slog.Logger
	// read reads the clocks; tests give their own.
	read func() clock.Reading

	events chan Event
	guard  chan Effect // in order, one at a time
	status atomic.Pointer[cluster.Status]
	// stepped is told after each step, for metrics; may be nil.
	stepped func(*cluster.Status)
	// recorder is given every step; may be nil.
	recorder *recorder.Recorder

	effects sync.WaitGroup
	// cancels end what was begun last in each lane.
	cancels [lanes]context.CancelFunc
	dcsSeen int64
}

// eventQueue is how many events may wait for the loop. Effects are few (one a
// lane); watch events may come in bursts and then wait in their sender.
const eventQueue = 64

// NewDriver makes a driver; stepped may be nil.
func NewDriver(loop *Loop, runner Runner, stepped func(*cluster.Status), log *slog.Logger) *Driver {
	return &Driver{
		loop: loop, runner: runner, log: log, stepped: stepped, read: clock.Read,
		events: make(chan Event, eventQueue), guard: make(chan Effect, eventQueue),
	}
}

// RecordTo has every step recorded; call it before Run.
func (d *Driver) RecordTo(to *recorder.Recorder) {
	d.recorder = to
	d.loop.OnDecision(func(r clock.Reading, o *election.Observation, decision election.Decision) {
		to.Record(recorder.Step{Wall: r.Wall, Observation: *o, Decision: decision})
	})
}

// recordPatience is how long the end of the loop waits for the last steps to be
// written: a disk that hangs must not hold the agent up.
const recordPatience = time.Second

// writeRecording starts the recorder's writer, and returns what ends it.
func (d *Driver) writeRecording() (end func()) {
	if d.recorder == nil {
		return func() {}
	}
	done, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		d.recorder.Run(done)
	}()
	return func() {
		close(done)
		patience := clock.Timer(recordPatience)
		defer patience.Stop()
		select {
		case <-written:
		case <-patience.C:
		}
	}
}

// Post gives the loop an event; it waits while the queue is full.
func (d *Driver) Post(ctx context.Context, e Event) {
	select {
	case d.events <- e:
	case <-ctx.Done():
	}
}

// Status is the last step's answer; nil before the first.
func (d *Driver) Status() *cluster.Status { return d.status.Load() }

// Run steps until the loop is done or ctx ends, and waits for running effects,
// whose contexts it ends.
func (d *Driver) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer d.effects.Wait()
	defer cancel()
	d.effects.Go(func() { d.runGuardLane(ctx) })
	defer d.writeRecording()()
	timer := clock.Timer(0)
	defer timer.Stop()
	for {
		var e Event = Tick{}
		select {
		case <-ctx.Done():
			return
		case e = <-d.events:
		case <-timer.C:
		}
		d.step(ctx, e)
		if d.loop.Done() {
			return
		}
		timer.Reset(d.loop.NextWake().Sub(d.read().Boot))
	}
}

func (d *Driver) step(ctx context.Context, e Event) {
	reading := d.read()
	if _, ok := e.(ViewSeen); ok {
		d.dcsSeen = reading.Wall.Unix()
	}
	effects := d.loop.Step(reading, e)
	status := d.loop.Status(d.dcsSeen)
	d.status.Store(status)
	if d.stepped != nil {
		d.stepped(status)
	}
	for _, effect := range effects {
		d.start(ctx, effect)
	}
}

// start runs an effect beside the loop.
func (d *Driver) start(ctx context.Context, effect Effect) {
	if _, ok := effect.Do.(Cancel); ok {
		if cancel := d.cancels[effect.Lane]; cancel != nil {
			cancel()
		}
		return
	}
	if effect.Lane == LaneGuard {
		d.guard <- effect
		return
	}
	effectCtx, cancel := bounded(ctx, effect.Limit)
	d.cancels[effect.Lane] = cancel
	d.effects.Go(func() {
		defer cancel()
		d.finish(ctx, d.runner.Run(effectCtx, effect.Do))
	})
}

func (d *Driver) finish(ctx context.Context, e Event) {
	if e != nil {
		d.Post(ctx, e)
	}
}

// runGuardLane keeps the order of what the guard is told.
func (d *Driver) runGuardLane(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case effect := <-d.guard:
			effectCtx, cancel := bounded(ctx, effect.Limit)
			d.finish(ctx, d.runner.Run(effectCtx, effect.Do))
			cancel()
		}
	}
}

func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}
