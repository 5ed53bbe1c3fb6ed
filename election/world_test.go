package election

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// world is a small model of a cluster: a store with leases, and machines with an
// agent, a guard and a server, in steps of 20 ms. It is there to see what decisions
// lead to one after the other; it has no delays in the store, no SQL and no disks.
// The simulator proper drives the real loop.
type world struct {
	t        *testing.T
	now      cluster.Instant
	rev      int64
	view     cluster.View
	machines []*machine
	// kept is when each lease was last kept alive, forever a lease without end.
	kept map[int64]cluster.Instant
	// written is what clients wrote, and how far each write reached.
	writes  bool
	primary string // the last writable server seen
	log     []string
}

const (
	tick    = 20 * time.Millisecond
	jobTime = 30 * time.Millisecond
	ttl     = 10 * time.Second
)

// machine is one node.
type machine struct {
	w       *world
	name    string
	on      bool // the machine has power
	agent   bool // its worker runs
	offline bool // it does not reach the store
	deaf    bool // its standby receives nothing
	obs     Observation
	node    cluster.NodeState // the server as it is
	history cluster.History
	up      string // upstream
	boots   int
	job     func() error
	jobEnd  cluster.Instant
	// slotless: it streams from its upstream through no slot.
	slotless bool
	// exited: the agent ended by itself.
	exited bool
	// broken makes jobs of a kind fail.
	broken map[JobKind]bool
	// lost makes the next call of a kind go through or not, and its answer get lost.
	lost map[string]bool
	// guardTerm is the term of the guard's deadline, endedTerm what it may never extend.
	guardTerm cluster.Term
	acted     map[string]int
	reasons   []cluster.Reason
}

func newWorld(t *testing.T, names ...string) *world {
	w := &world{t: t, now: cluster.Instant(time.Hour), rev: 10, kept: map[int64]cluster.Instant{}, writes: true}
	w.view = cluster.View{ClusterID: 1, Members: map[string]cluster.Member{}}
	for _, name := range names {
		m := &machine{w: w, name: name, node: cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty},
			broken: map[JobKind]bool{}, lost: map[string]bool{}}
		w.machines = append(w.machines, m)
		m.powerOn()
	}
	return w
}

// cluster3 is a healthy cluster of a, b and c, led by a.
func cluster3(t *testing.T) *world {
	w := newWorld(t, "a")
	w.run(time.Second)
	for _, name := range []string{"b", "c"} {
		m := &machine{w: w, name: name, node: cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty},
			broken: map[JobKind]bool{}, lost: map[string]bool{}}
		w.machines = append(w.machines, m)
		m.powerOn()
	}
	w.run(5 * time.Second)
	w.healthy("a")
	return w
}

func (w *world) at(name string) *machine {
	for _, m := range w.machines {
		if m.name == name {
			return m
		}
	}
	w.t.Fatalf("no machine %s", name)
	return nil
}

func (m *machine) powerOn() {
	m.on, m.boots, m.exited = true, m.boots+1, false
	m.obs.Guard = Guard{Connected: true}
	m.startAgent()
}

// startAgent is a worker that knows nothing but its machine.
func (m *machine) startAgent() {
	m.agent, m.exited, m.job = true, false, nil
	m.acted = map[string]int{}
	guard := m.obs.Guard
	m.obs = Observation{
		Self: Self{Name: m.name, Node: "node-" + m.name, BootID: fmt.Sprint("boot-", m.boots), Started: m.w.now, Checkpointed: true,
			MemberLease: m.w.next()},
		Settings: cluster.DefaultSettings(), Guard: guard,
	}
	m.w.kept[m.obs.Self.MemberLease] = m.w.now
}

// powerOff is the end of every process of a machine.
func (m *machine) powerOff() {
	m.on, m.agent = false, false
	m.stopServer(cluster.ControlInProduction)
}

// stopServer ends the server in a state of its control file.
func (m *machine) stopServer(primary cluster.ControlState) {
	n := &m.node
	if n.Mode == cluster.ModeStopped {
		return
	}
	n.Control.State = cluster.ControlShutdownInRecovery
	if n.Mode == cluster.ModePrimary {
		n.Control.State = primary
	}
	n.Control.MinRecovery, n.Control.Checkpoint = max(n.ReceiveLSN, n.ReplayLSN), max(n.Control.Checkpoint, n.WriteLSN, n.ReceiveLSN)
	n.Mode, n.Receiver = cluster.ModeStopped, nil
	m.obs.Guard.Running, m.obs.Guard.Writable = false, false
}

func (w *world) next() int64 { w.rev++; return w.rev }

func (w *world) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8.2fs ", w.now.Sub(cluster.Instant(time.Hour)).Seconds())+fmt.Sprintf(format, args...))
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now < end; {
		w.step()
	}
}

