package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// branch is one history of the log: what one tenure of one primary has written.
// Its number is what PostgreSQL shows; two branches may have the same one, which
// is the trap that reservations are against.
type branch struct {
	id       int
	timeline cluster.Timeline
	parent   *branch
	fork     cluster.LSN // where it left parent
	end      cluster.LSN // how far it was written
	writer   string
	history  cluster.History // the switches before it, of timelines only
}

// holds reports whether a log that ends at lsn on b contains what was written up
// to at on other.
func (b *branch) holds(lsn cluster.LSN, other *branch, at cluster.LSN) bool {
	for b != nil {
		if b == other {
			return at <= lsn
		}
		lsn = min(lsn, b.fork)
		b = b.parent
	}
	return false
}

// directory is a data directory.
type directory struct {
	data     cluster.DataDir
	systemID string
	branch   *branch
	end      cluster.LSN // durable, and replayed: a standby here replays at once
	control  cluster.ControlData
	// minRecovery is what pg_control of a standby knows; it lags behind end.
	minRecovery cluster.LSN
	upstream    string
	slot        string
	history     map[cluster.Timeline]bool // history files, placeholders too
	slots       []string
}

func (d directory) clone() directory {
	d.slots = slices.Clone(d.slots)
	own := map[cluster.Timeline]bool{}
	for t := range d.history {
		own[t] = true
	}
	d.history = own
	return d
}

// phase is what the server's processes do.
type phase int

const (
	absent phase = iota
	starting
	standby
	primary
	stopping // asked to stop: clients are gone
	dying    // SIGQUIT or SIGKILL: gone in a moment
)

// model is one node's server and its disk.
type model struct {
	n *Node
	directory
	aside *directory // the newest directory moved aside
	// tombstone: what is there is incomplete.
	phase  phase
	frozen bool
	// deaf: SIGQUIT does not end it, only SIGKILL does.
	deaf     bool
	pid      int
	gone     []int // postmasters the guard has not waited for
	writable bool  // started without standby.signal
	promote  bool  // SIGUSR1 came with a promote file
	source   *model
	received cluster.LSN
	turn     uint64 // of the phase: what was planned for another one is void
	since    time.Duration
	lagged   bool // the receiver gets nothing
}

const (
	segment     = 1 << 24
	recordBytes = 120
	checkpoint  = 104
)

// after plans something for the server as it is now.
func (p *model) after(d time.Duration, do func()) {
	turn := p.turn
	p.n.w.after(d+p.n.diskDelay, func() {
		switch {
		case p.turn != turn:
		case p.frozen: // goes on when it thaws
			p.n.w.after(20*time.Millisecond, func() { p.again(turn, do) })
		default:
			do()
		}
	})
}

func (p *model) again(turn uint64, do func()) {
	switch {
	case p.turn != turn:
	case p.frozen:
		p.n.w.after(20*time.Millisecond, func() { p.again(turn, do) })
	default:
		do()
	}
}

func (p *model) enter(next phase) {
	p.phase, p.since = next, p.n.w.now
	p.turn++
}

// running reports whether queries are answered.
func (p *model) running() bool { return p.phase == standby || p.phase == primary }

// accepts reports whether a client's commit would be acknowledged now.
func (p *model) accepts() bool { return p.phase == primary && !p.frozen }

// initdb fills an empty directory.
func (p *model) initdb(systemID string) {
	b := &branch{id: p.n.w.branchID(), timeline: 1, end: 0x1000000 + 2*segment, writer: p.n.name}
	p.directory = directory{data: cluster.DataValid, systemID: systemID, branch: b, end: b.end, history: map[cluster.Timeline]bool{}}
	p.control = cluster.ControlData{State: cluster.ControlShutdown}
	p.checkpointHere()
}

// checkpointHere writes what pg_control says of a checkpoint at the end.
func (p *model) checkpointHere() {
	p.control.Checkpoint, p.control.Redo = p.end-checkpoint, p.end-checkpoint
	p.control.CheckpointEnd = p.end
	p.control.Timeline, p.control.SystemID = p.branch.timeline, p.systemID
}

// start is the postmaster's beginning.
func (p *model) start() int {
	w := p.n.w
	w.pids++
	p.pid, p.promote, p.received, p.source = w.pids, false, 0, nil
	p.writable = !p.control.StandbySignal
	p.enter(starting)
	recovery := 20*time.Millisecond + w.jitter(60*time.Millisecond)
	if !p.control.State.Clean() {
		recovery += w.jitter(800 * time.Millisecond)
	}
	p.after(recovery, p.recovered)
	return p.pid
}

func (p *model) recovered() {
	w := p.n.w
	if !p.writable {
		p.control.State = cluster.ControlInArchiveRecovery
		p.enter(standby)
		if p.promote {
			p.promotion()
		}
		return
	}
	if b := p.branch; b.writer != p.n.name || b.end != p.end {
		// It writes on where others may have the same numbers with other content.
		p.branch = &branch{id: w.branchID(), timeline: b.timeline, parent: b, fork: p.end, end: p.end, writer: p.n.name, history: b.history}
	}
	p.write(checkpoint)
	p.control.State = cluster.ControlInProduction
	p.checkpointHere()
	p.enter(primary)
	w.opened(p.n, false)
}

func (p *model) write(bytes cluster.LSN) {
	p.end += bytes
	p.branch.end = p.end
}

