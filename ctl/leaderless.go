package ctl

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// noLeader says in words why nobody holds the leader key, the cause that
// explains most first, and what to do where waiting does not help.
func noLeader(v cluster.View, settings cluster.Settings) string {
	switch {
	case v.Initialize == nil && len(v.Members) == 0:
		return "the cluster was never initialised and no agent is running: start one"
	case v.Initialize == nil:
		return "the cluster is not initialised yet: no member has begun to" + saidBy(v)
	case v.Initialize.SystemID == "":
		return fmt.Sprintf("%s is initialising the cluster", initialiser(v))
	case v.PausedAt != nil:
		return markedPrimary(v, settings.Pause)
	case settings.Pause:
		return pausedLeaderless
	case len(v.Members) == 0:
		return "no agent is running: start one" + lastHolder(v)
	}
	return noWinner(v) + saidBy(v)
}

// pausedLeaderless is for a pause in which nobody is waited for.
const pausedLeaderless = "the cluster is paused, so nobody elects: pgkeeper resume"

// markedPrimary is about the primary of a pause, whom the others wait for.
func markedPrimary(v cluster.View, paused bool) string {
	m, runs := v.Members[v.PausedAt.Name]
	what := v.PausedAt.Name + " was primary when the cluster was paused and nobody may take its place: "
	switch {
	case !runs && paused:
		return what + "start its agent, or, when it is certainly dead, pgkeeper resume and then pgkeeper failover --candidate NAME --force"
	case !runs:
		return what + "start its agent, or, when it is certainly dead, pgkeeper failover --candidate NAME --force"
	case paused:
		return fmt.Sprintf("%sits agent runs, its server is %s; pgkeeper resume has it lead again or give way", what, m.State)
	}
	return what + "its agent runs, and has yet to lead again or to give way"
}

// noWinner is about a vacancy that members should fill by themselves.
func noWinner(v cluster.View) string {
	if v.Release != nil && (v.Beat == nil || v.Release.BeatRevision >= v.Beat.ModRevision) {
		return fmt.Sprintf("%s gave the lease up with its server stopped, and nobody has taken it yet", v.Release.By)
	}
	return "the lease has run out" + lastHolder(v) + ", and nobody has taken it yet"
}

func lastHolder(v cluster.View) string {
	if v.Holder == nil || v.Holder.Name == "" {
		return ""
	}
	return fmt.Sprintf(" (last held by %s)", v.Holder.Name)
}

// initialiser is the member whose lease the empty initialize key lives on.
func initialiser(v cluster.View) string {
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if m := v.Members[name]; m.LeaseID != 0 && m.LeaseID == v.Initialize.LeaseID {
			if m.Keeper != nil && m.Keeper.Progress != "" {
				return name + " (" + m.Keeper.Progress + ")"
			}
			return name
		}
	}
	return "a member"
}

// saidBy adds what the members themselves say.
func saidBy(v cluster.View) string {
	said := make([]string, 0, len(v.Members))
	for _, name := range slices.Sorted(maps.Keys(v.Members)) {
		if m := v.Members[name]; m.Keeper != nil && m.Keeper.Reason != "" {
			said = append(said, name+": "+words(m.Keeper.Reason))
		}
	}
	if len(said) == 0 {
		return ""
	}
	return "; " + strings.Join(said, ", ")
}
