package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Preflight are facts that a switchover wants to know before it begins.
type Preflight struct {
	// Backups counts base backups that run on this server.
	Backups int
	// Prepared counts prepared transactions; they survive a switchover, and hold
	// their locks on the new primary.
	Prepared int
	// ArchiveFailing tells that the newest attempt to archive failed: a fast
	// shutdown waits for the archiver.
	ArchiveFailing bool
	// UnarchivedWAL counts WAL files that wait for the archiver.
	UnarchivedWAL int
}

const preflightSQL = `
select (select count(*) from pg_stat_replication where state = 'backup'),
  (select count(*) from pg_prepared_xacts),
  (select coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) from pg_stat_archiver),
  case when current_setting('archive_mode') = 'off' then 0
       else (select count(*) from pg_ls_archive_statusdir() where name like '%.ready') end`

// Preflight asks the running server.
func (s *Server) Preflight(ctx context.Context) (Preflight, error) {
	rows, err := s.act.query(ctx, "preflight", preflightSQL)
	if err != nil {
		return Preflight{}, fmt.Errorf("ask for what a switchover would disturb: %w", err)
	}
	r := reader{row: rows[0]}
	p := Preflight{Backups: r.number(0), Prepared: r.number(1), ArchiveFailing: r.flag(2), UnarchivedWAL: r.number(3)}
	return p, r.err
}

// sendersSQL lists walsenders that lie behind what is flushed here.
const sendersSQL = `
select pid, application_name, coalesce(flush_lsn::text, ''), coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn) > 0, true)
from pg_stat_replication where state in ('streaming', 'catchup')`

// sendersEvery is between two looks at walsenders that lie behind.
const sendersEvery = 5 * time.Millisecond

// insistence is how long a walsender that was ended is told so again, while it is there.
const insistence = 100 * time.Millisecond

// TerminateStuckWalsenders ends walsenders whose standby confirms nothing for as
// long as patience says of its member, although WAL is there to confirm, and
// returns their members' names: each of them would hold a fast shutdown until
// wal_sender_timeout. Let a checkpoint be written just before, so that every live
// standby has something to confirm. It takes no time when nobody lies behind, and
// otherwise until everybody has confirmed something or was ended.
func (s *Server) TerminateStuckWalsenders(ctx context.Context, patience func(member string) time.Duration) (ended []string, err error) {
	waiting, err := s.laggingSenders(ctx)
	for began := time.Duration(0); err == nil && len(waiting) > 0; began += sendersEvery {
		pause(ctx, sendersEvery)
		var now map[string]cluster.Walsender
		if now, err = s.laggingSenders(ctx); err != nil {
			break
		}
		for pid, was := range waiting {
			sender, behind := now[pid]
			switch {
			case !behind || sender.Flush != was.Flush:
				delete(waiting, pid)
			case began >= patience(was.Name):
				// Told once, one whose connection is full hangs again, in saying goodbye, until its standby
				// takes that or the connection breaks; told then, it says nothing and ends.
				if began >= patience(was.Name)+insistence {
					delete(waiting, pid)
				}
				if _, err := s.act.query(ctx, "terminate", "select pg_terminate_backend($1::int)", pid); err != nil {
					return ended, fmt.Errorf("end the walsender of %q: %w", was.Name, err)
				}
				if !slices.Contains(ended, was.Name) {
					ended = append(ended, was.Name)
				}
			}
		}
	}
	if len(ended) > 0 {
		slices.Sort(ended)
		s.o.Log.Info("stuck walsenders ended", "members", strings.Join(ended, ","))
	}
	return ended, err
}

// laggingSenders are the walsenders behind, by pid.
func (s *Server) laggingSenders(ctx context.Context) (map[string]cluster.Walsender, error) {
	rows, err := s.act.query(ctx, "senders", sendersSQL)
	if err != nil {
		return nil, fmt.Errorf("list the walsenders: %w", err)
	}
	senders := map[string]cluster.Walsender{}
	for _, row := range rows {
		r := reader{row: row}
		if r.flag(3) {
			senders[r.text(0)] = cluster.Walsender{PID: r.number(0), Name: r.text(1), Flush: r.lsn(2)}
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	return senders, nil
}
