package election

import (
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Patroni's rules (SAFETY 3: promises need all voters to be pgkeeper's). A Patroni leader
// keeps no record of rules, and a Patroni voter promises nothing. What commits rest on is
// the key `sync` then, by which Patroni's own candidates go: without a quorum each name in
// it has every commit that was acknowledged; with a quorum of q, whoever is as far as q
// other copies has. Nobody else may lead, also where the key names nobody but the leader.
// As in Patroni, positions are compared while receivers may run: what a frozen primary
// had confirmed in those moments can be missed. Between pgkeeper's members promises see
// to that.

// byPatroni reports whether the key `sync` decides an election, not the record.
func byPatroni(o *Observation) bool {
	v := &o.View.Value
	switch {
	case v.Sync == nil || v.Sync.Leader == "" || v.Durability != nil && v.Durability.Unreadable:
		return false
	case patroniLeft(o):
		return true
	}
	return slices.ContainsFunc(v.Durability.Asking(), func(r cluster.Rule) bool {
		return slices.ContainsFunc(r.Voters, func(name string) bool {
			m, known := memberNamed(v, name)
			return known && !m.IsKeeper()
		})
	})
}

// patroniLeft: the key `sync` is not the shadow of the record: a Patroni leader wrote it.
func patroniLeft(o *Observation) bool {
	v := &o.View.Value
	return v.Sync != nil && v.Sync.Leader != "" && (v.Durability == nil || !v.Durability.Unreadable) &&
		!strings.EqualFold(v.Durability.Last().Primary, v.Sync.Leader)
}

// votes: an election must satisfy a rule.
func votes(o *Observation) bool { return o.View.Value.Durability.Asks() || byPatroni(o) }

// Counts reports whether an election may rest on what a member has: it is one of the copies
// that commits were acknowledged on.
func Counts(v *cluster.View, member string) bool {
	counts := func(r cluster.Rule) bool { return r.IsCopy(member) }
	return v.Durability != nil && v.Durability.Unreadable || slices.ContainsFunc(v.Durability.Asking(), counts) ||
		v.Sync != nil && v.Sync.Leader != "" && counts(v.Sync.Rule())
}

// NoCandidate reports whether a member that waits for this reason takes no lease, however far
// it is and whoever is left. Agents know that from its reports. A Patroni member steps back
// for whoever answers and has more, or was named by an operator, for ever, unless it is told.
// While a wish stands it does so for one that is merely behind, too, and its former leader for
// any that could take over. In a quorum it takes such a word for a missing vote as well, so
// that whoever is merely behind says nothing there.
func NoCandidate(o *Observation, r cluster.Reason) bool {
	none := []cluster.Reason{ReasonNotListedSync, ReasonNotListed, ReasonTooFarBehind, ReasonOldTimeline, ReasonNoWatchdog, ReasonSickCandidate}
	if f := o.View.Value.Failover; !f.Empty() && o.Settings.SynchronousMode != cluster.SyncQuorum {
		none = append(none, ReasonBetterCandidate)
	}
	return slices.Contains(none, r) // guard: no_candidate_is_told — L1
}

// patroniSettles is when what Patroni members publish is no older than the end of the
// lease.
func patroniSettles(o *Observation) cluster.Instant { return o.Vacancy.Add(o.Settings.TTL) }

// patroniReports are the positions of a rule's copies that count by Patroni's rules: those
// that were read after the lease had ended. A Patroni member publishes its own once a
// loop, while its key lives: what stands there a ttl after the end is no older than that.
func patroniReports(o *Observation, mine report, rule cluster.Rule) []report {
	all := []report{mine}
	for name, m := range o.View.Value.Members { // in any order: electorate sorts
		if name == o.Self.Name || !rule.IsCopy(name) {
			continue
		}
		r := report{name: name, priority: m.Tags.FailoverPriority()}
		switch {
		case m.IsKeeper() && reported(o, &m):
			r.position = *m.Keeper.Position
		case !m.IsKeeper() && m.State == cluster.StateRunning && o.Now >= patroniSettles(o): // guard: patroni_position_settled — SAFETY 3
			r.position = m.Position()
		default:
			continue
		}
		if m.Tags.NoFailover() || m.NoWatchdog() || yields(o, &m) {
			r.priority = 0
		}
		all = append(all, r)
	}
	return all // what was released may be of before a Patroni leader that nobody has heard of
}

// publishedOn is the timeline that the published position lies on. A Patroni leader does
// not name it, and tells of its own by the key history alone.
func publishedOn(v *cluster.View) cluster.Timeline {
	if n := len(v.History); v.Status.Timeline == 0 && n > 0 { // guard: patroni_position_by_history — S2, asynchronous: what was written past the end of a timeline is no part of the next
		return v.History[n-1].Timeline + 1
	}
	return v.Status.Timeline
}
