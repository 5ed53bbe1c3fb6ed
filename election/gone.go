package election

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// A dead node without waiting for its lease (SAFETY 3, docs/decisions/0014): where every
// commit waits for standbys, the promises of enough of them leave the old primary unable
// to acknowledge anything, whether or not it lives and however long its lease still
// runs. So T need not pass. What is measured here says only when that is worth it, and
// carries no safety: whoever errs causes a failover that was not needed. Safety is in
// the promises (revoke.go), and in the transaction that takes the key over: it compares
// the very term that was promised against, and the record of rules that the promises
// were counted by. A holder that lives can therefore do one of three things before it
// commits, and each makes it fail: beat, put its key again, or change the record.

// Suspicion is what this member measures of the leader's node by itself.
type Suspicion struct {
	// Leader is who is measured.
	Leader string
	// Heard is when WAL last came, or when this leader was first seen.
	Heard cluster.Instant
	// Busy: a try is under way. Tried is when the last one began.
	Busy  bool
	Tried cluster.Instant
	// Since is when the first of those tries in a row began in which neither the agent
	// nor the server answered; zero while one does. Ended is when the last one ended.
	Since, Ended cluster.Instant
}

// watched: the leader whose node this member watches, so that it can be replaced before
// its lease has run out.
func watched(o *Observation) (leader cluster.Member, ok bool) {
	v, s := &o.View.Value, &o.Settings
	switch {
	case !s.FastFailover, !s.Synchronous(), !s.SynchronousStrict: // guard: fast_strict_only — S2
		return leader, false // as in most clusters
	}
	leader, known := v.LeaderMember()
	switch {
	case v.Durability.Lax(): // guard: fast_strict_record — S2: commits may have been acknowledged that waited for nobody
	case s.Pause, v.PausedAt != nil: // guard: fast_not_in_pause — S6
	case !known, leader.Name == o.Self.Name, o.Lease.Term != 0, !o.View.Good():
	case v.Beat == nil, !ownBeat(v): // guard: fast_needs_own_beat — SAFETY 2: a successor that has not accepted yet
	case v.Switchover != nil, !v.Failover.Empty(): // guard: fast_not_in_switchover — L1: its server is stopped on purpose
	case pledged(o): // guard: fast_not_when_pledged — SAFETY 3, Failsafe
	case v.HasPatroni(): // guard: fast_needs_keepers — SAFETY 3: Patroni promises nothing
	case weakened(leader): // guard: fast_not_where_weakened — S1: such commits wait for nobody, and end with the lease only
	case o.Node.Value.Mode != cluster.ModeStandby:
	default:
		return leader, true
	}
	return cluster.Member{}, false
}

// WatchesLeader reports whether this member watches the leader's node closely.
func WatchesLeader(o *Observation) bool {
	_, ok := watched(o)
	return ok
}

// weakened: roles or databases there commit without waiting, or nobody has looked yet.
// What was found last stands when a look fails: that may be the end of that server.
func weakened(leader cluster.Member) bool {
	k := leader.Keeper
	return k == nil || k.SyncCommit == nil || k.SyncCommit.Weakened == nil || len(k.SyncCommit.Weakened) > 0
}

// silent: no WAL comes.
func silent(o *Observation) bool {
	return !o.NotStreaming.Never() || o.Now >= o.Suspicion.Heard.Add(silence)
}

// findsGone: no WAL comes from the leader, and neither its agent nor its server has
// answered for a while. One that shows by a beat that it is there, although it cannot be
// reached from here, is left alone until the next beat is overdue too.
func findsGone(o *Observation) bool {
	s := &o.Suspicion
	switch {
	case s.Since.Never(), s.Ended.Sub(s.Since) < goneAfter: // guard: fast_hysteresis — L1: one try without an answer replaces nobody
		return false
	case o.Now > s.Ended.Add(goneFresh): // guard: fast_fresh — L1: what was measured a while ago is no news
		return false
	case o.Beat.At > s.Since && o.Now < beatOverdue(o): // guard: fast_beat_vetoes — L1
		return false
	case !silent(o): // guard: fast_wal_vetoes — L1
		return false
	}
	return WatchesLeader(o)
}

// beatOverdue is when the holder should have beaten again, with some to spare.
func beatOverdue(o *Observation) cluster.Instant {
	return o.Beat.At.Add(o.Settings.RenewEvery() * 3 / 2)
}

// goneForMost: most members, and most voters of every rule, find the holder's node gone,
// this one among them. One that is merely cut off from some stays.
func goneForMost(o *Observation) bool {
	if !findsGone(o) {
		return false
	}
	v := &o.View.Value
	var names []string
	for name, m := range v.Members { // in any order: they are counted
		if name == o.Self.Name || m.Keeper != nil && m.Keeper.Gone == vacancy(o) { // guard: fast_same_beat — L1: of this very silence
			names = append(names, name)
		}
	}
	if len(names)*2 <= len(v.Members) { // guard: fast_most_members — L1
		return false
	}
	for _, rule := range v.Durability.Asking() {
		voters := 0
		for _, name := range names {
			if rule.Lists(name) {
				voters++
			}
		}
		if voters*2 <= len(rule.Voters) { // guard: fast_most_voters — L1
			return false
		}
	}
	return true
}

// holderGone waits for others to find the same.
func holderGone(o *Observation) Decision {
	v := &o.View.Value
	var finds []string
	for name, m := range v.Members { // in any order: sorted below
		if m.Keeper != nil && m.Keeper.Gone == vacancy(o) && name != o.Self.Name {
			finds = append(finds, name)
		}
	}
	slices.Sort(finds)
	others := "no other member finds the same yet"
	if len(finds) > 0 {
		others = "found by " + strings.Join(finds, ", ") + " too"
	}
	return wait(ReasonHolderGone, fmt.Sprintf("no WAL from %s, and neither its agent nor its server answers; of %d members most must find that: %s", v.Leader.Name, len(v.Members), others))
}

// withSuspicion tries the leader's node while no WAL comes from it, and tells the others
// when it is found gone.
func withSuspicion(o *Observation, d Decision) Decision {
	leader, ok := watched(o)
	s := &o.Suspicion
	if !ok || leader.Name != s.Leader {
		return d
	}
	if findsGone(o) {
		d.Say.Gone = vacancy(o)
	} else if !s.Since.Never() && o.Beat.At > s.Since {
		d.wakeAt(max(beatOverdue(o), o.Now.Add(knockEvery)))
	}
	pause := knockCalm
	if !s.Since.Never() {
		pause = knockEvery
	}
	host, port, addressed := leader.Address()
	switch next := s.Tried.Add(pause); {
	case s.Busy, !addressed:
	case !silent(o):
		if o.Node.At > s.Heard { // a look since then has found nothing new
			d.wakeAt(s.Heard.Add(silence))
		}
	case o.Now < next:
		d.wakeAt(next)
	default:
		d.Actions = append(slices.Clone(d.Actions), Knock{Leader: leader.Name, APIURL: leader.APIURL, Host: host, Port: port})
	}
	return d
}
