package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/ctl"
)

// step is one chapter of the tour.
type step struct {
	title string
	do    func(context.Context) error
}

// Deadlines of waits. They are for slow machines: what a step needs is told by
// its figures.
const (
	upWithin     = 2 * time.Minute
	healedWithin = time.Minute
	toldWithin   = 3 * time.Second
	lookEvery    = 20 * time.Millisecond
	// quiet is how long the writer runs undisturbed before something is done
	// to the cluster, so that a gap stands out.
	quiet = 1500 * time.Millisecond
)

func (s *stage) steps() []step {
	up := step{"Bring the cluster up", s.bringUp}
	if s.NoTour {
		return []step{up}
	}
	return []step{
		up,
		{"Write a row every 5 ms", s.startWriting},
		{"Kill the primary: SIGKILL to every process of its node", s.killPrimary},
		{"Start that node again", s.bringBack},
		{"Switch over", s.switchOver},
		{"Add a node", s.addNode},
		{"Count the rows", s.count},
	}
}

func (s *stage) bringUp(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.progress("etcd is up")
	began := time.Now()
	for _, n := range s.nodes {
		if err := n.start(s.Program, s.environment(), s.life); err != nil {
			return err
		}
	}
	if err := s.wait(ctx, upWithin, "the cluster is not healthy", s.healthy); err != nil {
		return err
	}
	s.say("%d nodes from empty folders to healthy in %s", len(s.nodes), seconds(time.Since(began)))
	if err := s.protect(ctx); err != nil {
		return err
	}
	s.list(ctx)
	s.invite()
	return nil
}

// protect makes every commit wait for one standby, so that a row acknowledged
// just before the primary dies is not lost with it. With a single standby that
// would stop all writes while it is gone, so then the tour stays asynchronous.
func (s *stage) protect(ctx context.Context) error {
	if s.Replicas < 2 {
		return nil
	}
	names := make([]string, 0, len(s.nodes)+1)
	for i := range len(s.nodes) + 1 {
		names = append(names, fmt.Sprintf("pg%d", i+1))
	}
	var out bytes.Buffer
	o, err := s.operator(ctx, &out)
	if err != nil {
		return err
	}
	value := "synchronous_standby_names=ANY 1 (" + strings.Join(names, ",") + ")"
	if err := o.EditConfig(ctx, ctl.Edit{Parameters: []string{value}, Quiet: true}); err != nil {
		return fmt.Errorf("make commits wait for a standby: %w", err)
	}
	s.say("edit-config -p '%s': each commit waits for one standby", value)
	return nil
}

// invite tells what can be tried.
func (s *stage) invite() {
	s.say("Try it from another terminal:")
	s.say("  psql '%s'", s.dsn("read-write"))
	if s.proxy != nil {
		s.say("  psql postgres://postgres:%s@127.0.0.1:%d/postgres     through HAProxy, writes", s.password, s.proxy.primary)
		s.say("  psql postgres://postgres:%s@127.0.0.1:%d/postgres     through HAProxy, reads", s.password, s.proxy.replica)
		s.say("  http://127.0.0.1:%d/                                       HAProxy's own page", s.proxy.stats)
	} else {
		s.say("  (HAProxy is not installed: with it there would be a port for writes and one for reads)")
	}
	s.say("  curl %s/cluster      also /primary /replica /patroni /metrics", s.nodes[0].api())
	s.say("  %s -c %s list      also explain --cluster, doctor, pause, switchover", shortest(s.Program), s.nodes[0].configPath())
}

// shortest is how a person in this folder would call the program.
func shortest(program string) string {
	dir, err := os.Getwd()
	if err != nil {
		return program
	}
	if relative, err := filepath.Rel(dir, program); err == nil && len(relative) < len(program) && filepath.IsLocal(relative) {
		return relative
	}
	return program
}

func (s *stage) startWriting(ctx context.Context) error {
	if err := s.createTable(ctx); err != nil {
		return err
	}
	s.writer = newWriter(s.session)
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); s.writer.run(running) }()
	s.stopWriter = func() { cancel(); <-done }
	if err := s.wait(ctx, healedWithin, "the writer gets no row acknowledged", func(context.Context) (bool, string) {
		f := s.writer.figures()
		return f.Acknowledged >= 100, fmt.Sprintf("%d rows", f.Acknowledged)
	}); err != nil {
		return err
	}
	s.writer.mark()
	if err := s.pause(ctx); err != nil {
		return err
	}
	s.say("one client, a DSN with all hosts; undisturbed, the longest time between two acknowledgements is %s", seconds(s.writer.figures().Longest))
	return nil
}

