package main

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// listen is a port of the loopback address on which serve answers each connection.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a socket of a test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String()
}

// cutOff takes connections, as the kernel of a host does, and never answers.
func cutOff(net.Conn) {}

// welcome lets a client in, and says whether this is a standby.
func welcome(conn net.Conn, standby string) *pgproto3.Backend {
	b := pgproto3.NewBackend(conn, conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return nil
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "in_hot_standby", Value: standby})
	b.Send(&pgproto3.ParameterStatus{Name: "default_transaction_read_only", Value: "off"})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if b.Flush() != nil {
		return nil
	}
	return b
}

// TestAClientWithPatienceIsNotHeldUpByAHostThatIsCutOff: the standby that becomes the
// primary is found while the first host still says nothing.
func TestAClientWithPatienceIsNotHeldUpByAHostThatIsCutOff(t *testing.T) {
	var asked atomic.Int32
	promoted := listen(t, func(conn net.Conn) {
		if asked.Add(1) < 4 {
			welcome(conn, "on")
		} else {
			welcome(conn, "off")
		}
	})
	const patience = 20 * time.Second
	c, err := newClient("postgres://u@"+strings.Join([]string{listen(t, cutOff), promoted}, ",")+"/d?sslmode=disable&target_session_attrs=read-write",
		"", "", 1, patience, newJournal(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	conn, err := c.connect(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if at := conn.PgConn().Conn().RemoteAddr().String(); at != promoted || time.Since(began) > patience/2 {
		t.Errorf("connected to %s after %v, want %s at once", at, time.Since(began), promoted)
	}
}

// TestAStatementThatIsNotAnsweredIsGivenUp, and nothing is acknowledged by that.
func TestAStatementThatIsNotAnsweredIsGivenUp(t *testing.T) {
	hangs := listen(t, func(conn net.Conn) { welcome(conn, "off") })
	c, err := newClient("postgres://u@"+hangs+"/d?sslmode=disable", "select 1", "", 1, 50*time.Millisecond, newJournal(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if !c.connected(t.Context(), time.Now()) {
		t.Fatal("not connected")
	}
	if err := c.exec(t.Context(), 1); err == nil || !c.conn.IsClosed() {
		t.Errorf("error %v, connection closed: %t; want it given up", err, c.conn.IsClosed())
	}
}
