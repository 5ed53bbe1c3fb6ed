package sim

import (
	"context"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// One round of Patroni: what is the case, and what follows from that.

// The things that its second thread does.
const (
	doesInit    = "bootstrap"
	doesClone   = "clone"
	doesStart   = "start"
	doesPromote = "promote"
	doesDemote  = "demote"
	doesRestart = "restart"
	doesRewind  = "rewind"
)

// round is one pass. What it finds of the store is what the cache has.
func (p *patroni) round() {
	err := p.load()
	if err == nil && p.touch() != nil && p.leads() {
		err = errStore
	}
	if err == nil {
		err = p.decide()
	}
	if err != nil {
		p.withoutStore()
		return
	}
	_ = p.touch() // the next round tries again
}

func (p *patroni) decide() error {
	n := p.n
	if p.wants.stop {
		p.stops()
	}
	if p.leads() && p.busy == "" {
		p.repairs()
	}
	switch {
	case p.busy != "":
		return p.whileBusy()
	case n.pg.Disk().Data != cluster.DataValid:
		p.withoutData()
		return nil
	case p.foreign():
		if !p.settings.Pause {
			p.exit("its data is of another system than the cluster")
		}
		return nil
	}
	p.asked()
	switch mode := p.stands(); {
	case p.busy != "":
		return nil
	case mode == cluster.ModeStopping: // somebody else stops it
		return p.keeps()
	case mode == cluster.ModeStopped:
		return p.recover()
	case mode == cluster.ModeStarting && n.pg.Postmaster() != 0:
		return p.keeps()
	}
	p.recovering = false
	state, ok := p.look()
	if ok && state.Mode == cluster.ModePrimary && !p.checkpointed && p.leads() {
		p.checkpoints()
	}
	var err error
	if p.view.Leader == nil {
		err = p.race(state, ok)
	} else {
		err = p.ordinary(state, ok)
	}
	if err == nil && ok && !p.settings.Pause {
		p.slots()
	}
	return err
}

// foreign: its data is of another system.
func (p *patroni) foreign() bool {
	init, own := p.view.Initialize, p.n.pg.SystemID()
	return init != nil && init.SystemID != "" && own != "" && own != init.SystemID
}

// repairs are what a leader puts back into the store.
func (p *patroni) repairs() {
	n := p.n
	if init := p.view.Initialize; (init == nil || init.SystemID == "") && n.pg.SystemID() != "" {
		_, _ = p.txn(nil, dcs.Put(base+"initialize", []byte(n.pg.SystemID()), 0)) // in the next round
	}
	if c := p.view.Config; c == nil || len(c.Raw) == 0 {
		_, _ = p.txn(nil, dcs.Put(base+"config", n.w.bootstrap, 0)) // likewise
	}
}

// keeps is what a leader does about its key whatever its server is at.
func (p *patroni) keeps() error {
	if !p.leads() {
		return nil
	}
	ok, err := p.renew()
	if err == nil && !ok && !p.settings.Pause {
		p.demote(demotesAtOnce)
	}
	return err
}

// whileBusy is a round beside the second thread.
func (p *patroni) whileBusy() error {
	if p.leads() {
		if ok, err := p.renew(); ok || err != nil {
			return err
		}
	}
	if !p.settings.Pause && (p.role == cluster.RolePrimary || p.role == cluster.RolePromoted) && p.busy != doesDemote && p.busy != doesInit && p.stands() != cluster.ModeStopped {
		p.tell("has lost the leader key beside its %s", p.busy)
		p.demote(demotesAtOnce)
	}
	return nil
}

// ordinary: somebody leads.
func (p *patroni) ordinary(state cluster.NodeState, ok bool) error {
	switch {
	case p.leads():
		return p.leading(state, ok)
	case p.primary() && p.settings.Pause:
	case p.primary():
		p.tell("finds that %s leads", leaderName(&p.view))
		p.demote(demotesAtOnce)
	default:
		p.follows(state, ok)
	}
	return nil
}

// leading: this member does.
func (p *patroni) leading(state cluster.NodeState, ok bool) error {
	kept, err := p.renew()
	switch {
	case err != nil:
		return err
	case !kept:
		if p.primary() && !p.settings.Pause {
			p.demote(demotesAtOnce)
		}
		return nil
	}
	primary := p.primary()
	if primary && p.handsOver() {
		return nil
	}
	switch {
	case primary:
		if ok {
			p.settleSync(state)
			p.history(state)
		}
	case p.settings.Pause:
		p.release(0)
	case ok:
		p.promote()
	}
	return nil
}

// promote has the server, a standby, end its recovery, and waits for that for a while.
func (p *patroni) promote() {
	if !p.syncBeforePromotion() {
		return
	}
	p.async(doesPromote, func() {
		n := p.n
		if !p.leads() { // given up before it had begun
			return
		}
		n.pg.PlacePromote(nil)
		_ = n.pg.Signal(n.w.serverNow(), n.pg.Postmaster(), promoteSignal) // it may have ended
		p.role, p.checkpointed = cluster.RolePromoted, false
		for waited := cluster.Instant(0); waited < cluster.Instant(p.settings.LoopWait) && p.stands() == cluster.ModeStandby; waited += cluster.Instant(pollEvery) {
			p.sleep(pollEvery)
		}
		if p.stands() == cluster.ModePrimary {
			p.role = cluster.RolePrimary
		}
	})
}

// checkpoints writes the one after a promotion, which rewinds wait for.
func (p *patroni) checkpoints() {
	p.checkpointed = true
	p.start(func(*bound) { _ = server{p.n}.Checkpoint(p.within(0)) })
}

// history is what a leader tells of the timelines before its own.
func (p *patroni) history(state cluster.NodeState) {
	known := p.view.History
	if state.Timeline <= 1 || len(state.TimelineHistory) == 0 || len(known) > 0 && known[len(known)-1].Timeline+1 == state.Timeline {
		return
	}
	lines := append(cluster.History{}, state.TimelineHistory...)
	lines[len(lines)-1].NewLeader = p.n.name
	if p.write("history", lines) == nil {
		p.fold(func(v *cluster.View) { v.History = lines })
	}
}

// slots are made for every other member.
func (p *patroni) slots() {
	var want []string
	for _, n := range p.w.nodes {
		if _, there := p.view.Members[n.name]; there && n != p.n {
			want = append(want, cluster.SlotName(n.name))
		}
	}
	_, _, _ = p.n.pg.EnsureSlots(p.w.serverNow(), want, func(cluster.Slot) bool { return false }) // the next round tries again
}

// withoutData: the directory is empty, or has what something left that was interrupted,
// which an operator has had removed.
func (p *patroni) withoutData() {
	n := p.n
	if p.leads() {
		p.release(0)
	}
	if p.settings.Pause {
		return
	}
	if n.pg.Disk().Data != cluster.DataEmpty {
		if n.pg.MoveAside(0) != nil {
			return
		}
	}
	p.role = cluster.RoleReplica
	init := p.view.Initialize
	switch leader := leaderName(&p.view); {
	case leader == n.name:
	case leader != "":
		if m := p.view.Members[leader]; m.RunsPrimary() {
			p.async(doesClone, func() { p.clone(leader) })
		}
	case init == nil && !n.tags.NoFailover():
		p.bootstrap()
	}
}

// bootstrap makes a new cluster, if no other member does.
func (p *patroni) bootstrap() {
	n := p.n
	if _, err := p.txn([]dcs.Compare{{Key: base + "initialize", Target: dcs.CreateRevision}}, dcs.Put(base+"initialize", nil, 0)); err != nil {
		p.distrust()
		return
	}
	p.fold(func(v *cluster.View) { v.Initialize = &cluster.Initialize{} })
	p.async(doesInit, func() {
		work, err := n.pg.InitDB(n.w.serverNow())
		if err == nil {
			err = n.await(context.Background(), work)
		}
		if err == nil {
			n.seen.copies.made = n.pg.SystemID()
			p.started(true)
		}
		if err != nil || p.stands() != cluster.ModePrimary {
			_, _ = p.txn(nil, dcs.Delete(base+"initialize")) // an operator removes it otherwise
			return
		}
		p.role = cluster.RolePrimary
		if _, err := p.txn(nil, dcs.Put(base+"initialize", []byte(n.pg.SystemID()), 0), dcs.Put(base+"config", n.w.bootstrap, 0)); err != nil {
			return
		}
		if rev, err := p.txn(nil, dcs.Put(patroniLeader, []byte(n.name), p.lease)); err == nil {
			p.took(rev)
			p.tell("has made the cluster")
		}
	})
}
