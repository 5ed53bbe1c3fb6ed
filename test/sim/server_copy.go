package sim

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/postgres"
	"github.com/pgkeeper/pgkeeper/postgres/pgfake"
)

// InitDB implements agent.Server.
func (s server) InitDB(ctx context.Context, _ postgres.InitSpec) (string, error) {
	s.n.w.destroys(s.n, "initdb")
	s.n.disk()
	work, err := s.n.pg.InitDB(s.n.w.serverNow())
	if err != nil {
		return "", named(err)
	}
	if err := s.n.await(ctx, work); err != nil {
		return "", err
	}
	s.n.copied()
	s.n.seen.copies.made = s.n.pg.SystemID()
	s.n.w.tell(s.n, "initdb made system %s", s.n.pg.SystemID())
	return s.n.pg.SystemID(), nil
}

// SourceInfo implements agent.Server.
func (s server) SourceInfo(ctx context.Context, src postgres.Source) (postgres.SourceInfo, error) {
	s.n.sleep(ctx, 3*time.Millisecond)
	if ctx.Err() != nil {
		return postgres.SourceInfo{}, ctx.Err()
	}
	info, err := s.n.pg.SourceInfo(s.n.w.serverNow(), src.Host)
	if err != nil {
		s.n.sleep(ctx, time.Second)
		return postgres.SourceInfo{}, fmt.Errorf("%s: %w", src.Host, named(err))
	}
	said := postgres.SourceInfo{SystemID: info.SystemID, Timeline: info.Timeline, LSN: info.LSN, InRecovery: info.InRecovery, History: info.History}
	if src.Needs.LSN.Known() && !said.InRecovery {
		said.Removed = s.n.pg.Removed(src.Host)
	}
	return said, nil
}

var errNotReady = errors.New("the source of the rewind is in recovery, or away")

// Rewind implements agent.Server.
func (s server) Rewind(ctx context.Context, src postgres.Source, _ postgres.Rewinding) (bool, error) {
	if _, err := s.SourceInfo(ctx, src); err != nil {
		return false, err
	}
	s.n.disk()
	if info, err := s.n.pg.SourceInfo(s.n.w.serverNow(), src.Host); err != nil || info.InRecovery { // as package postgres asks again
		s.n.sleep(ctx, time.Second)
		return false, errors.Join(errNotReady, named(err))
	}
	work, err := s.n.pg.Rewind(s.n.w.serverNow(), src.Host)
	if err != nil {
		return false, named(err)
	}
	if work.Done {
		return false, named(work.Err) // "no rewind required"
	}
	s.n.w.replaces(s.n, src.Host, "rewind", "")
	if err := s.n.await(ctx, work); err != nil {
		return false, err
	}
	s.n.w.tell(s.n, "rewound from %s", src.Host)
	return true, nil
}

// Clone implements agent.Server.
func (s server) Clone(ctx context.Context, src postgres.Source, progress func(done, total int64)) error {
	if _, err := s.n.pg.SourceInfo(s.n.w.serverNow(), src.Host); err != nil {
		s.n.sleep(ctx, time.Second)
		return fmt.Errorf("%s: %w", src.Host, named(err))
	}
	proof, slot := "", src.SlotName
	if src.Keeper != nil { // the slot is there
		proof, slot = src.Keeper.Host, ""
	}
	s.n.w.replaces(s.n, src.Host, "clone", proof)
	s.n.disk()
	work, err := s.n.pg.Clone(s.n.w.serverNow(), src.Host, slot, "pgkeeper_clone_"+s.n.name)
	if err != nil {
		return named(err)
	}
	progress(0, 100)
	if err := s.n.await(ctx, work); err != nil {
		return err
	}
	s.n.copied()
	s.n.w.tell(s.n, "cloned from %s", src.Host)
	return nil
}

// await waits for initdb, a copy or a checkpoint, and gives it up with ctx. A copy
// whose source is gone fails before its time.
func (n *Node) await(ctx context.Context, work *pgfake.Work) error {
	const glance = 400 * time.Millisecond
	for !work.Done {
		slept := n.sleep(ctx, min(max(work.Until.Sub(n.w.serverNow()), 5*time.Millisecond), glance))
		n.w.site.Advance(n.w.serverNow())
		if !slept && !work.Done {
			n.pg.Cancel(n.w.serverNow())
			return ctx.Err()
		}
	}
	return named(work.Err)
}

// MoveAside implements agent.Server.
func (s server) MoveAside(context.Context) (string, error) { return s.n.movedAside(0) }

