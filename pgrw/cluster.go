package pgrw

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// agentsSilent is how long no agent may have been heard until the servers themselves
// are believed.
const agentsSilent = 3 * time.Second

// Where roles come from.
const (
	fromEvents  = "events"
	fromCluster = "cluster"
	fromServers = "servers"
)

// Cluster routes to the servers of one cluster. Open makes it; it is safe for use by
// many goroutines.
type Cluster struct {
	settings
	dsn  dsn
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	// now is the topology in force; readers take it whole.
	now atomic.Pointer[view]

	mu       sync.Mutex
	servers  map[string]*server
	reported *report // nil while no agent was heard
	heardAt  time.Time
	source   string
	ends     map[uint32]LSN // where timelines were left
	history  history
	probes   map[string]probed
	track    track
	failures map[string]error // what agents, by URL, and servers failed with last
	// nudge wakes whoever can look at once.
	nudge    chan struct{}
	nudgedAt time.Time
}

// view is a topology; it never changes.
type view struct {
	primary  *server
	replicas []*seated
	all      []*seated
	source   string
	ends     map[uint32]LSN
	// changed is closed when another view is in force.
	changed chan struct{}
}

// seated is a server in a view.
type seated struct {
	*server
	name string
	role Role
	tags map[string]string
}

// Open finds the cluster and returns once it knows who the primary is, or when a second
// has passed with a replica known, or with an error at the context's end or after
// WithMaxWait when nothing is known. The DSN is
//
//	pgkeeper://[user:password@]agent:8008,agent:8008/database?parameters
//	postgres://[user:password@]server:5432,server:5432/database?parameters
//
// With pgkeeper (or pgkeeper+https) the hosts are agents, pgkeeper's or Patroni's: they
// tell of all servers and every change; one that answers is enough. With postgres the
// hosts are servers, which are asked for their roles; servers are not added. Parameters
// are those of pgxpool.ParseConfig, applied to each server.
func Open(ctx context.Context, text string, options ...Option) (*Cluster, error) {
	d, err := parseDSN(text)
	if err != nil {
		return nil, fmt.Errorf("pgrw: DSN: %w", err)
	}
	c := newCluster(d, options...)
	c.start()
	if err := c.known(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("pgrw: %w", err)
	}
	return c, nil
}

