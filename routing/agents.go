package routing

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Agents finds agents to listen to: those it was given, and those the topology names.
type Agents struct {
	mu    sync.Mutex
	seeds []string
	known []string
	turn  int
}

// NewAgents begins with the agents at these addresses, http://host:port; none is all right
// where another source tells of them.
func NewAgents(seeds ...string) *Agents { return &Agents{seeds: seeds} }

// Know takes the agents' addresses from a topology.
func (a *Agents) Know(t cluster.Topology) {
	var urls []string
	for _, m := range t.Members {
		if m.APIURL != "" {
			urls = append(urls, strings.TrimSuffix(m.APIURL, "/patroni"))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = urls
}

// next is the agent whose turn it is; empty while none is known.
func (a *Agents) next() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.known)
	for _, seed := range a.seeds {
		if !slices.Contains(all, seed) {
			all = append(all, seed)
		}
	}
	if len(all) == 0 {
		return ""
	}
	a.turn++
	return all[a.turn%len(all)]
}

// Source listens to one agent after the other, each for as long as it tells.
func (a *Agents) Source(name string, client *http.Client, now func() cluster.Instant) Source {
	return Source{Name: name, Run: func(ctx context.Context, tell func(News)) error {
		base := a.next()
		if base == "" {
			return ErrNoAgent
		}
		return Listen(ctx, client, base, now, func(n News) {
			if n.Topology != nil {
				a.Know(*n.Topology)
			}
			tell(n)
		})
	}}
}
