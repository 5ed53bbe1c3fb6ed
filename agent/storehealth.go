package agent

import (
	"context"
	"slices"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// healthy is a store that can say how it does itself; *etcd.KV is one.
type healthy interface {
	// Health asks one member of the store in turn, or all.
	Health(ctx context.Context, all bool) cluster.StoreHealth
	// Alarmed has something to receive when a request failed or was slow.
	Alarmed() <-chan struct{}
	// MoveLeader hands the store's own leadership from this machine to another; to is
	// empty when it led elsewhere already.
	MoveLeader(ctx context.Context) (to string, err error)
}

// healthEvery is between two looks at the store's health, one request each; healthPause
// the least between two of them when requests fail; healthLimit bounds one.
const (
	healthEvery = 30 * time.Second
	healthPause = 10 * time.Second
	healthLimit = 5 * time.Second
)

// StoreHealthSeen is how the store does itself.
type StoreHealthSeen struct{ Health cluster.StoreHealth }

func (StoreHealthSeen) event() {}

// keepStoreHealth looks until ctx ends. It is no part of any decision: a store that is
// sick is noticed by the renewals that fail.
func (w *worker) keepStoreHealth(ctx context.Context, store healthy) {
	var steer steering
	var last []cluster.StoreTrouble
	for all := true; ctx.Err() == nil; all = waitForTrouble(ctx, store.Alarmed()) {
		looked, cancel := context.WithTimeout(ctx, healthLimit)
		health := store.Health(looked, all)
		cancel()
		if ctx.Err() != nil {
			return
		}
		w.tellTroubles(last, health.Troubles)
		last = health.Troubles
		w.node.post(StoreHealthSeen{health})
		s := w.driver.Status()
		primary := s != nil && !s.Settings.Pause && s.Writable(clock.Now())
		if steer.due(clock.Now(), w.node.local.Load().Keeper.MoveEtcdLeader && primary && health.LeaderHere) {
			w.moveLeader(ctx, store)
		}
	}
}

// waitForTrouble waits for the next look, and reports whether a request has asked for
// it: then all members are looked at.
func waitForTrouble(ctx context.Context, alarmed <-chan struct{}) (all bool) {
	if !clock.Sleep(ctx.Done(), healthPause) {
		return false
	}
	rest := clock.Timer(healthEvery - healthPause)
	defer rest.Stop()
	select {
	case <-alarmed:
		return true
	case <-ctx.Done():
	case <-rest.C:
	}
	return false
}

// tellTroubles logs what began and what ended.
func (w *worker) tellTroubles(before, now []cluster.StoreTrouble) {
	for _, t := range now {
		if !slices.ContainsFunc(before, t.Same) {
			w.Log.Warn("etcd is in trouble", "member", w.Config.Name, "kind", string(t.Kind), "endpoint", t.Endpoint, "etcd_member", t.Member, "detail", t.Detail, "advice", t.Advice)
		}
	}
	for _, t := range before {
		if !slices.ContainsFunc(now, t.Same) {
			w.Log.Info("etcd's trouble is over", "member", w.Config.Name, "kind", string(t.Kind), "endpoint", t.Endpoint, "etcd_member", t.Member)
		}
	}
}

// steering says when etcd's leader is moved off the machine of the primary: the loss of
// that machine would cost an election of etcd before the lease even begins to run out,
// since a new leader gives every lease its full length again.
type steering struct{ since, moved cluster.Instant }

// steerAfter is for how long both must have been here: a switchover ends that too.
// steerPause is between two tries: a leader that comes back has its reasons.
const (
	steerAfter = time.Minute
	steerPause = 10 * time.Minute
)

// due is told whether etcd's leader is here beside the primary, and unwanted here.
func (s *steering) due(now cluster.Instant, beside bool) bool {
	switch {
	case !beside:
		s.since = 0
		return false
	case s.since.Never():
		s.since = now
	}
	if now.Sub(s.since) < steerAfter || !s.moved.Never() && now.Sub(s.moved) < steerPause {
		return false
	}
	s.moved = now
	return true
}

func (w *worker) moveLeader(ctx context.Context, store healthy) {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	to, err := store.MoveLeader(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		w.Log.Warn("etcd's leader not moved off the primary's machine", "member", w.Config.Name, "error", err.Error())
	case to != "":
		w.Log.Info("etcd's leader moved off the primary's machine", "member", w.Config.Name, "endpoint", to)
	}
}
