package agent

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// metrics listens to the loop. Gauges are read from the newest status when they
// are scraped; counters follow the steps.
type metrics struct {
	registry *prometheus.Registry
	status   func() *cluster.Status
	gate     *gateMetrics

	store     *prometheus.HistogramVec
	decisions *prometheus.CounterVec
	renewals  *prometheus.CounterVec
	steps     *prometheus.CounterVec
	phases    *prometheus.HistogramVec
	spent     *prometheus.HistogramVec

	// what the last step showed, to see what changed
	reason  cluster.Reason
	since   cluster.Instant // of reason
	term    cluster.Term
	renewed cluster.Instant
	tenure  tenure
}

// tenure is the way from a free lease to a primary.
type tenure struct {
	began    cluster.Instant // the term was taken
	vacantAt cluster.Instant // the last holder was seen gone
}

// family is one metric that counts or observes; gauges stand in gaugeTable.
type family struct {
	name, help string
	labels     []string
	// buckets makes it a histogram: first bucket, factor 2, so many.
	first   float64
	buckets int
}

// The families beside the gauges; docs/metrics.md is made of both.
var (
	storeFamily    = family{"pgkeeper_dcs_request_duration_seconds", "Duration of requests to the store, by operation and outcome.", []string{"op", "outcome"}, 0.0005, 14}
	decisionFamily = family{"pgkeeper_decisions_total", "Decisions that changed the reason, by the new reason.", []string{"reason"}, 0, 0}
	renewalFamily  = family{"pgkeeper_lease_renewals_total", "Renewals of the leader lease that counted.", nil, 0, 0}
	stepFamily     = family{"pgkeeper_steps_total", "Steps of the loop.", nil, 0, 0}
	takeoverFamily = family{"pgkeeper_takeover_duration_seconds", "Duration of the phases of becoming primary: vacancy (no holder until the lease was taken), promotion (lease taken until writable).", []string{"phase"}, 0.005, 14}
	phaseFamily    = family{"pgkeeper_phase_duration_seconds", "Time spent in the phases of a switchover, failover or rejoin, named by their reason.", []string{"phase"}, 0.002, 16}
)

func (f family) counter(labels prometheus.Labels) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.name, Help: f.help, ConstLabels: labels}, f.labels)
}

func (f family) histogram(labels prometheus.Labels) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.name, Help: f.help, ConstLabels: labels,
		Buckets: prometheus.ExponentialBuckets(f.first, 2, f.buckets)}, f.labels)
}

