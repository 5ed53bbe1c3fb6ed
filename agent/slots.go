package agent

import (
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// foldMembers notes whose slots became nobody's: of members that were there a
// moment ago, and of those the last primary said it retains. Slots of any other
// origin are never noted, and so never dropped.
func (l *Loop) foldMembers(v cluster.View) {
	former := map[string]bool{}
	for name := range l.obs.View.Value.Members {
		former[cluster.SlotName(name)] = true
	}
	if v.Status != nil {
		for _, slot := range v.Status.Retain {
			former[slot] = true
		}
	}
	present := map[string]bool{cluster.SlotName(l.id.Name): true}
	for name := range v.Members {
		present[cluster.SlotName(name)] = true
		delete(l.left, cluster.SlotName(name))
	}
	for slot := range former {
		if _, noted := l.left[slot]; !noted && !present[slot] {
			l.left[slot] = l.obs.Now
		}
	}
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
