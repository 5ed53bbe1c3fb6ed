package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// letsInAndHangs is a server that lets everybody in, and answers nothing after that.
func letsInAndHangs(t *testing.T) Source {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a socket of a test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go letIn(conn)
		}
	}()
	host, port, _ := net.SplitHostPort(listener.Addr().String())
	return Source{Host: host, Port: port}
}

func letIn(conn net.Conn) {
	server := pgproto3.NewBackend(conn, conn)
	for {
		message, err := server.ReceiveStartupMessage()
		if err != nil {
			return
		}
		if _, starts := message.(*pgproto3.StartupMessage); starts {
			break
		}
		if _, err := conn.Write([]byte("N")); err != nil { // no encryption
			return
		}
	}
	server.Send(&pgproto3.AuthenticationOk{})
	server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	_ = server.Flush() // the client notices
}

// TestASourceThatHangsIsNotWaitedFor: a frozen primary is deposed meanwhile, and the job that
// asks it would never hear of the next.
func TestASourceThatHangsIsNotWaitedFor(t *testing.T) {
	source := letsInAndHangs(t)
	s := bare(t)
	if s.askLimit != askLimit {
		t.Errorf("an answer may take %s", s.askLimit)
	}
	s.askLimit = 50 * time.Millisecond
	s.o.Replication.SSLMode = ""
	for name, ask := range map[string]func(context.Context) error{
		"who it is":                func(ctx context.Context) error { _, err := s.SourceInfo(ctx, source); return err },
		"its checkpoint":           func(ctx context.Context) error { return s.SourceReady(ctx, source) },
		"what a clone of it takes": func(ctx context.Context) error { _, _, err := s.sourceSize(ctx, source); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), namesLimit/2)
		if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			t.Errorf("%s: %v; waited for as long as anybody would: %v", name, err, ctx.Err())
		}
		cancel()
	}
}

// TestACopyEndsWhenTheHostOfItsSourceDies: TCP alone waits for hours.
func TestACopyEndsWhenTheHostOfItsSourceDies(t *testing.T) {
	s := bare(t)
	clone, err := s.cloneArgs(Source{Host: "h"}, "pgkeeper-x")
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{"clone": clone, "rewind": s.rewindArgs(Source{Host: "h"}, Rewinding{})} {
		for _, want := range []string{"keepalives_idle=10", "keepalives_interval=5", "keepalives_count=3", "tcp_user_timeout=30000"} {
			if !strings.Contains(strings.Join(args, " "), want) {
				t.Errorf("a %s goes without %s: %q", name, want, args)
			}
		}
	}
}
