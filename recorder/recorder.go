package recorder

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Options is what a Recorder is made with.
type Options struct {
	// Dir holds the files; it is made when it is missing. Empty: only the latest
	// step is kept, in memory.
	Dir  string
	Head Head
	// FileBytes is where a new file begins, TotalBytes what all may take; 0 means
	// 4 MiB and 64 MiB.
	FileBytes, TotalBytes int64
	Log                   *slog.Logger
}

// Latest is the last step and since when its reason has stood.
type Latest struct {
	Step
	Since cluster.Instant
}

// Recorder takes steps from one loop and writes them from a goroutine of its own.
type Recorder struct {
	queue   chan *Latest
	dropped atomic.Int64
	latest  atomic.Pointer[Latest]
	files   *files
	scope   string
	log     *slog.Logger
}

// queued is how many steps may wait for the disk: a few seconds of a promotion,
// the busiest there is, or many minutes of quiet. About 4 KB each.
const queued = 512

// New makes a recorder; nothing is opened before Run.
func New(o Options) *Recorder {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Recorder{queue: make(chan *Latest, queued), log: o.Log, scope: o.Head.Scope}
	if o.Dir != "" {
		r.files = newFiles(o)
	}
	return r
}

// Record takes one step. It never waits: with the queue full the step is dropped,
// and counted in the recording. One goroutine calls it.
func (r *Recorder) Record(s Step) {
	next := &Latest{Step: s, Since: s.Observation.Now}
	if last := r.latest.Load(); last != nil && last.Decision.Reason == s.Decision.Reason {
		next.Since = last.Since
	}
	r.latest.Store(next)
	if r.files == nil {
		return
	}
	select {
	case r.queue <- next:
	default:
		r.dropped.Add(1)
	}
}

// Latest is the newest step; nil before the first. It is never changed.
func (r *Recorder) Latest() *Latest { return r.latest.Load() }

// Run writes what is recorded until done is closed, then what is queued, and
// returns. A disk that hangs holds it up, and nobody else.
func (r *Recorder) Run(done <-chan struct{}) {
	if r.files == nil {
		return
	}
	defer r.files.close()
	for {
		select {
		case s := <-r.queue:
			r.write(s)
		case <-done:
			for {
				select {
				case s := <-r.queue:
					r.write(s)
				default:
					return
				}
			}
		}
	}
}

// write writes one step, and reports a disk that takes nothing once.
func (r *Recorder) write(s *Latest) {
	gap := r.dropped.Swap(0)
	err := r.attempt(&s.Step, gap)
	if err != nil {
		r.dropped.Add(gap + 1)
	}
	if failing := err != nil; failing != r.files.failing {
		r.files.failing = failing
		if failing {
			r.log.Warn("steps are not recorded", "error", err.Error())
		} else {
			r.log.Info("steps are recorded again")
		}
	}
}

// attempt turns a panic into an error: a mistake in here must not end the worker.
func (r *Recorder) attempt(s *Step, gap int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("encode a step: %v", p)
		}
	}()
	return r.files.write(s, gap)
}
