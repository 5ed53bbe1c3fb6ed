package sim

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// server is agent.Server over a node's model: the time that package postgres takes
// with files, SQL and programs, and its errors. What they do is pgfake's.
type server struct{ n *Node }

var errNoServer = errors.New("could not connect to the server")

// answer waits as long as a query takes; a server that hangs never answers.
func (s server) answer(ctx context.Context, d time.Duration) error {
	if d += s.n.crowd; d > 0 {
		s.n.sleep(ctx, d)
	}
	if s.n.pg.Frozen() {
		s.n.w.current.waitUntil(ctx, func() bool { return !s.n.pg.Frozen() }, 0)
	}
	return ctx.Err()
}

// Look implements agent.Server.
func (s server) Look(ctx context.Context, _ bool, _ int) (cluster.NodeState, error) {
	if err := s.answer(ctx, 2*time.Millisecond); err != nil {
		return cluster.NodeState{}, err
	}
	state, err := s.n.pg.Look(s.n.w.serverNow())
	if s.n.w.fast && state.Mode == cluster.ModePrimary {
		state.SyncCommit = nobodyWeakens
	}
	return state, err
}

// startingAnswer is how long a server that starts lets a query wait for its refusal.
const startingAnswer = 50 * time.Millisecond

// LookFast implements agent.Server.
func (s server) LookFast(ctx context.Context) (postgres.Fast, error) {
	if !s.n.pg.Frozen() && !s.n.pg.Mode().Running() { // refused
		if s.n.pg.Mode() == cluster.ModeStarting { // not at once, to be asked less often
			s.n.sleep(ctx, startingAnswer)
		}
		return postgres.Fast{}, errNoServer
	}
	if err := s.answer(ctx, 300*time.Microsecond); err != nil {
		return postgres.Fast{}, err
	}
	f, err := s.n.pg.LookFast(s.n.w.serverNow())
	return postgres.Fast{InRecovery: f.InRecovery, Receive: f.Receive, Replay: f.Replay, Flush: f.Flush, Timeline: f.Timeline, Receiver: f.Receiver, EndKnown: f.EndKnown}, err
}

// Disk implements agent.Server.
func (s server) Disk(ctx context.Context) (cluster.NodeState, error) {
	s.n.disk()
	if ctx.Err() != nil {
		return cluster.NodeState{}, ctx.Err()
	}
	return s.n.pg.Disk(), nil
}

// Close implements agent.Server.
func (s server) Close() {}

// WriteGate implements agent.Server.
func (s server) WriteGate(gate string) error {
	s.n.disk()
	s.n.pg.WriteGate(gate)
	return nil
}

// GateTaken implements agent.Server.
func (s server) GateTaken(ctx context.Context) error { return s.namesTaken(ctx) }

// GateLogin implements agent.Server.
func (s server) GateLogin() postgres.Login {
	return postgres.Login{SocketDir: s.n.dataDir, Port: "5432", Username: "postgres"}
}

// StartSpec implements agent.Server.
func (s server) StartSpec(writable bool, settings cluster.Settings) (postgres.Start, error) {
	s.n.disk()
	s.n.pg.DropOrphans()
	if names, changed := s.n.placed(!writable, false, &settings); changed {
		s.n.pg.WriteNames(names)
	}
	return postgres.Start{Argv: s.n.argv[:], DataDir: s.n.dataDir}, nil
}

// SetStandbySignal implements agent.Server.
func (s server) SetStandbySignal(on bool) error {
	s.n.disk()
	s.n.pg.SetStandbySignal(on)
	return nil
}

// StartFailure implements agent.Server.
func (s server) StartFailure(postgres.Start) error {
	if why := s.n.pg.StartFailure(); why != "" {
		return errors.New(why)
	}
	return nil
}

// CheckPort implements agent.Server.
func (s server) CheckPort(context.Context) error { return nil }

// HistoryFiles implements agent.Server.
func (s server) HistoryFiles(current, wanted cluster.Timeline) (map[string]string, error) {
	s.n.disk()
	files, err := s.n.pg.HistoryFiles(current, wanted)
	return files, named(err)
}

