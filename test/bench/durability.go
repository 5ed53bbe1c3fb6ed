//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// durable is the quick setup in a strict synchronous mode.
func durable(mode string) setup {
	s := quick
	s.dynamic = map[string]any{"synchronous_mode": mode, "synchronous_mode_strict": true}
	return s
}

// gated is the quick setup with the commit gate.
func gated() setup {
	s := quick
	s.dynamic = map[string]any{"commit_gate": true}
	return s
}

// failsafe is the quick setup with failsafe mode.
func failsafe() setup {
	s := quick
	s.dynamic = map[string]any{"failsafe_mode": true}
	return s
}

// etcdGone kills every member of etcd and starts them all again after a minute.
func etcdGone() fault {
	const gone = time.Minute
	return fault{
		nothing: true, watch: func(system) time.Duration { return gone },
		hit: func(_ context.Context, s system, _ member) error {
			for _, m := range s.etcd().Members {
				m.Kill()
			}
			return nil
		},
		heal: func(ctx context.Context, s system, _ member) error {
			members := s.etcd().Members
			failed := make([]error, len(members))
			var all sync.WaitGroup
			for i, m := range members { // at once: one alone answers nobody
				all.Go(func() { failed[i] = m.Start(ctx) })
			}
			all.Wait()
			return errors.Join(failed...)
		},
	}
}

// volumeSize is that of a node's own file system.
const volumeSize = 512 << 20

// onVolumes is a setup whose nodes have file systems of their own.
func onVolumes(s setup) setup {
	s.volumes = true
	return s
}

var sick = regexp.MustCompile(`(?m)^pgkeeper_sick\{.*\} 1$`)

// rested: a member that gave its lease up for an ailment is no heir for a minute, which a
// row that takes a node's server away every half a minute would measure.
func rested(ctx context.Context, s system) (missing string) {
	for _, m := range s.members() {
		if _, body := get(ctx, "http://"+m.api()+"/metrics"); sick.Match(body) {
			return m.name() + " gave its lease up a moment ago"
		}
	}
	return ""
}

// diskFull leaves no byte of the volume that the primary's data and WAL are on.
func diskFull() fault {
	filler := func(leader member) string { return filepath.Join(filepath.Dir(leader.data()), "filler") }
	return fault{
		ready: rested, watch: pastLease,
		hit: func(_ context.Context, _ system, leader member) error {
			return testbed.FillDisk(filler(leader), volumeSize)
		},
		heal: func(_ context.Context, _ system, leader member) error { return os.Remove(filler(leader)) },
	}
}

// serverHung stops every process of the primary's server, which lets nobody in and
// answers nobody.
func serverHung() fault {
	return fault{
		ready: rested, watch: pastLease,
		hit: func(_ context.Context, _ system, leader member) error {
			if signalAll(leader.data(), syscall.SIGSTOP) == 0 {
				return errors.New("the server has no process to stop")
			}
			return nil
		},
		heal: func(_ context.Context, _ system, leader member) error {
			signalAll(leader.data(), syscall.SIGCONT) // what was not killed meanwhile
			return nil
		},
	}
}

// syncStandbyKilled kills all processes of a node that commits wait for.
func syncStandbyKilled() fault {
	var killed member
	return fault{
		watch: short,
		hit: func(ctx context.Context, s system, leader member) error {
			name, err := syncStandby(ctx, leader)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(s.members(), func(m member) bool { return strings.EqualFold(m.name(), name) })
			if i < 0 {
				return fmt.Errorf("commits wait for %q, which is no member", name)
			}
			killed = s.members()[i]
			return killed.killAll()
		},
		heal: func(context.Context, system, member) error { return killed.start() },
	}
}

