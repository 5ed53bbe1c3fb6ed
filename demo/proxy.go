package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/deploy"
)

// proxy is HAProxy with the shipped configuration.
type proxy struct {
	primary, replica int // ports
	stats            int
	place            *place
	dir              string
	stop             context.CancelFunc
	exited           chan struct{}
}

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
func startProxy(p *place, ports []int, nodes []*node, reserve deploy.Server) (*proxy, error) {
	program, err := findProxy()
	if err != nil {
		return nil, err
	}
	dir, err := p.folder("haproxy")
	if err != nil {
		return nil, err
	}
	x := &proxy{primary: ports[0], replica: ports[1], stats: ports[2], place: p, dir: dir, exited: make(chan struct{})}
	path, err := x.configure(nodes, reserve)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	x.stop = stop
	started := make(chan error, 1)
	go x.run(ctx, program, path, started)
	if err := <-started; err != nil {
		stop()
		return nil, fmt.Errorf("start HAProxy: %w", err)
	}
	return x, nil
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
	params.Socket, params.Chroot, params.User, params.Group = "", "", "", ""
	params.Log = "stderr format raw local0 notice"
	return params.Write(x.dir)
}

// run starts HAProxy from a thread that lives as long as it does: the kernel's
// parent-death signal, which ends it when the demo is killed, follows the thread
// and not the process.
func (x *proxy) run(ctx context.Context, program, path string, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(x.exited)
	command := exec.CommandContext(ctx, program, "-db", "-f", path)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if x.place.uid >= 0 {
		// HAProxy must not change its user itself: the kernel would forget the
		// signal.
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(x.place.uid), Gid: uint32(x.place.gid)}
	}
	log, err := os.Create(filepath.Join(x.dir, "haproxy.log"))
	if err == nil {
		defer log.Close()
		command.Stdout, command.Stderr = log, log
		err = command.Start()
	}
	started <- err
	if err == nil {
		_ = command.Wait() // how it ended stands in its log
	}
}

// broken says why HAProxy ended by itself; empty while it runs.
func (x *proxy) broken() string {
	select {
	case <-x.exited:
		return "HAProxy has ended: " + strings.Join(tail(filepath.Join(x.dir, "haproxy.log"), 3), " ")
	default:
		return ""
	}
}

func (x *proxy) close() {
	x.stop()
	select {
	case <-x.exited:
	case <-time.After(5 * time.Second):
	}
}
