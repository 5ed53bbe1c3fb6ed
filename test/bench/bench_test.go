//go:build bench

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// bench is one run.
type bench struct {
	*testing.T
	options  options
	programs programs
	results  []report.Trial
	// machine looks how the machine itself stalls, with a file in dir.
	machine *writer
	dir     string
	// again counts how often a trial was disturbed, by row, system and number.
	again map[string]int
}

// TestMain is also the first process of the namespaces that some rows run in.
func TestMain(m *testing.M) {
	if lan.At() != lan.Init {
		os.Exit(m.Run())
	}
	code, err := lan.Reap()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(code)
}

// TestBench measures what BENCH_ROWS names; see options.go for the rest of what it reads.
func TestBench(t *testing.T) {
	if os.Getenv(testbed.BinaryVariable) == "" {
		path, err := filepath.Abs(filepath.Join(root, "bin", "pgkeeper"))
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(testbed.BinaryVariable, path)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := readOptions()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testbed.Binary(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.Unsetenv(testbed.BinaryVariable); err != nil { // agents would warn of a variable that they do not know
		t.Fatal(err)
	}
	b := &bench{T: t, options: o, again: map[string]int{}, dir: t.TempDir()}
	if b.programs, err = buildPrograms(ctx, b.dir, o.every); err != nil {
		t.Fatal(err)
	}
	if b.machine, err = b.programs.watchMachine(b.dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.machine.stop() }()
	if b.results, err = report.Read(o.out); err != nil {
		t.Fatal(err)
	}
	if inside() {
		if err := lan.Make(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("measuring pgkeeper %s into %s", o.build, o.out)
	b.run(ctx)
	if ctx.Err() != nil {
		t.Errorf("broken off: %v; the same command goes on from here", context.Cause(ctx))
	}
	if !inside() { // who called shows all
		t.Log("\n" + report.Table(b.results))
	}
}

// group is the rows that share a cluster.
type group struct {
	name  string
	setup setup
	rows  []string
	// fresh wants a new cluster for every trial.
	fresh bool
	// alone: the peer has nothing like it.
	alone bool
	// lossless: a row that is acknowledged and missing later fails the run.
	lossless bool
}

// quick is the setup of the rows that name none: ttl 5, and what fits under it.
var quick = setup{ttl: 5 * time.Second, loopWait: time.Second, retryTimeout: 2 * time.Second}

func groups() []group {
	three := quick
	three.ttl, three.retryTimeout = report.TTL3*time.Second, time.Second
	empty := quick
	empty.unstarted = true
	return []group{
		{name: "ttl 5", setup: quick, rows: []string{"switchover", "postmaster_killed", "agent_stopped", "worker_killed", "etcd_leader_killed", "overlap"}},
		{name: "ttl 5, HAProxy", setup: quick, rows: []string{"haproxy_switchover", "haproxy_postmaster_killed"}},
		{name: "ttl 3", setup: three, rows: []string{"node_killed", "haproxy_node_killed"}},
		{name: "ttl 5, PgBouncer", setup: pooled(quick.ttl, quick.retryTimeout), rows: []string{"pooled_switchovers"}, alone: true, lossless: true},
		{name: "ttl 3, PgBouncer", setup: pooled(three.ttl, three.retryTimeout), rows: []string{"pooled_node_killed"}, alone: true},
		{name: "ttl 5, Pgpool-II", setup: quick, rows: []string{"pgpool_switchovers"}, alone: true, lossless: true},
		{name: "routing", setup: empty, rows: []string{"route_flip", "route_gap"}, alone: true},
		{name: "start", setup: empty, rows: []string{"start"}, fresh: true},
		{name: "idle", setup: quick, rows: []string{"get_closed", "get_offered", "idle_memory", "idle_cpu"}},
		{name: "containers", setup: empty, rows: []string{"replica_scaled"}, alone: true},
		{name: "1 GB", setup: quick, rows: []string{"replica_1gb"}},
		{name: "synchronous", setup: durable("on"), rows: []string{"sync_standby_killed"}, lossless: true},
		{name: "quorum", setup: durable("quorum"), rows: []string{"node_killed_fast", "agent_frozen_quorum", "switchovers_quorum"}, lossless: true},
		{name: "quorum, on hosts", setup: onHosts(durable("quorum")), rows: []string{"node_cut_off"}, alone: true, lossless: true},
		{name: "failsafe", setup: failsafe(), rows: []string{"etcd_gone"}},
		{name: "sick", setup: fastest, rows: []string{"server_hung"}},
		{name: "sick, on volumes", setup: onVolumes(fastest), rows: []string{"disk_full"}, alone: true, lossless: true},
		{name: "gated", setup: gated(), rows: []string{"agent_frozen_gate"}, alone: true, lossless: true},
		{name: "pgrw", setup: durable("on"), rows: []string{"pgrw_overhead", "pgrw_stale"}, alone: true},
		{name: "commit gate", setup: quick, rows: []string{"commit_gate"}},
		{name: "Patroni's settings", setup: fastest, rows: []string{"etcd_idle"}},
	}
}

func (b *bench) run(ctx context.Context) {
	starters := []func() (func(context.Context, setup) (system, error), string, error){
		func() (func(context.Context, setup) (system, error), string, error) {
			return func(ctx context.Context, s setup) (system, error) { return startKeeper(ctx, b.options.build, s) }, b.options.build, nil
		},
	}
	names := []string{report.Keeper}
	if b.options.peer {
		names = append(names, report.Patroni)
		starters = append(starters, func() (func(context.Context, setup) (system, error), string, error) {
			version, err := patroniBuild(ctx)
			return func(ctx context.Context, s setup) (system, error) { return startPatroni(ctx, version, s) }, version, err
		})
	}
	for _, g := range groups() {
		switch {
		case ctx.Err() != nil:
			return
		case g.setup.hosts && !inside():
			b.callInside(g)
			continue
		case !g.setup.hosts && inside():
			continue
		}
		for i, starter := range starters {
			start, build, err := starter()
			if err != nil {
				b.Fatal(err)
			}
			if i == 0 || !g.alone {
				b.group(ctx, g, names[i], build, start)
			}
		}
	}
}

// todo is a trial that is not in the results yet.
type todo struct {
	row    report.Row
	number int
}

func (b *bench) pending(g group, system, build string) []todo {
	var all []todo
	for _, row := range b.options.rows {
		if !slices.Contains(g.rows, row.ID) {
			continue
		}
		done := report.Done(b.results, row.ID, system, build)
		for n := 1; n <= b.options.trialsOf(row); n++ {
			if !done[n] {
				all = append(all, todo{row, n})
			}
		}
	}
	return all
}

// mishaps is how many trials of a group may go wrong before the group is given up.
const mishaps = 3

// group runs what is pending of a group on one cluster; after a mishap on a new one.
func (b *bench) group(ctx context.Context, g group, name, build string, start func(context.Context, setup) (system, error)) {
	wrong := 0
	for work := b.pending(g, name, build); len(work) > 0 && wrong < mishaps && ctx.Err() == nil; {
		s := &session{bench: b, patience: g.setup.patience}
		var err error
		s.system, err = start(ctx, g.setup)
		if err == nil && !g.setup.unstarted {
			err = s.ready(ctx)
		}
		for err == nil && len(work) > 0 {
			var counts bool
			if counts, err = s.trial(ctx, work[0], build); err != nil {
				break
			}
			if lost := b.results[len(b.results)-1].Detail["lost"]; g.lossless && lost != 0 {
				b.Errorf("%s, %s: %v acknowledged rows are missing", name, work[0].row.ID, lost)
			}
			if counts {
				work = work[1:]
			}
			if g.fresh {
				break
			}
		}
		if err != nil {
			wrong++
			at := "start"
			if len(work) > 0 {
				at = work[0].row.ID
			}
			b.Errorf("%s, %s: %v", name, at, err)
			s.keepLogs(time.Now().Add(-time.Minute), s.system)
		}
		if err := s.end(); err != nil {
			b.Errorf("%s: end the cluster: %v", name, err)
		}
	}
}

// ready waits for a new cluster and prepares its database.
func (s *session) ready(ctx context.Context) error {
	leader, err := healthy(ctx, s.system, time.Minute)
	if err != nil {
		return err
	}
	return prepare(ctx, leader)
}

func (s *session) end() error {
	all := s.silence()
	if s.routed != nil {
		all = errors.Join(all, s.routed.stop())
	}
	if s.pooled != nil {
		all = errors.Join(all, s.pooled.stop())
	}
	if s.split != nil {
		all = errors.Join(all, s.split.stop())
	}
	if s.boxes != nil {
		all = errors.Join(all, s.boxes.stop())
	}
	if s.system != nil {
		all = errors.Join(all, s.system.close())
	}
	return all
}

// mostAgain is how often a disturbed trial is made again; then it counts as it is.
const mostAgain = 4

// trial measures once and keeps the result; counts is false when it is to be made again.
func (s *session) trial(ctx context.Context, w todo, build string) (counts bool, err error) {
	load, began := loadAverage(), time.Now()
	t, err := s.measure(ctx, w)
	if err != nil {
		return false, fmt.Errorf("trial %d: %w", w.number, err)
	}
	t.Row, t.System, t.Build, t.Trial = w.row.ID, s.name(), build, w.number
	t.At, t.Load = time.Now().UTC().Format(time.RFC3339), load
	stalled, err := s.machine.stall(began)
	if err != nil {
		return false, err
	}
	t.Detail["machine"], t.Detail["every"] = stalled, s.options.every.Seconds()
	key := t.Row + " " + t.System + " " + fmt.Sprint(t.Trial)
	_, behind := t.Detail[isBehind]
	if gapRow(t.Row) && (behind || stalled.much()) && s.again[key] < mostAgain {
		t.Disturbed = true
		s.again[key]++
	}
	if err := report.Append(s.options.out, t); err != nil {
		return false, err
	}
	s.results = append(s.results, t)
	note := ""
	if t.Disturbed {
		note = fmt.Sprintf("disturbed: fsync %.3f s, wake-up %.3f s", stalled.Fsync, stalled.Late)
		if behind {
			note += ", a client that could not keep its pace"
		}
	}
	s.Logf("%-9s %-26s %2d  %s %s %s", t.System, t.Row, t.Trial, w.row.Show(t.Value), t.Case, note)
	return !t.Disturbed, nil
}

// gapRow tells the rows that a stall of the machine makes worthless. Two servers must not be writable at once in a stall
// either, and the other rows write so much themselves, or so little, that it says nothing.
func gapRow(row string) bool {
	return strings.HasPrefix(row, "haproxy_") || faults()[row].hit != nil
}

func (s *session) measure(ctx context.Context, w todo) (report.Trial, error) {
	switch w.row.ID {
	case "overlap":
		return s.overlapTrial(ctx, w.number)
	case "agent_frozen_quorum", "agent_frozen_gate":
		return s.frozenTrial(ctx)
	case "switchovers_quorum":
		return s.switchoversTrial(ctx)
	case "haproxy_switchover", "haproxy_postmaster_killed", "haproxy_node_killed":
		return s.routedTrial(ctx, w.row)
	case "pooled_switchovers":
		return s.pooledSwitchoversTrial(ctx)
	case "pooled_node_killed":
		return s.pooledKillTrial(ctx)
	case "pgpool_switchovers":
		return s.pgpoolSwitchoversTrial(ctx)
	case "route_flip", "route_gap":
		return s.routeTrial(ctx, w.row.ID)
	case "start":
		return s.startTrial(ctx)
	case "replica_1gb":
		return s.replicaTrial(ctx)
	case "replica_scaled":
		return s.scaleTrial(ctx)
	case "get_closed", "get_offered":
		return s.getTrial(ctx, w.row)
	case "idle_memory", "idle_cpu":
		return s.idleTrial(ctx, w.row)
	case "commit_gate":
		return s.gateTrial(ctx, w.number)
	case "pgrw_overhead":
		return s.overheadTrial(ctx)
	case "pgrw_stale":
		return s.staleTrial(ctx, w.number)
	case "etcd_idle":
		return s.etcdTrial(ctx)
	}
	return s.gapTrial(ctx, w.row)
}
