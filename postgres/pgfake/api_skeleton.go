package pgfake

import (
	"errors"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Site is all servers of one world, so that they can stream from each other.
type Site struct {
	// Reach reports whether packets get from one member to another and back;
	// nil for always.
	Reach func(from, to string) bool
	// Jitter draws a duration in [0, spread); nil for always 0.
	Jitter func(spread time.Duration) time.Duration
	// Notify is told what happens by itself; nil for nobody. It is called inside
	// Advance and the methods that take a time, and must not call back.
	Notify func(Happening)
}

// What happens to a server by itself, for Site.Notify.
const (
	// Exited: the postmaster has ended; Reap has its pid.
	Exited Kind = iota
	// Opened: the server accepts writes.
	Opened
	// Promoted: it does so on a new timeline.
	Promoted
	// Settled: a commit that waited got its outcome.
	Settled
)

// Kind says what a Happening is.
type Kind int

// Happening is something that happened to Server at At.
type Happening struct {
	Kind    Kind
	Server  *Server
	At      cluster.Instant
	Commit  Commit
	Outcome Outcome
}

// Commit names a transaction; 0 is none.
type Commit int32

// Outcome is what a client knows of its transaction.
type Outcome int

// The outcomes of a commit.
const (
	// Refused: nothing was written.
	Refused Outcome = iota
	// Acknowledged: the client was told of success.
	Acknowledged
	// Waiting: durable here or about to be, and not told.
	Waiting
	// Warned: success with the warning that a wait was cancelled. Unknown, for us.
	Warned
	// Lost: the connection broke before an answer.
	Lost
)

// NewSite makes a world without servers.
func NewSite(traps Traps) *Site { panic("not built") }

// Server returns the member's server, made when first asked for: an empty
// directory on a machine that is on.
func (s *Site) Server(name string) *Server { panic("not built") }

// Advance does what is due until now: starts, stops, promotions, checkpoints,
// copies end, WAL is streamed.
func (s *Site) Advance(now cluster.Instant) {}

// NextEvent is when Advance has something to do again, if nothing else happens.
// Streaming is no event: it is worked out when somebody looks.
func (s *Site) NextEvent(now cluster.Instant) (at cluster.Instant, any bool) { return 0, false }

// Server is a member's data directory and the server in it.
type Server struct{}

// Fast is what LookFast sees; the fields are those of postgres.Fast.
type Fast struct {
	InRecovery             bool
	Receive, Replay, Flush cluster.LSN
	Timeline               cluster.Timeline
	Receiver               bool
}

// Source is what a server says of itself; the fields are postgres.SourceInfo's.
type Source struct {
	SystemID   string
	Timeline   cluster.Timeline
	LSN        cluster.LSN
	History    cluster.History
	InRecovery bool
}

// Upstream is whom a standby streams from; Host is the member's name.
type Upstream struct{ Host, Port, Slot string }

// Errors; they stand for those of package postgres of the same name.
var (
	ErrNoServer       = errors.New("no server answers")
	ErrHung           = errors.New("the server does not answer")
	ErrTooMany        = errors.New("too many clients already")
	ErrUnreachable    = errors.New("server not reachable")
	ErrNotEmpty       = errors.New("data directory is not empty")
	ErrBusy           = errors.New("data directory is being worked on")
	ErrRunning        = errors.New("a server runs in the data directory")
	ErrSourceNotReady = errors.New("source of the rewind is not ready")
	ErrTimelineTaken  = errors.New("timeline number cannot be taken")
	ErrNeedClone      = errors.New("rewind is not possible, a clone is needed")
	ErrDamaged        = errors.New("data directory is damaged by an interrupted rewind")
)

// Name is the member's.
func (s *Server) Name() string { return "" }

// Look is postgres.Server.Look of a server that runs. ErrHung means that the
// answer never comes: wait until the caller's patience ends.
func (s *Server) Look(now cluster.Instant) (cluster.NodeState, error) { panic("not built") }

// LookFast is postgres.Server.LookFast.
func (s *Server) LookFast(now cluster.Instant) (Fast, error) { panic("not built") }

// Disk is postgres.Server.Disk: the directory alone.
func (s *Server) Disk() cluster.NodeState { panic("not built") }

// Spawn starts the server as standby.signal says, and gives the postmaster's pid.
func (s *Server) Spawn(now cluster.Instant) (pid int, err error) { panic("not built") }

// Signal sends a signal to the postmaster: SIGTERM and SIGINT (both a fast stop
// here), SIGQUIT, SIGKILL, SIGUSR1 (promotes, after PlacePromote).
func (s *Server) Signal(now cluster.Instant, pid int, sig syscall.Signal) error { panic("not built") }

// Scan lists the processes that have the data directory as working directory:
// the postmaster, and backends that outlived it.
func (s *Server) Scan() []int { panic("not built") }

// KillAll sends SIGKILL to every process Scan finds.
func (s *Server) KillAll(now cluster.Instant) {}

// Reap returns the postmasters that ended since the last call.
func (s *Server) Reap() []int { return nil }

// StartFailure is what a server said that ended while starting.
func (s *Server) StartFailure() string { return "" }

// StandbySignal and SetStandbySignal are about the file standby.signal.
func (s *Server) StandbySignal() bool      { return false }
func (s *Server) SetStandbySignal(on bool) {}

// HistoryFiles is postgres.Server.HistoryFiles.
func (s *Server) HistoryFiles(current, wanted cluster.Timeline) (map[string]string, error) {
	panic("not built")
}

// PlacePromote writes history files and the promote file, as the guard does.
func (s *Server) PlacePromote(history map[string]string) {}

// DropOrphans is what postgres.Server.StartSpec does to placeholders before a start.
func (s *Server) DropOrphans() {}

// WriteUpstream writes primary_conninfo; Follow reloads too, and returns when
// the caller of postgres.Server.Follow would get its answer.
func (s *Server) WriteUpstream(up Upstream) {}
func (s *Server) Follow(now cluster.Instant, up Upstream) (until cluster.Instant, err error) {
	panic("not built")
}

// Checkpoint writes a checkpoint or restart point; its Work ends when it is durable.
func (s *Server) Checkpoint(now cluster.Instant) (*Work, error) { panic("not built") }

// TerminateStuck ends walsenders whose standby confirmed nothing for patience.
func (s *Server) TerminateStuck(now cluster.Instant, patience func(member string) time.Duration) []string {
	panic("not built")
}

// EnsureSlots is postgres.Server.EnsureSlots.
func (s *Server) EnsureSlots(now cluster.Instant, want []string, drop func(cluster.Slot) bool) (made, dropped []string, err error) {
	panic("not built")
}

// Work is an initdb, clone, rewind or checkpoint under way.
type Work struct {
	// Until is when it ends if nothing comes between.
	Until cluster.Instant
	// Done, Err and Rewound are set when it has ended.
	Done    bool
	Err     error
	Rewound bool
}

// SourceInfo asks another member who and where it is.
func (s *Server) SourceInfo(now cluster.Instant, from string) (Source, error) { panic("not built") }

// InitDB, Clone and Rewind are those of package postgres. Clone connects as as.
func (s *Server) InitDB(now cluster.Instant) (*Work, error) { panic("not built") }
func (s *Server) Clone(now cluster.Instant, from, slot, as string) (*Work, error) {
	panic("not built")
}
func (s *Server) Rewind(now cluster.Instant, from string) (*Work, error) { panic("not built") }

// Cancel ends the work under way as postgres does when its caller gives up.
func (s *Server) Cancel(now cluster.Instant) {}

// Interrupt ends the work under way as the death of the agent does: the
// tombstone stays.
func (s *Server) Interrupt(now cluster.Instant) {}

// MoveAside is postgres.Server.MoveAside.
func (s *Server) MoveAside(keep int) error { panic("not built") }

// PowerOff ends everything at once; nobody is told. PowerOn brings the machine
// back without a server.
func (s *Server) PowerOff(now cluster.Instant) {}
func (s *Server) PowerOn(now cluster.Instant)  {}

// Freeze stops every process (SIGSTOP) until it is thawed or killed.
func (s *Server) Freeze(now cluster.Instant, on bool) {}

// Write begins a transaction of size bytes and commits it.
func (s *Server) Write(now cluster.Instant, size int) (Commit, Outcome) { panic("not built") }

// Has reports whether the log holds the commit, durably.
func (s *Server) Has(c Commit) bool { panic("not built") }
