package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/guard"
)

// Heartbeats to the guard. Two missed ones from a guard that the kernel says is
// stopped are a frozen guard; one that merely gets no processor is given longer,
// since fencing a primary for a busy machine would be the failure itself.
//
// However short the lease, a guard that hangs is known to hang within half of it:
// the fence must be over before the lease can pass on.
const (
	heartbeat     = 400 * time.Millisecond
	busyPatience  = 3 * time.Second
	redialPause   = 20 * time.Millisecond
	dyingPatience = 3 * time.Second
)

// helloPatience is how long a worker that has just come waits for the first answer of a
// guard that the kernel shows as stopped. It knows neither what runs under that guard nor
// its deadline. The worker before it did, and would have killed the server half a margin
// before the lease can pass on (election, overdue). Killed right before that, it leaves its
// successor this half, which is 0.25 s or more: to be started, to find the guard stopped,
// and to kill. Two heartbeats take longer.
const helloPatience = 120 * time.Millisecond

// guardLink keeps the worker's one session with the guard.
type guardLink struct {
	socket, version string
	dataDir         string
	// session is presented to the guard, one more with each dial. It begins at
	// the nanosecond this worker started, so that a later worker's is higher than
	// any this one can reach by redialling.
	session uint64
	post    func(Event)
	// ttl is T in force.
	ttl func() time.Duration
	log *slog.Logger

	mu  sync.Mutex
	now *guard.Client
	// dialed is a guard that has yet to answer.
	dialed *guard.Client
	last   guard.Status
	exits  Exits
}

func newGuardLink(runtimeDir, dataDir, version string, post func(Event), ttl func() time.Duration, log *slog.Logger) *guardLink {
	return &guardLink{
		socket: filepath.Join(runtimeDir, guard.SocketName), version: version, dataDir: dataDir,
		session: uint64(clock.Now()),
		post:    post, ttl: ttl, log: log,
	}
}

// Guard is the session with the guard, nil while there is none.
func (g *guardLink) Guard() Guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil {
		return nil // not an interface that holds a nil pointer
	}
	return g.now
}

// PID is the postmaster's, 0 when the guard has none.
func (g *guardLink) PID() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last.Server == nil {
		return 0
	}
	return g.last.Server.PID
}

// Started notes a server a job has started, so that its exit can be waited for.
func (g *guardLink) Started(s guard.Server) {
	g.mu.Lock()
	g.last.Server = &s
	g.mu.Unlock()
}

// Exited is closed when the instance has exited and none of it is left.
func (g *guardLink) Exited(instance string) <-chan struct{} { return g.exits.Of(instance) }

func (g *guardLink) markExited(instance string) {
	g.exits.Mark(instance)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last.Server != nil && g.last.Server.Instance == instance {
		g.last.Server = nil
	}
}

// run holds the session until ctx ends, or another worker took it: then it
// returns guard.ErrSuperseded and this worker must go.
func (g *guardLink) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := g.hold(ctx)
		switch {
		case errors.Is(err, guard.ErrSuperseded), errors.Is(err, guard.ErrStaleSession):
			return guard.ErrSuperseded
		case ctx.Err() != nil:
			return nil
		}
		g.post(GuardDown{errText(err)})
		clock.Sleep(ctx.Done(), redialPause)
	}
	return nil
}

// hold is one session from hello to hang-up.
func (g *guardLink) hold(ctx context.Context) error {
	every, patience := rhythm(g.ttl())
	dial, cancel := context.WithTimeout(ctx, 3*every+patience+time.Second)
	defer cancel()
	client, err := guard.Connect(dial, g.socket)
	if err != nil {
		return err
	}
	defer client.Close()
	status, err := g.hello(dial, client)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = client.Close() })() // ends the events below
	if status.Server == nil {
		if status, err = g.takeOver(dial, client); err != nil {
			return err
		}
	}
	g.mu.Lock()
	g.now, g.last = client, status
	g.mu.Unlock()
	g.exits.Only(instanceOf(status))
	defer func() {
		g.mu.Lock()
		g.now, g.last = nil, guard.Status{}
		g.mu.Unlock()
	}()
	g.post(GuardUp{status})
	beats, stop := context.WithCancel(ctx)
	defer stop()
	heard := func() cluster.Instant { return cluster.Instant(client.Heard()) }
	go Heartbeat{Clock: realClock{}, Ping: client.Ping, Heard: heard, TTL: g.ttl, Post: g.post,
		Stopped: func() bool { return stoppedByKernel(client.PeerPID()) }}.Run(beats)
	for e := range client.Events() {
		if e.Kind == guard.Exited {
			g.markExited(e.Instance)
		}
		g.post(GuardSaid{e})
	}
	return client.Err()
}

// hello waits for a guard that was reached to answer. One that was frozen before this
// worker came would never: it is missed like one that freezes later, and whatever runs
// under it is fenced.
func (g *guardLink) hello(ctx context.Context, client *guard.Client) (guard.Status, error) {
	g.session++
	g.mu.Lock()
	g.dialed = client
	g.mu.Unlock()
	answered := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go Heartbeat{Clock: realClock{}, Ping: first(answered), Unheard: true, TTL: g.ttl, Post: g.post,
		Stopped: func() bool { return stoppedByKernel(client.PeerPID()) }}.Run(ctx)
	status, err := client.Hello(ctx, g.session, g.version)
	close(answered)
	g.mu.Lock()
	g.dialed = nil
	g.mu.Unlock()
	return status, err
}

