package dcs

import "github.com/pgkeeper/pgkeeper/cluster"

// Memo remembers what the values of member keys mean that were written in this
// process, for stores that read them again, such as a simulator's: reading JSON is
// most of what folding a change costs. It promises what decoding the value would
// give. It is for one goroutine.
type Memo struct{ members map[string]cluster.Member }

// mostRemembered bounds a Memo; a simulated cluster has a few hundred values alive.
const mostRemembered = 1 << 12

// Remember has the store learn from what it writes, and know what was learnt.
func (s *Store) Remember(m *Memo) *Store {
	s.memo = m
	return s
}

// learn notes what value means. Maps are left out: JSON reads their numbers back as
// another type.
func (m *Memo) learn(value []byte, means *cluster.Member) {
	if m == nil || means.Tags != nil || means.ScheduledRestart != nil || means.PendingReason != nil {
		return
	}
	if m.members == nil || len(m.members) >= mostRemembered {
		m.members = map[string]cluster.Member{}
	}
	m.members[string(value)] = *means
}

// member is what was learnt of value.
func (m *Memo) member(value []byte) (cluster.Member, bool) {
	if m == nil {
		return cluster.Member{}, false
	}
	means, known := m.members[string(value)]
	return means, known
}
