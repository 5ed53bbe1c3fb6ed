package agent

import (
	"context"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Pooler is a connection pooler beside this member that follows the cluster. The loop
// never waits for it: it reads what the loop publishes, and what it says of itself goes
// into the member key.
type Pooler interface {
	// Run drives it until ctx ends. newest is the status of the last step, stepped has
	// something to receive when there may be a new one.
	Run(ctx context.Context, newest func() *cluster.Status, stepped <-chan struct{}, say func(state cluster.PoolerState, held string))
}

// PoolerSeen is what the pooler does.
type PoolerSeen struct {
	State cluster.PoolerState
	// Held is the switchover for which it holds new work.
	Held string
}

func (PoolerSeen) event() {}

// drivePooler runs the pooler's driver, where one is configured.
func (w *worker) drivePooler(ctx context.Context) {
	w.pooler.Run(ctx, w.driver.Status, w.stepped, func(state cluster.PoolerState, held string) {
		w.node.post(PoolerSeen{state, held})
	})
}

// stepDone is told of every step; what pooler or surface have not yet looked at is one
// signal.
func (w *worker) stepDone(s *cluster.Status) {
	w.metrics.step(s)
	w.tellProber(s)
	notify(w.stepped)
	notify(w.changed)
}

// notify leaves one signal, whether or not somebody waits for it.
func notify(signal chan<- struct{}) {
	select {
	case signal <- struct{}{}:
	default: // it is told already
	}
}
