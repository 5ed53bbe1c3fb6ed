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

// ending is a clock that only waiting moves, and that is over at a time.
type ending struct {
	turning
	until cluster.Instant
	over  func()
}

func (e *ending) Sleep(done <-chan struct{}, d time.Duration) bool {
	if e.turning.Sleep(done, d); e.now >= e.until {
		e.over()
	}
	return true
}

// TestAStandbyThatLetsNobodyInHoldsUpNoJob: it may need WAL that nobody has any more. A
// primary is waited for as long as its recovery takes.
func TestAStandbyThatLetsNobodyInHoldsUpNoJob(t *testing.T) {
	for _, writable := range []bool{false, true} {
		p := &promotee{exited: make(chan struct{})}
		at := &ending{turning: turning{now: 1000 * second}}
		n := NewNode(Parts{Server: closed{}, Link: promoteeLink{p: p}, Clock: at, Config: &config.Config{}, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		at.until, at.over = at.now.Add(10*standbyUp), cancel
		err := n.awaitUp(ctx, "i1", postgres.Start{}, writable)
		if took := at.now.Sub(1000 * second); writable != (err != nil) || !writable && took != standbyUp {
			t.Errorf("to write %t: %v after %s", writable, err, took)
		}
		cancel()
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
