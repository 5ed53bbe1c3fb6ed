package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pgkeeper/pgkeeper/deploy"
)

// proxy is HAProxy with the shipped configuration, and `pgkeeper route` beside it.
type proxy struct {
	primary, replica int // ports
	stats            int
	dir, socket      string
	haproxy          *companion
	router           *companion // nil where the socket's path would be too long
}

// socketMost is how long the path of HAProxy's socket may be: it adds to it while it
// starts.
const socketMost = 80

// errNoProxy: HAProxy is not installed; the tour goes on without.
var errNoProxy = errors.New("HAProxy is not installed")

// findProxy looks where a plain user's PATH does not lead on Debian, too.
func findProxy() (string, error) {
	if path, err := exec.LookPath("haproxy"); err == nil {
		return path, nil
	}
	for _, path := range []string{"/usr/sbin/haproxy", "/usr/local/sbin/haproxy"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errNoProxy
}

// startProxy runs HAProxy over the nodes.
func (s *stage) startProxy(ports []int, reserve deploy.Server) error {
	program, err := findProxy()
	if err != nil {
		return err
	}
	dir, err := s.place.folder("haproxy")
	if err != nil {
		return err
	}
	x := &proxy{primary: ports[0], replica: ports[1], stats: ports[2], dir: dir}
	if path := filepath.Join(dir, "socket"); len(path) <= socketMost {
		x.socket = path
	}
	path, err := x.configure(s.nodes, reserve)
	if err != nil {
		return err
	}
	if x.haproxy, err = accompany(s.place, dir, "haproxy", s.environment(), program, "-db", "-f", path); err != nil {
		return err
	}
	s.proxy = x
	if x.socket != "" {
		x.router, err = accompany(s.place, dir, "route", s.environment(), s.Program, "route", "-d", "etcd3://"+s.etcdAddress(), "demo", "--haproxy", x.socket)
	}
	return err
}

func (x *proxy) configure(nodes []*node, reserve deploy.Server) (path string, err error) {
	params := deploy.DefaultHAProxyParams()
	params.Servers = nil
	for _, n := range nodes {
		params.Servers = append(params.Servers, deploy.Server{Name: n.name, Addr: "127.0.0.1", Port: n.sqlPort, CheckPort: n.apiPort})
	}
	params.Servers = append(params.Servers, reserve)
	params.Primary = fmt.Sprintf("127.0.0.1:%d", x.primary)
	params.Replica = fmt.Sprintf("127.0.0.1:%d", x.replica)
	params.Stats = fmt.Sprintf("127.0.0.1:%d", x.stats)
	params.Socket, params.Chroot, params.User, params.Group = x.socket, "", "", ""
	params.Log = "stderr format raw local0 notice"
	return params.Write(x.dir)
}

// broken says which of the two ended by itself, and why; empty while they run.
func (x *proxy) broken() string {
	why := x.haproxy.broken()
	if why == "" && x.router != nil {
		why = x.router.broken()
	}
	return why
}

func (x *proxy) close() {
	if x.router != nil {
		x.router.close()
	}
	x.haproxy.close()
}
