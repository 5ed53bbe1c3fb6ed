package postgres

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// historyName is the name of a timeline's history file in pg_wal.
func historyName(tl cluster.Timeline) string { return fmt.Sprintf("%08X.history", uint32(tl)) }

// ParseTimelineHistory reads a NNNNNNNN.history file by PostgreSQL's own rules:
// lines of "timeline, switch position, reason", '#' begins a comment, timelines
// rise. The result is oldest first and has no line for the file's own timeline.
func ParseTimelineHistory(content []byte) (cluster.History, error) {
	var history cluster.History
	scanner := bufio.NewScanner(bytes.NewReader(content))
	scanner.Buffer(nil, 1<<20)
	for number := 1; scanner.Scan(); number++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		line, err := parseHistoryLine(text)
		if err != nil {
			return nil, fmt.Errorf("line %d of a timeline history: %w", number, err)
		}
		if len(history) > 0 && line.Timeline <= history[len(history)-1].Timeline {
			return nil, fmt.Errorf("line %d of a timeline history: timeline %d follows %d; they must rise",
				number, line.Timeline, history[len(history)-1].Timeline)
		}
		history = append(history, line)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read a timeline history: %w", err)
	}
	return history, nil
}

func parseHistoryLine(text string) (cluster.HistoryLine, error) {
	number, rest := cutSpace(text)
	position, reason := cutSpace(rest)
	tl, err := strconv.ParseUint(number, 10, 32)
	if err != nil || tl == 0 {
		return cluster.HistoryLine{}, fmt.Errorf("%q is not a timeline number", number)
	}
	lsn, err := cluster.ParseLSN(position)
	if err != nil {
		return cluster.HistoryLine{}, err
	}
	return cluster.HistoryLine{Timeline: cluster.Timeline(tl), Switch: lsn, Reason: reason}, nil
}

// cutSpace splits text at its first run of blanks.
func cutSpace(text string) (before, after string) {
	if cut := strings.IndexAny(text, " \t"); cut >= 0 {
		return text[:cut], strings.TrimLeft(text[cut:], " \t")
	}
	return text, ""
}

