package guard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// processTable is the real processes. Reaping is left to the loop, so that a child
// that the loop knows of keeps its pid until the loop has waited for it.
type processTable struct {
	orders   chan order
	changed  chan struct{}
	sigchld  chan os.Signal
	resetOOM bool // this process changed its own oom_score_adj, children inherit it

	mu      sync.Mutex
	adopted map[int]int // pid to pidfd
	gone    []ended     // adopted processes that ended
}

type order struct {
	fork   func() (pid int, err error)
	result chan<- spawned
}

type spawned struct {
	pid int
	err error
}

func newProcessTable(resetOOM bool) *processTable {
	t := &processTable{
		orders: make(chan order), changed: make(chan struct{}, 1),
		sigchld: make(chan os.Signal, 1), resetOOM: resetOOM, adopted: map[int]int{},
	}
	signal.Notify(t.sigchld, unix.SIGCHLD)
	go func() {
		for range t.sigchld {
			notify(t.changed)
		}
	}()
	go t.spawner()
	return t
}

// spawner forks every server from one thread that lives as long as the guard: the
// parent-death signal follows the thread that forked, not the process.
func (t *processTable) spawner() {
	// guard: spawn-from-one-thread — SAFETY 2, ARCHITECTURE 2 "spawn from a locked thread that lives as long as the guard".
	runtime.LockOSThread()
	for o := range t.orders {
		pid, err := o.fork()
		o.result <- spawned{pid, err}
	}
}

// ordinaryOOM makes a server a normal candidate of the OOM killer. One that keeps
// the guard's immunity would be killed last of all, and the guard with it.
func (t *processTable) ordinaryOOM(pid int) error {
	err := os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("0"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // ended already: the loop will reap it
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		return fmt.Errorf("reset oom_score_adj of the server: %w", err)
	}
	return nil
}

// ordinaryPriority takes from a server what the service manager may have given the guard (deploy/systemd does): its keepers
// come before it on a busy machine, or it would starve them. What the system does not allow is no reason not to serve.
func ordinaryPriority(pid int) {
	const ordinary = 20 // less the nice value, as the system call has it
	if priority, err := unix.Getpriority(unix.PRIO_PROCESS, pid); err == nil && priority > ordinary {
		_ = unix.Setpriority(unix.PRIO_PROCESS, pid, 0)
	}
}

// Spawn starts a server and returns when its program runs.
func (t *processTable) Spawn(dir directory, r request) (int, error) {
	pid, err := t.fork(func() (int, error) {
		pid, err := spawn(r)
		if err != nil {
			return pid, err
		}
		ordinaryPriority(pid)
		if t.resetOOM {
			err = t.ordinaryOOM(pid)
		}
		return pid, err
	})
	if err != nil {
		return 0, err
	}
	// guard: spawned-is-seen — S1, S5: what the proof that nothing is left does not see is not started
	in, err := visible(pid, dir)
	if err == nil && !in && runs(pid) {
		err = errUnseen
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		return 0, fmt.Errorf("a server whose working directory cannot be seen cannot be guarded: %w", err)
	}
	return pid, nil
}

// errUnseen: the kernel hides a process from its own user.
var errUnseen = errors.New("its process shows none: is the program unreadable for its user, or does it have capabilities (ls -l, getcap), or is /proc mounted with hidepid?")

// runs reports whether a child of ours has not ended: one that has is shown until it is
// reaped, and has no working directory.
func runs(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) {
		return unix.Kill(pid, 0) == nil // hidepid, or gone
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return err != nil || !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// fork has the spawner's thread call f.
func (t *processTable) fork(f func() (pid int, err error)) (int, error) {
	result := make(chan spawned, 1)
	t.orders <- order{f, result}
	s := <-result
	return s.pid, s.err
}

func spawn(r request) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	log, err := openLog(r.LogPath, r.Owner)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	sys := &syscall.SysProcAttr{
		Setsid: true,
		// guard: dies-with-guard — SAFETY 2, ARCHITECTURE 2: "even a guard that is killed takes the server with it".
		Pdeathsig: syscall.SIGQUIT,
	}
	// A plain user can only be itself, and may not even set its own groups again.
	if o := r.Owner; o != nil && os.Geteuid() == 0 {
		sys.Credential = o.credential()
	}
	pid, err := syscall.ForkExec(r.Argv[0], r.Argv, &syscall.ProcAttr{
		Dir:   r.DataDir, // so that a scan sees it from its first instruction on
		Env:   r.Env,
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   sys,
	})
	if err != nil {
		return 0, &os.PathError{Op: "exec", Path: r.Argv[0], Err: err}
	}
	return pid, nil
}

func (o *Owner) credential() *syscall.Credential {
	return &syscall.Credential{Uid: o.UID, Gid: o.GID, Groups: o.Groups}
}

// openLog opens the file a server's output goes to; without a path it joins the
// guard's own.
func openLog(path string, owner *Owner) (*os.File, error) {
	if path == "" {
		fd, err := unix.FcntlInt(uintptr(unix.Stderr), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, fmt.Errorf("duplicate stderr: %w", err)
		}
		return os.NewFile(uintptr(fd), "stderr"), nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if owner != nil && os.Geteuid() == 0 {
		if err := f.Chown(int(owner.UID), int(owner.GID)); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return f, nil
}

// Signal reaches a child by its pid, which nobody else can have before it is
// waited for, and an adopted process by its pidfd.
func (t *processTable) Signal(pid int, sig syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd, ok := t.adopted[pid]; ok {
		return unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	return unix.Kill(pid, sig)
}

func (t *processTable) Scan(dir directory) ([]int, error) { return scan(dir) }

func (t *processTable) Kill(dir directory, pids []int) { kill(dir, pids) }

func (t *processTable) Changed() <-chan struct{} { return t.changed }

// Reap waits for every child that has ended, orphans included.
func (t *processTable) Reap() []ended {
	t.mu.Lock()
	all := t.gone
	t.gone = nil
	t.mu.Unlock()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return all
		}
		e := ended{pid: pid, status: ws.ExitStatus()}
		if ws.Signaled() {
			e.signal = int(ws.Signal())
		}
		all = append(all, e)
	}
}

// Parent returns the parent of a process, 0 when it is gone.
func Parent(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// "pid (name) state ppid ...": a name may hold blanks and parentheses.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(fields[1]))
	return ppid
}
