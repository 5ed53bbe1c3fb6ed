package sim

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// Patroni's synchronous modes: the key sync and synchronous_standby_names, changed once a
// round, each before or after the other so that whom the key names has every commit.

// patroniSync is what the leader knows of the names that it gave its server.
type patroniSync struct {
	told pgfake.Names
	// since is where the server was when each standby was listed: one counts from when it
	// has that.
	since map[string]cluster.LSN
}

// nobodyListed is what commits of a strict cluster wait for without standbys.
const nobodyListed = "__patroni_strict_sync_replica_placeholder__"

// patroniStandby is one that streams and may be waited for.
type patroniStandby struct {
	name  string
	flush cluster.LSN
	sync  bool // it is waited for, and has what was written when it was listed
	rank  int
}

// standbys are those that may be waited for, the best first.
func (p *patroni) standbys(state cluster.NodeState) (all []patroniStandby) {
	for _, s := range state.Walsenders {
		m, there := p.view.Members[s.Name]
		if !there || s.State != "streaming" || m.State != cluster.StateRunning || m.Tags.Bool("nosync") {
			continue
		}
		listed := slices.Contains(p.sync.told.Standbys, s.Name)
		one := patroniStandby{name: s.Name, flush: s.Flush, sync: listed && s.Flush >= p.sync.since[s.Name], rank: 2 * m.Tags.Number("sync_priority", 1)}
		if listed {
			one.rank++
		}
		if m.Tags.NoFailover() {
			one.rank -= 1000
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b patroniStandby) int {
		return cmp.Or(-cmp.Compare(a.rank, b.rank), -cmp.Compare(a.flush, b.flush), cmp.Compare(a.name, b.name))
	})
	return all
}

// settleSync is the leader's part of a round.
func (p *patroni) settleSync(state cluster.NodeState) {
	if has := p.n.pg.Names(); has.Need != p.sync.told.Need || !same(has.Standbys, p.sync.told.Standbys) { // an earlier process has set them
		p.sync = patroniSync{has, map[string]cluster.LSN{}}
		for _, name := range has.Standbys {
			p.sync.since[name] = state.WriteLSN
		}
	}
	switch p.settings.SynchronousMode {
	case cluster.SyncOn:
		p.settlePriority(state)
	case cluster.SyncQuorum:
		p.settleQuorum(state)
	default:
		if p.view.Sync != nil && p.view.Sync.Leader != "" {
			if _, err := p.txn([]dcs.Compare{{Key: base + "sync", Target: dcs.ModRevision, Number: p.view.Sync.ModRevision}}, dcs.Delete(base+"sync")); err == nil {
				p.fold(func(v *cluster.View) { v.Sync = nil })
			}
		}
		if len(p.n.pg.Names().Standbys) > 0 {
			p.tellNames(pgfake.Names{}, 0)
		}
	}
}

// settlePriority has all of a few standbys confirm, which are the best.
func (p *patroni) settlePriority(state cluster.NodeState) {
	key := p.ownSync()
	if key == nil {
		if key = p.writeSync(nil, 0); key == nil {
			return
		}
	}
	picked, ready := p.pick(state)
	voters := key.Rule().Voters
	if same(picked, voters) && !same(voters, ready) {
		p.tell("finds that the key sync names %s, and %s confirm", voters, ready)
		if key = p.writeSync(ready, 0); key == nil {
			return
		}
		voters = ready
	}
	told := p.sync.told.Standbys
	if same(picked, voters) && (len(picked) > 0 && same(picked, told) || len(picked) == 0 && p.waitsForNobody()) {
		return
	}
	common := both(voters, ready)
	if !same(common, voters) {
		if p.writeSync(common, 0) == nil {
			return
		}
	}
	if !p.tellNames(p.namesFor(picked, len(picked)), state.WriteLSN) {
		return
	}
	if len(picked) > 0 && !same(ready, picked) {
		p.sleep(2 * time.Second)
		if state, ok := p.look(); ok {
			_, ready = p.pick(state)
		}
	}
	if len(ready) > 0 && !same(ready, common) {
		p.writeSync(ready, 0)
	}
}

// waitsForNobody: the names of a server without standbys are as the mode wants them.
func (p *patroni) waitsForNobody() bool {
	return same(p.sync.told.Standbys, p.namesFor(nil, 0).Standbys)
}

