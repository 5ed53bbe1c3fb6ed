package agent

import (
	"context"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
)

// commitWatch finds who commits on the local server without waiting for whom they
// should; *postgres.Server is one. What it finds is part of the next Look.
type commitWatch interface {
	// WatchSyncCommit reads what is new in the server's log and, when asked to or when
	// the server has read its configuration since, who is configured to wait for nobody.
	WatchSyncCommit(ctx context.Context, settings bool)
}

// commitLogEvery is between two looks at the server's log, commitSettingsEvery between
// two at the settings of roles and databases; commitLimit bounds one.
const (
	commitLogEvery      = 10 * time.Second
	commitSettingsEvery = time.Minute
	commitLimit         = 5 * time.Second
	// commitFirst is how soon it is looked for a server that nobody has looked at yet:
	// until then the others take it for one that has them.
	commitFirst = time.Second
)

// keepSyncCommit looks until ctx ends, beside the loop: a catalogue that is locked, or a
// log on a disk that hangs, must not hold a look at the server up.
func (w *worker) keepSyncCommit(ctx context.Context, server commitWatch) {
	settings := clock.Now()
	for first := true; clock.Sleep(ctx.Done(), commitPause(first)); {
		status := w.driver.Status()
		if status == nil || !status.Node.Good() || !status.Node.Value.Mode.Running() {
			first = true
			continue
		}
		due := first || clock.Now().Sub(settings) >= commitSettingsEvery
		if due {
			settings = clock.Now()
		}
		first = false
		watchCommits(ctx, server, due)
	}
}

func commitPause(first bool) time.Duration {
	if first {
		return commitFirst
	}
	return commitLogEvery
}

// watchCommits gives up waiting after commitLimit: a disk that hangs keeps whoever reads
// from it, and must keep nobody else.
func watchCommits(ctx context.Context, server commitWatch, settings bool) {
	ctx, cancel := context.WithTimeout(ctx, commitLimit)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.WatchSyncCommit(ctx, settings)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
