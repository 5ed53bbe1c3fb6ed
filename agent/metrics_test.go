package agent

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

var update = flag.Bool("update", false, "write golden files")

const metricsPage = "../docs/metrics.md"

func TestTheMetricsPageSaysWhatTheCodeHas(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Metrics\n\nAt `/metrics` of every agent, each with the labels `scope` and `name`. This page is made from the code by `go test ./agent -update`.\n\n" +
		"| metric | kind | more labels | meaning |\n|---|---|---|---|\n")
	for _, g := range gaugeTable {
		fmt.Fprintf(&b, "| `%s` | gauge | | %s |\n", g.name, g.help)
	}
	for _, f := range []family{decisionFamily, renewalFamily, stepFamily, storeFamily, takeoverFamily, phaseFamily, gateDelayFamily, gateWithheldFamily, gateStartsFamily} {
		kind, labels := "counter", ""
		if f.buckets > 0 {
			kind = "histogram"
		}
		for _, l := range f.labels {
			labels += " `" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s |%s | %s |\n", f.name, kind, labels, f.help)
	}
	for _, r := range reportedTable {
		kind, label := "gauge", ""
		if r.counter {
			kind = "counter"
		}
		if r.label != "" {
			label = " `" + r.label + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s |%s | %s |\n", r.name, kind, label, r.help)
	}
	b.WriteString("\nReasons and phases are explained in [operations.md](operations.md).\n")
	if *update {
		if err := os.WriteFile(metricsPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(page)); diff != "" {
		t.Errorf("%s is out of date, run go test ./agent -update (-want +got):\n%s", metricsPage, diff)
	}
}

func TestAScrapeShowsALeadingMember(t *testing.T) {
	r := newRig(t)
	r.primary()
	m := newMetrics("s", "pg1")
	status := r.loop.Status(0)
	status.Node.Value.Slots = []cluster.Slot{{Name: "pg2", Type: "physical", Restart: status.Node.Value.WriteLSN - 16}, {Name: "unused", Type: "physical"}}
	m.status = func() *cluster.Status { return status }
	m.gate.status = func(context.Context) *guard.GateStatus {
		st := &guard.GateStatus{Starts: 2, Report: guard.GateReport{Withheld: 3, DelaySum: time.Second}}
		st.Report.Delays[0], st.Report.Delays[1], st.Report.Delays[guard.DelayBuckets-1] = 5, 2, 1
		return st
	}
	m.step(status)
	m.observeStore("txn", time.Millisecond, nil)
	answer := httptest.NewRecorder()
	m.handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`pgkeeper_term{name="pg1",scope="s"} 61`,
		`pgkeeper_gate_connected{name="pg1",scope="s"} 0`,
		`pgkeeper_gate_confirmation_delay_seconds_bucket{name="pg1",scope="s",le="1.6e-05"} 5`,
		`pgkeeper_gate_confirmation_delay_seconds_bucket{name="pg1",scope="s",le="3.2e-05"} 7`,
		`pgkeeper_gate_confirmation_delay_seconds_count{name="pg1",scope="s"} 8`,
		`pgkeeper_gate_withheld_total{name="pg1",scope="s"} 3`,
		`pgkeeper_gate_starts_total{name="pg1",scope="s"} 2`,
		`pgkeeper_slot_retained_bytes{name="pg1",scope="s",slot="pg2"} 16`,
		`pgkeeper_postgres_timeline{name="pg1",scope="s"} 1`,
		`pgkeeper_decisions_total{name="pg1",reason="leading",scope="s"} 1`,
		`pgkeeper_dcs_request_duration_seconds_count{name="pg1",op="txn",outcome="ok",scope="s"} 1`,
	} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("the scrape lacks %s", want)
		}
	}
	if strings.Contains(answer.Body.String(), `slot="unused"`) {
		t.Error("a slot that keeps no WAL is shown as if it were known what it keeps")
	}
}

func TestThePhasesOfASwitchoverAreTimed(t *testing.T) {
	m := newMetrics("s", "pg1")
	step := func(reason cluster.Reason, at cluster.Instant) { m.step(&cluster.Status{Reason: reason, LoopAt: at}) }
	step(election.ReasonLeading, second)
	step(election.ReasonSwitchoverPreparing, 2*second)
	step(election.ReasonSwitchoverStopping, 3*second)
	answer := httptest.NewRecorder()
	m.handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if want := `pgkeeper_phase_duration_seconds_sum{name="pg1",phase="switchover_preparing",scope="s"} 1`; !strings.Contains(answer.Body.String(), want) {
		t.Errorf("the scrape lacks %s", want)
	}
}
