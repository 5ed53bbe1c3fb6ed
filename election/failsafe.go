package election

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Failsafe (SAFETY 3): a holder that cannot reach the store asks everybody who could
// take its lease not to, for T. Whoever accepts races for nothing and votes for nobody
// for T from the moment the question came, on its own clock and across restarts. s was
// read before the first question left, so the guard may keep the server until
// s + T - margin, as after a renewal. docs/decisions/0013 has the argument.

// FailsafePeer is a member to ask. Keeper: it is no Patroni.
type FailsafePeer struct {
	Name, URL string
	Keeper    bool
}

// Since is what the lease runs from: the last renewal, or the last round of promises.
func (l Lease) Since() cluster.Instant { return max(l.Renewed, l.Agreed) }

// FailsafeActive reports whether the term goes on by promises and not by renewals.
func FailsafeActive(o *Observation) bool {
	return o.Lease.Term != 0 && o.Lease.Agreed > o.Lease.Renewed && o.Now < o.Lease.AgreedUntil
}

// withFailsafe asks for promises in time when renewals do not count. It needs all that
// a renewal needs: a good look at a running primary, and a guard that answers.
func withFailsafe(o *Observation, d Decision) Decision {
	if !mayAsk(o) || touchesLeader(d.Actions) || condemns(d.Actions) || !inEveryList(o) {
		return d
	}
	due := max(askDue(o), o.Failsafe.Tried.Add(o.Settings.RenewEvery()/4))
	switch {
	case o.Now < due:
		d.wakeAt(due)
	case !freshLook(o): // guard: ask_after_good_look — ARCHITECTURE 1
		d.Look = true
	case !o.Failsafe.Busy:
		d.Actions = append(slices.DeleteFunc(slices.Clone(d.Actions), changesRecord), failsafeRound(o)) // guard: record_stands_when_asked — SAFETY 3, Failsafe
	}
	return d
}

// askDue: one renewal has failed, or hangs, before the members are troubled; after that
// they are asked as often as the store would be, until a renewal counts again. One that
// left with the questions may count from before them, which ends nothing by itself: the
// next renewal does, if nobody is asked beside that too.
func askDue(o *Observation) cluster.Instant {
	if FailsafeActive(o) && o.Lease.Counted < o.Failsafe.Tried { // guard: renewal_ends_asking — L1: the mode is left when etcd is back
		return o.Lease.Agreed.Add(o.Settings.RenewEvery())
	}
	return o.Lease.Renewed.Add(2 * o.Settings.RenewEvery())
}

// mayAsk: there is a primary that runs under the term and would be stopped at the
// deadline for no other reason than the store.
func mayAsk(o *Observation) bool {
	l, g := &o.Lease, &o.Guard
	switch {
	case !o.Settings.FailsafeMode, l.Term == 0, o.Settings.Pause, o.Wish.Stop, o.Refused:
		return false
	case l.Giving, l.Unsettled: // guard: no_promises_while_giving — S1
		return false
	case l.Condemned != "": // guard: condemned_asks_nobody — L1: what cannot be stopped must lose its lease all the same
		return false
	case !g.Connected, g.Frozen, !g.Running, !g.Writable, o.Job.Kind != JobNone:
		return false
	}
	return o.Node.Good() && o.Node.Value.Mode == cluster.ModePrimary && o.Now < leaseDeadline(o)
}

// failsafeLists are those that the store may have now.
func failsafeLists(o *Observation) []map[string]string {
	var lists []map[string]string
	if !o.View.At.Never() { // a resumed term has them from the worker before this one
		lists = append(lists, o.View.Value.Failsafe)
	}
	lists = append(lists, o.Failsafe.Lists...) // guard: failsafe_asks_every_list — SAFETY 3, Failsafe
	return lists
}

// inEveryList: whichever list the store has, this member is in it.
func inEveryList(o *Observation) bool {
	if !o.Lease.Resumed && o.View.Value.Revision < int64(o.Lease.Term) { // guard: lists_of_this_term — SAFETY 3, Failsafe: the worker before this one may have written another that was not seen
		return false
	}
	lists := failsafeLists(o)
	for _, list := range lists {
		if list[o.Self.Name] == "" { // guard: failsafe_in_every_list — SAFETY 3, Failsafe
			return false
		}
	}
	return len(lists) > 0
}

