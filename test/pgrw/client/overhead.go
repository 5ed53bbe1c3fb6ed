package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgkeeper/pgkeeper/pgrw"
)

// cost is the median time of a query by a pool that is connected straight to a server,
// and by a handle that reads the same server, in seconds.
type cost struct {
	Pool   float64 `json:"pool"`
	Handle float64 `json:"handle"`
}

// turn is how many queries are asked one way before the next way has its turn, so that
// what else the machine does falls on all of them.
const turn = 200

// querier is what a pool and a handle have in common.
type querier interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}

// pair is one comparison. Its two ways have a connection each to the same server.
type pair struct {
	name         string
	pool, handle querier
	took         [2][]time.Duration
}

// overhead compares every kind of handle with a pool on the server that the handle reads:
// the primary's, a reading one that is answered by the primary, a replica's, and that
// with a token that the connection has proved before.
//
// Two connections to one server may differ by more than any client costs: two pools do,
// as the scheduler leaves the servers' processes on this core or on another. So this
// process and those of its connections share one core; nothing that a handle does can
// hide beside the server's work there either.
func overhead(ctx context.Context, db *pgrw.Cluster, primary, replica string, queries int) (map[string]cost, error) {
	pairs, closeAll, err := pairs(ctx, db, primary, replica)
	defer closeAll()
	if err != nil {
		return nil, err
	}
	if err := together(ctx, pairs); err != nil {
		return nil, err
	}
	for asked := 0; asked < queries; asked += turn {
		for _, p := range pairs {
			for i, way := range []querier{p.pool, p.handle} {
				if p.took[i], err = ask(ctx, way, p.took[i]); err != nil {
					return nil, fmt.Errorf("%s: %w", p.name, err)
				}
			}
		}
	}
	out := map[string]cost{}
	for _, p := range pairs {
		out[p.name] = cost{Pool: median(p.took[0]), Handle: median(p.took[1])}
	}
	return out, nil
}

// pairs are the comparisons.
func pairs(ctx context.Context, db *pgrw.Cluster, primary, replica string) (all []*pair, closeAll func(), err error) {
	var pools []*pgxpool.Pool
	closeAll = func() {
		for _, p := range pools {
			p.Close()
		}
	}
	token, err := db.Mark(ctx)
	if err != nil {
		return nil, closeAll, err
	}
	at, err := pgx.ParseConfig(replica)
	if err != nil {
		return nil, closeAll, err
	}
	fixed := pgrw.Balance(always(at.Host, at.Port))
	for _, p := range []struct {
		name, direct string
		handle       *pgrw.DB
	}{
		{"primary", primary, db.Primary()},
		{"reading", primary, db.Replica(pgrw.FromPrimary())},
		{"replica", replica, db.Replica(fixed)},
		{"token", replica, db.Replica(fixed, pgrw.After(token), pgrw.CausalWait(5*time.Second))},
	} {
		pool, err := pgxpool.New(ctx, p.direct)
		if err != nil {
			return nil, closeAll, err
		}
		pools = append(pools, pool)
		all = append(all, &pair{name: p.name, pool: pool, handle: p.handle})
	}
	return all, closeAll, nil
}

// always does the work of the default balancer, and takes one replica.
func always(host string, port uint16) pgrw.Balancer {
	address, pick := fmt.Sprintf("%s:%d", host, port), pgrw.PowerOfTwo()
	return pgrw.PickFunc(func(nodes []pgrw.Node) int {
		pick.Pick(nodes)
		return slices.IndexFunc(nodes, func(n pgrw.Node) bool { return n.Address == address })
	})
}

// together puts this process and those of its connections on one core, and makes sure
// that the two of a pair lead to one server.
func together(ctx context.Context, pairs []*pair) error {
	if err := onOneCore(); err != nil {
		return err
	}
	for _, p := range pairs {
		var ports [2]int
		for i, way := range []querier{p.pool, p.handle} {
			var pid int
			if err := way.QueryRow(ctx, "select current_setting('port')::int, pg_backend_pid()").Scan(&ports[i], &pid); err != nil {
				return err
			}
			if err := withUs(pid); err != nil {
				return err
			}
		}
		if ports[0] != ports[1] {
			return errors.New(p.name + ": the pool and the handle were answered by two servers")
		}
	}
	return nil
}

func ask(ctx context.Context, way querier, took []time.Duration) ([]time.Duration, error) {
	for range turn {
		var one int
		began := time.Now()
		if err := way.QueryRow(ctx, "select 1").Scan(&one); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

func median(took []time.Duration) float64 {
	slices.Sort(took)
	return took[len(took)/2].Seconds()
}
