package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// Options says how to reach etcd.
type Options struct {
	// Endpoints are host:port or URLs of etcd's client ports; at least one.
	Endpoints []string
	// TLS gives the settings of each new connection, so that renewed certificates
	// need no restart; nil for plain connections. Endpoints without a scheme use it.
	TLS func() *tls.Config
	// Username and Password are empty where etcd asks for none.
	Username, Password string
	// DialTimeout bounds the first login; 0 means 2 s.
	DialTimeout time.Duration
	// ResendAfter is how long a member of etcd may take before a request that
	// may be repeated is sent to another one as well; 0 means 300 ms.
	ResendAfter time.Duration
	// SilentAfter is how long a watch may say nothing, where that is not usual, before
	// another member is asked whether there was anything to say; 0 means 2 s.
	SilentAfter time.Duration
	// Now and Observe, when both are set, report every request with its
	// duration: range, txn, grant, keepalive or revoke. Now is also what Health
	// measures by.
	Now     func() cluster.Instant
	Observe func(op string, d time.Duration, err error)
	// Wall is the time of day, by which certificates end; without it Health does not
	// speak of their end, as it does not of durations without Now.
	Wall func() time.Time
	// Local reports whether an endpoint is on this machine; nil: by its address.
	Local func(endpoint string) bool
}

const (
	// pingEvery is the least gRPC clients may use; etcd refuses less than 5 s.
	pingEvery = 10 * time.Second
	// pingTimeout also bounds how long sent data may stay unacknowledged
	// (TCP_USER_TIMEOUT) before the connection counts as broken.
	pingTimeout = 1500 * time.Millisecond
	// window is how many bytes of answers may be under way: more than a cluster's whole
	// folder.
	window = 1 << 20
)

// KV is the client. It implements dcs.KV and is safe for concurrent use.
type KV struct {
	options Options
	config  clientv3.Config
	closed  context.Context
	close   context.CancelFunc

	mu      sync.Mutex
	client  *clientv3.Client
	keepers []*keeper // one for each endpoint
	terms   terms
	turns   turns
	health  *health
	// watches counts the watches that were begun.
	watches atomic.Int64
	// cluster is the id of the store that was read last.
	cluster atomic.Uint64
}

// New prepares a client. It does not wait for etcd: a store that is down, or
// credentials that are wrong, show as errors of the first request.
func New(o Options) (*KV, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("no etcd endpoint is given: set etcd3.hosts, such as 127.0.0.1:2379")
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 2 * time.Second
	}
	if o.ResendAfter == 0 {
		o.ResendAfter = 300 * time.Millisecond
	}
	if o.SilentAfter == 0 {
		o.SilentAfter = 2 * time.Second
	}
	closed, cancel := context.WithCancel(context.Background())
	k := &KV{options: o, closed: closed, close: cancel, health: newHealth()}
	k.terms.elected = func(known, term uint64) { k.health.newTerm(k.now(), known, term) }
	k.config = clientv3.Config{
		Context: closed, Endpoints: withScheme(o.Endpoints, o.TLS != nil),
		Username: o.Username, Password: o.Password, DialTimeout: o.DialTimeout,
		DialKeepAliveTime: pingEvery, DialKeepAliveTimeout: pingTimeout,
		// Our own resending knows better which requests may be repeated; two
		// tries leave room for a new login after a token expired.
		MaxUnaryRetries: 2,
		// The logger of a context-only client is the silent one.
		Logger: clientv3.NewCtxClient(closed).GetLogger(),
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(reconnect()),
			// A window of its own choice would be measured, with a ping for nearly every answer.
			grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
			grpc.WithChainUnaryInterceptor(unsentUnary), grpc.WithChainStreamInterceptor(elsewhere, unsentStream),
		},
	}
	for _, endpoint := range k.config.Endpoints {
		k.keepers = append(k.keepers, &keeper{endpoint: endpoint, turn: make(chan struct{}, 1)})
	}
	k.turns.keepers = k.keepers
	for i, place := range rand.Perm(len(k.keepers)) { // not all clients at the same member
		k.keepers[i].seen.asked = -place
	}
	if o.TLS != nil {
		k.config.TLS = o.TLS()
		k.config.DialOptions = append(k.config.DialOptions, grpc.WithTransportCredentials(fresh{k.config.TLS, o.TLS}))
	}
	if o.Username == "" {
		if _, err := k.connect(); err != nil {
			cancel()
			return nil, err
		}
	}
	return k, nil
}

// reconnect tries a member that went away again within a second: gRPC's own
// backoff grows to two minutes, during which a healed etcd would go unnoticed. An
// attempt may take as long as a resolver whose first server is dead (5 s) and a
// handshake after it.
func reconnect() grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: 7 * time.Second,
	}
}

func withScheme(endpoints []string, secure bool) []string {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	urls := make([]string, len(endpoints))
	for i, e := range endpoints {
		if urls[i] = e; !strings.Contains(e, "://") {
			urls[i] = scheme + e
		}
	}
	return urls
}

// connect makes the client once. With a user name clientv3 logs in at once and
// fails while etcd is down, so it is made by the first request that succeeds.
func (k *KV) connect() (*clientv3.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client != nil {
		return k.client, nil
	}
	if k.closed.Err() != nil {
		return nil, fmt.Errorf("the client is closed: %w", dcs.ErrUnavailable)
	}
	client, err := clientv3.New(k.config)
	if err != nil {
		return nil, k.read("connect", err)
	}
	k.client = client
	return client, nil
}

// with gives the client, waiting for a login no longer than ctx.
func (k *KV) with(ctx context.Context) (*clientv3.Client, error) {
	if k.options.Username == "" {
		return k.connect()
	}
	type made struct {
		client *clientv3.Client
		err    error
	}
	done := make(chan made, 1)
	go func() {
		c, err := k.connect()
		done <- made{c, err}
	}()
	select {
	case m := <-done:
		return m.client, m.err
	case <-ctx.Done():
		return nil, fmt.Errorf("log in to etcd at %s: %w: %w", strings.Join(k.options.Endpoints, ", "), dcs.ErrUnavailable, ctx.Err())
	}
}

// Close implements dcs.KV.
func (k *KV) Close() error {
	k.close()
	var err error
	for _, keeper := range k.keepers {
		err = errors.Join(err, keeper.close())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client != nil {
		err = errors.Join(err, k.client.Close())
		k.client = nil
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the etcd client: %w", err)
	}
	return nil
}

// observe reports one request when it ends: defer k.observe("txn", &err)().
func (k *KV) observe(op string, err *error) func() {
	if k.options.Now == nil {
		return func() {}
	}
	began := k.options.Now()
	return func() {
		ended := k.options.Now()
		k.health.ended(op, ended, ended.Sub(began), *err)
		if k.options.Observe != nil {
			k.options.Observe(op, ended.Sub(began), *err)
		}
	}
}