// failsafeRound is whom to ask, and what is enough. Only lists that the store may have
// now count, and every one that it may have: whoever is in none of them takes no lease.
func failsafeRound(o *Observation) AskFailsafe {
	v, self := &o.View.Value, o.Self.Name
	peers := map[string]FailsafePeer{}
	for _, list := range failsafeLists(o) {
		for name, url := range list { // in any order
			m, known := v.Members[name]
			if known && m.APIURL != "" {
				url = m.APIURL
			}
			peers[name] = FailsafePeer{Name: name, URL: url, Keeper: !known || m.IsKeeper()}
		}
	}
	delete(peers, self)
	ask := AskFailsafe{Self: self, Rules: v.Durability.Asking()}
	patroni := false
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		ask.Peers = append(ask.Peers, peers[name])
		patroni = patroni || !peers[name].Keeper
	}
	if o.Failsafe.RecordUnclear || patroni { // guard: unclear_record_needs_all — SAFETY 3, Failsafe
		ask.Rules = nil
	}
	return ask
}

// Enough: with these no election elsewhere can be complete. Everybody has promised, or
// of the copies of one rule that every election must satisfy too few are left, and its
// primary is none of them.
func (a AskFailsafe) Enough(accepted []string) bool {
	all := !slices.ContainsFunc(a.Peers, func(p FailsafePeer) bool { return !slices.Contains(accepted, p.Name) })
	if all { // guard: failsafe_needs_all — SAFETY 3, Failsafe
		return true
	}
	bound := append([]string{a.Self}, accepted...)
	isFree := func(name string) bool {
		return !slices.ContainsFunc(bound, func(b string) bool { return strings.EqualFold(b, name) })
	}
	return slices.ContainsFunc(a.Rules, func(r cluster.Rule) bool {
		free := 0
		for _, name := range r.Copies() {
			if isFree(name) {
				free++
			}
		}
		if isFree(r.Primary) { // guard: failsafe_binds_primary — SAFETY 3, Failsafe: its report alone is enough
			return false
		}
		return free < r.Reports() // guard: failsafe_blocks_election — SAFETY 3, Failsafe
	})
}

// recordStands: nothing about who must confirm commits, nor who may take the lease,
// changes while promises count, or are asked for: they were counted against the record
// and the lists as they are.
func recordStands(o *Observation) bool {
	return o.Failsafe.Busy || FailsafeActive(o) // guard: record_stands_in_failsafe — SAFETY 3, Failsafe
}

// changesRecord reports whether a changes whom an election must hear, or who may be
// elected: a round that begins beside it would be counted against a record, or a list,
// that is there no more.
func changesRecord(a Action) bool {
	switch a.(type) {
	case PutDurability, PutFailsafe:
		return true
	}
	return false
}

// byPromises is a primary that goes on without the store. When the store is back it is
// left as it is until a renewal counts; where the lease ran out meanwhile, it is taken
// anew at once, without wait: the last holder is this one.
func byPromises(o *Observation) (Decision, bool) {
	if !FailsafeActive(o) {
		return Decision{}, false
	}
	if reclaims(o) {
		return acquire(o, ReasonReclaiming), true
	}
	d := wait(ReasonFailsafe, fmt.Sprintf("etcd was written last %s ago; the members agreed %s ago",
		o.Now.Sub(o.Lease.Renewed).Round(100*time.Millisecond), o.Now.Sub(o.Lease.Agreed).Round(100*time.Millisecond)))
	return d, true
}

// reclaims: the store is back and this term's key is gone, and nobody has taken the
// cluster since: who does writes the beat. The promises keep everybody else from it.
func reclaims(o *Observation) bool {
	v := &o.View.Value
	if !FailsafeActive(o) || !o.View.Good() || v.Leader != nil || v.Beat == nil || v.Revision < int64(o.Lease.Term) {
		return false
	}
	if v.PausedAt != nil && v.PausedAt.Name != o.Self.Name {
		return false
	}
	return v.Beat.Term == o.Lease.Term || v.Beat.ModRevision == int64(o.Lease.Term) // guard: reclaim_own_beat — S1
}

