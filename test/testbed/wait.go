package testbed

import (
	"context"
	"fmt"
	"time"
)

// pollAfter is how long after a look, which took so long, the next one is due: at once first, and never so late that a
// moment of a cluster's life is missed. A hundred looks a second slow down what is waited for, on a machine of two cores,
// as do looks without a pause on one where each takes long.
func pollAfter(waited, took time.Duration) time.Duration {
	return min(max(10*time.Millisecond, waited/50, took), 50*time.Millisecond)
}

// Wait looks at a condition until it holds or limit has passed. The condition
// returns an empty string when it holds, else what is in its way.
func Wait(ctx context.Context, limit time.Duration, what string, missing func(context.Context) string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began, last := time.Now(), "never looked"
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		looked := time.Now()
		if now := missing(ctx); now == "" {
			return nil
		} else if ctx.Err() == nil {
			last = now
		}
		next.Reset(pollAfter(time.Since(began), time.Since(looked)))
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v for %s: %s", limit, what, last)
		case <-next.C:
		}
	}
}
