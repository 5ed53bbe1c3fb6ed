package testbed

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is how often a condition is looked at.
const pollEvery = 10 * time.Millisecond

// Wait looks at a condition until it holds or limit has passed. The condition
// returns an empty string when it holds, else what is in its way.
func Wait(ctx context.Context, limit time.Duration, what string, missing func(context.Context) string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := "never looked"
	for {
		if now := missing(ctx); now == "" {
			return nil
		} else if ctx.Err() == nil {
			last = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v for %s: %s", limit, what, last)
		case <-tick.C:
		}
	}
}
