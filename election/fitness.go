package election

import (
	"fmt"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// unfit: this node would lose more than the operator allows (asynchronous mode:
// the last published position is all that is known of the lost primary).
func unfit(o *Observation, mine report) (Decision, bool) {
	published := o.View.Value.Status
	if published == nil {
		return Decision{}, false
	}
	if olderTimeline(o, mine) && o.Settings.CheckTimeline { // guard: old_timeline — trap 6
		return wait(ReasonOldTimeline, fmt.Sprintf("on timeline %d, the primary was on %d, and check_timeline is on", mine.position.Timeline, publishedOn(&o.View.Value))), true
	}
	if published.Timeline != 0 && mine.position.Timeline > published.Timeline { // guard: promoted_since_is_not_behind — L1: that promotion has given up what it lacks of that
		return Decision{}, false
	}
	limit := o.Settings.MaximumLagOnFailover
	behind := shared(o, mine).Behind(published.Optime)
	if limit >= 0 && behind > uint64(limit) { // guard: maximum_lag_on_failover
		return wait(ReasonTooFarBehind, fmt.Sprintf("%d bytes behind the last published position, the limit is %d", behind, limit)), true
	}
	return Decision{}, false
}

// olderTimeline: the lost primary wrote on a timeline this node has not seen.
func olderTimeline(o *Observation, mine report) bool {
	v := &o.View.Value
	return v.Status != nil && publishedOn(v) > mine.position.Timeline
}

// shared is how far this node's log is a part of the lost primary's: all of it on
// the same timeline, up to where that one left ours on an older, and up to where both
// left the last they have in common when ours is none that it came by.
func shared(o *Observation, mine report) cluster.LSN {
	if !olderTimeline(o, mine) {
		return mine.position.LSN
	}
	parent := o.View.Value.Status.Parent
	theirs := cameBy(&o.View.Value)
	if at, known := theirs.SwitchOf(mine.position.Timeline); known {
		return min(at, mine.position.LSN)
	}
	aside := parent != 0 && mine.position.Timeline > parent // guard: shared_with_a_twin — S2, asynchronous: two timelines may leave one at the same position
	for _, line := range slices.Backward(o.Node.Value.TimelineHistory) {
		if at, known := theirs.SwitchOf(line.Timeline); known && (aside || at != line.Switch) { // guard: shared_with_a_sibling — S2, asynchronous: the loss is not underrated
			return min(at, line.Switch, mine.position.LSN)
		}
	}
	return mine.position.LSN // they tell of our own timeline: the lost primary has yet to tell of its own
}

// cameBy are the timelines that the published one came by: its holder names the last of them
// beside it, and the key history those before, whose last lines may be another's.
func cameBy(v *cluster.View) cluster.History {
	p := v.Status
	if p.Parent == 0 {
		return v.History
	}
	since := func(line cluster.HistoryLine) bool { return line.Timeline >= p.Parent }
	return append(slices.DeleteFunc(slices.Clone(v.History), since), cluster.HistoryLine{Timeline: p.Parent, Switch: p.Switch})
}
