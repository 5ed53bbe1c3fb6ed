package agent

import (
	"maps"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// failsafeState is what a holder has sent to the store that its promises hang on.
type failsafeState struct {
	lists   outbox[map[string]string]
	records outbox[*cluster.Durability]
	// next is a list that waits for the disk before it is sent; sent counts those that left.
	next map[string]string
	sent int
	told string // why the last round was not enough
}

// outbox is what was sent under a term, one after the other, and may not be what the
// store shows: a call whose answer was lost may take effect until the term ends, whatever
// is written after it.
type outbox[T any] struct {
	lost []T
	// last is what was sent last, until the store shows it; done: it has taken effect.
	last []T
	done bool
}

// send notes a write before it leaves.
func (b *outbox[T]) send(v T) {
	if !b.done {
		b.lost = append(b.lost, b.last...)
	}
	b.last, b.done = []T{v}, false
}

// shown is what the store has. One that was sent once and is there has taken effect; of
// one that was sent again, the first may yet come.
func (b *outbox[T]) shown(v T, same func(a, b T) bool) {
	if len(b.last) == 0 { // as nearly always
		return
	}
	again := slices.ContainsFunc(b.lost, func(l T) bool { return same(l, v) })
	if same(b.last[0], v) && (b.done || !again) {
		b.last = nil
	}
}

// open is everything that the store may have, or get, beside what it shows.
func (b *outbox[T]) open() []T { return slices.Concat(b.lost, b.last) }

// sends notes a write of a holder before it leaves, wrote one that has taken effect.
func (l *Loop) sends(a election.Action) {
	switch a := a.(type) {
	case election.PutFailsafe:
		l.failsafe.lists.send(a.Members)
		l.failsafe.next = nil
		l.failsafe.sent++
	case election.PutDurability:
		l.failsafe.records.send(&a.Record)
	}
	l.deriveFailsafe()
}

func (l *Loop) wrote(a election.Action) {
	switch a.(type) {
	case election.PutFailsafe:
		l.failsafe.lists.done = true
	case election.PutDurability:
		l.failsafe.records.done = true
	}
}

// deriveFailsafe settles what the store shows.
func (l *Loop) deriveFailsafe() {
	f, o := &l.failsafe, &l.obs
	if o.View.Good() {
		f.lists.shown(o.View.Value.Failsafe, maps.Equal)
		f.records.shown(o.View.Value.Durability, sameRules)
	}
	o.Failsafe.Lists, o.Failsafe.RecordUnclear = f.lists.open(), len(f.records.open()) > 0
}

func sameRules(a, b *cluster.Durability) bool {
	var one, two []cluster.Rule
	if a != nil {
		one = a.Rules
	}
	if b != nil {
		two = b.Rules
		if b.Unreadable {
			return false
		}
	}
	return slices.EqualFunc(one, two, cluster.Rule.Equal)
}

// onFailsafe begins a round.
func (l *Loop) onFailsafe(a election.AskFailsafe) []Effect {
	if l.busy[LaneFailsafe] {
		return nil
	}
	o := &l.obs
	l.busy[LaneFailsafe], o.Failsafe.Busy, o.Failsafe.Tried = true, true, o.Now
	return []Effect{{Lane: LaneFailsafe, Limit: o.Settings.Attempt(), Do: OnFailsafe{Ask: a, Term: o.Lease.Term,
		TTL: o.Settings.TTL, Margin: o.Settings.Margin(o.Guard.LastKill)}}}
}

// foldFailsafe ends a round. One that was enough counts like a renewal from before its
// first question left.
func (l *Loop) foldFailsafe(e FailsafeDone) {
	o := &l.obs
	l.busy[LaneFailsafe], o.Failsafe.Busy = false, false
	switch {
	case e.Term != o.Lease.Term: // guard: promises_of_this_term — SAFETY 3, Failsafe
		return
	case e.Err != "":
		if e.Err != l.failsafe.told {
			l.log.Warn("failsafe not agreed", "member", l.id.Name, "error", e.Err)
		}
		l.failsafe.told = e.Err
		return
	case e.At <= o.Lease.Since():
		return
	}
	if !election.FailsafeActive(o) {
		l.log.Warn("failsafe entered: the members agree, and etcd cannot be written", "member", l.id.Name, "term", int64(e.Term), "accepted", e.Accepted)
	}
	l.failsafe.told = ""
	o.Lease.Agreed, o.Lease.AgreedUntil = e.At, e.Until
	o.Guard.Deadline = max(o.Guard.Deadline, e.Until)
}

// pledging is a question whose answer waits for the disk.
type pledging struct {
	id     uint64
	answer cluster.FailsafeAnswer
	pledge cluster.Pledge
}

// mostPledging bounds the questions that wait for a disk that hangs.
const mostPledging = 16

// foldAsked answers a holder without store. The promise holds from now on; it is told
// once it is on disk.
func (l *Loop) foldAsked(e FailsafeAsked) []Effect {
	o := &l.obs
	a := election.AcceptFailsafe(o, e.Ask)
	if a.Verdict == cluster.FailsafeAccepted && l.seen.Promised >= e.Ask.Term && e.Ask.Term != 0 { // being written
		a = cluster.FailsafeAnswer{Verdict: cluster.FailsafeConflict, Why: "this member is about to promise to take no WAL of that term"}
	}
	if a.Verdict == cluster.FailsafeAccepted && len(l.pledging) >= mostPledging {
		a = cluster.FailsafeAnswer{Verdict: cluster.FailsafeUnkept, Why: "earlier promises are still being written to disk"}
	}
	if a.Verdict != cluster.FailsafeAccepted {
		l.log.Info("failsafe refused", "member", l.id.Name, "from", e.Ask.Name, "error", a.Why)
		return []Effect{{Lane: LanePledge, Do: AnswerFailsafe{e.ID, a}}}
	}
	if o.Now >= o.Self.Pledged {
		l.log.Info("failsafe accepted", "member", l.id.Name, "from", e.Ask.Name, "term", int64(e.Ask.Term))
	}
	o.Self.Pledged, o.Self.PledgedTo, o.Self.PledgedTerm = election.PledgeUntil(o, e.Ask), e.Ask.Name, e.Ask.Term
	l.seen.Pledge = cluster.Pledge{To: e.Ask.Name, Term: e.Ask.Term, Until: o.Self.Pledged, BootID: l.id.BootID, TTL: o.Self.Pledged.Sub(o.Now)}
	l.pledging = append(l.pledging, pledging{e.ID, a, l.seen.Pledge})
	return l.persist()
}

// foldPledged answers whose promise is on disk now. One that could not be written holds
// all the same, and is not told.
func (l *Loop) foldPledged(e persisted) []Effect {
	var effects []Effect
	rest := l.pledging[:0]
	for _, p := range l.pledging {
		switch kept := e.Memory.Pledge; {
		case e.Err != "":
			p.answer = cluster.FailsafeAnswer{Verdict: cluster.FailsafeUnkept, Why: "the promise could not be kept on disk: " + e.Err}
		case l.seen.Pledge.Until < p.pledge.Until:
			p.answer = cluster.FailsafeAnswer{Verdict: cluster.FailsafeConflict, Why: "this member leads by now"}
		case kept.Until < p.pledge.Until: // guard: pledge_is_durable — SAFETY 3, Failsafe
			rest = append(rest, p)
			continue
		}
		effects = append(effects, Effect{Lane: LanePledge, Do: AnswerFailsafe{p.id, p.answer}})
	}
	l.pledging = rest
	return effects
}

// unpledge: this member leads now, so nobody holds whom it has promised anything.
func (l *Loop) unpledge() []Effect {
	if l.seen.Pledge == (cluster.Pledge{}) {
		return nil
	}
	l.obs.Self.Pledged, l.obs.Self.PledgedTo, l.obs.Self.PledgedTerm, l.seen.Pledge = 0, "", 0, cluster.Pledge{}
	return l.persist()
}
