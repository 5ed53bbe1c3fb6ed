package sim

import (
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
)

// What Patroni writes to the store: one lease for its own member key and for the leader's,
// which is taken where there is none, and kept and given back by the name in it.

// etcd makes one call, to one endpoint after the other, for as long as an operation may
// take. errStore when nobody answered in that time.
func (p *patroni) etcd(call memory.Call) (memory.Answer, error) {
	until := p.w.now + p.settings.RetryTimeout
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		a := kv{p.n}.do(p.within(max(min(p.settings.RetryTimeout/3, until-p.w.now), time.Second)), call) // it may have been frozen until after that
		if a.Err == nil || errors.Is(a.Err, dcs.ErrCompared) || errors.Is(a.Err, dcs.ErrLeaseGone) {
			return a, a.Err
		}
		pause += p.w.jitter(800 * time.Millisecond)
		if p.w.now+pause >= until {
			return a, errStore
		}
		p.sleep(pause)
	}
}

func (p *patroni) txn(compares []dcs.Compare, ops ...dcs.Op) (int64, error) {
	a, err := p.etcd(memory.Call{Kind: memory.CallTxn, Compares: compares, Ops: ops})
	return a.Revision, err
}

// write puts a value without a condition. What does not arrive is written in a later round.
func (p *patroni) write(key string, value any) error {
	raw, err := json.Marshal(value)
	if err == nil {
		_, err = p.txn(nil, dcs.Put(base+key, raw, 0))
	}
	return err
}

const patroniLeader = base + "leader"

func (p *patroni) absent() []dcs.Compare {
	return []dcs.Compare{{Key: patroniLeader, Target: dcs.CreateRevision}}
}

func (p *patroni) mine() []dcs.Compare {
	return []dcs.Compare{{Key: patroniLeader, Target: dcs.ValueOf, Value: []byte(p.n.name)}}
}

// refreshLease keeps the lease, when that is due or asked for, and makes another when it
// is gone or of another length.
func (p *patroni) refreshLease(now bool) error {
	if p.leased != p.settings.TTL {
		p.lease = 0
	}
	if p.lease != 0 {
		if !now && p.w.now-p.kept < p.settings.LoopWait {
			return nil
		}
		_, err := p.etcd(memory.Call{Kind: memory.CallKeepAlive, Lease: p.lease})
		if !errors.Is(err, dcs.ErrLeaseGone) {
			if err == nil {
				p.kept = p.w.now
			}
			return err
		}
		p.lease = 0
	}
	a, err := p.etcd(memory.Call{Kind: memory.CallGrant, TTL: int64(p.settings.TTL / time.Second)})
	if err == nil {
		p.lease, p.leased, p.kept = a.Lease, p.settings.TTL, p.w.now
	}
	return err
}

// acquire takes the leader key where there is none. A key that is there after all shows
// that the cache is old.
func (p *patroni) acquire() bool {
	if p.refreshLease(false) != nil {
		return false
	}
	for range 2 {
		rev, err := p.txn(p.absent(), dcs.Put(patroniLeader, []byte(p.n.name), p.lease))
		switch {
		case err == nil:
			p.took(rev)
			p.tell("takes the leader key")
			return true
		case errors.Is(err, dcs.ErrLeaseGone):
			if p.lease = 0; p.refreshLease(true) != nil {
				return false
			}
		default:
			p.distrust()
			return false
		}
	}
	return false
}

// took folds its own write into the cache, and believes from now on.
func (p *patroni) took(rev int64) {
	lead := &cluster.Leader{Name: p.n.name, LeaseID: p.lease, Term: cluster.Term(rev)}
	p.fold(func(v *cluster.View) { v.Leader = lead })
	p.leadsUntil = p.n.wall().Add(p.settings.TTL)
}

// distrust reads the store anew.
func (p *patroni) distrust() {
	if p.watched != nil {
		p.ready = false
		p.w.breakWatch(p.watched)
	}
}

// renew keeps the leader key: as long as it lies on this member's lease the lease alone is
// kept, and elsewhere it is put again by the name in it, or where there is none.
func (p *patroni) renew() (bool, error) {
	if err := p.refreshLease(true); err != nil {
		return false, err
	}
	if l := p.view.Leader; l == nil || l.LeaseID != p.lease {
		put := dcs.Put(patroniLeader, []byte(p.n.name), p.lease)
		rev, err := p.txn(p.mine(), put)
		if errors.Is(err, dcs.ErrCompared) {
			rev, err = p.txn(p.absent(), put)
		}
		if errors.Is(err, errStore) {
			return false, err
		}
		if err != nil {
			p.distrust()
			return false, nil
		}
		p.took(rev)
	}
	p.leadsUntil = p.n.wall().Add(p.settings.TTL)
	p.publish(0)
	p.listFailsafe()
	return true, nil
}

