package sim

import (
	"slices"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// demotion is how a primary is made a standby.
type demotion string

// The ways to demote.
const (
	// demotesGracefully: a switchover. The key is given back as soon as a member has all.
	demotesGracefully demotion = "graceful"
	// demotesAtOnce: the key is lost, or another is healthier.
	demotesAtOnce demotion = "immediate-nolock"
	// demotesOffline: the store does not answer. The key is left to run out.
	demotesOffline demotion = "offline"
)

// demote stops the server and has it come back as a standby.
func (p *patroni) demote(how demotion) {
	n := p.n
	p.tell("demotes its server: %s", how)
	p.suspect = true
	p.ended++
	switch how {
	case demotesAtOnce:
		p.stopped(syscall.SIGQUIT, nil)
	case demotesOffline:
		p.stopped(syscall.SIGINT, nil)
	case demotesGracefully:
		_ = server{n}.Checkpoint(p.within(p.settings.RetryTimeout)) // it is stopped all the same
		p.handOver()
	}
	p.role, p.leadsUntil = cluster.RoleDemoted, time.Time{}
	p.w.stirred = true
	if how == demotesGracefully {
		p.sleep(2 * time.Second)
		return // the next round brings it back
	}
	if n.pg.Postmaster() == 0 && p.busy == "" {
		p.async(doesStart, func() {
			if leader := leaderName(&p.view); how != demotesOffline && leader != "" && leader != n.name {
				p.rejoin(leader)
				return
			}
			p.started(false)
		})
	}
}

// handOver stops the server fast and releases the key: as soon as some member has all that
// the server wrote, else when it is down.
func (p *patroni) handOver() {
	released := false
	p.stopped(syscall.SIGINT, func(end cluster.LSN) {
		if p.leads() && p.couldTakeOver(end) {
			p.role, released = cluster.RoleDemoted, true
			p.release(end)
		}
	})
	if !released && p.leads() {
		p.release(p.n.pg.Log().End)
	}
}

// couldTakeOver: some eligible member has everything up to end.
func (p *patroni) couldTakeOver(end cluster.LSN) bool {
	return slices.ContainsFunc(p.eligible(p.view.Failover, end), func(a restAnswer) bool { return a.has >= end })
}

// eligible are the members that a leader may hand over to: those that the wish allows for,
// that answer, and are not too far behind end.
func (p *patroni) eligible(f *cluster.Failover, end cluster.LSN) (all []restAnswer) {
	var names []string
	for name, m := range p.view.Members {
		wanted := f == nil || f.Member == "" || f.Member == name
		failover := f != nil && f.Leader == "" && f.Member != ""
		if name != p.n.name && wanted && m.APIURL != "" && (p.mayFollow(name) || failover) {
			names = append(names, name)
		}
	}
	for _, a := range p.askAll(names) {
		lag := cluster.LSN(0)
		if end > a.has {
			lag = end - a.has
		}
		late := p.settings.MaximumLagOnFailover >= 0 && lag > cluster.LSN(p.settings.MaximumLagOnFailover)
		if a.reached && !a.nofailover && !a.limited && !a.primary && !late {
			all = append(all, a)
		}
	}
	return all
}

// mayFollow: in a synchronous mode only whom the key sync names may take over.
func (p *patroni) mayFollow(name string) bool {
	s := p.view.Sync
	if !p.settings.Synchronous() || s == nil || s.Leader == "" {
		return true
	}
	r := s.Rule()
	return r.IsCopy(name)
}

// handsOver looks at the key failover as the leader; true when the leader is on its way
// to another.
func (p *patroni) handsOver() bool {
	f := p.view.Failover
	if f.Empty() {
		return false
	}
	if at, err := time.Parse(time.RFC3339, f.ScheduledAt); f.ScheduledAt != "" {
		late := p.n.wall().Sub(at)
		switch {
		case err != nil, late > p.settings.LoopWait*3/2:
			p.clearWish("its time has passed")
			return false
		case -late > p.settings.LoopWait:
			return false
		case late < 0:
			p.sleep(-late)
		}
	}
	switch {
	case f.Leader != "" && f.Leader != p.n.name:
		p.clearWish("its leader is another")
	case f.Member == p.n.name, p.settings.Pause && f.Member == "":
		p.clearWish("it names no other")
	case len(p.eligible(f, p.n.pg.Log().End)) == 0:
		p.clearWish("no member could take over")
	default:
		p.async(doesDemote, func() { p.demote(demotesGracefully) })
		return true
	}
	return false
}

func (p *patroni) clearWish(why string) {
	if why != "" {
		p.tell("withdraws the wish to hand over: %s", why)
	}
	if p.write("failover", map[string]any{}) == nil {
		p.fold(func(v *cluster.View) { v.Failover = nil })
	}
}

// asked does what operators asked for by the REST API.
func (p *patroni) asked() {
	leader := leaderName(&p.view)
	switch {
	case p.wants.reinit && leader != p.n.name && leader != "":
		p.wants.reinit = false
		p.async(doesClone, func() {
			p.stopped(syscall.SIGQUIT, nil)
			if p.n.pg.MoveAside(0) == nil {
				p.clone(leader)
			}
		})
	case p.wants.reinit:
		p.wants.reinit = false
	case p.wants.restart:
		p.wants.restart = false
		writes, ended := p.stands() == cluster.ModePrimary, p.ended
		p.async(doesRestart, func() {
			p.stopped(syscall.SIGINT, nil)
			p.started(writes && ended == p.ended)
		})
	}
}

// stops is SIGTERM: outside a pause the server is stopped too, and the key given back.
func (p *patroni) stops() {
	if !p.settings.Pause {
		p.tell("is told to stop")
		p.leaving = true
		if p.leads() && p.primary() {
			p.handOver()
		} else {
			p.stopped(syscall.SIGINT, nil)
			if p.leads() {
				p.release(0)
			}
		}
		p.role = cluster.RoleDemoted
		_ = p.touch() // nobody is left who could try again
	}
	p.exit("it was told to stop")
}