// until lets time pass until a condition holds.
func (w *world) until(what string, limit time.Duration, holds func() bool) {
	w.t.Helper()
	for end := w.now.Add(limit); !holds(); w.step() {
		if w.now >= end {
			w.fail("not within %s: %s", limit, what)
		}
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log[max(0, len(w.log)-80):], "\n"))
}

func (w *world) step() {
	w.t.Helper()
	w.now = w.now.Add(tick)
	w.expire()
	for _, m := range w.machines {
		m.guard()
	}
	for _, m := range w.machines {
		m.stream()
	}
	w.oneWriter()
	for _, m := range w.machines {
		if m.on && m.agent {
			m.think()
		}
	}
}

// oneWriter is S1 in this model: at most one server accepts writes.
func (w *world) oneWriter() {
	w.t.Helper()
	var writers []string
	for _, m := range w.machines {
		if m.node.Mode == cluster.ModePrimary {
			writers = append(writers, m.name)
			if w.writes {
				m.node.WriteLSN += 8
			}
		}
	}
	if len(writers) > 1 {
		w.fail("two servers accept writes: %v", writers)
	}
	if len(writers) == 1 && writers[0] != w.primary {
		w.primary = writers[0]
		w.logf("---- %s is writable", w.primary)
	}
}

// expire drops what lies on leases that nobody keeps alive.
func (w *world) expire() {
	gone := func(lease int64) bool { return lease != 0 && w.now >= w.kept[lease].Add(ttl) }
	for name, m := range w.view.Members {
		if gone(m.LeaseID) {
			w.edit(func(v *cluster.View) { delete(v.Members, name) })
		}
	}
	if l := w.view.Leader; l != nil && gone(l.LeaseID) {
		w.logf("---- the leader key of %s expires", l.Name)
		w.edit(func(v *cluster.View) { v.Leader = nil })
	}
	if i := w.view.Initialize; i != nil && gone(i.LeaseID) {
		w.edit(func(v *cluster.View) { v.Initialize = nil })
	}
}

// edit changes the store at a new revision.
func (w *world) edit(f func(*cluster.View)) int64 {
	w.view.Members = maps.Clone(w.view.Members)
	w.view.Revision = w.next()
	f(&w.view)
	return w.view.Revision
}

// guard enforces the deadline.
func (m *machine) guard() {
	g := &m.obs.Guard
	if m.on && g.Running && g.Writable && !g.Paused && m.w.now >= g.Deadline {
		m.w.logf("%s: the guard's deadline fires", m.name)
		m.stopServer(cluster.ControlInProduction)
	}
}

// stream moves WAL to a standby.
func (m *machine) stream() {
	n := &m.node
	n.Receiver = nil
	if n.Mode != cluster.ModeStandby || m.up == "" || m.deaf {
		return
	}
	src := m.w.at(m.up)
	if !src.on || !src.node.Mode.Running() {
		return
	}
	end := src.node.Position().LSN
	if at, ok := src.history.SwitchOf(n.Timeline); ok && src.node.Timeline > n.Timeline && n.Position().LSN <= at {
		n.Timeline, m.history = src.node.Timeline, src.history
	}
	if src.node.Timeline == n.Timeline && n.Position().LSN <= end {
		n.ReceiveLSN, n.ReplayLSN = end, end
		n.Receiver = &cluster.Receiver{Status: "streaming"}
	}
}

// look is what the agent sees of its server.
func (m *machine) look() cluster.NodeState {
	n := m.node
	n.TimelineHistory = m.history
	if n.Data == cluster.DataValid {
		n.PrimaryConninfo = "host=" + m.up + " port=5432"
		if !m.slotless {
			n.PrimarySlotName = cluster.SlotName(m.name)
		}
	}
	if n.Mode != cluster.ModePrimary {
		return n
	}
	for _, other := range m.w.machines {
		if other.up == m.name && other.node.Receiver != nil {
			n.Walsenders = append(n.Walsenders, cluster.Walsender{Name: other.name, State: "streaming", Flush: other.node.ReceiveLSN})
		}
	}
	return n
}

// think is one step of the agent.
func (m *machine) think() {
	w, o := m.w, &m.obs
	o.Now = w.now
	if m.job != nil && w.now >= m.jobEnd {
		m.endJob()
	} else {
		o.Node = cluster.Seen(m.look(), w.now)
	}
	m.observe()
	d := Decide(o)
	if n := len(m.reasons); n == 0 || m.reasons[n-1] != d.Reason {
		m.reasons = append(m.reasons, d.Reason)
		w.logf("%s: %s %s", m.name, d.Reason, d.Detail)
	}
	if d.Done {
		m.agent, m.exited = false, true
		w.logf("%s: the agent exits", m.name)
		if !o.Settings.Pause && !o.Wish.Leave {
			w.edit(func(v *cluster.View) { delete(v.Members, m.name) })
		}
		return
	}
	for _, a := range d.Actions {
		m.do(a)
	}
	m.publish(d)
}

