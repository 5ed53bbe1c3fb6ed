//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// patroni is a cluster of the distribution's Patroni, on etcd of the test bed, at the fastest settings it accepts.
type patroni struct {
	bed     *testbed.Cluster
	version string
	dynamic map[string]any
	dir     string
	owner   *syscall.Credential
	list    []member
}

// fastest are Patroni's minima.
var fastest = setup{ttl: 20 * time.Second, loopWait: time.Second, retryTimeout: 3 * time.Second}

var patroniVersion = regexp.MustCompile(`\d+(\.\d+)+`)

// patroniBuild is the installed version.
func patroniBuild(ctx context.Context) (string, error) {
	said, err := exec.CommandContext(ctx, "patroni", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("patroni --version: %w (script/install-deps bench installs it)", err)
	}
	return patroniVersion.FindString(string(said)), nil
}

func startPatroni(ctx context.Context, version string, s setup) (system, error) {
	p := &patroni{version: version, dynamic: s.dynamic}
	var err error
	if p.bed, err = testbed.Start(ctx, testbed.Options{Nodes: -1, EtcdMembers: 3, EtcdBinary: true, Fsync: true}); err != nil {
		return p, err
	}
	if p.owner, err = serverOwner(); err != nil {
		return p, err
	}
	p.dir = filepath.Join(p.bed.Dir(), "patroni")
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return p, err
	}
	for i := range 3 {
		if _, err := p.add("pt" + strconv.Itoa(i+1)); err != nil {
			return p, err
		}
	}
	if s.unstarted {
		return p, nil
	}
	for _, m := range p.list {
		if err := m.start(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// serverOwner is the user that servers run as: PostgreSQL refuses root. Nil is whoever we are.
func serverOwner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (p *patroni) name() string        { return report.Patroni }
func (p *patroni) build() string       { return p.version }
func (p *patroni) etcd() *testbed.Etcd { return p.bed.Etcd }
func (p *patroni) members() []member   { return p.list }
func (p *patroni) ttl() time.Duration  { return fastest.ttl }

func (p *patroni) close() error {
	var all error
	for _, m := range p.list {
		all = errors.Join(all, m.killAll())
	}
	if p.bed != nil {
		all = errors.Join(all, p.bed.Close())
	}
	return all
}

func (p *patroni) add(name string) (member, error) {
	n := &patroniNode{p: p, id: name, dir: filepath.Join(p.dir, name)}
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		return nil, err
	}
	if p.owner != nil {
		if err := os.Chown(n.dir, int(p.owner.Uid), int(p.owner.Gid)); err != nil {
			return nil, err
		}
	}
	var err error
	if n.sqlAddress, n.apiAddress, err = twoAddresses(); err != nil {
		return nil, err
	}
	p.list = append(p.list, n)
	return n, n.configure()
}

// proxy is the configuration of Patroni's documentation.
func (p *patroni) proxy(dir string) (config, writes string, err error) {
	writes, _, err = twoAddresses()
	if err != nil {
		return "", "", err
	}
	text := `global
    maxconn 100
defaults
    log global
    mode tcp
    retries 2
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    timeout check 5s
listen primary
    bind ` + writes + `
    option httpchk
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
`
	var servers strings.Builder
	for _, m := range p.list {
		_, port, _ := strings.Cut(m.api(), ":")
		fmt.Fprintf(&servers, "    server %s %s maxconn 100 check port %s\n", m.name(), m.sql(), port)
	}
	config = dir + "/haproxy.cfg"
	return config, writes, os.WriteFile(config, []byte(text+servers.String()), 0o644)
}

// patroniNode is one member: one process, and the server it started, which outlives it.
type patroniNode struct {
	p                      *patroni
	id, dir                string
	sqlAddress, apiAddress string
	command                *exec.Cmd
	exited                 chan struct{}
}

func (n *patroniNode) name() string    { return n.id }
func (n *patroniNode) sql() string     { return n.sqlAddress }
func (n *patroniNode) api() string     { return n.apiAddress }
func (n *patroniNode) logPath() string { return filepath.Join(n.dir, "agent.log") }
func (n *patroniNode) data() string    { return filepath.Join(n.dir, "data") }

// configure writes JSON, which is YAML too.
func (n *patroniNode) configure() error {
	role := func(name string) map[string]any { return map[string]any{"username": name, "password": secret} }
	parameters := serverParameters()
	parameters["unix_socket_directories"] = n.dir
	dynamic := map[string]any{
		"ttl": fastest.ttl.Seconds(), "loop_wait": fastest.loopWait.Seconds(), "retry_timeout": fastest.retryTimeout.Seconds(),
		"maximum_lag_on_failover": 1048576,
		"postgresql":              map[string]any{"use_pg_rewind": true, "use_slots": true, "parameters": serverParameters()},
	}
	maps.Copy(dynamic, n.p.dynamic)
	text, err := json.MarshalIndent(map[string]any{
		"scope": "bed", "name": n.id,
		"restapi": map[string]any{"listen": n.apiAddress, "connect_address": n.apiAddress},
		"etcd3":   map[string]any{"hosts": n.p.bed.Etcd.Endpoints()},
		"bootstrap": map[string]any{
			"dcs":    dynamic,
			"initdb": []any{map[string]any{"encoding": "UTF8"}, map[string]any{"locale": "C.UTF-8"}, "data-checksums"},
		},
		"postgresql": map[string]any{
			"listen": n.sqlAddress, "connect_address": n.sqlAddress, "data_dir": n.data(), "bin_dir": binDir(),
			"authentication": map[string]any{"superuser": role(superuser), "replication": role("replicator"), "rewind": role("rewinder")},
			"parameters":     parameters,
			"pgpass":         filepath.Join(n.dir, "pgpass"),
			"pg_hba": []any{clientAccess, "local all all scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256",
				"host replication all 127.0.0.1/32 scram-sha-256"},
			"basebackup": []any{map[string]any{"checkpoint": "fast"}},
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.dir, "patroni.yml"), text, 0o644)
}

// binDir is where the newest PostgreSQL's programs are.
func binDir() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

func (n *patroniNode) start() error {
	log, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	n.command = exec.Command("patroni", filepath.Join(n.dir, "patroni.yml")) //nolint:noctx // ended by name
	n.command.Dir = n.dir
	n.command.Stdout, n.command.Stderr = log, log
	n.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: n.p.owner}
	if err := n.command.Start(); err != nil {
		return fmt.Errorf("start patroni: %w", err)
	}
	exited := make(chan struct{})
	n.exited = exited
	go func(c *exec.Cmd) {
		_ = c.Wait() // how it ended does not matter
		close(exited)
	}(n.command)
	return nil
}

func (n *patroniNode) running() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

func (n *patroniNode) signal(s syscall.Signal) error {
	if !n.running() {
		return fmt.Errorf("patroni of %s does not run", n.id)
	}
	return n.command.Process.Signal(s)
}

func (n *patroniNode) stop(limit time.Duration) error {
	if err := n.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.exited:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("patroni of %s still runs after %v", n.id, limit)
	}
}

// killAll freezes everything first, so that none reacts to the end of another.
func (n *patroniNode) killAll() error {
	for range 2 {
		signalAll(n.dir, syscall.SIGSTOP)
	}
	return testbed.Wait(context.Background(), 10*time.Second, "the end of "+n.id, func(context.Context) string { //nolint:usetesting // also when the test was broken off
		if left := signalAll(n.dir, syscall.SIGKILL); left > 0 {
			return fmt.Sprintf("%d processes", left)
		}
		return ""
	})
}

func (n *patroniNode) killPostmaster() error {
	pid, err := postmasterOf(n.data())
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

func (n *patroniNode) agentPIDs() []int {
	if !n.running() {
		return nil
	}
	return []int{n.command.Process.Pid}
}

func (n *patroniNode) hits() []hit {
	return []hit{
		{what: "agent frozen", frozen: true, do: func() error { return n.signal(syscall.SIGSTOP) }, undo: func() error { return n.signal(syscall.SIGCONT) }},
		{what: "agent killed", do: func() error { return n.signal(syscall.SIGKILL) }, undo: func() error { return nil }},
	}
}

func (n *patroniNode) wipe() error { return os.RemoveAll(n.data()) }
