package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// errNoGuard: nothing can be done to a server without its parent.
var errNoGuard = errors.New("no session with the guard")

// errNothingLeft: a fence past the guard found that the guard has done it.
var errNothingLeft = errors.New("the guard answers, and nothing of the server is left")

// Node runs effects on the real thing: the store, the guard, the server.
type Node struct {
	store   *dcs.Store
	pg      Server
	clock   Clock
	log     *slog.Logger
	dataDir string
	persist func(Memory) error
	// local is the local configuration in force.
	local atomic.Pointer[config.Config]
	// configured: the server's files were written by this worker and no clone,
	// rewind or initdb replaced them since.
	configured atomic.Bool
	// told: the running server goes by those files, since it was started on them or has
	// reloaded them. A reload that failed leaves files that say more than the server knows.
	told atomic.Bool
	// naming is held by who writes whom commits wait for; promoting is the server that a
	// promotion has told last.
	naming    atomic.Bool
	promoting string
	// device fails where a device is not there.
	device func(path string) error
	// watchdog is what KeepWatchdog told the guard last.
	watchdog guard.Watchdog
	// without is the session whose guard is known to have none; only KeepWatchdog looks.
	without Guard
	// post gives the loop an event an effect reports before its end.
	post func(Event)
	// readStore has the store read anew.
	readStore func()
	// reread reads the local configuration again.
	reread func() error
	// readLost reads the summaries of abandoned WAL, lost are those last read.
	readLost func() ([]cluster.Lost, error)
	lost     atomic.Pointer[[]cluster.Lost]
	// rewindFailures are those in a row, toldLost what the log was last told of lost
	// WAL; only the one job under way looks at them.
	rewindFailures int
	toldLost       string

	// senders is told the walsenders that a look has found; may be nil.
	senders func([]cluster.Walsender)

	link Link
	// peers is how other members are asked for their promise, answer how a question of
	// theirs is answered.
	peers   FailsafePeers
	knocker Knocker
	answer  func(id uint64, a cluster.FailsafeAnswer)

	mu      sync.Mutex
	session *dcs.Session
	lease   *dcs.Lease
	// moved is what the guard's deadline was moved for last.
	moved struct {
		term cluster.Term
		from cluster.Instant
	}
}

// Run runs one effect.
func (n *Node) Run(ctx context.Context, do Do) Event {
	switch do := do.(type) {
	case Look:
		return n.look(ctx, do)
	case OpenSession:
		return n.openSession(ctx, do)
	case KeepAlive:
		return n.keepAlive(ctx)
	case PutMember:
		return n.putMember(ctx, do.Member)
	case OnLease:
		return n.onLease(ctx, do)
	case OnKeys:
		return n.keysDone(ctx, do)
	case OnServer:
		from, err := n.onServer(ctx, do)
		return ServerDone{Action: do.Action, Instance: do.Instance, From: from, Err: errText(err)}
	case OnJob:
		return n.onJob(ctx, do)
	case OnFailsafe:
		return n.onFailsafe(ctx, do)
	case Knock:
		return n.knock(ctx, do)
	case AnswerFailsafe:
		n.answer(do.ID, do.Answer)
	case ReadStore:
		n.readStore()
	case Reread:
		return RereadDone{errText(n.reread())}
	case OnFence:
		return FenceDone{errText(n.fence())}
	case GuardEnd:
		n.tellGuard("end term", func(g Guard) error { return g.EndTerm(ctx, int64(do.Term)) })
	case GuardWrites:
		return GuardKnows{do.Instance, errText(n.onGuard(func(g Guard) error {
			_, err := g.Adopt(ctx, n.link.PID(), n.dataDir, true)
			return err
		}))}
	case GuardPause:
		return GuardPaused{do.On, errText(n.onGuard(func(g Guard) error { return g.SetPause(ctx, do.On) }))}
	case Persist:
		err := n.persist(Memory(do))
		if err != nil {
			n.log.Warn("memory not persisted", "error", err.Error())
		}
		return persisted{Memory(do), errText(err)}
	}
	return nil
}

// tellGuard sends something whose refusal the guard's own deadline makes good.
func (n *Node) tellGuard(what string, tell func(Guard) error) {
	if err := n.onGuard(tell); err != nil {
		n.log.Warn("guard not told", "action", what, "error", err.Error())
	}
}

