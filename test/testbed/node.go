package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/demo/freeport"
)

// Node is one member: a folder, two ports, and the processes of its agent.
type Node struct {
	Name             string
	SQLPort, APIPort int

	bed    *Cluster
	host   Host
	dir    string
	relays []*relay
	config map[string]any
	// patroni: the next start runs Patroni.
	patroni bool

	pipeRead, pipeWrite *os.File
	command             *exec.Cmd
	exited              chan struct{}
}

// Dir is the node's folder.
func (n *Node) Dir() string { return n.dir }

// DataDir is the server's data directory.
func (n *Node) DataDir() string { return filepath.Join(n.dir, "data") }

// StateDir is what the agent keeps.
func (n *Node) StateDir() string { return n.DataDir() + ".pgkeeper" }

// RuntimeDir is where the agent's sockets and locks are.
func (n *Node) RuntimeDir() string { return filepath.Join(n.dir, "run") }

// ConfigPath is the node's configuration file.
func (n *Node) ConfigPath() string { return filepath.Join(n.dir, "pgkeeper.yml") }

// LogPath is what the agent's processes and the server wrote.
// It is beside the folder, which may be a file system that a test fills.
func (n *Node) LogPath() string { return n.dir + ".log" }

// Log is all that the agent's processes and the server wrote so far.
func (n *Node) Log() string {
	text, err := os.ReadFile(n.LogPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (c *Cluster) newNode(name string) (*Node, error) {
	dir, err := c.folder(name)
	if err != nil {
		return nil, err
	}
	found, err := freeport.Find(2)
	if err != nil {
		return nil, err
	}
	n := &Node{Name: name, SQLPort: found[0], APIPort: found[1], bed: c, host: c.options.host(name), dir: dir}
	if err := n.makeRelays(); err != nil {
		return nil, err
	}
	if n.pipeRead, n.pipeWrite, err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("make the life pipe of %s: %w", name, err)
	}
	n.config = c.defaultConfig(n)
	if c.options.Configure != nil {
		c.options.Configure(name, n.config)
	}
	return n, n.writeConfig()
}

// folder makes the folder of a node, which the servers' user owns.
func (c *Cluster) folder(name string) (string, error) {
	dir, err := c.place.folder(name)
	if err == nil && c.options.Folder != nil {
		if err = c.options.prepare(name, dir); err == nil {
			_, err = c.place.folder(name) // what was mounted there belongs to root
		}
	}
	return dir, err
}

// makeRelays makes the node's paths to etcd. In a namespace of its own it has real
// ones, which are broken by other means.
func (n *Node) makeRelays() error {
	if n.host.Namespace != "" {
		return nil
	}
	for _, target := range n.bed.Etcd.Endpoints() {
		r, err := newRelay(target)
		if err != nil {
			return fmt.Errorf("make the path from %s to etcd: %w", n.Name, err)
		}
		n.relays = append(n.relays, r)
	}
	return nil
}

// SQLAddress is where the node's server listens, host:port.
func (n *Node) SQLAddress() string { return n.host.address(n.SQLPort) }

// APIAddress is where the node's REST API listens, host:port.
func (n *Node) APIAddress() string { return n.host.address(n.APIPort) }

// defaultConfig is an ordinary configuration, which Options.Configure may change.
func (c *Cluster) defaultConfig(n *Node) map[string]any {
	var hosts []any
	for _, r := range n.relays {
		hosts = append(hosts, r.address())
	}
	if n.host.Namespace != "" {
		for _, endpoint := range c.Etcd.Endpoints() {
			hosts = append(hosts, endpoint)
		}
	}
	role := func(name, password string) map[string]any {
		return map[string]any{"username": name, "password": password}
	}
	initdb := append([]any{map[string]any{"encoding": "UTF8"}, map[string]any{"locale": "C.UTF-8"}, "data-checksums"}, c.options.InitDB...)
	return map[string]any{
		"scope": Scope, "name": n.Name,
		"restapi": map[string]any{"listen": n.APIAddress(), "connect_address": n.APIAddress()},
		"etcd3":   map[string]any{"hosts": hosts},
		"bootstrap": map[string]any{
			"dcs": c.options.dynamic(), "initdb": initdb,
		},
		"postgresql": map[string]any{
			"listen": n.SQLAddress(), "connect_address": n.SQLAddress(), "data_dir": n.DataDir(),
			"authentication": map[string]any{
				"superuser": role(superuser, superuserPassword), "replication": role("replicator", "rep-secret"),
				"rewind": role("rewinder", "rewind-secret"),
			},
			"parameters": map[string]any{"unix_socket_directories": n.dir},
			"pg_hba": []any{
				"local all all scram-sha-256", "host all all samenet scram-sha-256",
				"host replication all samenet scram-sha-256",
			},
			"basebackup": []any{map[string]any{"checkpoint": "fast"}},
		},
		"pgkeeper": map[string]any{"runtime_dir": n.RuntimeDir()},
	}
}

// Reconfigure changes the configuration file; the agent reads it at a reload or
// at its next start.
func (n *Node) Reconfigure(change func(config map[string]any)) error {
	change(n.config)
	return n.writeConfig()
}

// writeConfig writes JSON, which is YAML too.
func (n *Node) writeConfig() error {
	text, err := json.MarshalIndent(n.config, "", "  ")
	if err != nil {
		return fmt.Errorf("write the configuration of %s: %w", n.Name, err)
	}
	return os.WriteFile(n.ConfigPath(), append(text, '\n'), 0o600)
}

// Start runs `pgkeeper agent`, or Patroni, and returns at once.
func (n *Node) Start() error {
	if n.Running() {
		return fmt.Errorf("the agent of %s runs already", n.Name)
	}
	log, err := os.OpenFile(n.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", n.Name, err)
	}
	defer log.Close()
	if n.patroni {
		return n.startPatroni(log)
	}
	n.command = n.host.command(n.bed.binary, "agent", "--config", n.ConfigPath(), "--until-parent-exits")
	n.command.Env = append(environment(), n.bed.options.Environment...)
	n.command.Stdout, n.command.Stderr = log, log
	n.command.ExtraFiles = []*os.File{n.pipeRead}
	n.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.command.Start(); err != nil {
		return fmt.Errorf("start the agent of %s: %w", n.Name, err)
	}
	exited := make(chan struct{})
	n.exited = exited
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(exited)
	}(n.command)
	return nil
}

