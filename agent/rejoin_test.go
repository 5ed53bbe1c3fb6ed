package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// changingSource is a server whose source gives another answer each time; what is
// not overridden must not be called.
type changingSource struct {
	Server
	answers []postgres.SourceInfo
	touched bool
}

func (s *changingSource) SourceInfo(context.Context, postgres.Source) (postgres.SourceInfo, error) {
	info := s.answers[0]
	s.answers = s.answers[1:]
	return info, nil
}

func (s *changingSource) MakeRoom(context.Context, postgres.Making) (postgres.Room, error) {
	s.touched = true
	return postgres.Room{}, nil
}

func (s *changingSource) MoveAside(context.Context) (string, error) {
	s.touched = true
	return "", nil
}

// noServer is a guard that holds none.
type noServer struct{ Guard }

func (noServer) Status(context.Context) (guard.Status, error) { return guard.Status{}, nil }

type guardAlone struct{ Link }

func (guardAlone) Guard() Guard { return noServer{} }

func (guardAlone) PID() int { return 0 }

// TestACloneAsksItsSourceOnceMoreWhenThereIsRoom: to keep WAL and to move a directory
// on a disk that stalls take as long as a switchover does.
func TestACloneAsksItsSourceOnceMoreWhenThereIsRoom(t *testing.T) {
	primary := postgres.SourceInfo{SystemID: "sys", Timeline: 2, LSN: 900}
	standby := primary
	standby.InRecovery = true
	pg := &changingSource{answers: []postgres.SourceInfo{primary, primary, standby}}
	n := NewNode(Parts{Server: pg, Link: guardAlone{}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
	node := cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataBroken}
	err := n.clone(t.Context(), OnJob{Node: node}, election.Upstream{Member: "pg2", Host: "pg2", Port: "5432"}) // a copy would panic
	if err == nil || !strings.Contains(err.Error(), "it is a standby now") || !pg.touched {
		t.Errorf("cloned from what is no primary any more: %v", err)
	}
}

// TestACloneAsksItsSourceAgainAfterTheStop: a stop takes as long as a minute, and
// meanwhile the source may have been deposed (S5).
func TestACloneAsksItsSourceAgainAfterTheStop(t *testing.T) {
	primary := postgres.SourceInfo{SystemID: "sys", Timeline: 2, LSN: 900}
	standby := primary
	standby.InRecovery = true
	pg := &changingSource{answers: []postgres.SourceInfo{primary, standby}}
	n := NewNode(Parts{Server: pg, Link: guardAlone{}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
	node := cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataValid, SystemID: "sys", Timeline: 1}
	err := n.clone(t.Context(), OnJob{Node: node}, election.Upstream{Member: "pg2", Host: "pg2", Port: "5432"})
	if err == nil || !strings.Contains(err.Error(), "it is a standby") || pg.touched {
		t.Errorf("cloned from what is no primary any more: %v, the old data was moved: %t", err, pg.touched)
	}
}

// TestACopyEndsWhenAnotherLeads: a primary that is frozen keeps its connections, and whoever
// copies it waits for as long. A standby that is copied in its place goes on.
func TestACopyEndsWhenAnotherLeads(t *testing.T) {
	pg2 := election.Upstream{Member: "pg2", Host: "h2", Port: "5432"}
	for name, c := range map[string]struct {
		job    election.Action
		leader string
		lent   bool
		paused bool
		ends   bool
	}{
		"a clone, the same leader":         {job: election.Clone{Source: pg2}, leader: "pg2"},
		"a clone, another leader":          {job: election.Clone{Source: pg2}, leader: "pg3", ends: true},
		"a rejoin, another leader":         {job: election.Rejoin{Source: pg2}, leader: "pg3", ends: true},
		"a clone, nobody leads":            {job: election.Clone{Source: pg2}},
		"a clone of a standby":             {job: election.Clone{Source: pg2}, leader: "pg3", lent: true},
		"a clone, another leader, a pause": {job: election.Clone{Source: pg2}, leader: "pg3", paused: true},
		"a start, another leader":          {job: election.StartServer{Upstream: &pg2}, leader: "pg3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.loop.obs.View = cluster.Seen(r.view, r.now)
			if len(r.loop.onJob(c.job)) != 1 {
				t.Fatal("no job begins")
			}
			r.loop.fold(clock.Reading{Boot: r.now}, JobProgress{Text: "copying", Lent: c.lent})
			if c.leader != "" {
				r.loop.obs.View.Value.Leader = &cluster.Leader{Name: c.leader, Term: 70}
			}
			r.loop.obs.Settings.Pause = c.paused
			if got := len(find[Cancel](r.loop.keepJob())) > 0; got != c.ends {
				t.Errorf("ended: %t", got)
			}
			r.loop.obs.View = r.loop.obs.View.Failed("no answer", r.now)
			if len(r.loop.keepJob()) > 0 {
				t.Error("ended by what may not be true any more")
			}
			r.loop.obs.View = cluster.Seen(r.loop.obs.View.Value, r.now)
			r.loop.foldJob(JobDone{Kind: election.KindOf(c.job)})
			if len(r.loop.keepJob()) > 0 {
				t.Error("what has ended is ended again")
			}
		})
	}
}

// TestACloneSaysAtOnceWhetherItCopiesAStandby: its first figures may never come.
func TestACloneSaysAtOnceWhetherItCopiesAStandby(t *testing.T) {
	primary := postgres.Source{Host: "pg2"}
	for _, source := range []postgres.Source{primary, {Host: "standby", Keeper: &primary}} {
		var said []bool
		n := NewNode(Parts{Server: &rewinding{}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler),
			Post: func(e Event) {
				if p, is := e.(JobProgress); is {
					said = append(said, p.Lent)
				}
			}})
		if err := n.copyOne(t.Context(), source, "pg2", ""); err != nil {
			t.Fatal(err)
		}
		if lent := source.Keeper != nil; !slices.Equal(said, []bool{lent, lent}) {
			t.Errorf("a copy of %s said %v", source.Host, said)
		}
	}
}

