package pgfake

import (
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// shown is what the last look gave. It is given again as long as it would be
// equal: whoever looks does not write to it, and most looks see nothing new.
type shown struct {
	receiver *cluster.Receiver
	senders  table[cluster.Walsender]
	slots    table[cluster.Slot]
}

func (h *shown) receive(r cluster.Receiver) *cluster.Receiver {
	if h.receiver == nil || *h.receiver != r {
		h.receiver = &r
	}
	return h.receiver
}

// table is rows that were shown, and room to make the next ones in.
type table[R comparable] struct{ last, scratch []R }

func (t *table[R]) room() []R { return t.scratch[:0] }

// same is rows, as they were shown before when they are equal.
func (t *table[R]) same(rows []R) []R {
	t.scratch = rows
	if !slices.Equal(rows, t.last) {
		t.last = slices.Clone(rows)
	}
	if len(t.last) == 0 {
		return nil
	}
	return t.last
}
