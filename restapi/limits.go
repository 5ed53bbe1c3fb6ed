package restapi

import (
	"sync"
	"sync/atomic"
)

// limits keeps a member from flapping about a limit on lag: past the limit it is out, and
// it comes back at half of it. It remembers that for each limit that is asked for, so that
// all load balancers hear the same. The zero value is ready.
type limits struct {
	table atomic.Pointer[sync.Map] // of limit to *atomic.Bool: out
	known atomic.Int32
}

// limit is one limit: on what is measured, and how much.
type limit struct {
	what string
	most uint64
}

// limitsKept bounds how many are remembered. Past it all are forgotten, and members are
// judged by the bare limits for a moment: whoever asks for thousands costs no memory.
const limitsKept = 256

// allows judges a value; one that is not known is too much. A nil limits judges by the
// bare limit.
func (l *limits) allows(at limit, value uint64, known bool) bool {
	within := known && value <= at.most
	if l == nil {
		return within
	}
	out := l.of(at)
	if !within {
		out.Store(true)
		return false
	}
	if out.Load() && value > at.most/2 {
		return false
	}
	out.Store(false)
	return true
}

func (l *limits) of(at limit) *atomic.Bool {
	table := l.table.Load()
	if table == nil || l.known.Load() >= limitsKept {
		fresh := &sync.Map{}
		if l.table.CompareAndSwap(table, fresh) {
			l.known.Store(0)
		}
		table = l.table.Load()
	}
	out, there := table.Load(at)
	if !there {
		if out, there = table.LoadOrStore(at, &atomic.Bool{}); !there {
			l.known.Add(1)
		}
	}
	flag, _ := out.(*atomic.Bool)
	return flag
}
