package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// keptFiles are ours in the data directory and not the source's: pg_rewind copies
// the source's over them, and they are put back.
var keptFiles = []string{confName, baseName, hbaName, identName, autoName}

// Rewinding is how a rewind is to be done.
type Rewinding struct {
	// Share keeps the directory as it was, beside it, where the file system can do so
	// without copying; Retain is how many old directories are kept then.
	Share  bool
	Retain int
	// RestoreCommand fetches WAL that is gone here; empty for none.
	RestoreCommand string
	// Lost is the summary of WAL that goes (KeepLost); empty for none. Tables that were
	// made in it are named in it first, as long as anybody can.
	Lost string
	// Progress gets bytes done and all, about once a second; may be nil.
	Progress func(done, total int64)
}

// Rewind makes the stopped server's directory a copy of source from the point
// where the two parted, and a standby. rewound is false when there was nothing to
// do. ErrNeedClone tells that only a clone can help and nothing was changed;
// ErrDamaged that the directory was being changed when it failed, so that only a
// clone can help and the tombstone stays; ErrSourceNotReady that the source has
// written no checkpoint yet (SourceReady). After any other error the directory is
// as good as before, and it may be tried again.
func (s *Server) Rewind(ctx context.Context, source Source, how Rewinding) (rewound bool, err error) {
	lock, err := s.lockJob()
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if err := s.SourceReady(ctx, source); err != nil {
		return false, fmt.Errorf("rewind from %s: %w", source.address(), err)
	}
	kept, state, err := s.beforeRewind()
	if err != nil {
		return false, fmt.Errorf("rewind: %w", err)
	}
	volumes := s.watched()
	defer volumes.close()
	before := s.shareBefore(how)
	if err := s.bury(Tombstone{Kind: TombstoneRewind, Source: source.address()}); err != nil {
		return false, err
	}
	touched, rewound := false, true
	watch := func(line string) {
		touched = touched || strings.Contains(line, "need to copy") || strings.Contains(line, "Done!")
		rewound = rewound && !strings.Contains(line, "no rewind required")
		if done, total, is := parseProgress(line); is && how.Progress != nil {
			how.Progress(done, total)
		}
	}
	if err = s.readyForRewind(ctx, lock, state, how); err == nil {
		s.nameLocally(ctx, lock, how.Lost)
		// All that may have taken long: a recovery, and a disk that stalls.
		err = s.SourceReady(ctx, source)
	}
	if err == nil {
		var out string
		out, err = s.copying(ctx, s.o.Rewind, lock, job{
			program: "pg_rewind", args: s.rewindArgs(source, how), line: watch, env: []string{"PGAPPNAME=pgkeeper_rewind_" + s.o.Name},
		})
		for line := range strings.Lines(out) {
			watch(line)
		}
	}
	if err == nil {
		err = s.afterRewind(kept, volumes)
	} else {
		err = s.rewindFailed(errCancelled(ctx, err), touched, source)
	}
	rewound = err == nil && rewound
	return rewound, errors.Join(err, s.settleBefore(before, rewound || touched, how.Retain, volumes))
}

func (s *Server) rewindArgs(source Source, how Rewinding) []string {
	args := []string{
		"--target-pgdata=" + s.o.DataDir, "--progress", "--no-sync", // synced before the tombstone goes
		"--no-ensure-shutdown", // we have seen to it, and without losing the WAL it needs
		"--source-server=" + sourceConninfo(s.o.Rewind, source.Host, cmp.Or(source.Port, "5432"), "postgres"),
	}
	if how.RestoreCommand != "" && s.readsOurConf() {
		args = append(args, "--restore-target-wal")
	}
	if s.version.rewindConfig {
		args = append(args, "--config-file="+s.conf(confName))
	}
	return append(args, s.o.RewindArgs...)
}

// readsOurConf: before PostgreSQL 15 pg_rewind finds a configuration in the data
// directory only.
func (s *Server) readsOurConf() bool { return s.version.rewindConfig || s.o.ConfigDir == s.o.DataDir }

// SourceReady tells whether source can be rewound from: a primary that has written
// a checkpoint on its own timeline (ErrSourceNotReady otherwise). Before PostgreSQL
// 16 pg_rewind reads the timeline of its source from pg_control, which a promotion
// leaves as it was until the next checkpoint: it finds that both are on the same
// one and does nothing. Newer ones look further, and are asked for no less.
func (s *Server) SourceReady(ctx context.Context, source Source) error {
	row, err := s.askSource(ctx, source, "postgres", `select upper(lpad(to_hex(timeline_id), 8, '0')),
		case when pg_is_in_recovery() then '' else left(pg_walfile_name(pg_current_wal_lsn()), 8) end
		from pg_control_checkpoint()`)
	if err != nil {
		return fmt.Errorf("ask for its timeline: %w", err)
	}
	return readySource(string(row[0]), string(row[1]))
}

// readySource judges a source by the timeline of its last checkpoint and the one
// that it writes, both hexadecimal; a server in recovery writes none.
func readySource(checkpoint, writes string) error {
	switch {
	case writes == "": // guard: rewind_from_primary — S5
		return errors.New("the source of the rewind is in recovery")
	case checkpoint != writes: // guard: rewind_after_checkpoint — SAFETY 8
		return fmt.Errorf("%w: it writes timeline %s, but its last checkpoint is of %s", ErrSourceNotReady, writes, checkpoint)
	}
	return nil
}

// beforeRewind checks that a rewind can work, and reads the files to keep and how
// the server was left.
func (s *Server) beforeRewind() (kept map[string][]byte, state cluster.ControlState, err error) {
	grave, _, err := s.settled()
	if err != nil {
		return nil, 0, err
	}
	if grave != nil {
		return nil, 0, fmt.Errorf("%w: an interrupted %s left %s unfinished", ErrNeedClone, grave.Kind, s.o.DataDir)
	}
	kept = map[string][]byte{}
	err = s.owner.do(func() error {
		control, err := s.readControl()
		switch {
		case err != nil:
			return err
		case !control.Checksums && !control.WalLogHints:
			return fmt.Errorf("%w: the data directory has neither checksums nor wal_log_hints", ErrNeedClone)
		}
		state = control.State
		for _, name := range keptFiles {
			content, found, err := readOptional(s.data(name))
			if err != nil {
				return err
			}
			if found {
				kept[name] = content
			}
		}
		return nil
	})
	return kept, state, err
}

// afterRewind puts our files back and makes the result durable.
func (s *Server) afterRewind(kept map[string][]byte, volumes fileSystems) error {
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
		err = s.syncAll(volumes)
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
	"could not find a valid record", // the WAL back to the divergence is gone
	"could not restore file",        // and the archive does not have it either
	"needs to use either data checksums",
	"full_page_writes must be enabled", // on the source, where a file system that copies on write makes them needless
	"clusters are not compatible with this version of pg_rewind",
	"unexpected control file",
	"invalid control file",
}
