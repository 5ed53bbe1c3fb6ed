package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// progressSQL is what a quick look wants to know. A receiver that has heard nothing for
// three fourths of wal_receiver_timeout counts as one that does not stream: an idle
// primary answers its ping at half of it.
const progressSQL = `
select pg_is_in_recovery(),
  case when not pg_is_in_recovery() then pg_current_wal_flush_lsn()::text end,
  pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text, w.latest_end_lsn::text,
  coalesce(w.status = 'streaming' and (t.patience = interval '0' or clock_timestamp() - w.last_msg_receipt_time < t.patience), false),
  (extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint::text,
  (select json_object_agg(name, lsn) from (
     select application_name as name, max(replay_lsn)::text as lsn from pg_stat_replication where replay_lsn is not null group by 1) s)
from pg_stat_get_wal_receiver() w, (select current_setting('wal_receiver_timeout')::interval * 0.75 as patience) t`

// Progress is a quick look at the server's positions.
type Progress struct {
	cluster.Progress
	// CommitAge is how long ago the last transaction that a standby has replayed was
	// committed, by the clocks of both servers; negative when none was.
	CommitAge time.Duration
}

// LookProgress asks a running server for its positions, on a connection of its own: it
// stands in nobody's way. At, Behind and Known are left to the caller.
func (s *Server) LookProgress(ctx context.Context) (Progress, error) {
	rows, err := s.progress.query(ctx, "progress", progressSQL)
	if err == nil && len(rows) != 1 {
		err = fmt.Errorf("%d rows, want 1", len(rows))
	}
	if err != nil {
		return Progress{}, fmt.Errorf("look at the server's positions: %w", err)
	}
	r := &reader{row: rows[0]}
	p := Progress{CommitAge: -1}
	p.Mode, p.Write = cluster.ModePrimary, r.lsn(1)
	if r.flag(0) {
		p.Mode, p.Receive, p.Replay, p.Latest, p.Streaming = cluster.ModeStandby, r.lsn(2), r.lsn(3), r.lsn(4), r.flag(5)
		if r.text(6) != "" {
			p.CommitAge = max(0, time.Duration(r.number(6))*time.Millisecond)
		}
	}
	p.Standbys = r.positions(7)
	return p, r.err
}

// positions reads a JSON object of LSNs by name.
func (r *reader) positions(column int) map[string]cluster.LSN {
	var texts map[string]string
	r.json(column, &texts)
	out := map[string]cluster.LSN{}
	for name, text := range texts {
		out[name] = r.parseLSN(text)
	}
	return out
}
