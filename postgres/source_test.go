package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgkeeper/pgkeeper/cluster"
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

func letIn(conn net.Conn) { letInThen(conn) }

// letInThen lets a client in and answers its first command with these.
func letInThen(conn net.Conn, answers ...pgproto3.BackendMessage) {
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
	if len(answers) == 0 {
		return
	}
	if _, err := server.Receive(); err != nil {
		return
	}
	for _, a := range answers {
		server.Send(a)
	}
	_ = server.Flush()
}

// TestWALThatASourceHasRemovedIsToldFromAllElse: what a walsender says at once, and what it
// says when it has begun.
func TestWALThatASourceHasRemovedIsToldFromAllElse(t *testing.T) {
	begun, wal := &pgproto3.CopyBothResponse{}, &pgproto3.CopyData{Data: []byte("w12345678")}
	gone := &pgproto3.ErrorResponse{Severity: "ERROR", Code: "58P01", Message: "requested WAL segment 000000020000000000000003 has already been removed"}
	ahead := &pgproto3.ErrorResponse{Severity: "ERROR", Code: "XX000", Message: "requested starting point 0/9000000 is ahead of the WAL flush position"}
	for name, c := range map[string]struct {
		answers []pgproto3.BackendMessage
		want    string
	}{
		"gone":                 {[]pgproto3.BackendMessage{begun, gone}, gone.Message},
		"gone, kept alive":     {[]pgproto3.BackendMessage{begun, &pgproto3.CopyData{Data: []byte("k12345678")}, gone}, gone.Message},
		"there":                {[]pgproto3.BackendMessage{begun, wal}, ""},
		"its timeline's end":   {[]pgproto3.BackendMessage{begun, &pgproto3.CopyDone{}}, ""},
		"another error":        {[]pgproto3.BackendMessage{begun, ahead}, ""},
		"another file":         {[]pgproto3.BackendMessage{gone}, ""},
		"no error, but an end": {[]pgproto3.BackendMessage{begun}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a socket of a test
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			go func() {
				if conn, err := listener.Accept(); err == nil {
					letInThen(conn, c.answers...)
					_ = conn.Close()
				}
			}()
			host, port, _ := net.SplitHostPort(listener.Addr().String())
			s := bare(t)
			s.o.Replication.SSLMode = "disable"
			config, err := s.replicationConfig(Source{Host: host, Port: port})
			if err != nil {
				t.Fatal(err)
			}
			if got := removed(t.Context(), config, cluster.Position{Timeline: 1, LSN: 0x3000000}, SourceInfo{Timeline: 1}); got != c.want {
				t.Errorf("removed: %q, want %q", got, c.want)
			}
		})
	}
}

// TestWALIsAskedForOnTheTimelineThatGoesOn: where a timeline has ended there is nothing of it.
func TestWALIsAskedForOnTheTimelineThatGoesOn(t *testing.T) {
	info := SourceInfo{Timeline: 7, History: cluster.History{{Timeline: 1, Switch: 100}, {Timeline: 3, Switch: 200}, {Timeline: 4, Switch: 200}}}
	for at, want := range map[cluster.Position]cluster.Timeline{
		{Timeline: 1, LSN: 99}: 1, {Timeline: 1, LSN: 100}: 3, {Timeline: 3, LSN: 150}: 3, {Timeline: 3, LSN: 200}: 7, {Timeline: 4, LSN: 200}: 7, {Timeline: 7, LSN: 300}: 7,
	} {
		if got := sentFrom(at, info); got != want {
			t.Errorf("%s is asked for on %d, want %d", at, got, want)
		}
	}
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
