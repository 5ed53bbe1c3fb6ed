package pgfake

import (
	"fmt"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// version is server_version_num in pg_control's terms; running servers add the minor.
const version = 150000

// Server is a member's data directory, the server in it and the machine below.
type Server struct {
	// Lag is how much longer WAL is on its way to this standby, ReplayDelay how
	// far its replay is behind (trap 14).
	Lag, ReplayDelay time.Duration
	// DiskDelay is how much longer everything takes here that waits for the disk.
	DiskDelay time.Duration
	// Lingers is how much longer a promotion takes between the removal of standby.signal
	// and its end.
	Lingers time.Duration

	site     *Site
	name     string
	number   int
	dir      directory
	asides   []directory
	proc     process
	machine  machine
	work     *Work
	sync     syncing
	archiver archiver
	reaped   []int
	said     string
	// pending are the signals a frozen postmaster has not seen.
	pending []syscall.Signal
	// pumped is the round of streaming this server had its turn in.
	pumped   uint64
	workHeld cluster.Instant
	// starved: its replication connections carry nothing.
	starved bool
	served  served
	shown   shown
	// gate is the name in force that commits wait for where no standbys are waited for.
	gate string
}

// process is the server's processes.
type process struct {
	mode cluster.Mode
	pid  int
	// leftover is a backend that outlived its postmaster; writable tells that it
	// was a primary's.
	leftover int
	writable bool
	// born is began in words.
	born string
	// began is when the postmaster started, due when the present phase (starting,
	// stopping, dying) ends, promoting when the promotion does, unlinks when that removes
	// standby.signal; 0 for not.
	began, due, promoting, unlinks cluster.Instant
	// settles is when the checkpoint after a promotion comes by itself.
	settles     cluster.Instant
	checkpoint  *Work
	promoteFile bool
	// promote: SIGUSR1 came, and recovery was not ready for it.
	promote bool
	// quitting: SIGQUIT came.
	quitting bool
	// waits: commits wait for the names, as the checkpointer read them last; occupied: it
	// is in a checkpoint, beside those it was asked for.
	waits, occupied bool
	// crashes of backends under this postmaster; crashEnds has one end it.
	crashes   int
	crashEnds bool
	recovery
	senders []*stream
}

// recovery is a standby's state.
type recovery struct {
	up              Upstream // in force
	conninfo        string
	recv            *stream
	tryAt           cluster.Instant
	receive, replay cluster.LSN
	// drained: all WAL in the directory has been read since the start; readAt is when the
	// startup process comes to the end of it, unless something holds replay up.
	drained bool
	readAt  cluster.Instant
	// goal is recovery_target_timeline=latest as of now.
	goal           cluster.Timeline
	paused         bool // by an operator
	maxConnections int
	// complaint is why it last could not stream.
	complaint string
}

// machine is what can go wrong below the server.
type machine struct {
	on              bool
	frozen, stalled bool
	haltedAt        cluster.Instant
	full, exhausted bool
	cramped         bool // full, but for the WAL's volume
	exhaustedAt     cluster.Instant
	busy, stuck     bool
}

// Name is the member's.
func (s *Server) Name() string { return s.name }

// Number counts the servers of a site from 0, in the order in which they were made.
func (s *Server) Number() int { return s.number }

// draw is how long something takes here that waits for the disk.
func (s *Server) draw(c Cost) time.Duration { return s.site.draw(c) + s.DiskDelay }

func (s *Server) halted() bool { return s.machine.frozen || s.machine.stalled }

// serves reports whether queries are answered.
func (s *Server) serves() bool { return s.proc.mode.Running() }

// connect tries a query; fresh asks for a new connection.
func (s *Server) connect(now cluster.Instant, fresh bool) error {
	switch {
	case s.proc.mode == cluster.ModeStopped || !s.machine.on:
		return ErrNoServer
	case s.machine.frozen:
		return ErrHung
	case !s.serves():
		return fmt.Errorf("%w: the database system is %s", ErrNoServer, s.proc.mode)
	case s.machine.exhausted && !s.site.traps.NoExhaustion && (fresh || s.proc.began > s.machine.exhaustedAt):
		return ErrTooMany
	}
	return nil
}

// Look is postgres.Server.Look of a server that runs. ErrHung means that the
// answer never comes: wait until the caller's patience ends.
func (s *Server) Look(now cluster.Instant) (cluster.NodeState, error) {
	s.site.Advance(now)
	n, p := s.Disk(), &s.proc
	n.PostmasterPID = p.pid
	if err := s.connect(now, false); err != nil {
		if n.Mode = p.mode; !s.machine.frozen && (n.Mode == cluster.ModeStarting || n.Mode == cluster.ModeStopping) {
			return n, nil
		}
		return cluster.NodeState{}, err
	}
	n.Mode, n.ServerVersion = p.mode, version+18
	n.PostmasterTime = p.born
	n.Timeline = s.dir.branch.timeline
	if p.mode == cluster.ModePrimary {
		n.WriteLSN, n.Gate, n.CheckpointerPID = s.dir.end, s.gateState(), p.pid+1+p.crashes
	} else {
		n.Timeline = max(n.Timeline, s.dir.control.Timeline, s.dir.control.MinRecoveryTLI)
		n.ReceiveLSN, n.ReplayLSN, n.ReplayPaused, n.EndKnown = p.receive, p.replay, s.replayPaused(), p.drained
		n.ReplaysOwn = !p.drained || p.replay < s.dir.end
		n.PrimaryConninfo, n.PrimarySlotName = p.conninfo, p.up.Slot
		if p.recv != nil {
			n.Receiver = s.shown.receive(cluster.Receiver{Status: "streaming", Host: p.up.Host, Port: p.up.Port, SlotName: p.up.Slot,
				Latest: p.recv.up.dir.end, Timeline: s.dir.branch.timeline})
		}
	}
	n.TimelineHistory = s.dir.historyOf(n.Timeline)
	n.Walsenders, n.Slots = s.walsenders(now), s.slotRows()
	return n, nil
}

// walsenders are the rows of pg_stat_replication.
func (s *Server) walsenders(now cluster.Instant) []cluster.Walsender {
	rows := s.shown.senders.room()
	for i, st := range s.proc.senders {
		if st.gate != nil { // is none of the members
			continue
		}
		w := cluster.Walsender{Name: st.name, PID: s.proc.pid + 100 + i, State: "streaming", SyncState: "async", Sent: s.dir.end}
		w.Flush = s.confirmed(st, now)
		w.Write, w.Replay = w.Flush, w.Flush
		if st.down != nil {
			w.Replay = min(w.Flush, st.down.proc.replay)
		}
		if s.sync.lists(st.name) {
			w.SyncState = "quorum"
		}
		rows = append(rows, w)
	}
	return s.shown.senders.same(rows)
}

func (s *Server) slotRows() []cluster.Slot {
	rows := s.shown.slots.room()
	for _, l := range s.dir.slots {
		rows = append(rows, s.slotRow(l))
	}
	return s.shown.slots.same(rows)
}

// LookFast is postgres.Server.LookFast.
func (s *Server) LookFast(now cluster.Instant) (Fast, error) {
	s.site.Advance(now)
	if err := s.connect(now, false); err != nil {
		return Fast{}, err
	}
	if s.proc.mode == cluster.ModePrimary {
		return Fast{Flush: s.dir.end, Timeline: s.dir.branch.timeline}, nil
	}
	f := Fast{InRecovery: true, Receive: s.proc.receive, Replay: s.proc.replay, Receiver: s.proc.recv != nil, EndKnown: s.proc.drained}
	if f.Receiver {
		f.Timeline = s.dir.branch.timeline
	}
	return f, nil
}

// SourceInfo asks the member from who and where it is.
func (s *Server) SourceInfo(now cluster.Instant, from string) (Source, error) {
	s.site.Advance(now)
	up := s.site.find(from)
	if up == nil || !s.site.reaches(s, up) {
		return Source{}, ErrUnreachable
	}
	if err := up.connect(now, true); err != nil {
		return Source{}, err
	}
	d := &up.dir
	return Source{SystemID: d.systemID, Timeline: d.branch.timeline, LSN: d.end, History: d.branch.history,
		InRecovery: up.proc.mode == cluster.ModeStandby}, nil
}

// Removed says why the member from cannot send what this standby asks for next; empty when
// it can.
func (s *Server) Removed(from string) string {
	if up := s.site.find(from); up != nil && s.site.segment(s.dir.end) < up.dir.kept {
		return fmt.Sprintf("requested WAL segment at %s has already been removed", s.site.segment(s.dir.end))
	}
	return ""
}

// Scan lists the processes that have the data directory as working directory:
// the postmaster, and a backend that outlived one.
func (s *Server) Scan() []int {
	var pids []int
	if s.proc.mode != cluster.ModeStopped {
		pids = append(pids, s.proc.pid)
	}
	if s.proc.leftover != 0 {
		pids = append(pids, s.proc.leftover)
	}
	return pids
}

// Reap returns the postmasters that ended since the last call.
func (s *Server) Reap() []int {
	gone := s.reaped
	s.reaped = nil
	return gone
}

// StartFailure is what a server said that ended while starting; empty after a
// start that went well.
func (s *Server) StartFailure() string { return s.said }

// Complaint is why a standby could not stream when it last tried; empty while it
// streams.
func (s *Server) Complaint() string { return s.proc.complaint }

// Signal sends a signal to the postmaster: SIGTERM and SIGINT (both a fast stop
// here), SIGQUIT, SIGKILL, SIGUSR1 (promotes, after PlacePromote). A frozen one
// acts on it when it thaws, on SIGKILL at once.
func (s *Server) Signal(now cluster.Instant, pid int, sig syscall.Signal) error {
	s.site.Advance(now)
	if s.proc.mode == cluster.ModeStopped || s.proc.pid != pid {
		return syscall.ESRCH
	}
	if s.machine.frozen && sig != syscall.SIGKILL {
		s.pending = append(s.pending, sig)
		return nil
	}
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT:
		s.stop(now)
	case syscall.SIGQUIT:
		s.quit(now)
	case syscall.SIGKILL:
		s.killPostmaster(now)
	case syscall.SIGUSR1:
		s.promoteSignal(now)
	}
	return nil
}
