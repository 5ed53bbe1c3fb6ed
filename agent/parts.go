package agent

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// What effects run on. A worker gives the real parts, the simulator models of
// them; the effects themselves are the same code.
type (
	// Server is the local server and its directory; *postgres.Server is it.
	Server interface {
		looker
		starter
		copier
		tuner
	}
	// looker says how the server is.
	looker interface {
		Look(ctx context.Context, running bool, pid int) (cluster.NodeState, error)
		LookFast(ctx context.Context) (postgres.Fast, error)
		Disk(ctx context.Context) (cluster.NodeState, error)
		Close()
	}
	// starter prepares what the guard then does.
	starter interface {
		StartSpec(writable bool, settings cluster.Settings) (postgres.Start, error)
		SetStandbySignal(on bool) error
		StartFailure(start postgres.Start) error
		CheckPort(ctx context.Context) error
		HistoryFiles(current, wanted cluster.Timeline) (map[string]string, error)
		FillHistory(current, upTo cluster.Timeline) error
		TerminateStuckWalsenders(ctx context.Context, patience func(member string) time.Duration) ([]string, error)
	}
	// copier makes and replaces the data directory.
	copier interface {
		InitDB(ctx context.Context, spec postgres.InitSpec) (systemID string, err error)
		SourceInfo(ctx context.Context, source postgres.Source) (postgres.SourceInfo, error)
		SourceReady(ctx context.Context, source postgres.Source) error
		KeepWAL(ctx context.Context) error
		KeepLost(ctx context.Context, l postgres.Losing) (lost cluster.Lost, found bool, err error)
		Rewind(ctx context.Context, source postgres.Source, how postgres.Rewinding) (rewound bool, err error)
		Clone(ctx context.Context, source postgres.Source, progress func(done, total int64)) error
		MakeRoom(ctx context.Context, m postgres.Making) (postgres.Room, error)
		MoveAside(ctx context.Context) (newPath string, err error)
	}
	// tuner changes a running server, or how it will run.
	tuner interface {
		WriteConfig(ctx context.Context, spec postgres.ConfigSpec) (postgres.Change, error)
		WriteUpstream(up postgres.Upstream) error
		WriteGate(gate string) error
		GateTaken(ctx context.Context) error
		GateLogin() postgres.Login
		Follow(ctx context.Context, up postgres.Upstream) error
		Reload(ctx context.Context) error
		Checkpoint(ctx context.Context) error
		ArchiveHistory(ctx context.Context) error
		RecoversByItself(ctx context.Context) error
		SetSync(ctx context.Context, names string) (from cluster.LSN, err error)
		EnsureSlots(ctx context.Context, want []string, policy postgres.SlotPolicy) (postgres.SlotChanges, error)
	}

	// Guard is a session with the guard; *guard.Client is it.
	Guard interface {
		Status(ctx context.Context) (guard.Status, error)
		Start(ctx context.Context, o guard.StartOptions) (guard.Started, error)
		Adopt(ctx context.Context, pid int, dataDir string, writable bool) (guard.Started, error)
		Stop(ctx context.Context, mode guard.Mode) error
		Promote(ctx context.Context, term int64, dataDir string, history map[string]string) error
		Renewed(ctx context.Context, term int64, renewed, at, margin time.Duration) error
		Gate(ctx context.Context, g *guard.Gate) error
		Watchdog(ctx context.Context, w guard.Watchdog, dataDir string) error
		EndTerm(ctx context.Context, term int64) error
		SetPause(ctx context.Context, on bool) error
		KillLeftovers(ctx context.Context, dataDir string) (int, error)
		Shutdown(ctx context.Context, force bool) error
	}

	// Link keeps the session with the guard.
	Link interface {
		// Guard is the session, nil while there is none.
		Guard() Guard
		// PID is the postmaster's, 0 when the guard has none.
		PID() int
		// Started notes a server that a job has had the guard start.
		Started(s guard.Server)
		// Exited is closed when the instance has exited and none of it is left.
		Exited(instance string) <-chan struct{}
		// Kill kills a guard that hangs and every process of the server, and
		// returns when it is proved that none is left.
		Kill() (killed int, err error)
	}

	// FailsafePeers asks members for their promise.
	FailsafePeers interface {
		// Ask asks all at once, and ends with ctx, when all have answered, or when heard
		// says that it has heard enough. heard is called one answer at a time.
		Ask(ctx context.Context, ask cluster.FailsafeAsk, peers []election.FailsafePeer, heard func(name string, a cluster.FailsafeAnswer, err error) (enough bool))
	}

	// Knocker tries other members' nodes.
	Knocker interface {
		// Knock says who answers there, its agent or its server; empty for neither. It
		// ends with ctx.
		Knock(ctx context.Context, do Knock) (answered string)
	}

	// Clock is time as effects know it. Waits end early with done or ctx.
	Clock interface {
		Now() cluster.Instant
		Wall() time.Time
		// Sleep reports whether d passed.
		Sleep(done <-chan struct{}, d time.Duration) bool
		// Wait reports whether until was closed within d.
		Wait(ctx context.Context, until <-chan struct{}, d time.Duration) bool
		WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	}
)

