package election

import (
	"cmp"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// report is one member's place in the race.
type report struct {
	name     string
	position cluster.Position
	priority int
}

// better orders reports: newer position, higher priority, earlier name.
func (r report) better(than report) bool {
	return cmp.Or(r.position.Compare(than.position), cmp.Compare(r.priority, than.priority), -cmp.Compare(r.name, than.name)) > 0
}

func ownReport(o *Observation) report {
	return report{o.Self.Name, o.Node.Value.Position(), o.Self.Tags.FailoverPriority()}
}

// field collects the reports for this vacancy and names the members that could
// have reported and have not, and those whose servers are starting: whoever shows
// that has a living agent, be it the last holder. A Patroni member cannot report:
// its published position stands in.
func field(o *Observation, mine report) (best report, missing, coming []string) {
	best = mine
	v := &o.View.Value
	for name, m := range v.Members { // in any order: better knows no two that are equal
		if name == o.Self.Name || m.Tags.NoFailover() ||
			yields(o, &m) { // guard: sick_yields — L1: nobody waits for a candidate that cannot serve
			continue
		}
		if m.NoWatchdog() { // guard: watchdog_yields — L1: nobody waits for a candidate that may not be promoted
			continue
		}
		if m.State == cluster.StateStarting && m.IsKeeper() {
			coming = append(coming, name)
			continue
		}
		if m.State != cluster.StateRunning || lastHolder(v, name) && !reported(o, &m) {
			continue
		}
		if m.IsKeeper() && !reported(o, &m) {
			missing = append(missing, name)
			continue
		}
		r := report{name, m.Position(), m.Tags.FailoverPriority()}
		if m.IsKeeper() {
			r.position = *m.Keeper.Position
		}
		if r.better(best) {
			best = r
		}
	}
	slices.Sort(missing)
	slices.Sort(coming)
	return best, missing, coming
}

// lastHolder: the member whose key is vacant; dead or stopped, it is not waited for.
func lastHolder(v *cluster.View, name string) bool {
	return v.HolderIs(name) || v.Holder != nil && v.Holder.Name == name
}

func reported(o *Observation, m *cluster.Member) bool {
	return m.Keeper != nil && m.Keeper.Vacancy == vacancy(o) && m.Keeper.Position != nil
}
