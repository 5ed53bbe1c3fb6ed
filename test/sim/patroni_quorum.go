package sim

import (
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// Patroni's quorum mode (4.0): commits wait for any k of the standbys listed, and the key
// sync has the voters and a quorum q such that whoever finds q of them no further than
// itself has every commit: voters and names together are never more than q + k + 1 with
// the leader.

// settleQuorum takes one step after the other towards all standbys that stream.
func (p *patroni) settleQuorum(state cluster.NodeState) {
	key := p.ownSync()
	if key == nil {
		if key = p.writeSync(nil, 0); key == nil {
			return
		}
	}
	var active []string
	for _, s := range p.standbys(state) {
		active = append(active, s.name)
	}
	slices.Sort(active)
	need := min(max(p.settings.SynchronousNodes, 1), len(active))
	rule := key.Rule()
	voters, quorum, told := rule.Voters, key.Quorum, p.sync.told
	if slices.Contains(told.Standbys, nobodyListed) {
		told = pgfake.Names{}
	}
	want := p.namesFor(active, need)
	switch quorumNow := max(len(active)-need, 0); {
	case same(active, voters) && same(want.Standbys, p.sync.told.Standbys) && want.Need == p.sync.told.Need && quorum == quorumNow:
		return
	default:
		// While both sets are in force, whoever wins must have asked enough for the larger.
		union := len(voters)
		for _, name := range active {
			if !slices.Contains(voters, name) {
				union++
			}
		}
		least := need
		if len(told.Standbys) > 0 {
			least = min(need, told.Need)
		}
		kept := both(voters, active)
		between := max(quorum, union-least)
		if p.writeSync(kept, min(between, 9)) == nil || !p.tellNames(want, state.WriteLSN) {
			return
		}
		if state, ok := p.look(); ok && p.confirmedBy(state, active, need) {
			p.writeSync(active, quorumNow)
		}
	}
}

// confirmedBy: what was written when the names were given is on as many as are asked for.
func (p *patroni) confirmedBy(state cluster.NodeState, active []string, need int) bool {
	count := 0
	for _, s := range p.standbys(state) {
		if s.sync && slices.Contains(active, s.name) {
			count++
		}
	}
	return count >= need
}

// quorumBeforePromotion has commits wait for enough of those that had a vote.
func (p *patroni) quorumBeforePromotion(before []string, votes int) bool {
	need := min(max(votes, 1), len(before))
	if s := p.view.Sync; s == nil || s.Leader == "" {
		return true
	}
	return p.tellNames(p.namesFor(before, need), 0)
}

// quorumVotes is what a candidate begins to count from.
func (p *patroni) quorumVotes() int {
	if p.votesFor(p.n.name) {
		return 0
	}
	return -1
}

// votesFor: the key sync gives a member a vote.
func (p *patroni) votesFor(name string) bool {
	s := p.view.Sync
	if p.settings.SynchronousMode != cluster.SyncQuorum || s == nil || s.Leader == "" {
		return false
	}
	r := s.Rule()
	return r.IsCopy(name)
}

// enough: as many as the key asks for are no further than this member.
func (p *patroni) enough(votes int) bool {
	s := p.view.Sync
	return p.settings.SynchronousMode != cluster.SyncQuorum || s == nil || s.Leader == "" || votes >= s.Quorum || s.Leader == p.n.name
}
