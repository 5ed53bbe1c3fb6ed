package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// walAnswer is how long a source may take to send the first of its WAL, or to say that it
// has it no more. One that has nothing new is silent: that is no verdict.
const walAnswer = 2 * time.Second

// stateUndefinedFile is what a walsender says that opens a WAL file and finds none.
const stateUndefinedFile = "58P01"

// removed asks the source for WAL as a standby's receiver does, and tells what it says when
// it has removed that.
func removed(ctx context.Context, config *pgconn.Config, needs cluster.Position, info SourceInfo) string {
	ctx, cancel := context.WithTimeout(ctx, walAnswer)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return ""
	}
	defer closeConn(ctx, conn)
	wire := conn.Frontend()
	wire.SendQuery(&pgproto3.Query{String: fmt.Sprintf("START_REPLICATION PHYSICAL %s TIMELINE %d", needs.LSN, sentFrom(needs, info))})
	if wire.Flush() != nil {
		return ""
	}
	for begun := false; ; {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return ""
		}
		switch m := message.(type) {
		case *pgproto3.CopyBothResponse:
			begun = true
		case *pgproto3.ErrorResponse:
			if begun && m.Code == stateUndefinedFile {
				return m.Message
			}
			return ""
		case *pgproto3.CopyData:
			if len(m.Data) > 0 && m.Data[0] == 'w' {
				return ""
			}
		case *pgproto3.CopyDone, *pgproto3.ReadyForQuery:
			return ""
		}
	}
}

// sentFrom is the timeline of the source's that goes on from a position: where one has ended
// just there its child does.
func sentFrom(at cluster.Position, info SourceInfo) cluster.Timeline {
	on := at.Timeline
	for i, line := range info.History {
		if line.Timeline != on || line.Switch > at.LSN {
			continue
		}
		on = info.Timeline
		if i+1 < len(info.History) {
			on = info.History[i+1].Timeline
		}
	}
	return on
}
