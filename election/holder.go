package election

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// holding: this process holds the term. What is missing to a running primary
// under it?
func holding(o *Observation) Decision {
	switch o.Node.Value.Mode {
	case cluster.ModePrimary:
		return leading(o)
	case cluster.ModeStandby:
		return promoting(o)
	case cluster.ModeStopped:
		return holderStopped(o)
	}
	d := wait(ReasonHolderWaits, "the server is "+o.Node.Value.Mode.String())
	d.lookAgain(o)
	return d
}

// promoting: a standby under the term. It gets a timeline number of its own
// first (S8), so that two promotions that never see each other differ.
func promoting(o *Observation) Decision {
	if o.Job.Last == JobPromote && o.Job.Failures >= maxPromoteFailures && othersCouldLead(o) {
		d := do(ReasonPromotionFails, StopServer{Mode: StopFast})
		d.Detail = o.Job.LastErr
		return d
	}
	timeline, others := reservedNumber(o)
	taken := o.Job.Last == JobPromote && timeline <= o.Job.Taken // by its history file, which PostgreSQL would go past
	heard := timeline <= o.Heard                                 // of a Patroni member, since it was reserved
	// No number yet, or one that predates WAL this node has seen.
	if timeline <= o.Node.Value.Timeline || taken || heard { // guard: timeline_reserved — SAFETY 5
		return do(ReasonReserving, Reserve{Above: highestTimeline(o)})
	}
	names, first := ruleBeforePromotion(o)
	if first != nil {
		return do(ReasonRecordingRule, first)
	}
	d := job(o, ReasonPromoting, Promote{Timeline: timeline, Or: others, Names: names})
	d.FastLook = true
	if slots, ok := slotsToMend(o); ok && len(d.Actions) > 0 {
		d.Actions = append(d.Actions, slots)
	}
	return d
}

// reservedNumber is the greatest number reserved in this tenure, and the others; zero when
// there is none.
func reservedNumber(o *Observation) (number cluster.Timeline, others []cluster.Timeline) {
	for _, n := range tenureNumbers(o) {
		if number != 0 {
			others = append(others, min(n, number))
		}
		number = max(number, n)
	}
	return number, others
}

// tenureNumbers are the numbers reserved under the term held, and under those that this
// holder had before it without a gap: a new worker, or a lease of another length, goes on
// under a new term, with the server and the timeline that are there.
func tenureNumbers(o *Observation) (numbers []cluster.Timeline) {
	for _, r := range reservations(o) {
		if inTenure(o, r.Term) {
			numbers = append(numbers, r.Timeline)
		}
	}
	return numbers
}

func reservations(o *Observation) []cluster.Reservation {
	if t := o.View.Value.Timelines; t != nil {
		return t.Reserved
	}
	return nil
}

// inTenure reports whether a term is the one held, or one that it goes on from.
func inTenure(o *Observation, term cluster.Term) bool {
	first := o.Lease.Term
	if o.Lease.Began != 0 {
		first = min(first, o.Lease.Began)
	}
	return term != 0 && term >= first && term <= o.Lease.Term
}

// foreignTimeline: numbers were reserved in this tenure for a promotion, and the server is
// on none of them: it came out of recovery in another way, such as by the recovery from a
// crash in the middle of its promotion, when standby.signal was gone already. The number it
// writes on is another term's (S8).
//
// It must not be said of a primary that is in order, so here is why it is not. A number is
// reserved only for a server that is in recovery under the term (promoting) or about to be
// promoted by a hand-over (Accept). So a tenure that began with a running primary, by a
// bootstrap, an adoption, a reclaimed key or under Patroni, has reserved none. One that was
// promoted is on a number of the tenure, be it an earlier one, when a promotion that was
// given up went on: each that was reserved counts. Its restarts stay there: pg_control has
// the number from the end-of-recovery record on. A new worker goes on with what was
// reserved before it, since the record of the holder says with which term the tenure began;
// where that is not known (a key put again after a lost answer), it has reserved none.
func foreignTimeline(o *Observation) bool {
	reserved, own := false, o.Node.Value.Timeline
	for _, r := range reservations(o) {
		if inTenure(o, r.Term) {
			if r.Timeline == own {
				return false
			}
			reserved = true
		}
	}
	return reserved && own != 0
}