// observe brings the observation up to date with the store and the guard.
func (m *machine) observe() {
	w, o := m.w, &m.obs
	if m.offline {
		o.View = o.View.Failed("etcd does not answer", w.now)
	} else {
		v := w.view
		o.View, o.Read = cluster.Seen(v, w.now), w.now
		switch {
		case v.Beat == nil:
			o.Beat = Sighting{}
		case v.Beat.ModRevision != o.Beat.Revision:
			o.Beat = Sighting{v.Beat.ModRevision, w.now}
		}
		switch sw := v.Switchover; {
		case sw == nil:
			o.Phase = PhaseSeen{}
		case sw.ID != o.Phase.ID || sw.Phase != o.Phase.Phase:
			o.Phase = PhaseSeen{sw.ID, sw.Phase, w.now}
		}
		o.Settings.Pause = v.Config != nil && string(v.Config.Raw) == "paused"
	}
	if DeadlineLifted(o) || !o.Settings.Pause && o.Lease.Term != 0 && o.Guard.Deadline > w.now {
		o.Guard.Paused = o.Settings.Pause
	}
	switch {
	case !Vacant(o):
		o.Vacancy = 0
	case o.Vacancy.Never():
		o.Vacancy = w.now
	}
	if n := o.Node.Value; n.Mode != cluster.ModeStandby || n.Receiver != nil {
		o.NotStreaming = 0
	} else if o.NotStreaming.Never() {
		o.NotStreaming = w.now
	}
	o.Wish.FailoverDue = !o.View.Value.Failover.Empty()
}

// publish keeps the member lease alive and writes the member key.
func (m *machine) publish(d Decision) {
	w, o := m.w, &m.obs
	if m.offline {
		return
	}
	if o.Lease.Term == 0 {
		if w.now >= w.kept[o.Self.MemberLease].Add(ttl) {
			o.Self.MemberLease = w.next()
		}
		w.kept[o.Self.MemberLease] = w.now
	}
	n := m.node
	me := cluster.Member{
		Name: m.name, ConnURL: "postgres://" + m.name + ":5432/postgres", State: cluster.StateStopped, Role: cluster.RoleReplica,
		Timeline: n.Timeline, XlogLocation: n.Position().LSN, Tags: o.Self.Tags, LeaseID: o.Self.MemberLease,
		Keeper: &cluster.MemberKeeper{Node: o.Self.Node, Vacancy: d.Say.Vacancy, Position: d.Say.Position, Switchover: d.Say.Switchover},
	}
	if n.Mode.Running() {
		me.State = cluster.StateRunning
	}
	if n.Mode == cluster.ModePrimary && o.Lease.Term != 0 {
		me.Role = cluster.RolePrimary
	}
	w.edit(func(v *cluster.View) { v.Members[m.name] = me })
}

// healthy: name leads, everybody else that runs streams from it, and nobody does
// anything but keep it so.
func (w *world) healthy(name string) {
	w.t.Helper()
	w.until(name+" leads and all stream", 60*time.Second, func() bool {
		for _, m := range w.machines {
			switch {
			case !m.on || !m.agent || m.offline:
			case m.name == name && (m.node.Mode != cluster.ModePrimary || m.obs.Lease.Term == 0):
				return false
			case m.name != name && (m.up != name || m.node.Receiver == nil):
				return false
			}
		}
		return true
	})
	w.run(15 * time.Second) // what was begun may end
	w.writes = false
	w.run(time.Second)
	for _, m := range w.machines {
		m.acted = map[string]int{}
	}
	w.run(10 * time.Second)
	w.writes = true
	for _, m := range w.machines {
		delete(m.acted, "Renew")
		if len(m.acted) > 0 {
			w.fail("%s does not come to rest: %v", m.name, m.acted)
		}
	}
	if w.primary != name {
		w.fail("%s writes, not %s", w.primary, name)
	}
}

// leads waits until one of names leads a healthy cluster.
func (w *world) leads(names ...string) string {
	w.t.Helper()
	var got string
	w.until("one of "+strings.Join(names, ", ")+" leads", 60*time.Second, func() bool {
		for _, m := range w.machines {
			if m.on && m.agent && m.node.Mode == cluster.ModePrimary && m.obs.Lease.Term != 0 && slices.Contains(names, m.name) {
				got = m.name
			}
		}
		return got != ""
	})
	w.healthy(got)
	return got
}
