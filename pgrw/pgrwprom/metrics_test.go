package pgrwprom

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgkeeper/pgkeeper/pgrw"
)

func TestEveryEventIsCounted(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	m, err := New(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []pgrw.Event{
		{Kind: pgrw.EventRoute, Server: "a:1", Reason: "replica"},
		{Kind: pgrw.EventFallback, Reason: "token"},
		{Kind: pgrw.EventWait, Duration: time.Second, Err: pgrw.ErrNoPrimary},
		{Kind: pgrw.EventCausalWait, Duration: time.Millisecond},
		{Kind: pgrw.EventStaleRejected, Server: "a:1", Reason: "lag"},
		{Kind: pgrw.EventRetry, Reason: "lost"},
		{Kind: pgrw.EventCommitUnknown},
		{Kind: pgrw.EventWriteLost},
		{Kind: pgrw.EventForeignToken},
		{Kind: pgrw.EventPrimary, Server: "a:1"},
		{Kind: pgrw.EventDropped, Server: "a:1", Count: 3},
	} {
		m.Observe(e)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			counted[f.GetName()] += one.GetCounter().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"route_total": 1, "fallback_total": 1, "wait_seconds": 1, "wait_failed_total": 1, "causal_wait_seconds": 1, "stale_rejected_total": 1, "retry_total": 1,
		"commit_unknown_total": 1, "write_lost_total": 1, "foreign_token_total": 1, "primary_changes_total": 1, "dropped_connections_total": 3,
	} {
		if got := counted["pgrw_"+name]; got != want {
			t.Errorf("pgrw_%s is %v, want %v", name, got, want)
		}
	}
	if _, err := New(r); err == nil || !strings.Contains(err.Error(), "register") {
		t.Errorf("a second set of metrics in one registry: %v", err)
	}
}
