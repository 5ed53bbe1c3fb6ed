package sim

import (
	"math/rand/v2"
	"time"
)

// resting draws, apart from everything else, the schedules that are looked at for longer.
func resting(seed uint64) bool { return rand.New(rand.NewPCG(seed, 0xca13)).IntN(32) == 0 }

const (
	// afterwards is how long requests that operators have made may still be carried out.
	afterwards = 75 * time.Second
	// calm is how long nothing happens then.
	calm = 40 * time.Second
)

// rests judges what L1 means to whoever has clients: a cluster in order stays so, with the
// same primary and the same servers, while nothing is done to it.
func (w *World) rests() {
	w.runUntil(w.now + afterwards)
	lead, servers := w.leads.node, w.servers()
	for end := w.now + calm; w.violation == "" && !w.astray && w.now < end; {
		w.runUntil(w.now + 250*time.Millisecond)
		switch {
		case !w.settled():
			w.fail("L1", "not in order any more, and nothing was done to it: %s", w.unsettled())
		case w.leads.node != lead:
			w.fail("L1", "%s has taken over from %s, which was well", w.leads.node.name, lead.name)
		case w.servers() != servers:
			w.fail("L1", "a server was started anew, which was well")
		}
	}
}

// servers are the processes that run.
func (w *World) servers() (pids [8]int) {
	for i, n := range w.nodes {
		pids[i] = n.pg.Postmaster()
	}
	return pids
}