// promotion ends recovery on the first number above every history file.
func (p *model) promotion() {
	w := p.n.w
	p.source = nil
	p.turn++
	p.after(16*time.Millisecond+w.jitter(80*time.Millisecond), func() {
		number := p.branch.timeline
		for t := range p.history {
			number = max(number, t)
		}
		number++
		old := p.branch
		h := append(slices.Clone(old.history), cluster.HistoryLine{Timeline: old.timeline, Switch: p.end, Reason: "no recovery target specified"})
		p.branch = &branch{id: w.branchID(), timeline: number, parent: old, fork: p.end, end: p.end, writer: p.n.name, history: h}
		p.history[number] = true
		p.write(checkpoint)
		p.control.StandbySignal = false
		p.control.State = cluster.ControlInProduction // the end-of-recovery record; the checkpoint comes later
		p.enter(primary)
		w.opened(p.n, true)
	})
}

// signalled does what a signal to the postmaster does.
func (p *model) stopFast() {
	if p.phase == absent || p.phase == stopping || p.phase == dying {
		return
	}
	was := p.phase
	p.enter(stopping)
	p.after(10*time.Millisecond+p.n.w.jitter(40*time.Millisecond), func() {
		switch was {
		case primary:
			p.write(checkpoint)
			p.checkpointHere()
			p.control.State = cluster.ControlShutdown
			p.n.w.ship(p) // walsenders send the last record before the server ends
		case standby:
			p.control.State = cluster.ControlShutdownInRecovery
			p.minRecovery = p.end
		}
		p.ended()
	})
}

// quit is SIGQUIT.
func (p *model) quit() {
	if p.phase == absent || p.phase == dying || p.deaf {
		return
	}
	p.enter(dying)
	p.after(time.Millisecond+p.n.w.jitter(15*time.Millisecond), p.ended)
}

// kill is SIGKILL to every process: it reaches frozen ones too.
func (p *model) kill() {
	if p.phase == absent {
		return
	}
	p.frozen = false
	p.enter(dying)
	p.n.w.after(300*time.Microsecond, func() {
		if p.phase == dying {
			p.ended()
		}
	})
}

// ended: no process is left.
func (p *model) ended() {
	p.gone = append(p.gone, p.pid)
	p.frozen, p.source = false, nil
	p.enter(absent)
	if g := p.n.guard; g != nil {
		p.n.w.after(0, g.turn)
	}
}

// crash takes everything that was not durable; a commit was, before it was acknowledged.
func (p *model) crash() {
	p.frozen, p.source, p.gone = false, nil, nil
	p.enter(absent)
}

// connects reports whether a standby can stream from up, and onto which branch.
func (p *model) connects(up *model) bool {
	if !up.running() && up.phase != stopping || up.frozen || p.frozen || p.lagged || !p.n.w.reach(p.n, up.n) || up.systemID != p.systemID {
		return false
	}
	// A newer history, or the same: ours must be a part of it.
	return up.branch.timeline >= p.branch.timeline && up.branch.holds(up.end, p.branch, p.end)
}

// stream brings a standby to where its upstream is.
func (p *model) stream() {
	if p.phase != standby || p.frozen {
		return
	}
	up := p.n.w.byName(p.upstream)
	if up == nil || up == p.n || !p.connects(up.pg) {
		p.source = nil
		return
	}
	if p.source != up.pg {
		p.source = up.pg
	}
	if up.pg.end != p.end || up.pg.branch != p.branch {
		if up.pg.branch.timeline != p.branch.timeline {
			for _, line := range up.pg.branch.history {
				p.history[line.Timeline] = true
			}
			p.history[up.pg.branch.timeline] = true
		}
		p.end, p.branch = up.pg.end, up.pg.branch
	}
	p.received = p.end
}

// node is what a look sees.
func (p *model) node() cluster.NodeState {
	s := cluster.NodeState{Mode: cluster.ModeStopped, Data: p.data, ServerVersion: 150000}
	if p.data != cluster.DataValid {
		return s
	}
	s.SystemID, s.Timeline, s.Control = p.systemID, p.control.Timeline, p.control
	s.Control.SystemID = p.systemID
	if p.control.StandbySignal {
		s.Control.MinRecovery, s.Control.MinRecoveryTLI = p.minRecovery, p.control.Timeline
	}
	switch p.phase {
	case absent:
		return s
	case starting:
		s.Mode = cluster.ModeStarting
		return s
	case stopping, dying:
		s.Mode = cluster.ModeStopping
		return s
	}
	s.PostmasterPID, s.PostmasterTime = p.pid, fmt.Sprint(p.pid)
	s.Timeline, s.TimelineHistory = p.branch.timeline, p.branch.history
	s.Slots = p.slotRows()
	s.Walsenders = p.n.w.walsenders(p)
	if p.phase == primary {
		s.Mode, s.WriteLSN = cluster.ModePrimary, p.end
		return s
	}
	s.Mode, s.ReceiveLSN, s.ReplayLSN = cluster.ModeStandby, p.received, p.end
	if p.upstream != "" {
		s.PrimaryConninfo, s.PrimarySlotName = "host="+p.upstream+" port=5432 user=replicator", p.slot
	}
	if p.source != nil {
		s.Receiver = &cluster.Receiver{Status: "streaming", Host: p.source.n.name, Port: "5432", SlotName: p.slot, Latest: p.end, Timeline: p.branch.timeline}
	}
	return s
}

func (p *model) slotRows() []cluster.Slot {
	var rows []cluster.Slot
	for _, name := range p.slots {
		rows = append(rows, cluster.Slot{Name: name, Type: "physical", Restart: 1, WalStatus: "reserved", Active: p.n.w.slotActive(p, name)})
	}
	return rows
}
