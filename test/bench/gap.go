//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// fault is one way to disturb a cluster.
type fault struct {
	// ready says what must pass before it, beside a healthy cluster; nil for nothing.
	ready func(ctx context.Context, s system) (missing string)
	// hit does it to the primary and returns at once, or when it is done.
	hit func(ctx context.Context, s system, leader member) error
	// heal repairs what does not repair itself; nil when all does.
	heal func(ctx context.Context, s system, leader member) error
	// watch is how long the client is watched at least, from the fault on.
	watch func(s system) time.Duration
	// nothing is what must be noticed: the value is 0, or else the gap.
	nothing bool
}

func short(system) time.Duration       { return 3 * time.Second }
func pastLease(s system) time.Duration { return s.ttl() + 3*time.Second }

// faults are the rows that are one gap each.
func faults() map[string]fault {
	startAgain := func(_ context.Context, _ system, leader member) error { return leader.start() }
	return map[string]fault{
		"switchover":        {hit: func(ctx context.Context, _ system, leader member) error { return switchover(ctx, leader) }, watch: short},
		"postmaster_killed": {hit: func(_ context.Context, _ system, leader member) error { return leader.killPostmaster() }, watch: short},
		"agent_stopped": {hit: func(_ context.Context, _ system, leader member) error { return leader.stop(time.Minute) }, watch: short,
			heal: startAgain},
		"worker_killed": {hit: killWorker, watch: pastLease, nothing: true, heal: func(_ context.Context, _ system, leader member) error {
			if leader.running() {
				return nil
			}
			return leader.start()
		}},
		"etcd_leader_killed":  etcdLeaderKilled(),
		"sync_standby_killed": syncStandbyKilled(),
		"node_cut_off":        nodeCutOff(),
		"etcd_gone":           etcdGone(),
		"server_hung":         serverHung(),
		"disk_full":           diskFull(),
		"node_killed":         {hit: func(_ context.Context, _ system, leader member) error { return leader.killAll() }, watch: pastLease, heal: startAgain},
		"node_killed_fast":    {hit: func(_ context.Context, _ system, leader member) error { return leader.killAll() }, watch: pastLease, heal: startAgain},
	}
}

// killWorker kills the process that thinks: the worker, or the peer's only one.
func killWorker(_ context.Context, _ system, leader member) error {
	for _, h := range leader.hits() {
		if h.what == "worker killed" || h.what == "agent killed" {
			return h.do()
		}
	}
	return errors.New("no way to kill the worker")
}

// etcdLeaderKilled kills the member of etcd that leads, and starts it again.
func etcdLeaderKilled() fault {
	var killed testbed.EtcdMember
	return fault{
		nothing: true, watch: pastLease,
		hit: func(ctx context.Context, s system, _ member) error {
			i, err := s.etcd().Leader(ctx)
			if err != nil {
				return err
			}
			killed = s.etcd().Members[i]
			killed.Kill()
			return nil
		},
		heal: func(ctx context.Context, _ system, _ member) error { return killed.Start(ctx) },
	}
}

// session is a started cluster with its clients.
type session struct {
	*bench
	system
	direct *writer
	// patience is that of the direct client.
	patience time.Duration
	// undisturbed is the longest gap while nothing happened.
	undisturbed float64
	// lostBefore is how many acknowledged rows were missing after the last trial.
	lostBefore int
	routed     *routed
	// pooled is the client behind the pooler.
	pooled *writer
	// split is Pgpool-II in front.
	split  *split
	fourth member
	// boxes is deploy/compose on a container engine.
	boxes *containers
	// filled: pgbench's tables are there.
	filled bool
	// pace is what the rows of the gate load the server with, transactions a second.
	pace float64
}

// undisturbedFor is how long "nothing happened" is. A minute in which the machine itself stalled is repeated, a few times;
// then the best of them counts.
const (
	undisturbedFor = time.Minute
	calmMinutes    = 2
)

// write starts the direct client.
func (s *session) write() (err error) {
	if s.direct == nil {
		s.direct, err = s.programs.startWriter(dsn(sqlHosts(s.members())...), "-patience", s.patience.String())
	}
	return err
}

// writing starts the direct client, waits for a healthy cluster and returns its primary.
func (s *session) writing(ctx context.Context) (member, error) {
	if err := s.write(); err != nil {
		return nil, err
	}
	return healthy(ctx, s.system, time.Minute)
}

// calm measures what a gap is when nothing happens, once for a cluster.
func (s *session) calm(ctx context.Context) error {
	if s.undisturbed > 0 {
		return nil
	}
	if err := s.steady(ctx, s.direct); err != nil {
		return err
	}
	s.undisturbed = math.Inf(1)
	for range calmMinutes {
		from := time.Now()
		pause(ctx, undisturbedFor)
		r, err := s.direct.report(from)
		stalled, asked := s.machine.stall(from)
		if err := errors.Join(err, asked); err != nil {
			return err
		}
		s.undisturbed = min(s.undisturbed, r.Gap)
		s.Logf("%s: the longest gap in %v of undisturbed writing was %.0f ms", s.name(), undisturbedFor, r.Gap*1000)
		if !stalled.much() {
			break
		}
	}
	return nil
}

