package pgrw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

const (
	// agentLimit bounds a request to an agent, and how long events may be silent: agents
	// send one a second at least.
	agentLimit = 3 * time.Second
	// forgetAfter is after how long without a word that counts a lower term is taken for
	// that of a store that was restored, or made anew.
	forgetAfter = 10 * time.Second
	// agentsRest is the pause after every agent was tried in vain.
	agentsRest = 200 * time.Millisecond
	// pollFast is how often the cluster is asked for while it has no primary.
	pollFast = 100 * time.Millisecond
	// bodyLimit bounds an answer of an agent.
	bodyLimit = 8 << 20
)

// errNoEvents says that an agent has no events: the cluster is polled there.
var errNoEvents = errors.New("the agent has no events")

// errSilent says that nothing of use came from an agent for too long.
var errSilent = fmt.Errorf("the agent told nothing that counts within %v", agentLimit)

// followAgents listens to one agent as long as it is of use, then to the next one.
func (c *Cluster) followAgents() {
	plain := map[string]bool{} // agents without events
	for c.ctx.Err() == nil {
		useful := false
		for _, url := range c.agents() {
			began := time.Now()
			err := errNoEvents
			if !plain[url] {
				err = c.listen(c.ctx, url)
			}
			if errors.Is(err, errNoEvents) {
				plain[url] = true
				err = c.poll(c.ctx, url)
				delete(plain, url) // it may come back as a newer one
			}
			if c.ctx.Err() != nil {
				return
			}
			c.mu.Lock()
			c.failed(url, err)
			c.mu.Unlock()
			useful = useful || time.Since(began) > agentLimit
			c.logger.Debug("an agent is of no use", "agent", url, "error", err)
		}
		if !useful {
			c.rest(agentsRest)
		}
	}
}

// agents are those of the DSN and those that the members name, which need not be in it.
func (c *Cluster) agents() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.dsn.agents)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) // or all clients would listen to the first
	if c.reported != nil {
		for _, m := range c.reported.members {
			if m.api != "" && !slices.Contains(all, m.api) {
				all = append(all, m.api)
			}
		}
	}
	return all
}

func (c *Cluster) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}

// listen follows an agent's events until they end or are of no use.
func (c *Cluster) listen(ctx context.Context, url string) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(agentLimit, func() { cancel(errSilent) }) // a peer that is gone sends no end
	defer silence.Stop()
	defer func() {
		if err != nil && errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent // which HTTP calls canceled
		}
	}()
	answer, err := c.ask(ctx, url+"/events")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable: // too many listen, or it does not know yet
		return fmt.Errorf("GET %s/events: %s", url, answer.Status)
	default:
		return errNoEvents
	}
	events, s := newSSEReader(answer.Body), &stream{members: map[string]wireMember{}}
	believed := false
	for {
		e, err := events.next()
		if err != nil {
			return err
		}
		r, positions, err := s.fold(e)
		switch {
		case err != nil:
			return err
		case r != nil:
			believed = c.believe(ctx, url, r, fromEvents)
		case believed:
			c.heard(fromEvents)
			c.replayed(positions)
			c.history.want(ctx, c, url, false)
		}
		if believed { // or another is tried, which may know more
			silence.Reset(agentLimit)
		}
	}
}

// poll asks an agent for the cluster, again and again, and at once when it is nudged.
func (c *Cluster) poll(ctx context.Context, url string) error {
	for {
		nudged := c.nudged()
		raw, err := c.get(ctx, url+"/cluster")
		if err != nil {
			return err
		}
		r, err := readCluster(raw)
		if err != nil {
			return err
		}
		c.believe(ctx, url, r, fromCluster)
		next := c.pollInterval
		if c.now.Load().primary == nil {
			next = min(next, pollFast)
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-nudged:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// believe takes a report in, unless a later leader is known: then the agent is behind, and
// will come after. Until it does it counts as silent. When nobody has told of the later
// leader for forgetAfter there is none: terms begin again in a store that was made anew.
func (c *Cluster) believe(ctx context.Context, url string, r *report, source string) bool {
	c.mu.Lock()
	old, heardAt := c.reported, c.heardAt
	c.mu.Unlock()
	if old != nil && r.leader != "" && r.term != 0 && r.term < old.term && time.Since(heardAt) < forgetAfter {
		return false
	}
	if old != nil && r.term == 0 {
		r.term = old.term
	}
	c.take(r, source)
	c.history.want(ctx, c, url, old == nil || old.leader != r.leader)
	return true
}

// replayed notes positions that an agent told, which make choices better; they prove nothing.
func (c *Cluster) replayed(positions map[string]LSN) {
	if len(positions) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for address, lsn := range positions {
		if srv := c.servers[address]; srv != nil && LSN(srv.lsn.Load()) < lsn {
			srv.lsn.Store(uint64(lsn))
		}
	}
}

// get asks an agent and returns the body of an answer that is 200.
func (c *Cluster) get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, agentLimit)
	defer cancel()
	answer, err := c.ask(ctx, url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, bodyLimit))
}

func (c *Cluster) ask(ctx context.Context, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.http.Do(request)
}
