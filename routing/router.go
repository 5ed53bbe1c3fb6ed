package routing

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// Source tells news of the cluster until ctx ends, or until it cannot: then its error says
// why, and it is begun again.
type Source struct {
	// Name is for the log.
	Name string
	Run  func(ctx context.Context, tell func(News)) error
}

// Router drives a HAProxy by what its sources tell. Any of them suffices, and the first to
// know is acted upon.
type Router struct {
	HAProxy HAProxy
	Sources []Source
	// Now reads CLOCK_BOOTTIME.
	Now func() cluster.Instant
	Log *slog.Logger

	belief belief
	// pid is HAProxy's process as seen last, 0 while it is not in reach; pushed tells that
	// it has heard of the belief, and routed whom it was told last.
	pid    int
	pushed bool
	routed string
	// changed is when the leader last changed, settled how many of settle were done since.
	changed cluster.Instant
	settled int
	said    map[string]string // by subject, what was logged last
}

// The pauses of a Router: between two looks at HAProxy's process, and before a source that
// ended is begun again.
const (
	lookEvery   = time.Second
	sourcePause = 300 * time.Millisecond
)

// settle is how long after a change of leader it is told again: a check that was under way
// when the role moved may come back with the old answer, and take back what was told for
// as long as the next two checks need.
var settle = [...]time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}

// Run routes until ctx ends. A HAProxy or a source that is not in reach is waited for.
func (r *Router) Run(ctx context.Context) {
	r.said, r.settled = map[string]string{}, len(settle)
	news := make(chan News, 16)
	ended := make(chan trouble)
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, s := range r.Sources {
		running.Go(func() { s.keep(ctx, news, ended) })
	}
	r.look(ctx)
	for looked := r.Now(); ctx.Err() == nil; {
		pause, stop := context.WithTimeout(ctx, r.wait(looked))
		select {
		case n := <-news:
			r.hear(ctx, n)
		case t := <-ended:
			if !errors.Is(t.err, ErrNoAgent) { // until another source tells of them
				r.say(slog.LevelWarn, "source "+t.source, "source of news ended", t.err.Error(), slog.String("source", t.source))
			}
		case <-pause.Done():
			if r.settled < len(settle) {
				r.settled++
				r.push(ctx)
			} else {
				looked = r.Now()
				r.look(ctx)
			}
		}
		stop()
	}
}

// wait is how long there is nothing to do but to listen.
func (r *Router) wait(looked cluster.Instant) time.Duration {
	if r.settled < len(settle) {
		return r.changed.Add(settle[r.settled]).Sub(r.Now())
	}
	return looked.Add(lookEvery).Sub(r.Now())
}

// trouble is why a source ended.
type trouble struct {
	source string
	err    error
}

// keep runs a source again and again.
func (s Source) keep(ctx context.Context, news chan<- News, ended chan<- trouble) {
	tell := func(n News) {
		n.source = s.Name
		select {
		case news <- n:
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		err := s.Run(ctx, tell)
		if ctx.Err() != nil || err == nil {
			return
		}
		select {
		case ended <- trouble{s.Name, err}:
		case <-ctx.Done():
		}
		pause, stop := context.WithTimeout(ctx, sourcePause)
		<-pause.Done()
		stop()
	}
}

// hear acts upon news.
func (r *Router) hear(ctx context.Context, n News) {
	if !r.belief.take(n, r.Now()) {
		return
	}
	r.pushed = false
	r.changed, r.settled = r.Now(), 0
	r.push(ctx)
}

func (r *Router) term() int64 {
	if l := r.belief.topology.Leader; l != nil {
		return int64(l.Term)
	}
	return 0
}

// look finds out whether HAProxy is in reach and still the process that was told.
func (r *Router) look(ctx context.Context) {
	pid, err := r.HAProxy.Process(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		r.pid = 0
		r.say(slog.LevelWarn, "haproxy", "haproxy out of reach", err.Error())
		return
	}
	r.say(slog.LevelInfo, "haproxy", "haproxy in reach", "", slog.Int("pid", pid))
	if pid != r.pid {
		r.pid, r.pushed = pid, false
		r.compare(ctx)
	}
	if !r.pushed {
		r.push(ctx)
	}
}

// push tells HAProxy the belief, if it is fresh: a leader of a while ago may have lost its
// lease since, and HAProxy's own checks know better.
func (r *Router) push(ctx context.Context) {
	began := r.Now()
	if !r.belief.fresh(began) {
		return
	}
	unknown, err := r.HAProxy.Flip(ctx, r.belief.leader(), others(*r.belief.topology))
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		r.say(slog.LevelWarn, "push", "haproxy not told", err.Error())
		return
	}
	r.say(slog.LevelInfo, "push", "haproxy told", "")
	r.missing(unknown)
	if !r.pushed {
		r.pushed = true
		r.moved(unknown, r.Now().Sub(began))
	}
}

// moved says what HAProxy makes of the belief that it has just been told.
func (r *Router) moved(unknown []string, took time.Duration) {
	before, leader := r.routed, r.belief.leader()
	r.routed = leader
	switch {
	case len(r.belief.topology.Members) == 0:
		r.routed = ""
		r.Log.Warn("no member in the cluster", "error", "nobody is in etcd under this name, or all agents are down: look with pgkeeper list, and at the cluster's name and --namespace")
	case leader == "":
		r.Log.Warn("writes routed nowhere", "before", before, "error", "there is no primary: pgkeeper explain --cluster says why")
	case slices.Contains(unknown, leader):
		r.routed = ""
		r.Log.Warn("writes not routed", "member", leader, "before", before, "error", "backend "+r.HAProxy.Backend+" has no server of the primary's name, or HAProxy has no such backend (--backend)")
	default:
		r.Log.Info("writes routed", "member", leader, "before", before, "term", r.term(), "duration", took)
	}
}

// compare warns of members that HAProxy has no server for.
func (r *Router) compare(ctx context.Context) {
	servers, err := r.HAProxy.Servers(ctx)
	if err != nil {
		r.say(slog.LevelWarn, "servers", "haproxy's servers not known", err.Error())
		return
	}
	r.say(slog.LevelInfo, "servers", "haproxy's servers known", "", slog.Int("servers", len(servers)))
}

func (r *Router) missing(names []string) {
	slices.Sort(names)
	for _, name := range names {
		r.say(slog.LevelWarn, "member "+name, "member without a server in haproxy", "add a server of this name to backend "+r.HAProxy.Backend, slog.String("member", name))
	}
}

// say logs a state of a subject once. The good state of one that was never bad is no news.
func (r *Router) say(level slog.Level, subject, state, why string, more ...slog.Attr) {
	before, known := r.said[subject]
	text := state + why
	if before == text || !known && level == slog.LevelInfo {
		r.said[subject] = text
		return
	}
	r.said[subject] = text
	more = append(more, slog.String("state", state))
	if why != "" {
		more = append(more, slog.String("error", why))
	}
	r.Log.LogAttrs(context.Background(), level, "routing state changed", more...)
}
