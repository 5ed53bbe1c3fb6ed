//go:build bench

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
)

// causalReads is how many reads with a token one trial of pgrw_stale makes.
const causalReads = 100_000

// agents is the DSN of pgrw for the cluster.
func agents(s system) string {
	var hosts []string
	for _, m := range s.members() {
		hosts = append(hosts, m.api())
	}
	return "pgkeeper://" + clientName + "@" + strings.Join(hosts, ",") + "/bench?sslmode=disable"
}

// runClient runs test/pgrw/client and reads what it prints.
func (p programs) runClient(ctx context.Context, into any, args ...string) error {
	cmd := exec.CommandContext(ctx, p.client, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("the client of pgrw: %w: %s", err, said.Bytes())
	}
	return json.Unmarshal(out, into)
}

// overheadTrial compares a query through pgrw with one through pgxpool, both on the primary.
func (s *session) overheadTrial(ctx context.Context) (report.Trial, error) {
	if err := s.silence(); err != nil {
		return report.Trial{}, err
	}
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return report.Trial{}, err
	}
	var took struct{ Pool, Primary, Reading, Token float64 }
	if err := s.programs.runClient(ctx, &took, "-mode", "overhead", "-dsn", agents(s.system), "-direct", dsn(leader.sql())); err != nil {
		return report.Trial{}, err
	}
	t := report.Trial{Detail: map[string]any{"pgxpool": took.Pool, "primary": took.Primary, "reading": took.Reading, "token": took.Token}}
	t.Value = max(0, (max(took.Primary, took.Reading, took.Token)-took.Pool)*1e6)
	t.Case = fmt.Sprintf("%.1f µs by pgxpool", took.Pool*1e6)
	return t, nil
}

// staleResult is causal.Result as the harness reads it.
type staleResult struct {
	Writes       int     `json:"writes"`
	Unknown      int     `json:"unknown"`
	Failed       int     `json:"failed"`
	First        string  `json:"first_failure"`
	Reads        int     `json:"reads"`
	Stale        int     `json:"stale"`
	Example      string  `json:"example"`
	Control      int     `json:"control"`
	ControlStale int     `json:"control_stale"`
	ByReplica    int     `json:"by_replica"`
	LongestWrite float64 `json:"longest_write"`
}

// staleTrial counts stale reads while the primary is moved and killed by chance.
func (s *session) staleTrial(ctx context.Context, number int) (report.Trial, error) {
	if err := s.silence(); err != nil {
		return report.Trial{}, err
	}
	var r staleResult
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		done <- s.programs.runClient(running, &r, "-mode", "causal", "-dsn", agents(s.system), "-reads", fmt.Sprint(causalReads))
	}()
	hits, err := s.disturb(ctx, rand.New(rand.NewPCG(uint64(number), 0)), done)
	if err != nil {
		return report.Trial{}, err
	}
	t := report.Trial{Value: float64(r.Stale), Detail: map[string]any{"result": r, "hits": hits}}
	t.Case = fmt.Sprintf("control: %d of %d stale; %v", r.ControlStale, r.Control, hits)
	if r.ControlStale == 0 {
		return t, errors.New("no read without a token was stale: the trial proves nothing")
	}
	if r.Failed > 0 {
		return t, fmt.Errorf("%d writes or reads failed: %s", r.Failed, r.First)
	}
	return t, nil
}

// disturb hits the primary again and again until the client is done, and counts how often
// in which way.
func (s *session) disturb(ctx context.Context, random *rand.Rand, done <-chan error) (map[string]int, error) {
	hits := map[string]int{}
	ways := []string{"switchover", "node_killed", "postmaster_killed"}
	for {
		select {
		case err := <-done:
			return hits, err
		case <-time.After(time.Second + time.Duration(random.IntN(2000))*time.Millisecond):
		}
		leader, err := healthy(ctx, s.system, time.Minute)
		if err != nil {
			return hits, err
		}
		way := ways[random.IntN(len(ways))]
		f := faults()[way]
		if err := f.hit(ctx, s.system, leader); err != nil {
			return hits, fmt.Errorf("%s: %w", way, err)
		}
		hits[way]++
		if f.heal == nil {
			continue
		}
		pause(ctx, s.ttl()+time.Second)
		if err := f.heal(ctx, s.system, leader); err != nil {
			return hits, fmt.Errorf("after %s: %w", way, err)
		}
	}
}
