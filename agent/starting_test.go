package agent

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/config"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// closed is a server that runs and lets nobody in.
type closed struct{ Server }

func (closed) LookFast(context.Context) (postgres.Fast, error) {
	return postgres.Fast{}, errors.New("the database system is not yet accepting connections")
}

// TestAStandbyThatLetsNobodyInHoldsUpNoJob: it may need WAL that nobody has any more. A
// primary is waited for as long as its recovery takes.
func TestAStandbyThatLetsNobodyInHoldsUpNoJob(t *testing.T) {
	for _, writable := range []bool{false, true} {
		p := &promotee{exited: make(chan struct{})}
		at := &turning{now: 1000 * second}
		n := NewNode(Parts{Server: closed{}, Link: promoteeLink{p: p}, Clock: at, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.awaitUp(ctx, "i1", postgres.Start{}, writable) }()
		select {
		case err := <-ended:
			if writable || err != nil || at.now != cluster.Instant(1000*second).Add(standbyUp) {
				t.Errorf("to write %t: %v after %s", writable, err, at.now.Sub(1000*second))
			}
		case <-time.After(300 * time.Millisecond):
			if !writable {
				t.Error("a standby that lets nobody in is waited for")
			}
		}
		cancel()
		if writable {
			<-ended
		}
	}
}

// TestWhomAServerWasStartedToStreamFromIsKnown.
func TestWhomAServerWasStartedToStreamFromIsKnown(t *testing.T) {
	up := election.Upstream{Member: "pg2", Host: "pg2", Port: "5432"}
	for name, c := range map[string]struct {
		action election.Action
		want   election.Upstream
		starts bool
	}{
		"a rejoin":               {election.Rejoin{Source: up}, up, true},
		"a clone":                {election.Clone{Source: up}, up, true},
		"a start":                {election.StartServer{Upstream: &up}, up, true},
		"a start as it was":      {election.StartServer{}, election.Upstream{}, true},
		"a restart":              {election.Restart{Upstream: &up}, up, true},
		"a stop changes nothing": {election.StopServer{}, election.Upstream{}, false},
	} {
		if got, starts := aims(c.action); got != c.want || starts != c.starts {
			t.Errorf("%s: %+v, %t", name, got, starts)
		}
	}
}