func newCluster(d dsn, options ...Option) *Cluster {
	c := &Cluster{settings: defaults(), dsn: d, servers: map[string]*server{}, probes: map[string]probed{}, ends: map[uint32]LSN{}, failures: map[string]error{}, nudge: make(chan struct{})}
	for _, option := range options {
		option(&c.settings)
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.now.Store(&view{changed: make(chan struct{})})
	return c
}

func (c *Cluster) start() {
	c.mu.Lock()
	for _, address := range c.dsn.servers {
		c.admit(address)
	}
	c.settle()
	c.mu.Unlock()
	if len(c.dsn.agents) > 0 {
		c.work.Go(func() { c.followAgents() })
	}
}

// known waits for the first useful view.
func (c *Cluster) known(ctx context.Context) error {
	limit := time.NewTimer(c.maxWait)
	defer limit.Stop()
	soon := time.NewTimer(time.Second)
	defer soon.Stop()
	patient := true
	for {
		v := c.now.Load()
		if v.primary != nil || !patient && slices.ContainsFunc(v.replicas, func(s *seated) bool { return !s.down.Load() }) {
			return nil
		}
		select {
		case <-v.changed:
		case <-soon.C:
			patient = false
		case <-limit.C:
			return fmt.Errorf("%w: nobody told of a cluster within %v: %w", ErrNoPrimary, c.maxWait, c.whyNot())
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: %w", ErrNoPrimary, ctx.Err(), c.whyNot())
		}
	}
}

// whyNot says whom we asked, and what each failed with last.
func (c *Cluster) whyNot() error {
	err := fmt.Errorf("asked the servers %v", c.dsn.servers)
	if len(c.dsn.agents) > 0 {
		err = fmt.Errorf("asked the agents %v", c.dsn.agents)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, address := range slices.Sorted(maps.Keys(c.failures)) {
		err = fmt.Errorf("%w; %s: %w", err, address, c.failures[address])
	}
	return err
}

// failed notes what an agent or a server failed with, nil for one that answered; c.mu is held.
func (c *Cluster) failed(address string, err error) {
	if err == nil {
		delete(c.failures, address)
		return
	}
	c.failures[address] = err
}

// admit adds a server and begins to ask it; c.mu is held.
func (c *Cluster) admit(address string) {
	srv := newServer(address, c.dsn.at(address), &c.settings)
	c.servers[address] = srv
	ctx, cancel := context.WithCancel(c.ctx)
	srv.stopProbe = cancel
	c.work.Go(func() { c.probe(ctx, srv) })
}

// take takes an agent's report in.
func (c *Cluster) take(r *report, source string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	c.reported, c.heardAt = r, time.Now()
	c.from(source)
	present := map[string]bool{}
	for _, m := range r.members {
		present[m.address] = true
		if c.servers[m.address] == nil {
			c.admit(m.address)
		}
		c.servers[m.address].raise(m.timeline)
	}
	for address, srv := range c.servers {
		if !present[address] && !slices.Contains(c.dsn.servers, address) {
			delete(c.servers, address)
			delete(c.probes, address)
			delete(c.failures, address)
			srv.demote()
			go srv.close()() // waits for reads under way
		}
	}
	c.settle()
}

// heard notes that an agent still says the same.
func (c *Cluster) heard(source string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heardAt = time.Now()
	if c.source != source && c.reported != nil {
		c.from(source)
		c.settle()
	}
}

// from notes where the roles come from; c.mu is held.
func (c *Cluster) from(source string) {
	if c.source != source {
		c.source = source
		c.observer(Event{Kind: EventSource, Reason: source})
	}
}

// settle makes the view anew and acts on the difference; c.mu is held.
func (c *Cluster) settle() {
	told := c.reported != nil && time.Since(c.heardAt) < agentsSilent
	leader, members := "", map[string]*member{}
	if c.reported != nil {
		leader = c.reported.leader
		for i, m := range c.reported.members {
			members[m.address] = &c.reported.members[i]
		}
	}
	if !told {
		c.from(fromServers)
	}
	var seats []seat
	for _, srv := range c.servers {
		seats = append(seats, seat{srv.address, members[srv.address], c.probes[srv.address], srv.down.Load()})
	}
	slices.SortFunc(seats, func(a, b seat) int { return strings.Compare(a.address, b.address) })
	next := &view{changed: make(chan struct{}), ends: c.ends, source: c.source}
	for i, r := range resolve(told, leader, seats) {
		s := &seated{server: c.servers[seats[i].address], name: seats[i].address, role: r.role}
		if m := seats[i].member; m != nil {
			s.name, s.tags = m.name, m.tags
		}
		next.all = append(next.all, s)
		switch r.role {
		case RolePrimary:
			next.primary = s.server
		case RoleReplica:
			next.replicas = append(next.replicas, s)
		}
	}
	c.enact(c.now.Load(), next)
}

// enact puts a view in force. Connections to a former primary are closed when another
// server has its place: not before, since with nobody in it what is under way may end.
func (c *Cluster) enact(old, next *view) {
	if next.primary != old.primary {
		address := ""
		if next.primary != nil {
			address = next.primary.address
			next.primary.enthrone()
		}
		for _, srv := range c.servers {
			if next.primary != nil && srv != next.primary {
				if count := srv.demote(); count > 0 {
					c.observer(Event{Kind: EventDropped, Server: srv.address, Count: count})
				}
			}
		}
		c.logger.Info("the primary changed", "server", address, "source", next.source)
		c.observer(Event{Kind: EventPrimary, Server: address})
	}
	c.now.Store(next)
	close(old.changed)
}

// kickRest is how often a kick is passed on: a thousand that wait kick as one.
const kickRest = 20 * time.Millisecond

// kick has whoever can look for a new primary look at once.
func (c *Cluster) kick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.nudgedAt) < kickRest {
		return
	}
	c.nudgedAt = time.Now()
	close(c.nudge)
	c.nudge = make(chan struct{})
}

func (c *Cluster) nudged() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nudge
}

// Close ends everything. It waits for connections that are in use.
func (c *Cluster) Close() {
	c.stop()
	c.work.Wait()
	c.mu.Lock()
	var waits []func()
	for _, srv := range c.servers {
		waits = append(waits, srv.close())
	}
	c.servers = map[string]*server{}
	c.mu.Unlock()
	for _, wait := range waits {
		wait()
	}
}

// wait waits for another view than v, for at most d; an error ends the wait for good.
func (c *Cluster) wait(ctx context.Context, v *view, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-v.changed:
	case <-timer.C:
	case <-c.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// reason takes the last cause along into an error.
func reason(sentinel error, what string, last error) error {
	if last == nil {
		return fmt.Errorf("%w: %s", sentinel, what)
	}
	if errors.Is(last, sentinel) {
		return last
	}
	return fmt.Errorf("%w: %s: %w", sentinel, what, last)
}
