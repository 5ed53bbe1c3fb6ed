package sim

import (
	"math"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// never is later than everything.
const never = time.Duration(math.MaxInt64)

// judge is what the invariants are checked against.
type judge struct {
	violation string
	// epochs counts how often any server began to accept writes.
	epochs    int
	lastAcked int // epoch of the newest acknowledged commit
	last      pgfake.Ack
	// lost: a promotion has left last behind, as it might: that is given up, for whoever comes later too.
	lost      bool
	lastBy    *Node
	published pgfake.Place // what the store's position is of
	highest   cluster.Term // ever held by anybody
	numbers   map[cluster.Timeline]string
	system    string
	// excused counts overlaps of the named exception.
	excused int
	wasOver bool
	// acking are the nodes whose servers acknowledge, as of the round of the servers'
	// model; seen is that round when the judge last looked, and the loops' step.
	acking []*Node
	round  uint64
	seen   struct {
		round uint64
		step  int
	}
	// quiet is when a lease ends of a node that was primary then.
	quiet time.Duration
	// leads is who leads as of the last look; takeovers counts keys taken over while their
	// holder's lease ran.
	leads struct {
		term cluster.Term
		node *Node
	}
	takeovers int
	// fast: somebody looks at who weakens synchronous_commit, as fast_failover asks for.
	fast bool
	gateJudge
	restoredJudge
	patroniJudge
}

// facts are what the judge knows of a node.
type facts struct {
	epoch int
	// acked is the newest commit of its clients, pid the postmaster that opened.
	acked pgfake.Ack
	pid   int
	// called is when the present call on the leader key began, until when the last
	// one that counted has been T ago: by the world's clock, not by what the node
	// says of it.
	// held is when the last one that has succeeded began.
	called time.Duration
	until  time.Duration
	ttl    time.Duration
	held   time.Duration
	// asked is when the present round of promises began, for askedTTL; agreed until when
	// the last one that was enough binds the others.
	asked, askedTTL, agreed time.Duration
	// proved is until when the store has seen to it that nobody else takes over: the last
	// beat of this node that was committed, whatever its process has heard of that. The
	// guard may have the deadline that comes of it while the worker is frozen.
	proved time.Duration
	// beats is the T that the last beat says, which shortens the lease.
	beats time.Duration
	// waits is since when names are said to be in force that its commits wait for; 0 for none.
	waits cluster.Instant
	// deposed is when its key was taken over by promises, while its lease ran.
	deposed time.Duration
	how     election.Action // the action that took the lease
	// acquires: the store has given it the key, as wish stood then, and it has yet to know.
	acquires bool
	wish     cluster.Failover
	named    bool  // an operator named this node
	forced   bool  // and said that what is lost thereby is lost
	lag      int64 // maximum_lag_on_failover when it took the lease
	// frozen: every process of its agent was frozen while this server ran, asleep when it
	// was seen so last. It ends with a renewal that it began afterwards.
	frozen bool
	asleep time.Duration
	gate   gateFacts
	copies copyFacts
	begun  time.Duration // the last job; of promotions of one server, the first that may yet be carried out
	// unanswered is the server whose guard has yet to say whether it promotes it.
	unanswered int
	// marked: the store has forgotten that this server may write on in a pause. Its agent
	// refuses what the store says, and goes by what it saw before.
	marked bool
	// stoodStill: its clocks did, while this server ran.
	stoodStill bool
	// pledged is until when a Patroni member has agreed to another's going on, whatever its
	// process remembers of that.
	pledged   time.Duration
	pledgedTo string
	// heard is the newest timeline that the present worker was told of, where Patroni runs others.
	// history is the same of the key history alone, knew what it was when the present
	// promotion began.
	heard, history, knew cluster.Timeline
}

// fail notes the first violation. One after a node was led astray by a store that was
// set back ends the run too, counted apart.
func (w *World) fail(invariant, format string, args ...any) {
	if w.led && w.violation == "" && invariant != "S5" && invariant != "S7" && invariant != "panic" {
		w.astray = true
		return
	}
	w.violated(invariant, format, args...)
}

// violated notes the first violation that nothing excuses.
func (w *World) violated(invariant, format string, args ...any) {
	if w.violation != "" || w.astray {
		return
	}
	w.violation = invariant
	w.tellAll("VIOLATION %s: "+format, append([]any{invariant}, args...)...)
}

// look checks what must hold after every step. Nothing can have changed while no
// loop has made a step, nothing was done with a server, and no lease has ended.
func (w *World) look() {
	if !w.stirred && w.seen.step == w.steps && w.seen.round == w.site.Round() && w.now <= w.quiet {
		return
	}
	w.noteTakeover()
	w.stirred, w.seen.step, w.seen.round, w.quiet = false, w.steps, w.site.Round(), never
	writing, excused := 0, 0
	var rogue []*Node
	for _, n := range w.acknowledging() {
		switch {
		case n.byPatroni && !n.entitled():
			rogue = append(rogue, n)
		case n.pg.Gated() || n.deposed(): // every one of its acknowledgements is judged
		case n.overslept() || n.seen.stoodStill:
			excused++
		default:
			writing++
		}
	}
	if writing > 1 && w.patronis() == writing { // each by its own rules
		rogue = append(rogue, w.acking...)
	} else if writing > 1 {
		w.fail("S1", "%d servers accept writes", writing)
	}
	over := writing+excused > 1
	if over && !w.wasOver {
		w.excused++
	}
	w.wasOver = over
	w.overlaps(rogue, writing+excused)
	if primaries := w.primaries(); primaries > 1 {
		w.fail("S3", "%d nodes answer 200 on /primary", primaries)
	}
}

// recovers: the server is in recovery, and not only in that of its own postmaster
// after a backend has crashed, in which nobody can connect.
func (n *Node) recovers() bool {
	m := n.pg.Mode()
	return m == cluster.ModeStandby || m == cluster.ModeStarting && n.pg.Postmaster() != n.seen.pid
}

// primaries counts the nodes whose /primary answers 200. Whether one does is worked
// out only where it would be wrong.
func (w *World) primaries() (count int) {
	holders := 0
	for _, n := range w.nodes {
		if n.mayLead() {
			holders++
		}
	}
	for _, n := range w.nodes {
		if !n.mayLead() || n.seen.stoodStill {
			continue
		}
		recovers, strays, over := n.recovers(), w.strays(n), w.now > n.seen.until && !w.lifted(n)
		w.quiet = min(w.quiet, max(n.seen.until, w.now))
		if !recovers && !over && !strays && holders == 1 || !n.worker.state().Writable(n.instant()) {
			continue
		}
		if !n.deposed() {
			count++
		}
		if recovers {
			w.fail("S3", "/primary of %s answers 200 while its server is in recovery", n.name)
		}
		if strays {
			w.fail("S8", "/primary of %s answers 200 on timeline %d, which is another's", n.name, n.pg.Log().Timeline)
		}
		if over {
			w.fail("S3", "/primary of %s answers 200 although its lease ended", n.name)
		}
	}
	return count
}

// mayLead: the node's loop runs and believes that it holds the lease.
func (n *Node) mayLead() bool {
	k := n.worker
	return k != nil && !k.frozen && !k.dead && k.loop.Term() != 0
}

// acknowledging are the nodes whose servers do now.
func (w *World) acknowledging() []*Node {
	if w.round == w.site.Round() {
		return w.acking
	}
	w.round, w.acking = w.site.Round(), w.acking[:0]
	for _, n := range w.nodes {
		if n.pg.Acknowledges() {
			w.acking = append(w.acking, n)
		}
	}
	return w.acking
}

// blind: every process of the agent is, or was, frozen while this server ran, and no
// renewal has counted that it began afterwards. A worker that was killed is replaced at
// once, unless the supervisor is frozen or dead too.
func (n *Node) blind() bool {
	gone := n.worker == nil && (n.supervisor == nil || n.supervisor.frozen || n.supervisor.dead || n.stopped)
	if n.guard != nil && n.guard.frozen && (gone || n.worker != nil && n.worker.frozen) && n.pg.Mode() != cluster.ModeStopped {
		n.seen.frozen, n.seen.asleep = true, n.w.now
	}
	return n.seen.frozen
}

// awake: a renewal has counted that began at a time. Nobody of a frozen agent begins one.
func (n *Node) awake(began time.Duration) {
	if began > n.seen.asleep {
		n.seen.frozen = false
	}
}

// overslept is the named exception: nobody was awake to stop this node's server when its
// lease ended, and no watchdog was armed that needs nobody awake.
func (n *Node) overslept() bool {
	return n.blind() && n.w.now > n.leaseEnd() && !n.w.lifted(n) && !n.leashed()
}

// leaseEnd is s + T of the last renewal that took effect.
func (n *Node) leaseEnd() time.Duration { return max(n.seen.until, n.seen.proved) }

// beaten: a beat of the node's was committed that says ttl and makes its lease last that
// long. Candidates wait no longer than the newest beat says: what was promised under a
// longer T has ended with a shorter one. A late one, of before the call that the lease rests
// on, is committed where a store was set back to the term it compares.
func (n *Node) beaten(lasts, ttl time.Duration) {
	if lasts-ttl < n.seen.held {
		return
	}
	if ttl < n.seen.beats {
		n.seen.proved, n.seen.until = n.seen.agreed, max(min(n.seen.until, lasts), n.seen.agreed)
	}
	n.seen.proved, n.seen.beats = max(n.seen.proved, lasts), ttl
}

// lifted: a pause that the store has recorded lets this node write without a lease; not by a
// mark that has come back with a backup, of which it knows nothing.
func (w *World) lifted(n *Node) bool {
	mark := w.view().PausedAt
	return mark != nil && mark.Name == n.name && (mark.ModRevision > w.backup || n == w.paused) || n.seen.marked
}

// serve judges what clients were told since the last step, in which nothing but
// time has passed. What standbys confirm is excused with nobody awake only after a failover
// past them, which an operator has forced, or asked of a Patroni member: those that do not
// know yet go on confirming.
func (w *World) serve() {
	for _, n := range w.acknowledging() {
		acked := n.pg.Acked(w.serverNow())
		if n.byPatroni {
			w.servePatroni(n, acked)
			continue
		}
		w.serveNamed(n, acked)
		if w.serveGated(n, acked) {
			continue
		}
		if (n.overslept() || n.seen.stoodStill) && (!acked.Synchronous || w.passedBy(n)) {
			n.seen.acked = acked
			continue
		}
		if end := n.leaseEnd(); !acked.Synchronous && w.now > end && !w.lifted(n) { // whether or not a client just then had a commit
			w.fail("S1", "%s acknowledges commits %s after its lease ended", n.name, w.now-end)
		}
		if acked.At <= n.seen.acked.At {
			continue
		}
		if n.deposed() {
			w.serveDeposed(n, acked)
			continue
		}
		if n.seen.epoch < w.lastAcked && n.blind() && w.lastBy.pg.Keeps(acked) {
			continue // confirmations that were on their way when it froze: the newer primary has these commits
		}
		if n.seen.epoch < w.lastAcked {
			w.fail("S1", "%s acknowledges a commit after a newer primary has", n.name)
		}
		w.acknowledged(n, acked)
	}
}

// passedBy: another was made the primary by an operator, whatever it lacked.
func (w *World) passedBy(n *Node) bool {
	by := w.lastBy
	return by != nil && by != n && (by.seen.forced || by.byPatroni && by.seen.named)
}

// happened is told what servers do by themselves.
func (w *World) happened(h pgfake.Happening) {
	n := w.nodes[h.Server.Number()]
	switch h.Kind {
	case pgfake.Exited:
		if g := n.guard; g != nil {
			w.after(0, doing(g.turn))
		}
	case pgfake.Opened:
		w.opened(n, false)
	case pgfake.Promoted:
		w.opened(n, true)
	case pgfake.Unlinked:
		w.strikeDoomed(n)
	case pgfake.GateLost:
		w.gateLost(n)
	}
}

// opened: a server begins to accept writes.
func (w *World) opened(n *Node, promoted bool) {
	w.epochs++
	n.seen.epoch = w.epochs
	pid := n.pg.Postmaster()
	goesOn := pid == n.seen.pid && !promoted // after a backend has crashed, on its own: a primary may, whatever became of its watchdog
	if pid != n.seen.pid {
		n.seen.pid, n.seen.frozen, n.seen.stoodStill, n.seen.marked = pid, false, false, false
		n.seen.gate.must = 0
		if n.seen.gate.started && w.gateWanted && n.seen.gate.ungated != pid {
			n.seen.gate.must = w.serverNow()
		}
	}
	log, system := n.pg.Log(), n.pg.SystemID()
	w.tell(n, "the server accepts writes on timeline %d from %s", log.Timeline, log.End)
	if w.system == "" {
		w.system = system
	}
	if init := w.view().Initialize; w.system != system || init != nil && init.SystemID != "" && init.SystemID != system {
		w.fail("S7", "%s writes in a cluster with another system identifier", n.name)
	}
	if !goesOn && n.unleashed() {
		w.fail("S1", "%s begins to write without the watchdog that it requires", n.name)
	}
	if !promoted {
		w.straysPatroni(n)
		if user := w.numbers[log.Timeline]; user != "" && user != n.name && !w.strays(n) {
			w.twice(n, user)
		}
		return
	}
	if w.numbers == nil {
		w.numbers = map[cluster.Timeline]string{}
	}
	if user := w.numbers[log.Timeline]; user != "" {
		w.twice(n, user)
	} else {
		w.numbers[log.Timeline] = n.name
	}
	w.claimsPatroni(n)
	w.loss(n)
	if s := n.settings(); len(n.pg.Names().Standbys) == 0 && !s.Synchronous() && n.pg.Keeps(w.last) { // as in noteWaived: the mode was turned off while nobody led
		w.last.Synchronous = false
	}
}

// strays: a backend that crashed in the middle of a promotion has had the server recover by
// itself, as a primary of the timeline it was to leave. No agent can be before that; it must
// have it stopped, and show nobody such a primary.
func (w *World) strays(n *Node) bool {
	user := w.numbers[n.pg.Log().Timeline]
	return n.pg.Crashes() > 0 && user != "" && user != n.name && n.pg.Mode() == cluster.ModePrimary
}

func (w *World) twice(n *Node, user string) {
	if w.twicePatroni(n, user) {
		return
	}
	w.fail("S8", "%s writes on timeline %d, which %s has used", n.name, n.pg.Log().Timeline, user)
}

// loss judges what a promotion leaves behind.
func (w *World) loss(n *Node) {
	if n.pg.Keeps(w.last) || w.lost {
		return
	}
	if n.byPatroni {
		w.lossPatroni(n)
		return
	}
	if n.overslept() { // nobody was left to stop a promotion that outlasted its lease
		return
	}
	w.tell(n, "acknowledged commits up to %s of %s are lost", w.last.LSN, w.lastBy.name)
	if w.last.Synchronous && !n.seen.forced {
		w.fail("S2", "commits up to %s, which standbys of %s had confirmed, are not on %s", w.last.LSN, w.lastBy.name, n.name)
	}
	if _, handed := n.seen.how.(election.Accept); handed {
		w.fail("S2", "a switchover to %s lost acknowledged commits", n.name)
	}
	if n.seen.forced {
		w.last = pgfake.Ack{}
	}
	w.lost = true
	pub, limit := w.view().Status, cluster.LSN(max(n.settings().MaximumLagOnFailover, n.seen.lag, 0))
	if pub == nil || n.seen.named {
		return
	}
	if has := n.pg.Shares(w.published); has+limit < pub.Optime {
		if w.untold > n.seen.history || w.untold != 0 && w.untold == w.forked {
			w.commits(w.lastBy, foulUntold)
			return
		}
		w.fail("S2", "%s lost %d bytes of what was published on timeline %d, the limit is %d", n.name, pub.Optime-has, pub.Timeline, limit)
	}
}
