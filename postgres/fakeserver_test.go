package postgres

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// answering has s reach a server that answers statements as told, through its socket.
func (s *Server) answering(t *testing.T, answer func(sql string) []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.o.SocketDir, s.o.Database = dir, "postgres"
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "unix", s.socketPath())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s.act, s.watch = newSession(s.connectLocal), newSession(s.connectLocal)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go serve(conn, answer)
		}
	}()
}

// serve answers one client until it leaves. Every statement yields one row, or none.
func serve(conn net.Conn, answer func(sql string) []string) {
	b := pgproto3.NewBackend(conn, conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	ready := func() { b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'}) }
	b.Send(&pgproto3.AuthenticationOk{})
	ready()
	statements, bound := map[string]string{}, ""
	for b.Flush() == nil {
		message, err := b.Receive()
		if err != nil {
			return
		}
		switch m := message.(type) {
		case *pgproto3.Query:
			row := answer(m.String)
			describe(b, row)
			respond(b, row)
			ready()
		case *pgproto3.Parse:
			statements[m.Name] = m.Query
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			bound = statements[m.PreparedStatement]
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Describe:
			if m.ObjectType == 'S' {
				bound = statements[m.Name]
				b.Send(&pgproto3.ParameterDescription{})
			}
			describe(b, answer(bound))
		case *pgproto3.Execute:
			respond(b, answer(bound))
		case *pgproto3.Sync:
			ready()
		}
	}
}

func describe(b *pgproto3.Backend, row []string) {
	fields := make([]pgproto3.FieldDescription, len(row))
	for i := range fields {
		fields[i] = pgproto3.FieldDescription{Name: []byte("c"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}
	}
	b.Send(&pgproto3.RowDescription{Fields: fields})
}

func respond(b *pgproto3.Backend, row []string) {
	if row != nil {
		values := make([][]byte, len(row))
		for i, v := range row {
			values[i] = []byte(v)
		}
		b.Send(&pgproto3.DataRow{Values: values})
	}
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
}

// sleeper is a process of the data directory that sleeps, and ignores SIGHUP.
func (s *Server) sleeper(t *testing.T) (pid int) {
	t.Helper()
	if err := os.MkdirAll(s.o.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	told, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	cmd := exec.CommandContext(t.Context(), shell, "-c", "trap '' HUP; echo; exec sleep 600")
	cmd.Dir, cmd.Stdout = s.o.DataDir, tell
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_ = tell.Close()
	if _, err := told.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if s.o.DataDir, err = filepath.EvalSymlinks(s.o.DataDir); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}
