package pgrw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What a route says of itself in events.
const (
	viaPrimary  = "primary"
	viaReplica  = "replica"
	viaFallback = "fallback"
)

// Pauses of somebody who waits for a primary, between attempts.
const (
	retryFirst = 5 * time.Millisecond
	retryLast  = 250 * time.Millisecond
)

// laterLimit bounds the wait for a primary of a token's timeline while one of an earlier
// timeline is known. News of a failover takes less; a token that somebody made up must
// not hold a caller for as long as an outage may.
const laterLimit = time.Second

// errLeftBehind tells of such a primary.
var errLeftBehind = errors.New("its timeline was left behind")

// search is one way to a connection, with what it has learnt so far.
type search struct {
	c        *Cluster
	token    Token
	deadline time.Time
	last     error
	began    time.Time
	waited   bool
	pause    time.Duration
	without  []*server
}

func (c *Cluster) search(ctx context.Context, p *policy) search {
	t := TokenFrom(ctx)
	if p != nil {
		t = t.Later(p.after)
	}
	now := time.Now()
	return search{c: c, token: t, began: now, deadline: now.Add(c.maxWait), pause: retryFirst}
}

// primary leases a connection to the primary, and waits for one while there is none.
func (s *search) primary(ctx context.Context, p purpose, via string) (*lease, error) {
	for {
		v := s.c.now.Load()
		if v.primary != nil {
			l, err := s.attempt(ctx, v, p)
			if err == nil {
				s.told(nil)
				s.c.observer(Event{Kind: EventRoute, Server: l.srv.address, Reason: via})
				return l, nil
			}
			if ctx.Err() != nil || hopeless(err) {
				return nil, err
			}
			if errors.Is(err, errLeftBehind) && time.Since(s.began) > laterLimit {
				return nil, reason(ErrTooStale, "no primary of the token's timeline is known", err)
			}
			s.last = err
			s.c.kick()
		}
		if err := s.again(ctx, v); err != nil {
			return nil, err
		}
	}
}

// again pauses before another attempt, or says that there was time enough.
func (s *search) again(ctx context.Context, v *view) error {
	left := time.Until(s.deadline)
	if left <= 0 {
		err := reason(ErrNoPrimary, fmt.Sprintf("none to be reached within %v", s.c.maxWait), s.last)
		s.told(err)
		return err
	}
	s.waited = true
	pause := left
	if v.primary != nil {
		pause = min(left, s.pause)
		s.pause = min(2*s.pause, retryLast)
	}
	if err := s.c.wait(ctx, v, pause); err != nil {
		s.told(err)
		return reason(ErrNoPrimary, err.Error(), err)
	}
	return nil
}

// told reports a wait that has ended.
func (s *search) told(err error) {
	if s.waited {
		s.c.observer(Event{Kind: EventWait, Duration: time.Since(s.began), Err: err})
		s.waited = false
	}
}

// attempt leases one connection to a view's primary and makes sure that it is one.
func (s *search) attempt(ctx context.Context, v *view, p purpose) (*lease, error) {
	l, err := v.primary.acquire(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("connect to the primary %s: %w", v.primary.address, err)
	}
	if err := s.check(ctx, l, p); err != nil {
		l.drop()
		return nil, err
	}
	return l, nil
}

// check refuses a connection whose server is not the primary any more, or not of the
// token's time. A primary's timeline is known since the connection was made, so that a
// token of the same one costs nothing here.
func (s *search) check(ctx context.Context, l *lease, p purpose) error {
	conn, m := l.conn.Conn().PgConn(), l.meta()
	if p == writing && disturbed(conn.Conn()) {
		limited, cancel := context.WithTimeout(ctx, pingLimit)
		defer cancel()
		if err := conn.Ping(limited); err != nil {
			return fmt.Errorf("the session on %s has ended: %w", l.srv.address, err)
		}
	}
	standby := conn.ParameterStatus("in_hot_standby")
	if m.recovery || standby == "on" {
		if err := m.refresh(ctx, conn); err != nil {
			return err
		}
	}
	switch {
	case m.recovery:
		s.c.observer(Event{Kind: EventStaleRejected, Server: l.srv.address, Reason: "recovery"})
		return fmt.Errorf("%s is a standby", l.srv.address)
	case p == writing && s.c.now.Load().primary != l.srv:
		return fmt.Errorf("%s is not the primary any more", l.srv.address)
	case !s.token.IsZero():
		return s.checkToken(l, m)
	}
	return nil
}

