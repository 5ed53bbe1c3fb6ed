package pgrw

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// probeLimit bounds one look at a server.
const probeLimit = 2 * time.Second

// probeFast is how often servers are asked while there is no primary.
const probeFast = 50 * time.Millisecond

// probe asks a server what it is, over and over, on a connection of its own: one that
// is never lent, so that a pool in full use is no failure.
func (c *Cluster) probe(ctx context.Context, srv *server) {
	var conn *pgx.Conn
	defer func() { closeQuietly(conn) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		nudged := c.nudged()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-nudged:
		}
		began := time.Now()
		limited, cancel := context.WithTimeout(ctx, probeLimit)
		meta, err := look(limited, srv, &conn)
		cancel()
		if ctx.Err() != nil {
			return
		}
		c.answered(srv, began, meta, err)
		next := c.probeInterval
		if c.now.Load().primary == nil {
			next = min(next, probeFast)
		}
		timer.Reset(next)
	}
}

// look asks once; a connection that failed is made anew the next time.
func look(ctx context.Context, srv *server, conn **pgx.Conn) (*connMeta, error) {
	if *conn == nil {
		made, err := srv.connect(ctx)
		if err != nil {
			return nil, err
		}
		*conn = made
	}
	meta, err := readMeta(ctx, (*conn).PgConn())
	if err != nil {
		closeQuietly(*conn)
		*conn = nil
	}
	return meta, err
}

// answered takes an answer in, or its absence.
func (c *Cluster) answered(srv *server, began time.Time, meta *connMeta, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.servers[srv.address] != srv || c.ctx.Err() != nil {
		return
	}
	c.failed(srv.address, err)
	old := c.probes[srv.address]
	p := probed{at: time.Now(), ok: err == nil, recovery: old.recovery, timeline: old.timeline, lsn: old.lsn}
	if err == nil {
		p.recovery, p.timeline, p.lsn = meta.recovery, meta.timeline, meta.lsn
		srv.note(meta)
		if v := c.now.Load(); v.primary == srv && !meta.recovery {
			c.track.add(began, settled(meta.lsn))
		}
	}
	wasDown := srv.down.Swap(err != nil)
	c.probes[srv.address] = p
	if p.ok != old.ok || p.recovery != old.recovery || old.at.IsZero() || wasDown != (err != nil) || p.timeline != old.timeline || c.silent() {
		c.settle()
	}
}

// silent reports that the agents were heard last too long ago, and that this is not in
// force yet; c.mu is held.
func (c *Cluster) silent() bool {
	return c.reported != nil && c.source != fromServers && time.Since(c.heardAt) >= agentsSilent
}

func closeQuietly(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx)
}
