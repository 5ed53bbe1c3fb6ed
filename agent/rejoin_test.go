package agent

import (
	"context"
	"log/slog"
	"strings"
	"testing"

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
