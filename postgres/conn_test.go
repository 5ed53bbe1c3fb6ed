package postgres

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// slowServer lets in after a while; refused says which attempts it refuses then.
type slowServer struct {
	t        *testing.T
	takes    time.Duration
	refused  map[int]error
	attempts int
}

func (s *slowServer) open(ctx context.Context) (*pgconn.PgConn, error) {
	s.attempts++
	n := s.attempts
	timer := time.NewTimer(s.takes)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
	}
	if err := s.refused[n]; err != nil {
		return nil, err
	}
	config, err := clientConfig(Credentials{Username: "postgres"}, "127.0.0.1", "1", "postgres", "disable")
	if err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	s.t.Cleanup(func() { _ = theirs.Close() })
	return pgconn.Construct(&pgconn.HijackedConn{Conn: ours, Config: config})
}

// call uses the session for at most so long.
func call(t *testing.T, s *session, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return s.with(ctx, func(*pgconn.PgConn) error { return nil })
}

// On a machine with far too much to do a connection takes longer than a look may.
func TestAConnectionThatTakesLongerThanACallIsThereForALaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &slowServer{t: t, takes: 2500 * time.Millisecond}
		s := newSession(server.open)
		for range 2 {
			if err := call(t, s, time.Second); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v, want what says that the server did not let us in in time", err)
			}
		}
		if err := call(t, s, time.Second); err != nil || server.attempts != 1 {
			t.Errorf("the third call says %v after %d attempts, want the first attempt's connection", err, server.attempts)
		}
	})
}

func TestWhatFailedBeforeACallIsTriedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("the database system is shutting down")
		server := &slowServer{t: t, takes: 2 * time.Second, refused: map[int]error{1: down, 3: down}}
		s := newSession(server.open)
		if err := call(t, s, time.Second); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("got %v", err)
		}
		if err := call(t, s, 5*time.Second); err != nil || server.attempts != 2 {
			t.Errorf("got %v after %d attempts, want a second one that is let in", err, server.attempts)
		}
		s.close()
		if err := call(t, s, 5*time.Second); !errors.Is(err, down) {
			t.Errorf("got %v, want what the server said to this call", err)
		}
	})
}

func TestAnAttemptToConnectEndsByItselfOrWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails when one is left
		for _, rest := range []time.Duration{0, 2 * openLimit} {
			s := newSession((&slowServer{t: t, takes: time.Hour}).open)
			if err := call(t, s, time.Second); !errors.Is(err, ErrUnreachable) {
				t.Errorf("got %v", err)
			}
			<-time.NewTimer(rest).C
			began := time.Now()
			s.close()
			if took := time.Since(began); took != 0 {
				t.Errorf("the end of the session took %v", took)
			}
		}
	})
}