// neverPromoted: this stopped server has never come out of recovery since it was a standby,
// although standby.signal is gone: it died in its promotion. PostgreSQL removes the file,
// durably, before the end-of-recovery record and pg_control say so, and acknowledges nothing
// before all of that is done. Started as it is, it would recover as a primary of the
// timeline it was to leave.
func neverPromoted(node *cluster.NodeState) bool {
	s := node.Control.State
	return s == cluster.ControlInArchiveRecovery || s == cluster.ControlShutdownInRecovery
}

// highestTimeline is the greatest number this node has heard of in any way:
// reserved, published, in its own WAL, or in the history.
func highestTimeline(o *Observation) cluster.Timeline {
	v := &o.View.Value
	highest := slices.Max([]cluster.Timeline{
		o.Node.Value.Timeline, v.Timelines.Highest(),
		o.Heard, // guard: heard_of_timelines — S8: a Patroni member reserves none, and its key tells of its timeline only while its server runs
	})
	if v.Status != nil {
		highest = max(highest, v.Status.Timeline)
	}
	for _, line := range v.History {
		highest = max(highest, line.Timeline+1)
	}
	for _, m := range v.Members { // in any order
		highest = max(highest, m.Timeline)
	}
	return highest
}

// holderStopped: the lease is ours and the server is down: on purpose (a
// switchover, a stop), or it crashed.
func holderStopped(o *Observation) Decision {
	node := &o.Node.Value
	if sw := o.View.Value.Switchover; sw != nil && sw.From == o.Self.Name && sw.Phase == cluster.SwitchoverStopping {
		return handOverStopped(o, *sw)
	}
	release := do(ReasonReleasing, releaseOf(node))
	switch {
	case o.Guard.Running || !o.Node.Good(): // guard: release_after_stop — SAFETY 2, Release
		return wait(ReasonHolderWaits, "the guard still has the server")
	case o.Wish.Stop:
		return release
	case node.Data == cluster.DataUnknown: // guard: unknown_data_is_not_lost — S5
		d := wait(ReasonHolderWaits, "the data directory could not be looked into")
		d.lookAgain(o)
		return d
	case node.Data != cluster.DataValid:
		release.Reason = ReasonHolderNoData
		release.Detail = "the data directory is " + node.Data.String()
		return release
	case o.Job.Failures >= maxPromoteFailures && othersCouldLead(o):
		release.Detail = "the server does not start: " + o.Job.LastErr
		return release
	case othersCouldLead(o) && recoversTooLong(o) != "":
		release.Detail = recoversTooLong(o)
		return release
	case node.Control.StandbySignal && o.Job.Last == JobStop && o.Job.LastErr == "" && othersCouldLead(o):
		// Stopped by us before it was ever promoted: the promotion failed.
		release.Detail = "the promotion failed repeatedly"
		return release
	case node.Control.StandbySignal:
		return job(o, ReasonStartToPromote, StartServer{})
	case neverPromoted(node): // guard: died_in_promotion — S8
		return job(o, ReasonStartToPromote, StartServer{})
	case foreignTimeline(o) && othersCouldLead(o):
		return giveUpForeign(o)
	case foreignTimeline(o): // guard: foreign_timeline_restarts — S8: alone, it goes on with what it has, on a number of its own
		return job(o, ReasonStartToPromote, StartServer{})
	}
	if needsDeadline(o) { // it would refuse to start a server that may write
		return wait(ReasonHolderWaits, "the guard was replaced and gets its deadline with the next renewal")
	}
	// Still the same tenure: nobody else can have led in between, so the old
	// primary may recover and write on, on its own timeline (trap 8).
	return job(o, ReasonRestartCrashed, StartServer{Writable: true})
}

// releaseOf says where the stopped server's log ends, as far as that is known.
func releaseOf(node *cluster.NodeState) Release {
	if end := node.Control.CheckpointEnd; node.Mode == cluster.ModeStopped && node.Control.State == cluster.ControlShutdown && end.Known() {
		return Release{Position: cluster.Position{Timeline: node.Timeline, LSN: end}, Clean: true}
	}
	return Release{Position: node.Position()}
}

