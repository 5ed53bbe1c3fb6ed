package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// examSQL asks one server for everything at once, as one JSON object.
const examSQL = `select json_build_object(
  'recovery', pg_is_in_recovery(), 'clock', extract(epoch from clock_timestamp()),
  'max_connections', current_setting('max_connections')::int, 'reserved', current_setting('superuser_reserved_connections')::int,
  'used', (select count(*) from pg_stat_activity where backend_type = 'client backend'),
  'wal_senders', current_setting('max_wal_senders')::int, 'slots', current_setting('max_replication_slots')::int,
  'archive_mode', current_setting('archive_mode'), 'archive_command', current_setting('archive_command', true),
  'archive_library', coalesce(current_setting('archive_library', true), ''),
  'archive_failed', (select failed_count > 0 and last_failed_time > coalesce(last_archived_time, '-infinity') from pg_stat_archiver),
  'archive_behind', (select last_failed_wal from pg_stat_archiver),
  'password_encryption', current_setting('password_encryption'),
  'fsync', current_setting('fsync'), 'full_page_writes', current_setting('full_page_writes'),
  'restart_after_crash', current_setting('restart_after_crash'),
  'slot_list', coalesce((select json_agg(json_build_object('name', slot_name, 'active', active, 'status', coalesce(wal_status, ''),
     'kept', coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end, restart_lsn), 0)::bigint) order by slot_name)
   from pg_replication_slots), '[]'))`

// server is what one server says of itself.
type server struct {
	Recovery       bool    `json:"recovery"`
	Clock          float64 `json:"clock"`
	MaxConnections int     `json:"max_connections"`
	Reserved       int     `json:"reserved"`
	Used           int     `json:"used"`
	WALSenders     int     `json:"wal_senders"`
	Slots          int     `json:"slots"`
	ArchiveMode    string  `json:"archive_mode"`
	ArchiveCommand string  `json:"archive_command"`
	ArchiveLibrary string  `json:"archive_library"`
	ArchiveFailed  bool    `json:"archive_failed"`
	ArchiveBehind  string  `json:"archive_behind"`
	Encryption     string  `json:"password_encryption"`
	Fsync          string  `json:"fsync"`
	FullPages      string  `json:"full_page_writes"`
	CrashRestart   string  `json:"restart_after_crash"`
	SlotList       []struct {
		Name   string `json:"name"`
		Active bool   `json:"active"`
		Status string `json:"status"`
		Kept   int64  `json:"kept"`
	} `json:"slot_list"`
	// ahead is how far its clock is ahead of this machine's, within plus or minus error.
	ahead, error time.Duration
}

// askServers asks all of them at once; who cannot be asked is a finding.
func (o *Operator) askServers(ctx context.Context, v Overview, options QueryOptions) (map[string]server, []Finding) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	servers, failed := map[string]server{}, map[string]error{}
	for _, m := range v.Members {
		wait.Go(func() {
			s, err := o.askServer(ctx, m, options)
			mu.Lock()
			defer mu.Unlock()
			if failed[m.Name] = err; err == nil {
				servers[m.Name] = s
			}
		})
	}
	wait.Wait()
	var found []Finding
	for _, m := range v.Members {
		if err := failed[m.Name]; err != nil {
			found = append(found, Finding{SeverityError, "server_unreachable", m.Name, firstLine(err),
				"is postgresql.listen open to this machine, does pg_hba.conf let it in, and who logs in? (-U, PGPASSWORD, or -c with the superuser's password)"})
		}
	}
	return servers, found
}

func (o *Operator) askServer(ctx context.Context, m Member, options QueryOptions) (server, error) {
	var s server
	ctx, cancel := context.WithTimeout(ctx, 2*queryConnect)
	defer cancel()
	conn, err := connect(ctx, m, options)
	if err != nil {
		return s, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	began := o.Clock.Now()
	results, err := conn.Exec(ctx, examSQL).ReadAll()
	if err != nil {
		return s, fmt.Errorf("ask %s: %w", m.Name, err)
	}
	took := o.Clock.Now().Sub(began)
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return s, fmt.Errorf("ask %s: no answer", m.Name)
	}
	if err := json.Unmarshal(results[0].Rows[0][0], &s); err != nil {
		return s, fmt.Errorf("read the answer of %s: %w", m.Name, err)
	}
	s.error = took / 2
	s.ahead = time.Duration(s.Clock*float64(time.Second)) - time.Duration(began.Add(s.error).UnixNano())
	return s, nil
}