// publish writes how far the primary is: its shutdown checkpoint where one is named.
func (p *patroni) publish(end cluster.LSN) {
	s := cluster.Positions{Optime: end, Slots: map[string]cluster.LSN{}}
	if end == 0 {
		state, ok := p.look()
		if !ok || state.Mode != cluster.ModePrimary {
			return
		}
		s.Optime = state.WriteLSN
		for _, slot := range state.Slots {
			s.Slots[slot.Name] = slot.Restart
		}
		s.Slots[cluster.SlotName(p.n.name)] = s.Optime
	}
	if had := p.view.Status; had != nil && had.Optime == s.Optime && maps.Equal(had.Slots, s.Slots) {
		return
	}
	if p.write("status", s) == nil {
		p.fold(func(v *cluster.View) { v.Status = &s })
	}
}

// release gives the leader key back, when the server is down or its end is known.
func (p *patroni) release(end cluster.LSN) {
	if end != 0 {
		p.publish(end)
	}
	p.leadsUntil = time.Time{}
	if _, err := p.txn(p.mine(), dcs.Delete(patroniLeader)); err == nil {
		p.fold(func(v *cluster.View) { v.Leader = nil })
		p.tell("releases the leader key")
	}
}

// touch writes the member key when it would say something new, or lies on another lease.
func (p *patroni) touch() error {
	if err := p.refreshLease(false); err != nil {
		return err
	}
	m := p.member()
	if had, there := p.view.Members[p.n.name]; there && had.LeaseID == p.lease && had.Keeper == nil && m.Equal(&had) {
		return nil
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err = p.txn(nil, dcs.Put(base+"members/"+p.n.name, raw, p.lease)); err != nil {
		if errors.Is(err, dcs.ErrLeaseGone) {
			p.lease = 0
		}
		return err
	}
	m.Name, m.LeaseID = p.n.name, p.lease
	p.fold(func(v *cluster.View) {
		members := maps.Clone(v.Members)
		if members == nil {
			members = map[string]cluster.Member{}
		}
		members[m.Name] = m
		v.Members = members
	})
	return nil
}

// member is what the member key says.
func (p *patroni) member() cluster.Member {
	n := p.n
	m := cluster.Member{ConnURL: "postgres://" + n.name + ":5432/postgres", APIURL: "http://" + n.name + ":8008/patroni", Version: cluster.PatroniVersion,
		Tags: n.tags, Pause: p.settings.Pause, State: p.state(), Role: p.role}
	switch {
	case n.pg.Disk().Data != cluster.DataValid:
		m.Role = cluster.RoleUninitialized
	case p.stands() == cluster.ModeStopped && p.role == cluster.RolePrimary:
		m.Role = cluster.RoleDemoted
	}
	if m.State != cluster.StateRunning {
		return m
	}
	state, ok := p.look()
	if !ok {
		return m
	}
	m.Timeline = state.Timeline
	m.XlogLocation = state.Position().LSN
	if state.Mode == cluster.ModeStandby {
		m.ReceiveLSN, m.ReplayLSN = state.ReceiveLSN, state.ReplayLSN
		m.ReplicationState = "in archive recovery"
		if state.Receiver != nil {
			m.ReplicationState = "streaming"
		}
	} else if !p.checkpointed {
		m.CheckpointAfterPromote = new(bool)
	}
	if p.role != cluster.RolePromoted {
		m.Role = p.role
	}
	return m
}

// state is the state it shows.
func (p *patroni) state() cluster.State {
	switch p.busy {
	case doesInit:
		return cluster.StateInitializing
	case doesClone:
		return cluster.StateCreating
	case doesRestart:
		return cluster.StateRestarting
	}
	switch p.stands() {
	case cluster.ModeStarting:
		return cluster.StateStarting
	case cluster.ModeStopping:
		return cluster.StateStopping
	case cluster.ModeStopped:
		return cluster.StateStopped
	}
	return cluster.StateRunning
}
