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
	"slices"
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

// overhead is the client's cost as the harness reads it: one kind of handle, and a pool on the same server.
type overhead struct{ Pool, Handle float64 }

// overheadTrial is what a query takes longer through pgrw than through a pgxpool that is connected straight to the server
// which answers it: the dearest kind of handle, each beside a pool on the same server, in one process and in turns. The
// primary's handle and a reading one that the primary answers are compared on the primary, a replica's with and without
// a token on one standby, since a query may take longer on one server than on another. Client and servers' processes
// share one core: on more, two plain pools on one server differ by more than a handle costs, as the scheduler places the
// ends of their connections; a trial that compared handles on connections of different luck said 6 µs or 30.
func (s *session) overheadTrial(ctx context.Context) (report.Trial, error) {
	if err := s.silence(); err != nil {
		return report.Trial{}, err
	}
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return report.Trial{}, err
	}
	at := slices.IndexFunc(s.members(), func(m member) bool { return m != leader })
	replica := dsn(s.members()[at].sql())
	// The database was made a moment ago, and this standby need not be the one that confirmed it.
	if err := answers(ctx, "the database at the replica", replica); err != nil {
		return report.Trial{}, err
	}
	took := map[string]overhead{}
	if err := s.programs.runClient(ctx, &took, "-mode", "overhead", "-dsn", agents(s.system),
		"-primary", dsn(leader.sql()), "-replica", replica); err != nil {
		return report.Trial{}, err
	}
	t := report.Trial{Detail: map[string]any{"handles": took}}
	for name, o := range took {
		if beyond := (o.Handle - o.Pool) * 1e6; beyond > t.Value {
			t.Value, t.Case = beyond, fmt.Sprintf("%s: %.1f µs, %.1f by pgxpool", name, o.Handle*1e6, o.Pool*1e6)
		}
	}
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
