package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/demo"
)

// Process is one of the processes of a node.
type Process string

// The processes of a node that can be hit by name.
const (
	Supervisor Process = "supervisor"
	Worker     Process = "worker"
	Guard      Process = "guard"
	Postmaster Process = "postmaster"
	Gate       Process = "gate"
	Probe      Process = "probe"
)

// ErrNoProcess says that the process does not run.
var ErrNoProcess = errors.New("does not run")

// PID finds a process: the agent's three by their locks, of which the kernel
// knows the holder, the postmaster by its pid file and working directory, gate and probe
// by their command lines.
func (n *Node) PID(p Process) (int, error) {
	pid := 0
	switch p {
	case Postmaster:
		pid = n.postmaster()
	case Supervisor:
		if !n.patroni {
			pid = lockHolder(filepath.Join(n.RuntimeDir(), string(p)+".lock"))
		} else if n.Running() { // Patroni is one process
			pid = n.command.Process.Pid
		}
	case Gate, Probe:
		pid = n.unlocked(p)
	default:
		pid = lockHolder(filepath.Join(n.RuntimeDir(), string(p)+".lock"))
	}
	if pid == 0 || !demo.Belongs(pid, n.dir) {
		return 0, fmt.Errorf("the %s of %s %w", p, n.Name, ErrNoProcess)
	}
	return pid, nil
}

// unlocked is a process that has no lock.
func (n *Node) unlocked(p Process) int {
	for _, pid := range n.PIDs() {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if words := strings.Split(string(line), "\x00"); err == nil && len(words) > 1 && words[1] == string(p) {
			return pid
		}
	}
	return 0
}

func (n *Node) postmaster() int {
	text, err := os.ReadFile(filepath.Join(n.DataDir(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 0 {
		return 0
	}
	if cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd")); err != nil || cwd != n.DataDir() {
		return 0
	}
	return pid
}

// lockHolder asks the kernel who holds a record lock; 0 for nobody.
func lockHolder(path string) int {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock) != nil || lock.Type == unix.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

// Signal sends a signal to one process of the node.
func (n *Node) Signal(p Process, s unix.Signal) error {
	pid, err := n.PID(p)
	if err != nil {
		return err
	}
	return n.SignalPID(pid, s)
}

// Kill sends SIGKILL to one process, Freeze and Thaw SIGSTOP and SIGCONT.
func (n *Node) Kill(p Process) error { return n.Signal(p, unix.SIGKILL) }

// Freeze stops one process, which keeps its sockets, locks and memory.
func (n *Node) Freeze(p Process) error { return n.Signal(p, unix.SIGSTOP) }

// Thaw lets a frozen process go on.
func (n *Node) Thaw(p Process) error { return n.Signal(p, unix.SIGCONT) }

// SignalPID sends a signal to a process by its id, if it is one of this node's.
func (n *Node) SignalPID(pid int, s unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d of %s: %w", pid, n.Name, err)
	}
	defer unix.Close(fd)
	if !demo.Belongs(pid, n.dir) { // asked after the pidfd was opened: no later process with this id is hit
		return fmt.Errorf("process %d is none of %s", pid, n.Name)
	}
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil {
		return fmt.Errorf("signal process %d of %s: %w", pid, n.Name, err)
	}
	return nil
}

// Gone reports whether a process has ended (zombies have).
func Gone(pid int) bool { return demo.Zombie(filepath.Join("/proc", strconv.Itoa(pid))) }

// KillAll ends every process of the node at once, as a power cut does: all are
// frozen first, so that none reacts to the end of another.
func (n *Node) KillAll() error {
	n.FreezeAll()
	return n.killRest()
}

// PIDs are all processes of the node.
func (n *Node) PIDs() []int { return demo.ProcessesOf(n.dir) }

// FreezeAll stops every process of the node, ThawAll lets them go on.
func (n *Node) FreezeAll() {
	n.freeze()
	for _, pid := range n.PIDs() { // slower, and misses none
		_ = n.SignalPID(pid, unix.SIGSTOP)
	}
}

// ThawAll lets every process of the node go on.
func (n *Node) ThawAll() {
	for _, pid := range n.PIDs() {
		_ = n.SignalPID(pid, unix.SIGCONT)
	}
}

// PowerCut ends every process of every node at one moment.
func (c *Cluster) PowerCut() error {
	for _, n := range c.Nodes {
		n.freeze()
	}
	var all error
	for _, n := range c.Nodes {
		all = errors.Join(all, n.KillAll())
	}
	return all
}

// freeze stops the node's processes, within about a millisecond.
func (n *Node) freeze() {
	for _, p := range []Process{Supervisor, Guard, Worker, Postmaster} {
		if pid, err := n.PID(p); err == nil {
			n.freezeTree(pid)
		}
	}
}

// freezeTree stops a process, and then its children: none is born meanwhile.
func (n *Node) freezeTree(pid int) {
	if n.SignalPID(pid, unix.SIGSTOP) != nil {
		return
	}
	lists, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children")) // the pattern is well formed
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for child := range strings.FieldsSeq(string(text)) {
			if id, err := strconv.Atoi(child); err == nil {
				n.freezeTree(id)
			}
		}
	}
}

// KillAgent ends supervisor, worker and guard at once and leaves the server to
// the kernel (the guard's parent-death signal).
func (n *Node) KillAgent() error {
	var pids []int
	for _, p := range []Process{Supervisor, Worker, Guard} {
		pid, err := n.PID(p)
		if err != nil {
			return err
		}
		pids = append(pids, pid)
		if err := n.SignalPID(pid, unix.SIGSTOP); err != nil {
			return err
		}
	}
	var all error
	for _, pid := range pids {
		all = errors.Join(all, n.SignalPID(pid, unix.SIGKILL))
	}
	return all
}

// killRest sends SIGKILL until no process is left: some may be starting others.
func (n *Node) killRest() error {
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		pids := demo.ProcessesOf(n.dir)
		if len(pids) == 0 {
			n.await()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of %s survive SIGKILL", pids, n.Name)
		}
		for _, pid := range pids {
			_ = n.SignalPID(pid, unix.SIGKILL)
		}
	}
}

// removeShared deletes the System V segment that a killed postmaster left: its id
// is the last number of the pid file's shared memory line.
func (n *Node) removeShared() {
	text, err := os.ReadFile(filepath.Join(n.DataDir(), "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(text), "\n")
	const sharedLine = 6
	if len(lines) <= sharedLine {
		return
	}
	fields := strings.Fields(lines[sharedLine])
	if len(fields) != 2 {
		return
	}
	if id, err := strconv.Atoi(fields[1]); err == nil {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	}
}
