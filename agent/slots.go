package agent

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// foldMembers notes what timelines members tell of, whether Patroni runs the leader, and
// whose slots became nobody's: of members that were there a moment ago, and of those the
// last primary said it retains. Slots of any other origin are never noted, and so never
// dropped.
func (l *Loop) foldMembers(v *cluster.View) {
	if last := &l.obs.View.Value; v.News != 0 && v.News == last.News && v.ClusterID == last.ClusterID {
		return // the same members, and the same that are retained
	}
	for _, m := range v.Members {
		l.obs.Heard = max(l.obs.Heard, m.Timeline)
	}
	for _, line := range v.History { // a Patroni leader that goes on from an older timeline writes its own over it
		l.obs.Heard = max(l.obs.Heard, line.Timeline+1)
	}
	if m, known := v.LeaderMember(); known {
		l.obs.Self.PatroniLed = !m.IsKeeper()
		l.seen.PatroniLed = l.obs.Self.PatroniLed // kept with its term
	}
	if len(l.left) > 0 {
		for name := range v.Members {
			delete(l.left, cluster.SlotName(name))
		}
	}
	for name := range l.obs.View.Value.Members {
		if _, stays := v.Members[name]; !stays {
			l.leave(v, cluster.SlotName(name))
		}
	}
	if v.Status != nil {
		for _, slot := range v.Status.Retain {
			l.leave(v, slot)
		}
	}
}

// leave notes a slot as nobody's, unless it is still somebody's.
func (l *Loop) leave(v *cluster.View, slot string) {
	if _, noted := l.left[slot]; noted || l.isSlotOfMember(v, slot) {
		return
	}
	l.left[slot] = l.obs.Now
}

// leftSlots are the slots on this server that former members left, and those of
// them that were left for longer than member_slots_ttl.
func (l *Loop) leftSlots() (retained, expired []string) {
	if len(l.left) == 0 { // as nearly always
		return nil, nil
	}
	for _, slot := range l.obs.Node.Value.Slots {
		since, noted := l.left[slot.Name]
		if !noted || slot.Type != "physical" || slot.Active || ignored(l.config.settings.IgnoreSlots, slot) {
			continue
		}
		retained = append(retained, slot.Name)
		if l.obs.Now >= since.Add(l.config.settings.MemberSlotsTTL) {
			expired = append(expired, slot.Name)
		}
	}
	slices.Sort(retained)
	slices.Sort(expired)
	return retained, expired
}

// ignored: a matcher of ignore_slots says nothing that is not so of this slot.
func ignored(matchers []map[string]any, slot cluster.Slot) bool {
	is := map[string]string{"name": slot.Name, "type": slot.Type, "database": slot.Database, "plugin": slot.Plugin}
	return slices.ContainsFunc(matchers, func(m map[string]any) bool {
		for key, value := range m {
			if is[key] != fmt.Sprint(value) {
				return false
			}
		}
		return len(m) > 0
	})
}

// remove has the slot of a member that is gone dropped at once instead of after
// member_slots_ttl. It is dropped as any expired slot: by the holder alone, never in
// pause, and not while somebody streams by it.
func (l *Loop) remove(req cluster.Request) cluster.Result {
	result := cluster.Result{ID: req.ID, Member: l.id.Name}
	refuse := func(format string, args ...any) cluster.Result {
		result.Refused, result.Message = true, fmt.Sprintf(format, args...)
		return result
	}
	var args cluster.RemoveArgs
	if err := json.Unmarshal(req.Args, &args); err != nil || args.Member == "" {
		return refuse("the request names no member")
	}
	v, slot := &l.obs.View.Value, cluster.SlotName(args.Member)
	switch since, noted := l.left[slot]; {
	case !v.HolderIs(l.id.Name):
		return refuse("%s is not the leader: slots of former members are its", l.id.Name)
	case l.config.settings.Pause:
		return refuse("the cluster is paused: nothing touches PostgreSQL")
	case l.isSlotOfMember(v, slot):
		return refuse("%s is a member still, or another member's slot has that name: stop its agent, its key goes within ttl", args.Member)
	case l.hasSlot(slot, true):
		return refuse("somebody streams by the slot %s: stop that first", slot)
	case !l.hasSlot(slot, false):
		result.Done, result.Message = true, "no slot of "+args.Member+" is left on "+l.id.Name
	case !noted:
		return refuse("the slot %s is no former member's that %s knows of: if it is one, drop it with pg_drop_replication_slot", slot, l.id.Name)
	default:
		l.left[slot] = min(since, l.obs.Now.Add(-l.config.settings.MemberSlotsTTL))
		result.Done, result.Message = true, "the slot "+slot+" is dropped, with the WAL it keeps"
	}
	return result
}

func (l *Loop) isSlotOfMember(v *cluster.View, slot string) bool {
	for name := range v.Members {
		if cluster.SlotName(name) == slot {
			return true
		}
	}
	return slot == cluster.SlotName(l.id.Name)
}

func (l *Loop) hasSlot(name string, active bool) bool {
	return slices.ContainsFunc(l.obs.Node.Value.Slots, func(s cluster.Slot) bool {
		return s.Name == name && s.Type == "physical" && s.Active == active
	})
}
