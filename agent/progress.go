package agent

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// Quick looks at the positions of the local server: so often, for so long after somebody
// last asked for lag, each bounded.
const (
	progressEvery  = 250 * time.Millisecond
	progressLinger = time.Minute
	progressLimit  = time.Second
)

// quickLook looks at positions; *postgres.Server has one.
type quickLook interface {
	LookProgress(ctx context.Context) (postgres.Progress, error)
}

// progressWatch looks at the server's positions while somebody asks for them, beside the
// loop: nothing is decided by them, and nobody waits for one.
type progressWatch struct {
	asked  atomic.Int64 // a cluster.Instant
	wanted chan struct{}
	newest atomic.Pointer[cluster.Progress]
	ends   walEnds
}

func newProgressWatch() *progressWatch {
	return &progressWatch{wanted: make(chan struct{}, 1)}
}

// Newest returns the last quick look without waiting, and has more made for a while.
func (w *progressWatch) Newest() *cluster.Progress {
	w.asked.Store(int64(clock.Now()))
	select {
	case w.wanted <- struct{}{}:
	default: // it is told already
	}
	return w.newest.Load()
}

// run looks until ctx ends. A server that is not looked at has no newest look: what was
// seen before it stopped says nothing of the one that runs later.
func (w *progressWatch) run(ctx context.Context, server quickLook, status func() *cluster.Status) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wanted:
		}
		for ctx.Err() == nil && clock.Now().Sub(cluster.Instant(w.asked.Load())) < progressLinger {
			w.newest.Store(w.look(ctx, server, status()))
			clock.Sleep(ctx.Done(), progressEvery)
		}
	}
}

func (w *progressWatch) look(ctx context.Context, server quickLook, status *cluster.Status) *cluster.Progress {
	if status == nil || !status.Node.Value.Mode.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, progressLimit)
	defer cancel()
	began := clock.Now()
	seen, err := server.LookProgress(ctx)
	if err != nil {
		return nil
	}
	p := seen.Progress
	p.At = began
	if p.Mode == cluster.ModeStandby {
		end := max(p.Latest, p.Receive)
		if published := status.View.Value.Status; published != nil {
			end = max(end, published.Optime)
		}
		p.Behind, p.Known = w.ends.behind(began, end, p.Replay, seen.CommitAge)
	}
	return &p
}

// walEnds remembers since when which end of WAL is known. A standby that has not replayed
// one of them has been behind since then. This is by one clock, and an idle primary
// makes nobody late, as the time of the last replayed commit would.
type walEnds struct {
	// ahead are the ends beyond what was replayed, oldest first.
	ahead []knownEnd
	// since tells that the oldest of them was seen when it was new: before it
	// everything had been replayed.
	since    bool
	replayed cluster.LSN
}

type knownEnd struct {
	lsn cluster.LSN
	at  cluster.Instant
}

// endsKept bounds walEnds; past it every second one is forgotten.
const endsKept = 1024

// behind is for how long the standby has missed WAL that was known at now to exist.
// commitAge is the age of the last commit replayed, negative for none: all there is to
// go by while the standby has been behind from the first look on.
func (e *walEnds) behind(now cluster.Instant, end, replayed cluster.LSN, commitAge time.Duration) (time.Duration, bool) {
	if !end.Known() || !replayed.Known() {
		return 0, false
	}
	if replayed < e.replayed { // another history: rewound, or copied anew
		*e = walEnds{}
	}
	e.replayed = replayed
	passed := 0
	for passed < len(e.ahead) && e.ahead[passed].lsn <= replayed {
		passed++
	}
	e.ahead = e.ahead[passed:]
	e.since = e.since || passed > 0 || replayed >= end
	if last := len(e.ahead) - 1; end > replayed && (last < 0 || end > e.ahead[last].lsn) {
		e.ahead = append(e.ahead, knownEnd{end, now})
	}
	e.thin()
	switch {
	case len(e.ahead) == 0:
		return 0, true
	case e.since:
		return now.Sub(e.ahead[0].at), true
	}
	return max(commitAge, now.Sub(e.ahead[0].at)), commitAge >= 0
}

func (e *walEnds) thin() {
	if len(e.ahead) <= endsKept {
		return
	}
	kept := e.ahead[:0]
	for i := 0; i < len(e.ahead); i += 2 {
		kept = append(kept, e.ahead[i])
	}
	e.ahead = kept
}
