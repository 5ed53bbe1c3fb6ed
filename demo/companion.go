package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// companion is a process beside the nodes that ends with the demo, even with one that is
// killed.
type companion struct {
	name, log string
	stop      context.CancelFunc
	exited    chan struct{}
}

// accompany starts one; its log is in dir.
func accompany(p *place, dir, name string, env []string, program string, args ...string) (*companion, error) {
	ctx, stop := context.WithCancel(context.Background())
	c := &companion{name: name, log: filepath.Join(dir, name+".log"), stop: stop, exited: make(chan struct{})}
	command := exec.CommandContext(ctx, program, args...)
	command.Env = env
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.uid >= 0 {
		// HAProxy must not change its user itself: the kernel would forget the
		// signal.
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid)}
	}
	started := make(chan error, 1)
	go c.run(command, started)
	if err := <-started; err != nil {
		stop()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// run starts it from a thread that lives as long as it does: the kernel's
// parent-death signal, which ends it when the demo is killed, follows the thread
// and not the process.
func (c *companion) run(command *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.exited)
	log, err := os.Create(c.log)
	if err == nil {
		defer log.Close()
		command.Stdout, command.Stderr = log, log
		err = command.Start()
	}
	started <- err
	if err == nil {
		_ = command.Wait() // how it ended stands in its log
	}
}

// broken says why it ended by itself; empty while it runs.
func (c *companion) broken() string {
	select {
	case <-c.exited:
		return c.name + " has ended: " + strings.Join(tail(c.log, 3), " ")
	default:
		return ""
	}
}

func (c *companion) close() {
	c.stop()
	select {
	case <-c.exited:
	case <-time.After(5 * time.Second):
	}
}
