package demo

import (
	"context"
	"sync"
	"time"
)

// rowEvery is how often the writer's rows are due.
const rowEvery = 5 * time.Millisecond

// statementTimeout bounds one insert and one attempt to connect: a client that
// waits longer would measure its own patience.
const statementTimeout = 3 * time.Second

// connection is one session of the writer.
type connection interface {
	// Insert writes one row and returns when it is acknowledged.
	Insert(ctx context.Context, seq int64) error
	Close()
}

// connect opens a session on the primary.
type connect func(ctx context.Context) (connection, error)

// writer inserts numbered rows and remembers which were acknowledged. It is an
// open loop: a row is due every rowEvery whatever became of the one before, so an
// outage is measured from when the first row that had to wait was due.
type writer struct {
	connect connect

	mu      sync.Mutex
	acked   []int64
	unknown int64 // sent, and neither acknowledged nor refused by a live server
	seq     int64
	// lastAck is the last acknowledgement, longest the longest time between two
	// since it was last marked.
	lastAck  time.Time
	longest  time.Duration
	lastFail string
	// broken tells that a row or an attempt to connect failed since the mark,
	// recovered that one was acknowledged after that.
	broken, recovered bool
}

// figures is what the writer has seen so far.
type figures struct {
	Acknowledged, Unknown int64
	// Longest is the longest time without an acknowledgement since mark, the one
	// that goes on included.
	Longest time.Duration
	// Recovered tells that the sessions broke since mark and rows are
	// acknowledged again.
	Recovered bool
	// LastFail is the newest trouble, for the message of a step that failed.
	LastFail string
}

func newWriter(c connect) *writer { return &writer{connect: c} }

// run writes until ctx ends.
func (w *writer) run(ctx context.Context) {
	ticker := time.NewTicker(rowEvery)
	defer ticker.Stop()
	var session connection
	defer func() {
		if session != nil {
			session.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			session = w.write(ctx, session)
		}
	}
}

// write tries the row that is due, on a new session where there is none, and
// returns the session to go on with.
func (w *writer) write(ctx context.Context, session connection) connection {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if session == nil {
		fresh, err := w.connect(ctx)
		if err != nil {
			w.failed(err, false)
			return nil
		}
		session = fresh
	}
	seq := w.next()
	if err := session.Insert(ctx, seq); err != nil {
		w.failed(err, true)
		session.Close()
		return nil
	}
	w.acknowledged(seq)
	return session
}

func (w *writer) next() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	return w.seq
}

func (w *writer) acknowledged(seq int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !w.lastAck.IsZero() {
		w.longest = max(w.longest, now.Sub(w.lastAck))
	}
	w.lastAck = now
	w.recovered = w.broken
	w.acked = append(w.acked, seq)
}

func (w *writer) failed(err error, sent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastFail = err.Error()
	w.broken, w.recovered = true, false
	if sent {
		w.unknown++
	}
}

// mark begins a new measurement of the longest gap.
func (w *writer) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest, w.broken, w.recovered = 0, false, false
	w.lastAck = time.Now() // what came before belongs to the measurement before
}

func (w *writer) figures() figures {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := figures{Acknowledged: int64(len(w.acked)), Unknown: w.unknown, Longest: w.longest, Recovered: w.recovered, LastFail: w.lastFail}
	if !w.lastAck.IsZero() {
		f.Longest = max(f.Longest, time.Since(w.lastAck))
	}
	return f
}

// missing lists the acknowledged rows that present does not hold.
func (w *writer) missing(present map[int64]bool) []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var gone []int64
	for _, seq := range w.acked {
		if !present[seq] {
			gone = append(gone, seq)
		}
	}
	return gone
}