// FillHistory implements agent.Server.
func (s server) FillHistory(current, upTo cluster.Timeline) error {
	s.n.disk()
	if files, err := s.n.pg.HistoryFiles(current, upTo); err == nil { // it has that one otherwise, and those before
		s.n.pg.PlaceHistory(files)
	}
	return nil
}

// TerminateStuckWalsenders implements agent.Server.
func (s server) TerminateStuckWalsenders(ctx context.Context, patience func(member string) time.Duration) ([]string, error) {
	if err := s.answer(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	return s.n.pg.TerminateStuck(s.n.w.serverNow(), patience), nil
}

// WriteConfig implements agent.Server.
func (s server) WriteConfig(_ context.Context, spec postgres.ConfigSpec) (postgres.Change, error) {
	s.n.disk()
	if spec.Upstream != nil {
		_ = s.WriteUpstream(*spec.Upstream)
	}
	s.n.pg.WriteConfig(spec.Settings.Pause)
	s.n.pg.WriteGate(spec.Gate)
	s.n.place = &spec.Settings
	return postgres.Change{Reload: true}, nil
}

// WriteUpstream implements agent.Server.
func (s server) WriteUpstream(up postgres.Upstream) error {
	s.n.pg.WriteUpstream(upstream(up))
	return nil
}

func upstream(up postgres.Upstream) pgfake.Upstream {
	return pgfake.Upstream{Host: up.Host, Port: up.Port, Slot: up.SlotName}
}

// Follow implements agent.Server.
func (s server) Follow(ctx context.Context, up postgres.Upstream) error {
	if err := s.answer(ctx, 5*time.Millisecond); err != nil {
		return err
	}
	s.n.pg.WriteUpstream(upstream(up))
	until, err := s.n.pg.Follow(s.n.w.serverNow(), upstream(up))
	if err != nil {
		return err
	}
	s.n.sleep(ctx, until.Sub(s.n.w.serverNow()))
	return ctx.Err()
}

// Reload implements agent.Server.
func (s server) Reload(ctx context.Context) error {
	if err := s.answer(ctx, 2*time.Millisecond); err != nil {
		return err
	}
	if err := s.n.pg.Reload(s.n.w.serverNow()); err != nil {
		return err
	}
	if by := s.n.place; by != nil {
		s.n.place = nil
		if names, changed := s.n.placed(s.n.pg.Disk().Control.StandbySignal, true, by); changed {
			s.n.pg.SetSync(s.n.w.serverNow(), names.Need, names.Standbys...)
		}
	}
	return nil
}

// Checkpoint implements agent.Server.
func (s server) Checkpoint(ctx context.Context) error {
	if err := s.answer(ctx, 0); err != nil {
		return err
	}
	work, err := s.n.pg.Checkpoint(s.n.w.serverNow())
	if err != nil {
		return err
	}
	return s.n.await(ctx, work)
}

// RecoversByItself implements agent.Server.
func (s server) RecoversByItself(context.Context) error {
	s.n.disk()
	return s.n.pg.RecoversByItself(s.n.w.serverNow())
}

// ArchiveHistory implements agent.Server.
func (s server) ArchiveHistory(context.Context) error { return nil }

// EnsureSlots implements agent.Server.
func (s server) EnsureSlots(ctx context.Context, want []string, policy postgres.SlotPolicy) (postgres.SlotChanges, error) {
	if err := s.answer(ctx, 2*time.Millisecond); err != nil {
		return postgres.SlotChanges{}, err
	}
	_, _, err := s.n.pg.EnsureSlots(s.n.w.serverNow(), want, policy.Drop)
	return postgres.SlotChanges{}, err
}

// thawServer has the server's processes go on, and whoever asked it have answers.
func (n *Node) thawServer() {
	n.pg.Freeze(n.w.serverNow(), false)
	n.rouse()
}

// killServer sends SIGKILL to every process of the server: it reaches frozen ones.
func (n *Node) killServer() {
	n.pg.KillAll(n.w.serverNow())
	n.rouse()
}

// quitServer is the parent-death signal.
func (n *Node) quitServer() {
	if pid := n.pg.Postmaster(); pid != 0 {
		_ = n.pg.Signal(n.w.serverNow(), pid, syscall.SIGQUIT) // it is there: the model has just said so
	}
}
