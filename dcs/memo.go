package dcs

import "github.com/pgkeeper/pgkeeper/cluster"

// Memo remembers what values mean that were written in this process, for stores on
// a KV that hands out the very bytes it was given, such as a simulator's: reading
// JSON is most of what folding a change costs. It promises what decoding the value
// would give, and knows a value by where it lies: nobody may change one that was
// written. It is for one goroutine.
type Memo struct{ means map[*byte]any }

// mostRemembered bounds a Memo; a simulated cluster has a few hundred values alive.
const mostRemembered = 1 << 12

// Remember has the store learn from what it writes, and know what was learnt.
func (s *Store) Remember(m *Memo) *Store {
	s.memo = m
	return s
}

// learn notes what value, which was made of v, means. Maps of anything are left out:
// JSON reads their numbers back as another type.
func (m *Memo) learn(value []byte, v any) {
	switch v := v.(type) {
	case *cluster.Member:
		if v.Tags != nil || v.ScheduledRestart != nil || v.PendingReason != nil {
			return
		}
	case *cluster.Positions:
		if v.Slots != nil && len(v.Slots) == 0 || v.Replayed != nil && len(v.Replayed) == 0 || v.Retain != nil && len(v.Retain) == 0 {
			return
		}
	case *cluster.Beat:
	default:
		return
	}
	m.note(value, v)
}

// meant is decodeInto of a value that may have been read before: every load reads them
// all anew.
func meant[T any](m *Memo, value []byte, into *T) error {
	if known, ok := recall[T](m, value); ok {
		*into = known
		return nil
	}
	err := decodeInto(value, into, false)
	if err == nil && m != nil {
		m.note(value, new(*into))
	}
	return err
}

func (m *Memo) note(value []byte, v any) {
	if m == nil || len(value) == 0 {
		return
	}
	if m.means == nil || len(m.means) >= mostRemembered {
		m.means = map[*byte]any{}
	}
	m.means[&value[0]] = v
}

// recall gives a copy of what was learnt of value.
func recall[T any](m *Memo, value []byte) (means T, known bool) {
	if m == nil || len(value) == 0 {
		return means, false
	}
	v, known := m.means[&value[0]].(*T)
	if known {
		means = *v
	}
	return means, known
}
