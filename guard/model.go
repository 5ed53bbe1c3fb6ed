package guard

import (
	"context"
	"log/slog"
	"slices"
	"syscall"
	"time"
)

// Machine is a machine that exists only as data: what a guard sees and does on
// one node of the simulator. There is one data directory.
type Machine interface {
	// Now is the node's CLOCK_BOOTTIME.
	Now() time.Duration
	// Spawn starts a server; writable is what was asked for.
	Spawn(writable bool) (pid int, err error)
	Signal(pid int, sig syscall.Signal) error
	// Scan lists the processes in the data directory.
	Scan() []int
	// Kill sends SIGKILL to processes that Scan found.
	Kill(pids []int)
	// Reap returns the postmasters that have ended since the last call.
	Reap() []int
	StandbySignal() bool
	// Promote writes history files and the promote file, as files.Promote does.
	Promote(history map[string]string, allowed func() bool) (touched bool, err error)
	// Beside runs work that may wait for the disk, now or later.
	Beside(work func())
	// NewID names a server.
	NewID() string
}

// GateMachine is what a guard sees and does of gates on such a machine. A gate's end
// comes with Machine.Reap, and Machine.Signal reaches it.
type GateMachine interface {
	// Publish gives the gate its deadline; 0 for "confirm nothing", or Lifted.
	Publish(until, renewed time.Duration)
	Spawn(g Gate) (pid int, err error)
	Report() GateReport
	// Gone notes that the gate has ended.
	Gone()
}

// Model is a guard without a process: the same rules, deadline, escalation and
// proof, turned by its owner instead of by a goroutine. It is what the simulator
// runs. Sockets, timerfd, parent-death signal and /proc are the machine's part.
type Model struct {
	k     *keeper
	peers map[*Client]*conn
}

// NewModel gives a guard that holds nothing yet.
func NewModel(m Machine, gates GateMachine, log *slog.Logger) *Model {
	k := newKeeper(modelClock{m}, modelProcesses{m}, modelFiles{m}, log, Status{Protocol: ProtocolVersion, PID: 1})
	k.beside, k.newID, k.gates = m.Beside, m.NewID, gates
	return &Model{k, map[*Client]*conn{}}
}

// Watchdogs gives the machine's watchdogs to a guard that has none otherwise.
func (m *Model) Watchdogs(open func(Watchdog) (WatchdogDevice, error)) {
	m.k.watch.open = open
}

// Turn does what is due.
func (m *Model) Turn() {
	m.k.tick(m.k.clock.Now())
	select {
	case p := <-m.k.jobs:
		m.k.tick(m.k.clock.Now())
		m.k.promoted(p)
	default:
	}
}

// Wake is when to turn again if nothing happens; 0 for never.
func (m *Model) Wake() time.Duration { return m.k.nextWake() }

// Over says that the guard has nothing left to guard and ends.
func (m *Model) Over() bool { return m.k.over() }

// Remember sets how long the last forced stop took, as an earlier guard kept it.
func (m *Model) Remember(took time.Duration) { m.k.lastKill = took }

// Status is what the guard knows.
func (m *Model) Status() Status { return *m.k.status() }

// Carrier brings a request to the guard's process, in which deliver must be
// called, and returns when answered is true, or ctx has ended with its error.
type Carrier func(ctx context.Context, deliver func(), answered func() bool) error

// Connect opens a worker's connection. event takes what the guard says unasked;
// hangUp is called when a newer worker took over.
func (m *Model) Connect(carry Carrier, event func(Event), hangUp func()) *Client {
	replies := map[uint64]*reply{}
	peer := &conn{deliver: func(v any) {
		switch v := v.(type) {
		case reply:
			if _, wanted := replies[v.ID]; wanted {
				replies[v.ID] = &v
			}
		case Event:
			if v.Kind == superseded {
				hangUp()
				return
			}
			event(v)
		}
	}}
	c := &Client{guard: 1}
	c.carry = func(ctx context.Context, r request) (reply, error) {
		c.nextID++
		r.ID = c.nextID
		id := r.ID
		replies[id] = nil
		defer delete(replies, id)
		err := carry(ctx, func() { m.k.take(message{from: peer, req: r}) }, func() bool { return replies[id] != nil })
		if err != nil {
			return reply{}, err
		}
		return *replies[id], nil
	}
	m.k.conns[peer], m.peers[c] = struct{}{}, peer
	return c
}

// Hello makes the client the guard's worker, under a session number.
func (m *Model) Hello(ctx context.Context, c *Client, session uint64) (Status, error) {
	return c.Hello(ctx, session, "model")
}

// HangUp ends a client's connection, as closing it or the end of its process do.
func (m *Model) HangUp(c *Client) {
	if peer, ok := m.peers[c]; ok {
		delete(m.peers, c)
		m.k.take(message{from: peer, gone: true})
	}
}

type modelClock struct{ m Machine }

func (c modelClock) Now() time.Duration     { return c.m.Now() }
func (c modelClock) Wake(time.Duration)     {}
func (c modelClock) Ticks() <-chan struct{} { return nil }

type modelProcesses struct{ m Machine }

func (p modelProcesses) Spawn(_ directory, r request) (int, error) { return p.m.Spawn(r.Writable) }
func (p modelProcesses) Signal(pid int, sig syscall.Signal) error  { return p.m.Signal(pid, sig) }
func (p modelProcesses) Scan(directory) ([]int, error)             { return p.m.Scan(), nil }
func (p modelProcesses) Kill(_ directory, pids []int)              { p.m.Kill(pids) }
func (p modelProcesses) Changed() <-chan struct{}                  { return nil }

func (p modelProcesses) Adopt(pid int, _ directory) error {
	if !slices.Contains(p.m.Scan(), pid) {
		return syscall.ESRCH
	}
	return nil
}

func (p modelProcesses) Reap() []ended {
	var gone []ended
	for _, pid := range p.m.Reap() {
		gone = append(gone, ended{pid: pid})
	}
	return gone
}

type modelFiles struct{ m Machine }

func (f modelFiles) Open(path string) (directory, error)   { return directory{path: path}, nil }
func (f modelFiles) StandbySignal(directory) (bool, error) { return f.m.StandbySignal(), nil }
func (f modelFiles) Promote(_ directory, history map[string]string, allowed func() bool) (bool, error) {
	return f.m.Promote(history, allowed)
}