// movedAside moves the data directory aside; of former ones the newest keep stay, all with 0.
func (n *Node) movedAside(keep int) (string, error) {
	n.disk()
	n.w.movesAside(n)
	if err := n.pg.MoveAside(keep); err != nil {
		return "", named(err)
	}
	n.w.tell(n, "the data directory was moved aside")
	return "aside", nil
}

// alias is an error of the model that is one of package postgres as well.
type alias struct{ error }

// aliases are the errors that callers tell apart.
var aliases = [...]struct{ model, real error }{
	{pgfake.ErrUnreachable, postgres.ErrUnreachable}, {pgfake.ErrNotEmpty, postgres.ErrNotEmpty}, {pgfake.ErrBusy, postgres.ErrBusy},
	{pgfake.ErrRunning, postgres.ErrRunning}, {pgfake.ErrSourceNotReady, postgres.ErrSourceNotReady},
	{pgfake.ErrTimelineTaken, postgres.ErrTimelineTaken}, {pgfake.ErrNeedClone, postgres.ErrNeedClone}, {pgfake.ErrDamaged, postgres.ErrDamaged},
}

// named gives an error of the model the name that package postgres has for it.
func named(err error) error {
	if err == nil {
		return nil
	}
	return alias{err}
}

// Is implements what errors.Is asks for.
func (a alias) Is(target error) bool {
	for i := range aliases {
		if aliases[i].real == target {
			return errors.Is(a.error, aliases[i].model)
		}
	}
	return false
}

// Unwrap is the model's error.
func (a alias) Unwrap() error { return a.error }

// scan lists the processes in the data directory.
func (n *Node) scan() []int { return n.pg.Scan() }

// Spawn implements guard.Machine.
func (m machine) Spawn(bool) (int, error) {
	n := m.g.n
	m.g.w.begins(n)
	if n.pg.Disk().Data != cluster.DataValid {
		return 0, errors.New("no data directory")
	}
	pid, err := n.pg.Spawn(n.w.serverNow())
	if err == nil && n.w.text != nil {
		n.w.tell(n, "the server is starting %s", map[bool]string{true: "as a standby", false: "to write"}[n.pg.StandbySignal()])
	}
	return pid, err
}

// Signal implements guard.Machine.
func (m machine) Signal(pid int, sig syscall.Signal) error {
	if p := m.g.n.gate; p != nil && p.pid == pid {
		m.g.n.killGate()
		return nil
	}
	m.g.stops(sig)
	return m.g.n.pg.Signal(m.g.w.serverNow(), pid, sig)
}

// Kill implements guard.Machine.
func (m machine) Kill([]int) {
	m.g.stops(syscall.SIGKILL)
	m.g.n.killServer()
}

// Reap implements guard.Machine.
func (m machine) Reap() []int {
	gone := append(m.g.n.pg.Reap(), m.g.gone...)
	m.g.gone = nil
	return gone
}

// Promote implements guard.Machine.
func (m machine) Promote(history map[string]string, allowed func() bool) (bool, error) {
	p := m.g.n.pg
	if p.Mode() == cluster.ModeStopped {
		return false, errNoServer
	}
	p.PlaceHistory(history)
	if !allowed() {
		return false, errors.New("the deadline has passed")
	}
	p.PlacePromote(nil)
	return true, nil
}

// local is a member's own configuration.
func (w *World) local(n *Node) *config.Config {
	c := &config.Config{Scope: scope, Namespace: "service", Name: n.name}
	c.Bootstrap.DCS = w.bootstrap
	c.PostgreSQL.DataDir = n.dataDir
	c.PostgreSQL.PgCtlTimeout = time.Minute
	if n.dog != nil {
		c.Watchdog, n.dog.changed = n.dog.local, w.now
	}
	return c
}

// SourceReady implements agent.Server: the model's rewind itself says when its source
// has yet to write a checkpoint.
func (s server) SourceReady(context.Context, postgres.Source) error { return nil }

// KeepWAL implements agent.Server.
func (s server) KeepWAL(context.Context) error { return nil }

// KeepLost implements agent.Server: what is lost is counted by the world itself.
func (s server) KeepLost(context.Context, postgres.Losing) (cluster.Lost, bool, error) {
	return cluster.Lost{}, false, nil
}

// MakeRoom implements agent.Server.
func (s server) MakeRoom(_ context.Context, m postgres.Making) (postgres.Room, error) {
	if s.n.pg.Disk().Data == cluster.DataEmpty {
		return postgres.Room{}, nil
	}
	path, err := s.n.movedAside(max(m.Keep, 1))
	return postgres.Room{Aside: path}, err
}
