package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pgkeeper/pgkeeper/agent"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// Tags of members, also changed while they run: SIGHUP, or a reload asked for in the store.

const tagsChanged = "tags changed"

func init() { deeds[tagsChanged] = changeTags }

// tagSets are what an operator may write; a nil one takes all tags out of the file.
var tagSets = []cluster.Tags{
	{"nofailover": true}, {"nofailover": true}, {"nofailover": true, "nosync": true}, {"nofailover": false, "failover_priority": 0},
	{"failover_priority": 0}, {"failover_priority": 2}, {"failover_priority": 7, "sync_priority": 2},
	{"nosync": true}, {"nosync": true, "noloadbalance": true}, {"sync_priority": 0}, {"sync_priority": 3},
	{"clonefrom": true}, {"clonefrom": true}, {"clonefrom": true, "nofailover": true}, nil,
}

// replicate is among how many sets one that names an upstream is.
const replicate = 4

// changeTags writes other tags into a member's file and has its agent read it; after a
// while the ones before again.
func changeTags(w *World, n *Node, f fault) func() {
	before := n.tags
	tags := tagSets[f.n%len(tagSets)]
	if f.n%replicate == 0 {
		tags = cluster.Tags{"replicatefrom": w.nodes[f.to%len(w.nodes)].name}
	}
	n.retag(tags, f.to%2 == 0)
	return func() { n.retag(before, f.to%2 != 0) }
}

// retag changes a member's file; by asks for the reload by request, not by signal.
func (n *Node) retag(tags cluster.Tags, by bool) {
	n.tags, n.w.tagged = tags, true
	if n.w.text != nil {
		n.w.tell(n, "its tags are %v now", map[string]any(tags))
	}
	switch {
	case n.worker == nil:
	case by && !n.w.etcdDown:
		n.w.ask(n, cluster.RequestReload)
	default:
		n.worker.reloads()
	}
}

// reloads has the loop hear of the file, as it is when the process comes to read it.
func (k *worker) reloads() {
	k.n.w.after(0, doing(func() {
		k.run(doing(func() { k.step(agent.Reloaded{Tags: k.n.tags}) }))
	}))
}

// reread is what a reload does that was asked for.
func (k *worker) reread() error {
	k.reloads()
	return nil
}

// untag takes all tags out of all files.
func (w *World) untag() {
	for _, n := range w.nodes {
		if w.tagged { // a request to reload may have been lost with a store that was set back
			n.retag(nil, false)
		}
	}
}

// tagging gives some members of a quarter of the schedules tags, some from the beginning.
// A standby that is to be copied has somebody who needs a copy.
func tagging(seed uint64, nodes, index int) (faults []fault) {
	rng := rand.New(rand.NewPCG(seed, 0x7a65))
	if rng.IntN(4) > 0 {
		return nil
	}
	for i := range 1 + rng.IntN(4) {
		f := fault{index: index + i, kind: tagsChanged, node: rng.IntN(nodes), to: 1 + rng.IntN(11), n: rng.IntN(500)}
		if rng.IntN(3) > 0 {
			f.at = time.Duration(rng.Int64N(int64(55 * time.Second)))
		}
		f.lasts = time.Duration(rng.Int64N(int64([]time.Duration{4 * time.Second, 20 * time.Second, 90 * time.Second}[rng.IntN(3)])))
		faults = append(faults, f)
	}
	for rng.IntN(2) == 0 {
		faults = append(faults, fault{index: index + len(faults), kind: "reinitialize", node: rng.IntN(nodes), to: 1, n: 1,
			at: 8*time.Second + time.Duration(rng.Int64N(int64(45*time.Second)))})
	}
	return faults
}

// lent judges a copy of a standby in place of the primary that gave the proof: it is
// of that one's system, on its history, has nothing that it does not have, and all that
// the copy's place may have confirmed before.
func (w *World) lent(n, from *Node, proof string) (primary *Node) {
	if proof == "" {
		w.fail("S5", "%s is made a clone of %s, which is no primary", n.name, from.name)
		return from
	}
	primary = w.nodes[w.site.Server(proof).Number()]
	log, source := from.pg.Log(), primary.pg.Log()
	switch {
	case primary.pg.Mode() != cluster.ModePrimary:
		w.fail("S5", "%s is made a clone of %s by the proof of %s, which is no primary", n.name, from.name, primary.name)
	case from.pg.SystemID() != primary.pg.SystemID():
		w.fail("S5", "%s is made a clone of %s, which is of another system than %s", n.name, from.name, primary.name)
	case log.Timeline != source.Timeline || from.pg.Place(log.Timeline) != primary.pg.Place(log.Timeline) || log.End > source.End:
		w.fail("S5", "%s is made a clone of %s at %s, which does not stand on the history of %s", n.name, from.name, fmt.Sprint(log.End), primary.name)
	}
	return primary
}
