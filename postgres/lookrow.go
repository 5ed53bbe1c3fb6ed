package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// lookRow is the one row of lookSQL.
type lookRow []*string

// The columns of lookSQL.
const (
	colRecovery = iota
	colVersion
	colStarted
	colLoaded
	colFlush
	colWalFile
	colReceive
	colReplay
	colReplayed
	colPaused
	colConninfo
	colSlot
	colReceiver
	colSenders
	colSlots
	colSyncNames
	colCheckpointer
	colWaits
)

// lookSQL is everything Look wants to know, in one statement. CASE keeps
// functions from being called where they would fail; the timeline of a primary is
// taken from the WAL it writes, because pg_control shows the old one until the
// checkpoint after a promotion.
const lookSQL = `
select pg_is_in_recovery(), current_setting('server_version_num'),
  pg_postmaster_start_time()::text, pg_conf_load_time()::text,
  case when not pg_is_in_recovery() then pg_current_wal_flush_lsn()::text end,
  case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_lsn()), 8) end,
  pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text,
  pg_last_xact_replay_timestamp()::text,
  case when pg_is_in_recovery() then pg_is_wal_replay_paused() end,
  current_setting('primary_conninfo'), current_setting('primary_slot_name'),
  (select json_build_object('status', status, 'host', sender_host, 'port', sender_port::text,
     'slot', slot_name, 'latest', latest_end_lsn::text, 'timeline', received_tli)
   from pg_stat_get_wal_receiver() where pid is not null),
  (select json_agg(json_build_object('pid', pid, 'name', application_name, 'addr', host(client_addr),
     'state', state, 'sync', sync_state, 'sent', sent_lsn::text, 'write', write_lsn::text,
     'flush', flush_lsn::text, 'replay', replay_lsn::text) order by application_name, pid)
   from pg_stat_replication),
  (select json_agg(json_build_object('name', slot_name, 'type', slot_type, 'active', active,
     'restart', restart_lsn::text, 'status', wal_status, 'plugin', plugin, 'database', database,
     'temporary', temporary) order by slot_name)
   from pg_replication_slots),
  current_setting('synchronous_standby_names'),
  case when not pg_is_in_recovery() then
    (select pid::text from pg_stat_get_activity(null) where backend_type = 'checkpointer') end,
  case when pg_is_in_recovery() then
    (select coalesce(bool_or(` + waitsForWAL + `), false)::text from pg_stat_get_activity(null) where backend_type = 'startup') end`

// fastSQL is LookFast's share of it. The fifth column is a WAL file's timeline in
// hexadecimal on a primary, a decimal timeline on a standby.
const fastSQL = `
select pg_is_in_recovery(), pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text,
  case when not pg_is_in_recovery() then pg_current_wal_flush_lsn()::text end,
  case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_lsn()), 8)
       else w.received_tli::text end,
  w.pid is not null
from pg_stat_get_wal_receiver() w`

// waitsForWAL is what the startup process waits for when it wants WAL from elsewhere, which it
// does when it has read all that its directory has, and not before
// (WaitForWALToBecomeAvailable in PostgreSQL's xlogrecovery.c).
const waitsForWAL = `wait_event in ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval')`

// drainedSQL tells whether a standby's startup process does.
const drainedSQL = `
select coalesce(bool_or(` + waitsForWAL + `), false)
from pg_stat_get_activity(null) where backend_type = 'startup'`

// reader takes typed values out of a row and keeps the first error.
type reader struct {
	row lookRow
	err error
}

func (r *reader) text(column int) string {
	if r.row[column] == nil {
		return ""
	}
	return *r.row[column]
}

func (r *reader) flag(column int) bool { return r.text(column) == "t" }

func (r *reader) lsn(column int) cluster.LSN { return r.parseLSN(r.text(column)) }

func (r *reader) parseLSN(text string) cluster.LSN {
	if text == "" {
		return 0
	}
	lsn, err := cluster.ParseLSN(text)
	r.keep(err)
	return lsn
}

