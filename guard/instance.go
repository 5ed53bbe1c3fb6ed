package guard

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"syscall"
	"time"
)

// instance is the one server the guard holds.
type instance struct {
	id       string
	pid      int
	dir      directory
	state    State
	writable bool // may be out of recovery; never reset
	adopted  bool
	since    time.Duration
	fencedAt time.Duration // first signal of a stop by force; 0 when none
	killAt   time.Duration // SIGKILL is due; 0 when not
	exit     *Event        // set when the postmaster was waited for
	gate     *Gate         // the gate it wants while it may write; nil: none
}

func (i *instance) name() string {
	if i == nil {
		return ""
	}
	return i.id
}

func (i *instance) describe() *Server {
	return &Server{
		Instance: i.id, PID: i.pid, DataDir: i.dir.path, State: i.state, Writable: i.writable,
		Adopted: i.adopted, ParentDeathSignal: !i.adopted, Since: i.since,
	}
}

// newID returns 128 random bits. crypto/rand does not fail on Linux.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// start spawns a server after the rules have been asked.
func (k *keeper) start(session uint64, r request) (*instance, error) {
	if err := k.free(); err != nil {
		return nil, err
	}
	if r.DataDir == "" || len(r.Argv) == 0 {
		return nil, fmt.Errorf("%w: start needs argv and data_dir", ErrBadRequest)
	}
	dir, err := k.files.Open(r.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	i, err := k.startIn(dir, session, r)
	if err != nil {
		dir.close()
	}
	return i, err
}

// free says whether a server may be started or adopted at all.
func (k *keeper) free() error {
	switch {
	case k.stopping:
		return ErrStopping
	// guard: one-server — SAFETY 2: one deadline, one server.
	case k.inst != nil:
		return fmt.Errorf("%w: pid %d in %s", ErrServerRunning, k.inst.pid, k.inst.dir.path)
	case k.sweep != nil:
		return fmt.Errorf("%w: leftovers are being killed", ErrBusy)
	// guard: start-waits-for-promotion — SAFETY 2: a promote file written late must not promote the next server.
	case k.job:
		return fmt.Errorf("%w: a promotion is still writing to the data directory", ErrBusy)
	}
	return nil
}

func (k *keeper) startIn(dir directory, session uint64, r request) (*instance, error) {
	if err := k.mayStart(dir, session, r); err != nil {
		return nil, err
	}
	if r.Writable {
		// guard: watchdog-before-start — S1, watchdog: it is armed before a server may write.
		if err := k.armWatchdog(); err != nil {
			return nil, err
		}
	}
	pid, err := k.procs.Spawn(dir, r)
	if err != nil {
		k.spareWatchdog()
		return nil, fmt.Errorf("start the server: %w", err)
	}
	k.inst = &instance{id: k.newID(), pid: pid, dir: dir, state: Running, writable: r.Writable, since: k.clock.Now(), gate: r.Gate}
	k.log.Info("server started", "pid", pid, "data_dir", dir.path, "writable", r.Writable, "term", r.Term)
	return k.inst, nil
}

// mayStart checks, last of all, what ties a start to the lease.
func (k *keeper) mayStart(dir directory, session uint64, r request) error {
	pids, err := k.procs.Scan(dir)
	if err != nil {
		return fmt.Errorf("look for processes in the data directory: %w", err)
	}
	// guard: empty-directory-before-start — SAFETY 2: a second server beside a leftover of the first.
	if len(pids) > 0 {
		return fmt.Errorf("%w: %s is the working directory of pids %v", ErrLeftovers, dir.path, pids)
	}
	standby, err := k.files.StandbySignal(dir)
	switch {
	case err != nil:
		return fmt.Errorf("look for standby.signal: %w", err)
	// guard: standby-start-needs-signal — SAFETY 2 "starts a server without standby.signal" only under the deadline.
	case !r.Writable && !standby:
		return fmt.Errorf("%w: %s has none, the server would come up writable", ErrStandbySignal, dir.path)
	// guard: writable-start-refuses-signal — SAFETY 2: what was asked and what would happen must agree.
	case r.Writable && standby:
		return fmt.Errorf("%w: %s has one, the server would come up as a standby", ErrStandbySignal, dir.path)
	case r.Writable:
		// guard: writable-start-needs-deadline — SAFETY 2 "both are refused unless now < deadline".
		return k.lease.mayWrite(k.clock.Now(), session, r.Term)
	}
	return nil
}

// adopt takes over a server somebody else started, or learns that the server it
// holds may write after all.
func (k *keeper) adopt(r request) (*instance, error) {
	if i := k.inst; i != nil && i.pid == r.PID && i.exit == nil {
		i.writable = i.writable || r.Writable
		return i, nil
	}
	if err := k.free(); err != nil {
		return nil, err
	}
	if r.DataDir == "" || r.PID <= 1 {
		return nil, fmt.Errorf("%w: adopt needs pid and data_dir", ErrBadRequest)
	}
	dir, err := k.files.Open(r.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	if err := k.procs.Adopt(r.PID, dir); err != nil {
		dir.close()
		return nil, fmt.Errorf("adopt pid %d: %w", r.PID, err)
	}
	k.inst = &instance{
		id: k.newID(), pid: r.PID, dir: dir, state: Running,
		writable: r.Writable, adopted: true, since: k.clock.Now(),
	}
	k.log.Info("server adopted, without parent-death signal", "pid", r.PID, "data_dir", dir.path, "writable", r.Writable)
	return k.inst, nil
}

// stop asks the server to end. The end itself is an event.
func (k *keeper) stop(mode Mode) error {
	sigs := map[Mode]syscall.Signal{
		Smart: syscall.SIGTERM, Fast: syscall.SIGINT, Immediate: syscall.SIGQUIT, Kill: syscall.SIGKILL,
	}
	sig, ok := sigs[mode]
	switch {
	case !ok:
		return fmt.Errorf("%w: stop mode %q is not smart, fast, immediate or kill", ErrBadRequest, mode)
	case k.inst == nil || k.inst.exit != nil:
		return ErrNoServer
	case mode == Kill:
		k.killAll(k.clock.Now())
		k.pass(k.clock.Now())
		return nil
	}
	if k.inst.state == Running {
		k.inst.state = Stopping
	}
	return k.procs.Signal(k.inst.pid, sig)
}

// signal is for signals whose failure changes nothing: the next look decides.
func (k *keeper) signal(i *instance, sig syscall.Signal) {
	if err := k.procs.Signal(i.pid, sig); err != nil {
		k.log.Debug("signal not delivered", "pid", i.pid, "signal", int(sig), "error", err)
	}
}

// ended folds in the end of a child. Orphans the guard inherited are only reaped.
func (k *keeper) ended(now time.Duration, e ended) {
	i := k.inst
	if k.gateEnded(now, e) || i == nil || e.pid != i.pid || i.exit != nil {
		return
	}
	i.exit = &Event{Kind: Exited, Instance: i.id, PID: i.pid, Status: e.status, Signal: e.signal, At: now}
	// guard: leftovers-die-with-postmaster — SAFETY 2: "a backend busy in a query outlives a killed postmaster and can still acknowledge".
	k.startSweep(now)
	k.sweep.next = now
}
