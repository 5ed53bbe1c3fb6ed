package election

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// The rules of synchronous replication in this file (SAFETY 3): whom commits wait for,
// in which order that is changed, and what an election must know so that it loses none
// of them.
//
// A commit is acknowledged once the server's rule is met, Need of Voters, and the
// record in the store lists every rule that may be in force at the server. So whoever
// satisfies all rules of the record has every commit. To change the rule, (1) the new
// one is added to the record, (2) the server gets it, and every walsender is proved to
// go by it, (3) every commit up to the position read after that is flushed under it,
// (4) the old one is taken out. Between (1) and (4) an election must satisfy both.
//
// Under one rule, N voters of which k confirm, a commit is on k voters and on the
// primary: on k+1 of N+1 copies. Any N-k+1 copies therefore hold one that has it, if
// none of them can confirm anything after it was looked at: each has promised to take
// no WAL of that term any more, or is a server proved stopped.

// keepRule is what a primary does next about the rule its commits wait for.
func keepRule(o *Observation) (Action, bool) {
	record := o.View.Value.Durability
	if !o.Settings.Synchronous() && record == nil {
		if patroniLeft(o) { // everything that commits of before rest on is here
			return PutDurability{}, true
		}
		return nil, false
	}
	want := wantedRule(o)
	mode := o.Settings.SynchronousMode
	last := record.Last()
	differs := record == nil || len(record.Rules) == 0 || !last.Equal(want) || record.Mode != mode && o.Settings.Synchronous()
	if patroniLeft(o) { // guard: record_after_patroni — SAFETY 3: it is of before that leader, and nobody goes by it
		return PutDurability{withRule(o, want)}, true
	}
	if kept := withoutPassed(o, record); kept != nil {
		return PutDurability{*kept}, true
	}
	if differs && record != nil && len(record.Rules) >= mostRules && begun(o, last) &&
		confirming(o, last, 0) >= last.Need { // guard: unfinished_gives_way — L1: who would have to confirm it is gone
		want, differs = last, false // one change after the other: this one is finished first
	}
	switch {
	case differs: // guard: rule_recorded_first — SAFETY 3
		return PutDurability{withRule(o, want)}, true
	case !inForce(o, want):
		return tellServer(o, want)
	case len(record.Rules) > 1 && flushedUnder(o, want): // guard: old_rule_until_flushed — SAFETY 3
		return PutDurability{cluster.Durability{Mode: mode, Rules: []cluster.Rule{want}}}, true
	case !o.Settings.Synchronous() && len(record.Rules) == 1: // commits are asynchronous, and proved to be
		return PutDurability{}, true
	}
	return nil, false
}

// withoutPassed is the record without the rules that an operator has forced this primary
// past; nil when it has none of them. What was acknowledged under them and is not here is
// given up, and who held it throws it away to follow: to ask these for it in the next
// election, when this primary dies before they have followed, would have everybody wait for
// what is gone. Its own rules stay until they are proved.
func withoutPassed(o *Observation, record *cluster.Durability) *cluster.Durability {
	if !o.Lease.Passed || record == nil || !strings.EqualFold(record.Last().Primary, o.Self.Name) { // guard: passed_rules_go — L1, S2
		return nil
	}
	own := slices.DeleteFunc(slices.Clone(record.Rules), func(r cluster.Rule) bool { return !strings.EqualFold(r.Primary, o.Self.Name) })
	if len(own) == len(record.Rules) {
		return nil
	}
	return &cluster.Durability{Mode: record.Mode, Rules: own}
}

// tellServer gives the server the newest rule of the record, once it is certain that the
// store has that record.
func tellServer(o *Observation, r cluster.Rule) (Action, bool) {
	record := o.View.Value.Durability
	switch {
	case o.View.Value.Revision < int64(o.Lease.Term): // the record may be newer than what was seen of it
		return nil, false
	case record.ModRevision == o.RecordOver: // guard: record_settled_first — SAFETY 3: what was sent over this one may still take its place, without the rule
		return PutDurability{cluster.Durability{Mode: record.Mode, Rules: record.Rules}}, true
	}
	return SetSync{Names: namesOf(o, r)}, true
}

// namesOf are the standbys of a rule as the server is told them in this mode.
func namesOf(o *Observation, r cluster.Rule) string {
	return r.Names(o.Settings.SynchronousMode == cluster.SyncQuorum)
}

// mostRules bounds the record while standbys come and go faster than rules can be
// proved. A rule whose standbys are gone cannot be, so that the next one does not wait for it:
// then the record is bounded by how many different rules its members can be in.
const mostRules = 6

// begun: the server may go by the rule, as far as this process knows.
func begun(o *Observation, r cluster.Rule) bool {
	s := o.Sync
	if s.Instance == "" || s.Instance != o.Guard.Instance {
		return true
	}
	return slices.ContainsFunc([]bool{true, false}, func(quorum bool) bool { // the mode may have changed since
		names := r.Names(quorum)
		return s.Names == names || s.Begun == names // guard: rule_in_force_is_kept — SAFETY 3
	})
}

