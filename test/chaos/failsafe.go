package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// With failsafe mode a primary without etcd goes on while the members agree: neither
// the loss of etcd for all, nor a cut between etcd and one node, primary or not, costs
// a write. What it never changes is the order of terms: the other judges judge as ever.

// outageMost is the silence that such a fault may cost: less than a failover, which
// waits for the ttl, and more than one request of a client that ran out of time.
const outageMost = 2 * time.Second

// etcdAlone are the faults that take etcd away and nothing else. A leader whose disk
// hangs is not among them: when it is back it may end leases that others keep.
var etcdAlone = []string{"etcd_quorum_killed", "etcd_leader_killed", "etcd_member_killed", "etcd_leader_cut", "cut_etcd"}

// judgeFailsafe looks for outages that failsafe mode must not let happen. Only faults
// that met a whole cluster alone are judged: another may have taken a member's promise.
func judgeFailsafe(h *history, strikes []strike) []string {
	var found []string
	for _, k := range strikes {
		if k.disturbed || !slices.Contains(etcdAlone, k.fault.name) {
			continue
		}
		if most := outageMost + h.slept(span{k.during.from, k.during.to + outageMost}); k.gap > most {
			found = append(found, fmt.Sprintf("nobody could write for %v after %s on %s at %v, although failsafe mode is on; at most %v is forgiven",
				k.gap.Round(time.Millisecond), k.row(), k.node, k.during.from.Round(time.Millisecond), most.Round(time.Millisecond)))
		}
	}
	return found
}

// listed says who is missing in the list of the members that a primary in failsafe asks:
// before all are in it, a member counts as one that agrees with nobody.
func (w *world) listed(ctx context.Context) string {
	list, _, err := w.c.Key(ctx, "failsafe")
	if err != nil {
		return err.Error()
	}
	for _, n := range w.c.Nodes {
		if !strings.Contains(list, `"`+n.Name+`"`) {
			return n.Name + " is not in the key failsafe: " + list
		}
	}
	return ""
}

// entries counts how often a primary went on by its members' promises.
func (w *world) entries() (count int) {
	for _, n := range w.c.Nodes {
		count += strings.Count(n.Log(), "failsafe entered")
	}
	return count
}
