package pgrw

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// settings are what options choose.
type settings struct {
	maxWait       time.Duration
	probeInterval time.Duration
	pollInterval  time.Duration
	conflicts     int
	balancer      Balancer
	observer      func(Event)
	logger        *slog.Logger
	http          *http.Client
	pool          func(*pgxpool.Config)
}

// direct asks agents without the proxy that the environment may name: they are as near as
// the servers, which are reached without one.
var direct = &http.Client{Transport: &http.Transport{
	Proxy: nil, ForceAttemptHTTP2: true, TLSHandshakeTimeout: agentLimit, IdleConnTimeout: time.Minute,
}}

func defaults() settings {
	return settings{
		maxWait: 15 * time.Second, probeInterval: 500 * time.Millisecond, pollInterval: time.Second,
		conflicts: 10, balancer: PowerOfTwo(), observer: func(Event) {}, logger: slog.New(slog.DiscardHandler),
		http: direct, pool: func(*pgxpool.Config) {},
	}
}

// Option changes a default of Open.
type Option func(*settings)

// WithMaxWait bounds how long a statement or a transaction's begin waits for a primary
// (and a read for any server) when there is none: 15 s by default. A context's deadline
// counts too.
func WithMaxWait(d time.Duration) Option { return func(s *settings) { s.maxWait = d } }

// WithProbeInterval is how often each server is asked, over one connection kept for
// that, what it is and how far it has replayed: 500 ms by default. MaxLagTime is known
// no finer than that.
func WithProbeInterval(d time.Duration) Option {
	return func(s *settings) { s.probeInterval = max(d, time.Millisecond) }
}

// WithPollInterval is how often an agent that has no events is asked for the cluster:
// 1 s by default, and at once when a server fails.
func WithPollInterval(d time.Duration) Option {
	return func(s *settings) { s.pollInterval = max(d, time.Millisecond) }
}

// WithMaxConflicts bounds how often InTx tries again after serialization failures and
// deadlocks: 10 by default.
func WithMaxConflicts(n int) Option { return func(s *settings) { s.conflicts = n } }

// WithBalancer chooses among replicas where a handle does not say otherwise.
func WithBalancer(b Balancer) Option { return func(s *settings) { s.balancer = b } }

// WithObserver has a function hear of every event, from the goroutine it happens in:
// it must be quick, safe for many at once, and ask the Cluster nothing.
func WithObserver(f func(Event)) Option { return func(s *settings) { s.observer = f } }

// WithLogger logs changes of the topology. Nothing is logged by default.
func WithLogger(l *slog.Logger) Option { return func(s *settings) { s.logger = l } }

// WithHTTPClient asks the agents, for TLS and authentication of your own. It must have
// no Timeout: events are an answer without an end. The default goes by no HTTP_PROXY.
func WithHTTPClient(c *http.Client) Option { return func(s *settings) { s.http = c } }

// WithPool changes the configuration of the connection pools: each server has one for
// writes and one for reads, with the limits of the DSN (pool_max_conns and so on) each.
// Hooks that are set here run too: BeforeConnect also for the connection that asks a
// server what it is and for those of SQL, AfterConnect also for the latter. It is called
// for each of those connections anew, by many goroutines at once.
func WithPool(f func(*pgxpool.Config)) Option { return func(s *settings) { s.pool = f } }
