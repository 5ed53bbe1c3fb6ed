package guard

import (
	"fmt"
	"time"
)

// maxAhead bounds how far in the future a deadline may lie. The longest lease in
// this field is minutes; a deadline further out is a mistake in units.
const maxAhead = 600 * time.Second

// lease is what the guard knows of the leader lease: who may speak (session), for
// which term, and until when. It does no I/O and reads no clock.
type lease struct {
	session uint64        // highest worker session that said hello
	term    int64         // term the deadline belongs to; 0 before the first
	ended   int64         // highest term that may never be extended again
	at      time.Duration // deadline on CLOCK_BOOTTIME; 0 when there is none
	margin  time.Duration // time to stop the server in, after the deadline
	renewed time.Duration // when the renewal that moved it was sent; 0 when not told
}

// enter admits a worker session. Equal numbers are refused too: two workers that
// present one number cannot be told apart.
func (l *lease) enter(session uint64) error {
	// guard: session-must-grow — SAFETY 2 "one session at a time": a worker that thawed must not take the guard back.
	if session <= l.session {
		return fmt.Errorf("%w: session %d, the guard has seen %d", ErrStaleSession, session, l.session)
	}
	l.session = session
	return nil
}

// live says whether the deadline can still fire for its term.
func (l *lease) live() bool { return l.at > 0 && l.term > l.ended }

// extend moves the deadline of a term. An earlier deadline for the same term is
// applied: shortening is always safe.
func (l *lease) extend(now time.Duration, session uint64, term int64, at, margin time.Duration) error {
	// guard: deadline-needs-session — SAFETY 2 "deadline messages carry (worker session, term)".
	if session != l.session {
		return fmt.Errorf("%w: deadline of session %d, current is %d", ErrSuperseded, session, l.session)
	}
	if term <= 0 || at <= 0 || margin <= 0 || margin > maxAhead {
		return fmt.Errorf("%w: deadline needs term, at and margin above 0 and a margin of at most %v", ErrBadRequest, maxAhead)
	}
	// guard: ended-term-stays-ended — SAFETY 2 "never forward for a term it was told to end".
	if term <= l.ended {
		return fmt.Errorf("%w: deadline for term %d, terms up to %d have ended", ErrTermEnded, term, l.ended)
	}
	// guard: terms-never-go-back — SAFETY 2 "only newer terms".
	if term < l.term {
		return fmt.Errorf("%w: deadline for term %d, current is %d", ErrStaleTerm, term, l.term)
	}
	// guard: deadline-bounded — SAFETY 2: a deadline in the wrong unit must not disable the fence.
	if at > now+maxAhead {
		return fmt.Errorf("%w: %v ahead, at most %v", ErrDeadlineTooFar, at-now, maxAhead)
	}
	l.term, l.at, l.margin = term, at, margin
	return nil
}

// end closes a term for good.
func (l *lease) end(term int64) {
	l.ended = max(l.ended, term)
}

// expired says whether the deadline has passed and not been acted on yet.
func (l *lease) expired(now time.Duration) bool { return l.live() && now >= l.at }

// mayWrite is asked before a promotion and before a start that may write.
func (l *lease) mayWrite(now time.Duration, session uint64, term int64) error {
	// guard: write-needs-session — SAFETY 2: an old request of a thawed worker promotes nothing.
	if session != l.session {
		return fmt.Errorf("%w: request of session %d, current is %d", ErrSuperseded, session, l.session)
	}
	return l.holds(now, term)
}

// holds is mayWrite for a request that was already admitted and had to wait.
func (l *lease) holds(now time.Duration, term int64) error {
	// guard: write-needs-live-term — SAFETY 2: a term that ended promotes nothing.
	if term <= l.ended {
		return fmt.Errorf("%w: term %d, terms up to %d have ended", ErrTermEnded, term, l.ended)
	}
	// guard: write-needs-term — SAFETY 2 "refused unless now < deadline" of this very term.
	if term != l.term {
		return fmt.Errorf("%w: request for term %d, the deadline belongs to term %d", ErrStaleTerm, term, l.term)
	}
	// guard: write-needs-deadline — SAFETY 2 "both are refused unless now < deadline".
	if now >= l.at {
		return fmt.Errorf("%w: it passed %v ago", ErrNoDeadline, now-l.at)
	}
	return nil
}
