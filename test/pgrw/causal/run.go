package causal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/pgrw"
)

// Result is what was counted.
type Result struct {
	Writes  int64 `json:"writes"`
	Unknown int64 `json:"unknown"`
	// Failed are writes and reads that ended in another error.
	Failed int64  `json:"failed"`
	First  string `json:"first_failure,omitempty"`
	Reads  int64  `json:"reads"`
	// Stale is how many reads with a token did not show the write; Example describes one.
	Stale   int64  `json:"stale"`
	Example string `json:"example,omitempty"`
	// Control and ControlStale are the reads without a token and how many of them were stale.
	Control      int64 `json:"control"`
	ControlStale int64 `json:"control_stale"`
	// ByReplica is how many reads with a token a replica answered.
	ByReplica int64 `json:"by_replica"`
	// LongestWrite is the longest that a write took, in seconds.
	LongestWrite float64 `json:"longest_write"`
}

// Run is one run.
type Run struct {
	DB      *pgrw.Cluster
	Table   string
	Workers int
	// After that many reads with a token it ends; or with the context of Do.
	After int64

	reads atomic.Int64
	mu    sync.Mutex
	total Result
}

// Prepare makes the table.
func (r *Run) Prepare(ctx context.Context) error {
	_, err := r.DB.InTx(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "create table "+r.Table+" (worker int primary key, n bigint not null)"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "insert into "+r.Table+" select w, 0 from generate_series(1, $1) w", r.Workers)
		return err
	})
	return err
}

// Reads is how many reads with a token were made so far.
func (r *Run) Reads() int64 { return r.reads.Load() }

// Do works until enough was read or the context ends.
func (r *Run) Do(ctx context.Context) Result {
	var all sync.WaitGroup
	for worker := range r.Workers {
		all.Go(func() { r.work(ctx, worker+1) })
	}
	all.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.Reads = r.reads.Load()
	return r.total
}

// work writes ever higher numbers. What was acknowledged must be seen, and a number whose
// fate is unknown may be.
func (r *Run) work(ctx context.Context, worker int) {
	for n := int64(1); ctx.Err() == nil && (r.After == 0 || r.reads.Load() < r.After); n++ {
		began := time.Now()
		token, err := r.write(ctx, worker, n)
		if !r.wrote(ctx, err, time.Since(began)) {
			continue
		}
		seen, _, err := r.read(ctx, worker, pgrw.Token{})
		if before(err) {
			seen, err = 0, nil
		}
		r.count(ctx, err, func(t *Result) {
			t.Control++
			if seen < n {
				t.ControlStale++
			}
		})
		seen, standby, err := r.read(ctx, worker, token)
		r.count(ctx, err, func(t *Result) {
			r.reads.Add(1)
			if standby {
				t.ByReplica++
			}
			if seen < n {
				t.Stale++
				t.Example = fmt.Sprintf("worker %d wrote %d, token %v, and read %d (standby: %v)", worker, n, token, seen, standby)
			}
		})
	}
}

func (r *Run) write(ctx context.Context, worker int, n int64) (pgrw.Token, error) {
	return r.DB.InTx(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "update "+r.Table+" set n = $2 where worker = $1", worker, n)
		return err
	})
}

func (r *Run) read(ctx context.Context, worker int, token pgrw.Token) (n int64, standby bool, err error) {
	err = r.DB.Replica(pgrw.After(token)).QueryRow(ctx, "select n, pg_is_in_recovery() from "+r.Table+" where worker = $1", worker).Scan(&n, &standby)
	return n, standby, err
}

// before: a read of a replica that has not got as far as Prepare. Without a token that is as stale as can be.
func before(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == undefinedTable || errors.Is(err, pgx.ErrNoRows)
}

// undefinedTable is PostgreSQL's code for a table that is not there.
const undefinedTable = "42P01"

func (r *Run) wrote(ctx context.Context, err error, took time.Duration) bool {
	if errors.Is(err, pgrw.ErrCommitUnknown) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.total.Unknown++
		return false
	}
	r.count(ctx, err, func(t *Result) {
		t.Writes++
		t.LongestWrite = max(t.LongestWrite, took.Seconds())
	})
	return err == nil
}

// count notes a success by f, or a failure that is not the end of the run.
func (r *Run) count(ctx context.Context, err error, f func(*Result)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		f(&r.total)
	case ctx.Err() == nil:
		if r.total.Failed++; r.total.First == "" {
			r.total.First = err.Error()
		}
	}
}
