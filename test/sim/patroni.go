package sim

import (
	"context"
	"errors"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// patroni is a Patroni daemon: what runs a node in place of an agent while a cluster is
// moved node by node. It is a model, made from what is known of Patroni 4.1 and 3.x, and
// none of it is the product. It has no guard, no term, no beat and no deadline: one
// thread goes round once a loop_wait, or when it is woken, and a second one does what
// takes long. If it is killed or frozen its server goes on.
type patroni struct {
	process
	n *Node
	// loop is the thread that goes round, woken what it waits for between two rounds.
	loop  *routine
	woken bool

	// cache is what a watch keeps, ready that the watch stands. view is what a round goes by,
	// led the last one in which somebody led.
	cache, view, led cluster.View
	ready            bool
	watched          *watcher
	settings         cluster.Settings

	// lease is its own, of a length, kept when it was kept alive last.
	lease  int64
	leased time.Duration
	kept   time.Duration
	// leadsUntil is what it goes by when it is asked whether it leads: its wall clock.
	leadsUntil time.Time

	// busy is what its second thread does; "" for nothing. ended counts what has called that off.
	busy  string
	ended int
	role  cluster.Role
	// recovering: a server that was found down was started; released: it gave the lease
	// back since.
	recovering bool
	// suspect: how its data relates to the leader's has to be looked into.
	suspect      bool
	checkpointed bool
	leaving      bool // it was told to stop, and starts no server any more
	failsafe     patroniFailsafe
	sync         patroniSync
	wants        patroniWants
}

// patroniWants is what operators asked of it by its REST API.
type patroniWants struct{ restart, reinit, stop bool }

// errStore is what Patroni calls a DCSError.
var errStore = errors.New("the store does not answer")

// keepPatroni starts the daemon when there is none.
func (n *Node) keepPatroni() {
	if n.up && !n.stopped && n.patroni == nil {
		n.patroni = newPatroni(n)
	}
}

func newPatroni(n *Node) *patroni {
	p := &patroni{process: process{w: n.w}, n: n, suspect: true, checkpointed: true}
	p.settings = patroniSettings(n.w.bootstrap, cluster.DefaultSettings())
	p.role = cluster.RoleReplica
	if n.pg.Mode() == cluster.ModePrimary { // it finds a server that runs
		p.role = cluster.RolePrimary
	}
	p.start(func(*bound) { p.watch() })
	p.loop = p.start(func(*bound) { p.run() }).r
	return p
}

// killPatroni is SIGKILL to the daemon; the server is no child of it.
func (n *Node) killPatroni() {
	p := n.patroni
	if p == nil {
		return
	}
	p.kill()
	n.w.unwatch(&p.process)
	n.pg.Interrupt(n.w.serverNow())
	n.patroni = nil
	n.w.stirred = true
}

// restartPatroni has the init system start it again.
func (n *Node) restartPatroni() {
	s := n.supervisor
	n.w.after(time.Second+n.w.jitter(time.Second), doing(func() { s.run(doing(n.keepPatroni)) }))
}

// exit ends the daemon by itself.
func (p *patroni) exit(why string) {
	n := p.n
	n.w.tell(n, "Patroni exits: %s", why)
	n.w.after(0, doing(func() {
		if n.patroni == p {
			n.killPatroni()
		}
		if !n.stopped {
			n.restartPatroni()
		}
	}))
	n.w.current.waitUntil(context.Background(), notYet, 0)
}

func (p *patroni) tell(format string, args ...any) { p.n.w.tell(p.n, "Patroni "+format, args...) }

// sleep is time.sleep in one of its threads.
func (p *patroni) sleep(d time.Duration) { p.w.current.waitUntil(context.Background(), notYet, d) }

// within is a context of the thread that runs, which ends after d.
func (p *patroni) within(d time.Duration) *bound {
	ctx := &bound{r: p.w.current}
	ctx.limit(d)
	return ctx
}

// async has the second thread do what takes long; one thing at a time.
func (p *patroni) async(what string, do func()) {
	if p.busy != "" {
		return
	}
	p.busy = what
	p.tell("begins: %s", what)
	p.start(func(*bound) {
		do()
		p.busy = ""
		p.wake()
	})
}

// wake has the thread that waits between two rounds go on.
func (p *patroni) wake() {
	p.woken = true
	if p.loop != nil {
		p.loop.poke()
	}
}

// run goes round for ever.
func (p *patroni) run() {
	for p.refreshLease(true) != nil {
		p.sleep(5 * time.Second)
	}
	for {
		began := p.w.now
		p.round()
		p.w.stirred = true
		rest := p.settings.LoopWait - (p.w.now - began)
		if !p.leads() { // a little after the leader has published how far it is
			rest += 500 * time.Millisecond
		}
		p.w.current.waitUntil(context.Background(), func() bool { return p.woken }, max(rest, time.Millisecond))
		p.woken = false
	}
}

// leads: the cache says that this member leads.
func (p *patroni) leads() bool { return p.view.HolderIs(p.n.name) }

// claims is what it answers on /primary.
func (p *patroni) claims() bool { return p.n.wall().Before(p.leadsUntil) }

// watch keeps the cache.
func (p *patroni) watch() {
	store := dcs.NewStore(kv{p.n}, "service", scope).Remember(&p.w.memo)
	for {
		if view, err := store.Load(p.within(loadLimit)); err == nil {
			p.see(view)
			p.ready = true
			p.loop.poke()
			p.follow(view.Revision)
		}
		p.ready = false
		p.sleep(time.Second)
	}
}

// follow takes in what changes until the watch breaks.
func (p *patroni) follow(from int64) {
	p.w.follow(&watcher{n: p.n, p: &p.process, from: from, see: func(e agent.Event) {
		if seen, ok := e.(agent.ViewSeen); ok {
			p.see(seen.View)
		}
	}}, &p.watched)
}

// see puts a view into the cache. The loop is woken when another leads, when the
// configuration was changed, and on a standby when the leader published how far it is.
func (p *patroni) see(v cluster.View) {
	was := p.cache
	p.cache = v
	switch {
	case leaderName(&was) != leaderName(&v), was.Config != nil && v.Config != nil && string(was.Config.Raw) != string(v.Config.Raw):
		p.wake()
	case !v.HolderIs(p.n.name) && v.Status != nil && (was.Status == nil || was.Status.Optime != v.Status.Optime):
		p.wake()
	}
}

func leaderName(v *cluster.View) string {
	if v.Leader == nil {
		return ""
	}
	return v.Leader.Name
}

// fold takes what this member has written itself into what it knows of the store.
func (p *patroni) fold(change func(v *cluster.View)) {
	change(&p.cache)
	change(&p.view)
}

// load gives the cache once it is there, for as long as an operation may take.
func (p *patroni) load() error {
	if !p.w.current.waitUntil(context.Background(), func() bool { return p.ready }, p.settings.RetryTimeout) {
		return errStore
	}
	p.view = p.cache
	if p.view.Leader != nil || p.led.Members == nil {
		p.led = p.view
	}
	p.trustsFailsafe()
	if c := p.view.Config; c != nil {
		p.settings = patroniSettings(c.Raw, p.settings)
	}
	return nil
}

// Patroni's least values of its timings.
const (
	patroniTTL   = 20 * time.Second
	patroniLoop  = time.Second
	patroniRetry = 3 * time.Second
)

// patroniSettings is the configuration as Patroni takes it: corrected where its timings do
// not fit each other, the last good one where it cannot be read.
func patroniSettings(raw []byte, last cluster.Settings) cluster.Settings {
	s, why := parseConfig(raw)
	if why != "" {
		return last
	}
	s.TTL, s.LoopWait, s.RetryTimeout = max(s.TTL, patroniTTL), max(s.LoopWait, patroniLoop), max(s.RetryTimeout, patroniRetry)
	if s.LoopWait+2*s.RetryTimeout > s.TTL {
		if s.LoopWait = s.TTL - 2*s.RetryTimeout; s.LoopWait < patroniLoop {
			s.LoopWait, s.RetryTimeout = patroniLoop, (s.TTL-patroniLoop)/2
		}
	}
	return s
}

// stands is what the server's processes are, which Patroni knows by postmaster.pid.
func (p *patroni) stands() cluster.Mode {
	p.w.site.Advance(p.w.serverNow())
	return p.n.pg.Mode()
}

// look asks the server; one that does not answer is what it was when it did.
func (p *patroni) look() (cluster.NodeState, bool) {
	state, err := server{p.n}.Look(p.within(2*time.Second), false, 0)
	if err != nil {
		return state, false
	}
	switch state.Mode {
	case cluster.ModePrimary:
		p.role = cluster.RolePrimary
	case cluster.ModeStandby:
		if p.role != cluster.RolePromoted || p.busy != doesPromote {
			p.role = cluster.RoleReplica
		}
	}
	return state, true
}

// primary: the server is one, as far as it last said.
func (p *patroni) primary() bool {
	return p.stands() != cluster.ModeStopped && (p.role == cluster.RolePrimary || p.role == cluster.RolePromoted)
}

// follows is whom a server is to stream from.
func follows(member string, self *Node) pgfake.Upstream {
	if member == "" {
		return pgfake.Upstream{}
	}
	return pgfake.Upstream{Host: member, Port: "5432", Slot: cluster.SlotName(self.name)}
}

// isAsked is a request by the REST API; nobody hears it where no daemon runs.
func (p *patroni) isAsked(kind cluster.RequestKind) {
	if p == nil {
		return
	}
	switch kind {
	case cluster.RequestRestart:
		p.wants.restart = true
	case cluster.RequestReinitialize:
		p.wants.reinit = true
	default:
		return
	}
	p.wake()
}
