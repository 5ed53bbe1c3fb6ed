package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/dcs"
)

// Fault is what happens to one request.
type Fault int

// The faults of a request.
const (
	// Deliver: no fault.
	Deliver Fault = iota
	// Refuse: the client is told at once that nothing happened.
	Refuse
	// LoseRequest: never applied, and the client cannot know.
	LoseRequest
	// LoseAnswer: applied, and the client cannot know.
	LoseAnswer
	// Late: as LoseRequest, but Server.ApplyLate applies it.
	Late
	// Hang: never applied; the client waits until its context ends.
	Hang
)

// Client is one client of a Server; it implements dcs.KV. The faults set on it
// concern its own requests only.
type Client struct {
	server *Server
	name   string

	mu     sync.Mutex
	fault  func(Call) (Fault, time.Duration)
	cut    bool
	stale  bool
	closed bool
	// ended is closed and replaced when all watches must end.
	ended chan struct{}
	// requests counts by kind, for tests of idle traffic.
	requests map[Kind]int
}

// Client gives the client of that name, the same one every time.
func (s *Server) Client(name string) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[name] == nil {
		s.clients[name] = &Client{server: s, name: name, ended: make(chan struct{}), requests: map[Kind]int{}}
	}
	return s.clients[name]
}

// OnCall decides the fate of every request: a fault, after a delay. nil delivers
// all. It is called from the requesting goroutine.
func (c *Client) OnCall(decide func(Call) (Fault, time.Duration)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = decide
}

// FailNext applies fault to the next request of kind, and nothing to others.
func (c *Client) FailNext(kind Kind, fault Fault) {
	var once sync.Mutex
	done := false
	c.OnCall(func(call Call) (Fault, time.Duration) {
		once.Lock()
		defer once.Unlock()
		if done || call.Kind != kind {
			return Deliver, 0
		}
		done = true
		return fault, 0
	})
}

// Partition cuts the client off from the store, or heals it: requests hang and
// watches end, as they do on a member without a quorum.
func (c *Client) Partition(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut = cut; cut {
		c.endWatches()
	}
}

// StaleLeader makes the client talk to an etcd leader that lost its cluster and
// does not know it: keepalives are answered whatever became of the lease, watches
// stay silent, everything else hangs.
func (c *Client) StaleLeader(stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = stale
}

// BreakWatches ends every watch of the client with an error, once.
func (c *Client) BreakWatches() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endWatches()
}

func (c *Client) endWatches() {
	close(c.ended)
	c.ended = make(chan struct{})
}

// Requests counts the client's requests so far, by kind.
func (c *Client) Requests(kind Kind) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[kind]
}

// fate decides about one request, counting it.
func (c *Client) fate(call Call) (Fault, time.Duration) {
	c.mu.Lock()
	c.requests[call.Kind]++
	decide, cut, stale, closed := c.fault, c.cut, c.stale, c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return Refuse, 0
	case cut, stale && call.Kind != CallKeepAlive:
		return Hang, 0
	case decide != nil:
		return decide(call)
	}
	return Deliver, 0
}

func (c *Client) isStale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stale
}

func (c *Client) do(ctx context.Context, call Call) Answer {
	if err := ctx.Err(); err != nil {
		return Answer{Err: fmt.Errorf("%s: %w: %w", call.Kind, dcs.ErrUnavailable, err)}
	}
	fault, delay := c.fate(call)
	if delay > 0 && !wait(ctx, delay) {
		return Lost(call)
	}
	switch fault {
	case Refuse:
		return Answer{Err: fmt.Errorf("%s: refused: %w", call.Kind, dcs.ErrUnavailable)}
	case LoseRequest:
		return Lost(call)
	case Late:
		c.server.park(call)
		return Lost(call)
	case LoseAnswer:
		c.server.do(call)
		return Lost(call)
	case Hang:
		<-ctx.Done()
		return Lost(call)
	}
	if call.Kind == CallKeepAlive && c.isStale() {
		return Answer{}
	}
	return c.server.do(call)
}

// wait returns whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-timer.Done()
	return ctx.Err() == nil
}

// Range implements dcs.KV.
func (c *Client) Range(ctx context.Context, prefix string) (dcs.Snapshot, error) {
	a := c.do(ctx, Call{Kind: CallRange, Prefix: prefix})
	return a.Snapshot, a.Err
}

// Txn implements dcs.KV.
func (c *Client) Txn(ctx context.Context, compares []dcs.Compare, ops []dcs.Op) (int64, error) {
	a := c.do(ctx, Call{Kind: CallTxn, Compares: compares, Ops: ops})
	return a.Revision, a.Err
}

// Grant implements dcs.KV.
func (c *Client) Grant(ctx context.Context, ttlSeconds int64) (int64, error) {
	a := c.do(ctx, Call{Kind: CallGrant, TTL: ttlSeconds})
	return a.Lease, a.Err
}

// KeepAlive implements dcs.KV.
func (c *Client) KeepAlive(ctx context.Context, lease int64) error {
	return c.do(ctx, Call{Kind: CallKeepAlive, Lease: lease}).Err
}

// Revoke implements dcs.KV.
func (c *Client) Revoke(ctx context.Context, lease int64) error {
	return c.do(ctx, Call{Kind: CallRevoke, Lease: lease}).Err
}

// Close implements dcs.KV.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.endWatches()
	}
	return nil
}

// Watch implements dcs.KV.
func (c *Client) Watch(ctx context.Context, prefix string, from int64) <-chan dcs.WatchEvent {
	out := make(chan dcs.WatchEvent)
	c.mu.Lock()
	ended, dead := c.ended, c.cut || c.closed
	c.mu.Unlock()
	go c.watch(ctx, prefix, from, out, ended, dead)
	return out
}

func (c *Client) watch(ctx context.Context, prefix string, from int64, out chan<- dcs.WatchEvent, ended <-chan struct{}, dead bool) {
	defer close(out)
	for !dead {
		found, changed, err := c.server.events(prefix, from)
		if err != nil {
			send(ctx, out, dcs.WatchEvent{Err: err})
			return
		}
		if c.isStale() {
			found = nil
		}
		for _, e := range found {
			if !send(ctx, out, e) {
				return
			}
			from = e.Revision
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
			dead = true
		case <-changed:
		}
	}
	send(ctx, out, dcs.WatchEvent{Err: fmt.Errorf("watch: no leader: %w", dcs.ErrUnavailable)})
}

func send(ctx context.Context, out chan<- dcs.WatchEvent, e dcs.WatchEvent) bool {
	select {
	case <-ctx.Done():
		return false
	case out <- e:
		return true
	}
}
