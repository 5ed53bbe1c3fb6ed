package pgrw

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// metaKey is where a connection keeps what is known of its server.
const metaKey = "pgkeeper/pgrw"

// connMeta is what one connection has proved of its server. A server process lives as
// long as its connections, and while it does neither timeline nor position fall: so what
// was true once on this connection stays true on it, which could not be said of an
// address.
type connMeta struct {
	recovery bool
	system   uint64
	// timeline is the one a primary writes; of a standby it is proved to be on this one
	// or a later one; 0 when nothing could be read.
	timeline uint32
	lsn      LSN
}

// metaSQL is understood by PostgreSQL 10 and later, with no more rights than to connect.
// The timeline of a primary is taken from the WAL it writes, because pg_control shows the
// old one until the checkpoint after a promotion. A standby may have replayed numbers of
// a branch that was left behind, so its position alone proves nothing: its timeline is
// what its receiver streams (shown to members of pg_monitor), or pg_control says.
const metaSQL = `select pg_is_in_recovery(),
 case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end,
 case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
 else to_hex(greatest((select timeline_id from pg_control_checkpoint()), (select min_recovery_end_timeline from pg_control_recovery()),
  (select max(received_tli) from pg_stat_wal_receiver))) end,
 (select system_identifier from pg_control_system())`

// positionSQL is the part of it that moves all the time.
const positionSQL = `select pg_is_in_recovery(),
 case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end`

// recoverySQL is all that a server without these functions can be asked.
const recoverySQL = `select pg_is_in_recovery()`

// readMeta asks by the simple protocol, which prepares nothing. A server that does not
// let its WAL be looked at can still be routed to; tokens are not known of it.
func readMeta(ctx context.Context, conn *pgconn.PgConn) (*connMeta, error) {
	row, err := askRow(ctx, conn, metaSQL)
	if err != nil && sqlState(err) != "" && !conn.IsClosed() {
		row, err = askRow(ctx, conn, recoverySQL)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the server what it is: %w", err)
	}
	m := &connMeta{}
	return m, m.read(row)
}

// refresh asks again, for all of it.
func (m *connMeta) refresh(ctx context.Context, conn *pgconn.PgConn) error {
	now, err := readMeta(ctx, conn)
	if err != nil {
		return err
	}
	now.timeline = max(now.timeline, m.timeline)
	*m = *now
	return nil
}

// advance asks for the position alone.
func (m *connMeta) advance(ctx context.Context, conn *pgconn.PgConn) error {
	row, err := askRow(ctx, conn, positionSQL)
	if err != nil {
		return err
	}
	return m.read(row)
}

// read takes in the columns that are there.
func (m *connMeta) read(row [][]byte) error {
	m.recovery = string(row[0]) == "t"
	if len(row) > 1 && row[1] != nil {
		lsn, err := ParseLSN(string(row[1]))
		if err != nil {
			return err
		}
		m.lsn = lsn
	}
	if len(row) > 2 && row[2] != nil {
		timeline, err := strconv.ParseUint(string(row[2]), 16, 32)
		if err != nil {
			return fmt.Errorf("timeline: %w", err)
		}
		m.timeline = max(m.timeline, uint32(timeline))
	}
	if len(row) > 3 && row[3] != nil {
		system, err := strconv.ParseUint(string(row[3]), 10, 64)
		if err != nil {
			return fmt.Errorf("system identifier: %w", err)
		}
		m.system = system
	}
	return nil
}

// askRow returns the first row of a statement's result, copied.
func askRow(ctx context.Context, conn *pgconn.PgConn, sql string) ([][]byte, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return nil, fmt.Errorf("no row from %.40q", sql)
	}
	return results[0].Rows[0], nil
}

// verdict is what a server's proof says about a token.
type verdict int

const (
	satisfied verdict = iota
	// behind may be satisfied in a moment.
	behind
	// unproven cannot be told of this server, however long one waits.
	unproven
	// gone: the position lies on a branch of the history that was left.
	gone
	// foreign: another cluster's.
	foreign
)

// judge compares what a connection has proved with a token; ends are the positions at
// which timelines were left, as far as they are known.
func (m *connMeta) judge(t Token, ends map[uint32]LSN) verdict {
	switch {
	case t.System != 0 && m.system != 0 && t.System != m.system:
		return foreign
	case m.timeline == 0:
		return unproven
	case m.timeline > t.Timeline:
		end, known := ends[t.Timeline]
		switch {
		case known && t.LSN > end:
			return gone
		case !m.recovery, known && m.lsn >= t.LSN: // a primary of a later timeline is what is left of the earlier
			return satisfied
		case known:
			return behind
		}
		return unproven
	case m.timeline < t.Timeline:
		if m.recovery && m.lsn >= t.LSN { // its branch, or it shows its timeline to others only
			return unproven
		}
		return behind
	case m.lsn >= t.LSN:
		return satisfied
	}
	return behind
}