// withRule is the record with one more rule. The newest gives way when the server was
// never told of it. One that is wanted again stays where it was too, since commits rest on
// it: as the newest alone it could give way with the next change.
func withRule(o *Observation, r cluster.Rule) cluster.Durability {
	next := cluster.Durability{Mode: o.Settings.SynchronousMode, Rules: []cluster.Rule{{Primary: o.Self.Name}}} // what was asynchronous until now
	if record := o.View.Value.Durability; record != nil && len(record.Rules) > 0 {
		next.Rules = slices.Clone(record.Rules)
		if n := len(next.Rules); n > 1 && record.Mode == next.Mode && !begun(o, next.Rules[n-1]) {
			next.Rules = next.Rules[:n-1]
		}
		next.Rules = distinct(next.Rules)
	}
	if patroniLeft(o) { // guard: patroni_rule_recorded — SAFETY 3: until this member has proved its own, an election must satisfy what commits of before rest on
		next.Rules = []cluster.Rule{o.View.Value.Sync.Rule(), {Primary: o.Self.Name}}
	}
	if !next.Rules[len(next.Rules)-1].Equal(r) {
		next.Rules = append(next.Rules, r)
	}
	return next
}

// distinct leaves out rules that are there before: an election satisfies each once.
func distinct(rules []cluster.Rule) []cluster.Rule {
	kept := rules[:0]
	for _, r := range rules {
		if !slices.ContainsFunc(kept, r.Equal) {
			kept = append(kept, r)
		}
	}
	return kept
}

// inForce: the server goes by the rule, every walsender of it, as was proved since it
// started, and was told of no other since: that one may come into force at any moment,
// and its rule must be in the record then.
func inForce(o *Observation, r cluster.Rule) bool {
	s, names := o.Sync, namesOf(o, r)
	return s.Instance != "" && s.Instance == o.Guard.Instance && s.Names == names && s.Begun == names // guard: rule_proved — SAFETY 3
}

// ConfirmedByRule reports whether as many standbys as the newest rule asks for have what
// was written before it was proved to be in force.
func ConfirmedByRule(o *Observation) bool {
	last := o.View.Value.Durability.Last()
	return inForce(o, last) && flushedUnder(o, last)
}

// flushedUnder: everything that was written before the rule was proved to be in force is
// flushed under it.
func flushedUnder(o *Observation, r cluster.Rule) bool {
	return !r.Asks() || confirming(o, r, o.Sync.From) >= r.Need
}

// confirming counts the standbys of a rule that stream from here and have flushed as much.
func confirming(o *Observation, r cluster.Rule, from cluster.LSN) (have int) {
	for _, w := range o.Node.Value.Walsenders {
		if r.Lists(w.Name) && w.State == "streaming" && w.Flush >= from {
			have++
		}
	}
	return have
}

// Unconfirmed reports whether a primary that recovered from a crash has yet to hear
// that its standbys have what recovery made visible: commits nobody was told of, which
// a failover could still take back (SAFETY 3, trap 8); or that it is on the timeline it was
// promoted onto.
func Unconfirmed(o *Observation) bool {
	if o.Node.Value.Mode == cluster.ModePrimary && foreignTimeline(o) { // guard: foreign_is_unconfirmed — S8: nobody is sent there until it is stopped
		return true
	}
	record := o.View.Value.Durability
	return record.Last().Asks() && o.Node.Value.Mode == cluster.ModePrimary && !o.Sync.Confirmed && o.Sync.Recovered // guard: recovered_is_unconfirmed — SAFETY 3, trap 8
}

// wantedRule is whom this primary's commits should wait for, given who streams.
func wantedRule(o *Observation) cluster.Rule {
	if !o.Settings.Synchronous() {
		return cluster.Rule{Primary: o.Self.Name}
	}
	last := o.View.Value.Durability.Last()
	mine := strings.EqualFold(last.Primary, o.Self.Name)
	fit := candidatesForSync(o, last)
	need := max(1, o.Settings.SynchronousNodes)
	if len(fit) == 0 {
		switch {
		case !o.Settings.SynchronousStrict:
			return cluster.Rule{Primary: o.Self.Name}
		case mine && last.Asks(): // guard: strict_keeps_waiting — SAFETY 3
			return last // nobody is let off by dying
		}
		return cluster.Rule{Primary: o.Self.Name, Need: 1}
	}
	need = min(need, len(fit))
	if o.Settings.SynchronousMode == cluster.SyncOn {
		fit = fit[:need]
	} else {
		fit = withoutSpare(fit, need)
	}
	rule := cluster.Rule{Primary: o.Self.Name, Need: need, Voters: make([]string, 0, len(fit))}
	for _, c := range fit {
		rule.Voters = append(rule.Voters, c.name)
	}
	slices.Sort(rule.Voters)
	return rule
}