// othersCouldLead: some other member runs a healthy server and may be promoted.
func othersCouldLead(o *Observation) bool {
	for name, m := range o.View.Value.Members { // in any order
		if name != o.Self.Name && m.State == cluster.StateRunning && !m.Tags.NoFailover() && !m.NoWatchdog() && m.Sick() == "" {
			return true
		}
	}
	return false
}

// leading: a running primary under the term, and its duties.
func leading(o *Observation) Decision {
	if foreignTimeline(o) { // guard: leads_on_reserved — S8
		return giveUpForeign(o)
	}
	if d, ok := byPromises(o); ok {
		return d
	}
	if d, ok := switching(o); ok {
		return d
	}
	if against := promisedAgainst(o); len(against) > 0 && o.Lease.Busy == "" && o.Now >= o.Lease.Tried.Add(retryPause) {
		d := do(ReasonNewTerm, Settle{}) // puts the key again: its term is one that nobody has revoked
		d.Detail = strings.Join(against, ", ") + " will take no WAL of this term"
		return d
	}
	d := do(ReasonLeading, duties(o)...)
	d.Detail = "term " + strconv.FormatInt(int64(o.Lease.Term), 10) + ", timeline " + strconv.FormatUint(uint64(o.Node.Value.Timeline), 10)
	return d
}

// giveUpForeign has the server stopped and the lease released: whoever takes it has nothing
// of what was written here. Nobody else being there, the server is started as a standby
// again, and promoted onto a number of its own.
func giveUpForeign(o *Observation) Decision {
	d := do(ReasonForeignTimeline, Condemn{Ailment: cluster.AilmentTimeline})
	if o.Guard.Running && o.Job.Kind == JobNone {
		d.Actions = append(d.Actions, stopSick(o, cluster.AilmentTimeline))
	}
	d.Detail = fmt.Sprintf("it writes on timeline %d, and for its promotion %v was reserved", o.Node.Value.Timeline, tenureNumbers(o))
	d.wakeAt(o.Now.Add(time.Millisecond))
	return d
}

// duties are what a primary keeps in order besides serving, each only when
// something differs.
func duties(o *Observation) []Action {
	v, node := &o.View.Value, &o.Node.Value
	var actions []Action
	if slots, ok := slotsToMend(o); ok {
		actions = append(actions, slots)
	}
	if rule, ok := keepRule(o); ok && !o.Settings.Pause && !recordStands(o) {
		actions = append(actions, rule)
	}
	if !o.Self.Checkpointed && !o.Settings.Pause {
		actions = append(actions, Checkpoint{})
	}
	// A worker after this one continues on the lease only if the record names the
	// server it finds; a restart within the tenure changed it.
	if h := v.Holder; h != nil && v.Leader != nil && v.Leader.Term == o.Lease.Term && h.Node == o.Self.Node &&
		o.Guard.Running && h.Instance != o.Guard.Instance {
		actions = append(actions, PutHolder{})
	}
	// Whoever leads after a pause takes its mark back: its own once its deadline is
	// enforced again; another's because it leads by that one's hand-over or by the
	// operator's word that it is dead.
	if v.PausedAt != nil && !o.Settings.Pause && !o.Guard.Paused && !o.Guard.MayPause { // guard: mark_until_enforced — SAFETY 2, Pause
		actions = append(actions, PutPausedPrimary{Revision: v.PausedAt.ModRevision})
	}
	if history, ok := newHistory(o); ok {
		actions = append(actions, PutHistory{History: history})
	}
	if list, ok := failsafeList(o); ok &&
		!recordStands(o) { // guard: list_stands_in_failsafe — SAFETY 3, Failsafe: whom it adds has promised nothing
		actions = append(actions, list)
	}
	if publishes(o) {
		parent := beganOn(o)
		actions = append(actions, PutStatus{Positions: cluster.Positions{Optime: node.WriteLSN, Timeline: node.Timeline, Parent: parent.Timeline, Switch: parent.Switch,
			Slots: slotPositions(node), Retain: o.RetainedSlots, Replayed: replayed(o)}})
	}
	if sw := v.Switchover; sw != nil && sw.From != o.Self.Name {
		actions = append(actions, DeleteSwitchover{})
	}
	// The operator's result is the successor's to give: only now has it happened.
	if h := v.Handover; h != nil && (h.ModRevision == int64(o.Lease.Term) || h.ModRevision == o.Self.HandedOver) && h.ID != "" && h.ID != o.Self.Answered {
		actions = append(actions, PutResult{cluster.Result{ID: h.ID, Member: o.Self.Name, Done: true, NewLeader: o.Self.Name,
			Message: fmt.Sprintf("Successfully switched over to %q", o.Self.Name)}})
	}
	if v.Config == nil { // last: what may be refused for ever must not hold up the rest
		actions = append(actions, PutConfig{})
	}
	return actions
}

