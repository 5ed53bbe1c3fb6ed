package pgrw

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// fakeServer is a PostgreSQL server as far as this package looks at one. It speaks the
// simple protocol, keeps rows in no table, and counts the statements it was sent.
type fakeServer struct {
	t        testing.TB
	listener net.Listener

	mu       sync.Mutex
	recovery bool
	timeline uint32
	lsn      LSN
	system   uint64
	// answer, when set, is asked about every statement that is not the library's own.
	answer func(sql string) reply
	seen   []string
	conns  map[net.Conn]bool
	closed bool
	// mute is how often a question for the position ends the session.
	mute int
	// password, when set, is asked for.
	password string
}

// reply is how a statement ends; the zero value is one row with the server's address.
type reply struct {
	code string // an error with this SQLSTATE
	cut  bool   // no answer: the session ends
	hang bool   // no answer, and the session stays
}

func newFakeServer(t testing.TB, recovery bool) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, recovery: recovery, timeline: 1, lsn: 0x1000, system: 7, conns: map[net.Conn]bool{}}
	var err error
	if f.listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	go f.accept()
	return f
}

func (f *fakeServer) address() string { return f.listener.Addr().String() }

// set changes the server under its lock.
func (f *fakeServer) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// restart ends every session; a change is made in between.
func (f *fakeServer) restart(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	for c := range f.conns {
		_ = c.Close()
	}
}

// close ends the server: connections are refused.
func (f *fakeServer) close() {
	f.restart(func() { f.closed = true; _ = f.listener.Close() })
}

// count is how many statements held the word.
func (f *fakeServer) count(word string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, sql := range f.seen {
		if strings.Contains(sql, word) {
			n++
		}
	}
	return n
}

func (f *fakeServer) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		if f.closed {
			_ = c.Close()
		}
		f.conns[c] = true
		f.mu.Unlock()
		go f.serve(c)
	}
}

func (f *fakeServer) serve(c net.Conn) {
	defer func() {
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
		_ = c.Close()
	}()
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	if !f.admit(b) {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	for name, value := range map[string]string{"client_encoding": "UTF8", "standard_conforming_strings": "on", "server_version": "12.0"} {
		b.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	status := byte('I')
	for {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: status})
		if b.Flush() != nil {
			return
		}
		m, err := b.Receive()
		if err != nil {
			return
		}
		q, ok := m.(*pgproto3.Query)
		if !ok || !f.run(b, q.String, &status) {
			return
		}
	}
}

// admit asks for the password, if there is one; false when another was told.
func (f *fakeServer) admit(b *pgproto3.Backend) bool {
	f.mu.Lock()
	want := f.password
	f.mu.Unlock()
	if want == "" {
		return true
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	if b.Flush() != nil || b.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return false
	}
	m, err := b.Receive()
	if err != nil {
		return false
	}
	if told, ok := m.(*pgproto3.PasswordMessage); ok && told.Password == want {
		return true
	}
	b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "28P01", Message: "password authentication failed"})
	_ = b.Flush()
	return false
}

// run answers one message; false ends the session.
func (f *fakeServer) run(b *pgproto3.Backend, text string, status *byte) bool {
	for sql := range strings.SplitSeq(text, ";") {
		sql = strings.TrimSpace(sql)
		f.mu.Lock()
		f.seen = append(f.seen, sql)
		answer, recovery := f.answer, f.recovery
		row := f.own(sql)
		var r reply
		if sql == positionSQL && f.mute > 0 {
			f.mute--
			r.cut = true
		}
		f.mu.Unlock()
		if answer != nil && row == nil {
			r = answer(sql) // without the lock: it may change the server
		}
		switch {
		case r.hang:
			_, _ = b.Receive() // until the client ends it
			return false
		case r.cut:
			_ = b.Flush()
			return false
		case r.code != "":
			b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: r.code, Message: "no"})
			if *status == 'T' {
				*status = 'E'
			}
			return true
		case strings.HasPrefix(sql, "begin"):
			*status = 'T'
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})
		case strings.HasPrefix(sql, "commit"), strings.HasPrefix(sql, "rollback"):
			tag := strings.ToUpper(sql)
			if *status == 'E' {
				tag = "ROLLBACK"
			}
			*status = 'I'
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
		case strings.HasPrefix(sql, "set "):
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SET")})
		case strings.HasPrefix(sql, "-- "):
			b.Send(&pgproto3.EmptyQueryResponse{})
		case recovery && strings.HasPrefix(sql, "put"):
			b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: stateReadOnly, Message: "read-only"})
			return true
		default:
			if row == nil {
				row = []string{f.address()}
			}
			sendRow(b, row)
		}
	}
	return true
}

// own answers the library's questions; nil for anything else. f.mu is held.
func (f *fakeServer) own(sql string) []string {
	truth := map[bool]string{true: "t", false: "f"}[f.recovery]
	switch sql {
	case metaSQL:
		return []string{truth, f.lsn.String(), fmt.Sprintf("%X", f.timeline), fmt.Sprint(f.system)}
	case positionSQL:
		return []string{truth, f.lsn.String()}
	}
	return nil
}

func sendRow(b *pgproto3.Backend, row []string) {
	var fields []pgproto3.FieldDescription
	var values [][]byte
	for _, value := range row {
		fields = append(fields, pgproto3.FieldDescription{Name: []byte("c"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1})
		values = append(values, []byte(value))
	}
	b.Send(&pgproto3.RowDescription{Fields: fields})
	b.Send(&pgproto3.DataRow{Values: values})
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
}
