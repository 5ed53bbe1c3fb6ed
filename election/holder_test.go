package election

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// tenure has a holder go on under a newer term than the one it began with.
func tenure(began cluster.Term) change {
	return func(o *Observation) {
		o.Lease.Term, o.Lease.Began = began+5, began
		edit(o, func(v *cluster.View) {
			v.Leader = &cluster.Leader{Name: v.Leader.Name, LeaseID: v.Leader.LeaseID, Term: began + 5}
			v.Holder = &cluster.Holder{Name: v.Holder.Name, Node: v.Holder.Node, Instance: v.Holder.Instance, BootID: v.Holder.BootID, Since: began}
		})
	}
}

func holderRules() []rule {
	alone := view(func(v *cluster.View) { delete(v.Members, "b"); delete(v.Members, "c") })
	crashed := node(func(n *cluster.NodeState) { n.Control.State = cluster.ControlInProduction })
	signal := node(func(n *cluster.NodeState) { n.Control.StandbySignal = true })
	mode := func(m cluster.Mode) change { return node(func(n *cluster.NodeState) { n.Mode = m }) }
	slotsOfOthers := EnsureSlots{Want: []string{"b", "c"}}
	stopped := cluster.Position{Timeline: 3, LSN: lsn}
	return []rule{
		// promoting
		{name: "a standby under the term reserves a timeline before it promotes",
			given:  standby(lsn, leased, view(func(v *cluster.View) { v.Timelines = nil })),
			reason: ReasonReserving, do: acts(Reserve{Above: 3})},
		{name: "the number reserved is above all that any member or the history knows",
			given: standby(lsn, leased, view(func(v *cluster.View) {
				v.Timelines = nil
				v.History = append(history(), cluster.HistoryLine{Timeline: 6, Switch: 0x4500000})
			})), reason: ReasonReserving, do: acts(Reserve{Above: 7})},
		{name: "and above what a member once told that is gone",
			given:  standby(lsn, leased, func(o *Observation) { o.Heard = 5 }, view(func(v *cluster.View) { v.Timelines = nil })),
			reason: ReasonReserving, do: acts(Reserve{Above: 5})},
		{name: "one that was told of since it was reserved is not used",
			given: standby(lsn, leased, reservedAt(4), func(o *Observation) { o.Heard = 4 }), reason: ReasonReserving, do: acts(Reserve{Above: 4})},
		{name: "a standby under the term is promoted onto the number reserved for it",
			given: standby(lsn, leased, reservedAt(4)), reason: ReasonPromoting, do: acts(Promote{Timeline: 4}, slotsOfOthers),
			also: func(t *testing.T, d Decision) {
				if !d.FastLook {
					t.Error("somebody waits for the new primary: it must be looked at fast")
				}
			}},
		{name: "a promotion makes no slot that is there",
			given: standby(lsn, leased, reservedAt(4), node(func(n *cluster.NodeState) {
				n.Slots = []cluster.Slot{{Name: "b", Type: "physical"}, {Name: "c", Type: "physical", Active: true}}
			})), reason: ReasonPromoting, do: acts(Promote{Timeline: 4})},
		{name: "a promotion that waits makes none: it may be somebody else's",
			given: standby(lsn, leased, view(func(v *cluster.View) { v.Timelines = nil })), reason: ReasonReserving, do: acts(Reserve{Above: 3})},
		{name: "a number that the node's own WAL has passed is replaced by a new one",
			given: standby(lsn, leased, reservedAt(3)), reason: ReasonReserving, do: acts(Reserve{Above: 3})},
		{name: "and the new one is used, not the first that the term reserved",
			given: standby(lsn, leased, view(func(v *cluster.View) {
				v.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 3, Term: term}, {Timeline: 4, Term: term}}}
			})), reason: ReasonPromoting, do: acts(Promote{Timeline: 4, Or: []cluster.Timeline{3}}, slotsOfOthers)},
		{name: "a promotion that failed is tried again after a pause",
			given:  standby(lsn, leased, reservedAt(4), failed(JobPromote, 1, 100*time.Millisecond)),
			reason: ReasonBackingOff, also: wakes(now.Add(150 * time.Millisecond))},
		{name: "failures of other work do not hold a promotion up",
			given: standby(lsn, leased, reservedAt(4), failed(JobRejoin, 5, 0)), reason: ReasonPromoting, do: acts(Promote{Timeline: 4}, slotsOfOthers)},
		{name: "a promotion that fails three times is given up when somebody else could lead",
			given: standby(lsn, leased, reservedAt(4), failed(JobPromote, 3, time.Minute)), reason: ReasonPromotionFails, do: acts(StopServer{Mode: StopFast})},
		{name: "the stop after failed promotions ends in a release, not in another try",
			given:  cold("a", leased, signal, ended(JobStop, 0)),
			reason: ReasonReleasing, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn + 0x70}, Clean: true})},
		{name: "a promotion is tried on when nobody else could lead",
			given: standby(lsn, leased, reservedAt(4), alone, failed(JobPromote, 3, time.Minute)), reason: ReasonPromoting, do: acts(Promote{Timeline: 4})},

		{name: "a number whose history file is there already is replaced by a new one at once",
			given:  standby(lsn, leased, reservedAt(4), failed(JobPromote, 1, 0), func(o *Observation) { o.Job.Taken = 4 }),
			reason: ReasonReserving, do: acts(Reserve{Above: 4})},
		{name: "and the promotion goes onto that, or the first where it was under way there",
			given: standby(lsn, leased, failed(JobPromote, 1, time.Minute), func(o *Observation) { o.Job.Taken = 4 }, view(func(v *cluster.View) {
				v.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 4, Term: term}, {Timeline: 5, Term: term}}}
			})), reason: ReasonPromoting, do: acts(Promote{Timeline: 5, Or: []cluster.Timeline{4}}, slotsOfOthers)},
		{name: "a new worker promotes onto the number that the one before it reserved",
			given:  standby(lsn, leased, reservedAt(4), tenure(term)),
			reason: ReasonPromoting, do: acts(Promote{Timeline: 4}, slotsOfOthers)},

		// holderStopped
		{name: "a server that died in its promotion, standby.signal being gone, is started as a standby and promoted again",
			given:  cold("a", leased, reservedAt(4), node(func(n *cluster.NodeState) { n.Control.State = cluster.ControlInArchiveRecovery })),
			reason: ReasonStartToPromote, do: acts(StartServer{})},
		{name: "so is one that was stopped in an orderly way in its promotion",
			given:  cold("a", leased, reservedAt(4), node(func(n *cluster.NodeState) { n.Control.State = cluster.ControlShutdownInRecovery })),
			reason: ReasonStartToPromote, do: acts(StartServer{})},
		{name: "and one of a tenure that has reserved nothing, as a worker may see that comes after",
			given:  cold("a", leased, node(func(n *cluster.NodeState) { n.Control.State = cluster.ControlInArchiveRecovery })),
			reason: ReasonStartToPromote, do: acts(StartServer{})},
		{name: "a server that came out of recovery on another number than was reserved for it is not started to write",
			given: cold("a", leased, crashed, alone, reservedAt(4)), reason: ReasonStartToPromote, do: acts(StartServer{})},
		{name: "and given up where another member could lead",
			given: cold("a", leased, crashed, reservedAt(4)), reason: ReasonForeignTimeline, do: acts(Condemn{Ailment: cluster.AilmentTimeline})},
		{name: "a promoted server that crashed is on its number by pg_control, and is started again",
			given: cold("a", leased, crashed, reservedAt(4), node(func(n *cluster.NodeState) { n.Timeline = 4 })), reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
		{name: "a crashed primary is started again under the same term",
			given: cold("a", leased, crashed), reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
		{name: "under a guard that was replaced it is started once that has a deadline, which a renewal brings at once",
			given:  cold("a", leased, crashed, func(o *Observation) { o.Guard.Deadline = 0 }),
			reason: ReasonHolderWaits, do: acts(Renew{})},
		{name: "a crashed primary goes to another member at once when primary_start_timeout is 0",
			given:  cold("a", leased, crashed, func(o *Observation) { o.Settings.PrimaryStartTimeout = 0 }),
			reason: ReasonReleasing, do: acts(Release{Position: stopped})},
		{name: "it is started here all the same when nobody else could lead",
			given:  cold("a", leased, crashed, alone, func(o *Observation) { o.Settings.PrimaryStartTimeout = 0 }),
			reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
		{name: "a stopped standby under the term is started as one, to be promoted",
			given: cold("a", leased, signal), reason: ReasonStartToPromote, do: acts(StartServer{})},
		{name: "nothing is given back while the guard has the server",
			given: cold("a", leased, stop, func(o *Observation) { o.Guard.Running = true }), reason: ReasonHolderWaits},
		{name: "a holder without data gives its lease back",
			given: cold("a", leased, node(func(n *cluster.NodeState) {
				*n = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}
			})), reason: ReasonHolderNoData, do: acts(Release{})},
		{name: "a holder that could not look into its directory concludes nothing",
			given: cold("a", leased, node(func(n *cluster.NodeState) { n.Data = cluster.DataUnknown })), reason: ReasonHolderWaits},
		{name: "a server that does not start is tried again while nobody else could lead",
			given: cold("a", leased, alone, failed(JobStart, 5, time.Minute)), reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
		{name: "a server that does not start costs the lease when somebody else could lead",
			given: cold("a", leased, failed(JobStart, 3, time.Minute)), reason: ReasonReleasing, do: acts(Release{Position: cluster.Position{Timeline: 3, LSN: lsn + 0x70}, Clean: true})},
		{name: "nofailover members are nobody to leave the lease to",
			given: cold("a", leased, failed(JobStart, 3, time.Minute),
				who("b", func(m *cluster.Member) { m.Tags = cluster.Tags{"nofailover": true} }),
				who("c", func(m *cluster.Member) { m.State = cluster.StateStopped })),
			reason: ReasonRestartCrashed, do: acts(StartServer{Writable: true})},
		{name: "a holder waits for its server to come up",
			given: primary(mode(cluster.ModeStarting)), reason: ReasonHolderWaits, also: looks},

		// leading, on the timeline of this tenure
		{name: "a primary on another timeline than was reserved for it is stopped, and its lease given up",
			given: primary(reservedAt(4)), reason: ReasonForeignTimeline, do: acts(Condemn{Ailment: cluster.AilmentTimeline}, StopServer{Mode: StopImmediate, Patience: sickGrace})},
		{name: "for a new worker of the same tenure too",
			given: primary(reservedAt(4), tenure(term)), reason: ReasonForeignTimeline, do: acts(Condemn{Ailment: cluster.AilmentTimeline}, StopServer{Mode: StopImmediate, Patience: sickGrace})},
		{name: "a primary on the number that was reserved leads", given: primary(), reason: ReasonLeading},
		{name: "also one on an earlier number of its term: the promotion onto it had been given up, and went on",
			given: primary(view(func(v *cluster.View) {
				v.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 3, Term: term}, {Timeline: 4, Term: term}}}
			})), reason: ReasonLeading},
		{name: "also under a new worker, or a lease of another length, which have reserved nothing",
			given: primary(tenure(term)), reason: ReasonLeading},
		{name: "also when a new worker had reserved another number before the promotion of the one before it came to its end",
			given: primary(tenure(term), view(func(v *cluster.View) {
				v.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 3, Term: term}, {Timeline: 4, Term: term + 5}}}
			})), reason: ReasonLeading},
		{name: "a bootstrapped primary leads: nothing was ever reserved",
			given: primary(view(func(v *cluster.View) { v.Timelines = nil })), reason: ReasonLeading},
		{name: "an adopted primary, Patroni's, or one whose key was reclaimed leads: others reserved what there is, under their terms",
			given: primary(view(func(v *cluster.View) {
				v.Timelines = &cluster.Timelines{Reserved: []cluster.Reservation{{Timeline: 2, Term: 40}, {Timeline: 7, Term: 50}}}
			})), reason: ReasonLeading},
		{name: "a successor leads on the number that it reserved when it accepted",
			given: primary(view(func(v *cluster.View) {
				v.Handover = &cluster.Handover{From: "b", To: "a", ModRevision: int64(term)}
			})), reason: ReasonLeading},
		{name: "a primary whose timeline could not be read is not taken for one on another",
			given: primary(reservedAt(4), node(func(n *cluster.NodeState) { n.Timeline = 0 }), func(o *Observation) { o.Published = o.Now }), reason: ReasonLeading},

		// duties
		{name: "a primary makes the slots that members miss",
			given:  primary(node(func(n *cluster.NodeState) { n.Slots = n.Slots[:1] })),
			reason: ReasonLeading, do: acts(EnsureSlots{Want: []string{"c"}})},
		{name: "a member that streams from a standby gets no slot here",
			given: primary(node(func(n *cluster.NodeState) { n.Slots = n.Slots[:1] }),
				who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"replicatefrom": "b"} })), reason: ReasonLeading},
		{name: "and the one it had is dropped",
			given:  primary(who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"replicatefrom": "b"} })),
			reason: ReasonLeading, do: acts(EnsureSlots{Drop: []string{"c"}})},
		{name: "a Patroni member that streams from nobody gets no slot",
			given: primary(node(func(n *cluster.NodeState) { n.Slots = n.Slots[:1] }),
				who("c", func(m *cluster.Member) { m.Tags, m.Keeper = cluster.Tags{"nostream": true}, nil })), reason: ReasonLeading},
		{name: "an agent's does, and gets one whatever its tag says",
			given: primary(node(func(n *cluster.NodeState) { n.Slots = n.Slots[:1] }),
				who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"nostream": true} })), reason: ReasonLeading, do: acts(EnsureSlots{Want: []string{"c"}})},
		{name: "where slots are not used none is made",
			given:  primary(node(func(n *cluster.NodeState) { n.Slots = nil }), func(o *Observation) { o.Settings.PostgreSQL.UseSlots = false }),
			reason: ReasonLeading},
		{name: "a new primary runs its checkpoint",
			given: primary(func(o *Observation) { o.Self.Checkpointed = false }), reason: ReasonLeading, do: acts(Checkpoint{})},
		{name: "a primary publishes how far it has written, with its slots",
			given: primary(node(func(n *cluster.NodeState) { n.WriteLSN += 8; n.Slots[0].Restart = lsn })), reason: ReasonLeading,
			do: acts(PutStatus{Positions: cluster.Positions{Optime: lsn + 8, Timeline: 3, Parent: 2, Switch: 0x4000000, Slots: map[string]cluster.LSN{"b": lsn}}})},
		{name: "and how far its members have replayed, by their names",
			given: primary(node(func(n *cluster.NodeState) {
				n.WriteLSN += 8
				n.Walsenders[0].Replay = lsn + 4
				n.Walsenders = append(n.Walsenders, cluster.Walsender{Name: "pgkeeper_clone_c", State: "streaming", Replay: lsn})
			})), reason: ReasonLeading,
			do: acts(PutStatus{Positions: cluster.Positions{Optime: lsn + 8, Timeline: 3, Parent: 2, Switch: 0x4000000, Replayed: map[string]cluster.LSN{"b": lsn + 4}}})},
		{name: "what its timeline began on is told once it was read",
			given: primary(view(func(v *cluster.View) { v.Status = &cluster.Positions{Optime: lsn, Timeline: 3} })), reason: ReasonLeading,
			do: acts(PutStatus{Positions: cluster.Positions{Optime: lsn, Timeline: 3, Parent: 2, Switch: 0x4000000}})},
		{name: "and not untold while it cannot be read",
			given: primary(node(func(n *cluster.NodeState) { n.TimelineHistory = nil })), reason: ReasonLeading},
		{name: "one that was published within loop_wait is left to age",
			given: primary(node(func(n *cluster.NodeState) { n.WriteLSN += 8 }), func(o *Observation) { o.Published = o.Now.Add(time.Millisecond - o.Settings.LoopWait) }), reason: ReasonLeading},
		{name: "a missing configuration is restored, last of all",
			given:  primary(view(func(v *cluster.View) { v.Config, v.Status = nil, nil })),
			reason: ReasonLeading, do: acts(PutStatus{Positions: cluster.Positions{Optime: lsn, Timeline: 3, Parent: 2, Switch: 0x4000000}}, PutConfig{})},
		{name: "the record of somebody else's switchover is cleared",
			given: primary(switchover("b", "a", cluster.SwitchoverStopping)), reason: ReasonLeading, do: acts(DeleteSwitchover{})},
		{name: "the successor gives the operator his result",
			given: primary(view(func(v *cluster.View) {
				v.Handover = &cluster.Handover{From: "b", To: "a", ID: "op", ModRevision: int64(term)}
			})), reason: ReasonLeading, do: acts(PutResult{cluster.Result{ID: "op", Member: "a", Done: true, NewLeader: "a",
				Message: `Successfully switched over to "a"`}})},
		{name: "a successor that goes on under a new term answers too",
			given: primary(view(func(v *cluster.View) {
				v.Handover = &cluster.Handover{From: "b", To: "a", ID: "op", ModRevision: int64(term) - 3}
			}), func(o *Observation) { o.Self.HandedOver = int64(term) - 3 }), reason: ReasonLeading,
			do: acts(PutResult{cluster.Result{ID: "op", Member: "a", Done: true, NewLeader: "a",
				Message: `Successfully switched over to "a"`}})},
		{name: "the result is given once",
			given: primary(view(func(v *cluster.View) {
				v.Handover = &cluster.Handover{From: "b", To: "a", ID: "op", ModRevision: int64(term)}
			}), func(o *Observation) { o.Self.Answered = "op" }), reason: ReasonLeading},
	}
}

