package etcd

import (
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// terms is the newest raft term that any member of etcd has answered from. One that
// answers from an older term has missed an election: a leader whose disk hangs, or
// one that was cut off, goes on answering from memory what only a leader may say.
type terms struct {
	newest atomic.Uint64
	// elected is told of each term after the first; may be nil.
	elected func(known, term uint64)
}

// heard takes note of an answer.
func (t *terms) heard(h *pb.ResponseHeader) {
	term := h.GetRaftTerm()
	for {
		known := t.newest.Load()
		if term <= known {
			return
		}
		if !t.newest.CompareAndSwap(known, term) {
			continue
		}
		if known != 0 && t.elected != nil {
			t.elected(known, term)
		}
		return
	}
}

// overtaken takes note of an answer and reports whether another member has answered
// from a newer term.
func (t *terms) overtaken(h *pb.ResponseHeader) bool {
	t.heard(h)
	return h.GetRaftTerm() < t.newest.Load()
}

// forget begins anew, since the newest term is no longer to be found.
func (t *terms) forget() { t.newest.Store(0) }
