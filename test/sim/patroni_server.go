package sim

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// What Patroni does with its server.

const (
	promoteSignal = syscall.SIGUSR1
	// pollEvery is between two looks at a server that starts, stops or is promoted.
	pollEvery = time.Second
	// startPatience is how long it waits for one that starts.
	startPatience = time.Minute
)

// started starts the server, to write or as a standby of whom its files name, and waits
// until it lets clients in.
func (p *patroni) started(writable bool) {
	n := p.n
	if p.stands() != cluster.ModeStopped || p.leaving {
		return
	}
	n.pg.SetStandbySignal(!writable)
	n.pg.WriteConfig(true)
	n.pg.WriteGate("")
	if !writable {
		n.pg.WriteNames(pgfake.Names{})
		p.sync.told = pgfake.Names{}
	}
	n.pg.Reap()
	if n.w.healed && n.pg.StartFailure() != "" { // an operator has removed the history file that it names
		n.pg.DropOrphans()
	}
	if _, err := n.pg.Spawn(n.w.serverNow()); err != nil {
		return
	}
	n.w.tell(n, "the server is starting %s", map[bool]string{true: "to write", false: "as a standby"}[writable])
	for until := n.w.now + startPatience; n.w.now < until && p.stands() == cluster.ModeStarting; {
		p.sleep(pollEvery)
	}
	p.look()
}

// stopped stops the server and waits until it is; done is asked once pg_control says that
// a fast stop has written its last record, however long the server takes from there.
func (p *patroni) stopped(how syscall.Signal, done func(end cluster.LSN)) {
	n := p.n
	pid := n.pg.Postmaster()
	if pid == 0 {
		return
	}
	_ = n.pg.Signal(n.w.serverNow(), pid, how) // it has just been there
	for p.stands() != cluster.ModeStopped && n.pg.Postmaster() == pid {
		p.sleep(pollEvery / 4)
		if c := n.pg.Disk().Control; done != nil && c.State == cluster.ControlShutdown && !c.StandbySignal {
			p.sleep(pollEvery)
			done(n.pg.Log().End)
			done = nil
		}
	}
	n.pg.Reap()
}

// follows keeps a standby on the leader, or on whom its tag names.
func (p *patroni) follows(state cluster.NodeState, ok bool) {
	leader := leaderName(&p.view)
	m, known := p.view.Members[leader]
	if p.settings.Pause || !ok || state.Mode != cluster.ModeStandby || !known || m.ConnURL == "" {
		return
	}
	up := follows(p.upstream(leader), p.n)
	if p.n.pg.Told() != up {
		p.suspect = true
	}
	if (p.suspect || p.n.pg.Upstream() == nil) && p.diverged(state, leader) {
		p.async(doesRewind, func() {
			p.stopped(syscall.SIGINT, nil)
			p.rejoin(leader)
		})
		return
	}
	if p.n.pg.Told() != up {
		p.tell("follows %s", up.Host)
		_ = server{p.n}.Follow(p.within(p.settings.RetryTimeout), postgres.Upstream{Host: up.Host, Port: up.Port, SlotName: up.Slot}) // in the next round
	}
}

// upstream is whom it streams from: the leader, or the member that its tag names.
func (p *patroni) upstream(leader string) string {
	if name, ok := p.n.tags["replicatefrom"].(string); ok && name != p.n.name {
		if m, there := p.view.Members[name]; there && m.State == cluster.StateRunning {
			return name
		}
	}
	return leader
}

// diverged: what this member has is not of the leader's history. A leader that does not
// answer, or is in recovery, leaves the question open.
func (p *patroni) diverged(state cluster.NodeState, leader string) bool {
	p.sleep(3 * time.Millisecond)
	src, err := p.n.pg.SourceInfo(p.w.serverNow(), leader)
	if err != nil || src.InRecovery {
		return false
	}
	p.suspect = false
	at := state.Position()
	if state.Mode == cluster.ModeStandby {
		at.LSN = state.ReplayLSN
	}
	switch {
	case at.Timeline > src.Timeline:
		return true
	case at.Timeline == src.Timeline:
		return false
	}
	parted, known := src.History.SwitchOf(at.Timeline)
	return !known || at.LSN > parted
}

// rejoin brings the stopped server back as a standby of the leader: by a rewind where the
// two have parted, by a new copy where that does not do.
func (p *patroni) rejoin(leader string) {
	n := p.n
	if !n.pg.Disk().Control.State.Clean() { // recovered in single-user mode first, whose end tells how far it was
		p.sleep(500*time.Millisecond + n.w.jitter(time.Second))
	}
	log := n.pg.Log()
	state := cluster.NodeState{Mode: cluster.ModePrimary, Timeline: log.Timeline, WriteLSN: log.End}
	if p.diverged(state, leader) {
		work, err := n.pg.Rewind(n.w.serverNow(), leader)
		if err == nil && !work.Done {
			p.tell("rewinds from %s", leader)
			err = n.await(context.Background(), work)
		}
		switch {
		case errors.Is(err, pgfake.ErrSourceNotReady), errors.Is(err, pgfake.ErrUnreachable):
			p.suspect = true
			return
		case err != nil:
			p.tell("cannot rewind: %s", err)
			if n.pg.MoveAside(0) == nil {
				p.clone(leader)
			}
			return
		}
	}
	n.pg.WriteUpstream(follows(p.upstream(leader), n))
	p.started(false)
}

// clone copies the leader, under this member's own name, and starts the copy.
func (p *patroni) clone(leader string) {
	n := p.n
	p.tell("clones %s", leader)
	work, err := n.pg.Clone(n.w.serverNow(), leader, cluster.SlotName(n.name), n.name)
	if err == nil {
		err = n.await(context.Background(), work)
	}
	if err != nil {
		p.tell("cannot clone: %s", err)
		p.sleep(time.Second)
		return
	}
	n.copied()
	p.suspect = true
	n.pg.WriteUpstream(follows(p.upstream(leader), n))
	p.started(false)
}

// recover: the server is down. Whoever leads, and ran as a primary, starts it as that
// again; elsewhere it becomes a standby.
func (p *patroni) recover() error {
	n := p.n
	wasPrimary := p.role == cluster.RolePrimary || p.role == cluster.RolePromoted
	if p.leads() {
		if ok, err := p.renew(); !ok || err != nil {
			return err
		}
	}
	if p.settings.Pause {
		if p.leads() {
			p.release(0)
		}
		return nil
	}
	c := n.pg.Disk().Control
	switch leader := leaderName(&p.view); {
	case leader == n.name && p.recovering:
		p.recovering = false
		p.role = cluster.RoleDemoted
		p.release(0)
	case leader == n.name && wasPrimary && !c.StandbySignal && (c.State == cluster.ControlInProduction || c.State == cluster.ControlInCrashRecovery || c.State == cluster.ControlShutdown):
		p.recovering = true
		p.async(doesStart, func() { p.started(true) })
	case leader == n.name:
		p.recovering = true
		n.pg.WriteUpstream(pgfake.Upstream{})
		p.async(doesStart, func() { p.started(false) })
	case leader != "":
		p.role = cluster.RoleReplica
		if m := p.view.Members[leader]; !m.RunsPrimary() && m.State == "" {
			return nil
		}
		p.suspect = true
		p.async(doesStart, func() { p.rejoin(leader) })
	default:
		p.role = cluster.RoleReplica
		p.async(doesStart, func() { p.started(false) })
	}
	return nil
}
