package election

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Revoke before elect (SAFETY 3): while a standby takes WAL from the old primary it can
// confirm a commit after its position was read, and a candidate that compared positions
// would miss it. So every voter first stops taking WAL and promises, durably, never to
// take any of that term again; only then does its position count. A promise is never
// withdrawn: the old holder, if it lives and nobody wins, goes on under a new term.

// revoked is the newest term that a vacancy leaves behind. A holder's term is never
// newer than its last beat, which its own transactions wrote, and every later term is.
func revoked(o *Observation) cluster.Term {
	v := &o.View.Value
	var newest cluster.Term
	if v.Leader != nil {
		newest = v.Leader.Term
	}
	if v.Beat != nil {
		newest = max(newest, cluster.Term(v.Beat.ModRevision))
	}
	return newest
}

// revoke has this standby promise, before it reports in a race that synchronous
// commits hang on.
func revoke(o *Observation) (Decision, bool) {
	if !o.View.Value.Durability.Asks() || byPatroni(o) || promised(o) {
		return Decision{}, false
	}
	d := do(ReasonRevoking, Promise{Term: revoked(o)})
	d.Detail = "no WAL of the last primary is taken any more"
	return d, true
}

// promised: this standby takes nothing from the revoked term, and was looked at since.
func promised(o *Observation) bool {
	return o.Self.Promised >= revoked(o) && takesNothing(o) // guard: promise_before_report — SAFETY 3
}

// takesNothing: no WAL of the revoked term can come: this standby streams from nobody,
// or from another that has promised the same.
func takesNothing(o *Observation) bool {
	node := &o.Node.Value
	host, port := conninfoTarget(node.PrimaryConninfo)
	if host == "" {
		return node.Receiver == nil
	}
	known := false
	for _, m := range o.View.Value.Members { // in any order
		if h, p, ok := m.Address(); ok && h == host && p == port {
			if known = m.Keeper != nil && m.Keeper.Promised >= revoked(o); !known {
				return false // of two keys with one address, which a copied configuration leaves, the worse counts
			}
		}
	}
	return known
}

// promisedAway: the leader is of a term this member will take no WAL from, or is about to
// promise so. A Follow begun before the promise is on disk would end after it was told.
func promisedAway(o *Observation) bool {
	leader := o.View.Value.Leader
	if leader == nil || leader.Name == o.Self.Name {
		return false
	}
	if leader.Term <= o.Self.Promising { // guard: promising_follows_nobody — SAFETY 3
		return true
	}
	return o.Self.Promised != 0 && leader.Term <= o.Self.Promised // guard: promise_kept — SAFETY 3
}

