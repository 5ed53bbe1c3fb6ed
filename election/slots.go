package election

import (
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// slotsToMend are the physical slots this running server lacks for the members that
// stream from it, and those it keeps for members that stream from elsewhere: an
// idle slot keeps WAL for ever, on a standby too, and every former primary has some.
// Slots that are not named after a member are nobody's business here.
func slotsToMend(o *Observation) (EnsureSlots, bool) {
	if !o.Settings.PostgreSQL.UseSlots || o.Settings.Pause { // guard: paused_slots — S6
		return EnsureSlots{}, false
	}
	mend := EnsureSlots{Drop: o.ExpiredSlots}
	for name, m := range o.View.Value.Members { // in any order: sorted below
		if name == o.Self.Name {
			continue
		}
		slot := cluster.SlotName(name)
		at := slices.IndexFunc(o.Node.Value.Slots, func(s cluster.Slot) bool { return s.Name == slot })
		switch wanted := streamsFromHere(o, &m); {
		case wanted && at < 0:
			mend.Want = append(mend.Want, slot)
		case !wanted && at >= 0 && idle(o.Node.Value.Slots[at]) && m.State == cluster.StateRunning:
			mend.Drop = append(slices.Clone(mend.Drop), slot)
		}
	}
	slices.Sort(mend.Want)
	slices.Sort(mend.Drop)
	return mend, len(mend.Want)+len(mend.Drop) > 0
}

// streamsFromHere: the member's tags and the view make this node its upstream, now or
// as soon as it is promoted.
func streamsFromHere(o *Observation, m *cluster.Member) bool {
	if m.Tags.Bool("nostream") && !m.IsKeeper() { // a Patroni one reads the archive alone; an agent streams all the same
		return false
	}
	from, named := namedUpstream(&o.View.Value, m.Name, m.Tags)
	if named {
		return from.Name == o.Self.Name
	}
	return o.Node.Value.Mode == cluster.ModePrimary || leadsNext(o)
}

// leadsNext: this standby has the lease, or is the candidate, and ready, of a switchover
// that goes on. Its slots are there before anybody is re-pointed: who comes earlier is
// refused, and comes again only after wal_retrieve_retry_interval.
func leadsNext(o *Observation) bool {
	sw := candidacy(o)
	return o.Lease.Term != 0 || sw != nil && sw.ID == o.Self.Prepared && sw.Phase != cluster.SwitchoverAborted
}

func idle(s cluster.Slot) bool { return s.Type == "physical" && !s.Active && !s.Temporary }
