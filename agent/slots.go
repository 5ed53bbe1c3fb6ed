package agent

import (
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// foldMembers notes whose slots became nobody's: of members that were there a
// moment ago, and of those the last primary said it retains. Slots of any other
// origin are never noted, and so never dropped.
func (l *Loop) foldMembers(v cluster.View) {
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
func (l *Loop) leave(v cluster.View, slot string) {
	if _, noted := l.left[slot]; noted || slot == cluster.SlotName(l.id.Name) {
		return
	}
	for name := range v.Members {
		if cluster.SlotName(name) == slot {
			return
		}
	}
	l.left[slot] = l.obs.Now
}

// leftSlots are the slots on this server that former members left, and those of
// them that were left for longer than member_slots_ttl.
func (l *Loop) leftSlots() (retained, expired []string) {
	for _, slot := range l.obs.Node.Value.Slots {
		since, noted := l.left[slot.Name]
		if !noted || slot.Type != "physical" || slot.Active {
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
