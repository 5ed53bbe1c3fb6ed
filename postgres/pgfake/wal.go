package pgfake

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Sizes in the write-ahead log, in bytes.
const (
	firstLSN         = 0x1000000 * 3 // where the log of a new cluster begins
	checkpointRecord = 120
	endOfRecovery    = 48
	// DefaultSegment is the size of a WAL file.
	DefaultSegment = 1 << 24
)

// branch is what one tenure of one primary wrote: the log of a timeline from
// where it left its parent. Two branches may carry one number (trap 6): a server
// that writes on where others have other content, or two promotions that did not
// see each other.
type branch struct {
	timeline cluster.Timeline
	parent   *branch
	from     cluster.LSN
	// head is how far anybody wrote here.
	head cluster.LSN
	// history are the switches before timeline, as its history file has them.
	history cluster.History
	// mirror, when set, is where the content past from came from: a mixture of
	// two histories that PostgreSQL did not tell apart.
	mirror *branch
	// marks say when the log became how long, oldest first.
	marks []mark
	// limits are where max_connections was changed (trap 19), oldest first.
	limits []limit
}

// mark is one record that was written at a time, or n of one size at equal
// distances, the first of them at that time.
type mark struct {
	at    cluster.Instant
	end   cluster.LSN // of the last
	size  cluster.LSN
	every time.Duration
	n     int64
}

// next is when a run would go on.
func (m *mark) next() cluster.Instant { return m.at + cluster.Instant(m.n)*cluster.Instant(m.every) }

// until is where the log was at t, which is not before the mark.
func (m *mark) until(t cluster.Instant) cluster.LSN {
	if m.every == 0 {
		return m.end
	}
	done := min(m.n, int64(t-m.at)/int64(m.every)+1)
	return m.end - cluster.LSN(m.n-done)*m.size
}

// begin is where the first record of the mark begins, of a single one where it ends.
func (m *mark) begin() cluster.LSN { return m.end - cluster.LSN(m.n)*m.size }

type limit struct {
	at             cluster.LSN
	maxConnections int
}

// holds reports whether the log that ends at end on b has the record of on that
// ends at lsn.
func (b *branch) holds(end cluster.LSN, on *branch, lsn cluster.LSN) bool {
	for ; b != nil; b = b.parent {
		switch {
		case b == on:
			return lsn > b.from && lsn <= end
		case b.mirror != nil && lsn > b.from && b.mirror.holds(end, on, lsn):
			return true
		}
		end = min(end, b.from)
	}
	return false
}

// shares is how far the log that ends at end on b and the path of other are one.
func (b *branch) shares(end cluster.LSN, other *branch) cluster.LSN {
	for ; b != nil; b = b.parent {
		limit := end
		for o := other; o != nil; o = o.parent {
			if o == b {
				return limit
			}
			limit = min(limit, o.from)
		}
		end = min(end, b.from)
	}
	return 0
}

// leads reports whether the log that ends at end on b is on the path of other, so
// that the longer of the two continues the shorter.
func (b *branch) leads(end cluster.LSN, other *branch) bool {
	for b.parent != nil && end <= b.from {
		b = b.parent
	}
	for limit := ^cluster.LSN(0); other != nil; other = other.parent {
		if b == other {
			return end <= limit
		}
		limit = min(limit, other.from)
	}
	return false
}

// reach is the branch on b's path on which position end lies; at a switch point
// the newer one.
func (b *branch) reach(end cluster.LSN) *branch {
	for b.parent != nil && end < b.from {
		b = b.parent
	}
	return b
}

// until is how far the log on b's path was at t.
func (b *branch) until(t cluster.Instant) cluster.LSN {
	if b.mirror != nil {
		return max(b.from, b.mirror.until(t))
	}
	n := len(b.marks)
	if n > 0 && b.marks[n-1].at <= t {
		return b.marks[n-1].until(t)
	}
	i := sort.Search(n, func(i int) bool { return b.marks[i].at > t })
	switch {
	case i > 0:
		return b.marks[i-1].until(t)
	case b.parent == nil:
		return b.from
	}
	return min(b.from, b.parent.until(t)) // what was there before may be younger than t too
}

// boundary reports whether a record ends at lsn on b's path.
func (b *branch) boundary(lsn cluster.LSN) bool {
	b = b.reach(lsn)
	if lsn == b.from {
		return true
	}
	if b.mirror != nil {
		return b.mirror.boundary(lsn)
	}
	i, found := slices.BinarySearchFunc(b.marks, lsn, func(m mark, lsn cluster.LSN) int { return cmp.Compare(m.end, lsn) })
	if found || i == len(b.marks) {
		return found
	}
	m := &b.marks[i]
	return m.every != 0 && lsn >= m.begin() && (lsn-m.begin())%m.size == 0
}

// graft is the mixture of b up to end and of src from there on; src itself where
// b leads there anyway.
func (b *branch) graft(end cluster.LSN, src *branch) *branch {
	if b.leads(end, src) {
		return src
	}
	return &branch{timeline: src.timeline, parent: b, from: end, head: end, history: src.history, mirror: src}
}

// limited is the first position in (from, to] on b's path where the primary had
// more connections than own; 0 when there is none.
func (b *branch) limited(from, to cluster.LSN, own int) cluster.LSN {
	var first cluster.LSN
	for ; b != nil; b = b.parent {
		for _, l := range b.limits {
			if l.at > from && l.at <= to && l.maxConnections > own && (first == 0 || l.at < first) {
				first = l.at
			}
		}
		to = min(to, b.from)
	}
	return first
}

// historyFile is a NNNNNNNN.history in pg_wal.
type historyFile struct {
	timeline cluster.Timeline
	// skipped: a placeholder that only occupies the number.
	skipped bool
	lines   cluster.History
}

// files are the history files of a directory, by rising number.
type files []historyFile

func (f files) find(tl cluster.Timeline) (historyFile, bool) {
	for i := range f {
		if f[i].timeline == tl {
			return f[i], true
		}
	}
	return historyFile{}, false
}

// with adds a file, unless there is one; the slice given is not written to.
func (f files) with(h historyFile) files {
	i := 0
	for ; i < len(f) && f[i].timeline <= h.timeline; i++ {
		if f[i].timeline == h.timeline {
			return f
		}
	}
	return slices.Insert(slices.Clone(f), i, h)
}

// newest is PostgreSQL's findNewestTimeLine: the last number from start on
// without a gap.
func (f files) newest(start cluster.Timeline) cluster.Timeline {
	for {
		if _, found := f.find(start + 1); !found {
			return start
		}
		start++
	}
}
