package election

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

var errBroken = errors.New("it broke")

// do carries one action out, as the agent does: calls on the store at once, jobs
// after a while.
func (m *machine) do(a Action) {
	name := strings.TrimPrefix(fmt.Sprintf("%T", a), "election.")
	m.acted[name]++
	if m.acted[name] > 300 && name != "PutStatus" && name != "Renew" && !m.offline {
		m.w.fail("%s repeats %s for ever", m.name, name)
	}
	if kind := KindOf(a); kind != JobNone {
		m.w.logf("%s:   %s %+v", m.name, name, a)
		m.obs.Job.Kind, m.obs.Job.Since = kind, m.w.now
		m.job, m.jobEnd = func() error { return m.work(a) }, m.w.now.Add(jobTime)
		return
	}
	switch a.(type) {
	case LoseLease:
		m.lose()
		return
	case Fence: // in a lane of its own, beside whatever job runs
		m.w.logf("%s:   %s", m.name, name)
		m.job = nil
		m.obs.Job = Job{Last: m.obs.Job.Kind, LastErr: "cancelled", LastEnded: m.w.now}
		m.stopServer(cluster.ControlInProduction)
		m.obs.Guard = Guard{Connected: true}
		return
	}
	if callsStore(a) || name == "Renew" {
		m.obs.Lease.Tried = m.w.now
	}
	if m.offline {
		if callsStore(a) {
			m.obs.Lease.FailedAt = m.w.now
		}
		return
	}
	if callsStore(a) {
		m.w.logf("%s:   %s %+v", m.name, name, a)
	}
	ok := m.call(a)
	if callsStore(a) {
		if m.obs.Lease.FailedAt = m.w.now; ok {
			m.obs.Lease.FailedAt = 0
		}
	}
}

func (m *machine) endJob() {
	err := m.job()
	o := &m.obs
	ended := Job{Last: o.Job.Kind, LastEnded: m.w.now}
	if err != nil {
		ended.LastErr, ended.Failures = err.Error(), o.Job.Failures+1
	}
	o.Job, m.job = ended, nil
	o.Node = o.Node.Failed("a job has just ended", m.w.now)
}

func (m *machine) lose() {
	g := &m.obs.Guard
	if g.Running && g.Writable && !g.Paused && m.guardTerm == m.obs.Lease.Term {
		m.stopServer(cluster.ControlInProduction)
	}
	m.obs.Lease = Lease{Tried: m.obs.Lease.Tried}
}

// taken is what follows when the key was won.
func (m *machine) taken(term cluster.Term) bool {
	w, o := m.w, &m.obs
	o.Lease = Lease{Term: term, Renewed: w.now, Tried: w.now, Acquired: w.now}
	o.Self.InitRevision, o.Job.Failures = 0, 0
	w.kept[o.Self.MemberLease] = w.now
	m.extend()
	return true
}

func (m *machine) extend() {
	m.obs.Guard.Deadline = m.w.now.Add(ttl - m.obs.Settings.Margin(0))
	m.guardTerm = m.obs.Lease.Term
}

// take puts the leader key, with what goes with it.
func (m *machine) take(also func(*cluster.View)) bool {
	o := &m.obs
	rev := m.w.edit(func(v *cluster.View) {
		v.Leader = &cluster.Leader{Name: m.name, LeaseID: o.Self.MemberLease, Term: cluster.Term(v.Revision)}
		v.Beat = &cluster.Beat{TTL: ttl.Milliseconds(), Term: cluster.Term(v.Revision), ModRevision: v.Revision}
		v.Holder = &cluster.Holder{Name: m.name, Node: o.Self.Node, BootID: o.Self.BootID, Instance: o.Guard.Instance}
		if also != nil {
			also(v)
		}
	})
	return m.taken(cluster.Term(rev))
}

// mine: the term this machine holds still stands.
func (m *machine) mine() bool {
	l := m.w.view.Leader
	return l != nil && l.Term == m.obs.Lease.Term
}

func beatOf(v cluster.View) int64 {
	if v.Beat == nil {
		return 0
	}
	return v.Beat.ModRevision
}

