//go:build bench

package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/deploy"
	"github.com/pgkeeper/pgkeeper/test/bench/report"
	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/lan"
)

// keeper is a pgkeeper cluster on the test bed.
type keeper struct {
	bed *testbed.Cluster
	// bouncer is the pooler in front of it, if the setup has one.
	bouncer *testbed.PgBouncer
	id      string
	s       setup
	list    []member
}

func startKeeper(ctx context.Context, id string, s setup) (system, error) {
	k := &keeper{id: id, s: s}
	var err error
	o := testbed.Options{
		EtcdMembers: 3, EtcdBinary: true, Fsync: true, Unstarted: true,
		TTL: s.ttl, LoopWait: s.loopWait, RetryTimeout: s.retryTimeout, Parameters: serverParameters(), Dynamic: s.dynamic,
	}
	if s.hosts {
		o.Host = lan.Host
	}
	if s.volumes {
		v := &testbed.Volumes{}
		o.Folder, o.Release = func(name, dir string) error {
			if strings.HasPrefix(name, "etcd") {
				return nil
			}
			return v.Mount(dir, volumeSize, 0o755)
		}, v.Unmount
	}
	if k.bed, err = testbed.Start(ctx, o); err != nil {
		return k, err
	}
	for _, n := range k.bed.Nodes {
		if err := k.take(n); err != nil {
			return k, err
		}
	}
	if s.pooled {
		if err := k.pool(ctx); err != nil {
			return k, err
		}
	}
	if s.unstarted {
		return k, nil
	}
	return k, k.bed.StartNodes()
}

// take makes a node of the test bed ours: straight to etcd, past the relays that tests cut, and open to our client.
func (k *keeper) take(n *testbed.Node) error {
	k.list = append(k.list, &keeperNode{n})
	return n.Reconfigure(func(c map[string]any) {
		var hosts []any
		for _, e := range k.bed.Etcd.Endpoints() {
			hosts = append(hosts, e)
		}
		section(c, "etcd3")["hosts"] = hosts
		pg := section(c, "postgresql")
		lines, _ := pg["pg_hba"].([]any)
		pg["pg_hba"] = append([]any{clientAccess, lanAccess}, lines...)
		section(pg, "authentication")["superuser"] = map[string]any{"username": superuser, "password": secret}
	})
}

// section is a mapping within a configuration, made when it is missing.
func section(c map[string]any, key string) map[string]any {
	s, ok := c[key].(map[string]any)
	if !ok {
		s = map[string]any{}
		c[key] = s
	}
	return s
}

func (k *keeper) name() string        { return report.Keeper }
func (k *keeper) build() string       { return k.id }
func (k *keeper) etcd() *testbed.Etcd { return k.bed.Etcd }
func (k *keeper) members() []member   { return k.list }
func (k *keeper) ttl() time.Duration  { return k.s.ttl }

func (k *keeper) close() error {
	err := k.bed.Close()
	if k.bouncer != nil {
		err = errors.Join(err, k.bouncer.Close())
	}
	return err
}

func (k *keeper) add(name string) (member, error) {
	n, err := k.bed.Add(name)
	if err != nil {
		return nil, err
	}
	err = k.take(n)
	return k.list[len(k.list)-1], err
}

// proxy is the shipped configuration with this cluster's addresses.
func (k *keeper) proxy(dir string) (config, writes string, err error) {
	p := deploy.DefaultHAProxyParams()
	p.Servers = nil
	for _, n := range k.bed.Nodes {
		p.Servers = append(p.Servers, deploy.Server{Name: n.Name, Addr: "127.0.0.1", Port: n.SQLPort, CheckPort: n.APIPort})
	}
	if p.Primary, p.Replica, err = twoAddresses(); err != nil {
		return "", "", err
	}
	p.Stats, p.Socket, p.User, p.Group, p.Chroot = "", "", "", "", ""
	p.Log = "stderr format raw local0"
	config, err = p.Write(dir)
	return config, p.Primary, err
}

type keeperNode struct{ n *testbed.Node }

func (m *keeperNode) name() string          { return m.n.Name }
func (m *keeperNode) sql() string           { return m.n.SQLAddress() }
func (m *keeperNode) api() string           { return m.n.APIAddress() }
func (m *keeperNode) logPath() string       { return m.n.LogPath() }
func (m *keeperNode) start() error          { return m.n.Start() }
func (m *keeperNode) data() string          { return m.n.DataDir() }
func (m *keeperNode) running() bool         { return m.n.Running() }
func (m *keeperNode) killAll() error        { return m.n.KillAll() }
func (m *keeperNode) killPostmaster() error { return m.n.Kill(testbed.Postmaster) }

func (m *keeperNode) stop(limit time.Duration) error { return m.n.Stop(limit) }

func (m *keeperNode) agentPIDs() []int {
	var pids []int
	for _, p := range []testbed.Process{testbed.Supervisor, testbed.Worker, testbed.Guard, testbed.Gate, testbed.Probe} {
		if pid, err := m.n.PID(p); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hits: each process frozen, and every set of them killed at once.
func (m *keeperNode) hits() []hit {
	var all []hit
	processes := []testbed.Process{testbed.Supervisor, testbed.Worker, testbed.Guard}
	for _, p := range processes {
		var pid int
		all = append(all, hit{
			what: string(p) + " frozen", frozen: true,
			do: func() (err error) {
				if pid, err = m.n.PID(p); err != nil {
					return err
				}
				return m.n.SignalPID(pid, syscall.SIGSTOP)
			},
			undo: func() error {
				if testbed.Gone(pid) {
					return nil // the others ended it
				}
				return m.n.SignalPID(pid, syscall.SIGCONT)
			},
		})
	}
	for set := 1; set < 1<<len(processes); set++ {
		what, members := "", []testbed.Process{}
		for i, p := range processes {
			if set&(1<<i) != 0 {
				what, members = what+string(p)+" ", append(members, p)
			}
		}
		all = append(all, hit{what: what + "killed", do: func() error { return m.killSet(members) }, undo: func() error { return nil }})
	}
	return all
}

// killSet finds all of them before the first dies: the others would be replaced.
func (m *keeperNode) killSet(processes []testbed.Process) error {
	var pids []int
	for _, p := range processes {
		pid, err := m.n.PID(p)
		if err != nil {
			return err
		}
		pids = append(pids, pid)
	}
	var all error
	for _, pid := range pids {
		all = errors.Join(all, m.n.SignalPID(pid, syscall.SIGKILL))
	}
	return all
}

func (m *keeperNode) wipe() error {
	return errors.Join(os.RemoveAll(m.n.DataDir()), os.RemoveAll(m.n.StateDir()))
}
