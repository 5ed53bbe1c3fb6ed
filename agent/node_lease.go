package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
	"github.com/pgkeeper/pgkeeper/election"
	"github.com/pgkeeper/pgkeeper/guard"
)

// onLease makes one call on the leader key. The time it reports is read before
// anything left. When the call leaves this node with a lease that runs from that
// time, the guard gets its deadline in the same breath, before the loop hears of
// it: whatever the loop then starts finds the deadline in place.
func (n *Node) onLease(ctx context.Context, do OnLease) Event {
	at := n.clock.Now()
	e := LeaseDone{Action: do.Action, At: at, Term: do.Term}
	if err := n.shorten(ctx, do, at); err != nil { // guard: deadline_before_shorter_beat — SAFETY 2
		e.Outcome, e.Err = Failed, err.Error()
		return e
	}
	lease, err := n.callLease(ctx, do, &e)
	e.Outcome, e.Err = outcome(err), errText(err)
	if err != nil {
		return e
	}
	if lease != nil {
		n.setLease(lease)
		e.Term = lease.Term()
	}
	if from := runsFrom(do, at); !from.Never() {
		if err := n.deadline(ctx, e.Term, from, do.Settings.TTL, do.Margin); err != nil {
			// The store's word counts, the guard's deadline stays where it was:
			// what needs it is refused until a renewal brings it.
			n.log.Warn("deadline not moved", "term", int64(e.Term), "error", err.Error())
			e.Err = err.Error()
			if do.Action == (election.Renew{}) { // guard: renewal_counts_with_deadline
				e.Outcome = Failed
			}
		}
	}
	return e
}

// shorten moves the guard's deadline back before a call that may tell candidates of a
// shorter T: its answer may be lost, and this worker frozen before it can do it then.
func (n *Node) shorten(ctx context.Context, do OnLease, at cluster.Instant) error {
	term, until := do.Term, at.Add(do.Settings.TTL-do.Margin)
	if !beats(do.Action) || do.Deadline <= until {
		return nil
	}
	if a, ok := do.Action.(election.Inherit); ok {
		term = max(term, a.Term)
	}
	g := n.link.Guard()
	if g == nil {
		return errNoGuard
	}
	// It renews nothing: what was sent last stays what a gate may go by after a clock jump.
	err := g.Renewed(ctx, int64(term), time.Duration(do.Renewed), time.Duration(until), do.Margin)
	if err != nil && !errors.Is(err, guard.ErrTermEnded) {
		return fmt.Errorf("shorten the guard's deadline: %w", err)
	}
	return nil
}

// runsFrom is when the lease runs from after a call that succeeded: from before it
// for all that begin with a keepalive. Settling sends none, so the last renewal
// stays what counts, under the new term. 0 for calls that leave no lease.
func runsFrom(do OnLease, at cluster.Instant) cluster.Instant {
	switch do.Action.(type) {
	case election.Renew, election.Acquire, election.Inherit, election.Accept, election.FinishBootstrap, election.Settle:
		if do.Action == (election.Settle{}) { // guard: settle_is_no_renewal — SAFETY 2
			return do.Renewed
		}
		return at
	}
	return 0
}

func (n *Node) deadline(ctx context.Context, term cluster.Term, from cluster.Instant, ttl, margin time.Duration) error {
	g := n.link.Guard()
	if g == nil {
		return errNoGuard
	}
	// A renewal and a round of promises may overlap: the later of the two is in force.
	n.mu.Lock()
	later := n.moved.term == term && n.moved.from > from
	n.mu.Unlock()
	if later {
		return nil
	}
	err := g.Renewed(ctx, int64(term), time.Duration(from), time.Duration(from.Add(ttl-margin)), margin)
	if err == nil {
		n.mu.Lock()
		n.moved.term, n.moved.from = term, from
		n.mu.Unlock()
	}
	return err
}

