package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// commitSQL is what the configuration files, roles and databases set: our own session
// sets synchronous_commit and lc_messages itself and cannot see what others begin with.
const commitSQL = `
select '', '', name, setting from pg_file_settings
 where applied and name in ('synchronous_commit', 'lc_messages', 'log_min_messages')
union all
select coalesce(d.datname, ''), coalesce(r.rolname, ''), split_part(c.line, '=', 1), substr(c.line, strpos(c.line, '=') + 1)
  from pg_db_role_setting s cross join lateral unnest(s.setconfig) as c(line)
  left join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole
 where split_part(c.line, '=', 1) in ('synchronous_commit', 'lc_messages', 'log_min_messages')
union all
select '', '', name, setting from pg_settings where name = 'log_destination'`

// commitWatch is what WatchSyncCommit remembers.
type commitWatch struct {
	sync.Mutex
	settings commitSettings
	loaded   string // pg_conf_load_time when they were read
	tail     logTail
	report   cluster.SyncCommit
}

// commitSettings are what commitSQL says.
type commitSettings []commitSetting

type commitSetting struct{ database, role, name, value string }

// owner names whose setting it is.
func (s commitSetting) owner() string {
	switch {
	case s.role != "" && s.database != "":
		return fmt.Sprintf("role %s in database %s", s.role, s.database)
	case s.role != "":
		return "role " + s.role
	case s.database != "":
		return "database " + s.database
	}
	return "the server"
}

// weakened are those that make commits wait for nobody, sorted; never nil.
func (all commitSettings) weakened() []cluster.Weakening {
	found := []cluster.Weakening{}
	for _, s := range all {
		if s.name != "synchronous_commit" {
			continue
		}
		if value, weak := cluster.SyncCommitWeak(s.value); weak {
			found = append(found, cluster.Weakening{Role: s.role, Database: s.database, Value: value})
		}
	}
	slices.SortFunc(found, func(a, b cluster.Weakening) int { return strings.Compare(a.String(), b.String()) })
	return found
}

// level is the server's own setting, and PostgreSQL's default without one.
func (all commitSettings) level() string {
	for _, s := range all {
		if s.name == "synchronous_commit" && s.owner() == "the server" {
			return s.value
		}
	}
	return "on"
}

// silent says why cancelled waits may be missing from the log, or stand there in words
// that are not known; empty when they do not.
func (all commitSettings) silent() string {
	english := false
	for _, s := range all {
		switch s.name {
		case "lc_messages":
			if !isEnglish(s.value) {
				return fmt.Sprintf("%s has lc_messages %q, so the log is not in English: set lc_messages to C", s.owner(), s.value)
			}
			english = english || s.owner() == "the server"
		case "log_min_messages":
			if !slices.Contains(loggedWarnings, strings.ToLower(s.value)) {
				return fmt.Sprintf("%s has log_min_messages %s, so warnings are not logged: set it to warning", s.owner(), s.value)
			}
		case "log_destination":
			if !slices.ContainsFunc(strings.Split(strings.ToLower(s.value), ","), isLogFormat) {
				return fmt.Sprintf("log_destination is %s, which the agent cannot read: add stderr, csvlog or jsonlog", s.value)
			}
		}
	}
	if !english {
		return "lc_messages is not set, so nobody knows the language of the log: set lc_messages to C"
	}
	return ""
}

// loggedWarnings are the values of log_min_messages by which warnings are logged.
var loggedWarnings = []string{"debug5", "debug4", "debug3", "debug2", "debug1", "debug", "info", "notice", "warning"}

func isLogFormat(destination string) bool {
	switch strings.TrimSpace(destination) {
	case logStderr, logCSV, logJSON:
		return true
	}
	return false
}

func isEnglish(locale string) bool {
	lower := strings.ToLower(locale)
	return lower == "c" || lower == "posix" || strings.HasPrefix(lower, "c.") || strings.HasPrefix(lower, "en_") || lower == "english"
}

// WatchSyncCommit finds who commits without waiting for whom they should, for the looks
// to come: settings of roles and databases when asked to or when the server has read its
// configuration since, and waits that the server's log says were cancelled. It uses a
// connection of its own and holds nothing that a look needs.
func (s *Server) WatchSyncCommit(ctx context.Context, settings bool) {
	w := &s.commits
	if !w.TryLock() {
		s.commitsHang()
		return
	}
	defer w.Unlock()
	loaded, known := s.confLoaded.Load().(string)
	if settings || known && loaded != w.loaded {
		all, err := s.commitSettings(ctx)
		if err != nil {
			w.report.WeakenedUnknown = err.Error()
		} else {
			w.settings, w.loaded = all, loaded
			w.report.Weakened, w.report.WeakenedUnknown = all.weakened(), ""
			s.syncLevel.Store(all.level())
		}
	}
	w.report.CancelledUnknown = s.countCancelled(w)
	told := w.report
	s.syncCommit.Store(&told)
}

// commitsHang says that what was known may be old: the last call has not ended.
func (s *Server) commitsHang() {
	const why = "the agent has not come back from reading the server's log and settings: look whether its disk hangs"
	var told cluster.SyncCommit
	if known := s.syncCommit.Load(); known != nil {
		told = *known
	}
	told.WeakenedUnknown, told.CancelledUnknown = why, why
	s.syncCommit.Store(&told)
}

func (s *Server) commitSettings(ctx context.Context) (all commitSettings, err error) {
	conn, err := s.connectLocal(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is left to be told
	// Reading the files, the server would log each time which of them are not there.
	if quiet := conn.ExecParams(ctx, "set log_min_messages = panic", nil, nil, nil, nil).Read(); quiet.Err != nil {
		return nil, fmt.Errorf("quieten the session: %w", quiet.Err)
	}
	result := conn.ExecParams(ctx, commitSQL, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, fmt.Errorf("ask for the settings of roles and databases: %w", result.Err)
	}
	return readCommitSettings(result), nil
}

// readCommitSettings takes the answer as it is: of several lines of one name in the files
// only the one that counts is applied.
func readCommitSettings(result *pgconn.Result) (all commitSettings) {
	for _, row := range texts(result) {
		var field [4]string
		for i, text := range row {
			if text != nil {
				field[i] = *text
			}
		}
		all = append(all, commitSetting{database: field[0], role: field[1], name: field[2], value: field[3]})
	}
	return all
}

// countCancelled reads what is new in the log, and says why it cannot be counted now.
func (s *Server) countCancelled(w *commitWatch) (unknown string) {
	if w.settings == nil {
		return "the server's settings for its log are not known yet"
	}
	if why := w.settings.silent(); why != "" {
		w.tail.lose()
		return why
	}
	pid := 0
	if lockfile, err := s.readPidFile(); err == nil {
		pid = lockfile.pid
	}
	found, err := s.findLog(pid)
	if err == nil {
		var n int64
		if n, err = w.tail.read(found); err == nil {
			if w.report.CancelledWaits != nil {
				n += *w.report.CancelledWaits
			}
			w.report.CancelledWaits = &n
			return ""
		}
	}
	w.tail.lose()
	return err.Error()
}