// Parts are what a Node is made of.
type Parts struct {
	Store  *dcs.Store
	Server Server
	Link   Link
	Clock  Clock
	Config *config.Config
	// Post gives the loop an event that an effect reports before its end.
	Post func(Event)
	// ReadStore has whoever watches the store read it anew, by a read that has yet to leave, and go on from there.
	ReadStore func()
	// Reread reads the local configuration again.
	Reread func() error
	// ReadLost reads the summaries of abandoned WAL; may be nil.
	ReadLost func() ([]cluster.Lost, error)
	// Persist keeps what a reboot must not forget, durably.
	Persist func(Memory) error
	// Peers asks other members for their promise; nil asks nobody.
	Peers FailsafePeers
	// Knocker tries whether the leader's node answers.
	Knocker Knocker
	// Answer answers another member's question; may be nil where none comes.
	Answer func(id uint64, a cluster.FailsafeAnswer)
	// Device fails where a device is not there; nil looks into the file system.
	Device func(path string) error
	Log    *slog.Logger
}

// NewNode makes the runner of effects on the given parts.
func NewNode(p Parts) *Node {
	n := &Node{
		store: p.Store, pg: p.Server, link: p.Link, clock: p.Clock, log: p.Log,
		post: p.Post, readStore: p.ReadStore, reread: p.Reread, readLost: p.ReadLost, persist: p.Persist, peers: p.Peers, knocker: p.Knocker, answer: p.Answer, device: p.Device, dataDir: p.Config.PostgreSQL.DataDir,
	}
	if n.device == nil {
		n.device = func(path string) error { _, err := os.Stat(path); return err }
	}
	n.local.Store(p.Config)
	n.loadLost()
	return n
}

// realClock is the machine's.
type realClock struct{}

func (realClock) Now() cluster.Instant { return clock.Now() }

func (realClock) Wall() time.Time { return clock.Wall() }

func (realClock) Sleep(done <-chan struct{}, d time.Duration) bool { return clock.Sleep(done, d) }

func (realClock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

func (realClock) Wait(ctx context.Context, until <-chan struct{}, d time.Duration) bool {
	timer := clock.Timer(d)
	defer timer.Stop()
	select {
	case <-until:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Kill reaches even a stopped guard, whose death takes the postmaster with it;
// whatever is left in the data directory is killed from here and proved gone. A guard
// that has done all that is left alone: errNothingLeft. So is one that leaves the rest to
// its watchdog.
func (g *guardLink) Kill() (killed int, err error) {
	g.mu.Lock()
	client := g.now
	if client == nil {
		client = g.dialed
	}
	g.mu.Unlock()
	if client != nil && g.nothingLeft(client) {
		return 0, errNothingLeft
	}
	if client != nil && !g.leftToWatchdog(client) {
		if err := client.KillPeer(); err != nil {
			g.log.Warn("guard not killed", "pid", client.PeerPID(), "error", err.Error())
		}
	}
	return guard.KillAll(g.dataDir, killPatience)
}

// nothingLeft: the guard answers, and neither it nor we see anything of the server. So
// it is for a worker that was frozen itself: it reads the clock, which has passed the
// deadline, before it reads what its guard has told it since.
//
// With nothing left there is nothing to hurry for, so the answer may take as long as a
// busy machine needs. What would end the wait is looked for meanwhile: a process of
// the server that a guard, frozen in the middle of a start, brings up yet, and a guard
// that will not answer since it is stopped.
func (g *guardLink) nothingLeft(client *guard.Client) bool {
	nothing := func() bool {
		pids, err := g.leftovers()
		return err == nil && len(pids) == 0
	}
	if !nothing() {
		return false // no time is lost with asking
	}
	ctx, cancel := context.WithTimeout(context.Background(), busyPatience)
	defer cancel()
	go func() {
		for clock.Sleep(ctx.Done(), redialPause) {
			if stoppedByKernel(client.PeerPID()) || !nothing() {
				cancel()
			}
		}
	}()
	status, err := client.Status(ctx)
	return err == nil && status.Server == nil && nothing() // the second look, as the guard's own proof wants it
}