func (s *stage) killPrimary(ctx context.Context) error {
	overview, err := s.overview(ctx)
	if err != nil {
		return err
	}
	old := s.node(overview.Leader)
	if old == nil {
		return errors.New("there is no primary to kill: " + overview.NoLeader)
	}
	s.writer.mark()
	began := time.Now()
	s.say("%s was primary; %s killed", old.name, plural(old.kill(), "process", "processes"))
	leader := ""
	err = s.wait(ctx, healedWithin, "nobody took over", func(ctx context.Context) (bool, string) {
		elapsed := time.Since(began).Truncate(500 * time.Millisecond)
		leader = s.leader(ctx)
		return leader != "" && s.writer.figures().Recovered, fmt.Sprintf("no writes for %s; the lease of %s runs out after %d s", elapsed, old.name, ttlSeconds)
	})
	if err != nil {
		return err
	}
	s.say("%s is primary; writes had stopped for %s (the lease is %d s)", leader, seconds(s.writer.figures().Longest), ttlSeconds)
	if err := s.wait(ctx, healedWithin, "the other nodes do not follow "+leader, s.healthy); err != nil {
		return err
	}
	if err := s.wait(ctx, healedWithin, "the key of "+old.name+" does not expire", s.gone(old.name)); err != nil {
		return err
	}
	s.list(ctx)
	return nil
}

// gone looks whether a killed member has left the list: its key lives a little
// longer than its lease counts.
func (s *stage) gone(name string) func(context.Context) (bool, string) {
	return func(ctx context.Context) (bool, string) {
		overview, err := s.overview(ctx)
		if err != nil {
			return false, err.Error()
		}
		_, listed := overview.Member(name)
		return !listed, name + " is still listed"
	}
}

func (s *stage) bringBack(ctx context.Context) error {
	back := s.stopped()
	if back == nil {
		return errors.New("no node is stopped")
	}
	began := time.Now()
	s.writer.mark()
	if err := back.start(s.Program, s.environment(), s.life); err != nil {
		return err
	}
	if err := s.wait(ctx, healedWithin, back.name+" does not come back", s.healthy); err != nil {
		return err
	}
	s.say("%s is back as a standby after %s; nobody had to help, and the longest gap meanwhile was %s",
		back.name, seconds(time.Since(began)), seconds(s.writer.figures().Longest))
	s.list(ctx)
	return nil
}

func (s *stage) switchOver(ctx context.Context) error {
	if err := s.pause(ctx); err != nil {
		return err
	}
	var out bytes.Buffer
	o, err := s.operator(ctx, &out)
	if err != nil {
		return err
	}
	began := time.Now()
	s.writer.mark()
	if err := o.Switchover(ctx, ctl.SwitchoverOptions{}); err != nil {
		return err
	}
	took := time.Since(began)
	s.say("pgkeeper switchover --force: %s, in %s", strings.TrimSpace(out.String()), seconds(took))
	if err := s.wait(ctx, healedWithin, "the cluster is not whole again", func(ctx context.Context) (bool, string) {
		ready, progress := s.healthy(ctx)
		return ready && s.writer.figures().Recovered, progress
	}); err != nil {
		return err
	}
	s.say("writes had stopped for %s; the old primary follows after %s", seconds(s.writer.figures().Longest), seconds(time.Since(began)))
	s.list(ctx)
	return nil
}

func (s *stage) addNode(ctx context.Context) error {
	fresh, err := s.newNode(len(s.nodes)+1, s.spare[0], s.spare[1])
	if err != nil {
		return err
	}
	s.nodes = append(s.nodes, fresh)
	began := time.Now()
	s.writer.mark()
	if err := fresh.start(s.Program, s.environment(), s.life); err != nil {
		return err
	}
	if err := s.wait(ctx, upWithin, fresh.name+" does not become a standby", s.healthy); err != nil {
		return err
	}
	s.say("%s copied the data and streams after %s; the longest gap meanwhile was %s", fresh.name, seconds(time.Since(began)), seconds(s.writer.figures().Longest))
	s.list(ctx)
	return nil
}

func (s *stage) count(ctx context.Context) error {
	s.stopWriter()
	s.stopWriter = nil
	present, err := s.rows(ctx)
	if err != nil {
		return err
	}
	f := s.writer.figures()
	missing := s.writer.missing(present)
	s.say("%s rows acknowledged, %d missing; %d more were sent when a server died and never answered for",
		thousands(f.Acknowledged), len(missing), f.Unknown)
	if len(missing) == 0 {
		return nil
	}
	if s.Replicas < 2 { // asynchronous: what was not sent yet died with the node
		s.say("(with a single standby commits do not wait for it, so that the last rows before a crash can be lost)")
		return nil
	}
	return fmt.Errorf("acknowledged rows are missing: %v", missing[:min(len(missing), 20)])
}
