package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/test/testbed"
)

// Parts of the cluster that a fault can hit.
const (
	onPrimary = "primary"
	onStandby = "standby"
	onEtcd    = "etcd"
)

// fault is one way to break something. strike breaks it and returns what mends it.
type fault struct {
	name string
	on   []string
	// least and most are how long it lasts.
	least, most time.Duration
	// network faults may hold an acknowledgement back that was sent in time.
	network bool
	// frozen faults are the named exception: in asynchronous mode without a gate nothing
	// stops a server whose every agent process stands still.
	frozen bool
	// gate faults hit the process that confirms commits, where there is one.
	gate   bool
	strike func(ctx context.Context, w *world, n *testbed.Node) (heal func() error, err error)
}

var (
	anyNode  = []string{onPrimary, onPrimary, onStandby}
	etcdOnly = []string{onEtcd}
)

// catalog is every fault; schedules draw from it by index.
var catalog = []fault{
	{name: "kill_worker", on: anyNode, strike: kill(testbed.Worker)},
	{name: "kill_guard", on: anyNode, strike: kill(testbed.Guard)},
	{name: "kill_supervisor", on: anyNode, strike: kill(testbed.Supervisor)},
	{name: "kill_postmaster", on: anyNode, strike: kill(testbed.Postmaster)},
	{name: "kill_backend", on: []string{onPrimary}, strike: killServerProcess("postgres postgres ")},
	{name: "kill_walreceiver", on: []string{onStandby}, strike: killServerProcess("walreceiver")},
	{name: "kill_node", on: anyNode, least: time.Second, most: 8 * time.Second, strike: killNode},
	{name: "freeze_worker", on: anyNode, least: time.Second, most: 10 * time.Second, strike: freeze(testbed.Worker)},
	{name: "freeze_guard", on: anyNode, least: time.Second, most: 10 * time.Second, strike: freeze(testbed.Guard)},
	{name: "freeze_supervisor", on: anyNode, least: time.Second, most: 10 * time.Second, strike: freeze(testbed.Supervisor)},
	{name: "freeze_postmaster", on: anyNode, least: time.Second, most: 14 * time.Second, strike: freeze(testbed.Postmaster)},
	{name: "freeze_server", on: anyNode, least: time.Second, most: 14 * time.Second, strike: freezeServer},
	{name: "freeze_backend", on: []string{onPrimary}, least: time.Second, most: 5 * time.Second, strike: freezeServerProcess("postgres postgres ")},
	{name: "freeze_walreceiver", on: []string{onStandby}, least: time.Second, most: 8 * time.Second, strike: freezeServerProcess("walreceiver")},
	{name: "freeze_agent", on: []string{onPrimary}, least: 2 * time.Second, most: 10 * time.Second, frozen: true,
		strike: freeze(testbed.Supervisor, testbed.Guard, testbed.Worker)},
	{name: "freeze_agent_and_gate", on: []string{onPrimary}, least: 2 * time.Second, most: 10 * time.Second, frozen: true, gate: true,
		strike: freeze(testbed.Gate, testbed.Supervisor, testbed.Guard, testbed.Worker)},
	{name: "kill_gate", on: []string{onPrimary}, gate: true, strike: kill(testbed.Gate)},
	{name: "freeze_gate", on: []string{onPrimary}, least: time.Second, most: 5 * time.Second, gate: true, strike: freeze(testbed.Gate)},
	{name: "freeze_node", on: anyNode, least: time.Second, most: 10 * time.Second, frozen: true, strike: freezeNode},
	{name: "link_down", on: anyNode, least: time.Second, most: 10 * time.Second, network: true, strike: linkDown},
	{name: "cut_in", on: anyNode, least: time.Second, most: 10 * time.Second, network: true, strike: cut(cutIn)},
	{name: "cut_out", on: anyNode, least: time.Second, most: 10 * time.Second, network: true, strike: cut(cutOut)},
	{name: "cut_etcd", on: anyNode, least: time.Second, most: 10 * time.Second, network: true, strike: cut(cutEtcd)},
	{name: "cut_sql_port", on: anyNode, least: time.Second, most: 10 * time.Second, network: true, strike: cut(cutSQL)},
	{name: "cut_rest_port", on: anyNode, least: time.Second, most: 10 * time.Second, network: true, strike: cut(cutREST)},
	{name: "loss_10_percent", on: anyNode, least: 2 * time.Second, most: 10 * time.Second, network: true, strike: cut(lossy)},
	{name: "delay_300_ms", on: anyNode, least: 2 * time.Second, most: 10 * time.Second, network: true, strike: delay},
	{name: "disk_full", on: anyNode, least: time.Second, most: 14 * time.Second, strike: diskFull},
	{name: "disk_frozen", on: anyNode, least: time.Second, most: 16 * time.Second, strike: freezeNodeDisk},
	{name: "etcd_member_killed", on: etcdOnly, least: time.Second, most: 8 * time.Second, strike: killMembers(1, false)},
	{name: "etcd_leader_killed", on: etcdOnly, least: time.Second, most: 8 * time.Second, strike: killMembers(1, true)},
	{name: "etcd_quorum_killed", on: etcdOnly, least: time.Second, most: 10 * time.Second, strike: killMembers(2, true)},
	{name: "etcd_leader_cut", on: etcdOnly, least: time.Second, most: 10 * time.Second, strike: cutLeader},
	{name: "etcd_leader_disk_frozen", on: etcdOnly, least: 2 * time.Second, most: 10 * time.Second, strike: freezeLeaderDisk},
	{name: "switchover", on: etcdOnly, strike: switchover},
}

