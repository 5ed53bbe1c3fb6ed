package memory_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/dcstest"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
)

// handClock is moved by the test alone.
type handClock struct{ at atomic.Int64 }

func (c *handClock) now() cluster.Instant { return cluster.Instant(1 + c.at.Load()) }

func TestConformance(t *testing.T) {
	dcstest.Run(t, func(*testing.T) dcstest.Harness {
		clock := &handClock{}
		server := memory.NewServer(clock.now)
		clients := 0
		return dcstest.Harness{
			KV: func(*testing.T) dcs.KV {
				clients++
				return server.Client(string(rune('a' + clients)))
			},
			Elapse: func(d time.Duration) {
				clock.at.Add(int64(d))
				server.Advance()
			},
			Compact: func(_ context.Context, revision int64) error {
				server.With(func(c *memory.Core) { c.Compact(revision) })
				return nil
			},
		}
	})
}
