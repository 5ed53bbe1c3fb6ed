package pgrwprom

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgkeeper/pgkeeper/pgrw"
)

// Metrics counts the events of one Cluster and describes its pools and topology.
type Metrics struct {
	routes, fallbacks, stale, retries, dropped   *prometheus.CounterVec
	changes, unknown, lost, foreign              prometheus.Counter
	waits, causal                                prometheus.Histogram
	failedWaits                                  prometheus.Counter
	age, lag, staleness, primary, up, open, busy *prometheus.Desc
	cluster                                      atomic.Pointer[pgrw.Cluster]
}

// New registers the metrics.
func New(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pgrw_" + name, Help: help}, labels)
	}
	plain := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "pgrw_" + name, Help: help})
	}
	histogram := func(name, help string, from float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pgrw_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(from, 3, 10)})
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("pgrw_"+name, help, labels, nil)
	}
	m := &Metrics{
		routes:      counter("route_total", "Statements and transactions by server and by why it got them (primary, replica, fallback).", "server", "reason"),
		fallbacks:   counter("fallback_total", "Reads that went to the primary for want of a replica, by reason (no_replica, stale, token).", "reason"),
		stale:       counter("stale_rejected_total", "Servers not used because of their state, by reason (lag, token, recovery, timeline).", "server", "reason"),
		retries:     counter("retry_total", "What was tried again, by class (not_started, conflict, lost, read).", "class"),
		dropped:     counter("dropped_connections_total", "Connections to former primaries that were closed.", "server"),
		changes:     plain("primary_changes_total", "Changes of the primary, and its absence."),
		unknown:     plain("commit_unknown_total", "Writes whose fate is not known."),
		lost:        plain("write_lost_total", "Tokens that named a write which a failover lost."),
		foreign:     plain("foreign_token_total", "Tokens of another cluster."),
		waits:       histogram("wait_seconds", "How long callers waited for a primary.", 0.005),
		causal:      histogram("causal_wait_seconds", "How long reads waited on a replica for their token.", 0.0001),
		failedWaits: plain("wait_failed_total", "Waits for a primary that were in vain."),
		age:         desc("topology_age_seconds", "For how long the source of the topology has not been heard.", "source"),
		lag:         desc("replica_lag_bytes", "WAL that a replica has not replayed, as last seen.", "server"),
		staleness:   desc("replica_staleness_seconds", "Everything committed longer ago is on the replica.", "server"),
		primary:     desc("primary", "1 for the server that writes go to.", "server"),
		up:          desc("server_up", "0 for a server that failed since it last answered.", "server"),
		open:        desc("pool_connections", "Connections of a pool.", "server", "purpose"),
		busy:        desc("pool_connections_in_use", "Connections of a pool that are in use.", "server", "purpose"),
	}
	for _, c := range []prometheus.Collector{m.routes, m.fallbacks, m.stale, m.retries, m.dropped, m.changes, m.unknown, m.lost, m.foreign, m.waits, m.causal, m.failedWaits, state{m}} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of pgrw: %w", err)
		}
	}
	return m, nil
}

// Watch has the gauges describe a Cluster.
func (m *Metrics) Watch(c *pgrw.Cluster) { m.cluster.Store(c) }

// Observe counts an event; it is for pgrw.WithObserver.
func (m *Metrics) Observe(e pgrw.Event) {
	switch e.Kind {
	case pgrw.EventRoute:
		m.routes.WithLabelValues(e.Server, e.Reason).Inc()
	case pgrw.EventFallback:
		m.fallbacks.WithLabelValues(e.Reason).Inc()
	case pgrw.EventStaleRejected:
		m.stale.WithLabelValues(e.Server, e.Reason).Inc()
	case pgrw.EventRetry:
		m.retries.WithLabelValues(e.Reason).Inc()
	case pgrw.EventDropped:
		m.dropped.WithLabelValues(e.Server).Add(float64(e.Count))
	case pgrw.EventPrimary:
		m.changes.Inc()
	case pgrw.EventCommitUnknown:
		m.unknown.Inc()
	case pgrw.EventWriteLost:
		m.lost.Inc()
	case pgrw.EventForeignToken:
		m.foreign.Inc()
	case pgrw.EventCausalWait:
		m.causal.Observe(e.Duration.Seconds())
	case pgrw.EventWait:
		m.waits.Observe(e.Duration.Seconds())
		if e.Err != nil {
			m.failedWaits.Inc()
		}
	}
}

// state describes what is now.
type state struct{ *Metrics }

// Describe lists the gauges.
func (s state) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.age, s.lag, s.staleness, s.primary, s.up, s.open, s.busy} {
		out <- d
	}
}

// Collect reads them.
func (s state) Collect(out chan<- prometheus.Metric) {
	c := s.cluster.Load()
	if c == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := c.Topology()
	gauge(s.age, now.Age.Seconds(), now.Source)
	for _, n := range now.Nodes {
		gauge(s.primary, one(n.Role == pgrw.RolePrimary), n.Address)
		gauge(s.up, one(n.Up), n.Address)
		if n.Role != pgrw.RoleReplica {
			continue
		}
		if n.Lag >= 0 {
			gauge(s.lag, float64(n.Lag), n.Address)
		}
		if n.Staleness >= 0 {
			gauge(s.staleness, n.Staleness.Seconds(), n.Address)
		}
	}
	for _, p := range c.Pools() {
		gauge(s.open, float64(p.TotalConns()), p.Server, p.Purpose)
		gauge(s.busy, float64(p.AcquiredConns()), p.Server, p.Purpose)
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