// call is one transaction; false when a comparison fails.
func (m *machine) call(a Action) bool {
	w, o := m.w, &m.obs
	v := w.view
	switch a := a.(type) {
	case ClaimInitialize:
		if v.Initialize != nil {
			return false
		}
		o.Self.InitRevision = w.edit(func(v *cluster.View) {
			v.Initialize = &cluster.Initialize{LeaseID: o.Self.MemberLease, ModRevision: v.Revision}
		})
		return true
	case AbandonInitialize:
		o.Self.InitRevision, o.Job.Last = 0, JobNone
		if v.Initialize != nil && v.Initialize.ModRevision == a.Revision {
			w.edit(func(v *cluster.View) { v.Initialize = nil })
		}
		return true
	case PutInitialize:
		if v.Initialize != nil || o.Lease.Term != 0 && !m.mine() {
			return false
		}
		w.edit(func(v *cluster.View) {
			v.Initialize = &cluster.Initialize{SystemID: a.SystemID, ModRevision: v.Revision}
		})
		return true
	case FinishBootstrap:
		if v.Initialize == nil || v.Initialize.ModRevision != a.Revision || v.Leader != nil {
			return false
		}
		return m.take(func(v *cluster.View) {
			v.Initialize = &cluster.Initialize{SystemID: a.SystemID, ModRevision: v.Revision}
			v.Config = &cluster.Config{Raw: []byte("{}")}
		})
	case Acquire:
		free := v.Leader == nil && a.LeaderTerm == 0 || v.Leader != nil && v.Leader.Term == a.LeaderTerm
		mark := int64(0)
		if v.PausedAt != nil {
			mark = v.PausedAt.ModRevision
		}
		return free && beatOf(v) == a.BeatRevision && mark == a.PausedRevision && m.take(nil)
	case Inherit:
		return v.Leader != nil && v.Leader.Term == a.Term && v.Leader.Name == m.name && m.take(nil)
	case Accept:
		if v.Leader == nil || v.Leader.Term != a.Term || v.Leader.LeaseID != o.Self.MemberLease {
			return false
		}
		w.edit(func(v *cluster.View) {
			v.Beat = &cluster.Beat{TTL: ttl.Milliseconds(), Term: a.Term, ModRevision: v.Revision}
			v.Holder = &cluster.Holder{Name: m.name, Node: o.Self.Node, BootID: o.Self.BootID, Instance: o.Guard.Instance}
			m.reserve(v, a.Term, a.Timeline)
		})
		return m.taken(a.Term)
	case Answer:
		return true
	case PutResult:
		o.Self.Answered = a.Result.ID
		return true
	case Follow:
		m.up, m.slotless = a.Upstream.Member, a.NoSlot
		return true
	case Checkpoint:
		if o.Self.Checkpointed = o.Self.Checkpointed || a.For == ""; a.For != "" {
			o.Self.Prepared = a.For
		}
		return true
	case EnsureSlots:
		for _, name := range a.Want {
			m.node.Slots = append(m.node.Slots, cluster.Slot{Name: name, Type: "physical"})
		}
		m.node.Slots = slices.DeleteFunc(m.node.Slots, func(s cluster.Slot) bool { return slices.Contains(a.Drop, s.Name) })
		return true
	case PutPausedPrimary:
		if a.Name == "" && v.PausedAt != nil && v.PausedAt.ModRevision == a.Revision {
			w.edit(func(v *cluster.View) { v.PausedAt = nil })
			return true
		}
	}
	return o.Lease.Term != 0 && m.underTerm(a)
}

func (m *machine) reserve(v *cluster.View, term cluster.Term, atLeast cluster.Timeline) {
	number := max(v.Timelines.Highest()+1, atLeast)
	next := &cluster.Timelines{ModRevision: v.Revision}
	if v.Timelines != nil {
		next.Reserved = append(next.Reserved, v.Timelines.Reserved...)
	}
	next.Reserved = append(next.Reserved, cluster.Reservation{Timeline: number, Term: term})
	v.Timelines = next
}