// pick is whom commits are to wait for, and who of them counts.
func (p *patroni) pick(state cluster.NodeState) (picked, ready []string) {
	all := p.standbys(state)
	for _, s := range all[:min(len(all), max(p.settings.SynchronousNodes, 1))] {
		picked = append(picked, s.name)
		if s.sync {
			ready = append(ready, s.name)
		}
	}
	slices.Sort(picked)
	slices.Sort(ready)
	return picked, ready
}

// namesFor are the names that a server gets for need of some standbys.
func (p *patroni) namesFor(standbys []string, need int) pgfake.Names {
	if len(standbys) == 0 && p.settings.SynchronousStrict {
		return pgfake.Names{Need: 1, Standbys: []string{nobodyListed}}
	}
	return pgfake.Names{Need: need, Standbys: standbys}
}

// tellNames gives the server other names; at is where it was when that was decided.
func (p *patroni) tellNames(names pgfake.Names, at cluster.LSN) bool {
	if (server{p.n}).answer(p.within(p.settings.RetryTimeout), 5*time.Millisecond+p.w.jitter(20*time.Millisecond)) != nil {
		return false
	}
	n := p.n
	if len(names.Standbys) == 0 && n.w.lastBy == n { // what was confirmed is no safer from then on than what follows
		n.w.last.Synchronous = false
	}
	since := map[string]cluster.LSN{}
	for _, name := range names.Standbys {
		if was, listed := p.sync.since[name]; listed && slices.Contains(p.sync.told.Standbys, name) && names.Need <= p.sync.told.Need {
			since[name] = was
		} else {
			since[name] = max(at, n.pg.Log().End)
		}
	}
	n.pg.SetSync(n.w.serverNow(), names.Need, names.Standbys...)
	p.sync = patroniSync{names, since}
	p.tell("has commits wait for %d of %v", names.Need, names.Standbys)
	return true
}

// ownSync is the key sync as this leader wrote it; nil when it is another's.
func (p *patroni) ownSync() *cluster.Sync {
	if s := p.view.Sync; s != nil && s.Leader == p.n.name {
		return s
	}
	return nil
}

// writeSync writes the key over the one that was read; nil when that is another by now.
func (p *patroni) writeSync(voters []string, quorum int) *cluster.Sync {
	slices.Sort(voters)
	s := &cluster.Sync{Leader: p.n.name, Quorum: quorum, SyncStandby: strings.Join(voters, ",")}
	var compares []dcs.Compare
	if had := p.view.Sync; had != nil {
		compares = []dcs.Compare{{Key: base + "sync", Target: dcs.ModRevision, Number: had.ModRevision}}
	}
	standbys := `null`
	if s.SyncStandby != "" {
		standbys = `"` + s.SyncStandby + `"`
	}
	raw := []byte(`{"leader":"` + s.Leader + `","quorum":` + string(rune('0'+quorum)) + `,"sync_standby":` + standbys + `}`)
	rev, err := p.txn(compares, dcs.Put(base+"sync", raw, 0))
	if err != nil {
		if errors.Is(err, dcs.ErrCompared) {
			p.distrust()
		}
		return nil
	}
	s.ModRevision = rev
	p.fold(func(v *cluster.View) { v.Sync = s })
	p.w.narrows(p.n, voters, quorum)
	p.tell("writes into the key sync: %v, quorum %d", voters, quorum)
	return s
}

// syncBeforePromotion writes the key as a new leader, and has the names in place that its
// first commits wait for.
func (p *patroni) syncBeforePromotion() bool {
	var before []string
	votes := 0
	if s := p.view.Sync; s != nil && s.Leader != "" {
		r := s.Rule()
		for _, name := range r.Copies() {
			if name != p.n.name {
				before = append(before, name)
			}
		}
		votes = len(before) - s.Quorum
	}
	switch {
	case p.settings.SynchronousMode == cluster.SyncQuorum:
		return p.quorumBeforePromotion(before, votes)
	case p.settings.SynchronousMode != cluster.SyncOn:
		return true
	case !p.settings.SynchronousStrict:
		before = nil
	}
	if p.writeSync(before, 0) == nil {
		return false
	}
	return p.tellNames(p.namesFor(before, len(before)), 0)
}

func same(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(name string) bool { return !slices.Contains(b, name) })
}

// both are the names in either list.
func both(a, b []string) (in []string) {
	for _, name := range a {
		if slices.Contains(b, name) {
			in = append(in, name)
		}
	}
	return in
}
