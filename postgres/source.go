package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Upstream is the server whose WAL is streamed. Without a host nothing is.
type Upstream struct {
	Host, Port string
	// SlotName is the slot on that server; empty streams without one.
	SlotName string
}

// Source is a server to copy from.
type Source struct {
	Host, Port string
	// SlotName is the physical slot a clone streams through; made if missing.
	SlotName string
	// Keeper is where that slot is instead: the primary, when it is a standby that is
	// copied. The new standby will follow the one, not the other.
	Keeper *Source
	// Needs is what a standby has, and asks for WAL from; zero asks nothing about that.
	Needs cluster.Position
}

func (o Source) address() string { return net.JoinHostPort(o.Host, cmp.Or(o.Port, "5432")) }

// SourceInfo is what a server says of itself over the replication protocol.
type SourceInfo struct {
	SystemID string
	Timeline cluster.Timeline
	// LSN is its flush position; of a standby what it has replayed, or received
	// on the timeline it replays.
	LSN     cluster.LSN
	History cluster.History
	// InRecovery tells a standby.
	InRecovery bool
	// Removed is why it cannot send what was needed: that WAL is removed there. Empty when it
	// sends it, or does not say.
	Removed string
}

// askLimit is how long another server may take for an answer: one that hangs gives none.
const askLimit = 10 * time.Second

// SourceInfo asks another server who and where it is. Errors are ErrUnreachable
// and ErrAuthentication.
func (s *Server) SourceInfo(ctx context.Context, source Source) (SourceInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.askLimit)
	defer cancel()
	config, err := s.replicationConfig(source)
	if err != nil {
		return SourceInfo{}, err
	}
	info, err := s.identify(ctx, config, s.o.Replication, source.address())
	if err == nil && source.Needs.LSN.Known() && !info.InRecovery {
		info.Removed = removed(ctx, config, source.Needs, info)
	}
	return info, err
}

func (s *Server) replicationConfig(source Source) (*pgconn.Config, error) {
	c := s.o.Replication
	config, err := clientConfig(c, source.Host, cmp.Or(source.Port, "5432"), "", cmp.Or(c.SSLMode, "prefer"))
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["replication"] = "true"
	return config, nil
}

func (s *Server) identify(ctx context.Context, config *pgconn.Config, c Credentials, where string) (info SourceInfo, err error) {
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return info, s.explain(err, c, where)
	}
	defer closeConn(ctx, conn)
	row, err := command(ctx, conn, "IDENTIFY_SYSTEM")
	if err != nil {
		return info, fmt.Errorf("identify %s: %w", where, err)
	}
	info.SystemID = string(row[0])
	tl, err := strconv.ParseUint(string(row[1]), 10, 32)
	if err != nil {
		return info, fmt.Errorf("identify %s: timeline: %w", where, err)
	}
	info.Timeline = cluster.Timeline(tl)
	if info.LSN, err = cluster.ParseLSN(string(row[2])); err != nil {
		return info, fmt.Errorf("identify %s: %w", where, err)
	}
	if info.InRecovery, err = inRecovery(ctx, conn); err != nil {
		return info, fmt.Errorf("identify %s: %w", where, err)
	}
	if info.Timeline > 1 {
		info.History, err = fetchHistory(ctx, conn, info.Timeline)
	}
	return info, err
}

// inRecovery: since PostgreSQL 14 the server reports it by itself; before, only
// whether a transaction may write is known.
func inRecovery(ctx context.Context, conn *pgconn.PgConn) (bool, error) {
	if reported := conn.ParameterStatus("in_hot_standby"); reported != "" {
		return reported == "on", nil
	}
	row, err := command(ctx, conn, "SHOW transaction_read_only")
	if err != nil {
		return false, err
	}
	return string(row[0]) == "on", nil
}

func fetchHistory(ctx context.Context, conn *pgconn.PgConn, tl cluster.Timeline) (cluster.History, error) {
	row, err := command(ctx, conn, fmt.Sprintf("TIMELINE_HISTORY %d", tl))
	if err != nil {
		return nil, fmt.Errorf("fetch the history of timeline %d: %w", tl, err)
	}
	return ParseTimelineHistory(row[1])
}

// command runs one command of the replication protocol that answers one row.
func command(ctx context.Context, conn *pgconn.PgConn, text string) ([][]byte, error) {
	results, err := conn.Exec(ctx, text).ReadAll()
	if err != nil {
		return nil, err
	}
	verb, _, _ := strings.Cut(text, " ")
	if len(results) == 0 || len(results[0].Rows) != 1 {
		return nil, fmt.Errorf("%s answered no row", verb)
	}
	row := results[0].Rows[0]
	if least := map[string]int{"IDENTIFY_SYSTEM": 3, "TIMELINE_HISTORY": 2}[verb]; len(row) < least {
		return nil, fmt.Errorf("%s answered %d columns, want %d", verb, len(row), least)
	}
	return row, nil
}

// closeConn says good-bye even when the caller's time is over.
func closeConn(ctx context.Context, conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// reserveSlot makes the source keep WAL for us from now on, so that neither the
// clone nor the time until the first stream can lose any.
func (s *Server) reserveSlot(ctx context.Context, source Source) error {
	if source.Keeper != nil {
		return s.reserveSlot(ctx, *source.Keeper)
	}
	if source.SlotName == "" {
		return nil
	}
	// The replication protocol knows no way to write a double quote inside a name.
	if strings.Contains(source.SlotName, `"`) {
		return fmt.Errorf("make slot %q on %s: the name contains invalid characters", source.SlotName, source.address())
	}
	config, err := s.replicationConfig(source)
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return s.explain(err, s.o.Replication, source.address())
	}
	defer closeConn(ctx, conn)
	_, err = conn.Exec(ctx, fmt.Sprintf("CREATE_REPLICATION_SLOT %s PHYSICAL RESERVE_WAL", quoteIdent(source.SlotName))).ReadAll()
	if err != nil && sqlState(err) != stateDuplicateObject {
		return fmt.Errorf("make slot %q on %s: %w", source.SlotName, source.address(), err)
	}
	return nil
}

// quoteIdent quotes an SQL identifier.
func quoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// errCancelled tells that the caller, not the work, ended a job.
func errCancelled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return errors.Join(err, cause)
	}
	return err
}
