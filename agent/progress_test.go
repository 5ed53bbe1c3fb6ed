package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/postgres"
)

// sample is one look at a standby: when, the end of WAL, what was replayed.
type sample struct {
	at            time.Duration
	end, replayed cluster.LSN
	commitAge     time.Duration
}

func TestLagInTime(t *testing.T) {
	const unknown = -1
	cases := []struct {
		name    string
		samples []sample
		want    time.Duration
	}{
		{"an idle primary makes nobody late", []sample{{0, 10, 10, time.Hour}, {time.Minute, 10, 10, time.Hour}}, 0},
		{"a standby is behind since WAL came that it has not replayed", []sample{{0, 10, 10, 0}, {1 * time.Second, 20, 10, time.Hour}, {3 * time.Second, 30, 10, time.Hour}}, 2 * time.Second},
		{"what was replayed meanwhile counts", []sample{{0, 10, 10, 0}, {1 * time.Second, 20, 10, 0}, {2 * time.Second, 30, 20, 0}, {4 * time.Second, 40, 29, 0}}, 2 * time.Second},
		{"caught up is caught up", []sample{{0, 10, 10, 0}, {1 * time.Second, 20, 10, 0}, {9 * time.Second, 20, 20, 5 * time.Second}}, 0},
		{"behind from the first look on it is as late as its last commit", []sample{{0, 20, 10, time.Hour}, {time.Second, 20, 10, time.Hour}}, time.Hour},
		{"and unknown without one", []sample{{0, 20, 10, unknown}}, unknown},
		{"and at least as late as it has been watched", []sample{{0, 20, 10, time.Second}, {time.Minute, 20, 10, time.Second}}, time.Minute},
		{"until it replays an end that was seen", []sample{{0, 20, 10, time.Hour}, {time.Second, 30, 20, time.Hour}, {2 * time.Second, 30, 25, time.Hour}}, time.Second},
		{"another history begins anew", []sample{{0, 100, 100, 0}, {time.Second, 60, 50, unknown}}, unknown},
		{"an end that nobody knows", []sample{{0, 0, 10, 0}}, unknown},
		{"a standby that has replayed nothing", []sample{{0, 10, 0, 0}}, unknown},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var ends walEnds
			got := time.Duration(unknown)
			for _, s := range c.samples {
				late, known := ends.behind(cluster.Instant(time.Hour).Add(s.at), s.end, s.replayed, s.commitAge)
				if got = late; !known {
					got = unknown
				}
			}
			if got != c.want {
				t.Errorf("late by %v, want %v", got, c.want)
			}
		})
	}
}

func TestEndsOfWALAreForgottenSparingly(t *testing.T) {
	var ends walEnds
	ends.behind(1, 1, 1, 0)
	for i := range 10 * endsKept {
		ends.behind(cluster.Instant(i+2), cluster.LSN(i+2), 1, 0)
	}
	if len(ends.ahead) > endsKept+1 {
		t.Errorf("%d ends are kept", len(ends.ahead))
	}
	now := cluster.Instant(10 * endsKept)
	if late, known := ends.behind(now, 10*endsKept, 1, 0); !known || late != now.Sub(2) {
		t.Errorf("late by %v, want since the first", late)
	}
}

// lookedAt is a server whose looks are counted.
type lookedAt struct {
	looks int
	err   error
}

func (s *lookedAt) LookProgress(context.Context) (postgres.Progress, error) {
	s.looks++
	return postgres.Progress{Progress: cluster.Progress{Mode: cluster.ModeStandby, Replay: 10, Latest: 10, Streaming: true}}, s.err
}

func TestPositionsAreLookedAtOnlyWhileSomebodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, server := newProgressWatch(), &lookedAt{}
		status := &cluster.Status{Node: cluster.Seen(cluster.NodeState{Mode: cluster.ModeStandby}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.run(ctx, server, func() *cluster.Status { return status })
		synctest.Wait()
		if server.looks != 0 {
			t.Fatalf("%d looks and nobody has asked", server.looks)
		}
		if p := w.Newest(); p != nil {
			t.Errorf("before the first look: %+v", p)
		}
		synctest.Wait()
		if p := w.newest.Load(); p == nil || p.Replay != 10 || !p.Known || p.Behind != 0 {
			t.Fatalf("the look: %+v", p)
		}
		// The clock of the looks stands still in here; that they end is the pause's.
		w.asked.Store(w.asked.Load() - int64(progressLinger))
		<-time.After(time.Hour)
		if looks := server.looks; looks > 2 {
			t.Errorf("%d looks in an hour in which nobody asked", looks)
		}
		server.err = errors.New("refused")
		w.Newest()
		synctest.Wait()
		if p := w.newest.Load(); p != nil {
			t.Errorf("of a server that cannot be asked: %+v", p)
		}
	})
}
