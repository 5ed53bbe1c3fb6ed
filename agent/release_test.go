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
				told := 0
				n, lease, other := giver(t, Parts{Link: keeperLink{k: &c.guard}, Post: func(Event) { told++ }})
				if h, ok := give.(election.HandOver); ok {
					h.LeaseID = other
					give = h
				}
				done, _ := n.onLease(t.Context(), OnLease{Action: give, Settings: cluster.DefaultSettings(), Term: lease.Term()}).(LeaseDone)
				view, err := n.store.Load(t.Context())
				if kept := view.HolderIs("pg1"); err != nil || done.Outcome != c.outcome || told != c.told || kept == (c.outcome == Succeeded) {
					t.Errorf("%+v, told %d times, kept %t (%v); want outcome %d, told %d times", done, told, kept, err, c.outcome, c.told)
				}
			})
		}
	}
}

// giver is a node that holds a lease which it may give to pg2, on the lease other.
func giver(t *testing.T, p Parts) (n *Node, lease *dcs.Lease, other int64) {
	t.Helper()
	store := memory.NewServer(func() cluster.Instant { return 1 })
	pg1, pg2 := dcs.NewStore(store.Client("pg1"), "service", "x"), dcs.NewStore(store.Client("pg2"), "service", "x")
	session, err1 := pg1.Open(t.Context(), "pg1", cluster.DefaultSettings().TTL)
	successor, err2 := pg2.Open(t.Context(), "pg2", cluster.DefaultSettings().TTL)
	err := errors.Join(err1, err2, session.PutMember(t.Context(), &cluster.Member{}), successor.PutMember(t.Context(), &cluster.Member{}))
	lease, err3 := session.Acquire(t.Context(), dcs.Candidacy{TTL: cluster.DefaultSettings().TTL})
	if err := errors.Join(err, err3); err != nil {
		t.Fatal(err)
	}
	p.Store, p.Clock, p.Config, p.Log = pg1, realClock{}, &config.Config{Name: "pg1"}, slog.New(slog.DiscardHandler)
	n = NewNode(p)
	n.setSession(session)
	n.setLease(lease)
	return n, lease, successor.ID()
}

// shut is a data directory that says where its server ended.
type shut struct {
	Server
	state cluster.ControlState
	end   cluster.LSN
	err   error
}

func (s shut) Disk(context.Context) (cluster.NodeState, error) {
	return cluster.NodeState{Data: cluster.DataValid, Timeline: 3, Control: cluster.ControlData{State: s.state, CheckpointEnd: s.end}}, s.err
}

// TestAServerThatIsAboutToExitHoldsUpNoHandOver: as long as it is the one that was asked
// to stop, and has written its last where the successor was told.
func TestAServerThatIsAboutToExitHoldsUpNoHandOver(t *testing.T) {
	down, ours := shut{state: cluster.ControlShutdown, end: 900}, &guard.Server{Instance: "i1", Writable: true}
	for name, c := range map[string]struct {
		guard   keeper
		disk    shut
		outcome Outcome
	}{
		"it is about to exit":              {keeper{has: ours}, down, Succeeded},
		"it has exited meanwhile":          {keeper{}, down, Succeeded},
		"another server has come":          {keeper{has: &guard.Server{Instance: "i2", Writable: true}}, down, Failed},
		"it writes":                        {keeper{has: ours}, shut{state: cluster.ControlInProduction, end: 900}, Failed},
		"it still writes its checkpoint":   {keeper{has: ours}, shut{state: cluster.ControlShuttingDown, end: 900}, Failed},
		"it ended somewhere else":          {keeper{has: ours}, shut{state: cluster.ControlShutdown, end: 901}, Failed},
		"where it ended cannot be read":    {keeper{has: ours}, shut{err: errors.New("input/output error")}, Failed},
		"the guard says nothing about one": {keeper{err: context.DeadlineExceeded}, down, Failed},
	} {
		t.Run(name, func(t *testing.T) {
			n, lease, other := giver(t, Parts{Link: keeperLink{k: &c.guard}, Server: c.disk, Post: func(Event) {}})
			give := election.HandOver{To: "pg2", LeaseID: other, Position: cluster.Position{Timeline: 3, LSN: 900}, Exiting: "i1"}
			done, _ := n.onLease(t.Context(), OnLease{Action: give, Settings: cluster.DefaultSettings(), Term: lease.Term()}).(LeaseDone)
			view, err := n.store.Load(t.Context())
			if kept := view.HolderIs("pg1"); err != nil || done.Outcome != c.outcome || kept == (c.outcome == Succeeded) {
				t.Errorf("%+v, kept %t (%v); want outcome %d", done, kept, err, c.outcome)
			}
		})
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