// onGuard calls the guard, if there is a session.
func (n *Node) onGuard(call func(Guard) error) error {
	g := n.link.Guard()
	if g == nil {
		return errNoGuard
	}
	return call(g)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// look looks at the server as the guard has it, and at its directory when the
// guard has none.
func (n *Node) look(ctx context.Context, do Look) Event {
	e := Looked{At: n.clock.Now(), Fast: do.Fast, Instance: do.Instance}
	var err error
	switch {
	case do.Fast:
		var fast postgres.Fast
		fast, err = n.pg.LookFast(ctx)
		e.Node = fastState(fast)
	case do.Running:
		e.Node, err = n.pg.Look(ctx, true, n.link.PID())
		if n.senders != nil && err == nil {
			n.senders(e.Node.Walsenders)
		}
	default:
		e.Node, err = n.pg.Disk(ctx)
	}
	e.Err, e.Took = errText(err), n.clock.Now().Sub(e.At)
	return e
}

func (n *Node) withSession(call func(*dcs.Session) error) error {
	n.mu.Lock()
	s := n.session
	n.mu.Unlock()
	if s == nil {
		return dcs.ErrLeaseGone
	}
	return call(s)
}

func (n *Node) putMember(ctx context.Context, m *cluster.Member) Event {
	var e MemberPut
	e.Err = errText(n.withSession(func(s *dcs.Session) error { e.Lease = s.ID(); return s.PutMember(ctx, m) }))
	return e
}

func (n *Node) withLease(call func(*dcs.Lease) error) error {
	n.mu.Lock()
	l := n.lease
	n.mu.Unlock()
	if l == nil {
		return dcs.ErrCompared
	}
	return call(l)
}

// openSession grants the member lease, or goes on with a predecessor's.
func (n *Node) openSession(ctx context.Context, do OpenSession) Event {
	if do.Resume != 0 {
		s := n.store.Resume(n.name(), do.Resume)
		if s.KeepAlive(ctx) == nil {
			n.setSession(s)
			return SessionOpened{LeaseID: s.ID(), TTL: do.TTL}
		}
	}
	s, err := n.store.Open(ctx, n.name(), do.TTL)
	if err != nil {
		return KeptAlive{At: n.clock.Now(), Gone: true, Err: err.Error()}
	}
	n.setSession(s)
	return SessionOpened{LeaseID: s.ID(), TTL: do.TTL}
}

func (n *Node) name() string { return n.local.Load().Name }

func (n *Node) setSession(s *dcs.Session) {
	n.mu.Lock()
	n.session = s
	n.mu.Unlock()
}

func (n *Node) setLease(l *dcs.Lease) {
	n.mu.Lock()
	n.lease = l
	n.mu.Unlock()
}

func (n *Node) keepAlive(ctx context.Context) Event {
	at := n.clock.Now()
	err := n.withSession(func(s *dcs.Session) error { return s.KeepAlive(ctx) })
	return KeptAlive{At: at, Gone: errors.Is(err, dcs.ErrLeaseGone), Err: errText(err)}
}

// keysDone carries out an action on a key, and tells the revision of what takes the place
// of something.
func (n *Node) keysDone(ctx context.Context, do OnKeys) Event {
	e := KeysDone{Action: do.Action}
	var put func(*dcs.Lease) (int64, error)
	switch a := do.Action.(type) {
	case election.PutDurability:
		put = func(l *dcs.Lease) (int64, error) { return l.PutDurability(ctx, a.Record, do.Over) }
	case election.PutFailsafe:
		put = func(l *dcs.Lease) (int64, error) { return l.PutFailsafe(ctx, a.Members, do.Over) }
	case election.PutSwitchover:
		put = func(l *dcs.Lease) (int64, error) { return l.PutSwitchover(ctx, a.Switchover, do.Over, a.Wish) }
	case election.DeleteSwitchover:
		put = func(l *dcs.Lease) (int64, error) { return l.DeleteSwitchover(ctx, do.Over) }
	default:
		e.Err = errText(n.onKeys(ctx, do))
		return e
	}
	e.Err = errText(n.withLease(func(l *dcs.Lease) (err error) {
		e.Revision, err = put(l)
		return err
	}))
	return e
}

// onKeys writes a key under the term, or answers an operator on the member lease.
func (n *Node) onKeys(ctx context.Context, do OnKeys) error {
	switch a := do.Action.(type) {
	case election.PutHolder:
		return n.withLease(func(l *dcs.Lease) error { return l.PutHolder(ctx, do.Holder) })
	case election.PutStatus:
		return n.withLease(func(l *dcs.Lease) error { return l.PutStatus(ctx, a.Positions) })
	case election.PutHistory:
		return n.withLease(func(l *dcs.Lease) error { return l.PutHistory(ctx, stamped(a.History, n.clock.Wall())) })
	case election.PutConfig:
		return n.store.PutConfig(ctx, n.local.Load().Bootstrap.DCS, 0)
	case election.PutPausedPrimary:
		return n.putPausedPrimary(ctx, a)
	case election.ClearFailover:
		return n.clearFailover(ctx, a)
	case election.PutResult:
		return n.withSession(func(s *dcs.Session) error { return s.PutResult(ctx, a.Result) })
	case election.Answer:
		return n.withSession(func(s *dcs.Session) error {
			if err := s.PutResult(ctx, a.Result); err != nil {
				return err
			}
			return s.DeleteRequest(ctx, a.Request)
		})
	}
	return errors.New("no such key action: " + actionName(do.Action))
}

// stamped gives the lines that have none the time of day, for people.
func stamped(h cluster.History, now time.Time) cluster.History {
	h = slices.Clone(h)
	for i := range h {
		if h[i].Time == "" {
			h[i].Time = now.UTC().Format(time.RFC3339)
		}
	}
	return h
}

func (n *Node) putPausedPrimary(ctx context.Context, a election.PutPausedPrimary) error {
	if a.Name != "" {
		return n.withLease(func(l *dcs.Lease) error { return l.PutPausedPrimary(ctx) })
	}
	return n.store.ClearPausedPrimary(ctx, a.Revision)
}

// clearFailover answers first: an answer without its wish cleared is given again,
// a cleared wish without answer leaves the operator waiting.
func (n *Node) clearFailover(ctx context.Context, a election.ClearFailover) error {
	if a.Result.ID != "" {
		if err := n.withSession(func(s *dcs.Session) error { return s.PutResult(ctx, a.Result) }); err != nil {
			return err
		}
	}
	return n.withLease(func(l *dcs.Lease) error { return l.ClearFailover(ctx, a.Revision) })
}