func (s *search) checkToken(l *lease, m *connMeta) error {
	switch {
	case s.token.System != 0 && m.system != 0 && s.token.System != m.system:
		s.c.observer(Event{Kind: EventForeignToken, Server: l.srv.address})
	case m.timeline == 0: // it does not say
	case m.timeline < s.token.Timeline:
		s.c.observer(Event{Kind: EventStaleRejected, Server: l.srv.address, Reason: "timeline"})
		return fmt.Errorf("%s is the primary of timeline %d, the token is of %d: %w", l.srv.address, m.timeline, s.token.Timeline, errLeftBehind)
	case s.token.LSN == pinned:
	case m.judge(s.token, s.c.now.Load().ends) == gone:
		s.c.observer(Event{Kind: EventWriteLost, Server: l.srv.address})
	}
	return nil
}

// replica leases a connection for reading: to a replica that is as asked for, or to the
// primary as the policy says.
func (s *search) replica(ctx context.Context, p *policy) (*lease, error) {
	if p.onPrimary {
		return s.primary(ctx, reading, viaPrimary)
	}
	for {
		v := s.c.now.Load()
		found := s.c.choose(v, p, s.without)
		if len(found.fit) == 0 {
			why, sentinel := "no_replica", ErrNoReplica
			if found.running > 0 {
				why, sentinel = "stale", ErrTooStale
			}
			return s.fallback(ctx, p, why, sentinel)
		}
		seat := s.c.pick(found.fit, p, s.token)
		l, err := seat.acquire(ctx, reading)
		if err != nil {
			if ctx.Err() != nil || hopeless(err) {
				return nil, fmt.Errorf("connect to the replica %s: %w", seat.address, err)
			}
			s.exclude(seat.server, err)
			continue
		}
		if s.token.IsZero() {
			s.c.observer(Event{Kind: EventRoute, Server: l.srv.address, Reason: viaReplica})
			return l, nil
		}
		says, err := s.c.prove(ctx, l, s.token, p.causal)
		switch {
		case err != nil:
			l.drop()
			if ctx.Err() != nil {
				return nil, err
			}
			s.exclude(seat.server, err)
		case says == satisfied:
			s.c.observer(Event{Kind: EventRoute, Server: l.srv.address, Reason: viaReplica})
			return l, nil
		default:
			l.release()
			s.c.observer(Event{Kind: EventStaleRejected, Server: l.srv.address, Reason: "token"})
			return s.fallback(ctx, p, "token", ErrTooStale)
		}
	}
}

// exclude leaves a server out that failed, here and, until it answers again, everywhere.
func (s *search) exclude(srv *server, err error) {
	s.last = err
	srv.down.Store(true)
	if !slices.Contains(s.without, srv) {
		s.without = append(s.without, srv)
	}
	s.c.kick()
}

// fallback goes to the primary if the policy lets it.
func (s *search) fallback(ctx context.Context, p *policy, why string, sentinel error) (*lease, error) {
	if p.fallback == FallbackNever || p.fallback == FallbackIfNone && errors.Is(sentinel, ErrTooStale) {
		return nil, reason(sentinel, "and the policy keeps the read off the primary", s.last)
	}
	s.c.observer(Event{Kind: EventFallback, Reason: why})
	l, err := s.primary(ctx, reading, viaFallback)
	if err != nil {
		return nil, fmt.Errorf("%w; %w", sentinel, err)
	}
	return l, nil
}
