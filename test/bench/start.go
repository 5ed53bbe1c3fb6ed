//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// startTrial measures the way of three nodes from nothing to healthy; etcd runs already.
func (s *session) startTrial(ctx context.Context) (report.Trial, error) {
	pause(ctx, 2*time.Second) // etcd has elected and calmed down
	began := time.Now()
	for _, m := range s.members() {
		if err := m.start(); err != nil {
			return report.Trial{}, err
		}
	}
	t := report.Trial{Detail: map[string]any{}}
	_, err := s.milestones(ctx, began, t.Detail)
	t.Value = time.Since(began).Seconds()
	s.keepLogs(began, s.system)
	return t, err
}

// milestones waits for health and notes when the primary was there, and all replicas.
func (s *session) milestones(ctx context.Context, began time.Time, notes map[string]any) (member, error) {
	var leader member
	return leader, testbed.Wait(ctx, time.Minute, "a healthy cluster", func(ctx context.Context) string {
		var missing string
		if leader, missing = primary(ctx, s.members()); missing != "" {
			return missing
		}
		if _, noted := notes["primary"]; !noted {
			notes["primary"] = time.Since(began).Seconds()
		}
		return replicas(ctx, s.system, leader)
	})
}

// oneGB is the size of the database that a new replica copies.
const oneGB = 1_000_000_000

// fill makes the database that big, with rows like pgbench's.
func fill(ctx context.Context, leader member) (size int64, err error) {
	const rows, step = 8_000_000, 1_000_000
	db := adminDSN(leader, "bench")
	if err := exec1(ctx, db, "create table if not exists fill (aid bigint, bid int, abalance int, filler char(84))"); err != nil {
		return 0, err
	}
	for from := 0; from < 2*rows; from += step {
		sql := fmt.Sprintf("insert into fill select g, g / 100000, 0, '' from generate_series(%d, %d) g", from+1, from+step)
		if err := exec1(ctx, db, sql); err != nil {
			return 0, fmt.Errorf("fill the database: %w", err)
		}
		if size, err = databaseSize(ctx, leader); err != nil || size >= oneGB {
			return size, errors.Join(err, exec1(ctx, db, "vacuum analyze fill"), exec1(ctx, db, "checkpoint"))
		}
	}
	return 0, errors.New("the database does not grow")
}

// replicaTrial adds a fourth node to a cluster with a 1 GB database.
func (s *session) replicaTrial(ctx context.Context) (report.Trial, error) {
	if err := s.silence(); err != nil {
		return report.Trial{}, err
	}
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return report.Trial{}, err
	}
	size, err := databaseSize(ctx, leader)
	if err == nil && size < oneGB {
		size, err = fill(ctx, leader)
	}
	if err != nil {
		return report.Trial{}, err
	}
	if s.fourth == nil {
		if s.fourth, err = s.add("fourth"); err != nil {
			return report.Trial{}, err
		}
	}
	pause(ctx, 5*time.Second) // what the fill or the last trial left to write
	began := time.Now()
	if err := s.fourth.start(); err != nil {
		return report.Trial{}, err
	}
	err = testbed.Wait(ctx, time.Minute, "the new replica's /replica", func(ctx context.Context) string {
		if c := code(ctx, s.fourth, "/replica"); c != http.StatusOK {
			return fmt.Sprintf("it answers %d", c)
		}
		return ""
	})
	t := report.Trial{Value: time.Since(began).Seconds(), Detail: map[string]any{"bytes": size}}
	s.keepLogs(began, s.system)
	return t, errors.Join(err, s.fourth.stop(30*time.Second), s.fourth.wipe())
}
