package pgfake

import (
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// promoteSignal is SIGUSR1: with the promote file in place, a standby ends its
// recovery.
func (s *Server) promoteSignal(now cluster.Instant) {
	p := &s.proc
	if !p.promoteFile || p.promoting != 0 || p.promote {
		return
	}
	switch p.mode {
	case cluster.ModeStandby:
		s.beginPromotion(now)
	case cluster.ModeStarting:
		p.promote = s.dir.control.StandbySignal
	}
}

// beginPromotion ends the receiver; everything that was received is replayed
// first, so a standby whose replay is behind takes long (trap 14).
func (s *Server) beginPromotion(now cluster.Instant) {
	p := &s.proc
	p.promote = true
	s.endReceiver(now)
	backlog := uint64(s.dir.end - min(s.dir.end, p.replay))
	if s.parameterStop(max(s.dir.control.Redo, 1)) != 0 {
		p.complaint = "promotion is not possible because of insufficient parameter settings"
		return // trap 19: replay cannot go on, and neither can the promotion
	}
	took := s.draw(s.site.Costs.Promote)
	if rate := s.site.Tuning.ReplayRate; rate > 0 && !s.site.traps.NoReplayLag {
		took += time.Duration(float64(backlog) / float64(rate) * float64(time.Second))
	}
	took += s.Lingers
	p.promoting, p.paused = now.Add(took), false
	p.unlinks = p.promoting.Add(-s.site.Costs.Promote.Base/3 - s.Lingers)
	if s.halted() {
		s.machine.haltedAt = min(s.machine.haltedAt, now)
	}
}

// unlinked is the middle of a promotion: standby.signal is gone, durably, and pg_control
// still says "in archive recovery" on the old timeline, for as long as the history file,
// the end-of-recovery record and pg_control itself take. A server that dies now, and is
// started as it is, recovers as a primary of the old timeline.
func (s *Server) unlinked(now cluster.Instant) {
	s.proc.unlinks, s.dir.control.StandbySignal = 0, false
	s.site.tell(Happening{Kind: Unlinked, Server: s, At: now})
}

// promoted is the end of recovery: the number is the first one above the goal
// whose history file is missing (so placeholders are skipped), and the log before
// it is whatever this server had.
func (s *Server) promoted(now cluster.Instant) {
	p, d := &s.proc, &s.dir
	if s.machine.full {
		s.panicFull(now)
		return
	}
	number := d.files.newest(p.goal) + 1
	if s.site.traps.NoSameNumber {
		number = max(number, s.site.highest+1)
	}
	s.site.highest = max(s.site.highest, number)
	history, from := d.branch.history, d.branch.timeline
	if p.goal != from { // it had taken a timeline for its goal that it never got WAL of
		if f, found := d.files.find(p.goal); found && !f.skipped {
			history, from = f.lines, p.goal
		}
	}
	history = append(slices.Clip(slices.Clone(history)),
		cluster.HistoryLine{Timeline: from, Switch: d.end, Reason: "no recovery target specified"})
	d.branch = &branch{timeline: number, parent: d.branch, from: d.end, head: d.end, history: history}
	d.files = d.files.with(historyFile{timeline: number, lines: history})
	p.goal = number
	s.append(now, endOfRecovery)
	d.control.State, d.control.StandbySignal = cluster.ControlInProduction, false
	d.control.MinRecovery, d.control.MinRecoveryTLI = d.end, number
	p.recovery = recovery{goal: number, maxConnections: p.maxConnections}
	p.mode, p.writable, p.promoting, p.unlinks, p.promote, p.promoteFile = cluster.ModePrimary, true, 0, 0, false, false
	p.settles = now.Add(s.site.draw(s.site.Costs.Settle))
	s.archiver.done = min(s.archiver.done, s.site.segment(d.end))
	s.site.tell(Happening{Kind: Promoted, Server: s, At: now})
}