// syncCandidate is a standby that commits could wait for.
type syncCandidate struct {
	name     string
	priority int
	voter    bool // of the rule in force
	spare    bool // may not be promoted, or is sick
	reached  cluster.LSN
}

// candidatesForSync are the standbys whose servers stream from this one, best first:
// by sync_priority; those in the rule before others, so that it does not change for
// nothing; then by how far they are. A member that may never be promoted comes last. How
// far is what commits wait for: what a standby wrote, flushed or replayed, by the server's
// synchronous_commit. One whose replay hangs holds every commit up under remote_apply.
func candidatesForSync(o *Observation, last cluster.Rule) []syncCandidate {
	senders := o.Node.Value.Walsenders
	fit := make([]syncCandidate, 0, len(senders))
	var newest cluster.LSN
	for i := range senders {
		w := &senders[i]
		m, known := memberNamed(&o.View.Value, w.Name)
		seen := func(c syncCandidate) bool { return strings.EqualFold(c.name, w.Name) }
		if !known || slices.ContainsFunc(fit, seen) || w.State != "streaming" || !mayConfirm(&m) { // guard: only_servers_count — trap 21
			continue
		}
		reached := w.Reached(o.Node.Value.SyncLevel)
		newest = max(newest, reached)
		fit = append(fit, syncCandidate{m.Name, m.Tags.Number("sync_priority", 1), last.Lists(m.Name), m.Tags.NoFailover() || m.NoWatchdog() || m.Sick() != "", reached})
	}
	if limit := o.Settings.MaximumLagOnSyncnode; limit > 0 {
		fit = slices.DeleteFunc(fit, func(c syncCandidate) bool { return c.reached.Behind(newest) > uint64(limit) })
	}
	slices.SortFunc(fit, func(a, b syncCandidate) int {
		return cmp.Or(yes(a.spare)-yes(b.spare), b.priority-a.priority, yes(b.voter)-yes(a.voter), cmp.Compare(b.reached, a.reached), cmp.Compare(a.name, b.name))
	})
	return fit
}

// withoutSpare leaves out members that may not be promoted, as far as the others meet
// the need.
func withoutSpare(fit []syncCandidate, need int) []syncCandidate {
	able := slices.IndexFunc(fit, func(c syncCandidate) bool { return c.spare })
	if able < 0 {
		return fit
	}
	return fit[:max(able, need)]
}

// mayConfirm: the member runs a standby and its tags let commits wait for it.
func mayConfirm(m *cluster.Member) bool {
	return m.State == cluster.StateRunning && m.Role == cluster.RoleReplica && !m.Tags.Bool("nosync") && m.Tags.Number("sync_priority", 1) > 0
}

// memberNamed finds a member as PostgreSQL compares names: without regard to case.
func memberNamed(v *cluster.View, name string) (cluster.Member, bool) {
	if m, ok := v.Members[name]; ok {
		return m, true
	}
	for _, other := range slices.Sorted(maps.Keys(v.Members)) {
		if strings.EqualFold(other, name) {
			return v.Members[other], true
		}
	}
	return cluster.Member{}, false
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}

// firstRule is the rule a standby is promoted with: in the strict mode the copies of
// the rule before it, who will follow it or have failed for good; otherwise nobody, until somebody
// streams.
func firstRule(o *Observation) cluster.Rule {
	last := o.View.Value.Durability.Last()
	if patroniLeft(o) {
		last = o.View.Value.Sync.Rule()
	}
	rule := cluster.Rule{Primary: o.Self.Name}
	if !o.Settings.Synchronous() || !o.Settings.SynchronousStrict {
		return rule
	}
	rule.Need = 1
	for _, name := range last.Copies() {
		if !strings.EqualFold(name, o.Self.Name) {
			rule.Voters = append(rule.Voters, name)
		}
	}
	if o.Settings.SynchronousMode == cluster.SyncOn {
		rule.Need = max(1, len(rule.Voters))
	} else if len(rule.Voters) > 0 {
		rule.Need = min(max(1, o.Settings.SynchronousNodes), len(rule.Voters))
	}
	return rule
}

// ruleBeforePromotion has the record say what the promoted server will go by, before
// it is promoted.
func ruleBeforePromotion(o *Observation) (names string, first Action) {
	record := o.View.Value.Durability
	if !o.Settings.Synchronous() && !record.Asks() {
		return "", nil
	}
	last := record.Last()
	if patroniLeft(o) { // guard: record_after_patroni_leads — SAFETY 3: it may be this member's own, of before that leader
		return "", PutDurability{withRule(o, firstRule(o))}
	}
	if record == nil || !strings.EqualFold(last.Primary, o.Self.Name) || record.Mode != o.Settings.SynchronousMode && o.Settings.Synchronous() { // guard: rule_before_promotion — SAFETY 3
		return "", PutDurability{withRule(o, firstRule(o))}
	}
	return namesOf(o, last), nil
}
