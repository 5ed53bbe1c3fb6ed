package demo

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/ctl"
)

// wait looks until ready, and is an error with what was last seen when limit
// passes, the tour is interrupted or an agent ended.
func (s *stage) wait(ctx context.Context, limit time.Duration, trouble string, look func(context.Context) (ready bool, progress string)) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	last := ""
	for {
		ready, progress := look(bounded)
		if ready {
			s.clear()
			return nil
		}
		if progress != "" && bounded.Err() == nil {
			last = progress
		}
		s.progress(progress)
		select {
		case <-ticker.C:
		case <-bounded.Done():
			return s.gaveUp(ctx, limit, trouble, last)
		}
		for _, n := range s.nodes {
			if err := n.trouble(); err != nil {
				return err
			}
		}
	}
}

func (s *stage) gaveUp(ctx context.Context, limit time.Duration, trouble, last string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := fmt.Sprintf("%s after %s; last seen: %s", trouble, limit, last)
	if s.writer != nil {
		f := s.writer.figures()
		text += fmt.Sprintf("; the writer has %d rows, its last trouble was: %s", f.Acknowledged, f.LastFail)
	}
	return fmt.Errorf("%s", text)
}

// pause lets the writer run undisturbed for a moment.
func (s *stage) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(quiet):
		return nil
	}
}

// healthy is what the tour calls so: one node answers /primary with 200, every
// other one that runs answers /replica with 200 and streams.
func (s *stage) healthy(ctx context.Context) (bool, string) {
	primaries, waiting := 0, []string{}
	for _, n := range s.nodes {
		switch {
		case n.dead:
		case n.answers(ctx, s.client, "/primary") == http.StatusOK:
			primaries++
		case n.answers(ctx, s.client, "/replica?replication_state=streaming") == http.StatusOK:
		default:
			waiting = append(waiting, n.name)
		}
	}
	if len(waiting) == 0 && primaries == 1 {
		return true, ""
	}
	if primaries == 0 && len(waiting) == 0 {
		return false, "no primary yet"
	}
	return false, s.doing(ctx, waiting)
}

// doing says what members are at, in their own words.
func (s *stage) doing(ctx context.Context, names []string) string {
	overview, err := s.overview(ctx)
	if err != nil {
		return "the agents are starting"
	}
	words := make([]string, 0, len(names))
	for _, name := range names {
		m, found := overview.Member(name)
		text := name + ": "
		switch {
		case !found:
			text += "starting"
		case m.Progress != "":
			text += m.Progress
		case m.Reason != "" && m.State == "running":
			text += strings.ReplaceAll(string(m.Reason), "_", " ")
		default:
			text += m.State
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}

// leader is the node that answers /primary with 200.
func (s *stage) leader(ctx context.Context) string {
	for _, n := range s.nodes {
		if !n.dead && n.answers(ctx, s.client, "/primary") == http.StatusOK {
			return n.name
		}
	}
	return ""
}

func (s *stage) node(name string) *node {
	if i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.name == name }); i >= 0 {
		return s.nodes[i]
	}
	return nil
}

// stopped is the node the tour has killed.
func (s *stage) stopped() *node {
	if i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.dead }); i >= 0 {
		return s.nodes[i]
	}
	return nil
}

// list shows what `pgkeeper list` does, of a cluster that was just seen to be whole. Agents
// answer over REST a moment before they have told the store, from which the table is made:
// on a busy machine it would show a state that the tour has just called over.
func (s *stage) list(ctx context.Context) {
	var overview ctl.Overview
	var err error
	_ = s.wait(ctx, toldWithin, "", func(ctx context.Context) (bool, string) { // the table says what is missing
		overview, err = s.overview(ctx)
		behind := func(m ctl.Member) bool { return !m.Leads() && m.State != "streaming" }
		return err == nil && !slices.ContainsFunc(overview.Members, behind), ""
	})
	if err != nil {
		s.say("pgkeeper list: %s", err)
		return
	}
	s.say("pgkeeper list")
	s.block(ctl.List(overview, false).Pretty(s.Style))
}
