package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// keptFiles are ours in the data directory and not the source's: pg_rewind copies
// the source's over them, and they are put back.
var keptFiles = []string{confName, baseName, hbaName, identName, autoName}

// Rewind makes the stopped server's directory a copy of source from the point
// where the two parted, and a standby. rewound is false when there was nothing to
// do. ErrNeedClone tells that only a clone can help and nothing was changed;
// ErrDamaged that the directory was being changed when it failed, so that only a
// clone can help and the tombstone stays. After any other error the directory is
// as good as before, and it may be tried again.
//
// Before PostgreSQL 16 the source must have written a checkpoint since its
// promotion (ErrSourceNotReady): pg_rewind reads its timeline from pg_control,
// and would find that both are on the same one and nothing was to be done.
func (s *Server) Rewind(ctx context.Context, source Source) (rewound bool, err error) {
	lock, err := s.lockJob()
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if err := s.sourceReady(ctx, source); err != nil {
		return false, fmt.Errorf("rewind from %s: %w", source.address(), err)
	}
	kept, err := s.beforeRewind()
	if err != nil {
		return false, fmt.Errorf("rewind: %w", err)
	}
	if err := s.bury(TombstoneRewind, source.address()); err != nil {
		return false, err
	}
	touched, rewound := false, true
	watch := func(line string) {
		touched = touched || strings.Contains(line, "need to copy") || strings.Contains(line, "Done!")
		rewound = rewound && !strings.Contains(line, "no rewind required")
	}
	out, err := s.copying(ctx, s.o.Rewind, lock, job{
		program: "pg_rewind", args: s.rewindArgs(source), line: watch, env: []string{"PGAPPNAME=pgkeeper_rewind_" + s.o.Name},
	})
	for line := range strings.Lines(out) {
		watch(line)
	}
	if err != nil {
		return false, s.rewindFailed(errCancelled(ctx, err), touched, source)
	}
	return rewound, s.afterRewind(kept)
}

func (s *Server) rewindArgs(source Source) []string {
	args := []string{
		"--target-pgdata=" + s.o.DataDir, "--progress", "--no-sync", // synced before the tombstone goes
		"--source-server=" + sourceConninfo(s.o.Rewind, source.Host, cmp.Or(source.Port, "5432"), "postgres"),
	}
	if source.RestoreTargetWAL {
		args = append(args, "--restore-target-wal")
	}
	if s.version.rewindConfig {
		args = append(args, "--config-file="+s.conf(confName))
	}
	return args
}

// sourceReady compares the timeline the source writes with the one pg_rewind will
// read there.
func (s *Server) sourceReady(ctx context.Context, source Source) error {
	if s.version.rewindReadsPromotion {
		return nil
	}
	c := s.o.Rewind
	config, err := clientConfig(c, source.Host, cmp.Or(source.Port, "5432"), "postgres", cmp.Or(c.SSLMode, "prefer"))
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return s.explain(err, c, source.address())
	}
	defer closeConn(ctx, conn)
	result := conn.ExecParams(ctx, `select upper(lpad(to_hex(timeline_id), 8, '0')),
		case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_lsn()), 8) end
		from pg_control_checkpoint()`, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("ask for its timeline: %w", result.Err)
	}
	if row := result.Rows[0]; row[1] != nil && string(row[0]) != string(row[1]) {
		return fmt.Errorf("%w: it writes timeline %s, but its last checkpoint is of %s: let it write one", ErrSourceNotReady, row[1], row[0])
	}
	return nil
}

// beforeRewind checks that a rewind can work and reads the files to keep.
func (s *Server) beforeRewind() (kept map[string][]byte, err error) {
	grave, err := s.Tombstone()
	if err != nil {
		return nil, err
	}
	if grave != nil {
		return nil, fmt.Errorf("%w: an interrupted %s left %s unfinished", ErrNeedClone, grave.Kind, s.o.DataDir)
	}
	kept = map[string][]byte{}
	err = s.owner.do(func() error {
		control, err := s.readControl()
		switch {
		case err != nil:
			return err
		case !control.Checksums && !control.WalLogHints:
			return fmt.Errorf("%w: the data directory has neither checksums nor wal_log_hints", ErrNeedClone)
		case s.version.major < 15 && s.o.ConfigDir != s.o.DataDir && !control.State.Clean():
			return fmt.Errorf("%w: after a crash, pg_rewind %d finds no configuration outside the data directory", ErrNeedClone, s.version.major)
		}
		for _, name := range keptFiles {
			content, found, err := readOptional(s.data(name))
			if err != nil {
				return err
			}
			if found {
				kept[name] = content
			}
		}
		return s.readyForSingle(control.State)
	})
	return kept, err
}

// readyForSingle: pg_rewind lets a stand-alone backend recover a crashed target
// first, and that one refuses standby.signal. The file comes back at the end, and
// no start is possible between: the tombstone stands.
func (s *Server) readyForSingle(state cluster.ControlState) error {
	if state.Clean() {
		return nil
	}
	if err := os.Remove(s.data("standby.signal")); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// afterRewind puts our files back and makes the result durable.
func (s *Server) afterRewind(kept map[string][]byte) error {
	err := s.owner.do(func() error {
		for _, name := range slices.Sorted(maps.Keys(kept)) {
			if _, err := writeChanged(s.data(name), string(kept[name])); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = s.SetStandbySignal(true)
	}
	if err == nil {
		err = s.syncAll()
	}
	if err != nil {
		return fmt.Errorf("%w: finish the rewind: %w", ErrDamaged, err)
	}
	return s.unbury()
}

// rewindFailed sorts a failure by what the directory is now.
func (s *Server) rewindFailed(err error, touched bool, source Source) error {
	if touched {
		return fmt.Errorf("%w: rewind from %s: %w", ErrDamaged, source.address(), err)
	}
	// It was a standby or is about to become one; a start as primary is never
	// what comes after a rewind that failed.
	if err := errors.Join(s.SetStandbySignal(true), s.unbury()); err != nil {
		return err
	}
	said := saidBy(err)
	hopeless := slices.ContainsFunc(hopelessRewinds, func(words string) bool { return strings.Contains(said, words) })
	err = s.explainCopy(err, s.o.Rewind, source)
	if hopeless {
		return fmt.Errorf("%w: rewind from %s: %w", ErrNeedClone, source.address(), err)
	}
	return fmt.Errorf("rewind from %s: %w", source.address(), err)
}

// hopelessRewinds are pg_rewind's words for what no second try will change.
var hopelessRewinds = []string{
	"could not find common ancestor",
	"are from different systems",
	"could not find previous WAL record",
	"could not read WAL record",
	"could not open file \"" + "pg_wal", // the WAL back to the divergence is gone
	"needs to use either data checksums",
	"clusters are not compatible with this version of pg_rewind",
	"unexpected control file",
	"invalid control file",
}
