package testbed

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pgkeeper/pgkeeper/demo/freeport"
	"github.com/pgkeeper/pgkeeper/deploy"
)

// Front is HAProxy with the shipped configuration before a cluster, and
// `pgkeeper route` beside it.
type Front struct {
	// Writes and Reads are addresses.
	Writes, Reads string

	dir            string
	haproxy, route *program
}

// StartFront starts both. Whether HAProxy has found the members is for the caller to wait for.
func (c *Cluster) StartFront() (*Front, error) {
	haproxy, err := find("haproxy")
	if err != nil {
		return nil, err
	}
	ports, err := freeport.Find(3)
	if err != nil {
		return nil, err
	}
	f := &Front{}
	if f.dir, err = os.MkdirTemp("", "pgk-front-"); err != nil {
		return nil, err
	}
	p := deploy.DefaultHAProxyParams()
	p.Servers = nil
	for _, n := range c.Nodes {
		p.Servers = append(p.Servers, deploy.Server{Name: n.Name, Addr: "127.0.0.1", Port: n.SQLPort, CheckPort: n.APIPort})
	}
	at := func(i int) string { return "127.0.0.1:" + strconv.Itoa(ports[i]) }
	p.Primary, p.Replica, p.Stats = at(0), at(1), at(2)
	p.Socket = filepath.Join(f.dir, "haproxy.sock")
	p.User, p.Group, p.Chroot = "", "", ""
	p.Log = "stderr format raw local0"
	f.Writes, f.Reads = p.Primary, p.Replica
	config, err := p.Write(f.dir)
	if err == nil {
		f.haproxy, err = startProgram(exec.Command(haproxy, "-db", "-f", config), filepath.Join(f.dir, "haproxy.log"), syscall.SIGKILL) //nolint:noctx // ended by Close
	}
	if err == nil {
		route := exec.Command(c.binary, "route", "-d", "etcd3://"+strings.Join(c.Etcd.Endpoints(), ","), Scope, "--haproxy", p.Socket) //nolint:noctx // ended by Close
		f.route, err = startProgram(route, filepath.Join(f.dir, "route.log"), syscall.SIGKILL)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Log is what `pgkeeper route` said.
func (f *Front) Log() string { return f.route.said() }

// KillRoute leaves HAProxy to its checks.
func (f *Front) KillRoute() error { return f.route.stop() }

// Close ends both.
func (f *Front) Close() error {
	return errors.Join(f.route.stop(), f.haproxy.stop(), os.RemoveAll(f.dir))
}
