package chaos

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// loss is what one failover cost.
type loss struct {
	tl    int32
	ops   int
	bytes int64         // from the fork to the position of the last lost write
	age   time.Duration // from the first lost acknowledgement to the last
	// behind is how far before the last published position the fork is.
	behind int64
}

// lossJudge wants every acknowledged write to be there that asynchronous replication
// was not allowed to lose. Each timeline of the final primary's history ends at one
// position, the fork. Lost may only be what was committed behind it, and it may not
// be further before the last published position than maximum_lag_on_failover: what
// was written since then is the rest of the window. A timeline that is no part of that
// history left it where the one before it ended, or earlier. A hand-over loses nothing,
// and no failover of a strict synchronous mode does (S2).
type lossJudge struct {
	mode     mode
	loses    bool
	h        *history
	eras     []era
	records  *records
	maxLag   int64
	excepted map[*operation]time.Duration

	acks       []*operation
	losses     map[int32]*loss
	violations []string
}

func (j *lossJudge) judge() []loss {
	j.acks, j.losses = j.h.acks(), map[int32]*loss{}
	first := map[int32]instant{}
	for _, op := range j.acks {
		end, known := j.end(op.tl)
		if _, frozen := j.excepted[op]; frozen && !op.survived {
			continue
		}
		if !j.allowed(op, end, known) || op.survived {
			continue
		}
		if !j.loses {
			j.wrong("operation %d, acknowledged by %s on timeline %d at %v in %s mode, is not on the last primary (S2)", op.id, op.node, op.tl, op.ret, j.mode)
		}
		l := j.losses[op.tl]
		if l == nil {
			l = &loss{tl: op.tl}
			j.losses[op.tl], first[op.tl] = l, op.ret
		}
		l.ops++
		l.age = op.ret - first[op.tl]
		l.bytes = max(l.bytes, op.lsn-end)
	}
	var all []loss
	for tl, l := range j.losses {
		j.window(tl, l)
		all = append(all, *l)
	}
	return all
}

// forks says of each timeline that ended where it did, and how far that is from the
// last position published of it before.
func (j *lossJudge) forks() string {
	var all []string
	for _, e := range j.eras {
		if e.end != math.MaxInt64 {
			term := j.records.terms[j.follower(e.tl)]
			all = append(all, fmt.Sprintf("%d ended at %X (%+d; term %d)", e.tl, e.end, e.end-j.records.last(e.tl, term), term))
		}
	}
	return strings.Join(all, ", ")
}

// end is where a timeline of the final primary's history ended.
func (j *lossJudge) end(tl int32) (end int64, known bool) {
	for _, e := range j.eras {
		if e.tl == tl {
			return e.end, true
		}
	}
	return 0, false
}

func (j *lossJudge) wrong(format string, args ...any) {
	j.violations = append(j.violations, fmt.Sprintf(format, args...))
}

// allowed compares one acknowledged write with the fork.
func (j *lossJudge) allowed(op *operation, end int64, known bool) bool {
	what := fmt.Sprintf("operation %d, acknowledged by %s on timeline %d at %v,", op.id, op.node, op.tl, op.ret)
	switch {
	case op.survived && !known:
		j.wrong("%s is there, and that timeline is no part of the primary's history", what)
	case op.survived && op.lsn >= end:
		j.wrong("%s is there although it was written at %X, behind the fork at %X", what, op.lsn, end)
	case op.survived:
		return true
	case known && end == math.MaxInt64:
		j.wrong("%s is missing, and that timeline has not ended", what)
	case known && j.committedBefore(op, end):
		j.wrong("%s is missing although it was committed before the fork at %X", what, end)
	default:
		return true
	}
	return false
}

// committedBefore uses the next write that the same server began after this one was
// acknowledged: its position is behind this one's commit.
func (j *lossJudge) committedBefore(op *operation, end int64) bool {
	for _, later := range j.acks {
		if later.tl == op.tl && later.node == op.node && later.call > op.ret && later.lsn <= end {
			return true
		}
	}
	return false
}

// window compares the end of a timeline with what was published of it.
func (j *lossJudge) window(tl int32, l *loss) {
	next := j.follower(tl)
	term := j.records.terms[next]
	published := j.records.last(tl, term)
	end, known := j.end(tl)
	if !known {
		end = j.before(tl)
	}
	l.behind = published - end
	if at, handed := j.records.handed[term]; handed {
		j.wrong("timeline %d was handed over at %X, and %d acknowledged writes are missing behind %X", tl, at, l.ops, end)
	}
	if published != 0 && l.behind > j.maxLag {
		j.wrong("timeline %d forked at %X, %d bytes before the last published position; maximum_lag_on_failover is %d", tl, end, l.behind, j.maxLag)
	}
}

// before is where the last timeline of the final primary's history ended that is older
// than one which is no part of it: so much of that one at most is there.
func (j *lossJudge) before(tl int32) (end int64) {
	for _, e := range j.eras {
		if e.tl < tl {
			end = e.end
		}
	}
	return end
}

// follower is the timeline that came after another: the next one on which somebody
// was promoted under a term of its own and that is part of the final history.
func (j *lossJudge) follower(tl int32) int32 {
	for _, e := range j.eras {
		if _, promoted := j.records.terms[e.tl]; e.tl > tl && promoted {
			return e.tl
		}
	}
	return math.MaxInt32
}