func faultNamed(name string) (fault, error) {
	for _, f := range catalog {
		if f.name == name {
			return f, nil
		}
	}
	return fault{}, fmt.Errorf("there is no fault %q", name)
}

// faultsNamed are the faults of a list, all when it is empty.
func faultsNamed(names []string) ([]fault, error) {
	var all []fault
	for _, name := range names {
		f, err := faultNamed(name)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	if len(all) == 0 {
		all = catalog
	}
	return all, nil
}

func nothing() error { return nil }

// running forgives that a process does not run at this moment.
func running(err error) error {
	if errors.Is(err, testbed.ErrNoProcess) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func kill(p testbed.Process) func(context.Context, *world, *testbed.Node) (func() error, error) {
	return func(_ context.Context, _ *world, n *testbed.Node) (func() error, error) {
		heal := func() error {
			if p != testbed.Supervisor {
				return start(n)
			}
			_, err := n.Exit(30 * time.Second)
			return errors.Join(err, start(n))
		}
		return heal, running(n.Kill(p))
	}
}

// start is what an init system does when an agent has ended; killed is waited for.
func start(n *testbed.Node) error {
	if n.Running() {
		return nil
	}
	return n.Start()
}

func killNode(_ context.Context, _ *world, n *testbed.Node) (func() error, error) {
	return func() error { return start(n) }, n.KillAll()
}

// freeze stops processes one right after the other. Each is thawed by its id.
func freeze(all ...testbed.Process) func(context.Context, *world, *testbed.Node) (func() error, error) {
	return func(_ context.Context, _ *world, n *testbed.Node) (func() error, error) {
		var pids []int
		for _, p := range all {
			pid, err := n.PID(p)
			if err != nil {
				continue
			}
			pids = append(pids, pid)
		}
		return freezePIDs(n, pids)
	}
}

func freezePIDs(n *testbed.Node, pids []int) (func() error, error) {
	for _, pid := range pids {
		_ = n.SignalPID(pid, unix.SIGSTOP) // it may have ended
	}
	return func() error {
		for _, pid := range pids {
			_ = n.SignalPID(pid, unix.SIGCONT) // it may have been killed meanwhile
		}
		return nil
	}, nil
}

func freezeNode(_ context.Context, _ *world, n *testbed.Node) (func() error, error) {
	n.FreezeAll()
	return func() error { n.ThawAll(); return nil }, nil
}

// freezeServer stops the server whole: the agent goes on and cannot look at it.
func freezeServer(_ context.Context, _ *world, n *testbed.Node) (func() error, error) {
	var pids []int
	for _, pid := range n.PIDs() {
		if name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm")); err == nil && strings.TrimSpace(string(name)) == "postgres" {
			pids = append(pids, pid)
		}
	}
	return freezePIDs(n, pids)
}

// serverProcess is one of the server's processes whose title holds a word, 0 for none.
func serverProcess(w *world, n *testbed.Node, title string) int {
	var found []int
	for _, pid := range n.PIDs() {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil && strings.HasPrefix(string(line), "postgres: ") && strings.Contains(string(line), title) {
			found = append(found, pid)
		}
	}
	if len(found) == 0 {
		return 0
	}
	return found[w.dice.IntN(len(found))]
}

func killServerProcess(title string) func(context.Context, *world, *testbed.Node) (func() error, error) {
	return func(_ context.Context, w *world, n *testbed.Node) (func() error, error) {
		if pid := serverProcess(w, n, title); pid != 0 {
			_ = n.SignalPID(pid, unix.SIGKILL) // it may have ended
		}
		return nothing, nil
	}
}

func freezeServerProcess(title string) func(context.Context, *world, *testbed.Node) (func() error, error) {
	return func(_ context.Context, w *world, n *testbed.Node) (func() error, error) {
		return freezePIDs(n, []int{serverProcess(w, n, title)})
	}
}

func diskFull(_ context.Context, _ *world, n *testbed.Node) (func() error, error) {
	return fillDisk(n.Dir())
}

// freezeNodeDisk leaves a node without its disk: data, WAL and the agent's own state.
func freezeNodeDisk(_ context.Context, w *world, n *testbed.Node) (func() error, error) {
	return w.disks.freeze(n.Dir())
}

// switchover is asked for as an operator does, and not waited for.
func switchover(ctx context.Context, w *world, _ *testbed.Node) (func() error, error) {
	w.switching.Go(func() {
		r, err := w.c.Ctl(ctx, "switchover", "--force")
		if err == nil && r.Code == 0 {
			w.mu.Lock()
			w.switched++
			w.mu.Unlock()
		}
	})
	return nothing, nil
}