// pledged: this member has promised a holder not to end its tenure. A holder that gave
// the lease up since, its server proved stopped, needs no promise any more. That must be
// its own release: where a Patroni leader came after one, which beats not, the record of
// the release before it looks as new as ever.
func pledged(o *Observation) bool {
	switch v := &o.View.Value; {
	case o.Now >= o.Self.Pledged:
		return false
	case released(v) && strings.EqualFold(v.Release.By, o.Self.PledgedTo): // guard: released_by_whom_was_promised — SAFETY 3, Failsafe
		return false
	}
	return true
}

// released: the last holder gave the lease up, its server proved stopped, and nobody has
// led since. Whoever leads beats, but for Patroni's members: they publish a position
// without a timeline.
func released(v *cluster.View) bool {
	switch {
	case v.Leader != nil || v.Release == nil || v.Beat == nil:
		return false
	case v.Status != nil && v.Status.Timeline == 0: // guard: released_before_patroni — SAFETY 3: what a holder gave up before a Patroni leader came says nothing of that one
		return false
	}
	return v.Release.BeatRevision == v.Beat.ModRevision
}

// byPledge waits for the end of this member's own promise: it reports to no race, and
// votes for nobody.
func byPledge(o *Observation) Decision {
	d := wait(ReasonPledged, fmt.Sprintf("for %s more", o.Self.Pledged.Sub(o.Now).Round(time.Millisecond)))
	d.wakeAt(o.Self.Pledged)
	return d
}

// withoutPledged takes nothing that would end the tenure of a holder that was promised
// not to, whatever leads to it. A hand-over is that holder's own doing.
func withoutPledged(o *Observation, d Decision) Decision {
	if !pledged(o) || !slices.ContainsFunc(d.Actions, takes) { // guard: pledge_takes_nothing — SAFETY 3, Failsafe
		return d
	}
	d.Actions = slices.DeleteFunc(slices.Clone(d.Actions), takes)
	d.wakeAt(o.Self.Pledged)
	return d
}

// takes reports whether a takes the leader key, or casts a vote for who does.
func takes(a Action) bool {
	switch a.(type) {
	case Acquire, Inherit, Promise:
		return true
	}
	return false
}

// unlisted: a holder without store does not know of this member, and goes on without
// its promise. An operator who forces a failover vouches that there is no such holder.
func unlisted(o *Observation, name string) bool {
	v := &o.View.Value
	return len(v.Failsafe) > 0 && v.Failsafe[name] == "" && !released(v) && !forced(o) && !listedReport(o)
}

// listedReport: everybody whom the list names has reported in this vacancy, and so leads
// nobody. A holder goes on by a list that it is in, and by no other; whoever has taken the
// lease since has beaten, and that is another vacancy. A Patroni member, which beats not,
// never reports.
func listedReport(o *Observation) bool {
	v := &o.View.Value
	for name := range v.Failsafe { // in any order
		if m, known := v.Members[name]; !known || !reported(o, &m) { // guard: listed_report — S1: who has not said that it is no primary may be one
			return false
		}
	}
	return v.Beat != nil
}

// listedAnew is the list that goes with the key when this member takes it past a list that
// it is not in: whoever gave the lease up, or is vouched dead, goes on by none any more,
// and of those that the old list keeps from the lease one must take over when this member
// dies before it has led.
func listedAnew(o *Observation) *PutFailsafe {
	v := &o.View.Value
	if len(v.Failsafe) == 0 || v.Failsafe[o.Self.Name] != "" {
		return nil
	}
	if list, lacks := failsafeList(o); lacks { // guard: passed_list_goes — L1
		return &list
	}
	return nil
}

// failsafeList is what the store must say of the members, when it does not.
func failsafeList(o *Observation) (PutFailsafe, bool) {
	v := &o.View.Value
	if failsafeListed(o) || o.Settings.FailsafeMode && v.Members[o.Self.Name].APIURL == "" {
		return PutFailsafe{}, false
	}
	want := map[string]string{}
	if o.Settings.FailsafeMode {
		for name, m := range v.Members { // in any order
			if m.APIURL != "" {
				want[name] = m.APIURL
			}
		}
	}
	return PutFailsafe{Members: want}, true
}

