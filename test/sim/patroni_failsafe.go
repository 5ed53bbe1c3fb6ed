package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// patroniFailsafe is what a member remembers of who asked it, in memory alone.
type patroniFailsafe struct {
	asker string
	until time.Time
}

// listFailsafe is the leader's list of whom to ask.
func (p *patroni) listFailsafe() {
	if !p.settings.FailsafeMode {
		return
	}
	list := map[string]string{}
	for name, m := range p.view.Members {
		if m.APIURL != "" {
			list[name] = m.APIURL
		}
	}
	if !maps.Equal(list, p.view.Failsafe) && p.write("failsafe", list) == nil {
		p.fold(func(v *cluster.View) { v.Failsafe = list })
	}
}

// withoutStore is a round in which the store does not answer: a primary goes on only if
// every member that is listed accepts that.
func (p *patroni) withoutStore() {
	if p.settings.Pause || !p.primary() || p.busy != "" && p.busy != doesPromote {
		return
	}
	if p.agreed() {
		p.leadsUntil = p.n.wall().Add(p.settings.TTL)
		return
	}
	p.tell("cannot reach the store")
	p.demote(demotesOffline)
}

// agreed: every other member that is listed has said that it races for nothing.
func (p *patroni) agreed() bool {
	list := p.view.Failsafe
	if !p.settings.FailsafeMode || list[p.n.name] == "" {
		return false
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if name != p.n.name {
			names = append(names, name)
		}
	}
	began := p.w.now
	left, refused, r := len(names), false, p.w.current
	lasts := p.settings.TTL
	for _, name := range names {
		lasts = min(lasts, p.askedTTL(name)) // it asks for no time, and may have another ttl than they
		p.w.call(p.n, name, cluster.FailsafeAsk{Name: p.n.name, TTL: p.askedTTL(name)}, func(a cluster.FailsafeAnswer) {
			left--
			refused = refused || a.Verdict != cluster.FailsafeAccepted
			r.poke()
		})
	}
	r.waitUntil(p.within(2*restPatience), func() bool { return left == 0 || refused }, 0)
	if left == 0 && !refused {
		p.w.failsafes++
		p.n.seen.agreed = began + lasts
		return true
	}
	return false
}

// askedTTL is what an agent takes the question for, by its own configuration.
func (p *patroni) askedTTL(name string) time.Duration {
	if s := p.w.named(name).settings(); s.TTL > 0 {
		return s.TTL
	}
	return cluster.DefaultTTL
}

// accepts answers a leader that cannot reach the store.
func (p *patroni) accepts(ask cluster.FailsafeAsk) cluster.FailsafeAnswer {
	switch {
	case !p.settings.FailsafeMode:
		return cluster.FailsafeAnswer{Verdict: cluster.FailsafeOff, Why: "failsafe mode is off"}
	case p.primary():
		return cluster.FailsafeAnswer{Verdict: cluster.FailsafePrimary, Why: "this member is a running primary"}
	}
	p.failsafe = patroniFailsafe{ask.Name, p.n.wall().Add(p.settings.TTL)}
	p.n.seen.pledged, p.n.seen.pledgedTo = p.w.now+p.settings.TTL, ask.Name
	return cluster.FailsafeAnswer{Verdict: cluster.FailsafeAccepted, LSN: p.n.pg.Log().End}
}

// trustsFailsafe: whoever asked lately leads, although the key is gone.
func (p *patroni) trustsFailsafe() {
	if p.view.Leader == nil && p.settings.FailsafeMode && p.n.wall().Before(p.failsafe.until) {
		p.view.Leader = &cluster.Leader{Name: p.failsafe.asker}
	}
}

// healed: what it believes by a wall clock that was set back since, an operator ends.
func (p *patroni) healed() {
	if p != nil && p.failsafe.until.Sub(p.n.wall()) > p.settings.TTL {
		p.failsafe = patroniFailsafe{}
	}
}