// underTerm is a write of a holder.
func (m *machine) underTerm(a Action) bool {
	w, o := m.w, &m.obs
	if _, settles := a.(Settle); !m.mine() {
		if _, renews := a.(Renew); renews || settles {
			m.lose()
		}
		return false
	}
	switch a := a.(type) {
	case Renew:
		w.kept[o.Self.MemberLease] = w.now
		w.edit(func(v *cluster.View) {
			v.Beat = &cluster.Beat{TTL: ttl.Milliseconds(), Term: o.Lease.Term, ModRevision: v.Revision}
		})
		o.Lease.Renewed = w.now
		m.extend()
	case Settle:
		m.take(nil)
	case Reserve:
		w.edit(func(v *cluster.View) { m.reserve(v, o.Lease.Term, a.Above+1) })
	case Release, HandOver:
		return m.give(a)
	case PutStatus:
		w.edit(func(v *cluster.View) { v.Status = &a.Positions })
	case PutHolder:
		w.edit(func(v *cluster.View) {
			v.Holder = &cluster.Holder{Name: m.name, Node: m.obs.Self.Node, BootID: m.obs.Self.BootID, Instance: m.obs.Guard.Instance}
		})
	case PutHistory:
		w.edit(func(v *cluster.View) { v.History = a.History })
	case PutConfig:
		w.edit(func(v *cluster.View) { v.Config = &cluster.Config{Raw: []byte("{}")} })
	case PutSwitchover:
		w.edit(func(v *cluster.View) { s := a.Switchover; s.Term = o.Lease.Term; v.Switchover = &s })
	case DeleteSwitchover:
		w.edit(func(v *cluster.View) { v.Switchover = nil })
	case ClearFailover:
		w.logf("%s:   answers: %s", m.name, a.Result.Message)
		w.edit(func(v *cluster.View) { v.Failover = nil })
	case PutPausedPrimary:
		w.edit(func(v *cluster.View) { v.PausedAt = &cluster.PausedPrimary{Name: a.Name, ModRevision: v.Revision} })
	}
	return true
}

// give is a release or hand-over; its answer may get lost, whether it happened or
// not.
func (m *machine) give(a Action) bool {
	w, o := m.w, &m.obs
	commits, lost := m.lost["give"]
	delete(m.lost, "give")
	term := o.Lease.Term
	if lost {
		o.Lease.Unsettled = true
	} else {
		o.Lease = Lease{Tried: w.now}
	}
	if lost && !commits {
		return false
	}
	w.edit(func(v *cluster.View) {
		switch a := a.(type) {
		case Release:
			v.Leader = nil
			v.Release = &cluster.Release{By: m.name, Term: term, Position: a.Position, BeatRevision: beatOf(*v), ModRevision: v.Revision}
		case HandOver:
			v.Leader = &cluster.Leader{Name: a.To, LeaseID: a.LeaseID, Term: cluster.Term(v.Revision)}
			v.Handover = &cluster.Handover{From: m.name, To: a.To, ID: a.ID, Position: a.Position, ModRevision: v.Revision}
			v.Switchover = nil
			if a.ID != "" {
				v.Failover = nil
			}
		}
	})
	return !lost
}

// work is a job.
func (m *machine) work(a Action) error {
	o, n := &m.obs, &m.node
	if m.broken[KindOf(a)] {
		return errBroken
	}
	switch a := a.(type) {
	case InitDB:
		*n = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataValid, SystemID: "sys-" + m.name, Timeline: 1, WriteLSN: 0x1000,
			Control: cluster.ControlData{State: cluster.ControlShutdown, Checkpoint: 0x1000, CheckpointEnd: 0x1070}}
		m.history = nil
	case StartServer:
		return m.start(a.Writable, a.Upstream)
	case StopServer:
		m.stop(a.Mode)
	case Promote:
		if n.Mode != cluster.ModeStandby || m.w.now >= o.Guard.Deadline {
			return errors.New("not promoted")
		}
		m.history = append(slices.Clip(m.history), cluster.HistoryLine{Timeline: n.Timeline, Switch: n.Position().LSN})
		n.WriteLSN, n.Timeline = n.Position().LSN+8, a.Timeline
		n.Mode, n.Control.StandbySignal, m.up = cluster.ModePrimary, false, ""
		o.Guard.Writable, o.Self.Checkpointed = true, false
	case Restart:
		m.stop(StopFast)
		return m.start(a.Writable, a.Upstream)
	case Rejoin:
		return m.rejoin(a.Source)
	case Clone:
		return m.clone(a.Source)
	case MoveAside:
		*n = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}
	}
	return nil
}