// failsafeListed: the store's list names the members that answer, and nobody else.
func failsafeListed(o *Observation) bool {
	v, listed := &o.View.Value, 0
	if !o.Settings.FailsafeMode {
		return len(v.Failsafe) == 0
	}
	for name, m := range v.Members { // in any order
		if m.APIURL != "" {
			listed++
			if v.Failsafe[name] != m.APIURL {
				return false
			}
		}
	}
	return listed == len(v.Failsafe)
}

// longestPledge bounds what a member promises at once.
const longestPledge = 10 * time.Minute

// AcceptFailsafe is this member's answer to a holder that asks for its promise. It must
// be kept before it is given. A question without a term is Patroni's.
func AcceptFailsafe(o *Observation, ask cluster.FailsafeAsk) cluster.FailsafeAnswer {
	no := func(verdict cluster.FailsafeVerdict, format string, args ...any) cluster.FailsafeAnswer {
		return cluster.FailsafeAnswer{Verdict: verdict, Why: fmt.Sprintf(format, args...)}
	}
	v := &o.View.Value
	m, known := v.Members[ask.Name]
	switch {
	case !o.Settings.FailsafeMode && !o.View.At.Never():
		return no(cluster.FailsafeOff, "failsafe mode is off")
	case ask.Name == o.Self.Name || ask.Name == "":
		return no(cluster.FailsafeInvalid, "%q asks %q", ask.Name, o.Self.Name)
	case ask.TTL <= 0 || ask.TTL > longestPledge:
		return no(cluster.FailsafeInvalid, "nothing is promised for %s", ask.TTL)
	case ask.Term == 0 && (known && m.IsKeeper() || !known && !promisedPatroni(o, ask.Name)):
		return no(cluster.FailsafeForeign, "%s is no member that asks in Patroni's way", ask.Name)
	case mayWrite(o):
		return no(cluster.FailsafePrimary, "this member is itself a running primary")
	case o.Lease.Term != 0 || o.Lease.Busy != "": // guard: no_pledge_while_taking — SAFETY 3, Failsafe
		return no(cluster.FailsafeConflict, "this member holds the lease, or is taking it")
	case replacedSince(v, ask): // guard: no_pledge_to_replaced — SAFETY 3, Failsafe
		return no(cluster.FailsafeConflict, "somebody has led after %s: it must stop", ask.Name)
	case ask.Term != 0 && o.Self.Promised >= ask.Term: // guard: no_pledge_after_vote — SAFETY 3, Failsafe
		return no(cluster.FailsafeConflict, "this member has already promised to take no WAL of term %d", ask.Term)
	}
	return cluster.FailsafeAnswer{Verdict: cluster.FailsafeAccepted, Why: "Accepted", LSN: o.Node.Value.Position().LSN}
}

// promisedPatroni: this member has promised that Patroni leader before, and is bound to it.
// Its member key may be gone by now, with its lease: whoever hears of etcd first hears
// that nobody is left, and must not stop a primary which has yet to hear of it.
func promisedPatroni(o *Observation, name string) bool {
	return o.Now < o.Self.Pledged && o.Self.PledgedTerm == 0 && strings.EqualFold(o.Self.PledgedTo, name)
}

// PledgeUntil is until when an accepted question binds this member: T from its receipt,
// the longer of the asker's and its own.
func PledgeUntil(o *Observation, ask cluster.FailsafeAsk) cluster.Instant {
	return max(o.Self.Pledged, o.Now.Add(max(ask.TTL, o.Settings.TTL))) // guard: pledge_lasts — SAFETY 3, Failsafe
}

// mayWrite: this node's server writes, or may be about to.
func mayWrite(o *Observation) bool {
	return o.Node.Value.Mode == cluster.ModePrimary || o.Guard.Running && o.Guard.Writable || o.Job.Kind == JobPromote
}

// replacedSince: as far as this member has seen, somebody took the cluster after the
// asker did.
func replacedSince(v *cluster.View, ask cluster.FailsafeAsk) bool {
	if ask.Term == 0 {
		return v.Leader != nil && v.Leader.Name != ask.Name
	}
	if v.Leader != nil && v.Leader.Term > ask.Term {
		return true
	}
	// Who takes the cluster beats without a term, in the transaction that is its term.
	return v.Beat != nil && (v.Beat.Term > ask.Term || v.Beat.Term == 0 && v.Beat.ModRevision > int64(ask.Term))
}
