package guard

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// gateLook is between two looks whether the gate is alive, gatePatience how long
	// it may show no sign of life: commits wait meanwhile.
	gateLook     = 400 * time.Millisecond
	gatePatience = 1200 * time.Millisecond
	// GateBegins is that time for a gate that does not stream: the next one would begin
	// where this one is. An attempt to connect takes 3 s at most, and on a machine with
	// far too much to do a program needs seconds to begin: killed sooner, none ever would.
	GateBegins = 10 * time.Second
	// gatePause is before a gate is started again that ended at once.
	gatePause = 100 * time.Millisecond
)

// Descriptors that a gate inherits.
const (
	GatePageFD = 3
	GateSpecFD = 4
)

// Gate says which commits a server's gate confirms, and how it gets in. It holds a
// password: never in a Status, nor on a command line.
type Gate struct {
	Name      string `json:"name"` // application_name, the one name in synchronous_standby_names
	SocketDir string `json:"socket_dir"`
	Port      string `json:"port"`
	User      string `json:"user"`
	Password  string `json:"password,omitempty"`
	Owner     *Owner `json:"owner,omitempty"` // who it runs as; nil: the guard's own user
}

// GateStatus is what the guard knows of its server's gate.
type GateStatus struct {
	Name   string     `json:"name"`
	PID    int        `json:"pid,omitempty"` // 0 while none runs: a standby has none
	Starts uint64     `json:"starts"`
	Report GateReport `json:"report"`
}

// gates is what the guard does about gates.
type gates interface {
	// Publish gives the gate its deadline; 0 for "confirm nothing", or Lifted.
	Publish(until, renewed time.Duration)
	// Spawn starts a gate.
	Spawn(g Gate) (pid int, err error)
	Report() GateReport
	// Gone notes that the gate has ended.
	Gone()
}

// gatekeeping is the gate process, if there is one.
type gatekeeping struct {
	pid    int
	name   string
	since  time.Duration
	look   time.Duration // when to look at it again
	next   time.Duration // not to be started before
	dying  bool          // SIGKILL was sent
	starts uint64
}

// publish gives the gate the deadline in force. A frozen guard publishes nothing: then
// the gate goes on confirming up to the deadline it has, and no further.
func (k *keeper) publish() {
	if k.gates == nil {
		return
	}
	var until time.Duration
	switch {
	case k.paused:
		until = Lifted
	case k.lease.live(): // guard: gate-closed-by-end — SAFETY 4: an ended term confirms nothing more
		until = k.lease.at
	}
	k.gates.Publish(until, k.lease.renewed)
}

// setGate says which gate the running server wants; nil for none.
func (k *keeper) setGate(g *Gate) error {
	if k.inst == nil || k.inst.exit != nil {
		return ErrNoServer
	}
	if g != nil && g.Name == "" {
		return fmt.Errorf("%w: a gate needs a name", ErrBadRequest)
	}
	k.inst.gate = g
	k.keepGate(k.clock.Now())
	return nil
}

// wantsGate says whether a gate should run now. A standby commits nothing.
func (k *keeper) wantsGate() bool {
	i := k.inst
	return k.gates != nil && i != nil && i.exit == nil && i.gate != nil && i.writable
}

// keepGate has one gate run while it is wanted: one that ended is started again at
// once, one that shows no sign of life is killed first.
func (k *keeper) keepGate(now time.Duration) {
	g := &k.gate
	wanted := k.wantsGate()
	switch {
	case g.pid == 0:
		if wanted && now >= g.next {
			k.startGate(now)
		}
	case !g.dying && (!wanted || g.name != k.inst.gate.Name):
		k.killGate("not wanted", now)
	case now < g.look:
	case g.dying || k.gateSilent(now):
		k.killGate("no sign of life", now)
	default:
		g.look = now + gateLook
	}
}

// gateSilent says whether the gate that runs has shown no sign of life for too long.
func (k *keeper) gateSilent(now time.Duration) bool {
	r := k.gates.Report()
	patience := gatePatience
	if !r.Streaming {
		patience = GateBegins
	}
	return now > max(r.Beat, k.gate.since)+patience
}

func (k *keeper) startGate(now time.Duration) {
	g, i := &k.gate, k.inst
	g.next = now + gatePause
	pid, err := k.gates.Spawn(*i.gate)
	if err != nil {
		k.log.Error("gate not started, commits wait", "error", err)
		return
	}
	g.pid, g.name, g.since, g.look, g.dying = pid, i.gate.Name, now, now+gatePatience, false
	g.starts++
	k.log.Info("gate started", "pid", pid, "gate", i.gate.Name)
}

