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
	synctest.Test(t, func(t *testing.T) {
		f := &frozen{promotee: promotee{exited: make(chan struct{})}, began: time.Now()} //nolint:forbidigo // the bubble's clock
		c := &config.Config{}
		c.PostgreSQL.PgCtlTimeout = time.Minute
		n := NewNode(Parts{Server: f, Link: frozenLink{f: f}, Clock: realClock{}, Config: c, Log: slog.New(slog.DiscardHandler)})
		settings := cluster.Settings{TTL: 10 * time.Second}
		done, _ := n.onJob(t.Context(), OnJob{Action: election.StopServer{Mode: election.StopImmediate}, Settings: settings}).(JobDone)
		if done.Err != "" || !slices.Equal(f.stopped, []guard.Mode{guard.Immediate, guard.Kill}) || f.after > settings.Margin(0)/2 {
			t.Errorf("%q, stopped by %v, killed after %s; the margin is %s", done.Err, f.stopped, f.after, settings.Margin(0))
		}
	})
}
