package testbed

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	watchEvery = 10 * time.Millisecond
	watchLimit = time.Second
)

// Interval is a time in which a node accepted writes without a refusal between:
// from the first acknowledgement to the last.
type Interval struct {
	Node     string
	From, To time.Time
	// LastSent is when the last of these writes was sent.
	LastSent time.Time
	Writes   int
}

// Watcher tries to write to every node, all the time, and records when each
// accepts. All instants are of one monotonic clock.
type Watcher struct {
	cancel context.CancelFunc
	nodes  sync.WaitGroup

	mu        sync.Mutex
	intervals []*Interval
}

// StartWatcher makes the table and starts to write to every node until Stop.
func (c *Cluster) StartWatcher(ctx context.Context) (*Watcher, error) {
	session, err := c.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("start a watcher: %w", err)
	}
	defer session.Close(ctx)
	if _, err := session.Exec(ctx, "create table if not exists watcher (node text not null)"); err != nil {
		return nil, fmt.Errorf("start a watcher: %w", err)
	}
	w := &Watcher{}
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, n := range c.Nodes {
		w.nodes.Go(func() { w.watch(ctx, n) })
	}
	return w, nil
}

// watch writes to one node. A refusal, a lost session or a write that takes
// longer than watchLimit ends an interval.
func (w *Watcher) watch(ctx context.Context, n *Node) {
	var session *pgx.Conn
	var current *Interval
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			closeSession(session)
			return
		case <-tick.C:
		}
		if session == nil {
			session = w.open(ctx, n)
		}
		if session == nil {
			current = nil
			continue
		}
		limited, cancel := context.WithTimeout(ctx, watchLimit)
		sent := time.Now()
		_, err := session.Exec(limited, "insert into watcher values ($1)", n.Name)
		cancel()
		if err == nil {
			current = w.accepted(n, current, sent)
			continue
		}
		current = nil
		if !refusedByServer(err) {
			closeSession(session)
			session = nil
		}
	}
}

// open keeps refusals out of the server's log: there are hundreds a second.
func (w *Watcher) open(ctx context.Context, n *Node) *pgx.Conn {
	session, err := connect(ctx, n.DSN(), connectLimit, map[string]string{"log_min_messages": "fatal", "application_name": "watcher"})
	if err != nil {
		return nil
	}
	return session
}

func (w *Watcher) accepted(n *Node, current *Interval, sent time.Time) *Interval {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if current == nil {
		current = &Interval{Node: n.Name, From: now}
		w.intervals = append(w.intervals, current)
	}
	current.To, current.LastSent = now, sent
	current.Writes++
	return current
}

// Stop ends the watching and may be repeated.
func (w *Watcher) Stop() {
	w.cancel()
	w.nodes.Wait()
}

// Intervals are all intervals so far, by their beginning.
func (w *Watcher) Intervals() []Interval {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Interval
	for _, i := range w.intervals {
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b Interval) int { return a.From.Compare(b.From) })
	return all
}

// Overlap is how long two nodes accepted writes at once, and which did. An
// interval of one write has no length of its own, and counts as a nanosecond.
func (w *Watcher) Overlap() (time.Duration, []Interval) {
	return overlap(w.Intervals())
}

func overlap(all []Interval) (total time.Duration, who []Interval) {
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.Node == b.Node || a.To.Before(b.From) || b.To.Before(a.From) {
				continue
			}
			from, to := a.From, a.To
			if b.From.After(from) {
				from = b.From
			}
			if b.To.Before(to) {
				to = b.To
			}
			total += max(to.Sub(from), time.Nanosecond)
			who = append(who, a, b)
		}
	}
	return total, who
}
