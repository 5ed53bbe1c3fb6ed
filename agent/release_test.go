package agent

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/dcs/memory"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// keeper is a guard that is asked what it has; its Start is given up by whoever
// asked for it.
type keeper struct {
	Guard
	has *guard.Server
	err error
}

func (k *keeper) Status(context.Context) (guard.Status, error) {
	return guard.Status{Server: k.has}, k.err
}

func (k *keeper) Start(context.Context, guard.StartOptions) (guard.Started, error) {
	if k.has != nil {
		return guard.Started{}, guard.ErrServerRunning
	}
	k.has = &guard.Server{Instance: "i2", PID: 7, Writable: true}
	return guard.Started{}, context.Canceled
}

// startable is a server that can be started.
type startable struct{ Server }

func (startable) SetStandbySignal(bool) error { return nil }

func (startable) WriteGate(string) error { return nil }

func (startable) StartSpec(bool, cluster.Settings) (postgres.Start, error) {
	return postgres.Start{}, nil
}

type keeperLink struct {
	Link
	k *keeper
}

func (l keeperLink) Guard() Guard         { return l.k }
func (l keeperLink) Started(guard.Server) {}

// TestTheLeaseIsGivenAwayOnlyWhenTheGuardHasNoServer: whatever the loop knows.
func TestTheLeaseIsGivenAwayOnlyWhenTheGuardHasNoServer(t *testing.T) {
	left := &guard.Server{Instance: "i2", PID: 7, Writable: true}
	for _, c := range []struct {
		name    string
		guard   keeper
		outcome Outcome
		told    int
	}{
		{"it has none", keeper{}, Succeeded, 0},
		{"it has one", keeper{has: left}, Failed, 1},
		{"it does not answer", keeper{err: context.DeadlineExceeded}, Failed, 0},
	} {
		for _, give := range []election.Action{election.Release{}, election.HandOver{To: "pg2"}} {
			t.Run(c.name+", "+actionName(give), func(t *testing.T) {
				store := memory.NewServer(func() cluster.Instant { return 1 })
				pg1, pg2 := dcs.NewStore(store.Client("pg1"), "service", "x"), dcs.NewStore(store.Client("pg2"), "service", "x")
				session, err1 := pg1.Open(t.Context(), "pg1", cluster.DefaultSettings().TTL)
				other, err2 := pg2.Open(t.Context(), "pg2", cluster.DefaultSettings().TTL)
				err := errors.Join(err1, err2, session.PutMember(t.Context(), &cluster.Member{}), other.PutMember(t.Context(), &cluster.Member{}))
				lease, err3 := session.Acquire(t.Context(), dcs.Candidacy{TTL: cluster.DefaultSettings().TTL})
				if err := errors.Join(err, err3); err != nil {
					t.Fatal(err)
				}
				told := 0
				n := NewNode(Parts{Store: pg1, Link: keeperLink{k: &c.guard}, Clock: realClock{}, Config: &config.Config{Name: "pg1"},
					Post: func(Event) { told++ }, Log: slog.New(slog.DiscardHandler)})
				n.setSession(session)
				n.setLease(lease)
				if h, ok := give.(election.HandOver); ok {
					h.LeaseID = other.ID()
					give = h
				}
				done, _ := n.onLease(t.Context(), OnLease{Action: give, Settings: cluster.DefaultSettings(), Term: lease.Term()}).(LeaseDone)
				view, err := pg1.Load(t.Context())
				if kept := view.HolderIs("pg1"); err != nil || done.Outcome != c.outcome || told != c.told || kept == (c.outcome == Succeeded) {
					t.Errorf("%+v, told %d times, kept %t (%v); want outcome %d, told %d times", done, told, kept, err, c.outcome, c.told)
				}
			})
		}
	}
}

// TestAStartThatWasGivenUpIsFoundOut: the guard may carry it out all the same.
func TestAStartThatWasGivenUpIsFoundOut(t *testing.T) {
	var told []Event
	n := NewNode(Parts{Link: keeperLink{k: &keeper{}}, Clock: realClock{}, Config: &config.Config{}, Server: startable{},
		Post: func(e Event) { told = append(told, e) }, Log: slog.New(slog.DiscardHandler)})
	n.configured.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done, _ := n.onJob(ctx, OnJob{Action: election.StartServer{Writable: true}, Term: 61}).(JobDone)
	if done.Err == "" || len(told) != 1 || told[0] != Event(ServerStarted{guard.Server{Instance: "i2", PID: 7, Writable: true}}) {
		t.Errorf("%+v, told %v; want the server that runs", done, told)
	}
}

// TestAServerThatAnEarlierStartHasLeftIsFoundOut: a guard that thaws carries out what
// was given up meanwhile, and refuses the next start.
func TestAServerThatAnEarlierStartHasLeftIsFoundOut(t *testing.T) {
	var told []Event
	left := &guard.Server{Instance: "i2", PID: 7}
	n := NewNode(Parts{Link: keeperLink{k: &keeper{has: left}}, Clock: realClock{}, Config: &config.Config{}, Server: startable{},
		Post: func(e Event) { told = append(told, e) }, Log: slog.New(slog.DiscardHandler)})
	n.configured.Store(true)
	done, _ := n.onJob(t.Context(), OnJob{Action: election.StartServer{}}).(JobDone)
	if done.Err == "" || len(told) != 1 || told[0] != Event(ServerStarted{*left}) {
		t.Errorf("%+v, told %v; want the server that runs", done, told)
	}
}
