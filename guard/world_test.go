package guard

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// bubbleClock is CLOCK_BOOTTIME inside a synctest bubble.
type bubbleClock struct {
	start time.Time
	ticks chan struct{}
	mu    sync.Mutex
	timer *time.Timer
	lead  time.Duration // the machine slept this long
	wakes int
	spun  func() // the keeper does nothing but wake
}

// mostWakes is far more than an hour of looking for leftovers needs.
const mostWakes = 100_000

func (c *bubbleClock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Hour + c.lead + time.Since(c.start)
}

func (c *bubbleClock) Ticks() <-chan struct{} { return c.ticks }

func (c *bubbleClock) Wake(at time.Duration) {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	if at <= 0 {
		return
	}
	if c.wakes++; c.wakes < mostWakes {
		c.timer = time.AfterFunc(at-now, func() { notify(c.ticks) })
	}
	if c.wakes == mostWakes {
		c.spun()
	}
}

// sleep is a suspend of the machine: time passes, and no timer has fired yet.
func (c *bubbleClock) sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lead += d
}

// table is a process table with behaviour.
type table struct {
	mu        sync.Mutex
	live      map[int]*process
	zombies   []ended
	changed   chan struct{}
	log       []string // signals in order, "pid signal"
	nextPID   int
	backends  int  // a spawned postmaster has this many
	stubborn  bool // SIGQUIT is ignored
	stuck     bool // backends survive SIGKILL
	blind     bool // Scan fails
	postgres  int
	onSignal  func(syscall.Signal)
	lateChild bool // the first look misses one child
}

type process struct{ dir string }

func (p *table) Spawn(_ directory, r request) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextPID += 100
	p.postgres = p.nextPID
	for i := range p.backends + 1 {
		p.live[p.nextPID+i] = &process{r.DataDir}
	}
	return p.nextPID, nil
}

func (p *table) Adopt(pid int, dir directory) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.live[pid]; q == nil || q.dir != dir.path {
		return syscall.ESRCH
	}
	p.postgres = pid
	return nil
}

func (p *table) Signal(pid int, sig syscall.Signal) error {
	if p.onSignal != nil {
		p.onSignal(sig)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, fmt.Sprintf("%d %v", pid, sig))
	if p.live[pid] == nil {
		return syscall.ESRCH
	}
	switch sig {
	case syscall.SIGKILL:
		p.end(pid, ended{pid, -1, 9})
	case syscall.SIGQUIT, syscall.SIGINT, syscall.SIGTERM:
		if p.stubborn {
			return nil
		}
		for other := range p.live {
			p.end(other, ended{other, 0, 0})
		}
	}
	return nil
}

func (p *table) end(pid int, e ended) {
	delete(p.live, pid)
	p.zombies = append(p.zombies, e)
	notify(p.changed)
}