func outcome(err error) Outcome {
	switch {
	case err == nil:
		return Succeeded
	case errors.Is(err, dcs.ErrCompared):
		return Refused
	case errors.Is(err, dcs.ErrLeaseGone):
		return LeaseGone
	case errors.Is(err, dcs.ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
		return Unknown
	}
	return Failed
}

// callLease is the table from actions to the protocol. What an action yields beside
// a lease it puts into e.
func (n *Node) callLease(ctx context.Context, do OnLease, e *LeaseDone) (taken *dcs.Lease, err error) {
	ttl := do.Settings.TTL
	switch a := do.Action.(type) {
	case election.ClaimInitialize:
		err = n.withSession(func(s *dcs.Session) (err error) { e.Revision, err = s.ClaimInitialize(ctx); return err })
	case election.AbandonInitialize:
		err = n.withSession(func(s *dcs.Session) error { return s.AbandonInitialize(ctx, a.Revision) })
	case election.PutInitialize:
		err = n.putInitialize(ctx, do.Term, a.SystemID)
	case election.FinishBootstrap:
		err = n.withSession(func(s *dcs.Session) (err error) {
			taken, err = s.FinishBootstrap(ctx, a.Revision, a.SystemID, newCluster(n.local.Load().Bootstrap.DCS), do.Holder, ttl)
			return err
		})
	case election.Acquire:
		c := dcs.Candidacy{LeaderTerm: a.LeaderTerm, BeatRevision: a.BeatRevision, PausedRevision: a.PausedRevision, FailsafeRevision: a.FailsafeRevision,
			DurabilityRevision: a.DurabilityRevision, SyncRevision: a.SyncRevision, FailoverRevision: a.FailoverRevision, Holder: do.Holder, TTL: ttl}
		if a.Failsafe != nil {
			c.Failsafe = a.Failsafe.Members
		}
		err = n.withSession(func(s *dcs.Session) (err error) { taken, err = s.Acquire(ctx, c); return err })
	case election.Inherit:
		taken, err = n.inherit(ctx, a, do)
	case election.Accept:
		taken, err = n.accept(ctx, a, do, e)
	case election.Renew:
		err = n.withLease(func(l *dcs.Lease) error { return l.Renew(ctx, ttl) })
	case election.Reserve:
		err = n.withLease(func(l *dcs.Lease) error {
			next, err := l.Reserve(ctx, do.Timelines, a.Above+1)
			if err == nil {
				e.Timelines = &next
			}
			return err
		})
	case election.Settle:
		taken, err = n.settle(ctx)
	case election.Release:
		err = n.stopped(ctx, func(l *dcs.Lease) error {
			return l.Release(ctx, cluster.Release{By: n.name(), Term: l.Term(), Position: a.Position, Clean: a.Clean, BeatRevision: do.BeatRev})
		})
	case election.HandOver:
		err = n.over(ctx, a, func(l *dcs.Lease) error {
			return l.HandOver(ctx, cluster.Handover{From: n.name(), To: a.To, ID: a.ID, Position: a.Position}, a.LeaseID)
		})
	default:
		err = fmt.Errorf("no such call on the leader key: %s", actionName(a))
	}
	return taken, err
}

var errServerLeft = errors.New("the guard has a server")

// stopped gives the lease away once the guard itself has said that it has no server.
// The loop may not know of one: a start that was given up while the guard was frozen
// is still carried out. The guard answers in the order in which it is asked.
func (n *Node) stopped(ctx context.Context, give func(*dcs.Lease) error) error {
	has, err := n.askServer(ctx)
	if err != nil {
		return err
	}
	if has { // guard: release_asks_guard — S1, SAFETY 2, Release
		return errServerLeft
	}
	return n.withLease(give)
}

// over hands the lease over from a server that is stopped, or has written its last and is
// about to exit. The loop heard that from its own job; here it is read again, of the very
// server that the guard has.
func (n *Node) over(ctx context.Context, a election.HandOver, give func(*dcs.Lease) error) error {
	if a.Exiting == "" {
		return n.stopped(ctx, give)
	}
	s, err := n.serverOfGuard(ctx)
	if err != nil {
		return err
	}
	if s != nil && s.Instance != a.Exiting { // guard: exiting_is_ours — S1: another server has come
		return errServerLeft
	}
	disk, err := n.pg.Disk(ctx)
	if err != nil {
		return fmt.Errorf("read where the server ended: %w", err)
	}
	if end, ok := lastWritten(disk); !ok || end != a.Position { // guard: exiting_has_shut_down — S1, SAFETY 2, Release
		return errServerLeft
	}
	return n.withLease(give)
}

// serverOfGuard is the server that the guard says it has; nil for none. Before an error
// nothing has left for the store.
func (n *Node) serverOfGuard(ctx context.Context) (*guard.Server, error) {
	_, status, err := n.askGuard(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the guard what runs: %v", err) //nolint:errorlint // its timeout is no answer of the store
	}
	return status.Server, nil
}

// askServer asks the guard whether it has a server, and tells the loop of one.
func (n *Node) askServer(ctx context.Context) (bool, error) {
	s, err := n.serverOfGuard(ctx)
	if err != nil || s == nil {
		return false, err
	}
	n.link.Started(*s)
	n.post(ServerStarted{*s})
	return true, nil
}

func (n *Node) putInitialize(ctx context.Context, term cluster.Term, systemID string) error {
	if term != 0 {
		return n.withLease(func(l *dcs.Lease) error { return l.PutInitialize(ctx, systemID) })
	}
	return n.withSession(func(s *dcs.Session) error { return s.PutInitialize(ctx, systemID) })
}

// inherit re-puts the key on this session's lease. A session whose length is not
// the wanted one is opened anew first (a changed ttl).
func (n *Node) inherit(ctx context.Context, a election.Inherit, do OnLease) (taken *dcs.Lease, err error) {
	if do.Term != 0 { // we hold it already: this is a regrant
		s, err := n.store.Open(ctx, n.name(), do.Settings.TTL)
		if err != nil {
			return nil, err
		}
		taken, err = s.Inherit(ctx, a.Term, do.Holder, do.Settings.TTL)
		if err != nil {
			return nil, err
		}
		n.setSession(s)
		n.post(SessionOpened{LeaseID: s.ID(), TTL: do.Settings.TTL})
		return taken, nil
	}
	err = n.withSession(func(s *dcs.Session) (err error) {
		taken, err = s.Inherit(ctx, a.Term, do.Holder, do.Settings.TTL)
		return err
	})
	return taken, err
}

// accept takes a hand-over up, with a timeline reserved in the same transaction.
func (n *Node) accept(ctx context.Context, a election.Accept, do OnLease, e *LeaseDone) (taken *dcs.Lease, err error) {
	next, err := dcs.NextTimelines(do.Timelines, a.Term, a.Timeline)
	if err != nil {
		return nil, err
	}
	err = n.withSession(func(s *dcs.Session) (err error) {
		taken, err = s.Accept(ctx, a.Term, do.Holder, do.Settings.TTL, &next)
		return err
	})
	if err == nil {
		e.Timelines = &next
	}
	return taken, err
}

func (n *Node) settle(ctx context.Context) (*dcs.Lease, error) {
	var lease *dcs.Lease
	err := n.withLease(func(l *dcs.Lease) error {
		lease = l
		held, err := l.Settle(ctx)
		if err == nil && !held {
			return fmt.Errorf("settle: %w", dcs.ErrCompared)
		}
		return err
	})
	return lease, err
}
