package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// syncName is the file with synchronous_standby_names alone. It is included last, so
// that it wins; empty, whatever the user configured stands.
const syncName = "pgkeeper.sync.conf"

// includeSync is the last line of the generated postgresql.conf.
const includeSync = "include_if_exists '" + syncName + "'\n"

// How long SetSync waits for the walsenders.
const (
	syncEvery = 2 * time.Millisecond
	// syncPatience is given to a walsender to confirm a few bytes. One that does not is
	// ended: what it would release it might release by the old names.
	syncPatience = time.Second
)

// writeSync writes which standbys commits wait for, durably, for the next start or
// reload; empty is what the user configured.
func (s *Server) writeSync(ctx context.Context, names string) (changed bool, err error) {
	content := syncContent(names)
	err = s.files(func() error {
		if ctx.Err() != nil { // it was waited for another writer: who wanted this may not any more
			return context.Cause(ctx)
		}
		if names != "" { // names that somebody set by ALTER SYSTEM would win
			if changed, err = s.stripAuto(true); err != nil {
				return err
			}
		}
		old, found, err := readOptional(s.conf(syncName))
		if err != nil || found && string(old) == content || !found && content == "" {
			return err
		}
		changed = true
		return writeFile(s.conf(syncName), []byte(content), 0o600)
	})
	if err != nil {
		return false, fmt.Errorf("write the synchronous standbys: %w", err)
	}
	return changed, nil
}

// SetSync has the running server wait for these standbys, and returns when that is
// proved (SAFETY 3): a new connection sees the names, the checkpointer has read them,
// without which no commit waits, and every walsender, each of which goes by a copy of its
// own, has answered twice since. From is a flush position
// read after that; 0 on a standby, which acknowledges nothing. A walsender that
// confirms nothing meanwhile is ended.
func (s *Server) SetSync(ctx context.Context, names string) (from cluster.LSN, err error) {
	began := s.flag.began()
	changed, err := s.forgetting(names == "", func() (bool, error) { return s.writeSync(ctx, names) })
	if err != nil || names == "" && !changed && !s.untold.Load() { // an asynchronous cluster, which promotes without a detour
		return 0, err
	}
	s.untold.Store(true)
	if from, err = s.proveSync(ctx, names, changed, began); err == nil {
		s.untold.Store(false)
	}
	return from, err
}

// proveSync brings what writeSync wrote to the server.
func (s *Server) proveSync(ctx context.Context, names string, changed bool, began int) (from cluster.LSN, err error) {
	if !changed && s.standbyShows(ctx, names) { // a switchover's candidate was told ahead
		return 0, nil
	}
	if err := s.Reload(ctx); err != nil {
		return 0, err
	}
	conn, err := s.seesSync(ctx, names)
	if err != nil {
		return 0, fmt.Errorf("have the synchronous standbys in force: %w", err)
	}
	defer closeConn(ctx, conn)
	if names != "" { // guard: checkpointer_has_names — S2: while its flag is off, commits wait for nobody
		if err := s.checkpointerHasNames(ctx, conn, began); err != nil {
			return 0, err
		}
	}
	for range 2 { // one answer may have been read before the names were
		at, err := nudge(ctx, conn)
		if err != nil || at == 0 {
			return 0, err
		}
		if err := s.sendersReach(ctx, conn, at); err != nil {
			return 0, fmt.Errorf("have every walsender go by the synchronous standbys: %w", err)
		}
	}
	rows, err := ask(ctx, conn, "select pg_current_wal_flush_lsn()::text")
	if err != nil {
		return 0, err
	}
	return cluster.ParseLSN(rows[0][0])
}

// showsSQL is what this connection takes for the names, and whether it has them from syncName.
const showsSQL = "select setting, coalesce(sourcefile, '') like '%/" + syncName + "', pg_is_in_recovery(), pg_postmaster_start_time()::text from pg_settings where name = 'synchronous_standby_names'"

// standbyShows: the server is a standby, a connection of it shows the names, and commits
// would wait. A connection reads them when the postmaster tells it to, which has read them
// before.
func (s *Server) standbyShows(ctx context.Context, names string) bool {
	rows, err := s.act.query(ctx, "shows", showsSQL)
	if err != nil || len(rows) != 1 {
		return false
	}
	r := reader{row: rows[0]}
	shown, ours, standby := r.text(0), r.flag(1), r.flag(2)
	return r.err == nil && standby && showsNames(shown, ours, names) && (names == "" || s.flag.isOn(r.text(3)))
}

// showsNames: empty names are those that somebody else configured.
func showsNames(shown string, ours bool, names string) bool {
	if names == "" {
		return !ours
	}
	return shown == names
}

// seesSync opens connections until one shows the names: then the postmaster has read
// them, and has told all its children to.
func (s *Server) seesSync(ctx context.Context, names string) (*pgconn.PgConn, error) {
	for ctx.Err() == nil {
		conn, err := s.connectLocal(ctx)
		if err != nil {
			return nil, err
		}
		rows, err := ask(ctx, conn, showsSQL)
		if err == nil && showsNames(rows[0][0], rows[0][1] == "t", names) {
			return conn, nil
		}
		closeConn(ctx, conn)
		if err != nil {
			return nil, err
		}
		pause(ctx, syncEvery)
	}
	return nil, context.Cause(ctx)
}

// nudge writes a few bytes of WAL, so that every standby has something to answer, and
// returns where they end; 0 on a standby.
func nudge(ctx context.Context, conn *pgconn.PgConn) (cluster.LSN, error) {
	rows, err := ask(ctx, conn, "select pg_is_in_recovery()::text, case when not pg_is_in_recovery() then pg_logical_emit_message(true, 'pgkeeper', '')::text else '' end")
	if err != nil || rows[0][0] == "true" {
		return 0, err
	}
	return cluster.ParseLSN(rows[0][1])
}

// sendersReach waits until every walsender that was streaming has a confirmation of at.
func (s *Server) sendersReach(ctx context.Context, conn *pgconn.PgConn, at cluster.LSN) error {
	patience, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	behind := fmt.Sprintf("from pg_stat_replication where state = 'streaming' and coalesce(flush_lsn, '0/0') < '%s'", at)
	for {
		rows, err := ask(ctx, conn, "select count(*)::text "+behind)
		if err != nil || rows[0][0] == "0" {
			return err
		}
		if patience.Err() != nil {
			break
		}
		pause(patience, syncEvery)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	rows, err := ask(ctx, conn, "select application_name, pg_terminate_backend(pid)::text "+behind)
	for _, row := range rows {
		s.o.Log.Warn("walsender ended: it confirms nothing", "member", row[0])
	}
	return err
}

// ask runs one statement and returns its rows, nulls as empty texts.
func ask(ctx context.Context, conn *pgconn.PgConn, sql string) ([][]string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, errors.New("no answer")
	}
	rows := make([][]string, len(results[0].Rows))
	for i, row := range results[0].Rows {
		for _, value := range row {
			rows[i] = append(rows[i], string(value))
		}
	}
	return rows, nil
}
