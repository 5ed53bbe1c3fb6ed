package pgbouncer

import (
	"bytes"
	"context"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/cluster"
)

const (
	// lookEvery is between two looks at the pooler: that it died, or was started again,
	// nobody tells.
	lookEvery = 2 * time.Second
	// keptFor is how long one connection is kept for that. A new one each time would fill
	// the log of PgBouncer; one that never ends would keep it from an orderly end, which
	// waits for its clients.
	keptFor = 30 * time.Second
)

// watch is what looks need.
type watch struct {
	// looked is when the last one went well, zero when one is due.
	looked cluster.Instant
	conn   *pgconn.PgConn
	made   cluster.Instant
}

// look finds out whether the pooler still is what it was made, and makes it that again.
func (d *Driver) look(ctx context.Context) error {
	if !d.known || !d.watch.looked.Never() && d.Now() < d.watch.looked.Add(lookEvery) {
		return nil
	}
	d.watch.looked = 0
	shown, err := d.shown(ctx)
	if err != nil {
		return err
	}
	if d.strayed(shown) {
		d.Log.Warn("pooler went by other databases than it was given", "member", d.Member)
		d.loaded, d.routed = nil, server{}
		d.paused = false // what was not there could not be
		if err := d.load(ctx); err != nil {
			return err
		}
	}
	if !d.since.Never() && (!d.paused || d.passes(shown)) {
		d.paused = false
		if err := d.hold(ctx); err != nil {
			return err
		}
	}
	d.watch.looked = d.Now()
	return nil
}

// strayed: PgBouncer sends writes elsewhere, or would by its file after a restart.
func (d *Driver) strayed(shown map[string]database) bool {
	if d.loaded == nil {
		return false
	}
	content, err := os.ReadFile(d.File)
	return err != nil || !bytes.Equal(content, d.loaded) || shown[d.Databases[0]].at != d.routed
}

// passes: a database that is to be held lets work through.
func (d *Driver) passes(shown map[string]database) bool {
	for _, name := range d.Databases {
		if one, there := shown[name]; there && !one.paused {
			return true
		}
	}
	return false
}

// shown is what PgBouncer shows of its databases. When the connection that was kept has
// ended it may just have been started again: it is asked once more over a new one.
func (d *Driver) shown(ctx context.Context) (map[string]database, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	w := &d.watch
	if w.conn != nil && d.Now() < w.made.Add(keptFor) {
		if results, err := query(ctx, w.conn, showDatabases); err == nil {
			return databases(results), nil
		}
	}
	w.hangUp()
	conn, err := d.console.connect(ctx)
	if err != nil {
		return nil, err
	}
	w.conn, w.made = conn, d.Now()
	results, err := query(ctx, conn, showDatabases)
	if err != nil {
		w.hangUp()
		return nil, err
	}
	return databases(results), nil
}

// hangUp gives the connection up.
func (w *watch) hangUp() {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = w.conn.Close(ctx)
	w.conn = nil
}
