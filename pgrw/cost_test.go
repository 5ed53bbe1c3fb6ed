package pgrw

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// querier is what a pool and a handle have in common.
type querier interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}

// way is a kind of handle, and a pool that is connected straight to where it reads.
type way struct {
	name   string
	handle *DB
	direct *pgxpool.Pool
	// most is how many allocations a query by the handle may take beyond one by the pool:
	// what it takes and one, since averages are rounded. A token must cost none, nor must
	// bounds. What the primary's cost beyond a replica's is the context that ends with the
	// tenure.
	most float64
}

// ways are all kinds on a healthy cluster of a primary and two replicas.
func ways(t testing.TB) []way {
	t.Helper()
	s := newScene(t, WithProbeInterval(100*time.Millisecond))
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
		{"primary", s.Primary(), primary, 11},
		{"reading, primary", s.Replica(FromPrimary()), primary, 8},
		{"replica", s.Replica(never), replica, 5},
		{"replica, bounds", s.Replica(never, MaxLag(1<<20), MaxLagTime(time.Hour)), replica, 5},
		{"replica, token", s.Replica(never, After(token)), replica, 5},
	}
}

func TestAHandleAllocatesLittleBeyondAPool(t *testing.T) {
	for _, w := range ways(t) {
		t.Run(w.name, func(t *testing.T) {
			allocs := func(q querier) float64 {
				return testing.AllocsPerRun(1000, func() {
					var address string
					if err := q.QueryRow(t.Context(), "select address").Scan(&address); err != nil {
						t.Fatal(err)
					}
				})
			}
			direct, handle := allocs(w.direct), allocs(w.handle)
			if handle-direct > w.most {
				t.Errorf("%.0f allocations by the handle, %.0f by a pool: want at most %.0f more", handle, direct, w.most)
			}
		})
	}
}

// BenchmarkLease is the way to a connection and back, without a query: all that a handle
// does and a pool does not, but for rows.
func BenchmarkLease(b *testing.B) {
	for _, w := range ways(b) {
		lease := func() error {
			o := w.handle.operation(b.Context())
			l, err := o.lease()
			if err != nil {
				return err
			}
			return o.finish(l, nil)
		}
		direct := func() error {
			conn, err := w.direct.Acquire(b.Context())
			if err == nil {
				conn.Release()
			}
			return err
		}
		for name, f := range map[string]func() error{"pgrw": lease, "pgxpool": direct} {
			b.Run(w.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
