package pgrw

import (
	"net/http"
	"time"
)

// Where Middleware looks for a token and leaves it, unless options say otherwise.
const (
	TokenHeader = "Pgrw-Token"
	TokenCookie = "pgrw_token"
)

// tokenCookieAge is how long a browser keeps a token: replicas catch up in less, or are
// not used.
const tokenCookieAge = 10 * time.Minute

// Middleware gives every request a Session that begins with the token of its header, or
// else of its cookie, and answers with the newest token in both: who wrote, through
// whatever process, reads what they wrote. The token leaves with the header of the
// answer, so what a handler writes to the database after the first byte of its answer is
// not in it. Handlers pass on the request's context and need to know nothing.
func Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := requestToken(r)
		s := NewSession(began)
		answer := &tokenWriter{ResponseWriter: w, session: s, began: began, secure: r.TLS != nil}
		next.ServeHTTP(answer, r.WithContext(WithSession(r.Context(), s)))
		answer.leave()
	})
}

// requestToken reads the token that demands more; what cannot be read demands nothing.
func requestToken(r *http.Request) Token {
	t, err := ParseToken(r.Header.Get(TokenHeader))
	if err != nil {
		t = Token{}
	}
	if cookie, err := r.Cookie(TokenCookie); err == nil {
		if old, err := ParseToken(cookie.Value); err == nil {
			t = old.Later(t)
		}
	}
	return t
}

// tokenWriter adds the token when the header goes out.
type tokenWriter struct {
	http.ResponseWriter
	session *Session
	began   Token
	secure  bool
	left    bool
}

func (w *tokenWriter) leave() {
	if w.left {
		return
	}
	w.left = true
	t := w.session.Token()
	if t == w.began {
		return
	}
	w.Header().Set(TokenHeader, t.String())
	http.SetCookie(w.ResponseWriter, &http.Cookie{
		Name: TokenCookie, Value: t.String(), Path: "/", MaxAge: int(tokenCookieAge.Seconds()),
		HttpOnly: true, Secure: w.secure, SameSite: http.SameSiteLaxMode,
	})
}

// WriteHeader sends the header, the token with it.
func (w *tokenWriter) WriteHeader(code int) {
	if code >= http.StatusOK { // others are only announcements
		w.leave()
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write sends the header, if it was not sent, and a part of the body.
func (w *tokenWriter) Write(p []byte) (int, error) {
	w.leave()
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the writer below; what is flushed through it
// before the first Write goes without a token.
func (w *tokenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
