//go:build bench

package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// getLength is how long requests are counted.
const getLength = 10 * time.Second

// getTrial asks the primary's agent for /primary: as fast as it answers, or at a rate.
func (s *session) getTrial(ctx context.Context, row report.Row) (report.Trial, error) {
	if err := s.silence(); err != nil {
		return report.Trial{}, err
	}
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return report.Trial{}, err
	}
	const offered = 5000
	rate := 0
	if row.ID == "get_offered" {
		rate = offered
	}
	r, err := s.programs.get(ctx, leader, rate, getLength)
	if err != nil {
		return report.Trial{}, err
	}
	if r.Status["200"] == 0 {
		return report.Trial{}, fmt.Errorf("no answer was 200: %v, %d errors", r.Status, r.Errors)
	}
	t := report.Trial{Value: r.Rate, Detail: map[string]any{"rate": r.Rate, "p50": r.P50, "p99": r.P99, "p999": r.P999, "max": r.Max,
		"errors": r.Errors, "status": r.Status, "reconnects": r.Reconnects}}
	if rate > 0 {
		t.Value = r.P99
	}
	return t, nil
}

// silence ends the clients, so that a cluster is idle.
func (s *session) silence() error {
	if s.direct == nil {
		return nil
	}
	err := s.direct.stop()
	s.direct = nil
	return err
}

// idleMeasured is how long an idle agent is watched.
const idleMeasured = time.Minute

// idleTrial measures what the agents of an idle cluster cost; the value is that of the dearest of the three.
func (s *session) idleTrial(ctx context.Context, row report.Row) (report.Trial, error) {
	if err := s.silence(); err != nil {
		return report.Trial{}, err
	}
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return report.Trial{}, err
	}
	pause(ctx, 2*time.Second)
	costs, err := s.costs(ctx, idleMeasured)
	if err != nil {
		return report.Trial{}, err
	}
	t := report.Trial{Detail: map[string]any{"primary": leader.name(), "agents": costs}}
	for _, c := range costs {
		v := c.CPU
		if row.ID == "idle_memory" {
			v = c.PSS
		}
		t.Value = max(t.Value, v)
	}
	return t, nil
}

// cost is what one agent needs: MiB, and seconds of CPU a minute.
type cost struct {
	PSS float64 `json:"pss_mib"`
	CPU float64 `json:"cpu_a_minute"`
}

func (s *session) costs(ctx context.Context, length time.Duration) (map[string]cost, error) {
	before := map[string]time.Duration{}
	for _, m := range s.members() {
		used, err := cpu(m.agentPIDs())
		if err != nil {
			return nil, err
		}
		before[m.name()] = used
	}
	began := time.Now()
	pause(ctx, length)
	costs := map[string]cost{}
	for _, m := range s.members() {
		used, err := cpu(m.agentPIDs())
		if err != nil {
			return nil, err
		}
		took := time.Since(began)
		bytes, err := pss(m.agentPIDs())
		if err != nil {
			return nil, err
		}
		costs[m.name()] = cost{PSS: float64(bytes) / (1 << 20), CPU: (used - before[m.name()]).Seconds() / took.Minutes()}
	}
	return costs, ctx.Err()
}

// etcdTrial counts the messages that the agents send to etcd while nothing happens.
func (s *session) etcdTrial(ctx context.Context) (report.Trial, error) {
	if err := s.silence(); err != nil {
		return report.Trial{}, err
	}
	if _, err := healthy(ctx, s.system, time.Minute); err != nil {
		return report.Trial{}, err
	}
	pause(ctx, 10*time.Second)
	before, err := etcdMessages(ctx, s.etcd())
	if err != nil {
		return report.Trial{}, err
	}
	began := time.Now()
	costs, err := s.costs(ctx, s.options.idle)
	if err != nil {
		return report.Trial{}, err
	}
	after, err := etcdMessages(ctx, s.etcd())
	if err != nil {
		return report.Trial{}, err
	}
	minutes := time.Since(began).Minutes()
	t := report.Trial{Detail: map[string]any{"minutes": minutes, "agents": costs}}
	methods := map[string]float64{}
	for method, n := range after {
		if n -= before[method]; n > 0 {
			methods[method] = n / minutes
			t.Value += n / minutes
		}
	}
	t.Detail["methods"] = methods
	return t, nil
}

// received is etcd's counter of messages that came from clients: one for each plain call and one for each message on a
// stream. The HTTP gateway calls the same server and is counted by it.
const received = "grpc_server_msg_received_total{"

// etcdMessages sums the counter over all members, by method.
func etcdMessages(ctx context.Context, e *testbed.Etcd) (map[string]float64, error) {
	all := map[string]float64{}
	for _, endpoint := range e.Endpoints() {
		status, body := get(ctx, "http://"+endpoint+"/metrics")
		if status != http.StatusOK {
			return nil, fmt.Errorf("etcd's metrics at %s: status %d", endpoint, status)
		}
		lines := bufio.NewScanner(bytes.NewReader(body))
		for lines.Scan() {
			labels, ok := strings.CutPrefix(lines.Text(), received)
			if !ok {
				continue
			}
			labels, value, _ := strings.Cut(labels, "} ")
			_, method, _ := strings.Cut(labels, `grpc_method="`)
			method, _, _ = strings.Cut(method, `"`)
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return nil, fmt.Errorf("etcd's metrics: %q: %w", lines.Text(), err)
			}
			all[method] += n
		}
	}
	return all, nil
}
