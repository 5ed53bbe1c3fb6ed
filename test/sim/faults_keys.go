package sim

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// What people do to the store by hand, and what it does to watches that are behind. None
// of that excuses anything: the judge knows nothing of it.

// keyKinds are what such schedules draw from.
var keyKinds = []string{"leader key deleted", "leader key deleted", "member key deleted", "member key deleted", "member lease revoked", "member lease revoked",
	"configuration deleted", "configuration spoilt", "initialize deleted", "sync deleted", "failsafe deleted", "failsafe deleted", "failover without sense", "failover without sense",
	"etcd compacted", "kill worker", "cut from etcd", "everybody cut from etcd", "power off", "isolated"}

func init() {
	for kind, key := range map[string]string{"leader key deleted": "leader", "initialize deleted": "initialize", "sync deleted": "sync"} {
		deeds[kind] = func(w *World, _ *Node, _ fault) func() { w.byHand(dcs.Delete(base + key)); return nil }
	}
	deeds["failsafe deleted"] = deleteList
	deeds["member key deleted"] = func(w *World, n *Node, _ fault) func() { w.byHand(dcs.Delete(base + "members/" + n.name)); return nil }
	deeds["member lease revoked"] = revokeLease
	deeds["configuration deleted"] = func(w *World, _ *Node, _ fault) func() { return w.spoil(dcs.Delete(base + "config")) }
	deeds["configuration spoilt"] = spoilConfig
	deeds["failover without sense"] = wishNonsense
	deeds["etcd compacted"] = compact
}

// tampering draws such things for a quarter of the schedules.
func tampering(seed uint64, nodes, index int) []fault {
	rng := rand.New(rand.NewPCG(seed, 0x7a3b))
	if rng.IntN(4) > 0 {
		return nil
	}
	return crowdOf(rng, keyKinds, nodes, index, 1+rng.IntN(4))
}

// deleteList deletes the list of failsafe members, unless a primary leads by it without the
// store: whoever does that has another elected beside it (docs/safety.md, known gaps).
func deleteList(w *World, _ *Node, _ fault) func() {
	if list := w.view().Failsafe; !w.etcdDown && len(list) > 0 && !slices.ContainsFunc(w.nodes, func(n *Node) bool { return n.seen.agreed > w.now }) {
		w.unlisted = list
		w.byHand(dcs.Delete(base + "failsafe"))
	}
	return nil
}

// listed: n goes on without the store. A list that was deleted after it had lost the store
// is put back, for the same reason.
func (w *World) listed(n *Node) {
	v := w.view()
	if w.unlisted == nil || len(v.Failsafe) > 0 || w.leads.node != n {
		return
	}
	list, _ := json.Marshal(w.unlisted) // a map of strings
	w.written(dcs.Put(base+"failsafe", list, 0))
	w.unlisted = nil
}

// byHand is what etcdctl does.
func (w *World) byHand(ops ...dcs.Op) {
	if !w.etcdDown {
		w.written(ops...)
	}
}

// written has it in the store, whatever becomes of requests.
func (w *World) written(ops ...dcs.Op) {
	_, _ = direct{w}.Txn(context.Background(), nil, ops) // there is no condition that it could fail for
}

func revokeLease(w *World, n *Node, _ fault) func() {
	if m, there := w.view().Members[n.name]; there && !w.etcdDown {
		_ = w.core.Revoke(m.LeaseID) // one that has just ended is gone already
		w.changed()
	}
	return nil
}

// spoil makes the stored configuration something else, until somebody puts it back.
func (w *World) spoil(op dcs.Op) func() {
	c := w.view().Config
	if c == nil || w.etcdDown || len(w.spoilt) > 0 {
		return nil
	}
	w.spoilt, w.good = slices.Clone(c.Raw), slices.Clone(c.Raw)
	w.byHand(op)
	w.wanted()
	return w.unspoil
}

// unspoil puts the configuration back.
func (w *World) unspoil() {
	if len(w.spoilt) == 0 || w.etcdDown {
		return
	}
	w.byHand(dcs.Put(base+"config", w.spoilt, 0))
	w.spoilt = nil
	w.wanted()
}

// readable sees to it that the configuration that is stored can be read, also when it came
// from a backup.
func (w *World) readable() {
	w.unspoil()
	c := w.view().Config
	if len(w.good) == 0 {
		return
	}
	if c != nil {
		if _, why := parseConfig(c.Raw); why == "" && len(c.Raw) > 0 {
			return
		}
	}
	w.spoilt = w.good
	w.unspoil()
}

// badConfigs are what nobody means.
var badConfigs = []string{`{"ttl":`, `[]`, ``, `null`, `{"ttl":"never","loop_wait":10}`, `{"ttl":1,"loop_wait":30}`, `{"synchronous_mode":"perhaps"}`, `{}`}

func spoilConfig(w *World, _ *Node, f fault) func() {
	return w.spoil(dcs.Put(base+"config", []byte(badConfigs[f.n%len(badConfigs)]), 0))
}

// wishNonsense puts into the key failover what nobody can do.
func wishNonsense(w *World, n *Node, f fault) func() {
	lead := "pg1"
	if l := w.view().Leader; l != nil {
		lead = l.Name
	}
	at := epoch.Add(w.now - time.Second).Format(time.RFC3339)
	all := []any{
		map[string]any{"leader": "nobody", "member": n.name}, map[string]any{"leader": lead, "member": "pg9"}, map[string]any{"member": "pg9"},
		map[string]any{"leader": lead, "member": lead}, map[string]any{"leader": lead, "member": n.name, "scheduled_at": "soon"},
		map[string]any{"leader": lead, "member": n.name, "scheduled_at": at}, map[string]any{"member": n.name, "scheduled_at": at}, map[string]any{"leader": lead},
		map[string]any{"leader": 5}, []int{1}, "pg1", nil, map[string]any{"leader": "PG1", "member": "PG2"},
		map[string]any{"leader": lead, "member": n.name, "id": "a/b"}, map[string]any{"force": true}, map[string]any{"member": "pg9", "force": true, "id": "x"},
	}
	raw, err := json.Marshal(all[f.n%len(all)])
	if err == nil {
		w.byHand(dcs.Put(base+"failover", raw, 0))
	}
	return nil
}

// compact forgets the history of the store: whoever's watch is behind, as this node's is,
// must load anew.
func compact(w *World, n *Node, _ fault) func() {
	if w.etcdDown {
		return nil
	}
	w.core.Compact(w.core.Revision())
	for _, x := range slices.Clone(w.watchers) {
		if x.n == n || x.coming || x.missed {
			w.breakWatch(x)
		}
	}
	return nil
}
