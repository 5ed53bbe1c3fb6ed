package probe

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// server speaks as much of the protocol as a probe hears. Sessions are counted from 1, those
// that only knock are none.
type server struct {
	refuses string                 // a code with which nobody is let in
	silent  func(session int) bool // queries that get no answer
	logins  atomic.Int64
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	b := pgproto3.NewBackend(conn, conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{}) // the first word
	if b.Flush() != nil {
		return
	}
	_ = b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
	if m, err := b.Receive(); err != nil {
		return
	} else if _, login := m.(*pgproto3.PasswordMessage); !login { // a knock goes away here
		return
	}
	session := int(s.logins.Add(1))
	if s.refuses != "" {
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: s.refuses})
		_ = b.Flush()
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	for {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		if m, err := b.Receive(); err != nil {
			return
		} else if _, asks := m.(*pgproto3.Query); !asks {
			return
		}
		if s.silent != nil && s.silent(session) {
			_, _ = b.Receive() // until the client is gone
			return
		}
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
	}
}

func TestAServerMustAnswerAQueryToo(t *testing.T) {
	for name, c := range map[string]struct {
		server *server
		want   cluster.Ailment
		logins int64 // of three tries
	}{
		"it answers, over the session that is kept":    {server: &server{}, want: "", logins: 1},
		"it connects, and answers no query":            {server: &server{silent: func(int) bool { return true }}, want: cluster.AilmentHung, logins: 3},
		"the session that is kept is silent alone":     {server: &server{silent: func(session int) bool { return session == 1 }}, want: "", logins: 2},
		"it lets nobody in, and is not asked for long": {server: &server{refuses: "28P01"}, want: "", logins: 1},
		"it starts, and is asked again":                {server: &server{refuses: "57P03"}, want: "", logins: 3},
		"it has no connection left":                    {server: &server{refuses: "53300"}, want: "", logins: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := postmaster(t, c.server.serve)
			spec.Password, spec.Patience = "p", 30*time.Second
			if c.want == cluster.AilmentHung { // each try takes all of its time
				spec.Patience = 8 * time.Second
			}
			a := &asker{spec: spec}
			if c.server.silent != nil && c.want == "" {
				first, cancel := context.WithTimeout(t.Context(), spec.limit())
				defer cancel()
				if conn, err := a.connect(first); err == nil { // the one that falls silent
					a.keep(first, conn)
				}
			}
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), spec.limit())
				f := a.accept(ctx)
				cancel()
				if f.ailment != c.want || f.idle {
					t.Errorf("found %+v, want %q", f, c.want)
				}
			}
			if got := c.server.logins.Load(); got != c.logins {
				t.Errorf("%d logins, want %d", got, c.logins)
			}
		})
	}
}
