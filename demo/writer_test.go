package demo

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeServer acknowledges at once, except while it is down.
type fakeServer struct {
	downFrom, downTo time.Duration
	start            time.Time
	rows             map[int64]bool
	// hang makes an insert during the outage wait for its context instead.
	hang bool
}

func (s *fakeServer) down() bool {
	at := time.Since(s.start)
	return at >= s.downFrom && at < s.downTo
}

func (s *fakeServer) connect(context.Context) (connection, error) {
	if s.down() {
		return nil, errors.New("connection refused")
	}
	return s, nil
}

func (s *fakeServer) Insert(ctx context.Context, seq int64) error {
	if !s.down() {
		s.rows[seq] = true
		return nil
	}
	if s.hang {
		<-ctx.Done()
	}
	return errors.New("server closed the connection")
}

func (s *fakeServer) Close() {}

func writeFor(t *testing.T, s *fakeServer, d time.Duration) *writer {
	t.Helper()
	s.start, s.rows = time.Now(), map[int64]bool{}
	w := newWriter(s.connect)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	w.run(ctx)
	return w
}

func TestAHealthyServerShowsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := writeFor(t, &fakeServer{}, time.Second+rowEvery/2).figures()
		want := figures{Acknowledged: 200, Longest: rowEvery}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnOutageIsMeasuredBetweenTheAcknowledgementsAroundIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeServer{downFrom: 102 * time.Millisecond, downTo: 703 * time.Millisecond}
		got := writeFor(t, s, time.Second).figures()
		if got.Longest != 605*time.Millisecond { // from the row at 100 ms to the one at 705 ms
			t.Errorf("the gap is %s", got.Longest)
		}
		if !got.Recovered {
			t.Error("the writer does not know that it recovered")
		}
		if got.Unknown != 1 || got.LastFail != "connection refused" {
			t.Errorf("got %+v, want one row of unknown fate", got)
		}
	})
}

func TestAnOutageThatGoesOnIsCountedUpToNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := writeFor(t, &fakeServer{downFrom: 102 * time.Millisecond, downTo: time.Hour}, 602*time.Millisecond).figures()
		if got.Longest != 502*time.Millisecond || got.Recovered {
			t.Errorf("the gap is %s", got.Longest)
		}
	})
}

func TestAServerThatHangsIsLeftAfterTheStatementTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeServer{downFrom: 102 * time.Millisecond, downTo: 103 * time.Millisecond, hang: true}
		s.downTo = 106 * time.Millisecond // only the one insert at 105 ms meets it
		got := writeFor(t, s, 5*time.Second).figures()
		if got.Longest < statementTimeout || got.Longest > statementTimeout+3*rowEvery {
			t.Errorf("the gap is %s", got.Longest)
		}
	})
}

func TestMarkBeginsANewMeasurement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := writeFor(t, &fakeServer{downFrom: 102 * time.Millisecond, downTo: 703 * time.Millisecond}, time.Second)
		w.mark()
		if got := w.figures(); got.Longest > rowEvery || got.Recovered {
			t.Errorf("after mark: %+v", got)
		}
	})
}

func TestMissingNamesAcknowledgedRowsOnly(t *testing.T) {
	w := newWriter(nil)
	for _, seq := range []int64{1, 2, 5} {
		w.acknowledged(seq)
	}
	got := w.missing(map[int64]bool{1: true, 4: true, 5: true}) // 4 was never acknowledged, and exists
	if diff := cmp.Diff([]int64{2}, got); diff != "" {
		t.Error(diff)
	}
}