// promisedAgainst names members that take no WAL of the term held: it must be a new one.
func promisedAgainst(o *Observation) []string {
	var names []string
	for name, m := range o.View.Value.Members { // in any order: sorted below
		if name != o.Self.Name && m.Keeper != nil && m.Keeper.Promised >= o.Lease.Term {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// promisedReports are the positions that count in an election of a synchronous cluster: of
// those who promised, this member among them, and of a primary that was proved stopped
// before it gave the lease up. Members that may not be promoted are copies too.
func promisedReports(o *Observation, mine report) []report {
	all := []report{mine}
	v := &o.View.Value
	for name, m := range v.Members { // in any order: electorate sorts
		if name == o.Self.Name || !reported(o, &m) || m.Keeper.Promised < revoked(o) { // guard: only_promised_count — SAFETY 3
			continue
		}
		r := report{name, *m.Keeper.Position, m.Tags.FailoverPriority()}
		if m.Tags.NoFailover() ||
			yields(o, &m) { // guard: sick_copy — S2, L1: what it has counts, and it is not waited for
			r.priority = 0
		}
		if m.NoWatchdog() { // guard: watchdog_copy — S2, L1: what it has counts, and it is not waited for
			r.priority = 0
		}
		if unlisted(o, name) { // guard: unlisted_copy — S2, L1: what it has counts, and it is not waited for
			r.priority = 0
		}
		all = append(all, r)
	}
	return withReleased(o, all)
}

// withReleased adds the copy of a primary that was proved stopped before it gave the lease
// up.
func withReleased(o *Observation, all []report) []report {
	v := &o.View.Value
	if r := v.Release; released(v) && r.Clean && // guard: released_copy_is_fenced — SAFETY 3
		!slices.ContainsFunc(all, func(other report) bool { return strings.EqualFold(other.name, r.By) }) {
		all = append(all, report{name: r.By, position: r.Position})
	}
	return all
}

// elect is a race under rules that must not lose a commit: this member may take the
// lease once enough copies of every rule have reported and none of them has more.
func elect(o *Observation, mine report) Decision {
	rules, all := electorate(o, mine)
	if byPatroni(o) && !rules[0].IsCopy(o.Self.Name) { // guard: patroni_lists — SAFETY 3: as Patroni's own candidates
		return wait(ReasonNotListedSync, fmt.Sprintf("the key sync names %s, and not this member", strings.Join(rules[0].Copies(), ", ")))
	}
	for _, rule := range rules {
		if have, absent := counted(rule, all); !enough(o, rule, all) { // guard: enough_reports — SAFETY 3
			d := wait(ReasonTooFewReports, fmt.Sprintf("%d of %d copies that commits of %s may rest on have promised, %d are needed; absent: %s",
				have, len(rule.Copies()), rule.Primary, rule.Reports(), strings.Join(absent, ", ")))
			d.wakeAt(patroniSettles(o))
			return d
		}
	}
	best := mine
	for _, r := range attainable(o, mine, rules, all) {
		if r.position.Compare(best.position) > 0 || r.position.Compare(best.position) == 0 && r.priority > 0 && r.better(best) {
			best = r
		}
	}
	switch behind := best.position.Compare(mine.position) > 0; {
	case behind && best.priority <= 0: // it has more, and may not be promoted: take it from there first
		return catchUp(o, best)
	case behind: // guard: most_wins — SAFETY 3
		return wait(ReasonBetterCandidate, fmt.Sprintf("%s is at %s, this member at %s", best.name, best.position, mine.position))
	case best.name != mine.name && o.Now < raceBegan(o).Add(reportGrace+candidatePatience):
		d := wait(ReasonBetterCandidate, fmt.Sprintf("%s is as far and goes first", best.name))
		d.wakeAt(raceBegan(o).Add(reportGrace + candidatePatience))
		return d
	}
	return acquire(o, ReasonAcquiring)
}

// enough: what was acknowledged under the rule is on one of these copies.
func enough(o *Observation, rule cluster.Rule, all []report) bool {
	have, _ := counted(rule, all)
	return have >= rule.Reports() || primaryReports(o, rule, all)
}

// attainable are the reports without those of copies that nobody gets anything from, such as
// a primary's that was stopped, as far as the others are enough without them: what only such
// a copy has was never acknowledged, and is not worth having nobody lead until it is back.
func attainable(o *Observation, mine report, rules []cluster.Rule, all []report) []report {
	if byPatroni(o) {
		return all
	}
	for _, r := range all {
		if r.priority > 0 || r.position.Compare(mine.position) <= 0 || gives(o, r.name) { // guard: out_of_reach_is_left — L1: it would be waited for as long as it is away
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(all), func(other report) bool { return other.name == r.name })
		if slices.ContainsFunc(rules, func(rule cluster.Rule) bool { return !enough(o, rule, rest) }) { // guard: left_out_when_enough — S2: what it has may have been acknowledged, and be on none of the others
			continue
		}
		all = rest
	}
	return all
}

// gives: WAL comes from that member, or may come in a moment.
func gives(o *Observation, name string) bool {
	m, known := memberNamed(&o.View.Value, name)
	up, addressed := upstreamOf(m)
	if !known || !addressed || m.State != cluster.StateRunning {
		return false
	}
	r := o.Node.Value.Receiver
	return o.Now < raceBegan(o).Add(catchUpPatience) || targets(o, up) && r != nil && r.Status == "streaming"
}

// electorate is what an election must satisfy, and the reports that count for it, by name:
// members come in any order, and of two that are as far every look must find the same first.
func electorate(o *Observation, mine report) (rules []cluster.Rule, all []report) {
	if byPatroni(o) {
		rule := o.View.Value.Sync.Rule()
		rules, all = []cluster.Rule{rule}, patroniReports(o, mine, rule)
	} else {
		rules, all = o.View.Value.Durability.Asking(), promisedReports(o, mine)
	}
	slices.SortFunc(all, func(a, b report) int { return cmp.Compare(a.name, b.name) })
	return rules, all
}

// counted is how many copies of a rule are among the reports, and who is not.
func counted(rule cluster.Rule, all []report) (have int, absent []string) {
	for _, name := range rule.Copies() {
		if slices.ContainsFunc(all, func(r report) bool { return strings.EqualFold(r.name, name) }) {
			have++
		} else {
			absent = append(absent, name)
		}
	}
	return have, absent
}

// primaryReports: the primary of a rule is among the reports. It had flushed each commit
// before anybody could confirm it, so its copy alone has all that was acknowledged under
// the rule, and it can acknowledge no more. One that lacks what it had published itself is
// not that copy any more, but one that somebody has put in its place. Not by the key
// `sync`: a Patroni leader of a quorum writes it only after its promotion, and what that one
// has acknowledged meanwhile need not be here (docs/decisions/0018); unless the key is there
// yet by which this member led, which no Patroni member takes over.
func primaryReports(o *Observation, rule cluster.Rule, all []report) bool {
	at := slices.IndexFunc(all, func(r report) bool { return strings.EqualFold(r.name, rule.Primary) })
	published := o.View.Value.Status
	leader := o.View.Value.Leader
	kept := leader != nil && leader.Term == o.Self.Ended && strings.EqualFold(rule.Primary, o.Self.Name)
	if at < 0 || published == nil || byPatroni(o) && !kept { // guard: own_key_is_there_yet — S2: else a Patroni leader may have come and gone
		return false
	}
	newest := max(published.Timeline, o.View.Value.Timelines.Highest())
	if o.Self.PatroniLed || slices.ContainsFunc(all, func(r report) bool { return r.position.Timeline > newest }) { // guard: nobody_led_since — S2: a Patroni leader, which had yet to write what its commits rest on
		return false
	}
	last := cluster.Position{Timeline: published.Timeline, LSN: published.Optime}
	return all[at].position.Compare(last) >= 0 // guard: primary_has_what_it_published — S2: a copy put in its place need not have it
}

// raceBegan is when candidates could act first.
func raceBegan(o *Observation) cluster.Instant {
	if goneForMost(o) {
		return o.Vacancy
	}
	return max(waitUntil(o), o.Vacancy, o.Self.Pledged)
}

// catchUp streams from the member that has more and may not be promoted.
func catchUp(o *Observation, from report) Decision {
	m, known := memberNamed(&o.View.Value, from.name)
	up, addressed := upstreamOf(m)
	d := wait(ReasonBetterCandidate, fmt.Sprintf("%s is at %s and may not be promoted, this member at %s", from.name, from.position, o.Node.Value.Position()))
	if known && addressed && m.State == cluster.StateRunning {
		d.Detail += ": streaming from it first"
		if node := &o.Node.Value; !targets(o, up) || node.PrimarySlotName != "" && node.Receiver == nil { // guard: catch_up_without_slot — L1: a standby keeps slots for those alone that it is tagged to feed
			d.Actions = []Action{Follow{Upstream: up, NoSlot: true}}
		}
		d.wakeAt(raceBegan(o).Add(catchUpPatience))
	}
	return d
}
