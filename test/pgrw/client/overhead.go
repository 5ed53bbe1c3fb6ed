package main

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgkeeper/pgkeeper/pgrw"
)

// cost is the median time of a query by each way, in seconds.
type cost struct {
	Pool    float64 `json:"pool"`
	Primary float64 `json:"primary"`
	Reading float64 `json:"reading"`
	Token   float64 `json:"token"`
}

// turn is how many queries are asked one way before the next way has its turn, so that
// what else the machine does falls on all of them.
const turn = 200

// overhead asks the primary the same by pgxpool, by the primary's handle, by a reading
// handle, and by that with a token that the connection has proved before.
func overhead(ctx context.Context, db *pgrw.Cluster, dsn string, queries int) (cost, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return cost{}, err
	}
	defer pool.Close()
	token, err := db.Mark(ctx)
	if err != nil {
		return cost{}, err
	}
	type querier interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}
	ways := []querier{pool, db.Primary(), db.Replica(pgrw.FromPrimary()), db.Replica(pgrw.FromPrimary(), pgrw.After(token))}
	took := make([][]time.Duration, len(ways))
	for asked := 0; asked < queries; asked += turn {
		for i, way := range ways {
			for range turn {
				var one int
				began := time.Now()
				if err := way.QueryRow(ctx, "select 1").Scan(&one); err != nil {
					return cost{}, err
				}
				took[i] = append(took[i], time.Since(began))
			}
		}
	}
	median := func(i int) float64 {
		slices.Sort(took[i])
		return took[i][len(took[i])/2].Seconds()
	}
	return cost{median(0), median(1), median(2), median(3)}, nil
}
