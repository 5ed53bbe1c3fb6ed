package pgrw

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"
)

// historyEvery is how often the history is read again; after a change of the leader,
// whose line comes a moment later than the leader, for a while at historySoon.
const (
	historyEvery = 30 * time.Second
	historySoon  = 250 * time.Millisecond
	historyFresh = 5 * time.Second
)

// history reads where timelines were left, beside everything else. It tells whether a
// token of an earlier timeline names a write that is still there; without an answer
// such tokens are the primary's.
type history struct {
	mu      sync.Mutex
	busy    bool
	readAt  time.Time
	changed time.Time
}

// want reads it from an agent if it is due; changed tells that the leader has changed.
func (h *history) want(ctx context.Context, c *Cluster, url string, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if changed {
		h.changed = now
	}
	every := historyEvery
	if now.Sub(h.changed) < historyFresh {
		every = historySoon
	}
	if h.busy || !changed && now.Sub(h.readAt) < every {
		return
	}
	h.busy, h.readAt = true, now
	c.work.Go(func() {
		defer func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.busy = false
		}()
		if raw, err := c.get(ctx, url+"/history"); err == nil {
			if ends, err := readHistory(raw); err == nil {
				c.learn(ends)
			}
		}
	})
}

// learn puts a history in force.
func (c *Cluster) learn(ends map[uint32]LSN) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !maps.Equal(c.ends, ends) {
		c.ends = ends
		c.settle()
	}
}

// readHistory reads GET /history: [[timeline, end, reason, ...], ...].
func readHistory(raw []byte) (map[uint32]LSN, error) {
	var rows [][]json.RawMessage
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, err
	}
	ends := map[uint32]LSN{}
	for _, row := range rows {
		var timeline uint32
		var end uint64
		if len(row) < 2 || json.Unmarshal(row[0], &timeline) != nil || json.Unmarshal(row[1], &end) != nil {
			return nil, errors.New("a row of the history has no timeline or position")
		}
		ends[timeline] = LSN(end)
	}
	return ends, nil
}
