package pgrw

import "github.com/jackc/pgx/v5/pgxpool"

// PoolStat is the state of one server's pool.
type PoolStat struct {
	Server string // host:port
	// Purpose is "write" or "read".
	Purpose string
	*pgxpool.Stat
}

// Pools are the pools that were used so far.
func (c *Cluster) Pools() []PoolStat {
	var all []PoolStat
	for _, s := range c.now.Load().all {
		s.mu.Lock()
		for p, name := range map[purpose]string{writing: "write", reading: "read"} {
			if pool := s.pools[p]; pool != nil {
				all = append(all, PoolStat{s.address, name, pool.Stat()})
			}
		}
		s.mu.Unlock()
	}
	return all
}