// killGate is repeated until the gate is gone; its end is reported like any child's.
func (k *keeper) killGate(why string, now time.Duration) {
	if !k.gate.dying {
		k.log.Info("gate killed", "pid", k.gate.pid, "reason", why)
	}
	k.gate.dying, k.gate.look = true, now+gateLook
	if err := k.procs.Signal(k.gate.pid, syscall.SIGKILL); err != nil {
		k.log.Debug("gate not killed", "pid", k.gate.pid, "error", err)
	}
}

// gateEnded folds in the end of a child, and says whether it was the gate.
func (k *keeper) gateEnded(now time.Duration, e ended) bool {
	g := &k.gate
	if g.pid == 0 || e.pid != g.pid {
		return false
	}
	if k.wantsGate() {
		k.log.Warn("gate ended, commits wait for the next one", "pid", e.pid, "status", e.status, "signal", e.signal)
	}
	g.pid = 0
	g.next = now
	if now < g.since+gatePause {
		g.next = now + gatePause
	}
	k.gates.Gone()
	return true
}

// gateWake is when keepGate has something to do; 0 for never.
func (k *keeper) gateWake() time.Duration {
	switch g := &k.gate; {
	case g.pid != 0:
		return g.look
	case k.wantsGate():
		return max(g.next, 1)
	}
	return 0
}

func (k *keeper) gateStatus() *GateStatus {
	if k.inst == nil || k.inst.gate == nil || k.gates == nil {
		return nil
	}
	return &GateStatus{Name: k.inst.gate.Name, PID: k.gate.pid, Starts: k.gate.starts, Report: k.gates.Report()}
}

// gateProcesses is the real gates: this program in another role.
type gateProcesses struct {
	table *processTable
	page  *Page
	argv  []string
}

func (p *gateProcesses) Publish(until, renewed time.Duration) { p.page.publish(until, renewed) }
func (p *gateProcesses) Report() GateReport                   { return p.page.Report() }
func (p *gateProcesses) Gone()                                { p.page.Stream(false) }

// Spawn hands the gate its page and, in memory that nobody else can open, how to get
// in. It runs as the server's user: it needs no more rights, and the server may know
// its clients by theirs.
func (p *gateProcesses) Spawn(g Gate) (int, error) {
	spec, err := secret(g)
	if err != nil {
		return 0, fmt.Errorf("prepare the gate: %w", err)
	}
	defer spec.Close()
	return p.table.fork(func() (int, error) {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return 0, err
		}
		defer null.Close()
		sys := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
		if g.Owner != nil && os.Geteuid() == 0 {
			sys.Credential = g.Owner.credential()
		}
		// What runs here, although another version may lie in its place by now: both
		// ends of the page must be of one build.
		const self = "/proc/self/exe"
		pid, err := syscall.ForkExec(self, p.argv, &syscall.ProcAttr{
			Dir:   "/", // not in the data directory, or it would count as a process of the server
			Env:   []string{"GOMAXPROCS=1", "GOTRACEBACK=none", "LC_ALL=C"},
			Files: []uintptr{null.Fd(), uintptr(unix.Stderr), uintptr(unix.Stderr), p.page.file.Fd(), spec.Fd()},
			Sys:   sys,
		})
		if err != nil {
			return 0, &os.PathError{Op: "exec", Path: self, Err: err}
		}
		return pid, nil
	})
}

// secret is a gate's options as a file that only its reader has.
func secret(g Gate) (*os.File, error) {
	content, err := json.Marshal(g)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("pgkeeper-gate-spec", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "pgkeeper-gate-spec")
	if _, err := f.WriteAt(content, 0); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// InheritedGate reads what a gate was started with.
func InheritedGate() (Gate, *Page, error) {
	var g Gate
	f := os.NewFile(GateSpecFD, "pgkeeper-gate-spec")
	defer f.Close() // from here on only this process's memory has the password
	var st unix.Stat_t
	if err := unix.Fstat(GateSpecFD, &st); err != nil {
		return g, nil, fmt.Errorf("read descriptor %s, which a guard passes: %w", strconv.Itoa(GateSpecFD), err)
	}
	content := make([]byte, st.Size)
	if _, err := f.ReadAt(content, 0); err != nil {
		return g, nil, fmt.Errorf("read what to connect to: %w", err)
	}
	if err := json.Unmarshal(content, &g); err != nil {
		return g, nil, fmt.Errorf("read what to connect to: %w", err)
	}
	page, err := OpenPage(GatePageFD)
	return g, page, err
}
