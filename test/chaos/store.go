package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// published is one write of the key status: how far a primary said it was.
type published struct {
	Revision int64
	Optime   int64 `json:"optime"`
	Timeline int32 `json:"timeline"`
}

// records are what etcd's own history says of a schedule, from its first revision:
// etcd keeps every version, so nothing has to be watched while members die.
type records struct {
	status []published
	// terms gives the term that promoted onto a timeline; handed, the end of the
	// shutdown record behind which a term was handed over.
	terms  map[int32]int64
	handed map[int64]int64
}

const recordsLimit = 20 * time.Second

// readRecords replays all changes of the cluster's keys.
func readRecords(ctx context.Context, c *testbed.Cluster) (*records, error) {
	ctx, cancel := context.WithTimeout(ctx, recordsLimit)
	defer cancel()
	client, err := c.Etcd.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	now, err := client.Get(ctx, testbed.Base+"leader")
	if err != nil {
		return nil, fmt.Errorf("read etcd's revision: %w", err)
	}
	r := &records{terms: map[int32]int64{}, handed: map[int64]int64{}}
	for answer := range client.Watch(ctx, testbed.Base, clientv3.WithPrefix(), clientv3.WithRev(1)) {
		if err := answer.Err(); err != nil {
			return nil, fmt.Errorf("replay etcd's history: %w", err)
		}
		for _, e := range answer.Events {
			if err := r.take(string(e.Kv.Key), e.Kv.Value, e.Kv.ModRevision); err != nil {
				return nil, err
			}
			if e.Kv.ModRevision >= now.Header.Revision {
				return r, nil
			}
		}
	}
	return nil, fmt.Errorf("replay etcd's history up to revision %d: %w", now.Header.Revision, ctx.Err())
}

func (r *records) take(key string, value []byte, revision int64) error {
	if len(value) == 0 {
		return nil
	}
	var err error
	switch strings.TrimPrefix(key, testbed.Base) {
	case "status":
		p := published{Revision: revision}
		err = json.Unmarshal(value, &p)
		r.status = append(r.status, p)
	case "pgkeeper/timelines":
		var list struct {
			Reserved []struct {
				Timeline int32 `json:"timeline"`
				Term     int64 `json:"term"`
			} `json:"reserved"`
		}
		err = json.Unmarshal(value, &list)
		for _, e := range list.Reserved {
			r.terms[e.Timeline] = e.Term
		}
	case "pgkeeper/handover":
		var h struct {
			Position struct {
				LSN int64 `json:"lsn"`
			} `json:"position"`
		}
		err = json.Unmarshal(value, &h)
		r.handed[revision] = h.Position.LSN
	}
	if err != nil {
		return fmt.Errorf("read %s at revision %d: %w", key, revision, err)
	}
	return nil
}

// last is the newest position published of a timeline before a term began.
func (r *records) last(tl int32, term int64) int64 {
	var newest int64
	for _, p := range r.status {
		if p.Timeline == tl && p.Revision < term {
			newest = p.Optime
		}
	}
	return newest
}

// era is a timeline of the final primary's history and where it ended. The last
// one has not ended.
type era struct {
	tl  int32
	end int64
}

// parseHistory reads a timeline history file: number, position, reason.
func parseHistory(text string) ([]era, error) {
	var all []era
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		tl, err := strconv.ParseInt(fields[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("timeline history %q: %w", line, err)
		}
		high, low, _ := strings.Cut(fields[1], "/")
		h, err1 := strconv.ParseInt(high, 16, 64)
		l, err2 := strconv.ParseInt(low, 16, 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("timeline history %q: no position", line)
		}
		// Several timelines may end at one position: those were skipped, since their
		// numbers were reserved, and nobody wrote on them.
		all = append(all, era{int32(tl), h<<32 | l})
	}
	return all, nil
}

// survivors marks the writes that are in the final primary, and returns where its
// former timelines ended.
func survivors(ctx context.Context, n *testbed.Node, h *history) ([]era, error) {
	session, err := n.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for the rows on %s: %w", n.Name, err)
	}
	defer session.Close(ctx)
	rows, err := session.Query(ctx, "select id, tl, lsn - '0/0' from op")
	if err != nil {
		return nil, fmt.Errorf("look for the rows on %s: %w", n.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, lsn int64
		var tl int32
		if err := rows.Scan(&id, &tl, &lsn); err != nil {
			return nil, err
		}
		if id < 1 || id > int64(len(h.all)) {
			return nil, fmt.Errorf("row %d on %s was never written", id, n.Name)
		}
		op := h.all[id-1]
		op.survived, op.tl, op.lsn = true, tl, lsn
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var text string
	var now int32
	err = session.QueryRow(ctx, `select tl(), coalesce(pg_read_file('pg_wal/' || upper(lpad(to_hex(tl()), 8, '0')) || '.history', 0, 1000000, true), '')`).Scan(&now, &text)
	if err != nil {
		return nil, fmt.Errorf("read the timeline history of %s: %w", n.Name, err)
	}
	eras, err := parseHistory(text)
	return append(eras, era{now, math.MaxInt64}), err
}
