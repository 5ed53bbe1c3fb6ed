package sim

import (
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// race: nobody leads. Whoever finds nobody better takes the key, and is promoted at once.
func (p *patroni) race(state cluster.NodeState, ok bool) error {
	if !ok {
		return nil
	}
	primary := state.Mode == cluster.ModePrimary
	if p.healthiest(state) {
		if !p.acquire() {
			return nil
		}
		p.judged()
		if f := p.view.Failover; !f.Empty() {
			p.clearWish("")
		}
		if !primary {
			p.promote()
		}
		return nil
	}
	f := p.view.Failover
	switch {
	case primary && !p.settings.Pause:
		p.demote(demotesAtOnce)
	case !f.Empty() && f.Member == p.n.name, p.n.tags.NoFailover():
		p.sleep(2 * time.Second)
		p.suspect = true
	}
	return nil
}

// judged has the judge know how this member came to lead.
func (p *patroni) judged() {
	f := p.view.Failover
	again := p.n.seen.named && p.view.Sync != nil && p.view.Sync.Leader == p.n.name // what it took as named, and did not come to lead
	p.n.seen.named = !f.Empty() && f.Member == p.n.name || again
	p.n.seen.forced = false
	p.n.seen.how = nil
}

// healthiest: no member that answers is ahead of this one.
func (p *patroni) healthiest(state cluster.NodeState) bool {
	if state.Mode == cluster.ModePrimary {
		return p.settings.Pause || state.Timeline >= p.clusterTimeline()
	}
	switch f := p.view.Failover; {
	case !f.Empty() && !(p.settings.Pause && f.Member == ""):
		return p.byWish(state, *f)
	case p.settings.Pause, p.n.tags.NoFailover():
		return false
	}
	return p.listed() && p.ahead(state, p.competitors(), true)
}

// clusterTimeline is what the key history says of the newest timeline.
func (p *patroni) clusterTimeline() cluster.Timeline {
	if h := p.view.History; len(h) > 0 {
		return h[len(h)-1].Timeline + 1
	}
	return 0
}

// listed: the lists in the store allow for this member.
func (p *patroni) listed() bool {
	if len(p.view.Failsafe) > 0 && p.view.Failsafe[p.n.name] == "" {
		return false
	}
	return p.settings.SynchronousMode != cluster.SyncOn || p.mayFollow(p.n.name)
}

// byWish: the key failover stands while nobody leads.
func (p *patroni) byWish(state cluster.NodeState, f cluster.Failover) bool {
	switch {
	case f.Member == p.n.name:
		return true
	case p.settings.Pause, p.n.tags.NoFailover():
		return false
	case f.Member != "":
		if !p.mayFollow(p.n.name) {
			return false
		}
		if a := p.askAll([]string{f.Member})[0]; a.reached && !a.nofailover && !a.limited {
			return false
		}
	}
	if f.Leader == p.n.name { // it was the leader itself
		return len(p.eligible(&cluster.Failover{}, 0)) == 0
	}
	return p.listed() && p.ahead(state, p.competitors(), false)
}

// competitors are whom a candidate compares with: the members of when somebody led last,
// and those that are there now; in a synchronous mode those that sync names.
func (p *patroni) competitors() (names []string) {
	for _, n := range p.w.nodes {
		_, then := p.led.Members[n.name]
		_, now := p.view.Members[n.name]
		if n != p.n && (then || now || p.view.Failsafe[n.name] != "") && (p.settings.SynchronousMode != cluster.SyncOn || p.mayFollow(n.name)) {
			names = append(names, n.name)
		}
	}
	return names
}

// ahead compares this member with the others that answer; lag says whether what it may
// lack of what was published counts.
func (p *patroni) ahead(state cluster.NodeState, names []string, lag bool) bool {
	mine := state.Position().LSN
	if s := p.view.Status; lag && s != nil && p.settings.MaximumLagOnFailover >= 0 && s.Optime > mine && s.Optime-mine > cluster.LSN(p.settings.MaximumLagOnFailover) {
		return false
	}
	if p.settings.CheckTimeline && state.Timeline < p.clusterTimeline() {
		return false
	}
	votes, asked := p.quorumVotes(), p.askAll(names)
	for _, a := range asked {
		voter := p.votesFor(a.name)
		switch {
		case !a.reached || a.limited || a.nofailover && !voter:
			continue
		case a.primary:
			p.tell("finds that %s is a primary", a.name)
			return false
		case a.has > mine && !p.formerLeader(a.name):
			p.tell("finds that %s is ahead of it", a.name)
			return false
		case a.has == mine && a.priority > p.n.tags.FailoverPriority() && !p.formerLeader(a.name):
			return false
		}
		if voter && a.has <= mine {
			votes++
		}
	}
	return p.enough(votes)
}

// formerLeader: in a synchronous mode the leader that is gone may have more.
func (p *patroni) formerLeader(name string) bool {
	s := p.view.Sync
	return p.settings.Synchronous() && s != nil && s.Leader == name
}

// restAnswer is what a member says on GET /patroni.
type restAnswer struct {
	name                         string
	reached, primary, nofailover bool
	limited                      bool // its watchdog has failed, or so it says
	has                          cluster.LSN
	priority                     int
}

// restPatience is how long the members are waited for.
const restPatience = 2 * time.Second

// askAll asks members at once, and waits for all of them.
func (p *patroni) askAll(names []string) []restAnswer {
	slices.Sort(names)
	answers := make([]restAnswer, len(names))
	left, r := len(names), p.w.current
	for i, name := range names {
		answers[i].name = name
		p.w.get(p.n, name, func(a restAnswer) {
			answers[i] = a
			if left--; left == 0 {
				r.poke()
			}
		})
	}
	r.waitUntil(p.within(restPatience), func() bool { return left == 0 }, 0)
	return slices.Clone(answers) // what comes later is heard by nobody
}
