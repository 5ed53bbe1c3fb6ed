//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

const (
	// gateScale is pgbench's scale: small enough to stay in memory.
	gateScale = 20
	// gateClients and gateThreads are pgbench's.
	gateClients = "8"
	gateThreads = "2"
	// gateLength is each of the two runs of a pair, gateFull the one that finds the pace.
	gateLength = 30 * time.Second
	gateFull   = 15 * time.Second
)

// gateTrial measures one pair: the latency of pgbench's ordinary transactions at half the pace that the server takes
// ungated, without commit_gate and with it, in turns first. The value is by how much the median rises.
func (s *session) gateTrial(ctx context.Context, number int) (report.Trial, error) {
	if err := s.silence(); err != nil {
		return report.Trial{}, err
	}
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return report.Trial{}, err
	}
	if s.pace == 0 {
		if s.pace, err = s.findPace(ctx, leader); err != nil {
			return report.Trial{}, err
		}
	}
	t := report.Trial{Detail: map[string]any{"rate": s.pace}}
	medians := map[bool]float64{}
	for _, gated := range []bool{number%2 == 0, number%2 == 1} {
		if err := setGate(ctx, leader, gated); err != nil {
			return report.Trial{}, err
		}
		pause(ctx, 2*time.Second)
		load := loadAverage()
		l, err := pgbench(ctx, leader, s.pace, gateLength)
		if err != nil {
			return report.Trial{}, err
		}
		l["load"] = load
		t.Detail[map[bool]string{false: "ungated", true: "gated"}[gated]] = l
		medians[gated] = l["median"]
	}
	t.Value = medians[true] - medians[false]
	t.Case = fmt.Sprintf("%.2f ms to %.2f ms", 1000*medians[false], 1000*medians[true])
	return t, nil
}

// findPace fills the tables and returns half of the transactions a second that the server takes ungated.
func (s *session) findPace(ctx context.Context, leader member) (float64, error) {
	if err := setGate(ctx, leader, false); err != nil {
		return 0, err
	}
	if said, err := bencher(ctx, leader, "-i", "-q", "-s", strconv.Itoa(gateScale)).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("pgbench -i: %w: %s", err, said)
	}
	out, err := bencher(ctx, leader, "-c", gateClients, "-j", gateThreads, "-T", seconds(gateFull)).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	found := tpsLine.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("pgbench gave no tps: %s", out)
	}
	tps, err := strconv.ParseFloat(string(found[1]), 64)
	return tps / 2, err
}

var tpsLine = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }

// bencher is pgbench on the bench's database.
func bencher(ctx context.Context, leader member, args ...string) *exec.Cmd {
	host, port, _ := strings.Cut(leader.sql(), ":")
	return exec.CommandContext(ctx, "/usr/lib/postgresql/15/bin/pgbench", append(args, "-h", host, "-p", port, "-U", clientName, "bench")...)
}

// pgbench runs at a rate, and returns quantiles of the latency in seconds: as a client sees it, from when a transaction
// was due, and (net) from when it began.
func pgbench(ctx context.Context, leader member, rate float64, length time.Duration) (map[string]float64, error) {
	dir, err := os.MkdirTemp("", "pgbench") //nolint:usetesting // no test has it
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := bencher(ctx, leader, "-c", gateClients, "-j", gateThreads, "-T", seconds(length), "--rate", strconv.FormatFloat(rate, 'f', 1, 64),
		"-l", "--log-prefix", filepath.Join(dir, "log"))
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pgbench: %w: %s", err, said)
	}
	all, net, err := readLatencies(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(all)
	slices.Sort(net)
	return map[string]float64{
		"transactions": float64(len(all)), "tps": float64(len(all)) / length.Seconds(),
		"median": report.Quantile(all, 0.5), "p99": report.Quantile(all, 0.99),
		"net_median": report.Quantile(net, 0.5), "net_p99": report.Quantile(net, 0.99),
	}, nil
}

// readLatencies reads pgbench's logs in a folder: client, number, microseconds, script, time in two parts and, with a
// rate, microseconds of lag. What it gives is in seconds: with the lag, and without.
func readLatencies(dir string) (all, net []float64, err error) {
	logs, err := filepath.Glob(filepath.Join(dir, "log*"))
	if err != nil {
		return nil, nil, err
	}
	for _, path := range logs {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		for line := range strings.Lines(string(content)) {
			fields := append(strings.Fields(line), "0")
			if len(fields) < 7 {
				return nil, nil, fmt.Errorf("pgbench's log has the line %q", line)
			}
			took, errTook := strconv.ParseFloat(fields[2], 64)
			lag, errLag := strconv.ParseFloat(fields[6], 64)
			if err := errors.Join(errTook, errLag); err != nil {
				return nil, nil, fmt.Errorf("pgbench's log has the line %q: %w", line, err)
			}
			all, net = append(all, took/1e6), append(net, (took-lag)/1e6)
		}
	}
	if len(all) == 0 {
		return nil, nil, errors.New("pgbench logged no transaction")
	}
	return all, net, nil
}

// setGate turns the commit gate on or off, and waits until the primary says so.
func setGate(ctx context.Context, leader member, on bool) error {
	body, want := `{"commit_gate": false}`, ""
	if on {
		body, want = `{"commit_gate": true}`, "connected"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, "http://"+leader.api()+"/config", strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return fmt.Errorf("set commit_gate: %w", err)
	}
	_ = response.Body.Close()
	return testbed.Wait(ctx, 20*time.Second, "commit_gate in force", func(ctx context.Context) string {
		_, raw := get(ctx, "http://"+leader.api()+"/patroni")
		var s struct {
			Keeper struct {
				Gate string `json:"commit_gate"`
			} `json:"pgkeeper"`
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			return err.Error()
		}
		if s.Keeper.Gate != want {
			return fmt.Sprintf("the gate is %q, want %q", s.Keeper.Gate, want)
		}
		return ""
	})
}