func newMetrics(scope, name string) *metrics {
	labels := prometheus.Labels{"scope": scope, "name": name}
	m := &metrics{registry: prometheus.NewRegistry(), status: func() *cluster.Status { return nil }, gate: &gateMetrics{labels: labels},
		store: storeFamily.histogram(labels), decisions: decisionFamily.counter(labels), renewals: renewalFamily.counter(labels),
		steps: stepFamily.counter(labels), phases: takeoverFamily.histogram(labels), spent: phaseFamily.histogram(labels)}
	m.registry.MustRegister(m.store, m.decisions, m.renewals, m.steps, m.phases, m.spent, &gauges{metrics: m, labels: labels}, m.gate)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// observeStore is told of every request to the store.
func (m *metrics) observeStore(op string, d time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m.store.WithLabelValues(op, outcome).Observe(d.Seconds())
}

// step is told of every step, by the loop's goroutine.
func (m *metrics) step(s *cluster.Status) {
	m.steps.WithLabelValues().Inc()
	if s.Reason != m.reason {
		if timedPhases[m.reason] {
			m.spent.WithLabelValues(string(m.reason)).Observe(s.LoopAt.Sub(m.since).Seconds())
		}
		m.reason, m.since = s.Reason, s.LoopAt
		m.decisions.WithLabelValues(string(s.Reason)).Inc()
	}
	if s.Term != 0 && s.LeaseUntil != m.renewed {
		m.renewed = s.LeaseUntil
		m.renewals.WithLabelValues().Inc()
	}
	m.followTenure(s)
}

// timedPhases are the reasons whose duration operators ask about.
var timedPhases = map[cluster.Reason]bool{
	election.ReasonSwitchoverPreparing: true, election.ReasonSwitchoverHolding: true, election.ReasonSwitchoverStopping: true, election.ReasonSwitchoverConfirm: true,
	election.ReasonHandingOver: true, election.ReasonAcceptingHandover: true, election.ReasonCandidatePreparing: true,
	election.ReasonCollecting: true, election.ReasonAcquiring: true, election.ReasonReserving: true,
	"running_stop": true, "running_promote": true, "running_start": true, "running_rejoin": true, "running_clone": true,
}

func (m *metrics) followTenure(s *cluster.Status) {
	v := s.View.Value
	switch {
	case s.Term == 0 && !s.View.At.Never() && v.Leader == nil && m.tenure.vacantAt.Never():
		m.tenure.vacantAt = s.LoopAt
	case s.Term == 0 && v.Leader != nil:
		m.tenure.vacantAt = 0
	case s.Term != 0 && m.term == 0:
		m.tenure.began = s.LoopAt
		if !m.tenure.vacantAt.Never() {
			m.phases.WithLabelValues("vacancy").Observe(s.LoopAt.Sub(m.tenure.vacantAt).Seconds())
		}
	}
	if s.Term != 0 && !m.tenure.began.Never() && s.Node.Good() && s.Node.Value.Mode == cluster.ModePrimary {
		m.phases.WithLabelValues("promotion").Observe(s.LoopAt.Sub(m.tenure.began).Seconds())
		m.tenure = tenure{}
	}
	m.term = s.Term
}

// gauge is one value read from the status at the moment of scraping.
type gauge struct {
	name, help string
	value      func(s *cluster.Status, now cluster.Instant) float64
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var gaugeTable = []gauge{
	{"pgkeeper_primary", "1 while the lease is provably valid and the server accepts writes.",
		func(s *cluster.Status, now cluster.Instant) float64 { return boolean(s.Writable(now)) }},
	{"pgkeeper_replica", "1 while the server is a running standby.",
		func(s *cluster.Status, _ cluster.Instant) float64 {
			return boolean(s.Node.Good() && s.Node.Value.Mode == cluster.ModeStandby)
		}},
	{"pgkeeper_streaming", "1 while the standby streams from its upstream.",
		func(s *cluster.Status, _ cluster.Instant) float64 {
			r := s.Node.Value.Receiver
			return boolean(r != nil && r.Status == "streaming")
		}},
	{"pgkeeper_postgres_running", "1 while the server answers queries.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return boolean(s.Node.Value.Mode.Running()) }},
	{"pgkeeper_postgres_state", "State as Patroni's patroni_postgres_state numbers it.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return float64(cluster.StateIndex(s.State)) }},
	{"pgkeeper_postgres_timeline", "Timeline of the server.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return float64(s.Node.Value.Timeline) }},
	{"pgkeeper_postgres_server_version", "server_version_num.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return float64(s.Node.Value.ServerVersion) }},
	{"pgkeeper_wal_flush_bytes", "Flush position of a primary.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return float64(s.Node.Value.WriteLSN) }},
	{"pgkeeper_wal_received_bytes", "Received position of a standby.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return float64(s.Node.Value.ReceiveLSN) }},
	{"pgkeeper_wal_replayed_bytes", "Replayed position of a standby.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return float64(s.Node.Value.ReplayLSN) }},
	{"pgkeeper_replication_lag_bytes", "How far a standby's replay lies behind the newest position it knows of the primary.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return float64(lagOf(s)) }},
	{"pgkeeper_lease_remaining_seconds", "Time until the guard stops a writable server unless the lease is renewed; 0 without a term.",
		func(s *cluster.Status, now cluster.Instant) float64 {
			if s.Term == 0 {
				return 0
			}
			return max(0, s.LeaseUntil.Sub(now).Seconds())
		}},
	{"pgkeeper_term", "Term held; 0 for none.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return float64(s.Term) }},
	{"pgkeeper_paused", "1 while the cluster is paused.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return boolean(s.Settings.Pause) }},
	{"pgkeeper_cluster_unlocked", "1 while nobody holds the leader key.",
		func(s *cluster.Status, _ cluster.Instant) float64 {
			return boolean(!s.View.At.Never() && s.View.Value.Leader == nil)
		}},
	{"pgkeeper_pending_restart", "1 while a changed parameter waits for a restart.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return boolean(len(s.PendingRestart) > 0) }},
	{"pgkeeper_gate_connected", "1 while the primary's commits are confirmed by its gate; 0 while they wait for one, and without commit_gate.",
		func(s *cluster.Status, _ cluster.Instant) float64 {
			return boolean(s.Node.Good() && s.Node.Value.Gate == cluster.GateConnected)
		}},
	{"pgkeeper_sick", "1 while the server or its disks fail the probes, and for a minute after the lease was given up for that: the member is no candidate.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return boolean(s.Sick != "") }},
	{"pgkeeper_look_seconds", "How long the last look at the server took that succeeded; past a third of ttl, or retry_timeout, none does, and the lease is not renewed.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return s.LookTook.Seconds() }},
	{"pgkeeper_watchdog_armed", "1 while the kernel watchdog would reset this machine if the agent hung.",
		func(s *cluster.Status, _ cluster.Instant) float64 {
			return boolean(s.Watchdog.State == cluster.WatchdogArmed)
		}},
	{"pgkeeper_failsafe_active", "1 while the primary goes on by its members' promises because etcd cannot be written.",
		func(s *cluster.Status, now cluster.Instant) float64 { return boolean(s.Failsafe && s.Holds(now)) }},
	{"pgkeeper_failsafe_promised", "1 while this member has promised a primary without etcd not to replace it.",
		func(s *cluster.Status, now cluster.Instant) float64 { return boolean(now < s.Pledged) }},
	{"pgkeeper_dcs_reachable", "1 while the newest look at the store succeeded.",
		func(s *cluster.Status, _ cluster.Instant) float64 { return boolean(s.View.Good()) }},
	{"pgkeeper_loop_age_seconds", "Time since the loop last stepped.",
		func(s *cluster.Status, now cluster.Instant) float64 { return now.Sub(s.LoopAt).Seconds() }},
}

// lagOf is how far a standby's replay lies behind what it knows of the primary.
func lagOf(s *cluster.Status) uint64 {
	node := s.Node.Value
	if node.Mode != cluster.ModeStandby {
		return 0
	}
	newest := node.ReceiveLSN
	if node.Receiver != nil {
		newest = max(newest, node.Receiver.Latest)
	}
	if p := s.View.Value.Status; p != nil {
		newest = max(newest, p.Optime)
	}
	return node.ReplayLSN.Behind(newest)
}

// gauges reads the table at scrape time.
type gauges struct {
	metrics *metrics
	labels  prometheus.Labels
}

// Describe sends nothing: the table is checked as it is collected.
func (g *gauges) Describe(chan<- *prometheus.Desc) {}

// Collect reads every gauge from one status.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	s := g.metrics.status()
	if s == nil {
		return
	}
	now := clock.Now()
	for _, row := range gaugeTable {
		desc := prometheus.NewDesc(row.name, row.help, nil, g.labels)
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, row.value(s, now))
	}
	g.collectReported(out, s)
}
