package pgrw

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// causalFirst and causalLast bound the pause between two looks at a replica's position.
	causalFirst = 200 * time.Microsecond
	causalLast  = 2 * time.Millisecond
)

// prove finds out whether a leased connection satisfies a token, and waits for that for
// at most patience. What the connection has proved before costs nothing; otherwise each
// look is a round trip, and ends before the statement's snapshot is taken.
func (c *Cluster) prove(ctx context.Context, l *lease, t Token, patience time.Duration) (verdict, error) {
	ends := c.now.Load().ends
	m := l.meta()
	v := m.judge(t, ends)
	if v == satisfied || v == gone || v == foreign {
		return v, nil
	}
	conn := l.conn.Conn().PgConn()
	began, pause := time.Now(), causalFirst
	for {
		if err := l.look(ctx, conn, m, t); err != nil {
			return behind, err
		}
		if v = m.judge(t, ends); v != behind || time.Since(began) >= patience {
			break
		}
		timer := time.NewTimer(min(pause, patience))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return behind, ctx.Err()
		}
		pause = min(2*pause, causalLast)
	}
	if waited := time.Since(began); v == satisfied {
		c.observer(Event{Kind: EventCausalWait, Server: l.srv.address, Reason: "satisfied", Duration: waited})
	} else if v == behind {
		c.observer(Event{Kind: EventCausalWait, Server: l.srv.address, Reason: "behind", Duration: waited})
	}
	return v, nil
}

// look measures the server's position, and its timeline where that is in question. What
// others have proved of the timeline is taken first, then the position: a server that
// could prove the timeline has left no numbers of another branch behind it.
func (l *lease) look(ctx context.Context, conn *pgconn.PgConn, m *connMeta, t Token) error {
	ctx, cancel := context.WithTimeout(ctx, pingLimit) // a server that is mute must not hold the read
	defer cancel()
	m.timeline = max(m.timeline, l.timelineOfStandby(m))
	var err error
	if m.timeline < t.Timeline {
		err = m.refresh(ctx, conn)
	} else {
		err = m.advance(ctx, conn)
	}
	if err != nil {
		return err
	}
	l.srv.note(m)
	return nil
}

// timelineOfStandby is what is known of the server's timeline from elsewhere. A primary's
// own word is exact, and is not mixed with that.
func (l *lease) timelineOfStandby(m *connMeta) uint32 {
	if !m.recovery {
		return 0
	}
	return l.srv.timeline.Load()
}

// mark reads the position after what was just committed on a primary's connection.
func (l *lease) mark(ctx context.Context) (Token, error) {
	m := l.meta()
	if err := m.advance(ctx, l.conn.Conn().PgConn()); err != nil {
		return Token{}, err
	}
	l.srv.note(m)
	return m.token(), nil
}

// markPatience is how long a commit that has succeeded waits for a position. Its caller is not kept for as long as there is no
// primary: the pinned token asks no less of the reads after it.
const markPatience = time.Second

// after is a token for what was just committed on a lease whose connection can no longer
// say where: a position of the primary that there is now, and if there is none, a token
// that only the primary of its timeline satisfies. A commit without a token would be
// read past.
func (c *Cluster) after(ctx context.Context, m *connMeta) Token {
	if m.timeline == 0 {
		return Token{} // a server that never says
	}
	ctx, cancel := context.WithTimeout(ctx, markPatience)
	defer cancel()
	if t, err := c.Mark(ctx); err == nil && !t.IsZero() {
		return t
	}
	return Token{System: m.system, Timeline: m.timeline, LSN: pinned}
}

// token names the position of a primary; the zero token where it has none to show.
func (m *connMeta) token() Token {
	if m.recovery || m.timeline == 0 || m.lsn == 0 {
		return Token{}
	}
	return Token{System: m.system, Timeline: m.timeline, LSN: settled(m.lsn)}
}
