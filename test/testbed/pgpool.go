package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/demo/freeport"
)

// PgpoolRole is the role that the rendered configuration lets Pgpool-II itself log in
// as; it has to exist with the password that StartPgpool is given for it.
const PgpoolRole = "pgkeeper_pgpool"

// Pgpool is Pgpool-II as `pgkeeper render pgpool` configures it, on the two endpoints of a front.
type Pgpool struct {
	dir     string
	port    int
	program *program
}

// StartPgpool renders a configuration and starts Pgpool-II on it. Only places are
// changed: ports and folders. The roles are those that may log in, by their passwords.
func (c *Cluster) StartPgpool(ctx context.Context, f *Front, roles map[string]string) (*Pgpool, error) {
	binary, err := find("pgpool")
	if err != nil {
		return nil, err
	}
	ports, err := freeport.Find(2)
	if err != nil {
		return nil, err
	}
	p := &Pgpool{port: ports[0]}
	if p.dir, err = os.MkdirTemp("", "pgk-pgpool-"); err != nil { // a short path: sockets
		return nil, err
	}
	if err = c.renderPgpool(ctx, f, p.dir); err == nil {
		err = p.place(ports[1], roles)
	}
	if err == nil {
		cmd := exec.Command(binary, "-n", "-f", "pgpool.conf", "-F", "pcp.conf", "-a", "pool_hba.conf") //nolint:noctx // ended by Close
		cmd.Dir = p.dir
		p.program, err = startProgram(cmd, filepath.Join(p.dir, "log"), syscall.SIGINT) // its children and shared memory go with it
	}
	if err == nil {
		err = Wait(ctx, 60*time.Second, "Pgpool-II", p.listens)
	}
	if err != nil {
		return nil, errors.Join(err, errors.New(p.Log()), p.Close())
	}
	return p, nil
}

func (c *Cluster) renderPgpool(ctx context.Context, f *Front, dir string) error {
	_, reads, err := net.SplitHostPort(f.Reads)
	if err != nil {
		return err
	}
	r, err := c.Run(ctx, "", "render", "pgpool", "--proxy", f.Writes+":"+reads, "--max-connections", c.options.maxConnections(), "--dir", dir)
	if err == nil && r.Code != 0 {
		err = errors.New(r.String())
	}
	return err
}

// place says where this one runs, behind what was rendered: the last line of a name holds.
func (p *Pgpool) place(pcp int, roles map[string]string) error {
	var known strings.Builder
	for role, password := range roles {
		known.WriteString(role + ":TEXT" + password + "\n")
	}
	config, err := os.OpenFile(p.path("pgpool.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(config, "\nlisten_addresses = '127.0.0.1'\nport = %d\npcp_listen_addresses = '127.0.0.1'\npcp_port = %d\n", p.port, pcp)
	for _, name := range []string{"socket_dir", "pcp_socket_dir", "logdir"} {
		_, err2 := fmt.Fprintf(config, "%s = '%s'\n", name, p.dir)
		err = errors.Join(err, err2)
	}
	_, err2 := fmt.Fprintf(config, "pid_file_name = '%s'\n", p.path("pid"))
	return errors.Join(err, err2, config.Close(),
		os.WriteFile(p.path("pool_passwd"), []byte(known.String()), 0o600), os.WriteFile(p.path("pcp.conf"), nil, 0o600))
}

func (p *Pgpool) path(name string) string { return filepath.Join(p.dir, name) }

// listens waits for what is no login: what it stands on may not be there yet.
func (p *Pgpool) listens(ctx context.Context) string {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Address())
	if err != nil {
		return err.Error()
	}
	_ = conn.Close()
	return ""
}

// Address is where clients connect.
func (p *Pgpool) Address() string { return "127.0.0.1:" + strconv.Itoa(p.port) }

// Log is what it said.
func (p *Pgpool) Log() string { return p.program.said() }

// Close ends it and removes its folder.
func (p *Pgpool) Close() error { return errors.Join(p.program.stop(), os.RemoveAll(p.dir)) }