// first is the ping of a guard that has yet to answer for the first time.
func first(answered <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-answered:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// instanceOf is the server the guard holds; empty when it has none.
func instanceOf(st guard.Status) string {
	if st.Server == nil {
		return ""
	}
	return st.Server.Instance
}

// takeOver deals with processes in the data directory that this guard did not
// spawn: a server whose guard died is dying with it and is waited for; one that
// stays was started by somebody else and is adopted; what has no postmaster is
// killed.
func (g *guardLink) takeOver(ctx context.Context, client *guard.Client) (guard.Status, error) {
	pids, err := g.leftovers()
	began := clock.Now()
	for err == nil && len(pids) > 0 && clock.Now() < began.Add(dyingPatience/2) {
		if !clock.Sleep(ctx.Done(), redialPause) {
			return guard.Status{}, ctx.Err()
		}
		pids, err = g.leftovers()
	}
	if err != nil {
		return guard.Status{}, fmt.Errorf("look for processes in %s: %w", g.dataDir, err)
	}
	if len(pids) > 0 {
		if pid := g.postmaster(pids); pid != 0 {
			_, signalErr := os.Stat(filepath.Join(g.dataDir, "standby.signal"))
			_, err = client.Adopt(ctx, pid, g.dataDir, signalErr != nil) // what cannot be looked for may write
			g.log.Info("running server adopted", "pid", pid)
		} else {
			_, err = client.KillLeftovers(ctx, g.dataDir)
		}
		if err != nil {
			return guard.Status{}, err
		}
	}
	return client.Status(ctx)
}

// leftovers are the processes in the data directory; none in one that does not
// exist.
func (g *guardLink) leftovers() ([]int, error) {
	pids, err := guard.Leftovers(g.dataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return pids, err
}

// postmaster is the process among pids that postmaster.pid names; 0 when none is.
func (g *guardLink) postmaster(pids []int) int {
	content, err := os.ReadFile(filepath.Join(g.dataDir, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil {
		return 0
	}
	// guard: adopts_no_job_of_ours — S7: the server of a post_bootstrap script is our own
	// child in a directory that is nobody's yet. A guard that comes in its middle kills it
	// with its job, which is begun anew; adopted, it could become the primary.
	if slices.Contains(pids, pid) && guard.Parent(pid) != os.Getpid() {
		return pid
	}
	return 0
}

// Heartbeat has the worker know that its guard answers.
type Heartbeat struct {
	Clock Clock
	Ping  func(ctx context.Context) error
	// Heard is when the guard answered last, whatever it was asked: its loop has turned
	// then, which is all that a ping tells. Nil: only pings are known.
	Heard func() cluster.Instant
	// Unheard: the guard has never answered this worker.
	Unheard bool
	// Stopped reports whether the kernel shows the guard as stopped.
	Stopped func() bool
	// TTL is T in force.
	TTL  func() time.Duration
	Post func(Event)
}

// Run pings the guard until ctx ends, one ping at a time, whenever it has not answered
// for as long as there is between two heartbeats. An unheard one is asked at once.
func (h Heartbeat) Run(ctx context.Context) {
	last := h.Clock.Now()
	frozen := h.Unheard && h.ping(ctx, helloPatience) != nil && ctx.Err() == nil && h.Stopped()
	if frozen {
		h.Post(GuardFrozen{})
	}
	for {
		every, patience := rhythm(h.TTL())
		if quiet := h.heard(last).Add(every).Sub(h.Clock.Now()); quiet > 0 {
			if !h.Clock.Sleep(ctx.Done(), quiet) {
				return
			}
			continue
		}
		err := h.ping(ctx, 2*every)
		if err != nil && ctx.Err() == nil && !h.Stopped() {
			err = h.ping(ctx, patience)
		}
		if ctx.Err() != nil {
			return
		}
		last = h.Clock.Now()
		if (err != nil) != frozen {
			frozen = err != nil
			if frozen {
				h.Post(GuardFrozen{})
			} else {
				h.Post(GuardAnswered{})
			}
		}
	}
}

// heard is when the guard has answered last, as far as is known.
func (h Heartbeat) heard(pinged cluster.Instant) cluster.Instant {
	if h.Heard == nil {
		return pinged
	}
	return max(pinged, h.Heard())
}

func (h Heartbeat) ping(ctx context.Context, limit time.Duration) error {
	ctx, cancel := h.Clock.WithTimeout(ctx, limit)
	defer cancel()
	return h.Ping(ctx)
}

// rhythm is how often a guard is asked at a lease time of ttl, and how much longer
// one that is not stopped may take: 3 x every + patience is at most ttl/2.
func rhythm(ttl time.Duration) (every, patience time.Duration) {
	every = min(heartbeat, ttl/10)
	return every, min(busyPatience, ttl/2-3*every)
}

// stoppedByKernel reports whether the process is stopped by a signal or a tracer.
func stoppedByKernel(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	after := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[after+1:])
	return len(fields) > 0 && (fields[0][0] == 'T' || fields[0][0] == 't')
}
