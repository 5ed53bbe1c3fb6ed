package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ErrNoPostgreSQL says that no PostgreSQL server is installed.
var ErrNoPostgreSQL = errors.New("no PostgreSQL in /usr/lib/postgresql: script/install-deps test installs it")

// ProgramPath is where one of PostgreSQL's programs is.
func ProgramPath(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is well formed
	if len(found) == 0 {
		return "", ErrNoPostgreSQL
	}
	slices.Sort(found)
	return found[len(found)-1], nil
}

// ServerProgram runs one of PostgreSQL's programs as the servers' OS user, in the
// node's folder, and returns what it wrote.
func (n *Node) ServerProgram(ctx context.Context, name string, args ...string) (string, error) {
	program, err := ProgramPath(name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = n.dir
	if n.bed.place.uid >= 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(n.bed.place.uid), Gid: uint32(n.bed.place.gid)}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return string(out), nil
}

// InitDB makes a data directory that pgkeeper knows nothing of.
func (n *Node) InitDB(ctx context.Context) error {
	secret := filepath.Join(n.dir, "secret")
	if err := os.WriteFile(secret, []byte(superuserPassword+"\n"), 0o644); err != nil {
		return fmt.Errorf("write the password: %w", err)
	}
	defer os.Remove(secret)
	_, err := n.ServerProgram(ctx, "initdb", "-D", n.DataDir(), "-U", superuser, "-A", "scram-sha-256",
		"--pwfile", secret, "--no-sync", "--data-checksums", "-E", "UTF8", "--locale", "C.UTF-8")
	return err
}

// StartServer starts the data directory's server without pgkeeper, as another
// manager would.
func (n *Node) StartServer(ctx context.Context) error {
	options := fmt.Sprintf("-p %d -k %s -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB", n.SQLPort, n.dir)
	_, err := n.ServerProgram(ctx, "pg_ctl", "-D", n.DataDir(), "-w", "-l", filepath.Join(n.dir, "server.log"), "-o", options, "start")
	return err
}

// MakeRoles creates the roles that the configuration names beside the superuser,
// as whoever brings an existing server must.
func (n *Node) MakeRoles(ctx context.Context) error {
	return n.Exec(ctx, `create role replicator login replication password 'rep-secret';
		create role rewinder login password 'rewind-secret';
		grant execute on function pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
			pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) to rewinder`)
}

// SystemID is the system identifier in the data directory's pg_control.
func (n *Node) SystemID(ctx context.Context) (string, error) {
	out, err := n.ServerProgram(ctx, "pg_controldata", "-D", n.DataDir())
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if value, found := strings.CutPrefix(line, "Database system identifier:"); found {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("no system identifier in the output of pg_controldata: %s", out)
}
