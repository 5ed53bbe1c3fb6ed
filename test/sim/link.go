package sim

import (
	"context"
	"errors"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/guard"
)

var (
	errCanceled = context.Canceled
	errRefused  = errors.New("connect to the guard: connection refused")
)

// link is a worker's session with its guard: agent's guardLink over a guard that
// is a model.
type link struct {
	k       *worker
	session uint64
	g       *guardProcess
	client  *guard.Client
	last    guard.Status
	open    *guard.Client
	early   []guard.Event // said before the session was up
	exits   agent.Exits
	pulse   *bound
}

func newLink(k *worker) *link {
	return &link{k: k, session: uint64(k.n.instant())}
}

// Guard implements agent.Link.
func (l *link) Guard() agent.Guard {
	if l.client == nil {
		return nil
	}
	return l.client
}

// PID implements agent.Link.
func (l *link) PID() int {
	if l.last.Server == nil {
		return 0
	}
	return l.last.Server.PID
}

// Started implements agent.Link.
func (l *link) Started(s guard.Server) { l.last.Server = &s }

// Exited implements agent.Link.
func (l *link) Exited(instance string) <-chan struct{} { return l.exits.Of(instance) }

// rouse has whoever waits look again.
func (l *link) rouse() {
	for _, r := range l.k.order {
		r.poke()
	}
}

// Kill implements agent.Link.
func (l *link) Kill() (int, error) {
	n := l.k.n
	if l.g != nil && n.guard == l.g && (l.g.frozen || !agent.LeftToWatchdog(l.g.model.Status())) {
		n.guardDies()
	}
	killed := len(n.scan())
	n.killServer()
	n.w.current.waitUntil(context.Background(), func() bool { return len(n.scan()) == 0 }, 5*time.Second)
	if len(n.scan()) > 0 {
		return killed, errors.New("a process survives SIGKILL")
	}
	return killed, nil
}

// keep holds the session as long as the worker lives.
func (l *link) keep() {
	n := l.k.n
	for {
		err := l.hold()
		if l.k.over || n.worker != l.k {
			return
		}
		l.k.post(agent.GuardDown{Err: err.Error()})
		nodeClock{n}.Sleep(nil, redialPause)
	}
}

const (
	redialPause   = 20 * time.Millisecond
	dialPatience  = 3 * time.Second
	dyingPatience = dialPatience / 2
	socketDelay   = 50 * time.Microsecond
)

// hold is one session from hello to hang-up.
func (l *link) hold() error {
	n := l.k.n
	g := n.guard
	if g == nil {
		n.w.after(100*time.Millisecond, (*alarm)(n.w.current))
		n.w.current.waitUntil(context.Background(), func() bool { return n.guard != nil }, 100*time.Millisecond)
		return errRefused
	}
	dial := &bound{r: n.w.current}
	dial.limit(dialPatience)
	l.session++
	r := n.w.current
	ended := false
	hangUp := func() {
		ended = true
		r.poke()
	}
	client := g.model.Connect(g.carry(), l.say, hangUp)
	l.open, l.g = client, g
	l.early = nil
	defer l.close()
	answered := false
	pulse := l.miss(g, &answered)
	status, err := g.model.Hello(dial, client, l.session)
	answered = true
	if pulse != nil {
		pulse.cancel(errCanceled)
	}
	if err != nil {
		return err
	}
	if status.Server == nil {
		if status, err = l.takeOver(dial, client); err != nil {
			return err
		}
	}
	l.client, l.last = client, status
	instance := ""
	if status.Server != nil {
		instance = status.Server.Instance
	}
	l.exits.Only(instance)
	l.rouse()
	l.k.post(agent.GuardUp{Status: status})
	for _, e := range l.early {
		l.heard(e)
	}
	l.early = nil
	g.peer = hangUp
	if g.frozen {
		l.feel()
	}
	r.waitUntil(context.Background(), func() bool { return ended || g.dead }, 0)
	l.client, l.last = nil, guard.Status{}
	l.unfeel()
	return guard.ErrDisconnected
}

// close hangs up; a guard that is frozen hears of it later.
func (l *link) close() {
	if c, g := l.open, l.g; c != nil {
		l.open = nil
		g.run(doing(func() { g.model.HangUp(c) }))
	}
}

// takeOver deals with a server that this guard did not spawn: dying with its
// guard, it is waited for; one that stays is adopted; what has no postmaster is
// killed.
func (l *link) takeOver(ctx context.Context, client *guard.Client) (guard.Status, error) {
	n := l.k.n
	began := n.w.now
	for len(n.scan()) > 0 && n.w.now < began+dyingPatience {
		n.sleep(ctx, redialPause)
		if ctx.Err() != nil {
			return guard.Status{}, ctx.Err()
		}
	}
	var err error
	switch pid := n.pg.Postmaster(); {
	case len(n.scan()) == 0:
	case pid != 0:
		_, err = client.Adopt(ctx, pid, n.dataDir, !n.pg.StandbySignal())
	default:
		_, err = client.KillLeftovers(ctx, n.dataDir)
	}
	if err != nil {
		return guard.Status{}, err
	}
	return client.Status(ctx)
}

// say brings an event of the guard to the worker, which reads it once it has the
// session.
func (l *link) say(e guard.Event) {
	l.k.n.w.after(0, doing(func() { // before the answers behind it on the same socket
		l.k.run(doing(func() {
			if l.client == nil {
				l.early = append(l.early, e)
				return
			}
			l.heard(e)
		}))
	}))
}

func (l *link) heard(e guard.Event) {
	if e.Kind == guard.Exited {
		l.exits.Mark(e.Instance)
		if s := l.last.Server; s != nil && s.Instance == e.Instance {
			l.last.Server = nil
		}
		l.rouse()
	}
	l.k.post(agent.GuardSaid{Event: e})
}

// feel starts the heartbeat, which as long as the guard answers would change
// nothing and is not simulated.
func (l *link) feel() {
	if l.client == nil || l.pulse != nil {
		return
	}
	g, client := l.g, l.client
	l.pulse = l.k.start(func(ctx *bound) {
		agent.Heartbeat{Clock: nodeClock{l.k.n}, Ping: client.Ping, TTL: l.ttl, Stopped: func() bool { return g.frozen },
			Post: func(e agent.Event) {
				l.k.post(e)
				if (e == agent.GuardAnswered{}) {
					l.unfeel()
				}
			}}.Run(ctx)
	})
}

func (l *link) unfeel() {
	if l.pulse != nil {
		l.pulse.cancel(errCanceled)
		l.pulse = nil
	}
}

func (l *link) ttl() time.Duration {
	if s := l.k.state(); s != nil {
		return s.Settings.TTL
	}
	return cluster.MinTTL // before the first step
}

// miss is what a worker does while a guard does not answer its hello; one that runs
// answers, and is not waited for in vain.
func (l *link) miss(g *guardProcess, answered *bool) *bound {
	if !g.frozen {
		return nil
	}
	w := l.k.n.w
	answer := func(ctx context.Context) error {
		w.current.waitUntil(ctx, func() bool { return *answered }, 0)
		return ctx.Err()
	}
	return l.k.start(func(ctx *bound) {
		agent.Heartbeat{Clock: nodeClock{l.k.n}, Ping: answer, Unheard: true, TTL: l.ttl, Stopped: func() bool { return g.frozen }, Post: l.k.post}.Run(ctx)
	})
}
