package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// gateProtocol is the guard's first protocol with gates. A guard outlives upgrades of
// its worker: commits must not wait for a gate that an older one cannot start.
const gateProtocol = 2

// gateReserve is how long the deadline must be away when the gate is taken off a server
// that may write: that releases every commit which waits.
const gateReserve = 500 * time.Millisecond

// A gate that is new to a running primary has to stream before commits wait for it: within
// gateArrives of its first sign of life, for which the guard leaves it guard.GateBegins.
// gateEvery is between two looks.
const (
	gateArrives = 3 * time.Second
	gateEvery   = 10 * time.Millisecond
	// gateTaken is given to the checkpointer of a running primary to read the name; it is
	// tried again, and what else the server is to do comes between.
	gateTaken = 2 * time.Second
)

var (
	errGateStays = errors.New("the commit gate is taken off only under a lease that holds")
	errGateFails = errors.New("the commit gate is not in force: it cannot stream from the server; the agent's lines say why (pg_hba.conf must let the superuser stream through the socket, and max_wal_senders must leave room)")
)

// newGateName names the gate of one server start: who knew an earlier one confirms
// nothing.
func newGateName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // does not fail on Linux
	return cluster.GatePrefix + hex.EncodeToString(b[:])
}

// gateNamed is what the guard needs to run the gate of that name.
func (n *Node) gateNamed(name string) *guard.Gate {
	login := n.pg.GateLogin()
	return &guard.Gate{Name: name, SocketDir: login.SocketDir, Port: login.Port, User: login.Username, Password: login.Password,
		Owner: &guard.Owner{UID: login.UID, GID: login.GID, Groups: login.Groups}}
}

// askGuard asks the guard what it holds.
func (n *Node) askGuard(ctx context.Context) (g Guard, status guard.Status, err error) {
	if g = n.link.Guard(); g == nil {
		return nil, status, errNoGuard
	}
	err = n.brief(ctx, func(ctx context.Context) (err error) { status, err = g.Status(ctx); return err })
	return g, status, err
}

// gateForStart is the name of the gate of a server that is about to start; empty when
// it gets none. Each start has a name of its own.
func (n *Node) gateForStart(ctx context.Context, s cluster.Settings) (string, error) {
	if !s.CommitGate {
		return "", nil
	}
	_, status, err := n.askGuard(ctx)
	if err != nil {
		return "", fmt.Errorf("ask the guard whether it has gates: %w", err)
	}
	if !n.hasGates(status) {
		return "", nil
	}
	return newGateName(), nil
}

func (n *Node) hasGates(status guard.Status) bool {
	if status.Protocol >= gateProtocol {
		return true
	}
	n.log.Warn("commits are not gated: this guard is older than its worker; restart the server in a quiet moment", "version", status.Version)
	return false
}

// gateOfRunning has the guard run, or not run, the gate of the running server, and
// returns its name. A gate is there before anything waits for it; one that goes is left
// until nothing does: then is called once the server knows. waits: commits wait for a
// gate now, whoever has started it. A guard that adopted the server knows of none.
func (n *Node) gateOfRunning(ctx context.Context, s cluster.Settings, waits bool) (name string, then func() error, err error) {
	then = func() error { return nil }
	g, status, err := n.askGuard(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("ask the guard for the gate: %w", err)
	}
	off := !s.CommitGate || !n.hasGates(status)
	switch has := status.Gate != nil; {
	case off && !has && !waits:
		return "", then, nil
	case off:
		if !mayUngate(status) { // guard: ungate_under_lease — SAFETY 3 "never with a lease in doubt"
			return "", nil, errGateStays
		}
		if !has {
			return "", then, nil
		}
		return "", func() error { return n.brief(ctx, func(ctx context.Context) error { return g.Gate(ctx, nil) }) }, nil
	case has:
		name = status.Gate.Name
	default:
		name = newGateName()
	}
	if err := n.brief(ctx, func(ctx context.Context) error { return g.Gate(ctx, n.gateNamed(name)) }); err != nil {
		return "", nil, fmt.Errorf("have the guard run the gate: %w", err)
	}
	if status.Server != nil && status.Server.Writable {
		then = func() error { return n.gateTakenSoon(ctx) }
	}
	if waits { // guard: lost_gate_keeps_name — SAFETY 4 "losing the gate never empties the name"
		return name, then, nil
	}
	if status.Gate != nil || status.Server == nil || !status.Server.Writable || n.gateStreams(ctx, g, status.Server.Instance, status.Now) {
		return name, then, nil
	}
	// Nothing must wait for it; what else changed is brought to the server all the same,
	// since it may be what the gate needs.
	return "", func() error {
		return errors.Join(errGateFails, n.brief(ctx, func(ctx context.Context) error { return g.Gate(ctx, nil) }))
	}, nil
}

// gateTakenSoon makes sure, once a primary was told of its gate, that its commits wait.
func (n *Node) gateTakenSoon(ctx context.Context) error {
	ctx, cancel := n.clock.WithTimeout(ctx, gateTaken)
	defer cancel()
	if err := n.pg.GateTaken(ctx); err != nil {
		return fmt.Errorf("have the commit gate in force: %w", err)
	}
	return nil
}

// gateStreams waits for the gate of a primary, which may exit meanwhile; the gate was
// asked for after since, on the guard's clock.
func (n *Node) gateStreams(ctx context.Context, g Guard, instance string, since time.Duration) bool {
	exited := n.link.Exited(instance)
	alive := false
	for until := n.clock.Now().Add(guard.GateBegins); n.clock.Now() < until; {
		st, err := g.Status(ctx)
		if err == nil && st.Gate != nil {
			if st.Gate.Report.Streaming {
				return true
			}
			if !alive && st.Gate.Report.Beat >= since {
				alive, until = true, n.clock.Now().Add(gateArrives)
			}
		}
		if n.clock.Wait(ctx, exited, gateEvery) || ctx.Err() != nil {
			break
		}
	}
	return false
}

// mayUngate: commits that wait may be released, since a gate would confirm them too.
func mayUngate(s guard.Status) bool {
	if s.Server == nil || !s.Server.Writable || s.Paused {
		return true
	}
	return s.Term > s.EndedTerm && s.Now+gateReserve < s.Deadline
}

// gateBeforePromotion makes sure that the server to be promoted has its gate: the
// configuration may have asked for it while the server could not be told. That the guard
// runs one says nothing of the server: it is told first.
func (n *Node) gateBeforePromotion(ctx context.Context, do OnJob) error {
	if !do.Settings.CommitGate {
		return nil
	}
	_, status, err := n.askGuard(ctx)
	if err != nil || status.Protocol < gateProtocol {
		return err
	}
	if status.Gate == nil || !n.told.Load() { // guard: gate_known_before_promotion — S1 (gate)
		if err := n.reconfigure(ctx, do.Settings, &election.Upstream{}, true, false); err != nil {
			return err
		}
	}
	return n.pg.GateTaken(ctx) // guard: gate_taken_before_promotion — S1 (gate): until the checkpointer has read the name, commits wait for nobody
}