// syncStandby is a standby that commits wait for, once there is one.
func syncStandby(ctx context.Context, leader member) (name string, err error) {
	return name, testbed.Wait(ctx, time.Minute, "a synchronous standby", func(ctx context.Context) string {
		conn, err := pgx.Connect(ctx, adminDSN(leader, "postgres"))
		if err != nil {
			return err.Error()
		}
		defer conn.Close(ctx)
		err = conn.QueryRow(ctx, "select application_name from pg_stat_replication where sync_state in ('sync', 'quorum') order by 1 limit 1").Scan(&name)
		if err != nil {
			return "none yet: " + err.Error()
		}
		return ""
	})
}

// frozenTrial freezes every process of the primary's agent, the gate included, with its server running.
func (s *session) frozenTrial(ctx context.Context) (report.Trial, error) {
	leader, err := s.writing(ctx)
	if err != nil {
		return report.Trial{}, err
	}
	pids := leader.agentPIDs()
	signal := func(sig syscall.Signal) (err error) {
		for _, pid := range pids {
			if e := syscall.Kill(pid, sig); e != nil && !errors.Is(e, syscall.ESRCH) {
				err = errors.Join(err, e)
			}
		}
		return err
	}
	return s.hitTrial(ctx, hit{
		what: fmt.Sprintf("%d processes frozen", len(pids)), frozen: true,
		do:   func() error { return signal(syscall.SIGSTOP) },
		undo: func() error { return signal(syscall.SIGCONT) },
	}, leader)
}

// manySwitchovers is how many are one trial of switchovers_quorum.
const manySwitchovers = 100

// warmUp is how long pgbench has written when it begins.
const warmUp = 500 * time.Millisecond

// switchoversTrial switches over again and again while pgbench writes, and gives the p99 of what the client sees.
func (s *session) switchoversTrial(ctx context.Context) (report.Trial, error) {
	leader, err := s.writing(ctx)
	if err != nil {
		return report.Trial{}, err
	}
	if err := s.fillOnce(ctx, leader); err != nil {
		return report.Trial{}, err
	}
	var gaps []float64
	for range manySwitchovers {
		gap, err := s.oneOfMany(ctx)
		if err != nil {
			return report.Trial{}, fmt.Errorf("%w after %d switchovers", err, len(gaps))
		}
		gaps = append(gaps, gap)
	}
	slices.Sort(gaps)
	t := report.Trial{Value: report.Quantile(gaps, 0.99), Detail: map[string]any{"gaps": gaps, "median": report.Quantile(gaps, 0.5)}}
	return t, s.lost(ctx, &t)
}

// oneOfMany switches over under a load of its own, which ends with its server. What the client sees is watched until a
// second after the answer, and until writes go on: the next one follows at once.
func (s *session) oneOfMany(ctx context.Context) (gap float64, err error) {
	load, err := s.startLoad(ctx)
	if err != nil {
		return 0, err
	}
	defer load()
	pause(ctx, warmUp)
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return 0, err
	}
	at := time.Now()
	if err := switchover(ctx, leader); err != nil {
		return 0, err
	}
	pause(ctx, time.Second)
	err = testbed.Wait(ctx, gapLimit, "writes to go on", func(context.Context) string { return unsettled([]*writer{s.direct}) })
	if err != nil {
		return 0, err
	}
	r, err := s.direct.report(at)
	s.keepLogs(at, s.system)
	return r.Gap, err
}

// fillOnce makes pgbench's tables, once for a cluster.
func (s *session) fillOnce(ctx context.Context, leader member) error {
	if s.filled {
		return nil
	}
	said, err := bencher(ctx, leader, "-i", "-q", "-s", "1").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench -i: %w: %s", err, said)
	}
	s.filled = true
	return nil
}

// startLoad has pgbench write to the present primary, whose end it does not outlive.
func (s *session) startLoad(ctx context.Context) (stop func(), err error) {
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := bencher(ctx, leader, "-c", gateClients, "-j", gateThreads, "-T", "60")
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return func() {
		cancel()
		_ = cmd.Wait() // it lost its server, or was told to end
	}, nil
}