// publishes: the position in the store is not this server's, and old.
func publishes(o *Observation) bool {
	if !o.Published.Never() && o.Now < o.Published.Add(o.Settings.LoopWait) {
		return false
	}
	there, node := o.View.Value.Status, &o.Node.Value
	return there == nil || there.Optime != node.WriteLSN || there.Timeline != node.Timeline || there.Parent != beganOn(o).Timeline ||
		!slices.Equal(there.Retain, o.RetainedSlots)
}

// beganOn is where the server's timeline left another; nothing on the first one, and what
// the store says already while the file was not read.
func beganOn(o *Observation) cluster.HistoryLine {
	h, there := o.Node.Value.TimelineHistory, o.View.Value.Status
	switch {
	case len(h) > 0:
		return h[len(h)-1]
	case there != nil && there.Timeline == o.Node.Value.Timeline:
		return cluster.HistoryLine{Timeline: there.Parent, Switch: there.Switch}
	}
	return cluster.HistoryLine{}
}

func slotPositions(node *cluster.NodeState) map[string]cluster.LSN {
	positions := map[string]cluster.LSN{}
	for _, s := range node.Slots {
		if s.Type == "physical" && s.Restart.Known() {
			positions[s.Name] = s.Restart
		}
	}
	if len(positions) == 0 {
		return nil
	}
	return positions
}

// replayed is how far the members that stream from here have replayed.
func replayed(o *Observation) map[string]cluster.LSN {
	var positions map[string]cluster.LSN
	for i := range o.Node.Value.Walsenders {
		w := &o.Node.Value.Walsenders[i]
		if m, known := memberNamed(&o.View.Value, w.Name); known && w.Replay.Known() {
			if positions == nil {
				positions = map[string]cluster.LSN{}
			}
			positions[m.Name] = w.Replay
		}
	}
	return positions
}

// newHistory is what the key history must say when it does not: the switches of
// this server's own history file, which is the truth about its ancestors. Time and
// leader are kept from the published line of the same switch.
func newHistory(o *Observation) (cluster.History, bool) {
	own, published := o.Node.Value.TimelineHistory, o.View.Value.History
	if len(own) == 0 { // on timeline 1, or the file was not read
		return nil, false
	}
	keep := o.Settings.MaxTimelinesHistory
	whole := keep <= 0 || len(own) <= keep
	if whole && slices.EqualFunc(own, published, sameSwitch) && slices.IsSortedFunc(own, byTimeline) { // as nearly always
		return nil, false
	}
	history := slices.Clone(own)
	slices.SortFunc(history, byTimeline)
	for i, line := range history {
		known := slices.IndexFunc(published, func(p cluster.HistoryLine) bool { return sameSwitch(p, line) })
		switch {
		case known >= 0:
			history[i] = published[known]
		case i == len(history)-1:
			history[i].NewLeader = o.Self.Name
		}
	}
	if !whole {
		history = history[len(history)-keep:]
	}
	return history, !slices.EqualFunc(history, published, sameSwitch)
}

func byTimeline(a, b cluster.HistoryLine) int { return cmp.Compare(a.Timeline, b.Timeline) }

func sameSwitch(a, b cluster.HistoryLine) bool {
	return a.Timeline == b.Timeline && a.Switch == b.Switch
}