// Running reports whether the agent's main process runs as we started it.
func (n *Node) Running() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// ErrStillRuns says that an agent did not end in time.
var ErrStillRuns = errors.New("still runs")

// Exit waits for the agent's end and returns its exit code, -1 for one that was
// killed by a signal.
func (n *Node) Exit(limit time.Duration) (int, error) {
	if n.exited == nil {
		return 0, fmt.Errorf("the agent of %s %w", n.Name, ErrNoProcess)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-n.exited:
		return n.command.ProcessState.ExitCode(), nil
	case <-timer.C:
		return 0, fmt.Errorf("the agent of %s %w after %v", n.Name, ErrStillRuns, limit)
	}
}

// Stop sends SIGTERM to the agent, as its operator would, and waits for its end,
// which must be orderly.
func (n *Node) Stop(limit time.Duration) error {
	if err := n.Signal(Supervisor, syscall.SIGTERM); err != nil {
		return err
	}
	code, err := n.Exit(limit)
	if err == nil && code != 0 {
		err = fmt.Errorf("the agent of %s ended with exit code %d", n.Name, code)
	}
	return err
}

func (n *Node) await() {
	if n.exited != nil {
		<-n.exited
	}
}

// CutEtcd cuts the node off from the store: connections end and none is taken.
func (n *Node) CutEtcd() { n.path(true, false) }

// FreezeEtcd lets nothing through, and closes nothing: packets are lost.
func (n *Node) FreezeEtcd() { n.path(false, true) }

// HealEtcd makes the path whole.
func (n *Node) HealEtcd() { n.path(false, false) }

func (n *Node) path(cut, frozen bool) {
	for _, r := range n.relays {
		r.set(cut, frozen)
	}
}

// Healthy waits until the node's REST API answers 200 on path.
func (n *Node) Healthy(ctx context.Context, limit time.Duration, path string) error {
	return Wait(ctx, limit, n.Name+" "+path+" 200", func(ctx context.Context) string {
		if code := n.Health(ctx, path); code != 200 {
			return "it answers " + strconv.Itoa(code)
		}
		return ""
	})
}

// end kills what is left of the node; the server gets a chance to remove its
// shared memory.
func (n *Node) end() error {
	for _, p := range []Process{Supervisor, Worker} {
		_ = n.Kill(p) // it may not run
	}
	if pid, err := n.PID(Postmaster); err == nil {
		_ = n.SignalPID(pid, syscall.SIGCONT)
		_ = n.SignalPID(pid, syscall.SIGQUIT)
		_ = Wait(context.Background(), 3*time.Second, "the server", func(context.Context) string {
			if Gone(pid) {
				return ""
			}
			return "runs"
		})
	}
	err := n.killRest()
	n.removeShared()
	for _, r := range n.relays {
		r.close()
	}
	return errors.Join(err, n.pipeRead.Close(), n.pipeWrite.Close())
}
