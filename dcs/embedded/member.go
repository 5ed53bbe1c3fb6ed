package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Options configure one member. The zero value of each but Dir is usable.
type Options struct {
	// Dir is where the member keeps its data; it is created.
	Dir string
	// Name defaults to "etcd".
	Name string
	// ClientURL and PeerURL default to free ports on 127.0.0.1.
	ClientURL, PeerURL string
	// Members are the peer URLs of all members by name, this one included.
	// Empty means a single member.
	Members map[string]string
	// ElectionMs is etcd's election timeout in milliseconds, heartbeats are a
	// tenth of it. Defaults: 500 for a single member, which has nobody to wait
	// for, 1000 (etcd's own) for several. The shortest lease etcd grants is
	// 1.5 times this, rounded up to a second.
	ElectionMs uint
	// QuotaBytes bounds the database; 0 means 256 MiB.
	QuotaBytes int64
	// CompactAfter is how much history is kept, as a duration ("5m", the
	// default).
	CompactAfter string
	// LogFile receives etcd's warnings; empty means nowhere.
	LogFile string
	// UnsafeNoFsync trades durability for speed. Only for tests.
	UnsafeNoFsync bool
	// BcryptCost is how dear a login is; 0 means etcd's default of 10, which
	// takes seconds under the race detector. Lower it only in tests.
	BcryptCost uint
}

// Member is one etcd server in this process.
type Member struct {
	options Options

	mu   sync.Mutex
	etcd *embed.Etcd
	// dying ends the streams of clients, for which an orderly stop would wait.
	dying context.CancelFunc
}

// New completes the options; nothing runs yet.
func New(o Options) (*Member, error) {
	if o.Dir == "" {
		return nil, errors.New("embedded etcd: no data directory is given")
	}
	if o.Name == "" {
		o.Name = "etcd"
	}
	if err := freeURLs(&o.ClientURL, &o.PeerURL); err != nil {
		return nil, err
	}
	if len(o.Members) == 0 {
		o.Members = map[string]string{o.Name: o.PeerURL}
	}
	if o.ElectionMs == 0 && len(o.Members) == 1 {
		o.ElectionMs = 500
	}
	if o.ElectionMs == 0 {
		o.ElectionMs = 1000
	}
	if o.QuotaBytes == 0 {
		o.QuotaBytes = 256 << 20
	}
	if o.CompactAfter == "" {
		o.CompactAfter = "5m"
	}
	return &Member{options: o}, nil
}

// freeURLs gives every empty URL a free port. The ports are held until all are
// found, so that they differ; between here and the start somebody else can still
// take one, which the start then reports.
func freeURLs(urls ...*string) error {
	for _, u := range urls {
		if *u != "" {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("embedded etcd: find a free port: %w", err)
		}
		defer l.Close()
		*u = "http://" + l.Addr().String()
	}
	return nil
}

// Name is the member's name.
func (m *Member) Name() string { return m.options.Name }

// ClientURL is where clients reach it.
func (m *Member) ClientURL() string { return m.options.ClientURL }

// PeerURL is where the other members reach it.
func (m *Member) PeerURL() string { return m.options.PeerURL }

func (m *Member) config(ctx context.Context) (*embed.Config, error) {
	o, cfg := m.options, embed.NewConfig()
	client, err := url.Parse(o.ClientURL)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: client URL: %w", err)
	}
	peer, err := url.Parse(o.PeerURL)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: peer URL: %w", err)
	}
	cfg.Name, cfg.Dir = o.Name, o.Dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.InitialCluster = initialCluster(o.Members)
	cfg.ElectionMs, cfg.TickMs = o.ElectionMs, max(1, o.ElectionMs/10)
	cfg.QuotaBackendBytes = o.QuotaBytes
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, o.CompactAfter
	cfg.UnsafeNoFsync = o.UnsafeNoFsync
	if o.BcryptCost > 0 {
		cfg.BcryptCost = o.BcryptCost
	}
	cfg.LogLevel, cfg.LogOutputs = "panic", []string{"/dev/null"}
	if o.LogFile != "" {
		cfg.LogLevel, cfg.LogOutputs = "warn", []string{o.LogFile}
	}
	cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(endStreamsWith(ctx))}
	return cfg, nil
}

func initialCluster(members map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		parts = append(parts, name+"="+members[name])
	}
	return strings.Join(parts, ",")
}

// Start runs the member until Close and waits until it answers, which for a
// member of several takes a majority of them. It may be started again after
// Close, on the same data and ports.
func (m *Member) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.etcd != nil {
		return errors.New("embedded etcd: already started")
	}
	alive, dying := context.WithCancel(context.Background())
	cfg, err := m.config(alive)
	if err != nil {
		dying()
		return err
	}
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		dying()
		return fmt.Errorf("start embedded etcd %s on %s in %s: %w", m.options.Name, m.options.ClientURL, m.options.Dir, err)
	}
	if err := ready(ctx, etcd); err != nil {
		dying()
		etcd.Close()
		return fmt.Errorf("start embedded etcd %s on %s: %w", m.options.Name, m.options.ClientURL, err)
	}
	m.etcd, m.dying = etcd, dying
	return nil
}

func ready(ctx context.Context, etcd *embed.Etcd) error {
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case <-etcd.Server.StopNotify():
		return errors.New("it stopped by itself")
	case err := <-etcd.Err():
		return err
	case <-ctx.Done():
		return fmt.Errorf("not ready in time: %w", ctx.Err())
	}
}

// Running reports whether the member is started.
func (m *Member) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.etcd != nil
}

// Leading reports whether this member believes that it leads the etcd cluster.
func (m *Member) Leading() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.etcd != nil && m.etcd.Server.Leader() == m.etcd.Server.MemberID()
}

// Close stops the member in order and keeps its data. Closing twice is harmless.
func (m *Member) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.etcd == nil {
		return
	}
	m.dying()
	m.etcd.Close()
	m.etcd = nil
}
