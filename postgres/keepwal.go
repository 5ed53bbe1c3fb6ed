package postgres

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// everything is the greatest wal_keep_size there is: no WAL file is recycled.
const everything = "2147483647MB"

// rewindConf begins what stands at the end of the generated configuration while a
// rewind is prepared. The next start writes the file anew, without it.
const rewindConf = "\n# for a rewind\n"

// KeepWAL has the running server recycle no WAL any more. Its shutdown writes a
// checkpoint, and that would remove what a rewind has to read: WAL back to the last
// checkpoint that it has in common with its source.
func (s *Server) KeepWAL(ctx context.Context) error {
	if err := s.confForRewind(""); err != nil {
		return err
	}
	return s.Reload(ctx)
}

// confForRewind adds to the generated configuration what a rewind needs.
func (s *Server) confForRewind(restoreCommand string) error {
	return s.files(func() error {
		content, _, err := readOptional(s.conf(confName))
		if err != nil {
			return err
		}
		text := string(content)
		if !strings.HasPrefix(text, confHeader) {
			return fmt.Errorf("%w: %s", ErrNotGenerated, s.conf(confName))
		}
		text, _, _ = strings.Cut(text, rewindConf)
		var b strings.Builder
		b.WriteString(text + rewindConf)
		writeParameter(&b, "wal_keep_size", everything)
		if restoreCommand != "" {
			writeParameter(&b, "restore_command", withoutRestartPoint(restoreCommand))
		}
		if _, err = writeChanged(s.conf(confName), b.String()); err != nil {
			return err
		}
		return s.keepOverAuto()
	})
}

// withoutRestartPoint is a restore_command as pg_rewind takes it, which knows no restart point
// and so no %r: whoever cleans an archive up by it is given a file that all others come after.
func withoutRestartPoint(command string) string {
	return strings.NewReplacer("%%", "%%", "%r", segmentName(1, 0, 16<<20)).Replace(command)
}

// keepAll is the line that keeps WAL where ALTER SYSTEM has set how much is kept, which
// would win over the generated file. stripAuto takes it out again.
const keepAll = "wal_keep_size = '" + everything + "'\n"

// keepOverAuto adds keepAll to postgresql.auto.conf, of whose lines the last one counts, where
// another of it is there. It must run with the owner's rights.
func (s *Server) keepOverAuto() error {
	content, found, err := readOptional(s.data(autoName))
	if err != nil || !found {
		return err
	}
	text := string(content)
	set := slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		name := parameterName.FindStringSubmatch(line)
		return name != nil && strings.EqualFold(name[1], "wal_keep_size")
	})
	if !set || strings.HasSuffix(text, "\n"+keepAll) {
		return nil
	}
	return writeFile(s.data(autoName), []byte(strings.TrimSuffix(text, "\n")+"\n"+keepAll), 0o600)
}

// readyForRewind recovers a server that was not shut down, as pg_rewind wants it.
// pg_rewind would do so itself, but the checkpoint at the end of a recovery removes
// WAL, and part of what it removes is what pg_rewind then looks for.
func (s *Server) readyForRewind(ctx context.Context, lock *os.File, state cluster.ControlState, how Rewinding) error {
	if how.RestoreCommand != "" {
		if err := s.confForRewind(how.RestoreCommand); err != nil {
			return err
		}
	}
	if state.Clean() {
		return nil
	}
	// A stand-alone backend refuses standby.signal. The file comes back at the end, and
	// no start is possible between: the tombstone stands.
	err := s.owner.do(func() error { return os.Remove(s.data("standby.signal")) })
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	_, err = s.standAlone(ctx, lock, "template1", "")
	if err != nil {
		return fmt.Errorf("recover the server before the rewind: %w", err)
	}
	return nil
}
