package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgkeeper/pgkeeper/dcs/embedded"
	"github.com/pgkeeper/pgkeeper/demo/freeport"
)

// etcdStart bounds the start of the whole etcd cluster.
const etcdStart = 60 * time.Second

// EtcdMember is one etcd server.
type EtcdMember interface {
	// Start runs it, again if it ran before, and waits until it answers or ctx ends.
	Start(ctx context.Context) error
	// Stop ends it in order, where it can.
	Stop()
	// Kill ends it without any chance to say goodbye, where it can.
	Kill()
}

// Etcd is the store of one cluster.
type Etcd struct {
	Members []EtcdMember
	dir     string
	client  []string // host:port, in the members' order
}

// Endpoints are the members' client addresses, host:port, not passing any relay.
func (e *Etcd) Endpoints() []string { return e.client }

// Dir is where the members keep their data, one folder each: etcd1, ...
func (e *Etcd) Dir() string { return e.dir }

func startEtcd(ctx context.Context, dir string, o Options) (*Etcd, error) {
	e := &Etcd{dir: dir}
	all, err := freeport.Find(2 * o.EtcdMembers)
	if err != nil {
		return nil, err
	}
	peers := map[string]string{}
	for i := range o.EtcdMembers {
		peers[etcdName(i)] = "http://" + o.host(etcdName(i)).address(all[2*i])
	}
	for i := range o.EtcdMembers {
		e.client = append(e.client, o.host(etcdName(i)).address(all[2*i+1]))
		member := embedded.Options{Dir: filepath.Join(dir, etcdName(i)), Name: etcdName(i),
			PeerURL: peers[etcdName(i)], ClientURL: "http://" + e.client[i], Members: peers, UnsafeNoFsync: !o.Fsync, QuotaBytes: o.EtcdQuota}
		m, err := newMember(member, &o)
		if err != nil {
			return nil, err
		}
		e.Members = append(e.Members, m)
	}
	return e, e.Start(ctx)
}

func newMember(o embedded.Options, all *Options) (EtcdMember, error) {
	if all.EtcdBinary {
		if err := os.Mkdir(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make etcd's folder: %w", err)
		}
		return &etcdProcess{o: o, host: all.host(o.Name)}, all.prepare(o.Name, o.Dir)
	}
	m, err := embedded.New(o)
	return embeddedMember{m}, err
}

// Start starts all members at once: they wait for each other.
func (e *Etcd) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, etcdStart)
	defer cancel()
	errs := make(chan error, len(e.Members))
	for _, m := range e.Members {
		go func() { errs <- m.Start(ctx) }()
	}
	var all error
	for range e.Members {
		all = errors.Join(all, <-errs)
	}
	return all
}

// Stop stops all members in order, at once.
func (e *Etcd) Stop() {
	done := make(chan struct{}, len(e.Members))
	for _, m := range e.Members {
		go func() { m.Stop(); done <- struct{}{} }()
	}
	for range e.Members {
		<-done
	}
}

// Client is a client of the whole cluster, for what a test does to the store.
func (e *Etcd) Client(ctx context.Context) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Context: ctx, Endpoints: e.client, DialTimeout: 2 * time.Second})
}

// Leader is the index of the member that leads.
func (e *Etcd) Leader(ctx context.Context) (int, error) {
	c, err := e.Client(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	leader, term := -1, uint64(0)
	for i, endpoint := range e.client {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		status, err := c.Status(ctx, endpoint)
		cancel()
		// One that hangs goes on believing that it leads: the newest term tells.
		if err == nil && status.Header.MemberId == status.Leader && status.RaftTerm > term {
			leader, term = i, status.RaftTerm
		}
	}
	if leader < 0 {
		return 0, errors.New("no etcd member leads")
	}
	return leader, nil
}

func etcdName(i int) string { return "etcd" + strconv.Itoa(i+1) }

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// embeddedMember is a server in this process; killing it is stopping it.
type embeddedMember struct{ *embedded.Member }

func (m embeddedMember) Stop() { m.Close() }
func (m embeddedMember) Kill() { m.Close() }

// etcdProcess is the distribution's server.
type etcdProcess struct {
	o       embedded.Options
	host    Host
	process *os.Process
	exited  chan struct{}
}

// ErrNoEtcd says that the distribution's etcd server is not installed.
var ErrNoEtcd = errors.New("etcd is not installed: script/install-deps test installs it")

// Start runs the server; it dies with the thread's process that started it.
func (m *etcdProcess) Start(ctx context.Context) error {
	program, err := exec.LookPath("etcd")
	if err != nil {
		return ErrNoEtcd
	}
	var initial []string
	for name, url := range m.o.Members {
		initial = append(initial, name+"="+url)
	}
	log, err := os.OpenFile(m.o.Dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open etcd's log: %w", err)
	}
	defer log.Close()
	cmd := m.host.command(program, "--name", m.o.Name, "--data-dir", filepath.Join(m.o.Dir, "data"),
		"--listen-client-urls", m.o.ClientURL, "--advertise-client-urls", m.o.ClientURL,
		"--listen-peer-urls", m.o.PeerURL, "--initial-advertise-peer-urls", m.o.PeerURL,
		"--initial-cluster", strings.Join(initial, ","), "--logger", "zap", "--log-level", "warn", "--quota-backend-bytes", strconv.FormatInt(m.o.QuotaBytes, 10))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	m.exited = make(chan struct{})
	go runLocked(cmd, started, m.exited)
	if err := <-started; err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	m.process = cmd.Process
	return Wait(ctx, etcdStart, "etcd "+m.o.Name+" to answer", m.healthy)
}

func (m *etcdProcess) healthy(ctx context.Context) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.o.ClientURL+"/health", nil)
	if err != nil {
		return err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return response.Status
	}
	return ""
}

// MemberRuns reports whether a member that is a process was started and not ended
// by Stop or Kill since.
func MemberRuns(m EtcdMember) bool {
	p, isProcess := m.(*etcdProcess)
	return !isProcess || p.process != nil
}

// Stop sends SIGTERM and waits.
func (m *etcdProcess) Stop() { m.signal(syscall.SIGTERM) }

// Kill sends SIGKILL and waits.
func (m *etcdProcess) Kill() { m.signal(syscall.SIGKILL) }

func (m *etcdProcess) signal(s syscall.Signal) {
	if m.process == nil {
		return
	}
	_ = m.process.Signal(s) // it may have ended
	select {
	case <-m.exited:
	case <-time.After(20 * time.Second):
		_ = m.process.Kill()
		<-m.exited
	}
	m.process = nil
}
