package election

import (
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// strays: its data came out of recovery on a number that is another's.
func strays(o *Observation) { o.Self.Strayed = true }

func followRules() []rule {
	b := Upstream{Member: "b", Host: "10.0.0.2", Port: "5432"}
	silentFor := func(d time.Duration) change {
		return func(o *Observation) { o.NotStreaming = ago(d); o.Node.Value.Receiver = nil }
	}
	gone := view(func(v *cluster.View) { delete(v.Members, "b") })
	notReady := who("b", func(m *cluster.Member) { m.State = cluster.StateStarting })
	data := func(d cluster.DataDir) change { return node(func(n *cluster.NodeState) { n.Data = d }) }
	diverged := with(standby(0x4500000, who("b", func(m *cluster.Member) { m.Timeline = 4 })), view(func(v *cluster.View) {
		v.History = append(history(), cluster.HistoryLine{Timeline: 3, Switch: 0x4400000})
	}))
	handedOver := view(func(v *cluster.View) {
		v.Handover = &cluster.Handover{From: "a", To: "b", Position: cluster.Position{Timeline: 3, LSN: lsn + 0x70}, ModRevision: int64(term)}
	})
	starting := func(since time.Duration) change {
		return func(o *Observation) {
			o.Node.Value.Mode, o.Node.Value.Receiver, o.Node.Value.PrimaryConninfo = cluster.ModeStarting, nil, ""
			o.Job, o.Starting = Job{Last: JobRejoin, LastEnded: ago(since)}, ago(time.Hour)
		}
	}
	replaysOwn := node(func(n *cluster.NodeState) { n.ReplaysOwn, n.ReplayLSN = true, n.ReplayLSN-0x100 })
	cramped := node(func(n *cluster.NodeState) {
		n.ReplayPaused, n.StoppedBy = true, "max_connections is 70 here and 100 on the primary"
	})
	torn := func(o *Observation) {
		o.NotStreaming, o.Node.Value.Receiver = ago(time.Minute), nil
		o.Node.Value.ReplayLSN = 0x4400000
	}
	aimed := func(up Upstream) change { return func(o *Observation) { o.Aimed = up } }
	return []rule{
		{name: "a standby whose replay is behind what it has is left to it: it asks nobody for WAL before",
			given: standby(lsn, silentFor(time.Hour), replaysOwn), reason: ReasonNotStreaming, also: wakes(now.Add(time.Second))},
		{name: "paused or not", given: standby(lsn, silentFor(time.Hour), replaysOwn, node(func(n *cluster.NodeState) { n.ReplayPaused = true })), reason: ReasonNotStreaming,
			also: func(t *testing.T, d Decision) {
				if !strings.Contains(d.Detail, "paused") {
					t.Errorf("it says %q", d.Detail)
				}
			}},
		{name: "but one whose replay the primary's settings have stopped needs a restart", given: standby(lsn, silentFor(time.Hour), replaysOwn, cramped),
			reason: ReasonReplayStopped, do: acts(StopServer{Mode: StopFast})},
		{name: "also while it streams", given: standby(lsn, cramped), reason: ReasonReplayStopped, do: acts(StopServer{Mode: StopFast}), also: func(t *testing.T, d Decision) {
			if d.Detail != "max_connections is 70 here and 100 on the primary" {
				t.Errorf("it says %q", d.Detail)
			}
		}},
		{name: "but not in the middle of a switchover", given: standby(lsn, cramped, view(func(v *cluster.View) {
			v.Switchover = &cluster.Switchover{From: "b", To: "a", Phase: cluster.SwitchoverPreparing}
		})), reason: ReasonFollowing, do: acts(EnsureSlots{Want: []string{"b", "c"}})},
		{name: "nor one whose replay somebody has paused", given: standby(lsn, node(func(n *cluster.NodeState) { n.ReplayPaused = true })), reason: ReasonFollowing},
		{name: "a torn record past the switch is no history", given: with(diverged, torn), reason: ReasonNotStreaming, do: acts(Rejoin{Source: b})},
		{name: "nor is it judged before replay has come there",
			given: with(diverged, torn, func(o *Observation) { o.NotStreaming, o.Node.Value.ReplaysOwn = ago(time.Second), true }), reason: ReasonNotStreaming, also: looks},
		{name: "but not for long: its replay may be delayed by hours",
			given: with(diverged, torn, func(o *Observation) { o.Node.Value.ReplaysOwn = true }), reason: ReasonDiverged, do: acts(Rejoin{Source: b})},
		{name: "a standby that lets nobody in is waited for while it was started to stream from the leader",
			given: standby(lsn, starting(time.Hour), aimed(b)), reason: ReasonStartingStandby, also: func(t *testing.T, d Decision) {
				if !strings.Contains(d.Detail, "64 subtransactions") {
					t.Errorf("it says %q", d.Detail)
				}
			}},
		{name: "but not when another leads by now: it is stopped, to be compared with that one",
			given: standby(lsn, starting(5*time.Second), aimed(Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"})), reason: ReasonRejoining, do: acts(StopServer{Mode: StopFast})},
		{name: "one that its tag has stream from another standby, and that recovers, is waited for",
			given: standby(lsn, starting(time.Hour), aimed(Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}), func(o *Observation) { o.Self.Tags = cluster.Tags{"replicatefrom": "c"} }), reason: ReasonStartingStandby},
		{name: "nor when nobody knows whom it was to stream from", given: standby(lsn, starting(5*time.Second)), reason: ReasonRejoining, do: acts(StopServer{Mode: StopFast})},
		{name: "which a start by itself makes up for within a moment",
			given: standby(lsn, starting(4*time.Second)), reason: ReasonStartingStandby, also: wakes(now.Add(time.Second))},
		{name: "nor while the leader is no primary yet", given: standby(lsn, starting(time.Hour), notReady), reason: ReasonStartingStandby},
		{name: "data that was written to on another's timeline is cloned, although it seems to follow",
			given: standby(lsn, strays), reason: ReasonCloning, do: acts(Clone{Source: b})},
		{name: "also when its server is stopped", given: cold("b", strays), reason: ReasonCloning, do: acts(Clone{Source: b})},
		{name: "but not before the leader is a primary", given: standby(lsn, strays, notReady), reason: ReasonLeaderNotReady},
		{name: "a streaming standby follows",
			given: standby(lsn), reason: ReasonFollowing},
		{name: "a standby pointed elsewhere is pointed at the leader",
			given:  standby(lsn, node(func(n *cluster.NodeState) { n.PrimaryConninfo = "host='10.0.0.3' port='5432'" })),
			reason: ReasonRepointing, do: acts(Follow{Upstream: b})},
		{name: "and so is one that streams from it through no slot, having taken from it what it lacked in an election",
			given:  standby(lsn, node(func(n *cluster.NodeState) { n.PrimarySlotName = "" })),
			reason: ReasonRepointing, do: acts(Follow{Upstream: b})},
		{name: "where slots are used",
			given:  standby(lsn, node(func(n *cluster.NodeState) { n.PrimarySlotName = "" }), func(o *Observation) { o.Settings.PostgreSQL.UseSlots = false }),
			reason: ReasonFollowing},
		{name: "a replicatefrom tag names another upstream while that runs",
			given:  standby(lsn, func(o *Observation) { o.Self.Tags = cluster.Tags{"replicatefrom": "c"} }),
			reason: ReasonRepointing, do: acts(Follow{Upstream: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}})},
		{name: "an old primary is not streamed from, whatever a replicatefrom tag says",
			given: standby(lsn, func(o *Observation) { o.Self.Tags = cluster.Tags{"replicatefrom": "c"} },
				who("c", func(m *cluster.Member) { m.Role, m.Timeline = cluster.RolePrimary, 2 })), reason: ReasonFollowing},
		{name: "nor a member that is not yet where the leader is: it may be one, and have yet to say so",
			given: standby(lsn, func(o *Observation) { o.Self.Tags = cluster.Tags{"replicatefrom": "c"} },
				who("c", func(m *cluster.Member) { m.Timeline = 2 })), reason: ReasonFollowing},
		{name: "a replicatefrom that does not run is passed by",
			given: standby(lsn, func(o *Observation) { o.Self.Tags = cluster.Tags{"replicatefrom": "c"} },
				who("c", func(m *cluster.Member) { m.State = cluster.StateStopped })), reason: ReasonFollowing},
		{name: "so is one that receives nothing itself",
			given: standby(lsn, func(o *Observation) { o.Self.Tags = cluster.Tags{"replicatefrom": "c"} },
				who("c", func(m *cluster.Member) { m.ReplicationState = "in archive recovery" })), reason: ReasonFollowing},
		{name: "but not one of Patroni's that is tagged to read the archive alone",
			given: standby(lsn, func(o *Observation) { o.Self.Tags = cluster.Tags{"replicatefrom": "c"} },
				who("c", func(m *cluster.Member) {
					m.ReplicationState, m.Tags = "in archive recovery", cluster.Tags{"nostream": true}
				})),
			reason: ReasonRepointing, do: acts(Follow{Upstream: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}})},
		{name: "a leader without address is waited for",
			given: standby(lsn, gone), reason: ReasonLeaderNotReady},
		{name: "a standby that receives nothing is given two seconds",
			given: standby(lsn, silentFor(time.Second)), reason: ReasonNotStreaming, also: wakes(now.Add(time.Second))},
		{name: "then its relation to the leader is looked into",
			given: standby(lsn, silentFor(3*time.Second)), reason: ReasonNotStreaming, do: acts(Rejoin{Source: b})},
		{name: "a cascading standby is compared with the leader, not with its upstream",
			given: standby(lsn, silentFor(3*time.Second), func(o *Observation) { o.Self.Tags = cluster.Tags{"replicatefrom": "c"} },
				node(func(n *cluster.NodeState) { n.PrimaryConninfo = "host=10.0.0.3 port=5432" })),
			reason: ReasonNotStreaming, do: acts(Rejoin{Source: b})},
		{name: "a standby makes the slot of a member that is to stream from it",
			given:  standby(lsn, who("c", func(m *cluster.Member) { m.Tags = cluster.Tags{"replicatefrom": "a"} })),
			reason: ReasonFollowing, do: acts(EnsureSlots{Want: []string{"c"}})},
		{name: "a former primary drops the slots nobody streams from here, which would keep WAL for ever",
			given:  standby(lsn, slots(cluster.Slot{Name: "b", Type: "physical"}, cluster.Slot{Name: "c", Type: "physical"})),
			reason: ReasonFollowing, do: acts(EnsureSlots{Drop: []string{"b", "c"}})},
		{name: "it keeps those in use, those of members that do not run, and what others made",
			given: standby(lsn, slots(cluster.Slot{Name: "b", Type: "physical", Active: true}, cluster.Slot{Name: "c", Type: "physical"},
				cluster.Slot{Name: "backup", Type: "physical"}, cluster.Slot{Name: "cdc", Type: "logical"}),
				who("c", func(m *cluster.Member) { m.State = cluster.StateStarting })), reason: ReasonFollowing},
		{name: "in pause slots are left alone",
			given: standby(lsn, inPause, slots(cluster.Slot{Name: "c", Type: "physical"})), reason: ReasonPaused},
		{name: "one look into it each ten seconds is enough",
			given:  standby(lsn, silentFor(time.Minute), ended(JobRejoin, 4*time.Second)),
			reason: ReasonNotStreaming, also: wakes(now.Add(6 * time.Second))},
		{name: "a leader that is not ready is not compared with",
			given: standby(lsn, silentFor(time.Minute), notReady), reason: ReasonNotStreaming, also: wakes(now.Add(time.Second))},
		{name: "a standby past the point where the leader left its timeline is brought back",
			given: diverged, reason: ReasonDiverged, do: acts(Rejoin{Source: b})},
		{name: "a comparison that found nothing is not repeated at once",
			given: with(diverged, ended(JobRejoin, time.Second)), reason: ReasonDiverged, also: wakes(now.Add(9 * time.Second))},
		{name: "what was compared while it was stopped is no comparison of what it shows now",
			given:  with(diverged, ended(JobRejoin, time.Second), func(o *Observation) { o.Job.LastMode = cluster.ModeStopped }),
			reason: ReasonDiverged, do: acts(Rejoin{Source: b})},
		{name: "a comparison that failed is not repeated at once for that",
			given:  with(diverged, ended(JobRejoin, time.Second), func(o *Observation) { o.Job.LastMode, o.Job.LastErr = cluster.ModeStopped, "no route" }),
			reason: ReasonDiverged, also: wakes(now.Add(9 * time.Second))},
		{name: "a server that starts is waited for",
			given: standby(lsn, node(func(n *cluster.NodeState) { n.Mode = cluster.ModeStarting })), reason: ReasonStartingStandby, also: looks},

		// rejoining
		{name: "a stopped node compares itself with the leader",
			given: cold("b"), reason: ReasonRejoining, do: acts(Rejoin{Source: b})},
		{name: "and says when Patroni runs that one, which may lack what it asks for",
			given: cold("b", who("b", func(m *cluster.Member) { m.Keeper = nil })), reason: ReasonRejoining, do: acts(Rejoin{Source: b, Patroni: true})},
		{name: "a comparison that fails is repeated with growing pauses",
			given: cold("b", failed(JobRejoin, 3, 500*time.Millisecond)), reason: ReasonBackingOff, also: wakes(now.Add(500 * time.Millisecond))},
		{name: "an empty node is cloned",
			given: cold("b", data(cluster.DataEmpty)), reason: ReasonCloning, do: acts(Clone{Source: b})},
		{name: "an interrupted clone is cloned over",
			given: cold("b", data(cluster.DataTombstone)), reason: ReasonCloning, do: acts(Clone{Source: b})},
		{name: "an interrupted rewind too",
			given: cold("b", data(cluster.DataDamaged)), reason: ReasonCloning, do: acts(Clone{Source: b})},
		{name: "a directory that could not be looked into is not cloned over",
			given: cold("b", data(cluster.DataUnknown)), reason: ReasonServerUnknown},
		{name: "a directory with something else in it is not cloned over",
			given: cold("b", data(cluster.DataBroken)), reason: ReasonDataBroken},
		{name: "a node without data waits for a leader that runs",
			given: cold("b", data(cluster.DataEmpty), notReady), reason: ReasonLeaderNotReady},
		{name: "an old primary waits for a leader that runs",
			given: cold("b", notReady), reason: ReasonLeaderNotReady},
		{name: "a stopped standby starts while its leader does too",
			given:  cold("b", notReady, node(func(n *cluster.NodeState) { n.Control.StandbySignal = true })),
			reason: ReasonStartingStandby, do: acts(StartServer{Upstream: &b})},
		{name: "the old primary of a hand-over starts as a standby without comparing",
			given: cold("b", handedOver, notReady), reason: ReasonStartingStandby, do: acts(StartServer{Upstream: &b})},
		{name: "it lets the successor be promoted first, for a second",
			given:  cold("b", handedOver, notReady, ended(JobStop, 300*time.Millisecond)),
			reason: ReasonLeaderNotReady, also: wakes(now.Add(700 * time.Millisecond))},
		{name: "a hand-over of another shutdown is none",
			given:  cold("b", handedOver, node(func(n *cluster.NodeState) { n.Control.CheckpointEnd += 8 })),
			reason: ReasonRejoining, do: acts(Rejoin{Source: b})},
		{name: "a hand-over whose successor lost the lease is none",
			given: cold("c", handedOver), reason: ReasonRejoining,
			do: acts(Rejoin{Source: Upstream{Member: "c", Host: "10.0.0.3", Port: "5432"}})},
	}
}

func TestFollow(t *testing.T) { check(t, followRules()) }

// TestRelate: what may be done to a node's data is decided by where its log ends
// and where the source left the node's timeline.
func TestRelate(t *testing.T) {
	src := func(changes ...func(*Source)) Source {
		s := Source{SystemID: sys, Timeline: 4, LSN: 0x6000000,
			History: append(history(), cluster.HistoryLine{Timeline: 3, Switch: lsn})}
		for _, c := range changes {
			c(&s)
		}
		return s
	}
	sameTimeline := func(s *Source) { s.Timeline, s.History = 3, history() }
	stoppedPrimary := func(checkpoint cluster.LSN, state cluster.ControlState) cluster.NodeState {
		return cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataValid, SystemID: sys, Timeline: 3,
			Control: cluster.ControlData{State: state, Checkpoint: checkpoint}}
	}
	stoppedStandby := func(end cluster.LSN) cluster.NodeState {
		return cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataValid, SystemID: sys, Timeline: 3,
			Control: cluster.ControlData{State: cluster.ControlShutdownInRecovery, MinRecovery: end, StandbySignal: true}}
	}
	cases := []struct {
		name string
		node cluster.NodeState
		src  Source
		want Relation
	}{
		{"a standby that ends before the switch follows", standbyNode(lsn - 8), src(), RelationFollows},
		{"a standby that ends at the switch follows", standbyNode(lsn), src(), RelationFollows},
		{"a standby past the switch diverged", standbyNode(lsn + 8), src(), RelationDiverged},
		{"a stopped standby past the switch diverged", stoppedStandby(lsn + 8), src(), RelationDiverged},
		{"a standby on the source's timeline follows", standbyNode(lsn), src(sameTimeline), RelationFollows},
		{"a standby ahead of the source on its timeline needs a new copy: pg_rewind would see nothing to do", standbyNode(0x7000000), src(sameTimeline), RelationUnrelated},
		{"an old primary whose shutdown record the switch follows follows", stoppedPrimary(lsn-0x70, cluster.ControlShutdown), src(), RelationFollows},
		{"an old primary whose shutdown record nobody got diverged", stoppedPrimary(lsn, cluster.ControlShutdown), src(), RelationDiverged},
		{"a crashed primary diverged, wherever its last checkpoint was", stoppedPrimary(lsn-0x1000, cluster.ControlInProduction), src(), RelationDiverged},
		{"an old primary on the source's own number is unrelated", stoppedPrimary(lsn-8, cluster.ControlShutdown), src(sameTimeline), RelationUnrelated},
		{"a timeline that is no ancestor of the source is unrelated", func() cluster.NodeState { n := standbyNode(lsn); n.Timeline = 3; return n }(),
			src(func(s *Source) { s.Timeline, s.History = 5, history() }), RelationUnrelated},
		{"another system is foreign", standbyNode(lsn), src(func(s *Source) { s.SystemID = "1" }), RelationForeign},
		{"a source in recovery is not ready", standbyNode(lsn + 8), src(func(s *Source) { s.InRecovery = true }), RelationNotReady},
		{"a source on an older timeline is not ready", standbyNode(lsn + 8), src(func(s *Source) { s.Timeline, s.History = 2, history()[:1] }), RelationNotReady},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Relate(c.node, c.src); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestMayReplace: S5, the proof before a data directory is replaced by a copy.
func TestMayReplace(t *testing.T) {
	node := cluster.NodeState{SystemID: "sys", Timeline: 3}
	for name, c := range map[string]struct {
		src Source
		may bool
	}{
		"a running primary on our timeline": {Source{SystemID: "sys", Timeline: 3}, true},
		"a running primary on a newer one":  {Source{SystemID: "sys", Timeline: 5}, true},
		"a primary on an older timeline":    {Source{SystemID: "sys", Timeline: 2}, false},
		"a standby, however new":            {Source{SystemID: "sys", Timeline: 5, InRecovery: true}, false},
		"a primary of another system":       {Source{SystemID: "other", Timeline: 5}, false},
	} {
		if why := MayReplace(node, c.src); (why == "") != c.may {
			t.Errorf("%s: %q, want allowed: %t", name, why, c.may)
		}
	}
	if why := MayReplace(cluster.NodeState{}, Source{SystemID: "sys", Timeline: 1}); why != "" {
		t.Errorf("an empty directory may not be filled: %s", why)
	}
}