// filling notes which history files it is to have.
type filling struct {
	Server
	from, to cluster.Timeline
}

func (f *filling) FillHistory(current, upTo cluster.Timeline) error {
	f.from, f.to = current, upTo
	return nil
}

// TestAStandbyAsksAPatroniPrimaryForNoHistoryThatItMayLack: an agent's primary has all.
func TestAStandbyAsksAPatroniPrimaryForNoHistoryThatItMayLack(t *testing.T) {
	for _, patroni := range []bool{true, false} {
		pg := &filling{}
		n := NewNode(Parts{Server: pg, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
		err := n.fillHistory(OnJob{Action: election.Rejoin{Patroni: patroni}, Node: cluster.NodeState{Timeline: 1}}, 4)
		if err != nil || patroni != (pg.from == 1 && pg.to == 4) {
			t.Errorf("after Patroni %t: filled from %d to %d (%v)", patroni, pg.from, pg.to, err)
		}
	}
}

// lacking is a server whose source has removed WAL, when it is asked for that.
type lacking struct {
	Server
	followed, stopped bool
}

func (s *lacking) SourceInfo(_ context.Context, src postgres.Source) (postgres.SourceInfo, error) {
	info := postgres.SourceInfo{SystemID: "sys", Timeline: 2, LSN: 900}
	if src.Needs == (cluster.Position{Timeline: 2, LSN: 800}) {
		info.Removed = "requested WAL segment has already been removed"
	}
	return info, nil
}

func (s *lacking) Follow(context.Context, postgres.Upstream) error {
	s.followed = true
	return nil
}

func (s *lacking) MakeRoom(context.Context, postgres.Making) (postgres.Room, error) {
	s.stopped = true
	return postgres.Room{}, errors.New("far enough")
}

// TestAStandbyWhoseWALIsGoneIsCloned: and one that is only slow follows on.
func TestAStandbyWhoseWALIsGoneIsCloned(t *testing.T) {
	for at, gone := range map[cluster.LSN]bool{800: true, 810: false} {
		pg := &lacking{}
		n := NewNode(Parts{Server: pg, Link: guardAlone{}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
		node := cluster.NodeState{Mode: cluster.ModeStandby, Data: cluster.DataValid, SystemID: "sys", Timeline: 2, ReplayLSN: at}
		_ = n.rejoin(t.Context(), OnJob{Node: node}, election.Upstream{Member: "pg2", Host: "pg2", Port: "5432"}) // the clone ends with an error
		if pg.stopped != gone || pg.followed == gone {
			t.Errorf("gone %t: cloned %t, followed %t", gone, pg.stopped, pg.followed)
		}
	}
}

// TestACloneAsksItsSourceOnceMoreWhenAStandbyWillNotDo: to find that takes as long as its
// primary and the standby take to answer.
func TestACloneAsksItsSourceOnceMoreWhenAStandbyWillNotDo(t *testing.T) {
	primary := postgres.SourceInfo{SystemID: "sys", Timeline: 2, LSN: 900}
	deposed := primary
	deposed.InRecovery = true
	pg := &changingSource{answers: []postgres.SourceInfo{primary, primary, primary, primary, primary, deposed}} // the member that is lent for it is no standby
	n := NewNode(Parts{Server: pg, Link: guardAlone{}, Clock: realClock{}, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
	do := OnJob{Node: cluster.NodeState{Mode: cluster.ModeStopped, Data: cluster.DataEmpty}, CloneFrom: &election.Upstream{Member: "pg3", Host: "pg3", Port: "5432"}}
	err := n.clone(t.Context(), do, election.Upstream{Member: "pg2", Host: "pg2", Port: "5432"}) // a copy would panic
	if err == nil || !strings.Contains(err.Error(), "it is a standby now") {
		t.Errorf("cloned from what is no primary any more: %v", err)
	}
}
