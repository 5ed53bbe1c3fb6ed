//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// pooled is the quick setup behind a PgBouncer with transaction pooling. The last member drives it, and never leads: it
// outlives every primary.
func pooled(ttl, retryTimeout time.Duration) setup {
	s := quick
	s.ttl, s.retryTimeout, s.pooled = ttl, retryTimeout, true
	return s
}

// pool gives the last member its pooler.
func (k *keeper) pool(ctx context.Context) (err error) {
	if k.bouncer, err = testbed.StartPgBouncer(ctx, map[string]string{clientName: ""}); err != nil {
		return err
	}
	return k.bed.Nodes[len(k.bed.Nodes)-1].Reconfigure(func(c map[string]any) {
		c["poolers"] = k.bouncer.Pooler(clientName)
		section(c, "tags")["nofailover"] = true
	})
}

// throughPooler starts the client behind the pooler, once for a cluster, beside the direct one.
func (s *session) throughPooler(ctx context.Context) (*testbed.PgBouncer, error) {
	k, ok := s.system.(*keeper)
	if !ok || k.bouncer == nil {
		return nil, errors.New("this cluster has no pooler")
	}
	if _, err := s.writing(ctx); err != nil || s.pooled != nil {
		return k.bouncer, err
	}
	err := answers(ctx, "writes through PgBouncer", k.bouncer.DSN(clientName, clientName)+" default_query_exec_mode=exec")
	if err == nil {
		s.pooled, err = s.programs.startWriter(k.bouncer.DSN(clientName, clientName))
	}
	return k.bouncer, err
}

// pooledKillTrial kills the primary's node, and gives how much longer the client behind the pooler waits than one that
// looks for the new primary itself.
func (s *session) pooledKillTrial(ctx context.Context) (report.Trial, error) {
	if _, err := s.throughPooler(ctx); err != nil {
		return report.Trial{}, err
	}
	all, _, err := s.gap(ctx, faults()["node_killed"], s.direct, s.pooled)
	if err != nil {
		return report.Trial{}, err
	}
	t := beyondDirect(all[0], all[1])
	return t, s.lost(ctx, &t)
}

// pooledMinute is how long pgbench writes in a trial of pooled_switchovers.
const pooledMinute = time.Minute

var (
	processedTx = regexp.MustCompile(`number of transactions actually processed: \d+`)
	noneFailed  = "number of failed transactions: 0 "
)

// pooledSwitchoversTrial switches over as often as it goes while pgbench writes through the pooler, and gives the
// longest stall: of any transaction of pgbench's, or between two answers to the writer beside it. A transaction that fails
// is an error of the trial.
func (s *session) pooledSwitchoversTrial(ctx context.Context) (report.Trial, error) {
	pooler, err := s.throughPooler(ctx)
	if err != nil {
		return report.Trial{}, err
	}
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return report.Trial{}, err
	}
	if err := s.fillOnce(ctx, leader); err != nil {
		return report.Trial{}, err
	}
	dir, err := os.MkdirTemp("", "pgbench") //nolint:usetesting // no test has it
	if err != nil {
		return report.Trial{}, err
	}
	defer os.RemoveAll(dir)
	var said strings.Builder
	load := exec.CommandContext(ctx, binDir()+"/pgbench", "-n", "-c", "16", "-j", "2", "-M", "simple", "-T", seconds(pooledMinute),
		"-l", "--log-prefix", filepath.Join(dir, "log"), pooler.DSN(clientName, clientName))
	load.Stdout, load.Stderr = &said, &said
	if err := load.Start(); err != nil {
		return report.Trial{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- load.Wait() }()
	t, f := report.Trial{Detail: map[string]any{}}, faults()["switchover"]
	var gaps, late []float64
	for began := time.Now(); time.Since(began) < pooledMinute-5*time.Second; {
		var all []writerReport
		if all, _, err = s.gap(ctx, f, s.pooled); err != nil {
			break
		}
		gaps, late = append(gaps, all[0].Gap), append(late, all[0].Late)
	}
	err = errors.Join(err, <-ended)
	t.Detail["gaps"], t.Detail["late"], t.Detail["pgbench"] = gaps, late, processedTx.FindString(said.String())
	if err == nil && !strings.Contains(said.String(), noneFailed) {
		err = errors.New("transactions failed")
	}
	if err == nil {
		var took []float64
		took, _, err = readLatencies(dir)
		t.Value = slices.Max(append(took, gaps...))
	}
	if err != nil {
		return t, fmt.Errorf("%w after %d switchovers: %s", err, len(gaps), said.String())
	}
	return t, s.lost(ctx, &t)
}