// timelineHistory reads the server's own history of tl; none for timeline 1, and
// none while the file is not there yet. It must run with the owner's rights.
func (s *Server) timelineHistory(tl cluster.Timeline) (cluster.History, error) {
	if tl <= 1 {
		return nil, nil
	}
	path := s.data("pg_wal", historyName(tl))
	content, found, err := readOptional(path)
	if err != nil || !found {
		return nil, err
	}
	history, err := ParseTimelineHistory(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return history, nil
}

// placeholder begins the history files that only occupy a number.
//
// A promotion takes the first number above the current timeline whose history
// file is missing, so a file with nothing but a comment makes it go on to the
// next number. Why only a comment:
//
//   - A standby that looks for newer timelines meanwhile (it does whenever its
//     stream breaks) reads such a file as "a timeline without ancestors", logs
//     that it is no child of its own, and stays where it is. A line naming the
//     current timeline would make it follow a timeline that nobody has.
//   - The real file of the promoted timeline names only true ancestors, so the
//     standbys, pg_rewind and pg_basebackup never see the skipped numbers in it.
//   - The walreceiver fetches *every* history file from its own timeline up to
//     the primary's, and gives up when one is missing there. So the placeholders
//     stay, and numbers below the current timeline get one too: a clone has only
//     the file of the timeline it was taken on.
//
// The danger is a start: with placeholders but without the real file above them,
// recovery_target_timeline=latest picks the last placeholder, and the server
// refuses to start ("requested timeline is not a child of this server's
// history"). That is what an interrupted promotion leaves, or a walreceiver that
// was interrupted between two files. dropOrphans removes those before a start.
const placeholder = "# number skipped by pgkeeper"

// HistoryFiles returns what to place in pg_wal, by file name, so that a promotion
// of this server, now on timeline current, takes the number wanted and no other.
// Errors are ErrTimelineTaken.
func (s *Server) HistoryFiles(current, wanted cluster.Timeline) (map[string]string, error) {
	files := map[string]string{}
	err := s.owner.do(func() error {
		if current == 0 || wanted <= current {
			return fmt.Errorf("%w: %d is not above the current timeline %d", ErrTimelineTaken, wanted, current)
		}
		for tl := cluster.Timeline(2); tl <= wanted; tl++ {
			found, err := exists(s.data("pg_wal", historyName(tl)))
			switch {
			case err != nil:
				return err
			case found && tl == wanted:
				return fmt.Errorf("%w: %s exists already: reserve a higher number",
					ErrTimelineTaken, s.data("pg_wal", historyName(tl)))
			case !found && tl != wanted && tl != current:
				files[historyName(tl)] = fmt.Sprintf("%s for timeline %d\n", placeholder, wanted)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

// FillHistory writes placeholders for the numbers between current and the timeline that a
// standby is to follow, as far as their history files are missing here: its walreceiver
// then does not ask for them. A primary that an agent has promoted has them all. One that
// Patroni has has those that it was copied with, and a standby from before would be
// refused for ever. It is for a server that runs: before a start they would be orphans.
func (s *Server) FillHistory(current, upTo cluster.Timeline) error {
	return s.owner.do(func() error {
		for tl := max(current+1, 2); tl < upTo; tl++ {
			path := s.data("pg_wal", historyName(tl))
			if found, err := exists(path); err != nil || found {
				if err != nil {
					return err
				}
				continue
			}
			if err := writeFile(path, fmt.Appendf(nil, "%s for timeline %d\n", placeholder, upTo), 0o600); err != nil {
				return fmt.Errorf("place the history file of timeline %d: %w", tl, err)
			}
		}
		return nil
	})
}

// dropOrphans removes placeholders that no real history file stands above, so
// that a start does not take one for the newest timeline. Before the start of a standby
// it removes real files too, of timelines that this server has nothing of: a receiver
// fetched one from a primary that may have had less WAL than this standby, and that is
// gone since. With it the server would not start, or would take that timeline for its
// goal, replay its own WAL past the point where the two parted, and name it as an
// ancestor when it is promoted. Whoever follows that timeline fetches it again. It must
// run with the owner's rights while the server is stopped.
func (s *Server) dropOrphans(standby bool) error {
	names, err := filepath.Glob(s.data("pg_wal", "*.history"))
	if err != nil || len(names) == 0 {
		return err
	}
	dropped := false
	for _, name := range slices.Backward(names) { // Glob sorts; hexadecimal sorts as numbers do
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		orphan := bytes.HasPrefix(content, []byte(placeholder))
		if !orphan && standby {
			if orphan, err = s.strange(filepath.Base(name)); err != nil {
				return err
			}
		}
		if !orphan {
			break
		}
		if err := os.Remove(name); err != nil {
			return err
		}
		dropped = true
	}
	if !dropped {
		return nil
	}
	return syncDir(s.data("pg_wal"))
}

// strange reports whether a history file is of a timeline that this server has not been
// on, and has no WAL of. A file of another name is left to the server.
func (s *Server) strange(name string) (bool, error) {
	var tl uint32
	if _, err := fmt.Sscanf(name, "%08X.history", &tl); err != nil {
		return false, nil
	}
	control, err := s.readControl()
	if err != nil || cluster.Timeline(tl) <= max(control.Timeline, control.MinRecoveryTLI) {
		return false, err
	}
	wal, err := filepath.Glob(s.data("pg_wal", fmt.Sprintf("%08X????????????????", tl)))
	return len(wal) == 0, err
}

// ArchiveHistory hands placeholders to the archiver of a new primary, once its
// promotion is done. Without them a recovery from the archive alone stops looking
// for newer timelines at the first number that is not there, and never reaches
// ours. It does nothing when archiving is off. The archiver finds them with the
// next WAL file it archives, or within a minute.
func (s *Server) ArchiveHistory(ctx context.Context) error {
	rows, err := s.act.query(ctx, "archiving", "select current_setting('archive_mode') <> 'off' and not pg_is_in_recovery()")
	if err != nil {
		return fmt.Errorf("ask whether WAL is archived: %w", err)
	}
	if r := (reader{row: rows[0]}); !r.flag(0) {
		return nil
	}
	err = s.owner.do(func() error {
		names, err := filepath.Glob(s.data("pg_wal", "*.history"))
		for i := 0; i < len(names) && err == nil; i++ {
			err = s.archivePlaceholder(names[i])
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("hand timeline history files to the archiver: %w", err)
	}
	return nil
}

// archivePlaceholder marks one file as ready, unless it is a real one, which
// PostgreSQL takes care of, or has been archived.
func (s *Server) archivePlaceholder(path string) error {
	content, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(content, []byte(placeholder)) {
		return err
	}
	status := s.data("pg_wal", "archive_status", filepath.Base(path))
	if done, err := exists(status + ".done"); err != nil || done {
		return err
	}
	return createEmpty(status + ".ready")
}