// steady waits until the writer has had no gap of 50 ms for a second and a half.
func (s *session) steady(ctx context.Context, w *writer) error {
	const still = 1500 * time.Millisecond
	from := time.Now()
	return testbed.Wait(ctx, 3*time.Minute, "undisturbed writing", func(context.Context) string {
		if time.Since(from) < still {
			return "too early"
		}
		r, err := w.report(time.Now().Add(-still))
		switch {
		case err != nil:
			return err.Error()
		case max(r.Gap, r.Late) > 0.2 || r.Acked < int(still/s.options.every)/6:
			from = time.Now().Add(-still + 100*time.Millisecond)
			return fmt.Sprintf("%d rows, a gap of %.3f s and rows late by %.3f s in the last %v", r.Acked, r.Gap, r.Late, still)
		}
		return ""
	})
}

// gapLimit bounds how long a client is watched for its return.
const gapLimit = 90 * time.Second

// gap does a fault to the primary and measures what the clients see.
func (s *session) gap(ctx context.Context, f fault, clients ...*writer) (all []writerReport, at time.Time, err error) {
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return nil, at, err
	}
	if f.ready != nil {
		if err := testbed.Wait(ctx, 2*time.Minute, "a cluster that is ready for the fault", func(ctx context.Context) string { return f.ready(ctx, s.system) }); err != nil {
			return nil, at, err
		}
	}
	for _, w := range clients {
		if err := s.steady(ctx, w); err != nil {
			return nil, at, err
		}
	}
	at = time.Now()
	done := make(chan error, 1)
	go func() { done <- f.hit(ctx, s.system, leader) }()
	pause(ctx, f.watch(s.system))
	back := testbed.Wait(ctx, gapLimit, "writes to go on", func(context.Context) string { return unsettled(clients) })
	for _, w := range clients {
		r, err := w.report(at)
		if err != nil {
			return nil, at, err
		}
		all = append(all, r)
	}
	s.keepLogs(at, s.system)
	err = errors.Join(back, <-done)
	if f.heal != nil {
		err = errors.Join(err, f.heal(ctx, s.system, leader))
	}
	return all, at, err
}

// unsettled says which client had a pause in the last second.
func unsettled(clients []*writer) string {
	for i, w := range clients {
		r, err := w.report(time.Now().Add(-time.Second))
		if err != nil {
			return err.Error()
		}
		if max(r.Gap, r.Late) > 0.3 || r.Acked == 0 {
			return fmt.Sprintf("client %d: %d rows in the last second, the longest gap %.3f s, rows late by %.3f s", i+1, r.Acked, r.Gap, r.Late)
		}
	}
	return ""
}

// gapTrial is one trial of a row of faults.
func (s *session) gapTrial(ctx context.Context, row report.Row) (report.Trial, error) {
	f := faults()[row.ID]
	if err := s.write(); err != nil {
		return report.Trial{}, err
	}
	if f.nothing {
		if err := s.calm(ctx); err != nil {
			return report.Trial{}, err
		}
	}
	all, _, err := s.gap(ctx, f, s.direct)
	if err != nil {
		return report.Trial{}, err
	}
	r := all[0]
	t := report.Trial{Value: r.Gap, Detail: detail(r)}
	if f.nothing {
		limit := max(0.1, 1.5*s.undisturbed)
		t.Detail["zero_limit"] = limit
		if r.Failed == 0 && r.Gap <= limit {
			t.Value = 0
		}
	}
	return t, s.lost(ctx, &t)
}

// lost counts acknowledged rows that are not there when the cluster is whole again.
func (s *session) lost(ctx context.Context, t *report.Trial) error {
	if _, err := healthy(ctx, s.system, time.Minute); err != nil {
		return err
	}
	n, err := s.direct.missing()
	t.Detail["lost"] = n - s.lostBefore
	s.lostBefore = n
	return err
}

// isBehind is the detail of a trial in which a client was.
const isBehind = "behind"

func detail(r writerReport) map[string]any {
	d := map[string]any{"gap": r.Gap, "gap_at": r.GapAt, "late": r.Late, "failed": r.Failed}
	if r.behind() {
		d[isBehind] = true
	}
	var trouble []string
	for _, t := range r.Trouble {
		trouble = append(trouble, fmt.Sprintf("%.3f-%.3f x%d %s", t.First, t.Last, t.Count, shorten(t.Error)))
	}
	if len(trouble) > 0 {
		d["trouble"] = trouble
	}
	return d
}

// shorten keeps what differs of an error about several hosts.
func shorten(s string) string {
	const most = 300
	if i := strings.Index(s, "failed to connect to"); i >= 0 {
		if _, rest, ok := strings.Cut(s[i:], "`: "); ok {
			s = rest
		}
	}
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// pause lets time pass: there is nothing to wait for but time itself.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
