package agent

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// frozen is a server that hears nothing but SIGKILL, and its guard.
type frozen struct {
	promotee
	began   time.Time
	stopped []guard.Mode
	after   time.Duration // the SIGKILL
}

func (f *frozen) Status(context.Context) (guard.Status, error) {
	return guard.Status{Server: &guard.Server{Instance: "i1"}}, nil
}

func (f *frozen) Stop(_ context.Context, mode guard.Mode) error {
	f.stopped = append(f.stopped, mode)
	if mode == guard.Kill {
		f.after = time.Since(f.began) //nolint:forbidigo // the bubble's clock
		close(f.exited)
	}
	return nil
}

// frozenLink is the session with that guard.
type frozenLink struct {
	Link
	f *frozen
}

func (l frozenLink) Guard() Guard { return l.f }

func (l frozenLink) Exited(string) <-chan struct{} { return l.f.exited }

// TestAFrozenServerIsKilledBeforeItsLeaseCanPassOn: SIGQUIT waits until it thaws,
// and then it would acknowledge what was sent to it meanwhile.
func TestAFrozenServerIsKilledBeforeItsLeaseCanPassOn(t *testing.T) {
	settings := cluster.Settings{TTL: 10 * time.Second}
	for patience, most := range map[time.Duration]time.Duration{
		0: settings.Margin(0) / 2, 100 * time.Millisecond: 100 * time.Millisecond, time.Minute: settings.Margin(0) / 2,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &frozen{promotee: promotee{exited: make(chan struct{})}, began: time.Now()} //nolint:forbidigo // the bubble's clock
			c := &config.Config{}
			c.PostgreSQL.PgCtlTimeout = time.Minute
			n := NewNode(Parts{Server: f, Link: frozenLink{f: f}, Clock: realClock{}, Config: c, Log: slog.New(slog.DiscardHandler)})
			done, _ := n.onJob(t.Context(), OnJob{Action: election.StopServer{Mode: election.StopImmediate, Patience: patience}, Settings: settings}).(JobDone)
			if done.Err != "" || !slices.Equal(f.stopped, []guard.Mode{guard.Immediate, guard.Kill}) || f.after > most {
				t.Errorf("patience %s: %q, stopped by %v, killed after %s, want at most %s", patience, done.Err, f.stopped, f.after, most)
			}
		})
	}
}

// slow is a server that takes its time for an orderly end, or never comes to one.
type slow struct {
	frozen
	// written is when its shutdown checkpoint is, 0 for never; it ends at ends.
	written, ends time.Duration
	asked         []time.Duration
	end           *time.Timer
}

func (s *slow) since() time.Duration { return time.Since(s.began) } //nolint:forbidigo // the bubble's clock

func (s *slow) Disk(context.Context) (cluster.NodeState, error) {
	n := cluster.NodeState{Control: cluster.ControlData{State: cluster.ControlInProduction}}
	if s.written > 0 && s.since() >= s.written {
		n.Data, n.Timeline, n.Control.State, n.Control.CheckpointEnd = cluster.DataValid, 3, cluster.ControlShutdown, 900
	}
	return n, nil
}

func (s *slow) TerminateStuckWalsenders(context.Context, func(string) time.Duration) ([]string, error) {
	return nil, nil
}

func (s *slow) Stop(_ context.Context, mode guard.Mode) error {
	s.stopped, s.asked = append(s.stopped, mode), append(s.asked, s.since())
	switch {
	case mode != guard.Fast:
		if s.ends > 0 {
			s.end.Stop()
		}
		close(s.exited)
	case s.ends > 0:
		s.end = time.AfterFunc(s.ends, func() { close(s.exited) }) //nolint:forbidigo // the bubble's clock
	}
	return nil
}

type slowLink struct {
	Link
	s *slow
}

func (l slowLink) Guard() Guard { return l.s }

func (l slowLink) Exited(string) <-chan struct{} { return l.s.exited }

// TestAnOrderlyStopIsWaitedForAsLongAsItIsWorth: by default for pg_ctl_timeout; in the
// synchronous modes, where others have every commit, for primary_stop_timeout; and never
// long after the shutdown checkpoint, when only an archiver that hangs keeps it.
func TestAnOrderlyStopIsWaitedForAsLongAsItIsWorth(t *testing.T) {
	quorum := cluster.Settings{SynchronousMode: cluster.SyncQuorum, PrimaryStopTimeout: 10 * time.Second}
	plain := quorum
	plain.SynchronousMode = "off"
	for name, c := range map[string]struct {
		settings      cluster.Settings
		patience      time.Duration
		written, ends time.Duration
		killed        time.Duration // 0: it was not
	}{
		"one that ends":                                    {plain, 0, time.Second, 2 * time.Second, 0},
		"one that never does":                              {plain, 0, 0, 0, time.Minute},
		"in a synchronous mode":                            {quorum, 0, 0, 0, 10 * time.Second},
		"of a sick server":                                 {plain, 5 * time.Second, 0, 0, 5 * time.Second},
		"with an archiver that hangs":                      {plain, 0, 20 * time.Second, 0, 23 * time.Second},
		"with a standby that takes the checkpoint late":    {plain, 0, 20 * time.Second, 22 * time.Second, 0},
		"that is longer than the synchronous mode's bound": {quorum, 0, 20 * time.Second, 21 * time.Second, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &slow{frozen: frozen{promotee: promotee{exited: make(chan struct{})}, began: time.Now()}, written: c.written, ends: c.ends} //nolint:forbidigo // the bubble's clock
				config := &config.Config{}
				config.PostgreSQL.PgCtlTimeout = time.Minute
				var told []Event
				n := NewNode(Parts{Server: f, Link: slowLink{s: f}, Clock: realClock{}, Config: config, Log: slog.New(slog.DiscardHandler),
					Post: func(e Event) { told = append(told, e) }})
				done, _ := n.onJob(t.Context(), OnJob{Action: election.StopServer{Mode: election.StopFast, Patience: c.patience}, Settings: c.settings}).(JobDone)
				want, when := []guard.Mode{guard.Fast}, []time.Duration{0}
				if c.killed > 0 {
					want, when = append(want, guard.Immediate), append(when, c.killed)
				}
				if done.Err != "" || !slices.Equal(f.stopped, want) || !slices.Equal(f.asked, when) {
					t.Errorf("%q, stopped by %v after %v, want %v after %v", done.Err, f.stopped, f.asked, want, when)
				}
				var tell []Event
				if c.written > 0 && (c.killed == 0 || c.written < c.killed) {
					tell = []Event{ShutDown{Instance: "i1", Position: cluster.Position{Timeline: 3, LSN: 900}}}
				}
				if !slices.Equal(told, tell) {
					t.Errorf("the loop was told %v, want %v", told, tell)
				}
			})
		})
	}
}
