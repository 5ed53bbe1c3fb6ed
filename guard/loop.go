package guard

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	idleExit  = 10 * time.Second // neither server nor worker for this long: exit
	quitGrace = 2 * time.Second  // SIGQUIT to SIGKILL when the guard itself is told to end
	lastWords = 100 * time.Millisecond
)

// clock is CLOCK_BOOTTIME and one wake-up on it.
type clock interface {
	Now() time.Duration
	// Wake asks for a tick at an instant; 0 means never. A tick may be spurious.
	Wake(at time.Duration)
	Ticks() <-chan struct{}
}

// processes is what the guard does to processes.
type processes interface {
	// Spawn starts a server that Scan is able to see.
	Spawn(dir directory, r request) (pid int, err error)
	Adopt(pid int, dir directory) error
	Signal(pid int, sig syscall.Signal) error
	// Scan lists the live processes whose working directory is dir. An error
	// means "could not look", never "none".
	Scan(dir directory) ([]int, error)
	// Kill sends SIGKILL to processes that Scan found, those that still sit there.
	Kill(dir directory, pids []int)
	// Changed ticks when Reap may have news.
	Changed() <-chan struct{}
	Reap() []ended
}

// files is what the guard reads and writes in a data directory.
type files interface {
	Open(dataDir string) (directory, error)
	StandbySignal(dir directory) (bool, error)
	// Promote places history files, asks allowed once more and creates the
	// promote file. touched is false only if no promote file was created.
	Promote(dir directory, history map[string]string, allowed func() bool) (touched bool, err error)
}

// directory is a data directory, held open so that its inode is not reused.
type directory struct {
	path  string
	dev   uint64
	ino   uint64
	owner uint32
	group uint32
	held  *os.File
}

func (d directory) close() {
	if d.held != nil {
		_ = d.held.Close() // opened with O_PATH: nothing to flush
	}
}

// ended is one process that was waited for.
type ended struct {
	pid    int
	status int // -1 when unknown
	signal int
}

// keeper is the state of the guard. Only run's goroutine touches it.
type keeper struct {
	clock clock
	procs processes
	files files
	gates gates // nil: there are no gates here
	watch watching
	log   *slog.Logger
	self  Status // version, pid and protocol; the rest is filled in by status

	lease    lease
	paused   bool
	inst     *instance
	gate     gatekeeping
	sweep    *sweep
	job      bool // a promotion is writing files
	stopping bool // exit once nothing runs
	lastKill time.Duration
	lastExit *Event
	idleAt   time.Duration // when the guard became idle; 0 while it is not

	worker  *conn
	conns   map[*conn]struct{}
	writers sync.WaitGroup
	accepts chan *conn
	inbox   chan message
	jobs    chan promotion
	quit    <-chan struct{} // end of the parent's pipe, or context done

	killTook func(time.Duration) // keeps the last kill across guards; may be nil
	beside   func(func())        // runs what may wait for the disk beside the loop
	newID    func() string       // names an instance
}

func newKeeper(c clock, p processes, f files, log *slog.Logger, self Status) *keeper {
	return &keeper{
		clock: c, procs: p, files: f, log: log, self: self,
		beside: func(work func()) { go work() }, newID: newID,
		conns:   map[*conn]struct{}{},
		accepts: make(chan *conn),
		inbox:   make(chan message),
		jobs:    make(chan promotion, 1),
	}
}

// run is the whole guard. It returns when there is nothing left to guard.
func (k *keeper) run(ctx context.Context) {
	quit, cancelled := k.quit, ctx.Done()
	for {
		k.tick(k.clock.Now())
		if k.over() {
			k.hangUp()
			return
		}
		k.clock.Wake(k.nextWake())
		select {
		case c := <-k.accepts:
			k.accept(c)
		case m := <-k.inbox:
			k.take(m)
		case <-k.procs.Changed():
		case p := <-k.jobs:
			k.tick(k.clock.Now())
			k.promoted(p)
		case <-k.clock.Ticks():
		case <-quit:
			quit = nil
			k.leave("parent_gone")
		case <-cancelled:
			cancelled = nil
			k.leave("cancelled")
		}
	}
}