func (p *table) Scan(dir directory) ([]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blind {
		return nil, syscall.EACCES
	}
	var pids []int
	for pid, q := range p.live {
		if q.dir == dir.path {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	if p.lateChild && len(pids) == 1 {
		p.lateChild = false
		return nil, nil
	}
	return pids, nil
}

func (p *table) Kill(_ directory, pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pid := range pids {
		p.log = append(p.log, fmt.Sprintf("%d killed", pid))
		if p.live[pid] != nil && (!p.stuck || pid == p.postgres) {
			p.end(pid, ended{pid, -1, 9})
		}
	}
}

func (p *table) Changed() <-chan struct{} { return p.changed }

func (p *table) Reap() []ended {
	p.mu.Lock()
	defer p.mu.Unlock()
	z := p.zombies
	p.zombies = nil
	return z
}

// crash ends the postmaster alone, as SIGKILL from outside does.
func (p *table) crash(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(pid, ended{pid, -1, 9})
}

func (p *table) set(f func(*table)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *table) signals() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

// disk is a data directory of either kind.
type disk struct {
	mu       sync.Mutex
	standby  bool
	promoted bool
	history  map[string]string
	stall    time.Duration // how long writing the history files takes
}

func (d *disk) Open(path string) (directory, error) { return directory{path: path}, nil }

func (d *disk) StandbySignal(directory) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.standby, nil
}

func (d *disk) Promote(_ directory, history map[string]string, allowed func() bool) (bool, error) {
	d.mu.Lock()
	stall := d.stall
	d.history = history
	d.mu.Unlock()
	elapse(stall)
	if !allowed() {
		return false, ErrNoDeadline
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.promoted = true
	return true, nil
}

func (d *disk) wasPromoted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.promoted
}

// elapse waits in the virtual time of the bubble.
func elapse(d time.Duration) { <-time.NewTimer(d).C }

// world is a guard in a bubble, and the worker's end of its socket.
type world struct {
	t     *testing.T
	clock *bubbleClock
	procs *table
	disk  *disk
	gates *house
	k     *keeper
	quit  chan struct{}
	ended chan struct{} // closed when the guard has ended
	done  chan struct{}
}

const dataDir = "/data"

// inBubble runs a test against a guard with nothing running. The disk holds a
// standby unless the test says otherwise.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t:     t,
			clock: &bubbleClock{start: time.Now(), ticks: make(chan struct{}, 1)},
			procs: &table{live: map[int]*process{}, changed: make(chan struct{}, 1), backends: 2},
			disk:  &disk{standby: true},
			quit:  make(chan struct{}),
			ended: make(chan struct{}),
			done:  make(chan struct{}),
		}
		w.clock.spun = func() { t.Errorf("the guard woke %d times: it spins", mostWakes) }
		w.k = newKeeper(w.clock, w.procs, w.disk, slog.New(slog.DiscardHandler), Status{Protocol: 1, PID: 1})
		w.k.quit = w.quit
		w.gates = &house{procs: w.procs, clock: w.clock}
		w.k.gates = w.gates
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(w.ended)
			w.k.run(ctx)
		}()
		t.Cleanup(func() { // also after a failure, or the bubble would say deadlock
			w.procs.set(func(p *table) { p.stuck, p.blind = false, false })
			cancel()
			<-w.ended
			close(w.done)
		})
		test(t, w)
	})
}

// dial connects without hello.
func (w *world) dial() *Client {
	near, far := net.Pipe()
	go w.k.serve(far, 7, w.done)
	c := newClient(near)
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) worker(session uint64) *Client {
	w.t.Helper()
	c := w.dial()
	if _, err := c.Hello(w.t.Context(), session, "test"); err != nil {
		w.t.Fatalf("hello with session %d: %v", session, err)
	}
	return c
}

func (w *world) primaryDisk() {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	w.disk.standby = false
}

// in is an instant on the guard's clock.
func (w *world) in(d time.Duration) time.Duration { return w.clock.Now() + d }

func (w *world) arm(c *Client, term int64, d time.Duration) {
	w.t.Helper()
	if err := c.Deadline(w.t.Context(), term, w.in(d), 3*time.Second); err != nil {
		w.t.Fatalf("deadline for term %d: %v", term, err)
	}
}

func (w *world) start(c *Client, writable bool, term int64) (Started, error) {
	return c.Start(w.t.Context(), StartOptions{
		Argv: []string{"/postgres"}, DataDir: dataDir, Writable: writable, Term: term,
	})
}

func (w *world) mustStart(c *Client, writable bool, term int64) Started {
	w.t.Helper()
	if writable {
		w.primaryDisk()
	}
	s, err := w.start(c, writable, term)
	if err != nil {
		w.t.Fatalf("start: %v", err)
	}
	return s
}

func (w *world) status(c *Client) Status {
	w.t.Helper()
	st, err := c.Status(w.t.Context())
	if err != nil {
		w.t.Fatalf("status: %v", err)
	}
	return st
}

// event waits for the next event of a kind, in virtual time.
func (w *world) event(c *Client, kind Kind) Event {
	w.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-c.Events():
			if !ok {
				w.t.Fatalf("connection ended before %s: %v", kind, c.Err())
			}
			if e.Kind == kind {
				return e
			}
		case <-limit.C:
			w.t.Fatalf("no event %s", kind)
		}
	}
}

// pass lets virtual time go by.
func (w *world) pass(d time.Duration) {
	elapse(d)
	synctest.Wait()
}
