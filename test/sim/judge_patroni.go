package sim

import (
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// What is judged of clusters in which Patroni runs some of the nodes. Agents are judged as
// ever: none acknowledges past its own lease, none takes the key of a Patroni leader while
// that stands, and what they take over has what it must have. Patroni itself has neither a
// guard nor a deadline: what a Patroni member does wrong is counted, by its kind, and
// where nothing can be promised after that the run ends there.

// foul is something that Patroni's rules allow for, and ours do not.
type foul string

// The kinds. An overlap lets the run go on.
const (
	// foulOverlap: its server acknowledges without the key beside another.
	foulOverlap foul = "overlap"
	// foulNumber: it has used a timeline number that another has, or before anybody could
	// know of it.
	foulNumber foul = "timeline number used twice"
	// foulReclaim: its old primary took the key again past a newer one.
	foulReclaim foul = "old primary leads again"
	// foulNamed: an operator named a member, which took over whatever it lacked.
	foulNamed foul = "named and behind"
	// foulBytes: it was as far by bytes, of another timeline.
	foulBytes foul = "ahead on another timeline"
	// foulFormer: it leads by a key sync of its own that the leader of between had yet to
	// write anew.
	foulFormer foul = "former leader by an old key sync"
	// foulHeld: it is the only one that may lead by the key sync, and holds itself for too far
	// behind, or has no data: an operator has to say who leads.
	foulHeld foul = "nobody leads without it"
	// foulReceivers: it compared positions while the receivers of the others ran, and a frozen
	// primary had commits confirmed in that moment.
	foulReceivers foul = "confirmed to a frozen primary meanwhile"
	// foulVote: it was elected in a quorum by the vote of one that runs Patroni too, and whose
	// server had just been started: it had yet to read its own WAL, and said that it had less.
	foulVote foul = "voter that had yet to read its WAL"
	// foulNarrowed: its key sync went on to name voters of whom enough to elect one of them had
	// yet to get what another, which it names no more, had confirmed.
	foulNarrowed foul = "votes that ask nobody who has it"
	// foulUntold: it published a position of a timeline of which it had yet to tell, and an
	// agent took over that had less.
	foulUntold foul = "position of a timeline that nobody was told of"
	// foulLag: it took over with less than the limit allows for.
	foulLag foul = "behind what was published"
)

// patroniJudge is the judge's memory of that.
type patroniJudge struct {
	mixed bool
	// untold is the timeline of the position that a Patroni leader has published.
	untold cluster.Timeline
	fouls  map[foul]int
	// ended is what ended the run; "" for nothing.
	ended   foul
	wasFoul bool
	// forked is the number that Patroni has used again; 0 for none.
	forked cluster.Timeline
}

// commits counts a foul.
func (w *World) commits(n *Node, kind foul) {
	if w.fouls == nil {
		w.fouls = map[foul]int{}
	}
	w.fouls[kind]++
	w.tell(n, "named exception, Patroni has neither guard nor deadline: %s", kind)
}

// ends counts one after which nothing can be promised.
func (w *World) ends(n *Node, kind foul) {
	if w.violation == "" && !w.astray {
		w.commits(n, kind)
		w.astray, w.ended = true, kind
	}
}

// entitled: the store has this Patroni member for the leader, or all others have agreed
// that it goes on without. Not one that had itself agreed to another's going on, nor one
// that has passed by the mark of a primary in a pause, nor one that took the key as an
// operator had named it while another leads without the store: it asks nobody then.
func (n *Node) entitled() bool {
	w := n.w
	v, to := w.view(), w.named(n.seen.pledgedTo)
	switch {
	case to != nil && w.now <= n.seen.pledged && w.now <= to.leaseEnd():
		return false
	case w.now <= n.seen.agreed:
		return true
	case !v.HolderIs(n.name), v.PausedAt != nil && v.PausedAt.Name != n.name:
		return false
	case n.seen.named && slices.ContainsFunc(w.nodes, func(o *Node) bool { return o != n && w.now <= o.seen.agreed }):
		return false
	}
	return true
}

// patronis are the Patroni members that acknowledge and are entitled to.
func (w *World) patronis() (count int) {
	for _, n := range w.acking {
		if n.byPatroni && n.entitled() {
			count++
		}
	}
	return count
}

// overlaps is told how many servers acknowledge without being entitled to, and beside how
// many.
func (w *World) overlaps(rogue []*Node, others int) {
	over := len(rogue) > 0 && len(rogue)+others > 1
	if over && !w.wasFoul {
		w.commits(rogue[0], foulOverlap)
	}
	w.wasFoul = over
}

// servePatroni judges what clients of a Patroni member were told.
func (w *World) servePatroni(n *Node, acked pgfake.Ack) {
	switch {
	case !n.entitled():
		n.seen.acked = acked
	case acked.At <= n.seen.acked.At:
	case n.seen.epoch < w.lastAcked && !n.pg.Keeps(w.last):
		w.ends(n, foulReclaim)
	default:
		w.acknowledged(n, acked)
	}
}

// lossPatroni judges what a promotion of Patroni leaves behind: commits that standbys had
// confirmed must be there by its own rules, unless an operator named the member.
func (w *World) lossPatroni(n *Node) {
	if !w.view().HolderIs(n.name) { // nobody was left to stop a promotion that outlasted its lease
		return
	}
	w.tell(n, "acknowledged commits up to %s of %s are lost", w.last.LSN, w.lastBy.name)
	pub, limit := w.view().Status, cluster.LSN(max(n.patroniLimit(), 0))
	switch {
	case w.last.Synchronous && n.seen.named:
		w.ends(n, foulNamed)
	case w.last.Synchronous && n.pg.Log().Forked >= w.last.LSN:
		w.ends(n, foulBytes)
	case w.last.Synchronous && (w.lastBy.blind() || w.lastBy.byPatroni && !w.lastBy.entitled()):
		w.ends(n, foulReceivers)
	case w.last.Synchronous && w.stored().SynchronousMode == cluster.SyncQuorum && w.view().Sync != nil && w.view().Sync.Leader == n.name && w.lastBy != n:
		w.ends(n, foulFormer)
	case w.last.Synchronous && w.stored().SynchronousMode == cluster.SyncQuorum && slices.ContainsFunc(w.nodes, n.outvoted):
		w.ends(n, foulVote)
	case w.last.Synchronous:
		w.fail("S2", "commits up to %s, which standbys of %s had confirmed, are not on %s", w.last.LSN, w.lastBy.name, n.name)
	case pub != nil && !n.seen.named && n.pg.Shares(w.published)+limit < pub.Optime:
		w.commits(n, foulLag)
	}
}

// narrows is told of each key sync that a Patroni leader writes in a quorum: it looks at
// nobody's position when a standby that has confirmed is taken out.
func (w *World) narrows(n *Node, voters []string, quorum int) {
	if w.lastBy != n || !w.last.Synchronous || w.stored().SynchronousMode != cluster.SyncQuorum {
		return
	}
	lacking := 0
	for _, name := range voters {
		if v := w.named(name); v != nil && !v.pg.Keeps(w.last) {
			lacking++
		}
	}
	if lacking > quorum {
		w.commits(n, foulNarrowed)
		w.last.Synchronous = false
	}
}

// outvoted: another that Patroni runs has what n lacks, and voted for it all the same.
func (n *Node) outvoted(by *Node) bool {
	return by != n && by != n.w.lastBy && by.byPatroni && by.pg.Keeps(n.w.last)
}

func (n *Node) patroniLimit() int64 {
	if n.patroni == nil {
		return 0
	}
	return n.patroni.settings.MaximumLagOnFailover
}

// tooFar: everybody who may lead is further behind a position than may be lost. Whom the
// last leader's list of members for failsafe does not have may not.
func (w *World) tooFar(optime cluster.LSN) bool {
	limit, list := cluster.LSN(max(w.stored().MaximumLagOnFailover, 0)), w.view().Failsafe
	return !slices.ContainsFunc(w.nodes, func(n *Node) bool {
		return n.pg.Log().End+limit >= optime && (len(list) == 0 || list[n.name] != "")
	})
}

// held: nobody leads, since a Patroni member is the only one that may by the key sync which
// it wrote before a promotion that came to nothing, and finds itself too far behind, or is not
// in the list for failsafe of one that an operator had named since; or since
// the others of a quorum are members of Patroni's that have no data, and wait for a leader;
// or since a Patroni primary that was none any more has published a position that nobody has.
// Or an operator has named an agent that waits in a quorum for one that has more, that has no
// data, or that the list for failsafe of the last leader or the key sync keeps from the lease,
// and the others, run by Patroni, step back for the named one until the wish is taken back.
// Or that list has but members that step back for one which is further by bytes, and which it
// has not.
// Or an old primary of Patroni's leads, past a newer timeline that all others are on, so that
// nobody confirms what it writes.
func (w *World) held() bool {
	if !w.mixed { // agents step back for nobody for ever
		return false
	}
	v := w.view()
	if v.Leader == nil && !v.Failover.Empty() { // Patroni members step back for whom it names for ever
		n := w.named(v.Failover.Member)
		waits := n != nil && !n.byPatroni && (slices.Contains([]cluster.Reason{election.ReasonNotListed, election.ReasonNotListedSync, election.ReasonWaitingForData}, n.reason()) ||
			n.reason() == election.ReasonBetterCandidate && w.stored().SynchronousMode == cluster.SyncQuorum)
		if waits {
			w.ends(n, foulHeld)
			return true
		}
	}
	if n := w.outrun(v.Failsafe); n != nil && v.Leader == nil {
		w.ends(n, foulHeld)
		return true
	}
	if lead := w.named(leaderName(v)); lead != nil && lead.byPatroni && !w.flows(lead) && slices.ContainsFunc(w.nodes, lead.passedOver) {
		w.ends(lead, foulReclaim)
		return true
	}
	if v.Leader == nil && v.Status != nil && w.untold != 0 && w.tooFar(v.Status.Optime) {
		w.ends(w.lastBy, foulHeld)
		return true
	}
	for _, n := range w.nodes {
		if v.Leader == nil && n.byPatroni && n.pg.Disk().Data != cluster.DataValid && w.stored().SynchronousMode == cluster.SyncQuorum {
			w.ends(n, foulHeld)
			return true
		}
	}
	if v.Leader != nil || v.Sync == nil || v.Status == nil || v.Sync.SyncStandby != "" {
		return false
	}
	n := w.named(v.Sync.Leader)
	barred := n != nil && len(v.Failsafe) > 0 && v.Failsafe[n.name] == ""
	if n == nil || !n.byPatroni || !barred && v.Status.Optime <= n.pg.Log().End+cluster.LSN(max(n.patroniLimit(), 0)) {
		return false
	}
	w.ends(n, foulHeld)
	return true
}

// outrun is one of a list for failsafe of which Patroni runs all, when each has somebody
// before it, by bytes, whom the list has not.
func (w *World) outrun(list map[string]string) (one *Node) {
	for _, n := range w.nodes {
		if list[n.name] == "" {
			continue
		}
		ahead := func(o *Node) bool { return list[o.name] == "" && o.pg.Log().End > n.pg.Log().End }
		if !n.byPatroni || !slices.ContainsFunc(w.nodes, ahead) {
			return nil
		}
		one = n
	}
	return one
}

// passedOver: n leads on an older timeline than another's, of which it knows nothing.
func (n *Node) passedOver(other *Node) bool {
	return other != n && other.pg.Diverged(n.pg) && other.beyond(n)
}

// twicePatroni judges a timeline number that was used twice, by Patroni or after it: agents
// must know those that the store told of, or their own WAL.
func (w *World) twicePatroni(n *Node, user string) bool {
	by := w.named(user)
	if !n.byPatroni && !(by != nil && by.byPatroni && n.pg.Log().Timeline > n.seen.knew) {
		return false
	}
	if !n.byPatroni {
		w.ends(n, foulNumber)
		return true
	}
	w.commits(n, foulNumber)
	w.forked = n.pg.Log().Timeline
	return true
}

// straysPatroni: the server of a Patroni member recovers by itself from a crash in the middle
// of its promotion, as a primary of the timeline that it was to leave, which another is on.
func (w *World) straysPatroni(n *Node) {
	own := n.pg.Log().Timeline
	if n.byPatroni && n.pg.Crashes() > 0 && slices.ContainsFunc(w.nodes, func(o *Node) bool { return o.pg.Log().Timeline == own && o.pg.Diverged(n.pg) }) {
		w.commits(n, foulNumber)
		w.forked = own
	}
}

// claimsPatroni: a Patroni member has promoted a server that had gone past the beginning of a
// timeline which it took for its goal when it was started, since a history file of it was
// there: what the new one's history says of that timeline is what another wrote on it.
func (w *World) claimsPatroni(n *Node) {
	log := n.pg.Log()
	if n.byPatroni && log.Claimed != 0 {
		w.commits(n, foulNumber)
		w.forked = log.Claimed
	}
}

// heardOf sees what timelines a worker was told of.
func (n *Node) heardOf(v *cluster.View) {
	for _, line := range v.History {
		n.seen.history = max(n.seen.history, line.Timeline+1)
	}
	n.seen.heard = max(n.seen.heard, n.seen.history)
	for _, m := range v.Members {
		n.seen.heard = max(n.seen.heard, m.Timeline)
	}
}

// noteStore sees what a request has written: who leads.
func (w *World) noteStore(by *Node, before *cluster.Leader) {
	if !w.mixed {
		return
	}
	v := w.view()
	if l := v.Leader; l != nil && before != nil && l.Name != before.Name && l.Name == by.name && !by.byPatroni {
		if was := w.named(before.Name); was != nil && was.byPatroni {
			w.fail("S1", "%s takes the key of %s, which Patroni runs, while that one's lease runs", by.name, was.name)
		}
	}
}

// leadsSettled: a Patroni member leads, and says so.
func (n *Node) leadsSettled() bool {
	return n.patroni != nil && n.w.view().HolderIs(n.name) && n.patroni.claims()
}

// followsSettled: a member streams, and its manager has nothing else in mind.
func (n *Node) followsSettled(follows bool) bool {
	if n.byPatroni {
		_, there := n.w.view().Members[n.name]
		return n.patroni != nil && n.patroni.busy == "" && there
	}
	return follows
}

// stuck: a Patroni member asks the leader for the history file of a timeline that this one
// was never on, and is refused for ever. Agents help themselves.
func (n *Node) stuck() bool {
	return n.byPatroni && strings.Contains(n.pg.Complaint(), "could not receive timeline history file")
}

// beyond: a member's data is on another history than the leader's, by what Patroni did, in a
// way that it cannot find out: Patroni compares numbers alone; an agent that has seen who
// began the timeline does as long as that is the leader's newest. Or the leader is a Patroni member that knew
// nothing of the newer timeline which the agent is on, and the agent keeps that until an
// operator has it made anew.
func (n *Node) beyond(lead *Node) bool {
	w, theirs, whose := n.w, lead.pg.Log().Timeline, n.memory.Whose
	knew := theirs == w.forked && whose.Timeline == w.forked && whose.Member != lead.name
	return w.forked != 0 && (n.byPatroni || !knew) || lead.byPatroni && !n.byPatroni && n.pg.Log().Timeline > theirs
}

// situation is what a Patroni member is at.
func (p *patroni) situation() string {
	if p == nil {
		return "Patroni does not run"
	}
	return strings.TrimSpace("Patroni, " + string(p.role) + " " + p.busy)
}
