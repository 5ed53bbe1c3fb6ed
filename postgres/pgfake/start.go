package pgfake

import (
	"fmt"
	"strconv"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Spawn starts the server as standby.signal says, and gives the postmaster's pid.
// A server that cannot start has a pid too, and ends; StartFailure says why.
func (s *Server) Spawn(now cluster.Instant) (pid int, err error) {
	s.site.Advance(now)
	if s.proc.mode != cluster.ModeStopped || !s.machine.on {
		return 0, ErrRunning
	}
	s.site.pids += 1000
	leftover := s.proc.leftover
	s.proc = process{mode: cluster.ModeStarting, pid: s.site.pids, leftover: leftover, began: now, born: strconv.FormatInt(int64(now), 10)}
	p := &s.proc
	p.adopt(s.dir.up)
	s.gate, p.crashEnds = s.dir.gate, s.dir.crashEnds
	if n := s.sync.next; n != nil {
		s.sync.need, s.sync.names, s.sync.next = n.Need, n.Standbys, nil
	}
	p.waits = s.named()
	p.maxConnections = s.dir.maxConnections
	p.due = now.Add(s.draw(s.site.Costs.Start))
	if !s.dir.control.State.Clean() {
		p.due = p.due.Add(s.draw(s.site.Costs.Recovery))
	}
	s.machine.frozen, s.pending = false, nil
	if s.machine.stalled {
		s.machine.haltedAt = now
	}
	if s.said = s.refusal(); s.said != "" {
		p.due = now.Add(s.site.Costs.Start.Base)
		return p.pid, nil
	}
	p.goal = s.dir.branch.timeline
	if s.dir.control.StandbySignal {
		p.goal = s.dir.files.newest(p.goal)
	} else if !s.dir.control.State.Clean() {
		s.dir.control.State = cluster.ControlInCrashRecovery
	}
	return p.pid, nil
}

func (p *process) adopt(up Upstream) {
	p.up, p.conninfo = up, ""
	if up.Host != "" {
		p.conninfo = "dbname=postgres user=replicator host=" + up.Host + " port=" + up.Port
	}
}

// refusal is why the directory lets no server start; empty when it does.
func (s *Server) refusal() string {
	d := &s.dir
	switch {
	case s.proc.leftover != 0:
		return "FATAL: pre-existing shared memory block is still in use"
	case d.data != cluster.DataValid || d.tombstone == tombInit || d.tombstone == tombClone:
		return "FATAL: could not open file \"global/pg_control\""
	case d.ruined:
		return "PANIC: could not locate a valid checkpoint record"
	case s.machine.full:
		return "FATAL: could not write lock file \"postmaster.pid\": No space left on device"
	case !d.control.StandbySignal:
		return ""
	case d.control.MaxConnections > d.maxConnections && !s.site.traps.NoParameterPause:
		return fmt.Sprintf("FATAL: recovery aborted because of insufficient parameter settings: max_connections = %d is a lower setting than on the primary server, where its value was %d",
			d.maxConnections, d.control.MaxConnections)
	}
	return d.childless()
}

// childless is the refusal of a directory whose newest history file is of a
// timeline that does not come from its own.
func (d *directory) childless() string {
	own := d.control.Timeline
	newest := d.files.newest(max(own, d.branch.timeline))
	if newest == own || newest == d.branch.timeline {
		return ""
	}
	f, _ := d.files.find(newest)
	at, found := f.lines.SwitchOf(own)
	if !found || at < d.control.Checkpoint {
		return fmt.Sprintf("FATAL: requested timeline %d is not a child of this server's history", newest)
	}
	if at, found := f.lines.SwitchOf(d.control.MinRecoveryTLI); d.control.MinRecovery != 0 && (!found || at < d.control.MinRecovery) && newest > d.control.MinRecoveryTLI {
		return fmt.Sprintf("FATAL: requested timeline %d does not contain minimum recovery point %s", newest, d.control.MinRecovery)
	}
	return ""
}

// started is the end of a start.
func (s *Server) started(now cluster.Instant) {
	if s.said != "" {
		s.exit(now)
		return
	}
	p, d := &s.proc, &s.dir
	p.due = 0
	if s.machine.full {
		s.panicFull(now)
		return
	}
	if d.control.StandbySignal {
		s.startedStandby(now)
		return
	}
	if d.unacked != 0 && s.site.traps.NoUnackedVisible {
		d.end = min(d.end, d.unacked)
	}
	d.unacked = 0
	if p.maxConnections != d.control.MaxConnections {
		d.control.MaxConnections = p.maxConnections
		s.append(now, 64)
		d.branch.limits = append(d.branch.limits, limit{d.end, p.maxConnections})
	}
	s.checkpointNow(now)
	d.control.State = cluster.ControlInProduction
	d.control.MinRecovery, d.control.MinRecoveryTLI = 0, 0
	p.mode, p.writable = cluster.ModePrimary, true
	s.site.tell(Happening{Kind: Opened, Server: s, At: now})
}

func (s *Server) startedStandby(now cluster.Instant) {
	p, d := &s.proc, &s.dir
	again := d.control.State == cluster.ControlInArchiveRecovery || d.control.State == cluster.ControlShutdownInRecovery
	d.control.State = cluster.ControlInArchiveRecovery
	d.unacked = 0
	p.mode, p.tryAt = cluster.ModeStandby, now
	p.replay = d.end
	if again && !s.site.traps.NoReceiveReset {
		s.readsOwn(now)
	}
	if at := s.parameterStop(max(d.control.Redo, 1)); at != 0 {
		p.replay = at
	}
	if s.site.traps.NoReceiveReset {
		p.receive = d.end
	}
	if p.promote {
		s.beginPromotion(now)
	}
}

// readsOwn: a standby that is started again lets clients in at its minimum recovery point,
// long before it has read what it had received (trap 5). A primary that crashed, or was
// shut down, reads all of its WAL first.
func (s *Server) readsOwn(now cluster.Instant) {
	p, d := &s.proc, &s.dir
	from := min(d.end, max(d.control.Redo, d.control.MinRecovery, 1))
	if from == d.end {
		return
	}
	p.replay, p.readAt = from, now.Add(readsOwnAtLeast)
	if rate := s.site.Tuning.ReplayRate; rate > 0 {
		p.readAt = p.readAt.Add(time.Duration(float64(d.end-from) / float64(rate) * float64(time.Second)))
	}
}

// readsOwnAtLeast is how long a small server takes for that.
const readsOwnAtLeast = 200 * time.Millisecond

// parameterStop is where replay after from stops because the primary had more
// connections than this standby (trap 19); 0 for nowhere.
func (s *Server) parameterStop(from cluster.LSN) cluster.LSN {
	if s.site.traps.NoParameterPause {
		return 0
	}
	return s.dir.branch.limited(from, s.dir.end, s.proc.maxConnections)
}

// append writes records of size bytes, durably. Where others wrote on from the
// same position, or the server writes on where it never was the writer, its own
// log begins: under the same number (trap 6).
func (s *Server) append(now cluster.Instant, size cluster.LSN) {
	s.parts()
	d := &s.dir
	d.end += size
	d.branch.head = d.end
	d.branch.marks = append(d.branch.marks, mark{at: now, end: d.end, n: 1})
}

// parts has the log part from what others wrote on from the same position.
func (s *Server) parts() {
	d := &s.dir
	if d.end < d.branch.head || d.branch.mirror != nil || d.end < d.branch.from {
		b := d.branch.reach(d.end)
		d.branch = &branch{timeline: b.timeline, parent: d.branch, from: d.end, head: d.end, history: b.history}
	}
}

// checkpointNow writes a checkpoint record, or on a standby a restart point.
func (s *Server) checkpointNow(now cluster.Instant) {
	d, mode := &s.dir, s.proc.mode
	if mode == cluster.ModeStandby || mode == cluster.ModeStopping && d.control.State == cluster.ControlInArchiveRecovery {
		d.control.MinRecovery, d.control.MinRecoveryTLI = s.proc.replay, d.branch.reach(s.proc.replay).timeline
		if b := d.branch.reach(s.proc.replay); b.timeline > d.control.Timeline && s.proc.replay > b.from {
			d.control.Timeline = b.timeline
		}
		d.control.Checkpoint = max(d.control.Checkpoint, s.proc.replay-min(s.proc.replay, checkpointRecord))
		d.control.Redo = d.control.Checkpoint
	} else {
		d.control.Checkpoint, d.control.Redo = d.end, d.end
		s.append(now, checkpointRecord)
		d.control.CheckpointEnd = d.end
		d.control.Timeline, d.control.MinRecovery, d.control.MinRecoveryTLI = d.branch.timeline, 0, 0
	}
	s.removeWAL()
}

// Load writes as much in one go, and a checkpoint after it.
func (s *Server) Load(now cluster.Instant, size cluster.LSN) {
	s.site.Advance(now)
	if s.proc.mode == cluster.ModePrimary {
		s.append(now, size)
		s.checkpointNow(now)
	}
}

// Checkpoint writes a checkpoint or restart point; the Work ends when it is durable.
func (s *Server) Checkpoint(now cluster.Instant) (*Work, error) {
	s.site.Advance(now)
	if err := s.connect(now, true); err != nil {
		return nil, err
	}
	if s.proc.checkpoint == nil {
		s.proc.checkpoint = &Work{Until: now.Add(s.draw(s.site.Costs.Checkpoint))}
	}
	return s.proc.checkpoint, nil
}

// PowerOn brings the machine back, without a server.
func (s *Server) PowerOn(now cluster.Instant) {
	s.site.Advance(now)
	s.machine.on = true
}
