package agent

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgkeeper/pgkeeper/guard"
)

// The families of the gate. It counts in the memory it shares with its guard, which is
// asked when they are scraped; they begin anew with the guard.
var (
	gateDelayFamily    = family{"pgkeeper_gate_confirmation_delay_seconds", "Time from the server's sending of WAL to its confirmation by the gate (`commit_gate`).", nil, guard.FirstDelay.Seconds(), guard.DelayBuckets - 1}
	gateWithheldFamily = family{"pgkeeper_gate_withheld_total", "Confirmations that the gate did not give, because the lease was over or the clocks had jumped.", nil, 0, 0}
	gateStartsFamily   = family{"pgkeeper_gate_starts_total", "Starts of the gate.", nil, 0, 0}
)

// scrapeLimit bounds the question to the guard.
const scrapeLimit = 200 * time.Millisecond

// gateMetrics reads what the guard knows of its gate at scrape time.
type gateMetrics struct {
	labels prometheus.Labels
	// status is the guard's; nil without a gate.
	status func(ctx context.Context) *guard.GateStatus
}

// Describe sends nothing: what is collected is checked then.
func (m *gateMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect asks the guard.
func (m *gateMetrics) Collect(out chan<- prometheus.Metric) {
	if m.status == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	st := m.status(ctx)
	if st == nil {
		return
	}
	desc := func(f family) *prometheus.Desc { return prometheus.NewDesc(f.name, f.help, nil, m.labels) }
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, limit := 0, guard.FirstDelay; i < gateDelayFamily.buckets; i, limit = i+1, 2*limit {
		sum += st.Report.Delays[i]
		buckets[limit.Seconds()] = sum
	}
	sum += st.Report.Delays[guard.DelayBuckets-1]
	out <- prometheus.MustNewConstHistogram(desc(gateDelayFamily), sum, st.Report.DelaySum.Seconds(), buckets)
	out <- prometheus.MustNewConstMetric(desc(gateWithheldFamily), prometheus.CounterValue, float64(st.Report.Withheld))
	out <- prometheus.MustNewConstMetric(desc(gateStartsFamily), prometheus.CounterValue, float64(st.Starts))
}

// gateStatus is what the guard knows of its gate; nil when it has none, or is not there.
func (n *Node) gateStatus(ctx context.Context) *guard.GateStatus {
	g := n.link.Guard()
	if g == nil {
		return nil
	}
	st, err := g.Status(ctx)
	if err != nil {
		return nil
	}
	return st.Gate
}
