package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgkeeper/pgkeeper/demo/freeport"
)

// PgBouncer is a pooler of the distribution, with transaction pooling, in front of
// nothing: what it serves is in File, which an agent writes.
type PgBouncer struct {
	dir     string
	port    int
	binary  string
	who     *syscall.Credential
	program *program
}

// StartPgBouncer starts one that knows users by their passwords, and lets them in
// without. Its console answers when this returns.
func StartPgBouncer(ctx context.Context, users map[string]string) (*PgBouncer, error) {
	binary, err := find("pgbouncer")
	if err != nil {
		return nil, err
	}
	ports, err := freeport.Find(1)
	if err != nil {
		return nil, err
	}
	p := &PgBouncer{port: ports[0], binary: binary}
	if p.dir, err = os.MkdirTemp("", "pgk-bouncer-"); err != nil {
		return nil, err
	}
	p.who, err = anybody()
	if err == nil {
		err = p.write(users)
	}
	if err == nil {
		err = p.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Start starts it after Kill. Its console answers when this returns.
func (p *PgBouncer) Start(ctx context.Context) (err error) {
	cmd := exec.Command(p.binary, "-q", p.path("pgbouncer.ini")) //nolint:noctx // ended by Close
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.who}
	if p.program, err = startProgram(cmd, p.path("log"), syscall.SIGKILL); err != nil {
		return err
	}
	return Wait(ctx, 60*time.Second, "the console of PgBouncer", func(ctx context.Context) string {
		conn, err := pgconn.Connect(ctx, p.Admin())
		if err != nil {
			return err.Error()
		}
		_ = conn.Close(ctx)
		return ""
	})
}

// Kill ends it as a crash would.
func (p *PgBouncer) Kill() error { return p.program.stop() }

// anybody is a user that PgBouncer agrees to run as: not root.
func anybody() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(nobody.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err, err2)
}

func (p *PgBouncer) write(users map[string]string) error {
	known := []byte("\"keeper\" \"\"\n")
	for name, password := range users {
		known = fmt.Appendf(known, "%q %q\n", name, password)
	}
	ini := fmt.Sprintf("[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = trust\nauth_file = %s\nadmin_users = keeper\npool_mode = transaction\nserver_login_retry = 0.2\n%%include %s\n",
		p.port, p.path("users.txt"), p.File())
	return errors.Join(os.Chmod(p.dir, 0o755), p.put("users.txt", known), p.put("pgbouncer.ini", []byte(ini)), p.put("databases.ini", []byte("[databases]\n")))
}

func (p *PgBouncer) put(name string, content []byte) error {
	return os.WriteFile(p.path(name), content, 0o644)
}

func (p *PgBouncer) path(name string) string { return filepath.Join(p.dir, name) }

// File is the file of databases that it includes.
func (p *PgBouncer) File() string { return p.path("databases.ini") }

// Admin is the DSN of its console.
func (p *PgBouncer) Admin() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=keeper dbname=pgbouncer sslmode=disable", p.port)
}

// DSN is how a client reaches a database through it.
func (p *PgBouncer) DSN(user, database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable", p.port, user, database)
}

// Pooler is the section of an agent's configuration that has it driven.
func (p *PgBouncer) Pooler(databases ...string) map[string]any {
	return map[string]any{"pgbouncer": map[string]any{"admin": p.Admin(), "databases_file": p.File(), "databases": databases}}
}

// Log is what it said.
func (p *PgBouncer) Log() string { return p.program.said() }

// Close ends it and removes its folder.
func (p *PgBouncer) Close() error { return errors.Join(p.program.stop(), os.RemoveAll(p.dir)) }