// take answers one message, after everything that is due.
func (k *keeper) take(m message) {
	// guard: expired-first — SAFETY 2: after a suspend a late renewal must not revive a deadline that has passed.
	k.tick(k.clock.Now())
	k.receive(m)
}

// tick does everything that is due: reap, fire the deadline, escalate, look again.
func (k *keeper) tick(now time.Duration) {
	for _, e := range k.procs.Reap() {
		k.ended(now, e)
	}
	// guard: no-enforcement-in-pause — SAFETY 1 S6 "no action touches PostgreSQL".
	if !k.paused && k.lease.expired(now) {
		k.fire(now)
	}
	if i := k.inst; i != nil && i.killAt > 0 && now >= i.killAt {
		i.killAt = 0
		k.killAll(now)
	}
	if k.sweep != nil && now >= k.sweep.next {
		k.pass(now)
	}
	k.publish()
	k.keepGate(now)
	k.watchIdle(now)
}

func (k *keeper) watchIdle(now time.Duration) {
	switch idle := k.inst == nil && k.sweep == nil && k.worker == nil; {
	case !idle:
		k.idleAt = 0
	case k.idleAt == 0:
		k.idleAt = now
	}
}

// over says whether the guard may end: never while a server or a process of one
// may be left.
func (k *keeper) over() bool {
	if k.inst != nil || k.sweep != nil {
		return false
	}
	return k.stopping || k.idleAt > 0 && k.clock.Now() >= k.idleAt+idleExit
}

// nextWake is the earliest instant at which tick has something to do.
func (k *keeper) nextWake() time.Duration {
	var next time.Duration
	at := func(t time.Duration) {
		if t > 0 && (next == 0 || t < next) {
			next = t
		}
	}
	if !k.paused && k.lease.live() {
		at(k.lease.at)
	}
	if k.inst != nil {
		at(k.inst.killAt)
	}
	if k.sweep != nil {
		at(k.sweep.next)
	}
	at(k.gateWake())
	if k.idleAt > 0 {
		at(k.idleAt + idleExit)
	}
	return next
}

// leave stops the server, if any, and ends the guard after it.
func (k *keeper) leave(reason string) {
	k.log.Info("guard ends", "reason", reason)
	k.stopping = true
	if k.inst != nil {
		k.fence(k.clock.Now(), quitGrace)
	}
}

// hangUp gives peers a moment to take what was said last.
func (k *keeper) hangUp() {
	for c := range k.conns {
		k.drop(c)
	}
	flushed := make(chan struct{})
	go func() {
		k.writers.Wait()
		close(flushed)
	}()
	waitFor(k.clock, flushed, lastWords)
}

func (k *keeper) status() *Status {
	s := k.self
	s.Now = k.clock.Now()
	s.Session, s.Term, s.EndedTerm = k.lease.session, k.lease.term, k.lease.ended
	s.Deadline, s.Margin = k.lease.at, k.lease.margin
	s.Paused, s.LastKill, s.LastExit = k.paused, k.lastKill, k.lastExit
	s.Watchdog = k.watchdogStatus()
	if k.worker != nil {
		s.WorkerPID = k.worker.pid
	}
	if k.inst != nil {
		s.Armed = k.inst.writable && !k.paused && k.lease.live()
		s.Server = k.inst.describe()
		s.Gate = k.gateStatus()
		if k.sweep != nil {
			s.Server.Leftovers = k.sweep.left
		}
	}
	return &s
}

// waitFor waits for done, at most limit.
func waitFor(c clock, done <-chan struct{}, limit time.Duration) {
	for until := c.Now() + limit; c.Now() < until; {
		c.Wake(until)
		select {
		case <-done:
			return
		case <-c.Ticks():
		}
	}
}
