package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Patroni's minima of ttl and loop_wait; and the longest retry_timeout that they allow, since
// Patroni stops its primary when etcd does not answer for that long, as on a busy machine.
const (
	PatroniTTL          = 20 * time.Second
	PatroniLoopWait     = time.Second
	PatroniRetryTimeout = 9 * time.Second
)

// UnderPatroni has the node's next start run the distribution's Patroni in place of an
// agent, or an agent again. Both read the same file and go on with the same data
// directory, as on a machine that is moved from one to the other. The node is down.
func (n *Node) UnderPatroni(patroni bool) error {
	if n.Running() {
		return fmt.Errorf("the agent of %s runs", n.Name)
	}
	n.patroni = patroni
	if !patroni {
		return nil
	}
	program, err := ProgramPath("postgres")
	if err != nil {
		return err
	}
	return n.Reconfigure(func(config map[string]any) {
		server, _ := config["postgresql"].(map[string]any)
		server["bin_dir"] = filepath.Dir(program)
		server["pgpass"] = filepath.Join(n.dir, "pgpass") // Patroni's default is one file for all nodes
		if store, ok := config["etcd3"].(map[string]any); ok {
			store["use_proxies"] = true // else Patroni looks for etcd's own addresses, past the node's path
		}
	})
}

// IsPatroni reports whether the node is run by Patroni.
func (n *Node) IsPatroni() bool { return n.patroni }

// startPatroni runs Patroni as the server's user. It ends the server with itself when the
// test run is killed, unless it was killed before: then the server is left.
func (n *Node) startPatroni(log *os.File) error {
	program, err := find("patroni")
	if err != nil {
		return err
	}
	if uid := n.bed.place.uid; uid >= 0 {
		if err := os.Chown(n.ConfigPath(), uid, n.bed.place.gid); err != nil {
			return fmt.Errorf("give the configuration to Patroni: %w", err)
		}
	}
	cmd := n.host.command(program, n.ConfigPath())
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	cmd.Env = append(environment(), "PYTHONUNBUFFERED=1", "HOME="+n.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, Credential: n.bed.place.credential()}
	started, exited := make(chan error, 1), make(chan struct{})
	go runLocked(cmd, started, exited)
	if err := <-started; err != nil {
		return fmt.Errorf("start patroni of %s: %w", n.Name, err)
	}
	n.command, n.exited = cmd, exited
	return nil
}

// credential is the servers' user, when root runs the test.
func (p place) credential() *syscall.Credential {
	if p.uid < 0 {
		return nil
	}
	return &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid)}
}

// PatroniVersion is what `patroni --version` says; ErrNotInstalled when there is none.
func PatroniVersion(ctx context.Context) (string, error) {
	program, err := find("patroni")
	if err != nil {
		return "", err
	}
	said, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("patroni --version: %w", err)
	}
	return strings.TrimSpace(string(said)), nil
}

// Patronictl runs Patroni's own tool over the store, with the operator's configuration.
func (c *Cluster) Patronictl(ctx context.Context, args ...string) (Result, error) {
	path, err := c.operatorConfig()
	if err != nil {
		return Result{}, err
	}
	program, err := find("patronictl")
	if err != nil {
		return Result{}, err
	}
	return run(ctx, exec.CommandContext(ctx, program, append([]string{"-c", path}, args...)...), "")
}