func (m *machine) start(writable bool, up *Upstream) error {
	n, g := &m.node, &m.obs.Guard
	if n.Data != cluster.DataValid || writable && m.w.now >= g.Deadline {
		return errors.New("refused")
	}
	g.Running, g.Writable, g.Instance = true, writable, fmt.Sprint("i", m.w.next())
	if up != nil {
		m.up, m.slotless = up.Member, false
	}
	if writable {
		n.Mode, n.WriteLSN, n.Control.StandbySignal = cluster.ModePrimary, max(n.WriteLSN, n.Position().LSN), false
		return nil
	}
	if !n.Control.StandbySignal {
		n.ReplayLSN = n.WriteLSN
	}
	n.Mode, n.EndKnown, n.Control.StandbySignal, n.ReceiveLSN = cluster.ModeStandby, true, true, 0
	n.ReplayLSN = max(n.ReplayLSN, n.Control.MinRecovery, n.Control.CheckpointEnd)
	return nil
}

// stop of a primary sends its shutdown record to whoever streams.
func (m *machine) stop(mode StopMode) {
	n := &m.node
	state := cluster.ControlInProduction
	if n.Mode == cluster.ModePrimary && mode == StopFast {
		n.Control.Checkpoint = n.WriteLSN
		n.WriteLSN += 0x70
		n.Control.CheckpointEnd = n.WriteLSN
		for _, other := range m.w.machines {
			other.stream()
		}
		state = cluster.ControlShutdown
		checkpoint := n.Control.Checkpoint
		defer func() { n.Control.Checkpoint, n.Control.MinRecovery = checkpoint, 0 }()
	}
	m.stopServer(state)
}

func (m *machine) rejoin(up Upstream) error {
	src := m.w.at(up.Member)
	if !src.on || !src.node.Mode.Running() {
		return errors.New("connection refused")
	}
	switch Relate(m.look(), Source{SystemID: src.node.SystemID, Timeline: src.node.Timeline, LSN: src.node.Position().LSN,
		InRecovery: src.node.Mode == cluster.ModeStandby, History: src.history}) {
	case RelationFollows:
		if m.node.Mode == cluster.ModeStandby {
			m.up, m.slotless = up.Member, false
			return nil
		}
		return m.start(false, &up)
	case RelationDiverged, RelationUnrelated: // a rewind ends as a clone does
		return m.clone(up)
	}
	return errors.New("no source")
}

func (m *machine) clone(up Upstream) error {
	src := m.w.at(up.Member)
	if !src.on || src.node.Mode != cluster.ModePrimary {
		return errors.New("connection refused")
	}
	m.stopServer(cluster.ControlInProduction)
	end := src.node.Position().LSN
	m.node = cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataValid, SystemID: src.node.SystemID, Timeline: src.node.Timeline,
		ReplayLSN: end, Control: cluster.ControlData{StandbySignal: true, State: cluster.ControlInArchiveRecovery, MinRecovery: end}}
	m.history = src.history
	return m.start(false, &up)
}

// killAgent ends the worker only; the guard and the server go on.
func (m *machine) killAgent() { m.agent, m.job = false, nil }

// crash ends the server only.
func (m *machine) crash() { m.stopServer(cluster.ControlInProduction) }

// wishes has the operator ask for a switchover or failover.
func (w *world) wishes(from, to string) {
	w.edit(func(v *cluster.View) {
		v.Failover = &cluster.Failover{Leader: from, Member: to, ID: fmt.Sprint("op-", v.Revision), ModRevision: v.Revision}
	})
}

func (w *world) pause(on bool) {
	raw := "{}"
	if on {
		raw = "paused"
	}
	w.edit(func(v *cluster.View) { v.Config = &cluster.Config{Raw: []byte(raw), ModRevision: v.Revision} })
}

// waits until a member gives a reason.
func (m *machine) says(reason cluster.Reason) {
	m.w.t.Helper()
	m.w.until(m.name+" says "+string(reason), 40*time.Second, func() bool {
		n := len(m.reasons)
		return n > 0 && m.reasons[n-1] == reason
	})
}
