package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// instant is time on the one clock of a run: monotonic, from its beginning.
type instant = time.Duration

type kind int

const (
	register kind = iota
	list
	watch
)

type outcome int

const (
	unknown outcome = iota // sent, and no answer
	acked
	none // refused: it had no effect
)

// operation is one statement of one client.
type operation struct {
	id, key   int64
	kind      kind
	read      bool
	node      string
	call, ret instant
	outcome   outcome
	tl        int32
	// lsn is a position of the server's WAL before the commit of a write.
	lsn  int64
	seen []int64 // what a read saw
	// warned: the wait of a write for its standbys was cancelled; its outcome is unknown.
	warned bool
	// survived tells of a write that it is there at the end.
	survived bool
}

// span is a time in which something was the case.
type span struct{ from, to instant }

func (s span) overlaps(o span) bool { return s.from <= o.to && o.from <= s.to }

// history is all that clients saw in one schedule.
type history struct {
	began time.Time

	mu     sync.Mutex
	last   int64
	all    []*operation
	stalls []span
}

func newHistory() *history { return &history{began: time.Now()} }

func (h *history) now() instant { return time.Since(h.began) }

// begin and end stamp an operation: call is before it was sent, ret after its answer.
func (h *history) begin(k kind, key int64) *operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	op := &operation{id: h.last, kind: k, key: key, call: h.now()}
	h.all = append(h.all, op)
	return op
}

func (h *history) end(op *operation, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	op.ret = h.now()
	switch {
	case err == nil:
		op.outcome = acked
	case refused(err):
		op.outcome = none
	default:
		op.outcome, op.warned = unknown, errors.Is(err, errCancelled)
	}
}

// stallTick is how often the clock is looked at, to see how long this program
// itself did not run: an answer may have lain unread that long.
const (
	stallTick = 5 * time.Millisecond
	stallMin  = 20 * time.Millisecond
)

func (h *history) watchStalls(ctx context.Context) {
	last := h.now()
	each(ctx, stallTick, func() {
		now := h.now()
		if now-last > stallMin {
			h.mu.Lock()
			h.stalls = append(h.stalls, span{last, now})
			h.mu.Unlock()
		}
		last = now
	})
}

// acks are the acknowledged writes in the order of their acknowledgement.
func (h *history) acks() []*operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*operation
	for _, op := range h.all {
		if op.outcome == acked && !op.read {
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return int(a.ret - b.ret) })
	return all
}

// warned counts the writes whose wait for standbys was cancelled.
func (h *history) warned() (count int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range h.all {
		if op.warned {
			count++
		}
	}
	return count
}

// holder is the node that acknowledged a write last, empty before the first.
func (h *history) holder() (node string, at instant) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range slices.Backward(h.all) {
		if op.outcome == acked && !op.read {
			return op.node, op.ret
		}
	}
	return "", 0
}

// gap is the longest time without any acknowledged write that ends within s.
func (h *history) gap(s span) time.Duration {
	var longest time.Duration
	var last instant
	for _, op := range h.acks() {
		if op.ret > s.to {
			break
		}
		if op.ret > s.from {
			longest = max(longest, op.ret-last)
		}
		last = op.ret
	}
	if last < s.to {
		longest = max(longest, s.to-last)
	}
	return longest
}

// save writes every operation as a line of JSON.
func (h *history) save(path string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keep the history: %w", err)
	}
	lines := json.NewEncoder(f)
	for _, op := range h.all {
		err = errors.Join(err, lines.Encode(map[string]any{
			"id": op.id, "kind": op.kind.String(), "key": op.key, "read": op.read, "node": op.node, "call": op.call, "ret": op.ret,
			"outcome": [...]string{"unknown", "acknowledged", "refused"}[op.outcome], "timeline": op.tl, "lsn": op.lsn, "seen": op.seen, "survived": op.survived,
		}))
	}
	return errors.Join(err, f.Close())
}
