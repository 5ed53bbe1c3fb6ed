package pgrw

import (
	"context"
	"sync"
)

// Session remembers the newest token of somebody who must see what they wrote: of a
// request, a user, a job. Reads with it in their context demand its token, writes
// advance it. Safe for use by many goroutines; the zero value demands nothing.
type Session struct {
	mu    sync.Mutex
	token Token
}

// NewSession begins with a token, such as one that came in a cookie.
func NewSession(t Token) *Session { return &Session{token: t} }

// Token is the newest one.
func (s *Session) Token() Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// Advance takes a token in, if it demands more than the present one.
func (s *Session) Advance(t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = s.token.Later(t)
}

type sessionKey struct{}

// WithSession has reads under the context demand the session's token, and writes
// advance it. A statement of the primary's handle then costs one round trip more, which
// reads the position after it; a transaction does not, it reads it with its COMMIT.
func WithSession(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// SessionFrom is the session of a context, nil when there is none.
func SessionFrom(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// WithToken is WithSession with a new session that begins with the token.
func WithToken(ctx context.Context, t Token) context.Context {
	return WithSession(ctx, NewSession(t))
}

// TokenFrom is the token that reads under the context demand.
func TokenFrom(ctx context.Context) Token {
	if s := SessionFrom(ctx); s != nil {
		return s.Token()
	}
	return Token{}
}