func TestHolder(t *testing.T) { check(t, holderRules()) }

// TestHistory: the key history says what the primary's own history file says.
func TestHistory(t *testing.T) {
	line := func(tl cluster.Timeline, at cluster.LSN, leader string) cluster.HistoryLine {
		return cluster.HistoryLine{Timeline: tl, Switch: at, NewLeader: leader}
	}
	own := cluster.History{line(1, 10, ""), line(2, 20, ""), line(5, 30, "")}
	cases := []struct {
		name      string
		own       cluster.History
		published cluster.History
		keep      int
		want      cluster.History
	}{
		{"nothing is written when the key is right", own, cluster.History{line(1, 10, "b"), line(2, 20, "c"), line(5, 30, "a")}, 0, nil},
		{"a promotion is added with its leader", own, cluster.History{line(1, 10, "b"), line(2, 20, "c")}, 0,
			cluster.History{line(1, 10, "b"), line(2, 20, "c"), line(5, 30, "a")}},
		{"a branch that is no ancestor is dropped", own, cluster.History{line(1, 10, "b"), line(2, 25, "x"), line(3, 26, "x")}, 0,
			cluster.History{line(1, 10, "b"), line(2, 20, ""), line(5, 30, "a")}},
		{"only the newest are kept", own, nil, 2, cluster.History{line(2, 20, ""), line(5, 30, "a")}},
		{"a shortened key is right", own, cluster.History{line(2, 20, "c"), line(5, 30, "a")}, 2, nil},
		{"a file that was not read says nothing", nil, cluster.History{line(1, 10, "b")}, 0, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := primary(node(func(n *cluster.NodeState) { n.TimelineHistory = c.own }), view(func(v *cluster.View) { v.History = c.published }))
			o.Settings.MaxTimelinesHistory, o.Published = c.keep, now
			var want []Action
			if c.want != nil {
				want = acts(PutHistory{History: c.want})
			}
			if diff := cmp.Diff(want, Decide(&o).Actions); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
		})
	}
}
