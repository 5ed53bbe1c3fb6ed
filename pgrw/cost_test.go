package pgrw

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// way is a kind of handle, and a pool that is connected straight to where it reads.
type way struct {
	name   string
	handle *DB
	direct *pgxpool.Pool
	// allocs is how often the way to a connection and back allocates, where a pool does not:
	// for the candidates, what the balancer sees of them, and the lease. Bounds and a token
	// must cost none. What the primary's cost beyond is the context that ends with the tenure.
	allocs float64
}

// lease is the way to a connection and back, without a query: all that a handle does and
// a pool does not, but for rows.
func (w way) lease(ctx context.Context) error {
	o := w.handle.operation(ctx)
	l, err := o.lease()
	if err != nil {
		return err
	}
	return o.finish(l, nil)
}

// acquire is the same by the pool.
func (w way) acquire(ctx context.Context) error {
	conn, err := w.direct.Acquire(ctx)
	if err == nil {
		conn.Release()
	}
	return err
}

// ways are all kinds on a healthy cluster of a primary and two replicas.
func ways(t testing.TB) []way {
	t.Helper()
	s := newScene(t, WithProbeInterval(defaults().probeInterval)) // what the probes allocate counts as well
	await(t, "the replicas' lag", func() bool {
		for _, n := range s.Topology().Replicas() {
			if n.Lag < 0 || n.Staleness < 0 {
				return false
			}
		}
		return true
	})
	direct := func(i int) *pgxpool.Pool {
		pool, err := pgxpool.New(t.Context(), "postgres://"+s.servers[i].address()+simple)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return pool
	}
	token, err := s.Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	primary, replica := direct(0), direct(1)
	never := OrPrimary(FallbackNever)
	return []way{
		{"primary", s.Primary(), primary, 9},
		{"reading, primary", s.Replica(FromPrimary()), primary, 6},
		{"replica", s.Replica(never), replica, 3},
		{"replica, bounds", s.Replica(never, MaxLag(1<<20), MaxLagTime(time.Hour)), replica, 3},
		{"replica, token", s.Replica(never, After(token)), replica, 3},
	}
}

// Allocations are counted and not time, which depends on what else the machine does.
func TestAHandleAllocatesLittleBeyondAPool(t *testing.T) {
	for _, w := range ways(t) {
		t.Run(w.name, func(t *testing.T) {
			count := func(f func(context.Context) error) float64 {
				return testing.AllocsPerRun(1000, func() {
					if err := f(t.Context()); err != nil {
						t.Fatal(err)
					}
				})
			}
			if handle, pool := count(w.lease), count(w.acquire); handle > pool+w.allocs {
				t.Errorf("%.0f allocations by the handle, %.0f by a pool: want at most %.0f more", handle, pool, w.allocs)
			}
		})
	}
}

// BenchmarkLease is the time of that.
func BenchmarkLease(b *testing.B) {
	for _, w := range ways(b) {
		for name, f := range map[string]func(context.Context) error{"pgrw": w.lease, "pgxpool": w.acquire} {
			b.Run(w.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