func (r *reader) number(column int) int {
	n, err := strconv.Atoi(r.text(column))
	r.keep(err)
	return n
}

func (r *reader) timeline(column, base int) cluster.Timeline {
	if r.text(column) == "" {
		return 0
	}
	n, err := strconv.ParseUint(r.text(column), base, 32)
	r.keep(err)
	return cluster.Timeline(n)
}

func (r *reader) json(column int, into any) {
	if r.text(column) != "" {
		r.keep(json.Unmarshal([]byte(r.text(column)), into))
	}
}

func (r *reader) keep(err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("read the server's answer: %w", err)
	}
}

// fillRunning adds to n what the running server said.
func (s *Server) fillRunning(ctx context.Context, n *cluster.NodeState, row lookRow) error {
	r := &reader{row: row}
	s.confLoaded.Store(r.text(colLoaded))
	n.ServerVersion = r.number(colVersion)
	n.PostmasterTime = r.text(colStarted)
	n.PrimaryConninfo = withoutSecrets(r.text(colConninfo))
	n.PrimarySlotName = r.text(colSlot)
	n.Walsenders, n.Slots = r.walsenders(), slotsOf(r, colSlots)
	if r.flag(colRecovery) {
		n.Mode = cluster.ModeStandby
		n.ReceiveLSN, n.ReplayLSN = r.lsn(colReceive), r.lsn(colReplay)
		n.ReplayedAt, n.ReplayPaused = r.text(colReplayed), r.flag(colPaused)
		n.Receiver = r.receiver()
		n.ReplaysOwn = r.text(colWaits) == "false"
	} else {
		n.Mode = cluster.ModePrimary
		n.WriteLSN = r.lsn(colFlush)
		n.Gate = gateIn(n.Walsenders, r.text(colSyncNames))
		n.SyncCommit = s.syncCommit.Load()
		if r.text(colCheckpointer) != "" {
			n.CheckpointerPID = r.number(colCheckpointer)
		}
		n.SyncLevel, _ = s.syncLevel.Load().(string) // empty before the first look
	}
	n.Walsenders = slices.DeleteFunc(n.Walsenders, func(w cluster.Walsender) bool { return cluster.IsGate(w.Name) })
	if r.err != nil {
		return r.err
	}
	return s.fillTimeline(ctx, n, r)
}

func (r *reader) receiver() *cluster.Receiver {
	if r.text(colReceiver) == "" {
		return nil
	}
	var w struct {
		Status, Host, Port, Slot, Latest string
		Timeline                         cluster.Timeline
	}
	r.json(colReceiver, &w)
	return &cluster.Receiver{Status: w.Status, Host: w.Host, Port: w.Port, SlotName: w.Slot,
		Latest: r.parseLSN(w.Latest), Timeline: w.Timeline}
}

func (r *reader) walsenders() []cluster.Walsender {
	var rows []struct {
		PID                                                 int
		Name, Addr, State, Sync, Sent, Write, Flush, Replay string
	}
	r.json(colSenders, &rows)
	senders := make([]cluster.Walsender, 0, len(rows))
	for _, w := range rows {
		senders = append(senders, cluster.Walsender{PID: w.PID, Name: w.Name, Addr: w.Addr, State: w.State, SyncState: w.Sync,
			Sent: r.parseLSN(w.Sent), Write: r.parseLSN(w.Write), Flush: r.parseLSN(w.Flush), Replay: r.parseLSN(w.Replay)})
	}
	return senders
}

func slotsOf(r *reader, column int) []cluster.Slot {
	var rows []struct {
		Name, Type, Restart, Status, Plugin, Database string
		Active, Temporary                             bool
	}
	r.json(column, &rows)
	slots := make([]cluster.Slot, 0, len(rows))
	for _, w := range rows {
		slots = append(slots, cluster.Slot{Name: w.Name, Type: w.Type, Active: w.Active, Restart: r.parseLSN(w.Restart),
			WalStatus: w.Status, Plugin: w.Plugin, Database: w.Database, Temporary: w.Temporary})
	}
	return slots
}
