package agent

import (
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
)

// knockSlack is what a try of the leader's node may take beyond its limit, on a busy
// machine. One that took longer was held up here, by this process or its machine, and says
// nothing.
const knockSlack = 300 * time.Millisecond

// watchLook is between two cheap looks at a standby whose leader is watched closely;
// calmLook while no WAL comes and the leader's node answers: then its answers tell as much.
const (
	watchLook = 200 * time.Millisecond
	calmLook  = 500 * time.Millisecond
)

// watchEvery is the one of them that is due.
func (l *Loop) watchEvery() time.Duration {
	o := &l.obs
	every := watchLook
	if o.Suspicion.Since.Never() && o.NotStreaming.Never() && o.Now >= o.Suspicion.Heard.Add(time.Second) {
		every = calmLook
	}
	return min(every, o.Settings.LoopWait)
}

// deriveSuspicion begins anew with another leader.
func (l *Loop) deriveSuspicion() {
	o := &l.obs
	l.looks.watching = election.WatchesLeader(o)
	if leader := o.View.Value.Leader; leader == nil || leader.Name != o.Suspicion.Leader {
		o.Suspicion = election.Suspicion{Heard: o.Now}
		if leader != nil {
			o.Suspicion.Leader = leader.Name
		}
	}
}

// whence is where a standby's WAL comes from: the leader as its member key shows it, and whom the server is pointed at.
type whence struct {
	leader   string
	timeline cluster.Timeline
	primary  bool
	conninfo string
}

// deriveNotStreaming has the time without a stream begin anew where WAL may come from now and could not before. A standby
// is given its while to take up a new primary's timeline from when there is one to stream from: how long the election took,
// or the promotion on a busy machine, says nothing about it.
func (l *Loop) deriveNotStreaming() {
	o := &l.obs
	if o.NotStreaming.Never() {
		return
	}
	leader, _ := o.View.Value.LeaderMember()
	now := whence{leader.Name, leader.Timeline, leader.RunsPrimary(), o.Node.Value.PrimaryConninfo}
	if now != l.looks.whence {
		l.looks.whence, o.NotStreaming = now, o.Now
	}
}

// foldHeard notes that WAL has come since the last look. A cheap look that finds a new
// receiver is followed by one that asks what it does.
func (l *Loop) foldHeard(before, now *cluster.NodeState, e *Looked) {
	fresh := now.Receiver != nil && before.Receiver == nil
	if fresh || now.Receiver != nil && now.ReceiveLSN > before.ReceiveLSN {
		l.obs.Suspicion.Heard = e.At
	}
	if fresh && e.Fast && l.looks.watching {
		l.looks.wanted = true
	}
}

// onlyFlows: a cheap look shows that WAL goes on coming, and nothing else. What is decided
// about it is decided at the next whole look.
func (l *Loop) onlyFlows(e *Looked) bool {
	o, last := &l.obs, &l.obs.Node.Value
	return e.Fast && e.Err == "" && e.Instance == l.instance() && e.At >= l.looks.stale && o.Node.Good() && !o.Looking && !l.looks.wanted &&
		l.decision.Reason == election.ReasonFollowing && o.Suspicion.Since.Never() && last.Mode == e.Node.Mode && last.Timeline == e.Node.Timeline &&
		last.Receiver != nil && e.Node.Receiver != nil && e.Node.ReceiveLSN > last.ReceiveLSN
}

// onKnock begins a try of the leader's node.
func (l *Loop) onKnock(a election.Knock) []Effect {
	if l.busy[LaneKnock] {
		return nil
	}
	l.busy[LaneKnock], l.obs.Suspicion.Busy, l.obs.Suspicion.Tried = true, true, l.obs.Now
	return []Effect{{Lane: LaneKnock, Limit: election.KnockLimit, Do: Knock(a)}}
}

// foldKnock ends one.
func (l *Loop) foldKnock(e Knocked) {
	s := &l.obs.Suspicion
	l.busy[LaneKnock] = false
	s.Busy = false
	switch {
	case e.Leader != s.Leader: // of one who leads no more
	case e.Answered != "", e.Ended.Sub(e.Began) > election.KnockLimit+knockSlack: // guard: fast_own_sleep — L1: who slept has heard nothing
		s.Since = 0
	case s.Since.Never():
		s.Since, s.Ended = e.Began, e.Ended
	default:
		s.Ended = e.Ended
	}
}
