package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// server is agent.Server over a node's model: what package postgres does with
// files, SQL and programs.
type server struct{ n *Node }

var (
	errNoServer    = errors.New("could not connect to the server")
	errUnreachable = errors.New("the source cannot be reached")
)

// answer waits as long as a query takes; a server that hangs never answers.
func (s server) answer(ctx context.Context, d time.Duration) error {
	p := s.n.pg
	if d > 0 {
		s.n.sleep(ctx, d)
	}
	for p.frozen {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.n.sleep(ctx, 50*time.Millisecond)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// Look implements agent.Server.
func (s server) Look(ctx context.Context, _ bool, _ int) (cluster.NodeState, error) {
	if err := s.answer(ctx, 2*time.Millisecond); err != nil {
		return cluster.NodeState{}, err
	}
	if s.n.pg.phase == absent {
		return cluster.NodeState{}, errNoServer
	}
	s.n.pg.stream()
	return s.n.pg.node(), nil
}

// LookFast implements agent.Server.
func (s server) LookFast(ctx context.Context) (postgres.Fast, error) {
	p := s.n.pg
	if err := s.answer(ctx, 300*time.Microsecond); err != nil {
		return postgres.Fast{}, err
	}
	if !p.running() {
		return postgres.Fast{}, errNoServer
	}
	p.stream()
	f := postgres.Fast{InRecovery: p.phase == standby, Timeline: p.branch.timeline}
	if p.phase == primary {
		f.Flush = p.end
		return f, nil
	}
	f.Receive, f.Replay, f.Receiver = p.received, p.end, p.source != nil
	if !f.Receiver {
		f.Timeline = 0
	}
	return f, nil
}

// Disk implements agent.Server.
func (s server) Disk(ctx context.Context) (cluster.NodeState, error) {
	s.n.disk()
	if ctx.Err() != nil {
		return cluster.NodeState{}, ctx.Err()
	}
	state := s.n.pg.node()
	state.Mode = cluster.ModeStopped
	return state, nil
}

// Close implements agent.Server.
func (s server) Close() {}

// StartSpec implements agent.Server.
func (s server) StartSpec(bool, cluster.Settings) (postgres.Start, error) {
	p := s.n.pg
	s.n.disk()
	highest := cluster.Timeline(0) // dropOrphans: placeholders above the newest real file
	if p.branch != nil {
		highest = p.branch.timeline
	}
	for t := range p.history {
		if t > highest {
			delete(p.history, t)
		}
	}
	return postgres.Start{Argv: []string{"postgres"}, DataDir: s.n.dataDir()}, nil
}

// SetStandbySignal implements agent.Server.
func (s server) SetStandbySignal(on bool) error {
	s.n.disk()
	s.n.pg.control.StandbySignal = on
	return nil
}

// StartFailure implements agent.Server.
func (s server) StartFailure(postgres.Start) error { return nil }

// CheckPort implements agent.Server.
func (s server) CheckPort(context.Context) error { return nil }

// HistoryFiles implements agent.Server.
func (s server) HistoryFiles(current, wanted cluster.Timeline) (map[string]string, error) {
	s.n.disk()
	if wanted <= current || s.n.pg.history[wanted] {
		return nil, fmt.Errorf("%w: %d", postgres.ErrTimelineTaken, wanted)
	}
	files := map[string]string{}
	for t := cluster.Timeline(2); t < wanted; t++ {
		if t != current && !s.n.pg.history[t] {
			files[fmt.Sprintf("%08X.history", uint32(t))] = "# skipped"
		}
	}
	return files, nil
}

// TerminateStuckWalsenders implements agent.Server.
func (s server) TerminateStuckWalsenders(context.Context, func(string) time.Duration) ([]string, error) {
	return nil, nil
}

// InitDB implements agent.Server.
func (s server) InitDB(ctx context.Context, _ postgres.InitSpec) (string, error) {
	p := s.n.pg
	s.n.w.destroys(s.n, "initdb")
	p.data = cluster.DataTombstone
	s.n.disk()
	if !s.n.sleep(ctx, 200*time.Millisecond) {
		p.directory = directory{data: cluster.DataEmpty}
		return "", ctx.Err()
	}
	s.n.w.systems++
	id := fmt.Sprint(7000000000000000000 + s.n.w.systems)
	p.initdb(id)
	s.n.w.tell(s.n, "initdb made system %s", id)
	return id, nil
}

// source is the server at a source, when it answers.
func (s server) source(ctx context.Context, src postgres.Source) (*model, error) {
	s.n.sleep(ctx, 3*time.Millisecond)
	up := s.n.w.byName(src.Host)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if up == nil || !up.up || !up.pg.running() || up.pg.frozen || !s.n.w.reach(s.n, up) {
		s.n.sleep(ctx, time.Second)
		return nil, fmt.Errorf("%s: %w", src.Host, errUnreachable)
	}
	return up.pg, nil
}

// SourceInfo implements agent.Server.
func (s server) SourceInfo(ctx context.Context, src postgres.Source) (postgres.SourceInfo, error) {
	up, err := s.source(ctx, src)
	if err != nil {
		return postgres.SourceInfo{}, err
	}
	return postgres.SourceInfo{SystemID: up.systemID, Timeline: up.branch.timeline, LSN: up.end,
		InRecovery: up.phase == standby, History: up.branch.history}, nil
}

// Rewind implements agent.Server: WAL that the source's history does not have goes.
func (s server) Rewind(ctx context.Context, src postgres.Source, _ postgres.Rewinding) (bool, error) {
	p := s.n.pg
	up, err := s.source(ctx, src)
	if err != nil {
		return false, err
	}
	if up.branch.timeline == p.branch.timeline {
		return false, nil // "no rewind required", whatever the content
	}
	s.n.w.replaces(s.n, up.n, "rewind")
	p.data = cluster.DataTombstone
	s.n.disk()
	slept := s.n.sleep(ctx, 300*time.Millisecond+s.n.w.jitter(time.Second))
	if !slept || !up.running() || !s.n.w.reach(s.n, up.n) {
		return false, fmt.Errorf("pg_rewind was interrupted: %w", errUnreachable)
	}
	p.copyOf(up)
	s.n.w.tell(s.n, "rewound from %s", up.n.name)
	return true, nil
}

// copyOf makes the directory a standby's at where the source is now.
func (p *model) copyOf(up *model) {
	d := up.directory.clone()
	d.data, d.slots, d.upstream, d.slot = cluster.DataValid, nil, "", ""
	d.control.StandbySignal, d.control.State = true, cluster.ControlInArchiveRecovery
	d.minRecovery = d.end
	d.control.Timeline = d.branch.timeline
	p.directory = d
}

// Clone implements agent.Server.
func (s server) Clone(ctx context.Context, src postgres.Source, progress func(done, total int64)) error {
	p := s.n.pg
	up, err := s.source(ctx, src)
	if err != nil {
		return err
	}
	s.n.w.replaces(s.n, up.n, "clone")
	p.directory = directory{data: cluster.DataTombstone}
	s.n.disk()
	progress(0, 100)
	length := 300*time.Millisecond + s.n.w.jitter(1500*time.Millisecond)
	for range 4 {
		slept := s.n.sleep(ctx, length/4)
		if !slept || !up.running() || up.frozen || !s.n.w.reach(s.n, up.n) {
			p.directory = directory{data: cluster.DataEmpty}
			return fmt.Errorf("pg_basebackup failed: %w", errUnreachable)
		}
	}
	p.copyOf(up)
	s.n.w.tell(s.n, "cloned from %s", up.n.name)
	return nil
}

// SourceReady implements agent.Server.
func (s server) SourceReady(context.Context, postgres.Source) error { return nil }

// KeepWAL implements agent.Server.
func (s server) KeepWAL(context.Context) error { return nil }

// KeepLost implements agent.Server: what is lost is counted by the world itself.
func (s server) KeepLost(context.Context, postgres.Losing) (cluster.Lost, bool, error) {
	return cluster.Lost{}, false, nil
}

// MakeRoom implements agent.Server.
func (s server) MakeRoom(ctx context.Context, m postgres.Making) (postgres.Room, error) {
	path, err := s.MoveAside(ctx, m.Keep)
	return postgres.Room{Aside: path}, err
}

// MoveAside implements agent.Server.
func (s server) MoveAside(_ context.Context, _ int) (string, error) {
	p := s.n.pg
	s.n.disk()
	if p.phase != absent {
		return "", errors.New("a server runs in the data directory")
	}
	if p.data == cluster.DataValid {
		old := p.directory
		p.aside = &old
	}
	p.directory = directory{data: cluster.DataEmpty}
	s.n.w.tell(s.n, "the data directory was moved aside")
	return "aside", nil
}

// WriteConfig implements agent.Server.
func (s server) WriteConfig(_ context.Context, spec postgres.ConfigSpec) (postgres.Change, error) {
	s.n.disk()
	if spec.Upstream != nil {
		_ = s.WriteUpstream(*spec.Upstream)
	}
	return postgres.Change{Reload: true}, nil
}

// WriteUpstream implements agent.Server.
func (s server) WriteUpstream(up postgres.Upstream) error {
	s.n.pg.upstream, s.n.pg.slot = up.Host, up.SlotName
	return nil
}

// Follow implements agent.Server.
func (s server) Follow(ctx context.Context, up postgres.Upstream) error {
	if err := s.answer(ctx, 5*time.Millisecond); err != nil {
		return err
	}
	return s.WriteUpstream(up)
}

// Reload implements agent.Server.
func (s server) Reload(ctx context.Context) error { return s.answer(ctx, 2*time.Millisecond) }

// Checkpoint implements agent.Server.
func (s server) Checkpoint(ctx context.Context) error {
	p := s.n.pg
	turn := p.turn
	s.n.disk()
	if err := s.answer(ctx, 30*time.Millisecond); err != nil {
		return err
	}
	if p.turn != turn || !p.running() {
		return errNoServer
	}
	if p.phase == primary {
		p.write(checkpoint)
		p.checkpointHere()
	} else {
		p.minRecovery, p.control.Timeline = p.end, p.branch.timeline
	}
	return nil
}

// ArchiveHistory implements agent.Server.
func (s server) ArchiveHistory(context.Context) error { return nil }

// EnsureSlots implements agent.Server.
func (s server) EnsureSlots(ctx context.Context, want []string, policy postgres.SlotPolicy) (postgres.SlotChanges, error) {
	if err := s.answer(ctx, 2*time.Millisecond); err != nil {
		return postgres.SlotChanges{}, err
	}
	p := s.n.pg
	for _, name := range want {
		if !slices.Contains(p.slots, name) {
			p.slots = append(p.slots, name)
		}
	}
	for _, row := range p.slotRows() {
		if !row.Active && !slices.Contains(want, row.Name) && policy.Drop != nil && policy.Drop(row) {
			p.slots = slices.DeleteFunc(p.slots, func(name string) bool { return name == row.Name })
		}
	}
	slices.Sort(p.slots)
	return postgres.SlotChanges{}, nil
}

// scan lists the processes in the data directory.
func (n *Node) scan() []int {
	if n.pg.phase == absent {
		return nil
	}
	return []int{n.pg.pid}
}

func (n *Node) dataDir() string { return "/data/" + n.name }

func (n *Node) standbySignal() bool { return n.pg.control.StandbySignal }

func (n *Node) killServer() { n.pg.kill() }

func (n *Node) quitServer() { n.pg.quit() }

// Spawn implements guard.Machine.
func (m machine) Spawn(bool) (int, error) {
	n := m.g.n
	if n.pg.data != cluster.DataValid {
		return 0, errors.New("no data directory")
	}
	pid := n.pg.start()
	n.w.tell(n, "the server is starting %s", map[bool]string{true: "to write", false: "as a standby"}[n.pg.writable])
	return pid, nil
}

// Signal implements guard.Machine.
func (m machine) Signal(pid int, sig syscall.Signal) error {
	p := m.g.n.pg
	if p.phase == absent || p.pid != pid {
		return syscall.ESRCH
	}
	switch sig {
	case syscall.SIGKILL:
		p.kill()
	case syscall.SIGQUIT:
		p.quit()
	case syscall.SIGINT, syscall.SIGTERM:
		p.stopFast()
	case syscall.SIGUSR1:
		p.promote = true
		if p.phase == standby {
			p.promotion()
		}
	}
	return nil
}

// Kill implements guard.Machine.
func (m machine) Kill([]int) { m.g.n.pg.kill() }

// Reap implements guard.Machine.
func (m machine) Reap() []int {
	gone := m.g.n.pg.gone
	m.g.n.pg.gone = nil
	return gone
}

// Promote implements guard.Machine.
func (m machine) Promote(history map[string]string, allowed func() bool) (bool, error) {
	p := m.g.n.pg
	if p.phase == absent {
		return false, errNoServer
	}
	for name := range history {
		var t cluster.Timeline
		if _, err := fmt.Sscanf(name, "%08X.history", &t); err == nil {
			p.history[t] = true
		}
	}
	if !allowed() {
		return false, errors.New("the deadline has passed")
	}
	return true, nil
}

// local is a member's own configuration.
func (w *World) local(n *Node) *config.Config {
	c := &config.Config{Scope: scope, Namespace: "service", Name: n.name}
	c.Bootstrap.DCS = w.bootstrap
	c.PostgreSQL.DataDir = n.dataDir()
	c.PostgreSQL.PgCtlTimeout = time.Minute
	return c
}
